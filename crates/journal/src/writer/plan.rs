//! What one commit writes: the records in their order, and the rows of the raw store behind them.

use std::collections::HashMap;
use std::sync::Arc;

use alloy_primitives::B256;
use plimsoll_store::CopyBuffer;
use plimsoll_types::{BlockState, JournalKind};
use sqlx::PgConnection;
use time::OffsetDateTime;

use super::WriteError;
use super::input::{NewBlock, NewEvent};
use super::open::{LiveBlock, State};
use crate::fold::FoldError;
use crate::record::{Block, Body, Event, Record, Transaction};
use crate::repo::to_i64;
use crate::repo::write::{self, COPY_EVENTS, COPY_JOURNAL, COPY_LIVE, COPY_TRANSACTIONS};

/// What one commit writes.
pub(super) struct Plan {
    pub(super) rows: Vec<(JournalKind, u64, i64)>,
    pub(super) records: Vec<Record>,
    pub(super) events: CopyBuffer,
    pub(super) live: CopyBuffer,
    pub(super) transactions: CopyBuffer,
    pub(super) first_seq: i64,
    pub(super) next_id: i64,
}

impl Plan {
    pub(super) fn new(state: &State) -> Self {
        Self {
            rows: Vec::new(),
            records: Vec::new(),
            events: CopyBuffer::new(),
            live: CopyBuffer::new(),
            transactions: CopyBuffer::new(),
            first_seq: state.next_seq,
            next_id: state.next_id,
        }
    }

    pub(super) fn next_seq(&self) -> i64 {
        self.first_seq + i64::try_from(self.rows.len()).expect("a commit holds fewer than 2^63 records")
    }

    /// How many records it has.
    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    fn id(&mut self) -> i64 {
        let id = self.next_id;
        self.next_id += 1;
        id
    }

    pub(super) fn push(&mut self, kind: JournalKind, block_number: u64, reference: i64, body: Body) -> i64 {
        let seq = self.next_seq();
        self.rows.push((kind, block_number, reference));
        self.records.push(Record { seq, kind, block_number, body });
        seq
    }

    /// Writes everything with COPY and returns the records.
    pub(super) async fn write(
        self,
        conn: &mut PgConnection,
        chain_id: u64,
    ) -> Result<Vec<Record>, sqlx::Error> {
        let mut journal = CopyBuffer::new();
        for (i, (kind, block_number, reference)) in self.rows.iter().enumerate() {
            journal.row(5);
            journal.put_i64(to_i64(chain_id));
            journal.put_i64(self.first_seq + i64::try_from(i).expect("a commit is small"));
            journal.put_i64(to_i64(*block_number));
            journal.put_i64(*reference);
            journal.put_text(kind.as_str());
        }
        for (buffer, statement) in [
            (self.events, COPY_EVENTS),
            (self.transactions, COPY_TRANSACTIONS),
            (self.live, COPY_LIVE),
            (journal, COPY_JOURNAL),
        ] {
            if buffer.rows() > 0 {
                buffer.write(conn, statement).await?;
            }
        }
        Ok(self.records)
    }
}

/// Ids that rows of the raw store have already, by (block hash, index in the block).
pub(super) struct Known {
    events: HashMap<(Vec<u8>, i32), i64>,
    transactions: HashMap<(Vec<u8>, i32), i64>,
}

impl Known {
    pub(super) async fn load(
        conn: &mut PgConnection,
        chain_id: u64,
        from: u64,
        to: u64,
    ) -> Result<Self, sqlx::Error> {
        let by_place =
            |rows: Vec<write::Known>| rows.into_iter().map(|k| ((k.block_hash, k.index), k.id)).collect();
        Ok(Self {
            events: by_place(write::known_events(conn, chain_id, from, to).await?),
            transactions: by_place(write::known_transactions(conn, chain_id, from, to).await?),
        })
    }

    /// The id of an event that the raw store has.
    pub(super) fn event(&self, event: &Event) -> Option<i64> {
        Self::find(&self.events, &event.block_hash, event.log_index)
    }

    /// The id of a transaction that the raw store has.
    pub(super) fn transaction(&self, tx: &Transaction) -> Option<i64> {
        Self::find(&self.transactions, &tx.block_hash, tx.tx_index)
    }

    fn find(map: &HashMap<(Vec<u8>, i32), i64>, hash: &B256, index: u32) -> Option<i64> {
        if map.is_empty() {
            return None;
        }
        map.get(&(hash.to_vec(), index.cast_signed())).copied()
    }
}

/// Appends events and transactions: each block's events, then its transactions.
pub(super) fn fill(
    plan: &mut Plan,
    chain_id: u64,
    known: &Known,
    events: Vec<NewEvent>,
    transactions: Vec<Transaction>,
) {
    let mut transactions = transactions.into_iter().peekable();
    let mut events = events.into_iter().peekable();
    loop {
        let number = match (events.peek(), transactions.peek()) {
            (Some(event), Some(tx)) => event.event.block_number.min(tx.block_number),
            (Some(event), None) => event.event.block_number,
            (None, Some(tx)) => tx.block_number,
            (None, None) => break,
        };
        while let Some(event) = events.next_if(|e| e.event.block_number == number) {
            append(plan, chain_id, known, event, JournalKind::Append);
        }
        while let Some(tx) = transactions.next_if(|t| t.block_number == number) {
            include(plan, chain_id, known, tx, JournalKind::Included);
        }
    }
}

pub(super) fn append(plan: &mut Plan, chain_id: u64, known: &Known, new: NewEvent, kind: JournalKind) {
    let NewEvent { mut event, decoding } = new;
    let chain = to_i64(chain_id);
    if let Some(id) = known.event(&event) {
        event.id = id;
    } else {
        event.id = plan.id();
        let row = &mut plan.events;
        row.row(15);
        row.put_i64(chain);
        row.put_i64(to_i64(event.block_number));
        row.put_bytea(event.block_hash.as_slice());
        row.put_i32(event.log_index.cast_signed());
        row.put_i64(event.id);
        row.put_bytea(event.tx_hash.as_slice());
        row.put_i32(event.tx_index.cast_signed());
        row.put_hex_text(event.contract.as_slice());
        row.put_opt(decoding.as_ref(), |row, decoding| row.put_text(&decoding.event_name));
        row.put_opt(event.topics.first(), |row, topic0| row.put_bytea(topic0.as_slice()));
        let mut topics = [0; 3 * 32];
        let rest = event.topics.get(1..).unwrap_or_default();
        for (slot, topic) in topics.chunks_mut(32).zip(rest) {
            slot.copy_from_slice(topic.as_slice());
        }
        row.put_bytea(&topics[..32 * rest.len().min(3)]);
        row.put_bytea(&event.data);
        match decoding {
            Some(decoding) => {
                row.put_jsonb(&decoding.payload);
                row.put_opt(decoding.request_id.as_deref(), CopyBuffer::put_text);
                row.put_opt(decoding.seq, CopyBuffer::put_numeric_u64);
            }
            None => (0..3).for_each(|_| row.put_null()),
        }
    }
    let live = &mut plan.live;
    live.row(5);
    live.put_i64(chain);
    live.put_bytea(event.tx_hash.as_slice());
    live.put_i32(event.log_index.cast_signed());
    live.put_i64(event.id);
    live.put_i64(to_i64(event.block_number));
    let (number, id) = (event.block_number, event.id);
    plan.push(kind, number, id, Body::Event(Arc::new(event)));
}

pub(super) fn include(plan: &mut Plan, chain_id: u64, known: &Known, mut tx: Transaction, kind: JournalKind) {
    if let Some(id) = known.transaction(&tx) {
        tx.id = id;
    } else {
        tx.id = plan.id();
        let row = &mut plan.transactions;
        row.row(14);
        row.put_i64(to_i64(chain_id));
        row.put_i64(to_i64(tx.block_number));
        row.put_bytea(tx.block_hash.as_slice());
        row.put_i32(tx.tx_index.cast_signed());
        row.put_i64(tx.id);
        row.put_bytea(tx.tx_hash.as_slice());
        row.put_hex_text(tx.sender.as_slice());
        row.put_opt(tx.to, |row, to| row.put_hex_text(to.as_slice()));
        row.put_numeric_u64(tx.nonce);
        row.put_bool(tx.succeeded);
        row.put_amount(&tx.gas_used);
        row.put_amount(&tx.effective_gas_price);
        row.put_amount(&tx.gas_paid_wei);
        row.put_opt(tx.request_id, |row, id| row.put_text(&id.to_string()));
    }
    let (number, id) = (tx.block_number, tx.id);
    plan.push(kind, number, id, Body::Transaction(Arc::new(tx)));
}

pub(super) async fn put_block(
    conn: &mut PgConnection,
    chain_id: u64,
    plan: &mut Plan,
    new: &NewBlock,
    state: BlockState,
) -> Result<Arc<Block>, WriteError> {
    let fresh = plan.id();
    let id = write::put_block(conn, chain_id, fresh, new, state).await?;
    let time = i64::try_from(new.timestamp)
        .ok()
        .and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok())
        .ok_or_else(|| FoldError::Malformed {
            chain_id,
            what: format!("block {} has the time {}", new.number, new.timestamp),
        })?;
    Ok(Arc::new(Block { id, number: new.number, hash: new.hash, parent_hash: new.parent_hash, time }))
}

/// Puts final blocks on record that no record of the journal is about by itself.
pub(super) async fn put_final_blocks(
    conn: &mut PgConnection,
    chain_id: u64,
    plan: &mut Plan,
    blocks: &[NewBlock],
) -> Result<(), sqlx::Error> {
    let first = plan.next_id;
    blocks.iter().for_each(|_| _ = plan.id());
    write::put_final_blocks(conn, chain_id, first, blocks).await
}

/// Takes back everything above `ancestor`: newest block first, its confirmation before its records, its records newest first.
pub(super) async fn retract_above(
    conn: &mut PgConnection,
    chain_id: u64,
    plan: &mut Plan,
    next: &mut State,
    ancestor: Option<u64>,
) -> Result<usize, WriteError> {
    let keep =
        next.live.iter().position(|l| ancestor.is_none_or(|a| l.block.number > a)).unwrap_or(next.live.len());
    let gone: Vec<LiveBlock> = next.live.drain(keep..).collect();
    let Some(first) = gone.first().map(|l| l.block.number) else { return Ok(0) };
    let last = gone.last().map_or(first, |l| l.block.number);
    for live in gone.iter().rev() {
        let seqs = live.confirm_seq.into_iter().chain((live.first_seq..=live.last_seq).rev());
        for seq in seqs {
            plan.push(JournalKind::Retract, live.block.number, seq, Body::Block(live.block.clone()));
        }
    }
    let hashes: Vec<_> = gone.iter().map(|l| l.block.hash.to_vec()).collect();
    let ids: Vec<_> = gone.iter().map(|l| l.block.id).collect();
    write::unlive(conn, chain_id, first, &hashes).await?;
    write::set_block_states(conn, chain_id, &ids, (first, last), BlockState::Orphaned).await?;
    next.confirmed = next.confirmed.map(|confirmed| confirmed.min(first.saturating_sub(1)));
    next.head = next
        .live
        .last()
        .map(|l| (l.block.number, l.block.hash))
        .or(next.final_block.as_ref().map(|f| (f.number, f.hash)));
    Ok(gone.len())
}

/// Confirms the live blocks up to `number` that are not confirmed yet, oldest first; returns their ids.
pub(super) fn confirm_up_to(plan: &mut Plan, next: &mut State, number: u64) -> Vec<i64> {
    let mut ids = Vec::new();
    for live in next.live.iter_mut().filter(|l| l.block.number <= number && l.confirm_seq.is_none()) {
        let body = Body::Block(live.block.clone());
        live.confirm_seq = Some(plan.push(JournalKind::Confirm, live.block.number, live.block.id, body));
        next.confirmed = Some(live.block.number);
        ids.push(live.block.id);
    }
    ids
}

/// Marks a block of record final, and every live block below it.
pub(super) async fn mark_final(
    conn: &mut PgConnection,
    chain_id: u64,
    plan: &mut Plan,
    next: &mut State,
    block: Arc<Block>,
) -> Result<(), WriteError> {
    let ids: Vec<_> =
        next.live.iter().filter(|l| l.block.number <= block.number).map(|l| l.block.id).collect();
    let first = next.live.first().map_or(block.number, |l| l.block.number);
    write::set_block_states(conn, chain_id, &ids, (first, block.number), BlockState::Final).await?;
    next.live.retain(|l| l.block.number > block.number);
    plan.push(JournalKind::Finalize, block.number, block.id, Body::Block(block.clone()));
    next.final_block = Some(block);
    Ok(())
}

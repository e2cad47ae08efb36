//! The only way into a journal.
//!
//! **Dense and in order.** One writer a chain: it holds the chain's ingest lease, checks its token in each of its transactions, and
//! takes the chain's row `FOR UPDATE` there. `seq` comes from that row, so commit order is sequence order, and a transaction that
//! aborts gives its numbers back: there is no hole, and a reader's cursor is one integer.
//!
//! **After a doubt, read again.** A commit whose answer was lost may have happened. The writer compares its counters with the
//! row's in each transaction and refuses to go on from a state that is not the database's ([`WriteError::Stale`]); its owner opens a
//! new one, which rebuilds everything from the journal.
//!
//! **Marks.** `finalize(F)` precedes the records of a backfill that ends at `F`: from then on a reader knows by the order of records
//! alone that what it reads at or below `F` will not be taken back. `confirm(N)` follows the records of `N` and is taken back only when
//! `N` itself is, before any of its records.

use std::collections::HashMap;
use std::sync::Arc;

use alloy_primitives::B256;
use plimsoll_store::{CopyBuffer, Db, Lease, LeaseError, Partitions};
use plimsoll_types::{BlockState, JournalKind};
use sqlx::PgConnection;
use time::OffsetDateTime;

use crate::fold::FoldError;
use crate::record::{Block, Body, Event, Record, Transaction};
use crate::repo::read::{self, Row};
use crate::repo::write::{self, COPY_EVENTS, COPY_JOURNAL, COPY_LIVE, COPY_TRANSACTIONS, Marks};
use crate::repo::{to_i64, to_u64};
use crate::tail::Tail;

/// How many journal rows are read at a time when a writer finds out where it stands.
const OPEN_PAGE: i64 = 10_000;

/// Which chain a journal is of, and its depths.
#[derive(Clone, Debug)]
pub struct ChainIdentity {
    /// EIP-155 chain id.
    pub chain_id: u64,
    /// Its name, for people.
    pub name: String,
    /// Hash of block 0: tells two chains with one id apart.
    pub genesis_hash: B256,
    /// The first block of interest.
    pub start_block: u64,
    /// Blocks on top before a block is confirmed.
    pub confirmations: u64,
    /// Blocks on top before a block is final.
    pub finality_depth: u64,
}

/// A block to put on record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewBlock {
    /// Number.
    pub number: u64,
    /// Hash.
    pub hash: B256,
    /// Parent's hash.
    pub parent_hash: B256,
    /// The chain's own time of it, in seconds since 1970.
    pub timestamp: u64,
}

/// What an ABI makes of an event.
#[derive(Clone, Debug)]
pub struct Decoding {
    /// The event's name.
    pub event_name: Arc<str>,
    /// Its parameters, as JSON text.
    pub payload: Vec<u8>,
    /// The request id that it carries, as text.
    pub request_id: Option<String>,
    /// The on-chain sequence that it carries.
    pub seq: Option<u64>,
}

/// An event to append. Its id is given by the writer.
#[derive(Clone, Debug)]
pub struct NewEvent {
    /// The log.
    pub event: Event,
    /// What it says; `None` when no ABI knows it.
    pub decoding: Option<Decoding>,
}

/// Everything wanted of one block.
#[derive(Clone, Debug)]
pub struct Content {
    /// The block.
    pub block: NewBlock,
    /// Its events, in log order.
    pub events: Vec<NewEvent>,
    /// Its transactions by watched senders, in transaction order. Their ids are given by the writer.
    pub transactions: Vec<Transaction>,
}

/// Why the journal could not be written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The database has this chain id with another genesis.
    #[error(
        "chain {chain_id}: the node's block 0 is {given}, the database's is {known}; this is another chain with the same id: \
         use another database for it, or point the endpoint at the chain that this database follows"
    )]
    DifferentGenesis {
        /// The chain.
        chain_id: u64,
        /// The node's.
        given: B256,
        /// The database's.
        known: String,
    },
    /// The counters in memory are not the database's: another writer, or a commit whose answer was lost.
    #[error(
        "chain {chain_id}: the journal moved on without this writer; it starts again from what is committed"
    )]
    Stale {
        /// The chain.
        chain_id: u64,
    },
    /// The blocks do not continue the journal's head.
    #[error("chain {chain_id}: block {number} does not continue the journal's head {head:?}")]
    NotOnHead {
        /// The chain.
        chain_id: u64,
        /// The block offered.
        number: u64,
        /// The head.
        head: Option<(u64, B256)>,
    },
    /// The journal cannot be read back.
    #[error(transparent)]
    Read(#[from] FoldError),
    /// The authority to write is gone.
    #[error(transparent)]
    Lease(#[from] LeaseError),
    /// Postgres.
    #[error("database: {0}")]
    Database(#[from] sqlx::Error),
}

/// A canonical block above finality, and its place in the journal.
#[derive(Clone, Debug)]
struct LiveBlock {
    block: Arc<Block>,
    first_seq: i64,
    last_seq: i64,
    confirm_seq: Option<i64>,
}

/// Where the writer stands.
#[derive(Clone, Debug)]
struct State {
    next_seq: i64,
    next_id: i64,
    head: Option<(u64, B256)>,
    confirmed: Option<u64>,
    final_block: Option<Arc<Block>>,
    /// Above finality, oldest first.
    live: Vec<LiveBlock>,
}

/// The writer of one chain's journal.
#[derive(Debug)]
pub struct Writer {
    db: Db,
    lease: Lease,
    tail: Tail,
    chain_id: u64,
    partitions: Partitions,
    state: State,
    halt: Option<serde_json::Value>,
    rpc_head: Option<u64>,
}

/// What one commit writes.
struct Plan {
    rows: Vec<(JournalKind, u64, i64)>,
    records: Vec<Record>,
    events: CopyBuffer,
    live: CopyBuffer,
    transactions: CopyBuffer,
    first_seq: i64,
    next_id: i64,
}

impl Plan {
    fn new(state: &State) -> Self {
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

    fn next_seq(&self) -> i64 {
        self.first_seq + i64::try_from(self.rows.len()).expect("a commit holds fewer than 2^63 records")
    }

    fn id(&mut self) -> i64 {
        let id = self.next_id;
        self.next_id += 1;
        id
    }

    fn push(&mut self, kind: JournalKind, block_number: u64, reference: i64, body: Body) -> i64 {
        let seq = self.next_seq();
        self.rows.push((kind, block_number, reference));
        self.records.push(Record { seq, kind, block_number, body });
        seq
    }
}

impl Writer {
    /// Opens the chain's journal: makes its row, or checks that it is of this very chain, and finds out where it stands.
    pub async fn open(db: &Db, lease: Lease, tail: Tail, chain: &ChainIdentity) -> Result<Self, WriteError> {
        let mut tx = db.worker().begin().await?;
        lease.guard(&mut tx).await?;
        let row = write::open_chain(&mut tx, chain).await?;
        if row.genesis_hash != chain.genesis_hash.as_slice() {
            return Err(WriteError::DifferentGenesis {
                chain_id: chain.chain_id,
                given: chain.genesis_hash,
                known: alloy_primitives::hex::encode_prefixed(&row.genesis_hash),
            });
        }
        let final_block = match row.final_number {
            Some(number) => read::final_block(&mut tx, chain.chain_id, to_u64(number)).await?,
            None => None,
        };
        let live = live_blocks(&mut tx, chain.chain_id, row.next_seq, row.final_number).await?;
        let state = State {
            next_seq: row.next_seq,
            next_id: row.next_id,
            head: write::head(chain.chain_id, &row)?,
            confirmed: row.confirmed_number.map(to_u64),
            final_block,
            live,
        };
        tx.commit().await?;
        tail.announce(chain.chain_id, state.next_seq - 1);
        let halt = if row.halted { Some(row.halt.unwrap_or_default()) } else { None };
        Ok(Self {
            db: db.clone(),
            lease,
            tail,
            chain_id: chain.chain_id,
            partitions: Partitions::default(),
            state,
            halt,
            rpc_head: None,
        })
    }

    /// Why the chain is halted, when it is.
    #[must_use]
    pub fn halted(&self) -> Option<&serde_json::Value> {
        self.halt.as_ref()
    }

    /// The last block that the journal covers.
    #[must_use]
    pub fn head(&self) -> Option<(u64, B256)> {
        self.state.head
    }

    /// The last final block.
    #[must_use]
    pub fn final_block(&self) -> Option<&Arc<Block>> {
        self.state.final_block.as_ref()
    }

    /// The canonical blocks that a reorg may still take, oldest first: (number, hash).
    #[must_use]
    pub fn unfinal(&self) -> Vec<(u64, B256)> {
        self.state.live.iter().map(|live| (live.block.number, live.block.hash)).collect()
    }

    /// The last record's place.
    #[must_use]
    pub fn end(&self) -> i64 {
        self.state.next_seq - 1
    }

    /// Marks a block final, and with it all below. Blocks of the journal up to it that are not confirmed yet are confirmed first.
    pub async fn finalize(&mut self, block: &NewBlock) -> Result<(), WriteError> {
        if self.state.final_block.as_ref().is_some_and(|f| f.number >= block.number) {
            return Ok(());
        }
        let mut plan = Plan::new(&self.state);
        let mut next = self.state.clone();
        let mut tx = self.begin(&[("chain_blocks", block.number, block.number)], &[]).await?;
        confirm_up_to(&mut plan, &mut next, block.number);
        let block = put_block(&mut tx, self.chain_id, &mut plan, block, BlockState::Final).await?;
        mark_final(&mut tx, self.chain_id, &mut plan, &mut next, block).await?;
        self.commit(tx, plan, next).await
    }

    /// Appends a range of a backfill that ends with block `end`, at or below finality: every event and transaction wanted between
    /// the head and it.
    pub async fn append_range(
        &mut self,
        events: Vec<NewEvent>,
        transactions: Vec<Transaction>,
        end: &NewBlock,
    ) -> Result<(), WriteError> {
        let next_number = self.state.head.map_or(0, |(number, _)| number + 1);
        let is_final = self.state.final_block.as_ref().is_some_and(|f| end.number <= f.number);
        if end.number < next_number || !is_final || !self.state.live.is_empty() {
            return Err(WriteError::NotOnHead {
                chain_id: self.chain_id,
                number: end.number,
                head: self.state.head,
            });
        }
        let from = events
            .iter()
            .map(|e| e.event.block_number)
            .chain(transactions.iter().map(|t| t.block_number))
            .fold(end.number, u64::min);
        let mut plan = Plan::new(&self.state);
        let mut next = self.state.clone();
        let mut tx = self.begin_range(from, end.number, events.len() + transactions.len() + 2).await?;
        let known = Known::load(&mut tx, self.chain_id, from, end.number).await?;
        fill(&mut plan, self.chain_id, &known, events, transactions);
        let block = put_block(&mut tx, self.chain_id, &mut plan, end, BlockState::Final).await?;
        plan.push(JournalKind::Block, block.number, block.id, Body::Block(block.clone()));
        plan.push(JournalKind::Confirm, block.number, block.id, Body::Block(block.clone()));
        next.head = Some((block.number, block.hash));
        next.confirmed = Some(block.number);
        self.commit(tx, plan, next).await
    }

    /// Makes the canonical chain end with `contents`, whose first block's parent is the canonical block at `ancestor` (or the
    /// chain's start): takes back what is above `ancestor`, newest first, appends, confirms and finalizes to these numbers, all in one
    /// transaction. Without contents it only takes back: the chain went back below its first block of interest. Returns how many
    /// blocks were taken back.
    pub async fn replace_above(
        &mut self,
        ancestor: Option<(u64, B256)>,
        contents: Vec<Content>,
        confirm: Option<u64>,
        finalize: Option<u64>,
    ) -> Result<usize, WriteError> {
        self.check_links(ancestor, &contents)?;
        let oldest = self.state.live.first().map(|l| l.block.number);
        let Some(from) = contents.first().map(|c| c.block.number).or(oldest) else { return Ok(0) };
        let to = contents.last().map_or(from, |c| c.block.number);
        let count = contents.iter().map(|c| c.events.len() + c.transactions.len() + 3).sum::<usize>()
            + self
                .state
                .live
                .iter()
                .map(|l| usize::try_from(l.last_seq - l.first_seq + 2).unwrap_or(0))
                .sum::<usize>();
        let mut plan = Plan::new(&self.state);
        let mut next = self.state.clone();
        let mut tx = self.begin_range(from, to, count).await?;
        let retracted =
            retract_above(&mut tx, self.chain_id, &mut plan, &mut next, ancestor.map(|(n, _)| n)).await?;
        let known = Known::load(&mut tx, self.chain_id, from, to).await?;
        for content in contents {
            let first_seq = plan.next_seq();
            fill(&mut plan, self.chain_id, &known, content.events, content.transactions);
            let block =
                put_block(&mut tx, self.chain_id, &mut plan, &content.block, BlockState::Seen).await?;
            let last_seq = plan.push(JournalKind::Block, block.number, block.id, Body::Block(block.clone()));
            next.head = Some((block.number, block.hash));
            next.live.push(LiveBlock { block, first_seq, last_seq, confirm_seq: None });
        }
        if let Some(number) = confirm {
            let ids = confirm_up_to(&mut plan, &mut next, number);
            if !ids.is_empty() {
                write::set_block_states(&mut tx, self.chain_id, &ids, (0, number), BlockState::Confirmed)
                    .await?;
            }
        }
        let last_final = finalize.and_then(|number| next.live.iter().rfind(|l| l.block.number <= number));
        if let Some(block) = last_final.map(|live| live.block.clone()) {
            mark_final(&mut tx, self.chain_id, &mut plan, &mut next, block).await?;
        }
        self.commit(tx, plan, next).await?;
        Ok(retracted)
    }

    /// Notes the node's own head; the next commit writes it down.
    pub fn saw_rpc_head(&mut self, number: u64) {
        self.rpc_head = Some(number);
    }

    /// Writes the node's own head down now, for whoever asks how far behind the journal is, or whether the node is heard.
    pub async fn note_rpc_head(&self) -> Result<(), WriteError> {
        let Some(number) = self.rpc_head else { return Ok(()) };
        let mut tx = self.db.worker().begin().await?;
        self.lease.guard(&mut tx).await?;
        write::set_rpc_head(&mut tx, self.chain_id, number).await?;
        Ok(tx.commit().await?)
    }

    /// Stops the chain and says why; only [`resume`] lifts it.
    pub async fn halt(&mut self, why: serde_json::Value) -> Result<(), WriteError> {
        let mut tx = self.db.worker().begin().await?;
        self.lease.guard(&mut tx).await?;
        write::halt(&mut tx, self.chain_id, &why).await?;
        tx.commit().await?;
        self.halt = Some(why);
        Ok(())
    }

    fn check_links(&self, ancestor: Option<(u64, B256)>, contents: &[Content]) -> Result<(), WriteError> {
        let floor = self.state.final_block.as_ref().map(|f| (f.number, f.hash));
        let canonical = ancestor.is_none_or(|ancestor| {
            floor == Some(ancestor)
                || self.state.head == Some(ancestor)
                || self.state.live.iter().any(|l| (l.block.number, l.block.hash) == ancestor)
        });
        let mut parent = ancestor;
        for Content { block, .. } in contents {
            let linked =
                parent.is_none_or(|(number, hash)| block.number == number + 1 && block.parent_hash == hash);
            if !linked || !canonical || floor.is_some_and(|(number, _)| block.number <= number) {
                return Err(WriteError::NotOnHead {
                    chain_id: self.chain_id,
                    number: block.number,
                    head: self.state.head,
                });
            }
            parent = Some((block.number, block.hash));
        }
        Ok(())
    }

    async fn begin_range(
        &mut self,
        from: u64,
        to: u64,
        count: usize,
    ) -> Result<sqlx::PgTransaction<'static>, WriteError> {
        let blocks = [("chain_blocks", from, to), ("chain_events", from, to), ("chain_tx_meta", from, to)];
        self.begin(&blocks, &[("journal", count + 2)]).await
    }

    /// A transaction in which this writer has authority and the counters are as it believes.
    async fn begin(
        &mut self,
        blocks: &[(&'static str, u64, u64)],
        records: &[(&'static str, usize)],
    ) -> Result<sqlx::PgTransaction<'static>, WriteError> {
        for (parent, from, to) in blocks {
            self.partitions
                .ensure(self.db.worker(), parent, self.chain_id, to_i64(*from), to_i64(*to))
                .await?;
        }
        let unconfirmed = self.state.live.len() + 2;
        for (parent, count) in records.iter().copied().chain([("journal", unconfirmed)]) {
            let to = self.state.next_seq + i64::try_from(count + unconfirmed).expect("a commit is small");
            self.partitions.ensure(self.db.worker(), parent, self.chain_id, self.state.next_seq, to).await?;
        }
        let mut tx = self.db.worker().begin().await?;
        self.lease.guard(&mut tx).await?;
        if write::lock_counters(&mut tx, self.chain_id).await? != (self.state.next_seq, self.state.next_id) {
            return Err(WriteError::Stale { chain_id: self.chain_id });
        }
        Ok(tx)
    }

    async fn commit(
        &mut self,
        mut tx: sqlx::PgTransaction<'static>,
        plan: Plan,
        mut next: State,
    ) -> Result<(), WriteError> {
        next.next_seq = plan.next_seq();
        next.next_id = plan.next_id;
        let mut journal = CopyBuffer::new();
        for (i, (kind, block_number, reference)) in plan.rows.iter().enumerate() {
            journal.row(5);
            journal.put_i64(to_i64(self.chain_id));
            journal.put_i64(plan.first_seq + i64::try_from(i).expect("a commit is small"));
            journal.put_i64(to_i64(*block_number));
            journal.put_i64(*reference);
            journal.put_text(kind.as_str());
        }
        for (buffer, statement) in [
            (plan.events, COPY_EVENTS),
            (plan.transactions, COPY_TRANSACTIONS),
            (plan.live, COPY_LIVE),
            (journal, COPY_JOURNAL),
        ] {
            if buffer.rows() > 0 {
                buffer.write(&mut tx, statement).await?;
            }
        }
        let marks = Marks {
            next_seq: next.next_seq,
            next_id: next.next_id,
            head: next.head,
            confirmed: next.confirmed,
            finalized: next.final_block.as_ref().map(|f| f.number),
            rpc_head: self.rpc_head,
        };
        write::set_marks(&mut tx, self.chain_id, &marks).await?;
        tx.commit().await?;
        self.state = next;
        let retracts = plan.records.iter().any(|r| r.kind == JournalKind::Retract);
        if retracts {
            // What was taken back is read from the database, with its bodies.
            self.tail.announce(self.chain_id, self.state.next_seq - 1);
        } else {
            self.tail.push(self.chain_id, plan.records);
        }
        Ok(())
    }
}

/// Lifts a chain's halt, on record. The follower then looks at the chain again, and halts again if the reason still stands.
pub async fn resume(db: &Db, chain_id: u64, operator: &str, reason: &str) -> Result<bool, sqlx::Error> {
    let mut tx = db.worker().begin().await?;
    let detail = serde_json::json!({ "operator": operator, "reason": reason });
    let lifted = write::resume(&mut tx, chain_id, &detail).await?;
    tx.commit().await?;
    Ok(lifted)
}

/// The canonical blocks above finality, found by reading the journal backwards.
///
/// The scan ends at the first `block` record at or below finality. It misses nothing: blocks are appended in the order of their numbers on
/// top of the canonical head, so a live block above finality has every record of its own after the live record of any block below it,
/// and a record of a block at or below finality that comes later would have taken it back first.
async fn live_blocks(
    conn: &mut PgConnection,
    chain_id: u64,
    next_seq: i64,
    final_number: Option<i64>,
) -> Result<Vec<LiveBlock>, WriteError> {
    let floor = final_number.unwrap_or(-1);
    let mut newest_first: Vec<Row> = Vec::new();
    let mut before = next_seq;
    'pages: loop {
        let page = read::rows_before(conn, chain_id, before, OPEN_PAGE).await?;
        let Some(oldest) = page.last() else { break };
        before = oldest.seq;
        for row in page {
            if row.kind == JournalKind::Block && row.block_number <= floor {
                break 'pages;
            }
            newest_first.push(row);
        }
    }
    let retracted: std::collections::HashSet<i64> =
        newest_first.iter().filter(|r| r.kind == JournalKind::Retract).map(|r| r.reference).collect();
    let rows: Vec<_> = newest_first
        .into_iter()
        .rev()
        .filter(|r| r.block_number > floor && r.kind != JournalKind::Retract && !retracted.contains(&r.seq))
        .collect();
    let marks: Vec<_> = rows
        .iter()
        .filter(|r| matches!(r.kind, JournalKind::Block | JournalKind::Confirm))
        .copied()
        .collect();
    let records = read::records(conn, chain_id, &marks).await?;
    let mut live: Vec<LiveBlock> = Vec::new();
    let mut firsts: HashMap<i64, i64> = HashMap::new();
    for row in rows.iter().filter(|r| !matches!(r.kind, JournalKind::Confirm | JournalKind::Finalize)) {
        firsts.entry(row.block_number).and_modify(|seq| *seq = row.seq.min(*seq)).or_insert(row.seq);
    }
    for record in records {
        let Some(block) = record.block().cloned() else { continue };
        match record.kind {
            JournalKind::Block => {
                let first_seq = firsts.get(&to_i64(block.number)).copied().unwrap_or(record.seq);
                live.push(LiveBlock { block, first_seq, last_seq: record.seq, confirm_seq: None });
            }
            _ => {
                if let Some(live) = live.iter_mut().find(|l| l.block.id == block.id) {
                    live.confirm_seq = Some(record.seq);
                }
            }
        }
    }
    Ok(live)
}

/// Ids that rows of the raw store have already, by (block hash, index in the block).
struct Known {
    events: HashMap<(Vec<u8>, i32), i64>,
    transactions: HashMap<(Vec<u8>, i32), i64>,
}

impl Known {
    async fn load(conn: &mut PgConnection, chain_id: u64, from: u64, to: u64) -> Result<Self, sqlx::Error> {
        let by_place =
            |rows: Vec<write::Known>| rows.into_iter().map(|k| ((k.block_hash, k.index), k.id)).collect();
        Ok(Self {
            events: by_place(write::known_events(conn, chain_id, from, to).await?),
            transactions: by_place(write::known_transactions(conn, chain_id, from, to).await?),
        })
    }

    fn find(map: &HashMap<(Vec<u8>, i32), i64>, hash: &B256, index: u32) -> Option<i64> {
        if map.is_empty() {
            return None;
        }
        map.get(&(hash.to_vec(), index.cast_signed())).copied()
    }
}

/// Appends events and transactions: each block's events, then its transactions.
fn fill(
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
            append(plan, chain_id, known, event);
        }
        while let Some(tx) = transactions.next_if(|t| t.block_number == number) {
            include(plan, chain_id, known, tx);
        }
    }
}

fn append(plan: &mut Plan, chain_id: u64, known: &Known, new: NewEvent) {
    let NewEvent { mut event, decoding } = new;
    let chain = to_i64(chain_id);
    if let Some(id) = Known::find(&known.events, &event.block_hash, event.log_index) {
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
    plan.push(JournalKind::Append, number, id, Body::Event(Arc::new(event)));
}

fn include(plan: &mut Plan, chain_id: u64, known: &Known, mut tx: Transaction) {
    if let Some(id) = Known::find(&known.transactions, &tx.block_hash, tx.tx_index) {
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
    plan.push(JournalKind::Included, number, id, Body::Transaction(Arc::new(tx)));
}

async fn put_block(
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

/// Takes back everything above `ancestor`: newest block first, its confirmation before its records, its records newest first.
async fn retract_above(
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
fn confirm_up_to(plan: &mut Plan, next: &mut State, number: u64) -> Vec<i64> {
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
async fn mark_final(
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

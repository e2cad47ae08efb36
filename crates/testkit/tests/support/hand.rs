//! A journal that is written by hand, and a small fold over it whose table shows what it was given.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};

use alloy_primitives::{Address, B256, keccak256};
use plimsoll_journal::{
    ChainIdentity, Content, Event, Evidence, Fold, FoldError, NewBlock, NewEvent, Record, Tail, Transaction,
    Undone, WriteError, Writer,
};
use plimsoll_store::{DEFAULT_TERM, Db, Lease, Leases};
use plimsoll_types::{Amount, Completeness};
use serde_json::{Value, json};
use sqlx::{ConnectOptions, PgConnection};

pub const CHAIN_ID: u64 = 7;

/// A block of a branch, with so many events and one watched transaction. The same arguments give the same block.
pub fn block(branch: char, parent: &NewBlock, events: usize) -> Content {
    let number = parent.number + 1;
    let hash = keccak256(format!("{branch} {number} {} {events}", parent.hash));
    let tx_hash = keccak256(format!("transaction of {number}"));
    let events = (0..u32::try_from(events).unwrap()).map(|log_index| {
        let event = Event {
            id: 0,
            block_number: number,
            block_hash: hash,
            // In whatever branch: what is live is unique by it.
            tx_hash,
            tx_index: 0,
            log_index,
            contract: Address::repeat_byte(0xcc),
            topics: plimsoll_chain::Topics::new(&[B256::repeat_byte(1)]).unwrap(),
            data: vec![u8::try_from(branch).unwrap()].into(),
        };
        NewEvent { event, decoding: None }
    });
    let transaction = Transaction {
        id: 0,
        block_number: number,
        block_hash: hash,
        tx_hash,
        tx_index: 0,
        sender: Address::repeat_byte(0xaa),
        to: None,
        nonce: number,
        succeeded: true,
        gas_used: Amount::from(21_000_u64),
        effective_gas_price: Amount::from(2_u64),
        gas_paid_wei: Amount::from(42_000_u64),
        request_id: None,
    };
    let block = NewBlock { number, hash, parent_hash: parent.hash, timestamp: 1_700_000_000 + number };
    Content { block, events: events.collect(), transactions: vec![transaction], evidence: evidence() }
}

/// How all blocks of this hand's are known to be whole.
pub fn evidence() -> Evidence {
    Evidence { level: Completeness::Receipts, endpoint: "hand".into() }
}

/// Blocks in a row on `parent`, with so many events each.
pub fn branch(name: char, parent: &NewBlock, events: &[usize]) -> Vec<Content> {
    let mut blocks: Vec<Content> = Vec::new();
    for events in events {
        let next = block(name, blocks.last().map_or(parent, |last| &last.block), *events);
        blocks.push(next);
    }
    blocks
}

pub fn genesis() -> NewBlock {
    NewBlock { number: 0, hash: keccak256("genesis"), parent_hash: B256::ZERO, timestamp: 1_700_000_000 }
}

/// How a block is named as an ancestor.
pub fn id(block: &NewBlock) -> Option<(u64, B256)> {
    Some((block.number, block.hash))
}

pub fn identity() -> ChainIdentity {
    ChainIdentity {
        chain_id: CHAIN_ID,
        name: "hand".into(),
        genesis_hash: genesis().hash,
        start_block: 0,
        confirmations: 2,
        finality: "4 blocks".into(),
        filter: plimsoll_journal::Filter::default(),
    }
}

/// A database with a journal that begins with the genesis block.
pub struct Desk {
    pub db: Db,
    pub leases: Leases,
    pub lease: Lease,
    pub tail: Tail,
    pub writer: Writer,
}

impl Desk {
    pub async fn new() -> Self {
        let db = plimsoll_store::testing::db().await;
        let mut owner = db.urls().owner.connect().await.unwrap();
        for statement in [
            "CREATE TABLE probe (fold text, seq bigint, kind text, block_number bigint, PRIMARY KEY (fold, seq))",
            "GRANT ALL ON probe TO plimsoll_worker",
        ] {
            sqlx::query(statement).execute(&mut owner).await.unwrap();
        }
        let leases = Leases::connect(&db, "first", DEFAULT_TERM).await.unwrap();
        let lease = leases.acquire("ingest:7").await.unwrap().unwrap();
        let tail = Tail::default();
        let mut writer = Writer::open(&db, lease.clone(), tail.clone(), &identity()).await.unwrap();
        let start =
            Content { block: genesis(), events: Vec::new(), transactions: Vec::new(), evidence: evidence() };
        writer.replace_above(None, vec![start], None, None).await.unwrap();
        Self { db, leases, lease, tail, writer }
    }

    /// Another process takes the lease, as after its term has passed, and opens the journal.
    pub async fn take_over(&self) -> (Leases, Writer) {
        let leases = Leases::connect(&self.db, "second", DEFAULT_TERM).await.unwrap();
        let expire = "UPDATE leases SET expires_at = now() - interval '1 second' WHERE name = 'ingest:7'";
        let lease = loop {
            sqlx::query(expire).execute(self.db.worker()).await.unwrap();
            if let Some(lease) = leases.acquire("ingest:7").await.unwrap() {
                break lease;
            }
        };
        let writer = Writer::open(&self.db, lease, Tail::default(), &identity()).await.unwrap();
        (leases, writer)
    }

    /// The writer that the same process would open now, under the same lease.
    pub async fn opened_again(&self) -> Writer {
        Writer::open(&self.db, self.lease.clone(), self.tail.clone(), &identity()).await.unwrap()
    }

    /// A session that may change what no role of the running program may.
    pub async fn owner(&self) -> PgConnection {
        self.db.urls().owner.connect().await.unwrap()
    }

    pub async fn put(
        &mut self,
        ancestor: &NewBlock,
        blocks: &[Content],
        confirm: Option<u64>,
        finalize: Option<u64>,
    ) -> Result<usize, WriteError> {
        self.writer.replace_above(id(ancestor), blocks.to_vec(), confirm, finalize).await
    }

    /// Rows of a statement with one integer column.
    pub async fn integers(&self, statement: &'static str) -> Vec<i64> {
        sqlx::query_scalar(statement).fetch_all(self.db.worker()).await.unwrap()
    }

    pub async fn texts(&self, statement: &'static str, fold: &str) -> Vec<String> {
        sqlx::query_scalar(statement).bind(fold).fetch_all(self.db.worker()).await.unwrap()
    }

    /// What a fold has in its table.
    pub async fn probe(&self, fold: &str) -> Vec<String> {
        self.texts(
            "SELECT seq || ' ' || kind || ' ' || block_number FROM probe WHERE fold = $1 ORDER BY seq",
            fold,
        )
        .await
    }

    /// A fold's undo stack, oldest first.
    pub async fn undo_stack(&self, fold: &str) -> Vec<String> {
        self.texts("SELECT seq || ' ' || block_number || ' ' || coalesce(undo::text, '-') FROM fold_undo WHERE fold = $1 ORDER BY seq", fold)
            .await
    }

    /// A fold's cursor: place, final block, watermark, state, the record it stopped on.
    pub async fn cursor(&self, fold: &str) -> String {
        let rows = self.texts(
            "SELECT concat_ws(' ', seq, final_number, block_number, state, stop->>'seq') FROM fold_cursors WHERE fold = $1",
            fold,
        );
        rows.await.pop().unwrap_or_default()
    }
}

/// A fold that keeps each record as a row, and takes the row away again.
#[derive(Clone)]
pub struct Probe {
    pub name: &'static str,
    /// Records that it cannot take.
    pub poison: Arc<Mutex<HashSet<i64>>>,
    /// The records of each call, by block number, retractions included.
    pub calls: Arc<Mutex<Vec<Vec<u64>>>>,
}

impl Probe {
    pub fn new(name: &'static str) -> Self {
        Self { name, poison: Arc::default(), calls: Arc::default() }
    }
}

impl Fold for Probe {
    fn name(&self) -> &'static str {
        self.name
    }

    async fn apply(
        &mut self,
        conn: &mut PgConnection,
        _final_number: Option<u64>,
        records: &[Record],
    ) -> Result<Vec<Option<Value>>, FoldError> {
        self.calls.lock().unwrap().push(records.iter().map(|r| r.block_number).collect());
        let mut undos = Vec::new();
        for record in records {
            // Its row first: what a failed step wrote must be gone.
            put(conn, self.name, record, record.kind.as_str()).await?;
            if self.poison.lock().unwrap().contains(&record.seq) {
                let (fold, reason) = (self.name, "poisoned by the test".to_owned());
                return Err(FoldError::Poisoned { fold, chain_id: CHAIN_ID, seq: record.seq, reason });
            }
            undos.push(record.is_undoable().then(|| json!({ "of": record.seq })));
        }
        Ok(undos)
    }

    async fn undo(&mut self, conn: &mut PgConnection, undone: Vec<Undone>) -> Result<(), FoldError> {
        self.calls.lock().unwrap().push(undone.iter().map(|u| u.record.block_number).collect());
        assert!(undone.is_sorted_by(|newer, older| newer.record.seq > older.record.seq));
        assert!(undone.is_sorted_by(|first, then| first.retract_seq < then.retract_seq));
        for Undone { record, undo, .. } in undone {
            let kind: String =
                sqlx::query_scalar("DELETE FROM probe WHERE fold = $1 AND seq = $2 RETURNING kind")
                    .bind(self.name)
                    .bind(record.seq)
                    .fetch_one(&mut *conn)
                    .await?;
            let expected = if kind == "skipped" { None } else { Some(json!({ "of": record.seq })) };
            assert_eq!(undo, expected, "record {} comes back with another's undo", record.seq);
        }
        Ok(())
    }

    async fn skip(&mut self, conn: &mut PgConnection, record: &Record, _: &str) -> Result<(), FoldError> {
        put(conn, self.name, record, "skipped").await
    }
}

async fn put(conn: &mut PgConnection, fold: &str, record: &Record, kind: &str) -> Result<(), FoldError> {
    sqlx::query("INSERT INTO probe (fold, seq, kind, block_number) VALUES ($1, $2, $3, $4)")
        .bind(fold)
        .bind(record.seq)
        .bind(kind)
        .bind(record.block_number.cast_signed())
        .execute(conn)
        .await?;
    Ok(())
}

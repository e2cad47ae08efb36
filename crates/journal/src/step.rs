//! One step of a fold: some records, their effects, the undo stack and the cursor, in one transaction.
//!
//! A step takes whole blocks, so that a fold may relate the events of one transaction in memory. It handles a run of forward records, of
//! retractions or of late records, never two of them, so that a fold's tables and undo stack hold everything older before anything is taken back, or
//! put beneath what is there.

use std::collections::HashMap;

use plimsoll_store::{Db, Lease};
use plimsoll_types::JournalKind;
use serde_json::{Value, json};
use sqlx::{Connection, PgConnection};
use tracing::{Instrument, Span};

use crate::fold::{Fold, FoldError, Unconfirmed, Undone};
use crate::record::{Body, Record};
use crate::repo::cursor::{self, Cursor, Entry};
use crate::repo::{read, to_i64};
use crate::tail::Tail;

/// Where a step's transaction is begun.
#[derive(Debug)]
pub enum StepOn<'a> {
    /// On a connection of the worker's pool: the step may be dropped at any point.
    Pool(&'a Db),
    /// On a session of the caller's own, whose temporary tables may shadow the fold's. It belongs to no pool, so a dropped step leaves
    /// it to its owner alone, who then closes it.
    Session(&'a mut PgConnection),
}

impl<'a> From<&'a Db> for StepOn<'a> {
    fn from(db: &'a Db) -> Self {
        Self::Pool(db)
    }
}

impl<'a> From<&'a mut PgConnection> for StepOn<'a> {
    fn from(conn: &'a mut PgConnection) -> Self {
        Self::Session(conn)
    }
}

/// How a step is bounded, and what it may use.
#[derive(Clone, Copy, Debug)]
pub struct StepOptions<'a> {
    /// About how many records to take; more when one block has more.
    pub max_records: usize,
    /// Take none after this one.
    pub up_to_seq: Option<i64>,
    /// Where the newest records may be found without a query.
    pub tail: Option<&'a Tail>,
    /// The authority to check in the step's transaction.
    pub lease: Option<&'a Lease>,
}

/// What a step did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// How many records it took; none when there were none.
    pub records: usize,
    /// The fold's cursor after it.
    pub cursor: i64,
    /// The last block that the fold covers after it, if it covers one.
    pub block_number: Option<i64>,
    /// The fold is stopped and takes no record until an operator decides.
    pub stopped: bool,
}

/// Takes one step.
pub async fn step<'a, F: Fold>(
    fold: &mut F,
    on: impl Into<StepOn<'a>>,
    chain_id: u64,
    options: StepOptions<'_>,
) -> Result<Step, FoldError> {
    let mut on = on.into();
    let mut up_to = options.up_to_seq;
    loop {
        match attempt(fold, &mut on, chain_id, StepOptions { up_to_seq: up_to, ..options }).await {
            Ok(step) => {
                fold.committed();
                return Ok(step);
            }
            Err(Failure { error, blocks_before }) => {
                fold.rolled_back();
                // What precedes the poisoned record's block is sound: it is applied before the fold stops.
                match (&error, blocks_before) {
                    (FoldError::Poisoned { .. }, Some(sound)) if Some(sound) != up_to => up_to = Some(sound),
                    _ => return Err(error),
                }
            }
        }
    }
}

/// Why an attempt failed, and the last record that is not of the poisoned record's block, when the attempt had any before it.
struct Failure {
    error: FoldError,
    blocks_before: Option<i64>,
}

impl<E: Into<FoldError>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self { error: error.into(), blocks_before: None }
    }
}

/// One transaction, which is over when this returns. One that is merely dropped lasts until its connection is next used, and
/// would hold the cursor's lock and the lease's for as long as the fold then waits.
async fn attempt<F: Fold>(
    fold: &mut F,
    on: &mut StepOn<'_>,
    chain_id: u64,
    options: StepOptions<'_>,
) -> Result<Step, Failure> {
    let mut span = Span::none();
    let (taken, ended) = match on {
        StepOn::Pool(db) => {
            let mut tx = db.begin_worker().await?;
            let taken = take(fold, &mut tx, chain_id, options, &mut span).await;
            let ended = async { if writes(&taken) { tx.commit().await } else { tx.rollback().await } };
            let ended = ended.instrument(span).await;
            (taken, ended)
        }
        StepOn::Session(conn) => {
            let mut tx = Connection::begin(&mut **conn).await?;
            let taken = take(fold, &mut tx, chain_id, options, &mut span).await;
            let ended = async { if writes(&taken) { tx.commit().await } else { tx.rollback().await } };
            let ended = ended.instrument(span).await;
            (taken, ended)
        }
    };
    match (taken, ended) {
        (Err(failure), Err(error)) => {
            tracing::debug!(fold = fold.name(), chain_id, %error, "a failed step's connection is gone");
            Err(failure)
        }
        (taken, Ok(())) => taken,
        (Ok(_), Err(error)) => Err(error.into()),
    }
}

/// Whether there is something to commit.
fn writes(taken: &Result<Step, Failure>) -> bool {
    taken.as_ref().is_ok_and(|step| step.records > 0)
}

/// Which way a record goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Forward,
    Back,
    Late,
}

impl Way {
    fn of(kind: JournalKind) -> Self {
        match kind {
            JournalKind::Retract => Self::Back,
            kind if kind.is_late() => Self::Late,
            _ => Self::Forward,
        }
    }
}

/// What the step does in its transaction. `span` becomes that of the step once there is something to take: looking for records is none.
async fn take<F: Fold>(
    fold: &mut F,
    tx: &mut PgConnection,
    chain_id: u64,
    options: StepOptions<'_>,
    span: &mut Span,
) -> Result<Step, Failure> {
    let name = fold.name();
    if let Some(lease) = options.lease {
        lease.guard(tx).await.map_err(FoldError::from)?;
    }
    let mut cursor = cursor::lock(tx, name, chain_id).await?;
    if cursor.stopped {
        return Ok(Step { records: 0, cursor: cursor.seq, block_number: cursor.block_number, stopped: true });
    }
    let mut records =
        match options.tail.and_then(|tail| tail.after(chain_id, cursor.seq, options.max_records)) {
            Some(records) => records,
            None => whole_blocks(tx, chain_id, cursor.seq, options.max_records).await?,
        };
    if let Some(up_to) = options.up_to_seq {
        records.retain(|r| r.seq <= up_to);
    }
    let Some(first) = records.first() else {
        let end = cursor::journal_end(tx, chain_id).await?;
        if cursor.seq > end {
            return Err(FoldError::CursorPastEnd { fold: name, chain_id, cursor: cursor.seq, end }.into());
        }
        return Ok(Step {
            records: 0,
            cursor: cursor.seq,
            block_number: cursor.block_number,
            stopped: false,
        });
    };
    let way = Way::of(first.kind);
    if let Some((missing, record)) = (cursor.seq + 1..).zip(&records).find(|(seq, record)| record.seq != *seq)
    {
        return Err(FoldError::Hole { chain_id, missing, found: record.seq }.into());
    }
    let run = records.iter().position(|r| Way::of(r.kind) != way).unwrap_or(records.len());
    records.truncate(run);
    let retracts = way == Way::Back;
    *span = tracing::info_span!("fold_step", fold = name, chain_id, records = run, retracts);
    let taken = async {
        let last = records.last().map_or(cursor.seq, |r| r.seq);
        if retracts {
            take_back(fold, tx, chain_id, &mut cursor, records).await?;
        } else {
            apply(fold, tx, chain_id, &mut cursor, records).await?;
        }
        cursor.seq = last;
        cursor::advance(tx, name, chain_id, &cursor).await?;
        Ok(Step { records: run, cursor: last, block_number: cursor.block_number, stopped: false })
    };
    taken.instrument(span.clone()).await
}

/// About `limit` records after `after`, ending where a block ends: a block's records are contiguous and committed together, so only
/// the limit can cut one.
async fn whole_blocks(
    conn: &mut PgConnection,
    chain_id: u64,
    after: i64,
    limit: usize,
) -> Result<Vec<Record>, FoldError> {
    let mut limit = i64::try_from(limit.max(1)).unwrap_or(i64::MAX);
    loop {
        let mut rows = read::rows_after(conn, chain_id, after, limit).await?;
        let full = i64::try_from(rows.len()).is_ok_and(|count| count == limit);
        if full {
            let last = rows.last().map(|r| (r.block_number, Way::of(r.kind)));
            let whole = rows.iter().rposition(|r| Some((r.block_number, Way::of(r.kind))) != last);
            let Some(whole) = whole else {
                limit = limit.saturating_mul(2);
                continue;
            };
            rows.truncate(whole + 1);
        }
        return read::records(conn, chain_id, &rows).await;
    }
}

async fn apply<F: Fold>(
    fold: &mut F,
    conn: &mut PgConnection,
    chain_id: u64,
    cursor: &mut Cursor,
    records: Vec<Record>,
) -> Result<(), Failure> {
    let name = fold.name();
    let last = records.last().map_or(cursor.seq, |r| r.seq);
    let skips: HashMap<i64, String> =
        cursor::skips(conn, name, chain_id, cursor.seq, last).await?.into_iter().collect();
    let (skipped, applied): (Vec<_>, Vec<_>) = records.into_iter().partition(|r| skips.contains_key(&r.seq));
    let undos = fold.apply(conn, cursor.final_number, &applied).await.map_err(|error| {
        let blocks_before = match &error {
            FoldError::Poisoned { seq, .. } => before_block_of(&applied, *seq),
            _ => None,
        };
        Failure { error, blocks_before }
    })?;
    assert_eq!(undos.len(), applied.len(), "a fold returns one undo a record");
    for record in &skipped {
        fold.skip(conn, record, &skips[&record.seq]).await?;
    }
    let mut all: Vec<_> =
        applied.into_iter().zip(undos).chain(skipped.into_iter().map(|r| (r, None))).collect();
    all.sort_unstable_by_key(|(record, _)| record.seq);
    let finalized = all
        .iter()
        .filter(|(r, _)| r.kind == JournalKind::Finalize)
        .map(|(r, _)| r.block_number)
        .max()
        .max(cursor.final_number);
    let mut entries = Vec::new();
    for (record, undo) in all {
        let undoable = record.is_undoable() && finalized.is_none_or(|f| record.block_number > f);
        if undoable {
            let undo = if record.kind == JournalKind::Block {
                Some(with_watermark(cursor, undo.as_ref()))
            } else {
                undo
            };
            entries.push(Entry { seq: record.seq, block_number: record.block_number, undo });
        }
        if let (JournalKind::Block, Body::Block(block)) = (record.kind, &record.body) {
            cursor.block_number = Some(to_i64(block.number));
            cursor.block_hash = Some(block.hash.to_vec());
        }
    }
    if !entries.is_empty() {
        cursor::push(conn, name, chain_id, &entries).await?;
    }
    if finalized != cursor.final_number
        && let Some(number) = finalized
    {
        cursor::prune(conn, name, chain_id, number).await?;
        cursor.final_number = finalized;
    }
    Ok(())
}

/// The last record before the block that holds record `seq`.
fn before_block_of(records: &[Record], seq: i64) -> Option<i64> {
    let at = records.iter().position(|r| r.seq == seq)?;
    let number = records[at].block_number;
    records[..at].iter().rev().find(|r| r.block_number != number).map(|r| r.seq)
}

fn with_watermark(cursor: &Cursor, undo: Option<&Value>) -> Value {
    let hash = cursor.block_hash.as_ref().map(alloy_primitives::hex::encode_prefixed);
    json!({ "block_number": cursor.block_number, "block_hash": hash, "fold": undo })
}

async fn take_back<F: Fold>(
    fold: &mut F,
    conn: &mut PgConnection,
    chain_id: u64,
    cursor: &mut Cursor,
    records: Vec<Record>,
) -> Result<(), FoldError> {
    let name = fold.name();
    let unconfirmed: Vec<_> = records.iter().filter_map(unconfirmed).collect();
    if !unconfirmed.is_empty() {
        fold.unconfirm(conn, unconfirmed).await?;
    }
    let retracted: Vec<_> = records
        .into_iter()
        .filter_map(|record| match record.body {
            Body::Retract(original) if original.is_undoable() => Some((record.seq, *original)),
            _ => None,
        })
        .collect();
    let count = i64::try_from(retracted.len()).expect("a step is small");
    let mut entries = cursor::pop(conn, name, chain_id, count).await?.into_iter();
    let mut undone = Vec::with_capacity(retracted.len());
    for (retract_seq, record) in retracted {
        let entry = entries.next();
        let found = entry.as_ref().map(|entry| entry.seq);
        let Some(entry) = entry.filter(|entry| entry.seq == record.seq) else {
            return Err(FoldError::UndoOrder { fold: name, chain_id, expected: record.seq, found });
        };
        let mut undo = entry.undo;
        if record.kind == JournalKind::Block {
            let mut saved = undo.take().unwrap_or_default();
            cursor.block_number = saved["block_number"].as_i64();
            cursor.block_hash =
                saved["block_hash"].as_str().and_then(|text| alloy_primitives::hex::decode(text).ok());
            undo = Some(saved["fold"].take()).filter(|fold| !fold.is_null());
        }
        undone.push(Undone { retract_seq, record, undo });
    }
    if undone.is_empty() { Ok(()) } else { fold.undo(conn, undone).await }
}

/// The block whose confirmation this record takes back.
fn unconfirmed(record: &Record) -> Option<Unconfirmed> {
    let Body::Retract(original) = &record.body else { return None };
    let block = original.block().filter(|_| original.kind == JournalKind::Confirm)?.clone();
    Some(Unconfirmed { retract_seq: record.seq, confirm_seq: original.seq, block })
}

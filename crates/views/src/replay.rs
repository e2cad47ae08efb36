//! The journal folded again from its first record, beside the live tables, and the two compared.
//!
//! The replay runs the very code that made the live tables: the same fold through the same step, on a session whose temporary
//! tables bear the live tables' names and so come first. Nothing that is live is written. It first catches up with the live
//! cursor; then the live side is frozen in one snapshot, the replay takes the few records up to the cursor of that
//! snapshot, and both sides are read in key order and merged. Times are left out: they say when a row was written, not what it says.

use std::cmp::Ordering;
use std::collections::{BTreeMap, VecDeque};
use std::fmt;

use plimsoll_chain::abi::Contracts;
use plimsoll_journal::{FoldError, StepOptions, step};
use plimsoll_store::Db;
use serde::Serialize;
use serde_json::Value;
use sqlx::{ConnectOptions, Connection, PgConnection};

use crate::ViewFold;
use crate::repo::replica::{self, COMPARED, Compared, RowKey};

/// About how many records a step takes.
const MAX_STEP_RECORDS: usize = 10_000;
/// The live side is frozen when the replay is this close to it, so that the snapshot is short.
const CLOSE_RECORDS: i64 = 20_000;
/// Rows that are read from one side at a time.
const PAGE_ROWS: i64 = 5_000;
/// Differences that are listed; all of them are counted.
pub const MAX_LISTED_DIFFERENCES: usize = 100;

/// How far a replay is.
#[derive(Clone, Copy, Debug)]
pub struct ReplayProgress {
    /// The last record that was replayed.
    pub seq: i64,
    /// The live cursor, when last looked at.
    pub of_seq: i64,
}

/// One table's rows on both sides.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct TableReport {
    /// The table.
    pub table: &'static str,
    /// Its rows in the live database.
    pub live_rows: u64,
    /// Its rows in the replay.
    pub replayed_rows: u64,
    /// Keys whose rows differ, or that only one side has.
    pub different_rows: u64,
}

/// Apply-log rows of one status and reject code, on both sides.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct StatusCount {
    /// The status.
    pub apply_status: String,
    /// The reject code.
    pub reject_code: Option<String>,
    /// Rows in the live database.
    pub live_rows: i64,
    /// Rows in the replay.
    pub replayed_rows: i64,
}

/// A key on which the sides differ.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ReplayDifference {
    /// The table.
    pub table: &'static str,
    /// The key within the chain: a journal sequence, or key columns joined by `/`.
    pub key: String,
    /// The live row.
    pub live: Option<Value>,
    /// The replayed row.
    pub replayed: Option<Value>,
}

/// What a replay found.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ReplayReport {
    /// The chain.
    pub chain_id: u64,
    /// The journal record at which both sides were compared.
    pub at_seq: i64,
    /// Records that were replayed.
    pub records: u64,
    /// The tables.
    pub tables: Vec<TableReport>,
    /// The apply log by status and reject code.
    pub apply_log: Vec<StatusCount>,
    /// The first [`MAX_LISTED_DIFFERENCES`] differences.
    pub differences: Vec<ReplayDifference>,
    /// Whether there is none.
    pub equal: bool,
}

/// Why a replay ended early.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// Postgres.
    #[error("replaying: {0}")]
    Database(#[from] sqlx::Error),
    /// A record that the live fold has taken cannot be folded again.
    #[error("replaying: {0}")]
    Fold(#[from] FoldError),
    /// The journal ends before the live cursor.
    #[error(
        "the live fold is at record {live}, but the journal gives none after {replayed}: they are not of one database"
    )]
    ShortJournal {
        /// The live cursor.
        live: i64,
        /// The last record that could be replayed.
        replayed: i64,
    },
}

/// Folds the chain's journal again and compares.
///
/// # Errors
/// When the database fails, or the journal cannot be folded up to the live cursor. Differences are no error: the report has them.
pub async fn replay(
    db: &Db,
    chain_id: u64,
    contracts: &Contracts,
    mut progress: impl FnMut(ReplayProgress) + Send,
) -> Result<ReplayReport, ReplayError> {
    // Sessions of their own: a pooled one may have plans that were made for the live tables, and it would carry the temporary
    // tables back to the pool.
    let mut live = db.urls().worker.clone().application_name("plimsoll replay (live side)").connect().await?;
    let mut own = db.urls().worker.clone().application_name("plimsoll replay").connect().await?;
    for conn in [&mut live, &mut own] {
        replica::lift_timeouts(conn).await?;
    }
    replica::shadow(&mut own).await?;
    let mut replayed =
        Replayed { fold: ViewFold::uncounted(chain_id, contracts), chain_id, cursor: 0, records: 0 };
    loop {
        let target = replica::cursor(&mut live, chain_id).await?;
        replayed.advance(&mut own, target, &mut progress).await?;
        if replica::cursor(&mut live, chain_id).await? - replayed.cursor <= CLOSE_RECORDS {
            break;
        }
    }
    let mut live_tx = live.begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?;
    let at_seq = replica::cursor(&mut live_tx, chain_id).await?;
    replayed.advance(&mut own, at_seq, &mut progress).await?;
    let mut report =
        ReplayReport { chain_id, at_seq, records: replayed.records, equal: true, ..ReplayReport::default() };
    for table in COMPARED {
        compare(*table, chain_id, &mut live_tx, &mut own, &mut report).await?;
    }
    report.apply_log = status_counts(chain_id, &mut live_tx, &mut own).await?;
    report.equal = report.tables.iter().all(|table| table.different_rows == 0);
    live_tx.commit().await?;
    live.close().await?;
    own.close().await?;
    Ok(report)
}

struct Replayed {
    fold: ViewFold,
    chain_id: u64,
    cursor: i64,
    records: u64,
}

impl Replayed {
    async fn advance(
        &mut self,
        conn: &mut PgConnection,
        target: i64,
        progress: &mut impl FnMut(ReplayProgress),
    ) -> Result<(), ReplayError> {
        let options =
            StepOptions { max_records: MAX_STEP_RECORDS, up_to_seq: Some(target), tail: None, lease: None };
        // Ends: each step takes at least one record, or is the last.
        while self.cursor < target {
            let done = step(&mut self.fold, &mut *conn, self.chain_id, options).await?;
            if done.records == 0 {
                return Err(ReplayError::ShortJournal { live: target, replayed: self.cursor });
            }
            self.cursor = done.cursor;
            self.records += done.records as u64;
            progress(ReplayProgress { seq: self.cursor, of_seq: target });
        }
        Ok(())
    }
}

/// One side's rows of a table, in key order.
struct Side<'a> {
    conn: &'a mut PgConnection,
    table: Compared,
    chain_id: u64,
    page: VecDeque<(RowKey, String)>,
    last: Option<RowKey>,
    is_read: bool,
    rows: u64,
}

impl<'a> Side<'a> {
    fn new(conn: &'a mut PgConnection, table: Compared, chain_id: u64) -> Self {
        Self { conn, table, chain_id, page: VecDeque::new(), last: None, is_read: false, rows: 0 }
    }

    async fn fill(&mut self) -> Result<(), sqlx::Error> {
        if self.page.is_empty() && !self.is_read {
            let page = self.table.digests(self.conn, self.chain_id, self.last.as_ref(), PAGE_ROWS).await?;
            self.is_read = page.is_empty();
            self.rows += page.len() as u64;
            self.last = page.last().map(|(key, _)| key.clone()).or(self.last.take());
            self.page = page.into();
        }
        Ok(())
    }

    async fn row(&mut self, key: &RowKey) -> Result<Option<Value>, sqlx::Error> {
        let text = self.table.row_at(self.conn, self.chain_id, key).await?;
        Ok(text.map(|text| serde_json::from_str(&text).unwrap_or(Value::String(text))))
    }
}

async fn compare(
    table: Compared,
    chain_id: u64,
    live: &mut PgConnection,
    own: &mut PgConnection,
    report: &mut ReplayReport,
) -> Result<(), sqlx::Error> {
    let mut live = Side::new(live, table, chain_id);
    let mut own = Side::new(own, table, chain_id);
    let mut different_rows = 0;
    // Ends: each turn takes a row from at least one side.
    loop {
        live.fill().await?;
        own.fill().await?;
        let order = match (live.page.front(), own.page.front()) {
            (Some((live, _)), Some((own, _))) => live.cmp(own),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (None, None) => break,
        };
        let from_live = if order.is_le() { live.page.pop_front() } else { None };
        let from_own = if order.is_ge() { own.page.pop_front() } else { None };
        let equal = from_live.as_ref().zip(from_own.as_ref()).is_some_and(|(live, own)| live.1 == own.1);
        let Some((key, _)) = from_live.or(from_own).filter(|_| !equal) else { continue };
        different_rows += 1;
        if report.differences.len() < MAX_LISTED_DIFFERENCES {
            let (live, replayed) = (live.row(&key).await?, own.row(&key).await?);
            report.differences.push(ReplayDifference { table: table.name, key: text(&key), live, replayed });
        }
    }
    report.tables.push(TableReport {
        table: table.name,
        live_rows: live.rows,
        replayed_rows: own.rows,
        different_rows,
    });
    Ok(())
}

fn text(key: &RowKey) -> String {
    match key {
        RowKey::Seq(seq) => seq.to_string(),
        RowKey::Texts(texts) => texts.join("/"),
    }
}

async fn status_counts(
    chain_id: u64,
    live: &mut PgConnection,
    own: &mut PgConnection,
) -> Result<Vec<StatusCount>, sqlx::Error> {
    let mut counts: BTreeMap<(String, Option<String>), (i64, i64)> = BTreeMap::new();
    for (status, code, rows) in replica::status_counts(live, chain_id).await? {
        counts.entry((status, code)).or_default().0 = rows;
    }
    for (status, code, rows) in replica::status_counts(own, chain_id).await? {
        counts.entry((status, code)).or_default().1 = rows;
    }
    let count = |((apply_status, reject_code), (live_rows, replayed_rows))| StatusCount {
        apply_status,
        reject_code,
        live_rows,
        replayed_rows,
    };
    Ok(counts.into_iter().map(count).collect())
}

impl fmt::Display for ReplayReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = if self.equal { "equal" } else { "DIFFERENT" };
        write!(
            f,
            "chain {}: {} records replayed up to {}: {verdict}",
            self.chain_id, self.records, self.at_seq
        )?;
        for table in &self.tables {
            let TableReport { table, live_rows, replayed_rows, different_rows } = table;
            write!(
                f,
                "\n  {table:<22} live {live_rows:>10}  replayed {replayed_rows:>10}  different {different_rows:>10}"
            )?;
        }
        for count in &self.apply_log {
            let status = format!("{} {}", count.apply_status, count.reject_code.as_deref().unwrap_or(""));
            write!(
                f,
                "\n    {status:<30} live {:>10}  replayed {:>10}",
                count.live_rows, count.replayed_rows
            )?;
        }
        for difference in &self.differences {
            let side =
                |row: &Option<Value>| row.as_ref().map_or_else(|| "no row".to_owned(), Value::to_string);
            write!(
                f,
                "\n{} {}\n  live     {}\n  replayed {}",
                difference.table,
                difference.key,
                side(&difference.live),
                side(&difference.replayed)
            )?;
        }
        Ok(())
    }
}

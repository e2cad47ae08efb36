//! The audit log, recomputed row by row.

use std::fmt;

use plimsoll_store::Db;
use plimsoll_store::sequencer::{Hash, Head, LinkCheck, SequencerError, head};
use serde::Serialize;
use sqlx::PgConnection;

use super::AUDIT_LOG;
use super::digest::row_digest;
use crate::repo::audit as repo;

/// How many rows are read at a time.
const PAGE_ROWS: i64 = 1_000;

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AuditReport {
    /// The first row that was to be checked.
    pub from: i64,
    /// The last.
    pub to: i64,
    /// How many rows were checked and hold.
    pub rows: i64,
    /// The last row that retention removed, where the check went on from its hash.
    pub checkpoint: Option<i64>,
    /// The hash of the last row that holds, in hexadecimal: worth keeping elsewhere.
    pub head_hash: Option<String>,
    /// The first row that does not hold.
    pub broken: Option<Break>,
}

/// A row that does not hold, or that is not there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Break {
    /// Its number.
    pub sequence: i64,
    /// What is wrong.
    pub what: String,
}

/// Why the log was not verified.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// A range that makes no sense.
    #[error(
        "the audit log has the rows {first} to {last}, and {from} to {to} is no range of them: give a first and a last row among them, the lower one first"
    )]
    Range {
        /// Its beginning.
        from: i64,
        /// Its end.
        to: i64,
        /// The first row that is kept.
        first: i64,
        /// The last row.
        last: i64,
    },
    /// The stream's standing could not be read.
    #[error("verifying the audit log: {0}")]
    Stream(#[from] SequencerError),
    /// The database's own error.
    #[error("verifying the audit log: {0}")]
    Database(#[from] sqlx::Error),
}

impl fmt::Display for AuditReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "rows {} to {}: {} hold", self.from, self.to, self.rows)?;
        if let Some(hash) = &self.head_hash {
            write!(f, ", the last with hash {hash}")?;
        }
        match &self.broken {
            Some(broken) => write!(f, "; broken at row {}: {}", broken.sequence, broken.what),
            None => Ok(()),
        }
    }
}

/// Recomputes digests and links of the rows `from` to `to`, both included: by default all that there are. Rows that wait for their number are not among them.
///
/// A check that begins with the first row of all needs no trust. One that begins with the first row that retention left goes on from the checkpoint that retention put on
/// record: where there is none, somebody else removed what was before. One that begins later, as it was asked to, takes the first row's `prev_hash` as given.
///
/// # Errors
/// See [`VerifyError`]. A broken row is no error: it is what is reported.
pub async fn verify(db: &Db, from: Option<i64>, to: Option<i64>) -> Result<AuditReport, VerifyError> {
    let mut conn = db.worker().acquire().await?;
    // The head first: all that it counts is there when the rows are read.
    let head = head(&mut conn, &AUDIT_LOG).await?;
    let first = repo::first_kept(&mut conn).await?;
    let (from, to) = (from.unwrap_or(first), to.unwrap_or(head.sequence));
    let is_empty = head.sequence < first && from == first && to == head.sequence;
    if !is_empty && (from < first || from > to || to > head.sequence) {
        return Err(VerifyError::Range { from, to, first, last: head.sequence });
    }
    let Start { mut check, checkpoint, mut broken } = Start::at(&mut conn, from, first).await?;
    if broken.is_none() {
        broken = walk(&mut conn, &mut check, to).await?;
    }
    if broken.is_none() && to == head.sequence {
        broken = not_the_head(&check, &head);
    }
    let head_hash = check.head_hash().filter(|_| check.expected() > from).map(|hash| hex(&hash));
    Ok(AuditReport { from, to, rows: check.expected() - from, checkpoint, head_hash, broken })
}

/// Where a check begins.
pub(super) struct Start {
    pub(super) check: LinkCheck<'static>,
    pub(super) checkpoint: Option<i64>,
    pub(super) broken: Option<Break>,
}

impl Start {
    /// Before the row `from`; `first` is the first that is kept.
    pub(super) async fn at(conn: &mut PgConnection, from: i64, first: i64) -> Result<Self, sqlx::Error> {
        let before = from - 1;
        let checkpoint = repo::checkpoint(conn, AUDIT_LOG.name(), before).await?;
        let check = match checkpoint {
            Some(hash) => LinkCheck::after(AUDIT_LOG.name(), before, hash),
            None => LinkCheck::from(AUDIT_LOG.name(), from),
        };
        let is_beheaded = from == first && first > 1 && checkpoint.is_none();
        let broken = is_beheaded.then(|| Break {
            sequence: from,
            what: "the rows before it are gone, and no checkpoint of retention tells of it".into(),
        });
        Ok(Self { check, checkpoint: checkpoint.map(|_| before), broken })
    }
}

/// Checks the rows that come next, up to `to`, and returns the first that does not hold.
pub(super) async fn walk(
    conn: &mut PgConnection,
    check: &mut LinkCheck<'static>,
    to: i64,
) -> Result<Option<Break>, sqlx::Error> {
    // Ends: each page moves the check on, or breaks it.
    while check.expected() <= to {
        let rows = repo::page(conn, check.expected(), to, PAGE_ROWS).await?;
        if rows.is_empty() {
            return Ok(Some(missing(check.expected())));
        }
        if let Some(broken) = rows.iter().find_map(|row| judge(check, row)) {
            return Ok(Some(broken));
        }
    }
    Ok(None)
}

/// The sequencer notes each row's hash beside its counter; a check that came so far must have found the same.
pub(super) fn not_the_head(check: &LinkCheck<'_>, head: &Head) -> Option<Break> {
    check.head_hash().filter(|hash| *hash != head.hash).map(|_| Break {
        sequence: head.sequence,
        what: "its hash is not the one that the sequencer noted last".into(),
    })
}

fn judge(check: &mut LinkCheck<'_>, numbered: &repo::Numbered) -> Option<Break> {
    let sequence = numbered.sequence;
    let broken = |what: String| Some(Break { sequence, what });
    let computed = match row_digest(&numbered.row) {
        Ok(digest) => digest,
        Err(error) => return broken(format!("what it says {error}")),
    };
    if sequence != check.expected() {
        return Some(missing(check.expected()));
    }
    if numbered.digest != computed {
        return broken("what it says is not what its digest was made of".into());
    }
    check
        .next(sequence, &computed, &numbered.prev_hash, &numbered.hash)
        .err()
        .and_then(|error| broken(error.to_string()))
}

fn missing(sequence: i64) -> Break {
    Break { sequence, what: "it is missing".into() }
}

fn hex(hash: &Hash) -> String {
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}

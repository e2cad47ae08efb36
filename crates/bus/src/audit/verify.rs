//! The audit log, recomputed row by row.

use std::fmt;

use plimsoll_store::Db;
use plimsoll_store::sequencer::{Hash, LinkCheck, SequencerError, head};
use serde::Serialize;

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
    #[error("the range {from} to {to} has no rows: the audit log reaches from {first} to {last}")]
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
    let checkpoint = repo::checkpoint(&mut conn, AUDIT_LOG.name(), from - 1).await?;
    let mut check = match checkpoint {
        Some(hash) => LinkCheck::after(AUDIT_LOG.name(), from - 1, hash),
        None => LinkCheck::from(AUDIT_LOG.name(), from),
    };
    let is_beheaded = from == first && first > 1 && checkpoint.is_none();
    let mut broken = is_beheaded.then(|| Break {
        sequence: from,
        what: "the rows before it are gone, and no checkpoint of retention tells of it".into(),
    });
    while broken.is_none() && check.expected() <= to {
        let rows = repo::page(&mut conn, check.expected(), to, PAGE_ROWS).await?;
        let is_end = rows.is_empty();
        broken = rows.iter().find_map(|row| judge(&mut check, row));
        if is_end {
            broken = Some(missing(check.expected()));
        }
    }
    if broken.is_none() && to == head.sequence && check.head_hash().is_some_and(|hash| hash != head.hash) {
        broken = Some(Break {
            sequence: to,
            what: "its hash is not the one that the sequencer noted last".into(),
        });
    }
    let head_hash = check.head_hash().filter(|_| check.expected() > from).map(|hash| hex(&hash));
    let checkpoint = checkpoint.map(|_| from - 1);
    Ok(AuditReport { from, to, rows: check.expected() - from, checkpoint, head_hash, broken })
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

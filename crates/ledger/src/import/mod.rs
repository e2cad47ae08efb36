//! Postings from a file: JSON Lines or CSV, as `docs/ledger.md` has them (*Import*).
//!
//! # What it promises
//! - **The whole file is looked at before anything of it is booked** ([`Import::check`]): each line for itself, with the accounts that it names, with what is on record under its key, with what the file says
//!   elsewhere under that key; and one after the other on what the accounts hold, by the very rules that book them. All that is wrong is told, with line, field and what to do.
//! - **It is done once.** A posting has its key from the file (`request_id`, or the voucher's name). What is on record is repeated, and not booked again: so the same file twice books nothing twice, and one that was interrupted
//!   is gone on with by importing it again.
//! - **What only booking tells stops it** ([`Import::book`]): another request that spent the money meanwhile, another posting under a key. What is before it is on record, and stays so.
//! - **A file may be long.** It is read twice, a window of postings at a time. What is kept of each posting is a fingerprint of its key ([`POSTINGS_MAX`] bounds that), to find what the file says twice.

mod check;
mod csv;
mod entry;
mod fields;
mod lines;
mod reader;
mod rows;
mod run;

use std::collections::HashMap;
use std::fmt;

use plimsoll_store::Db;
use plimsoll_types::Context;
use serde::Serialize;
use uuid::Uuid;

use crate::error::PostError;

/// The most postings of a file.
pub const POSTINGS_MAX: u64 = 10_000_000;
/// The most problems that are listed; the others are counted.
pub const PROBLEMS_LISTED: usize = 100;
/// The operation that a posting is where the file does not say.
pub const OPERATION: &str = "import";

/// Postings that are looked at, or under way, at a time.
const WINDOW: usize = 1_000;

/// How the file is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// A posting a line.
    JsonLines,
    /// A line of a posting a row.
    Csv,
}

/// Something that is wrong with the file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// Its line in the file, from 1.
    pub line: u64,
    /// The field.
    pub field: String,
    /// What is wrong.
    pub what: String,
    /// What to do.
    pub remedy: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, {}: {}: {}", self.line, self.field, self.what, self.remedy)
    }
}

/// What a file comes to.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Checked {
    /// Its postings.
    pub postings: u64,
    /// Their lines.
    pub lines: u64,
    /// Those that are on record, or are in the file before.
    pub repeated: u64,
    /// Those that count in the open period because theirs is closed.
    pub late: u64,
    /// What is wrong, the first ones.
    pub problems: Vec<Problem>,
    /// How much is wrong.
    pub problem_count: u64,
    /// SHA-256 of the file, in hexadecimal.
    pub sha256: String,
    /// The postings that others of the file put right.
    #[serde(skip)]
    corrected: HashMap<Uuid, Option<Uuid>>,
}

impl Checked {
    fn note(&mut self, problem: Problem) {
        self.problem_count += 1;
        if self.problems.len() < PROBLEMS_LISTED {
            self.problems.push(problem);
        }
    }

    /// Those that are to be booked.
    #[must_use]
    pub fn fresh(&self) -> u64 {
        self.postings - self.repeated
    }
}

/// How far an import has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Imported {
    /// Booked by this import.
    pub posted: u64,
    /// On record before.
    pub repeated: u64,
}

/// Why an import ended early. What was booked by then is on record: the same import again goes on behind it.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The file.
    #[error("reading the file: {0}")]
    File(#[from] std::io::Error),
    /// The file has problems, which were found before anything was booked.
    #[error("{} wrong with the file, and nothing of it was booked", things(*.0))]
    Unsound(u64),
    /// What was found when it was booked.
    #[error("{0}")]
    Stopped(Problem),
    /// A posting of which it is not known whether it is on record.
    #[error("line {line}: {error}")]
    Unknown {
        /// Where it stands.
        line: u64,
        /// Why.
        error: PostError,
    },
    /// Postgres.
    #[error("importing: {0}")]
    Database(#[from] sqlx::Error),
}

fn things(count: u64) -> String {
    if count == 1 { "1 thing is".into() } else { format!("{count} things are") }
}

/// An import into a tenant's books.
#[derive(Clone, Debug)]
pub struct Import<'a> {
    /// The database.
    pub db: &'a Db,
    /// Whose books.
    pub tenant_id: Uuid,
    /// Who imports, and the request that it is: what is booked names it as its cause.
    pub context: Context,
    /// How the file is written.
    pub format: Format,
}

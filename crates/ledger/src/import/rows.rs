//! Postings out of the rows of a CSV.

use std::collections::BTreeSet;
use std::io::BufRead;

use serde_json::{Map, Value};

use super::csv::{Record, Records};
use super::entry::Entry;
use super::lines::Broken;
use super::reader::Read;
use super::{Import, Problem};
use crate::posting::LINES_MAX;

/// Columns that are of a line; all others are of its posting.
const OF_LINE: &[&str] = &[
    "account_id",
    "account",
    "direction",
    "amount",
    "debit",
    "credit",
    "currency",
    "entry_type",
    "sequence",
    "account_version",
    "balance_after",
    "checksum",
];
/// Columns that name a posting.
const OF_KEY: &[&str] = &["request_id", "voucher", "user_id", "operation_type"];

/// What a posting and its lines cannot do without: one of each.
const NEEDED: &[(&str, &[&[&str]], &str)] = &[
    (
        "voucher",
        &[&["voucher"], &["request_id"]],
        "name each posting under `voucher`, or give its `request_id`",
    ),
    (
        "account",
        &[&["account"], &["account_id"]],
        "name each line's account under `account`, or give its `account_id`",
    ),
    ("currency", &[&["currency"]], "name what each line's account is kept in"),
    (
        "debit",
        &[&["debit", "credit"], &["direction", "amount"]],
        "give each line's amount under `debit` or `credit`; or under `amount`, with `direction` as debit or credit",
    ),
];

/// Reads the rows of one posting after those of another.
pub(super) struct Rows<R> {
    records: Records<R>,
    header: Option<Vec<String>>,
    /// The first row of the next posting.
    ahead: Option<Record>,
}

impl<R: BufRead> Rows<R> {
    pub(super) fn new(records: Records<R>) -> Self {
        Self { records, header: None, ahead: None }
    }

    /// The next posting; none: it was the last one.
    pub(super) fn next(&mut self, import: &Import<'_>) -> Result<Option<Read>, Broken> {
        let header = match self.header.take() {
            Some(header) => header,
            None => match self.records.next()? {
                Some((line, header)) => checked(import, line, header)?,
                None => return Ok(None),
            },
        };
        let header = &*self.header.insert(header);
        let Some((begin, first)) =
            self.ahead.take().map_or_else(|| self.records.next(), |row| Ok(Some(row)))?
        else {
            return Ok(None);
        };
        let mut group = Group::new(header, begin, first);
        // Ends: each turn reads a record.
        while let Some((line, row)) = self.records.next()? {
            if let Some(next) = group.add(line, row) {
                self.ahead = Some((line, next));
                break;
            }
        }
        Ok(Some(group.read(import)))
    }

    /// SHA-256 of what was read.
    pub(super) fn sha256(self) -> String {
        self.records.sha256()
    }
}

/// The header, where each column is one that there is, and is there once, and none is missing: what is wrong with it is wrong in every row, and told once. A column without a name is
/// an empty one of a spreadsheet.
fn checked(import: &Import<'_>, line: u64, header: Vec<String>) -> Result<Vec<String>, Broken> {
    let mut problems = Vec::new();
    let mut wrong = |field: &str, what: &str, remedy: &str| {
        problems.push(Problem { line, field: field.into(), what: what.into(), remedy: remedy.into() });
    };
    let names: BTreeSet<_> = header.iter().map(String::as_str).filter(|name| !name.is_empty()).collect();
    let has = |all: &&[&str]| all.iter().all(|name| names.contains(name));
    for (field, ways, remedy) in NEEDED {
        if !ways.iter().any(has) {
            wrong(field, "the header has no such column", remedy);
        }
    }
    let mut before = BTreeSet::new();
    for name in header.iter().filter(|name| !name.is_empty()) {
        if !before.insert(name) {
            wrong(name, "the header has this column twice", "leave one of them out");
        }
    }
    let empty = |names: &[&str]| names.iter().map(|name| ((*name).to_owned(), Value::Null)).collect();
    let (of_line, of_posting): (Vec<_>, Vec<_>) = names.iter().partition(|name| OF_LINE.contains(name));
    problems.extend(Entry::unknown(import, line, empty(&of_posting), empty(&of_line)));
    if problems.is_empty() { Ok(header) } else { Err(Broken::Form(problems)) }
}

/// The rows of one posting.
struct Group<'a> {
    header: &'a [String],
    begin: u64,
    posting: Map<String, Value>,
    lines: Vec<(u64, Map<String, Value>)>,
    problems: Vec<Problem>,
}

impl<'a> Group<'a> {
    fn new(header: &'a [String], begin: u64, first: Vec<String>) -> Self {
        let mut group = Self { header, begin, posting: Map::new(), lines: Vec::new(), problems: Vec::new() };
        group.take(begin, first);
        group
    }

    /// Takes a row that is of this posting too; returns one that is of another. A row that does not say belongs to the posting above it.
    fn add(&mut self, line: u64, row: Vec<String>) -> Option<Vec<String>> {
        let mut named = self.header.iter().zip(&row).filter(|(name, _)| OF_KEY.contains(&name.as_str()));
        let is_of_another = named.any(|(name, text)| !text.is_empty() && !self.says(name, text));
        if is_of_another {
            return Some(row);
        }
        self.take(line, row);
        None
    }

    fn says(&self, name: &str, text: &str) -> bool {
        self.posting.get(name).and_then(Value::as_str) == Some(text)
    }

    fn wrong(&mut self, line: u64, field: &str, what: String, remedy: &str) {
        self.problems.push(Problem { line, field: field.into(), what, remedy: remedy.into() });
    }

    fn take(&mut self, line: u64, row: Vec<String>) {
        if row.len() != self.header.len() {
            let what = format!("the row has {} fields, and the header {}", row.len(), self.header.len());
            self.wrong(
                line,
                "the row",
                what,
                "separate fields by commas, and put one that has a comma into quotes",
            );
            return;
        }
        let mut of_line = Map::new();
        for (name, text) in self.header.iter().zip(row) {
            if text.is_empty() {
                continue;
            }
            if OF_LINE.contains(&name.as_str()) {
                of_line.insert(name.clone(), Value::String(text));
            } else if self.lines.is_empty() {
                self.posting.insert(name.clone(), Value::String(text));
            } else if !self.says(name, &text) {
                let what = format!("this row says {text:?}, and the posting's first row something else");
                self.wrong(
                    line,
                    name,
                    what,
                    "say it once, in the first row; or give the row a `voucher` of its own",
                );
            }
        }
        // One more than there may be says that there are too many.
        if self.lines.len() <= LINES_MAX {
            self.lines.push((line, of_line));
        }
    }

    fn read(mut self, import: &Import<'_>) -> Read {
        let read = Entry::read(import, self.begin, self.posting, self.lines);
        if self.problems.is_empty() {
            return read;
        }
        self.problems.extend(read.err().into_iter().flatten());
        Err(self.problems)
    }
}

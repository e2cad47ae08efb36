//! Postings out of a file, one after the other.

use std::io::BufRead;

use serde_json::{Map, Value};

use super::csv::{Broken, Lines, record};
use super::entry::Entry;
use super::{Format, Import, Problem};
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

/// A posting, or all that is wrong with it.
pub(super) type Read = Result<Entry, Vec<Problem>>;

/// Reads postings.
pub(super) struct Reader<'a, R> {
    import: &'a Import<'a>,
    lines: Lines<R>,
    header: Option<Vec<String>>,
    /// The first row of the next posting.
    ahead: Option<(u64, Vec<String>)>,
}

impl<'a, R: BufRead> Reader<'a, R> {
    pub(super) fn new(import: &'a Import<'a>, input: R) -> Self {
        Self { import, lines: Lines::new(input), header: None, ahead: None }
    }

    /// The next posting; none: it was the last one.
    pub(super) fn next(&mut self) -> Result<Option<Read>, Broken> {
        match self.import.format {
            Format::JsonLines => self.next_line(),
            Format::Csv => self.next_rows(),
        }
    }

    /// SHA-256 of what was read.
    pub(super) fn sha256(self) -> String {
        self.lines.sha256()
    }

    fn next_line(&mut self) -> Result<Option<Read>, Broken> {
        // Ends: each turn reads a line.
        loop {
            let Some((line, text)) = self.lines.next()? else { return Ok(None) };
            if !text.trim().is_empty() {
                return Ok(Some(self.of_json(line, &text)));
            }
        }
    }

    fn of_json(&self, line: u64, text: &str) -> Read {
        let wrong = |field: &str, what: String, remedy: &str| {
            vec![Problem { line, field: field.into(), what, remedy: remedy.into() }]
        };
        let mut posting: Map<String, Value> = serde_json::from_str(text).map_err(|error| {
            wrong(
                "the line",
                format!("it is no JSON object: {error}"),
                "write a posting a line, as {\"voucher\": …, \"lines\": […]}",
            )
        })?;
        let lines = posting.remove("lines").or_else(|| posting.remove("entries"));
        let Some(Value::Array(lines)) = lines else {
            return Err(wrong(
                "lines",
                "it is no list".into(),
                "give the posting's lines, as [{\"account\": …, \"debit\": …, \"currency\": …}, …]",
            ));
        };
        let object = |given| match given {
            Value::Object(given) => Ok((line, given)),
            _ => Err(wrong(
                "lines",
                "one of them is no object".into(),
                "write each as {\"account\": …, \"debit\": …, \"currency\": …}",
            )),
        };
        let lines = lines.into_iter().map(object).collect::<Result<_, _>>()?;
        Entry::read(self.import, line, posting, lines)
    }

    fn next_rows(&mut self) -> Result<Option<Read>, Broken> {
        if self.header.is_none() {
            let Some((_, header)) = record(&mut self.lines)? else { return Ok(None) };
            self.header = Some(header);
        }
        let Some((begin, first)) =
            self.ahead.take().map_or_else(|| record(&mut self.lines), |row| Ok(Some(row)))?
        else {
            return Ok(None);
        };
        let mut rows = Rows::new(self.header.as_deref().unwrap_or_default(), begin, first);
        // Ends: each turn reads a record.
        while let Some((line, row)) = record(&mut self.lines)? {
            if let Some(next) = rows.add(line, row) {
                self.ahead = Some((line, next));
                break;
            }
        }
        Ok(Some(rows.read(self.import)))
    }
}

/// The rows of one posting.
struct Rows<'a> {
    header: &'a [String],
    begin: u64,
    posting: Map<String, Value>,
    lines: Vec<(u64, Map<String, Value>)>,
    problems: Vec<Problem>,
}

impl<'a> Rows<'a> {
    fn new(header: &'a [String], begin: u64, first: Vec<String>) -> Self {
        let mut rows = Self { header, begin, posting: Map::new(), lines: Vec::new(), problems: Vec::new() };
        rows.take(begin, first);
        rows
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

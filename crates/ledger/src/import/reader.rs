//! Postings out of a file, one after the other.

use std::io::BufRead;

use serde_json::{Map, Value};

use super::csv::Records;
use super::entry::Entry;
use super::lines::{Broken, Lines};
use super::rows::Rows;
use super::{Format, Import, Problem};

/// A posting, or all that is wrong with it.
pub(super) type Read = Result<Entry, Vec<Problem>>;

/// Reads postings.
pub(super) struct Reader<'a, R> {
    import: &'a Import<'a>,
    source: Source<R>,
}

enum Source<R> {
    JsonLines(Lines<R>),
    Csv(Box<Rows<R>>),
}

impl<'a, R: BufRead> Reader<'a, R> {
    pub(super) fn new(import: &'a Import<'a>, input: R) -> Self {
        let lines = Lines::new(input);
        let source = match import.format {
            Format::JsonLines => Source::JsonLines(lines),
            Format::Csv => Source::Csv(Box::new(Rows::new(Records::new(lines)))),
        };
        Self { import, source }
    }

    /// The next posting; none: it was the last one.
    pub(super) fn next(&mut self) -> Result<Option<Read>, Broken> {
        match &mut self.source {
            Source::JsonLines(lines) => {
                let line = lines.next_filled()?;
                Ok(line.map(|(line, text)| of_json(self.import, line, &text)))
            }
            Source::Csv(rows) => rows.next(self.import),
        }
    }

    /// SHA-256 of what was read.
    pub(super) fn sha256(self) -> String {
        match self.source {
            Source::JsonLines(lines) => lines.sha256(),
            Source::Csv(rows) => rows.sha256(),
        }
    }
}

fn of_json(import: &Import<'_>, line: u64, text: &str) -> Read {
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
    Entry::read(import, line, posting, lines)
}

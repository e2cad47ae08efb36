//! Lines of a file, and records of a CSV (RFC 4180).

use std::io::{self, BufRead, Read as _};

use alloy_primitives::hex;
use sha2::{Digest, Sha256};

use super::Problem;

/// The most bytes of a line, and of a record.
const LINE_MAX_BYTES: u64 = 1024 * 1024;

/// Why nothing more is read.
#[derive(Debug)]
pub(super) enum Broken {
    File(io::Error),
    /// Nobody can tell where the next posting begins.
    Form(Problem),
}

impl From<io::Error> for Broken {
    fn from(error: io::Error) -> Self {
        Self::File(error)
    }
}

/// A file's lines.
#[derive(Debug)]
pub(super) struct Lines<R> {
    input: R,
    number: u64,
    hash: Sha256,
}

impl<R: BufRead> Lines<R> {
    pub(super) fn new(input: R) -> Self {
        Self { input, number: 0, hash: Sha256::new() }
    }

    /// The next line with its end, and its number.
    pub(super) fn next(&mut self) -> Result<Option<(u64, String)>, Broken> {
        let mut bytes = Vec::new();
        let read = (&mut self.input).take(LINE_MAX_BYTES + 1).read_until(b'\n', &mut bytes)?;
        if read == 0 {
            return Ok(None);
        }
        self.number += 1;
        let broken = |what: &str, remedy: &str| Broken::Form(problem(self.number, what, remedy));
        if bytes.len() as u64 > LINE_MAX_BYTES {
            return Err(broken(
                "it is longer than 1 MiB",
                "a posting has 512 lines at most: look whether line ends are missing",
            ));
        }
        self.hash.update(&bytes);
        let text =
            String::from_utf8(bytes).map_err(|_| broken("it is not UTF-8", "save the file as UTF-8"))?;
        let text = if self.number == 1 { text.trim_start_matches('\u{feff}').to_owned() } else { text };
        Ok(Some((self.number, text)))
    }

    /// SHA-256 of what was read.
    pub(super) fn sha256(self) -> String {
        hex::encode(self.hash.finalize())
    }
}

fn problem(line: u64, what: &str, remedy: &str) -> Problem {
    Problem { line, field: "the line".into(), what: what.into(), remedy: remedy.into() }
}

/// The next record that is not empty, with the number of the line on which it begins. A field in quotes may go over several lines.
pub(super) fn record<R: BufRead>(lines: &mut Lines<R>) -> Result<Option<(u64, Vec<String>)>, Broken> {
    let (begin, mut text) = loop {
        match lines.next()? {
            None => return Ok(None),
            Some((_, line)) if line.trim().is_empty() => {}
            Some(first) => break first,
        }
    };
    let mut quotes = text.matches('"').count();
    // Ends: each turn reads a line.
    while !quotes.is_multiple_of(2) {
        let next = lines.next()?.filter(|(_, line)| (text.len() + line.len()) as u64 <= LINE_MAX_BYTES);
        let Some((_, line)) = next else {
            return Err(Broken::Form(problem(
                begin,
                "a quote is opened and never closed",
                "close it; a quote within a field is written twice",
            )));
        };
        quotes += line.matches('"').count();
        text.push_str(&line);
    }
    let fields = fields(text.trim_end_matches(['\r', '\n']));
    fields.map(|fields| Some((begin, fields))).ok_or_else(|| {
        Broken::Form(problem(
            begin,
            "a quote stands within a field",
            "put the whole field into quotes, and write a quote within it twice",
        ))
    })
}

/// A record's fields; none: its quotes are not where they may be.
fn fields(text: &str) -> Option<Vec<String>> {
    let (mut fields, mut rest) = (Vec::new(), text);
    // Ends: each turn takes a field and its comma.
    loop {
        let (field, after) = match rest.strip_prefix('"') {
            Some(quoted) => in_quotes(quoted)?,
            None => {
                let end = rest.find(',').unwrap_or(rest.len());
                if rest[..end].contains('"') {
                    return None;
                }
                (rest[..end].trim().to_owned(), &rest[end..])
            }
        };
        fields.push(field);
        if after.is_empty() {
            return Some(fields);
        }
        rest = after.strip_prefix(',')?;
    }
}

/// What stands before the closing quote, and after it.
fn in_quotes(text: &str) -> Option<(String, &str)> {
    let (mut field, mut rest) = (String::new(), text);
    // Ends: each turn takes a quote.
    loop {
        let end = rest.find('"')?;
        field.push_str(&rest[..end]);
        rest = &rest[end + 1..];
        match rest.strip_prefix('"') {
            Some(after) => {
                field.push('"');
                rest = after;
            }
            None => return Some((field, rest)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(text: &str) -> Vec<(u64, Vec<String>)> {
        let mut lines = Lines::new(text.as_bytes());
        std::iter::from_fn(|| record(&mut lines).unwrap()).collect()
    }

    #[test]
    fn records_are_read_as_rfc_4180_has_them() {
        let text = "\u{feff}a,b\r\n\r\n1,\"x, \"\"y\"\"\nz\"\r\n , 2 \n\"\",\n";
        let records = all(text);
        let fields: Vec<Vec<&str>> =
            records.iter().map(|(_, record)| record.iter().map(String::as_str).collect()).collect();
        assert_eq!(fields, [vec!["a", "b"], vec!["1", "x, \"y\"\nz"], vec!["", "2"], vec!["", ""]]);
        assert_eq!(records.iter().map(|(line, _)| *line).collect::<Vec<_>>(), [1, 3, 5, 6]);
    }

    #[test]
    fn what_is_no_csv_says_where() {
        for (text, line) in [("a\n\"b\nc\n", 2), ("a\nb\"c\"\n", 2), ("\"a\"b,c\n", 1)] {
            let mut lines = Lines::new(text.as_bytes());
            let broken = std::iter::from_fn(|| record(&mut lines).transpose()).find_map(Result::err);
            assert!(matches!(broken, Some(Broken::Form(problem)) if problem.line == line), "{text:?}");
        }
    }
}

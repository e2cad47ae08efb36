//! Records of a CSV (RFC 4180).
//!
//! `csv-core` reads every text as something: a quote that is opened by mistake takes the rows below it into a field, up to the next one. In books these rows would be missing. So each field is looked at
//! once more, and a quote that stands where none may stand ends the reading.

use std::io::BufRead;

use csv_core::{ReadFieldResult, Terminator};

use super::lines::{Broken, LINE_MAX_BYTES, Lines, broken};

/// The number of the line on which a record begins, and its fields.
pub(super) type Record = (u64, Vec<String>);

/// Reads records.
#[derive(Debug)]
pub(super) struct Records<R> {
    lines: Lines<R>,
    parser: csv_core::Reader,
    /// A field, as it is read.
    field: Vec<u8>,
}

impl<R: BufRead> Records<R> {
    pub(super) fn new(lines: Lines<R>) -> Self {
        // Lines are told apart before.
        let parser = csv_core::ReaderBuilder::new().terminator(Terminator::Any(b'\n')).build();
        Self { lines, parser, field: Vec::new() }
    }

    /// The next record that is not empty. A field in quotes may go over several lines.
    pub(super) fn next(&mut self) -> Result<Option<Record>, Broken> {
        let Some((begin, mut text)) = self.lines.next_filled()? else { return Ok(None) };
        let mut quotes = count(&text);
        // Ends: each turn reads a line.
        while !quotes.is_multiple_of(2) {
            let fits = |line: &str| (text.len() + line.len()) as u64 <= LINE_MAX_BYTES;
            let Some((_, line)) = self.lines.next()?.filter(|(_, line)| fits(line)) else {
                return Err(broken(
                    begin,
                    "a quote is opened and never closed",
                    "close it; a quote within a field is written twice",
                ));
            };
            quotes += count(&line);
            text.push_str(&line);
        }
        text.truncate(text.trim_end_matches(['\r', '\n']).len());
        text.push('\n');
        let fields = self.fields(&text).ok_or_else(|| {
            broken(
                begin,
                "a quote stands within a field",
                "put the whole field into quotes, and write a quote within it twice",
            )
        })?;
        Ok(Some((begin, fields)))
    }

    /// SHA-256 of what was read.
    pub(super) fn sha256(self) -> String {
        self.lines.sha256()
    }

    /// A record's fields; none: its quotes are not where they may be.
    fn fields(&mut self, text: &str) -> Option<Vec<String>> {
        self.parser.reset();
        self.field.resize(text.len(), 0);
        let (mut fields, mut rest) = (Vec::new(), text);
        // Ends: each turn takes a field with its comma, or the end of the line.
        loop {
            let (result, read, written) = self.parser.read_field(rest.as_bytes(), &mut self.field);
            let ReadFieldResult::Field { record_end } = result else { return None };
            let (raw, after) = (&rest[..read - 1], &rest[read..]);
            let field = String::from_utf8(self.field[..written].to_vec()).ok()?;
            fields.push(if raw.starts_with('"') {
                // Two around it, and two for each within it: then the last one closes it.
                let is_closed = raw.ends_with('"') && count(raw) == 2 + 2 * count(&field);
                is_closed.then_some(field)?
            } else {
                (count(raw) == 0).then(|| field.trim().to_owned())?
            });
            if record_end {
                return after.is_empty().then_some(fields);
            }
            rest = after;
        }
    }
}

fn count(text: &str) -> usize {
    text.matches('"').count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records(text: &str) -> impl Iterator<Item = Result<Record, Broken>> {
        let mut records = Records::new(Lines::new(text.as_bytes()));
        std::iter::from_fn(move || records.next().transpose())
    }

    #[test]
    fn records_are_read_as_rfc_4180_has_them() {
        let text = "\u{feff}a,b\r\n\r\n1,\"x, \"\"y\"\"\r\nz\"\r\n , 2 \n\"\",\n\" 3 \",\"\"\"\"\r\nß,";
        let records: Vec<Record> = records(text).map(Result::unwrap).collect();
        let read: Vec<(u64, Vec<&str>)> = records
            .iter()
            .map(|(line, record)| (*line, record.iter().map(String::as_str).collect()))
            .collect();
        assert_eq!(
            read,
            [
                (1, vec!["a", "b"]),
                (3, vec!["1", "x, \"y\"\r\nz"]),
                (5, vec!["", "2"]),
                (6, vec!["", ""]),
                (7, vec![" 3 ", "\""]),
                (8, vec!["ß", ""]),
            ]
        );
    }

    #[test]
    fn what_is_no_csv_says_where() {
        let texts = [
            ("a\n\"b\nc\n", 2),
            ("a\nb\"c\"\n", 2),
            ("\"a\"b,c\n", 1),
            ("\"a\" ,c\n", 1),
            ("a\n\"\"b\"\"\n", 2),
            // Both quotes are a mistake: the rows between them are not taken into a field.
            ("a,b\n\"1,2\n3,4\n5\"x,6\n", 2),
        ];
        for (text, line) in texts {
            let found = records(text).find_map(Result::err);
            let Some(Broken::Form(problems)) = found else { panic!("{text:?}: {found:?}") };
            assert_eq!(problems.iter().map(|problem| problem.line).collect::<Vec<_>>(), [line], "{text:?}");
        }
    }
}

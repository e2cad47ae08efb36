//! Lines of a file.

use std::io::{self, BufRead, Read as _};

use alloy_primitives::hex;
use sha2::{Digest, Sha256};

use super::Problem;

/// The most bytes of a line, and of a record.
pub(super) const LINE_MAX_BYTES: u64 = 1024 * 1024;

/// Why nothing more is read.
#[derive(Debug)]
pub(super) enum Broken {
    File(io::Error),
    /// Nobody can tell where the next posting begins, or what its fields are.
    Form(Vec<Problem>),
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
        let broken = |what: &str, remedy: &str| broken(self.number, what, remedy);
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

    /// The next line that is not empty.
    pub(super) fn next_filled(&mut self) -> Result<Option<(u64, String)>, Broken> {
        // Ends: each turn reads a line.
        loop {
            match self.next()? {
                Some((_, text)) if text.trim().is_empty() => {}
                line => return Ok(line),
            }
        }
    }

    /// SHA-256 of what was read.
    pub(super) fn sha256(self) -> String {
        hex::encode(self.hash.finalize())
    }
}

/// What is told of a line after which nothing is read.
pub(super) fn broken(line: u64, what: &str, remedy: &str) -> Broken {
    let field = "the line".into();
    Broken::Form(vec![Problem { line, field, what: what.into(), remedy: remedy.into() }])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_is_too_long_or_no_text_ends_the_reading_where_it_stands() {
        let most = usize::try_from(LINE_MAX_BYTES).unwrap();
        let long = [b"a\n".to_vec(), vec![b'b'; most - 1], b"\n".to_vec(), vec![b'c'; most + 1]].concat();
        for (bytes, part) in [(&long[..], "longer than 1 MiB"), (&b"a\nb\n\xff\n"[..], "not UTF-8")] {
            let mut lines = Lines::new(bytes);
            assert_eq!((lines.next().unwrap().unwrap().0, lines.next().unwrap().unwrap().0), (1, 2));
            let Err(Broken::Form(problems)) = lines.next() else { panic!("{part}") };
            assert!(problems[0].line == 3 && problems[0].what.contains(part), "{problems:?}");
        }
    }
}

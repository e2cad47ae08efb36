//! Seeds that once failed, kept so that they never do again.
//!
//! A seed means what the simulator makes of it: when stories are drawn otherwise, an old seed tells another story. It stays all the same, with the
//! comment that says what it was for.

use std::fmt::Write as _;
use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};

/// Where the seeds of the ingest are: a number a line, with a comment that says why.
pub const INGEST: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/chaos/seeds/ingest.txt");

/// Where those of its real processes are.
pub const INGEST_REAL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/chaos/seeds/ingest-real.txt");

/// Where those of the relayer's real processes are.
pub const RELAYER_REAL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/chaos/seeds/relayer-real.txt");

/// Where those of the ledger's are.
pub const LEDGER_REAL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/chaos/seeds/ledger-real.txt");

/// Where those of the relayer's simulator are.
pub const RELAYER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/chaos/seeds/relayer.txt");

/// The seeds of a file, in its order.
///
/// # Errors
///
/// The file cannot be read, or has a line that is no seed.
pub fn read(path: &str) -> io::Result<Vec<u64>> {
    let text = fs::read_to_string(path)?;
    parse(&text).map_err(|line| {
        let what = format!("{path}: `{line}` is not a seed with a comment");
        io::Error::new(io::ErrorKind::InvalidData, what)
    })
}

fn parse(text: &str) -> Result<Vec<u64>, &str> {
    text.lines()
        .map(|line| (line, line.split('#').next().unwrap_or_default().trim()))
        .filter(|(_, seed)| !seed.is_empty())
        .map(|(line, seed)| seed.parse().map_err(|_| line))
        .collect()
}

/// Appends a seed that failed, with what it broke, unless it is there.
///
/// # Errors
///
/// The file cannot be read or written.
pub fn save(path: &str, seed: u64, why: &str) -> io::Result<()> {
    if read(path)?.contains(&seed) {
        return Ok(());
    }
    let mut line = String::new();
    let why = why.lines().next().unwrap_or_default();
    writeln!(line, "{seed} # {why}").expect("a string can be written to");
    OpenOptions::new().append(true).open(path)?.write_all(line.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_is_a_number_with_a_comment() {
        assert_eq!(parse("# why\n\n7 # that\n 18446744073709551615\n"), Ok(vec![7, u64::MAX]));
        assert_eq!(parse("7\nseven # that\n"), Err("seven # that"));
    }

    #[test]
    fn a_seed_is_saved_once_with_the_first_line_of_what_it_broke() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let path = file.path().to_str().unwrap();
        save(path, 7, "this\nand that").unwrap();
        save(path, 7, "again").unwrap();
        assert_eq!(fs::read_to_string(path).unwrap(), "7 # this\n");
    }
}

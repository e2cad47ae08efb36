//! The form that a ledger leaves the house in: JSON Lines, a posting a line, in the order of the log.
//!
//! Amounts and balances are decimal strings, hashes `0x` and 64 hexadecimal digits, times RFC 3339 in UTC with microseconds, versions and
//! indices JSON integers. `metadata` is the text that was sealed, byte for byte: a program that writes the JSON anew may break the
//! seal without changing anything. Reading is strict: each field is there, none is unknown, and a value has one spelling.

mod row;
#[cfg(test)]
mod tests;
mod values;

use alloy_primitives::B256;

use self::row::Row;
use super::encoding::{SealedLine, SealedPosting};

/// No line is longer: a posting with every line that it can have stays below.
pub const MAX_ROW_BYTES: usize = 64 * 1024 * 1024;

/// A posting as it is exported: what is sealed, and what the seal says of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExportedPosting {
    /// What is sealed, but for its lines.
    pub posting: SealedPosting,
    /// Its lines.
    pub lines: Vec<ExportedLine>,
    /// Its place in the tenant's log, from 0.
    pub leaf_index: u64,
    /// The hash of the entry before it.
    pub prev_entry_hash: B256,
    /// The hash of its entry.
    pub entry_hash: B256,
}

/// A line, and what its checksum is said to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExportedLine {
    /// What is sealed.
    pub line: SealedLine,
    /// Its checksum.
    pub checksum: B256,
}

/// A line of a file that is no posting.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}{}: {reason}", shown(.field))]
pub struct ExportFault {
    /// Which, from 1.
    pub line: u64,
    /// The field, as `lines[0].amount`; empty where it is the line as a whole.
    pub field: String,
    /// What is wrong with it.
    pub reason: String,
}

fn shown(field: &str) -> String {
    if field.is_empty() { String::new() } else { format!(", `{field}`") }
}

/// A posting that has no line in an export.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{field}` cannot be exported: {reason}")]
pub struct Unwritable {
    /// The field.
    pub field: &'static str,
    /// Why.
    pub reason: String,
}

impl ExportedPosting {
    /// Reads a line of an export, without its line feed; `line` is its number from 1, for the fault.
    ///
    /// # Errors
    /// Where it is no posting.
    pub fn from_json(line: u64, json: &str) -> Result<Self, ExportFault> {
        if json.len() > MAX_ROW_BYTES {
            let reason = format!("{} bytes; at most {MAX_ROW_BYTES} are read", json.len());
            return Err(ExportFault { line, field: String::new(), reason });
        }
        match serde_json::from_str::<Row>(json) {
            Ok(row) => Ok(row.into_posting()),
            // Once more, with a record of where it is: that costs time, which only a fault is worth.
            Err(error) => {
                let mut deserializer = serde_json::Deserializer::from_str(json);
                let located = serde_path_to_error::deserialize::<_, Row>(&mut deserializer);
                let (field, reason) = match located {
                    Err(error) => (error.path().to_string(), error.inner().to_string()),
                    // What follows the object.
                    Ok(_) => (String::new(), error.to_string()),
                };
                let field = if field == "." { String::new() } else { field };
                Err(ExportFault { line, field, reason })
            }
        }
    }

    /// Appends its line to `out`, with the line feed.
    ///
    /// # Errors
    /// Where a time has no RFC 3339 text, or the metadata is no JSON, or has more than one line.
    pub fn write_json(&self, out: &mut Vec<u8>) -> Result<(), Unwritable> {
        let start = out.len();
        let row = Row::of(self)?;
        let written = serde_json::to_writer(&mut *out, &row);
        written.map_err(|error| {
            out.truncate(start);
            Unwritable { field: "posting", reason: error.to_string() }
        })?;
        out.push(b'\n');
        Ok(())
    }
}

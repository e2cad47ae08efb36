//! What a verification found, for people (a table) and for programs (JSON).

use std::fmt;

use alloy_primitives::B256;
use serde::Serialize;
use serde_json::Value;

/// Mismatches, and unverified rows, that are listed; all of them are counted.
pub const MAX_LISTED_ROWS: usize = 1_000;

/// A field that differs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Difference {
    /// The field.
    pub field: String,
    /// What the mirror has.
    pub mirror: Value,
    /// What the contract's getter says.
    pub chain: Value,
}

/// A mirror row that the contract contradicts.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Mismatch {
    /// The contract's name in the configuration.
    pub contract_name: String,
    /// Its address.
    pub contract: String,
    /// The view.
    pub view: String,
    /// The row's key parameters, joined by `/`.
    pub key: String,
    /// The fields that differ.
    pub differences: Vec<Difference>,
    /// The block that both were read at.
    pub block_number: u64,
    /// Its hash.
    pub block_hash: B256,
    /// The journal record that the row is from.
    pub journal_seq: i64,
}

/// A mirror row that could not be compared. It is not known to be right.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Unverified {
    /// The contract's address.
    pub contract: String,
    /// The view.
    pub view: String,
    /// The row's key parameters, joined by `/`.
    pub key: String,
    /// Why.
    pub reason: String,
}

/// What a verification found.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct VerifyReport {
    /// The chain.
    pub chain_id: u64,
    /// Rows looked at.
    pub rows: u64,
    /// Rows that equal what their contract says.
    pub equal: u64,
    /// Rows that differ.
    pub mismatched_rows: u64,
    /// Rows that could not be compared.
    pub unverified_rows: u64,
    /// Whether a limit left rows out.
    pub partial: bool,
    /// Those rows: nothing is known of them.
    pub unchecked_rows: u64,
    /// The lowest and the highest block that rows were compared at.
    pub blocks: Option<(u64, u64)>,
    /// The first [`MAX_LISTED_ROWS`] rows that differ.
    pub mismatches: Vec<Mismatch>,
    /// The first [`MAX_LISTED_ROWS`] rows that could not be compared.
    pub unverified: Vec<Unverified>,
}

impl VerifyReport {
    /// Whether every row that there is was compared and is equal.
    #[must_use]
    pub fn is_proven(&self) -> bool {
        self.equal == self.rows && !self.partial
    }

    pub(super) fn leave_out(&mut self, rows: u64) {
        self.partial = true;
        self.unchecked_rows = rows;
    }

    pub(super) fn add_equal(&mut self) {
        self.rows += 1;
        self.equal += 1;
    }

    pub(super) fn add_mismatch(&mut self, mismatch: Mismatch) {
        self.rows += 1;
        self.mismatched_rows += 1;
        if self.mismatches.len() < MAX_LISTED_ROWS {
            self.mismatches.push(mismatch);
        }
    }

    pub(super) fn add_unverified(&mut self, unverified: Unverified) {
        self.rows += 1;
        self.unverified_rows += 1;
        if self.unverified.len() < MAX_LISTED_ROWS {
            self.unverified.push(unverified);
        }
    }

    pub(super) fn compared_at(&mut self, block_number: u64) {
        let (low, high) = self.blocks.unwrap_or((block_number, block_number));
        self.blocks = Some((low.min(block_number), high.max(block_number)));
    }
}

/// A value without its quotes.
fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

impl fmt::Display for VerifyReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "chain {}: {} rows, {} equal, {} mismatched, {} unverified",
            self.chain_id, self.rows, self.equal, self.mismatched_rows, self.unverified_rows
        )?;
        match self.blocks {
            Some((low, high)) if low == high => write!(f, " (as of block {low})")?,
            Some((low, high)) => write!(f, " (as of blocks {low} to {high})")?,
            None => {}
        }
        if self.partial {
            write!(
                f,
                "\npartial: the first {} rows by key were checked, {} were not",
                self.rows, self.unchecked_rows
            )?;
        }
        if !self.mismatches.is_empty() {
            let mut rows =
                vec![["contract", "view", "key", "field", "mirror", "chain", "block"].map(str::to_owned)];
            for mismatch in &self.mismatches {
                rows.extend(mismatch.differences.iter().map(|difference| {
                    [
                        mismatch.contract_name.clone(),
                        mismatch.view.clone(),
                        mismatch.key.clone(),
                        difference.field.clone(),
                        plain(&difference.mirror),
                        plain(&difference.chain),
                        mismatch.block_number.to_string(),
                    ]
                }));
            }
            write_table(f, "mismatched", &rows, self.mismatched_rows, self.mismatches.len())?;
        }
        if !self.unverified.is_empty() {
            let mut rows = vec![["contract", "view", "key", "reason"].map(str::to_owned)];
            rows.extend(
                self.unverified
                    .iter()
                    .map(|row| [row.contract.clone(), row.view.clone(), row.key.clone(), row.reason.clone()]),
            );
            write_table(f, "unverified", &rows, self.unverified_rows, self.unverified.len())?;
        }
        Ok(())
    }
}

fn write_table<const N: usize>(
    f: &mut fmt::Formatter<'_>,
    title: &str,
    rows: &[[String; N]],
    counted: u64,
    listed: usize,
) -> fmt::Result {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; N] = std::array::from_fn(width);
    write!(f, "\n\n{title}:")?;
    for row in rows {
        f.write_str("\n ")?;
        for (column, text) in row.iter().enumerate() {
            if column + 1 == N {
                write!(f, " {text}")?;
            } else {
                write!(f, " {text:<width$} ", width = widths[column])?;
            }
        }
    }
    let left_out = counted.saturating_sub(listed as u64);
    if left_out > 0 { write!(f, "\n  … and {left_out} more rows") } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_that_could_not_be_compared_is_not_proven() {
        let mut report = VerifyReport::default();
        report.add_equal();
        assert!(report.is_proven());
        report.add_unverified(Unverified {
            contract: "0x02".into(),
            view: "health_factor".into(),
            key: "0xcc".into(),
            reason: "the node has pruned that state".into(),
        });
        assert!(!report.is_proven());
    }

    #[test]
    fn differences_are_shown_as_a_table_and_counted() {
        let mut report = VerifyReport { chain_id: 31337, ..VerifyReport::default() };
        report.add_equal();
        report.compared_at(9);
        report.add_mismatch(Mismatch {
            contract_name: "PositionView".into(),
            contract: "0x01".into(),
            view: "position".into(),
            key: "0xaa/0xbb".into(),
            differences: vec![Difference { field: "debt".into(), mirror: "5".into(), chain: "6".into() }],
            block_number: 9,
            block_hash: B256::ZERO,
            journal_seq: 4,
        });
        report.add_unverified(Unverified {
            contract: "0x02".into(),
            view: "health_factor".into(),
            key: "0xcc".into(),
            reason: "the node has pruned that state".into(),
        });
        assert!(!report.is_proven());
        let text = report.to_string();
        assert_eq!(
            text,
            "chain 31337: 3 rows, 1 equal, 1 mismatched, 1 unverified (as of block 9)\n\n\
             mismatched:\n  contract      view      key        field  mirror  chain  block\n  \
             PositionView  position  0xaa/0xbb  debt   5       6      9\n\n\
             unverified:\n  contract  view           key   reason\n  0x02      health_factor  0xcc  the node has pruned that state"
        );
        let json = serde_json::to_value(&report).unwrap();
        assert_eq!(json["mismatches"][0]["differences"][0]["chain"], "6");
    }

    #[test]
    fn a_partial_report_says_so_and_proves_nothing_of_the_rest() {
        let mut report = VerifyReport { chain_id: 1, ..VerifyReport::default() };
        report.add_equal();
        assert!(report.is_proven());
        report.leave_out(7);
        assert!(!report.is_proven());
        let text = report.to_string();
        assert!(text.ends_with("partial: the first 1 rows by key were checked, 7 were not"), "{text}");
        let json = serde_json::to_value(&report).unwrap();
        assert_eq!(json["partial"], true);
        assert_eq!(json["unchecked_rows"], 7);
    }

    #[test]
    fn what_is_not_listed_is_counted() {
        let mut report = VerifyReport::default();
        for _ in 0..MAX_LISTED_ROWS + 2 {
            report.add_unverified(Unverified {
                contract: String::new(),
                view: String::new(),
                key: String::new(),
                reason: String::new(),
            });
        }
        assert_eq!(report.unverified.len(), MAX_LISTED_ROWS);
        assert!(report.to_string().ends_with("… and 2 more rows"));
    }
}

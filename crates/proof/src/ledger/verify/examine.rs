//! A posting by itself: what takes the time, and needs no other posting.

use alloy_primitives::{B256, U512};
use uuid::Uuid;

use super::Fault;
use crate::ledger::encoding::{Direction, Encoder, SealedLine, Unencodable};
use crate::ledger::export::{ExportFault, ExportedPosting};
use crate::ledger::log::Entry;

/// What [`super::Verifier::add`] needs of a posting, and what is wrong with it by itself.
#[derive(Clone, Debug)]
pub struct Examined {
    pub(super) tenant_id: Uuid,
    pub(super) posting_id: Uuid,
    pub(super) leaf_index: u64,
    pub(super) prev_entry_hash: B256,
    pub(super) entry_hash: B256,
    /// What the content gives for `entry_hash`.
    pub(super) computed_hash: B256,
    pub(super) lines: Vec<SealedLine>,
    pub(super) faults: Vec<Fault>,
}

impl Examined {
    /// Reads and examines a line of an export; `line` is its number from 1.
    ///
    /// # Errors
    /// Where it is no posting.
    pub fn read(encoder: &mut Encoder, line: u64, json: &str) -> Result<Self, ExportFault> {
        ExportedPosting::from_json(line, json).map(|exported| Self::examine(encoder, exported))
    }

    /// Recomputes the hashes of a posting, and adds up its lines.
    #[must_use]
    pub fn examine(encoder: &mut Encoder, exported: ExportedPosting) -> Self {
        let mut faults = Vec::new();
        let computed_hash = check_seal(encoder, &exported, &mut faults).unwrap_or_else(|fault| {
            faults.push(Fault::Unencodable(fault));
            B256::ZERO
        });
        let ExportedPosting { posting, lines, leaf_index, prev_entry_hash, entry_hash } = exported;
        let lines: Vec<_> = lines.into_iter().map(|line| line.line).collect();
        check_lines(&lines, &mut faults);
        Self {
            tenant_id: posting.tenant_id,
            posting_id: posting.posting_id,
            leaf_index,
            prev_entry_hash,
            entry_hash,
            computed_hash,
            lines,
            faults,
        }
    }

    /// What is wrong with the posting by itself: its checksums, its entry's hash, its sums. This much can be said of any posting, without those
    /// before it.
    #[must_use]
    pub fn faults(&self) -> &[Fault] {
        &self.faults
    }
}

/// The hash that the entry should have.
fn check_seal(
    encoder: &mut Encoder,
    exported: &ExportedPosting,
    faults: &mut Vec<Fault>,
) -> Result<B256, Unencodable> {
    let mut checksums = Vec::with_capacity(exported.lines.len());
    let mut is_changed = false;
    for line in &exported.lines {
        let computed = encoder.line_checksum(&line.line)?;
        if computed != line.checksum {
            is_changed = true;
            let (sequence, found) = (line.line.sequence, line.checksum);
            faults.push(Fault::LineChecksum { sequence, found, computed });
        }
        checksums.push(computed);
    }
    let mut sealed = |checksums: &[B256]| {
        let posting_digest = encoder.posting_digest(&exported.posting, checksums)?;
        let entry = Entry {
            tenant_id: exported.posting.tenant_id,
            index: exported.leaf_index,
            prev_entry_hash: exported.prev_entry_hash,
            posting_digest,
        };
        Ok::<_, Unencodable>((posting_digest, entry.hash()))
    };
    let (digest, computed) = sealed(&checksums)?;
    let mut fits = computed == exported.entry_hash;
    if !fits && is_changed {
        // With the checksums as they are stored: is it the lines alone that were changed?
        let stored: Vec<_> = exported.lines.iter().map(|line| line.checksum).collect();
        fits = sealed(&stored)?.1 == exported.entry_hash;
    }
    if !fits {
        faults.push(Fault::PostingDigest { found: exported.entry_hash, computed, digest });
    }
    Ok(computed)
}

fn check_lines(lines: &[SealedLine], faults: &mut Vec<Fault>) {
    if lines.len() < 2 {
        faults.push(Fault::TooFewLines { lines: lines.len() });
    }
    for (expected, line) in (1_usize..).zip(lines) {
        if usize::from(line.sequence) != expected {
            faults.push(Fault::LineOrder { sequence: line.sequence, expected });
        }
    }
    // Debits and credits of each currency. There are few; no sum of 65,535 amounts overflows.
    let mut sums: Vec<(&str, [U512; 2])> = Vec::new();
    for line in lines {
        let known = sums.iter().position(|(currency, _)| *currency == line.currency);
        let at = known.unwrap_or_else(|| {
            sums.push((&line.currency, [U512::ZERO; 2]));
            sums.len() - 1
        });
        let side = match line.direction {
            Direction::Debit => 0,
            Direction::Credit => 1,
        };
        sums[at].1[side] += U512::from(line.amount);
    }
    for (currency, [debits, credits]) in sums {
        if debits != credits {
            faults.push(Fault::Unbalanced { currency: currency.to_owned() });
        }
    }
}

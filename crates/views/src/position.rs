//! The version rule of `position_cache_mirror` (spec 1 §2.1, §6.2).
//!
//! The chain is strict, `nextVersion == currentVersion + 1`, so anything else than the next version says that something was missed,
//! taken twice, or that the contract was replaced. The rule never repairs; it takes what moves forward and refuses the rest, and every
//! departure is an anomaly with its evidence.
//!
//! The first version that is seen of a key is taken whatever it is. Whether versions before it existed cannot be known from the
//! journal: a follower may start long after the deployment, and then every old key would be a false alarm. It is noted in the
//! apply log, and once a contract as the anomaly `history_starts_late`.

use crate::row::{PositionRow, Stamp};

/// What becomes of a version that the position view wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The next version.
    Next,
    /// The first version that is seen of this key, and it is not 1.
    FirstSeen,
    /// Versions were left out: applied, and an anomaly.
    Jump,
    /// The mirror has this version.
    Duplicate,
    /// A version that goes back: refused, and an anomaly.
    Back,
    /// It lies before the mirror's row on the chain: the journal's order was broken. Refused, and an anomaly.
    BeforeMirror,
    /// It lies before the mirror's row on the chain, and came late: the mirror keeps what it has.
    Late,
}

/// Judges `version`, written at `stamp`, against the mirror's row. Of what comes late the versions between are still to come.
pub(crate) fn judge(current: Option<&PositionRow>, version: u64, stamp: &Stamp, is_late: bool) -> Verdict {
    let Some(current) = current else {
        return if version == 1 || is_late { Verdict::Next } else { Verdict::FirstSeen };
    };
    if stamp.place() < current.stamp.place() {
        if is_late { Verdict::Late } else { Verdict::BeforeMirror }
    } else if version < current.version {
        Verdict::Back
    } else if version == current.version {
        Verdict::Duplicate
    } else if version - current.version == 1 || is_late {
        Verdict::Next
    } else {
        Verdict::Jump
    }
}

/// Whether a push's `seq` fails to increase (spec 1 §2.3). The sequence is optional: zero is none.
pub(crate) fn is_out_of_order(last_seq: Option<u64>, seq: Option<u64>) -> bool {
    last_seq.zip(seq).is_some_and(|(last, seq)| seq != 0 && seq <= last)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy_primitives::{B256, U256};

    fn stamp(block_number: u64, log_index: u32) -> Stamp {
        Stamp { block_number, block_hash: B256::ZERO, tx_hash: B256::ZERO, log_index, journal_seq: 1 }
    }

    fn row(version: u64, block_number: u64, log_index: u32) -> PositionRow {
        PositionRow {
            tenant_id: None,
            collateral: U256::ZERO,
            debt: U256::ZERO,
            version,
            last_request_id: None,
            last_seq: None,
            stamp: stamp(block_number, log_index),
        }
    }

    #[test]
    fn only_the_next_version_passes_without_a_word() {
        let at = stamp(10, 4);
        let table = [
            (None, 1, Verdict::Next),
            (None, 0, Verdict::FirstSeen),
            (None, 7, Verdict::FirstSeen),
            (Some(row(3, 9, 9)), 4, Verdict::Next),
            (Some(row(3, 10, 3)), 4, Verdict::Next),
            (Some(row(3, 9, 0)), 5, Verdict::Jump),
            (Some(row(3, 9, 0)), u64::MAX, Verdict::Jump),
            (Some(row(3, 9, 0)), 3, Verdict::Duplicate),
            (Some(row(3, 9, 0)), 2, Verdict::Back),
            (Some(row(u64::MAX, 9, 0)), 0, Verdict::Back),
            (Some(row(3, 11, 0)), 4, Verdict::BeforeMirror),
            (Some(row(3, 10, 5)), 4, Verdict::BeforeMirror),
        ];
        for (current, version, verdict) in table {
            assert_eq!(judge(current.as_ref(), version, &at, false), verdict, "{current:?} then {version}");
        }
    }

    #[test]
    fn of_late_history_the_newest_stays_whatever_lies_between() {
        let at = stamp(10, 4);
        let table = [
            (None, 7, Verdict::Next),
            (Some(row(3, 9, 9)), 7, Verdict::Next),
            (Some(row(3, 9, 9)), 2, Verdict::Back),
            (Some(row(3, 9, 9)), 3, Verdict::Duplicate),
            (Some(row(8, 10, 5)), 7, Verdict::Late),
            (Some(row(3, 11, 0)), 7, Verdict::Late),
        ];
        for (current, version, verdict) in table {
            assert_eq!(judge(current.as_ref(), version, &at, true), verdict, "{current:?} then {version}");
        }
    }

    #[test]
    fn a_sequence_that_is_given_must_increase() {
        for (last, seq, out) in [
            (None, Some(1), false),
            (Some(5), None, false),
            (Some(5), Some(0), false),
            (Some(5), Some(6), false),
            (Some(5), Some(5), true),
            (Some(5), Some(4), true),
        ] {
            assert_eq!(is_out_of_order(last, seq), out, "{last:?} then {seq:?}");
        }
    }
}

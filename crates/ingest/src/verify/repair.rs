//! What is asked for again after a second look: few requests, over little more than what needs it.
//!
//! What is missing was shown by the receipts, whatever the level of the look, so it is asked for at that level: the one at which it was taken in may be
//! the one that did not show it. What was never asked for is not asked for here: whoever follows the chain brings it in by itself.

use plimsoll_types::Completeness;

use super::report::{Blocks, CompletenessReport, Unproven};

/// Requests that one look puts on record, at most; blocks between two holes are then looked at too.
pub const MAX_REPAIRS: usize = 16;

/// Blocks that are to be fetched again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Repair {
    /// The blocks.
    pub blocks: Blocks,
    /// At least at this level.
    pub level: Completeness,
}

impl CompletenessReport {
    /// What is to be fetched again: where something is missing, and what could not be proven. At most [`MAX_REPAIRS`].
    #[must_use]
    pub fn repairs(&self) -> Vec<Repair> {
        let unproven = self.unproven.iter().map(|&Unproven { from, to, .. }| Blocks { from, to });
        let level = if self.holes.is_empty() { self.level } else { Completeness::Receipts };
        let all = joined(self.holes.iter().copied().chain(unproven).collect(), MAX_REPAIRS);
        all.into_iter().map(|blocks| Repair { blocks, level }).collect()
    }
}

/// These blocks in ascending order: what touches is one, and the narrowest gaps are closed until there are at most so many.
fn joined(mut all: Vec<Blocks>, at_most: usize) -> Vec<Blocks> {
    all.sort_unstable_by_key(|blocks| blocks.from);
    let mut apart: Vec<Blocks> = Vec::new();
    for blocks in all {
        match apart.last_mut() {
            Some(last) if blocks.from <= last.to.saturating_add(1) => last.to = last.to.max(blocks.to),
            _ => apart.push(blocks),
        }
    }
    // Of the gaps, by the place of what lies above each, the widest stay.
    let mut gaps: Vec<usize> = (1..apart.len()).collect();
    gaps.sort_by_key(|&at| std::cmp::Reverse(apart[at].from - apart[at - 1].to));
    gaps.truncate(at_most.saturating_sub(1));
    let mut joined: Vec<Blocks> = Vec::new();
    for (at, blocks) in apart.into_iter().enumerate() {
        match joined.last_mut() {
            Some(last) if !gaps.contains(&at) => last.to = blocks.to,
            _ => joined.push(blocks),
        }
    }
    joined
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(all: &[(u64, u64)], at_most: usize) -> Vec<(u64, u64)> {
        let blocks = all.iter().map(|&(from, to)| Blocks { from, to }).collect();
        joined(blocks, at_most).into_iter().map(|blocks| (blocks.from, blocks.to)).collect()
    }

    #[test]
    fn what_touches_is_one_and_the_narrowest_gaps_are_closed_first() {
        for (all, at_most, expected) in [
            (&[][..], 3, &[][..]),
            (&[(5, 5)], 3, &[(5, 5)]),
            (&[(8, 9), (1, 3), (4, 6)], 3, &[(1, 6), (8, 9)]),
            (&[(1, 9), (2, 3), (9, 12)], 3, &[(1, 12)]),
            (&[(1, 1), (10, 10), (12, 12), (30, 31)], 3, &[(1, 1), (10, 12), (30, 31)]),
            (&[(1, 1), (10, 10), (12, 12), (30, 31)], 2, &[(1, 12), (30, 31)]),
            (&[(1, 1), (10, 10), (12, 12), (30, 31)], 1, &[(1, 31)]),
            // Of equal gaps the lower ones stay.
            (&[(1, 1), (3, 3), (5, 5), (7, 7)], 3, &[(1, 1), (3, 3), (5, 7)]),
        ] {
            assert_eq!(told(all, at_most), expected, "{all:?}, at most {at_most}");
        }
    }

    #[test]
    fn no_look_puts_more_on_record_than_its_limit_and_nothing_is_left_out() {
        let holes: Vec<_> = (0..1_000).map(|at| Blocks { from: at * at, to: at * at }).collect();
        let all = joined(holes.clone(), MAX_REPAIRS);
        assert_eq!(all.len(), MAX_REPAIRS);
        assert!(all.windows(2).all(|pair| pair[0].to < pair[1].from), "{all:?}");
        for hole in holes {
            assert!(all.iter().any(|blocks| blocks.from <= hole.from && hole.to <= blocks.to), "{hole:?}");
        }
    }

    #[test]
    fn what_is_missing_is_asked_for_by_its_receipts_and_what_was_not_proven_at_the_level_of_the_look() {
        let report = |holes: &[(u64, u64)], unproven: &[(u64, u64)]| CompletenessReport {
            chain_id: 1,
            from: 0,
            to: 100,
            level: Completeness::Bloom,
            proven_blocks: 0,
            events: 0,
            transactions: 0,
            different: holes.len() as u64,
            differences: Vec::new(),
            contradictions: Vec::new(),
            unproven: unproven.iter().map(|&(from, to)| Unproven { from, to, why: String::new() }).collect(),
            uncovered: Vec::new(),
            holes: holes.iter().map(|&(from, to)| Blocks { from, to }).collect(),
        };
        let of = |from, to, level| Repair { blocks: Blocks { from, to }, level };
        assert_eq!(report(&[], &[]).repairs(), []);
        assert_eq!(report(&[], &[(3, 9)]).repairs(), [of(3, 9, Completeness::Bloom)]);
        assert_eq!(
            report(&[(20, 21)], &[(3, 9)]).repairs(),
            [of(3, 9, Completeness::Receipts), of(20, 21, Completeness::Receipts)]
        );
    }
}

//! What a head means, decided without I/O: from the journal's canonical tail and what the endpoint shows.

use alloy_primitives::B256;

/// What would be drastic to believe is believed after it was seen this many times in a row.
const SIGHTINGS: u32 = 3;

/// A block's number and hash.
pub type BlockId = (u64, B256);

/// The end of the canonical chain as the journal has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CanonicalTail {
    /// The last final block: nothing at or below it is taken back.
    pub final_block: Option<BlockId>,
    /// The blocks above it, oldest first.
    pub unfinal: Vec<BlockId>,
}

/// How the endpoint's head relates to the journal's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relation {
    /// The journal has it, and nothing above it.
    AtTip,
    /// The journal has it, and more: the endpoint lags.
    Lagging,
    /// It continues the journal's tip directly.
    Next,
    /// It is higher; whether it continues the tip has to be found out.
    Higher,
    /// At or below the tip's height, and not what the journal has there: a reorg, if it stays.
    Fork {
        /// Below the tip's height.
        lower: bool,
    },
}

impl CanonicalTail {
    /// The last block.
    #[must_use]
    pub fn tip(&self) -> Option<BlockId> {
        self.unfinal.last().copied().or(self.final_block)
    }

    /// Whether this very block is in the tail.
    #[must_use]
    pub fn contains(&self, block: BlockId) -> bool {
        self.final_block == Some(block) || self.at(block.0) == Some(block.1)
    }

    fn at(&self, number: u64) -> Option<B256> {
        let first = self.unfinal.first()?.0;
        let index = usize::try_from(number.checked_sub(first)?).ok()?;
        self.unfinal.get(index).map(|(_, hash)| *hash)
    }

    /// Whether a block at this height is beyond repair.
    #[must_use]
    pub fn is_final(&self, number: u64) -> bool {
        self.final_block.is_some_and(|(final_number, _)| number <= final_number)
    }

    /// Whether the head's own hashes prove that it is of this chain: it is in the tail, or its parent is the tip. Any other may be of another chain
    /// altogether.
    #[must_use]
    pub fn is_linked(&self, head: BlockId, parent_hash: B256) -> bool {
        self.contains(head) || matches!(self.relation(head, parent_hash), Relation::Next)
    }

    /// What a head means.
    #[must_use]
    pub fn relation(&self, head: BlockId, parent_hash: B256) -> Relation {
        let Some(tip) = self.tip() else { return Relation::Higher };
        if head == tip {
            Relation::AtTip
        } else if head.0 > tip.0 {
            if head.0 == tip.0 + 1 && parent_hash == tip.1 { Relation::Next } else { Relation::Higher }
        } else if self.contains(head) || self.final_block.is_some_and(|(number, _)| head.0 < number) {
            // Below finality the tail has no hashes to compare with, and a head there can only lag.
            Relation::Lagging
        } else {
            Relation::Fork { lower: head.0 < tip.0 }
        }
    }
}

/// Counts sightings of a block that would be drastic to believe in: a lower head on another branch, another block at the final height.
#[derive(Clone, Debug, Default)]
pub struct Patience {
    seen: Option<(BlockId, u32)>,
}

impl Patience {
    /// Notes a sighting; whether it is believed now.
    pub fn sighted(&mut self, block: BlockId) -> bool {
        let times = match self.seen {
            Some((seen, times)) if seen == block => times + 1,
            _ => 1,
        };
        self.seen = Some((block, times));
        times >= SIGHTINGS
    }

    /// The endpoint shows something else again.
    pub fn reset(&mut self) {
        self.seen = None;
    }
}

/// What an endpoint says of the block with which a new branch begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Vote {
    /// It has this very block on its canonical chain.
    For,
    /// It has another block at that height.
    Against,
    /// It has none that high, or did not answer.
    Abstains,
}

/// Whether a branch that takes blocks of the journal back may do so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is the chain.
    Believed,
    /// Nobody contradicts, and too few are there to say so: it is believed when it stays.
    IfItStays,
    /// The endpoint is on a fork of its own, as far as can be told: nothing is taken back.
    Refused,
}

impl Verdict {
    /// Whether the verdict is the same whatever those say who have not been heard, so many of the abstaining.
    #[must_use]
    pub fn is_settled(votes: &[Vote], unheard: usize) -> bool {
        let count = |vote| votes.iter().filter(|v| **v == vote).count();
        let believers = count(Vote::For);
        2 * believers > votes.len() || count(Vote::Against) > 0 && 2 * (believers + unheard) <= votes.len()
    }

    /// The verdict of all configured endpoints, the one that showed the branch among them. The majority of all decides; as long as there is none,
    /// one that contradicts is enough to wait, for what is taken back wrongly has been acted on by then.
    #[must_use]
    pub fn of(votes: &[Vote]) -> Self {
        let count = |vote| votes.iter().filter(|v| **v == vote).count();
        if 2 * count(Vote::For) > votes.len() {
            Self::Believed
        } else if count(Vote::Against) == 0 && count(Vote::For) > 0 {
            Self::IfItStays
        } else {
            Self::Refused
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(branch: u8, number: u64) -> B256 {
        let mut bytes = [branch; 32];
        bytes[24..].copy_from_slice(&number.to_be_bytes());
        B256::new(bytes)
    }

    fn tail() -> CanonicalTail {
        CanonicalTail {
            final_block: Some((10, hash(1, 10))),
            unfinal: (11..=14).map(|n| (n, hash(1, n))).collect(),
        }
    }

    #[test]
    fn each_head_has_one_meaning() {
        let cases = [
            ("the tip itself", (14, hash(1, 14)), hash(1, 13), Relation::AtTip),
            ("the next block", (15, hash(1, 15)), hash(1, 14), Relation::Next),
            ("the next height on another branch", (15, hash(2, 15)), hash(2, 14), Relation::Higher),
            ("further up", (20, hash(1, 20)), hash(1, 19), Relation::Higher),
            ("one of ours", (12, hash(1, 12)), hash(1, 11), Relation::Lagging),
            ("the final block", (10, hash(1, 10)), hash(1, 9), Relation::Lagging),
            ("below finality", (3, hash(1, 3)), hash(1, 2), Relation::Lagging),
            (
                "another tip at the same height",
                (14, hash(2, 14)),
                hash(1, 13),
                Relation::Fork { lower: false },
            ),
            ("another branch, lower", (12, hash(2, 12)), hash(1, 11), Relation::Fork { lower: true }),
            (
                "another block at the final height",
                (10, hash(2, 10)),
                hash(2, 9),
                Relation::Fork { lower: true },
            ),
        ];
        for (what, head, parent, expected) in cases {
            assert_eq!(tail().relation(head, parent), expected, "{what}");
            let is_linked =
                matches!(what, "the tip itself" | "the next block" | "one of ours" | "the final block");
            assert_eq!(tail().is_linked(head, parent), is_linked, "{what}");
        }
    }

    #[test]
    fn an_empty_journal_takes_any_head() {
        assert_eq!(CanonicalTail::default().relation((0, hash(1, 0)), B256::ZERO), Relation::Higher);
    }

    #[test]
    fn only_what_is_in_the_tail_is_contained() {
        assert!(tail().contains((10, hash(1, 10))) && tail().contains((14, hash(1, 14))));
        assert!(
            !tail().contains((9, hash(1, 9)))
                && !tail().contains((15, hash(1, 15)))
                && !tail().contains((12, hash(2, 12)))
        );
    }

    #[test]
    fn a_lower_fork_is_believed_only_when_it_stays() {
        let mut patience = Patience::default();
        let (a, b) = ((12, hash(2, 12)), (12, hash(3, 12)));
        assert!(!patience.sighted(a) && !patience.sighted(a));
        assert!(!patience.sighted(b));
        assert!(!patience.sighted(a) && !patience.sighted(a) && patience.sighted(a));
        patience.reset();
        assert!(!patience.sighted(a));
    }

    #[test]
    fn the_majority_of_all_endpoints_takes_blocks_back_and_one_that_contradicts_stops_fewer() {
        use Verdict::{Believed, IfItStays, Refused};
        use Vote::{Abstains as A, Against as N, For as Y};
        let cases: [(&[Vote], Verdict); 13] = [
            (&[Y], Believed),
            (&[N], Refused),
            (&[A], Refused),
            (&[Y, Y], Believed),
            (&[Y, A], IfItStays),
            (&[Y, N], Refused),
            (&[Y, A, A], IfItStays),
            (&[Y, Y, N], Believed),
            (&[Y, N, N], Refused),
            (&[Y, N, A], Refused),
            (&[Y, Y, A, A], IfItStays),
            (&[Y, Y, N, A], Refused),
            (&[Y, Y, Y, N, N], Believed),
        ];
        for (votes, verdict) in cases {
            assert_eq!(Verdict::of(votes), verdict, "{votes:?}");
        }
    }

    #[test]
    fn a_verdict_is_settled_when_nobody_can_change_it_any_more() {
        use Vote::{Abstains, Against, For};
        let all = [Abstains, Against, For];
        for votes in all.iter().flat_map(|a| all.iter().flat_map(move |b| all.map(|c| [*a, *b, c]))) {
            // Any of those who abstain may be one who has not been heard.
            let silent: Vec<usize> = (0..3).filter(|place| votes[*place] == Abstains).collect();
            for unheard in 0..=silent.len() {
                let mut ends = vec![votes];
                for place in &silent[..unheard] {
                    ends = ends
                        .iter()
                        .flat_map(|end| {
                            all.map(|vote| {
                                let mut end = *end;
                                end[*place] = vote;
                                end
                            })
                        })
                        .collect();
                }
                let is_one = ends.iter().all(|end| Verdict::of(end) == Verdict::of(&votes));
                if Verdict::is_settled(&votes, unheard) {
                    assert!(is_one, "{votes:?}, {unheard} not heard");
                } else {
                    assert!(!is_one || unheard == 0, "{votes:?}, {unheard} not heard");
                }
            }
        }
    }
}

//! The order of the postings in a file, and what is missing of it.

use std::collections::BTreeMap;
use std::ops::Range;

/// So many gaps are kept open for postings that come late. Of a file with more, the rest is counted as missing where the gap is.
const MAX_GAPS: usize = 1_000;

/// Which indices have been there.
#[derive(Debug, Default)]
pub(super) struct Order {
    next: u64,
    /// What was passed over: start and end of each gap.
    gaps: BTreeMap<u64, u64>,
    /// Gaps that are not kept open.
    closed: Vec<Range<u64>>,
    has_more_gaps: bool,
}

/// Where a posting is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Where it should be.
    Next,
    /// After others that have not been there.
    AfterGap,
    /// After one that should come later.
    Late { after: u64 },
    /// Where one has been.
    Repeated,
}

impl Order {
    /// The index after the highest.
    pub(super) fn next(&self) -> u64 {
        self.next
    }

    pub(super) fn place(&mut self, index: u64) -> Place {
        if index >= self.next {
            let gap = self.next..index;
            // No log comes to 2^64 entries; a row that says so is beyond every checkpoint anyway.
            self.next = index.saturating_add(1);
            if gap.is_empty() {
                return Place::Next;
            }
            if self.gaps.len() < MAX_GAPS {
                self.gaps.insert(gap.start, gap.end);
            } else if self.closed.len() < MAX_GAPS {
                self.closed.push(gap);
            } else {
                self.has_more_gaps = true;
            }
            return Place::AfterGap;
        }
        let after = self.next - 1;
        let gap = self.gaps.range(..=index).next_back().map(|(start, end)| *start..*end);
        match gap.filter(|gap| gap.contains(&index)) {
            Some(gap) => {
                self.gaps.remove(&gap.start);
                for rest in [gap.start..index, index + 1..gap.end] {
                    if !rest.is_empty() {
                        self.gaps.insert(rest.start, rest.end);
                    }
                }
                Place::Late { after }
            }
            // Nobody knows which of the two it is once there are gaps that are not kept.
            None if self.has_more_gaps || self.closed.iter().any(|gap| gap.contains(&index)) => {
                Place::Late { after }
            }
            None => Place::Repeated,
        }
    }

    /// What has not been there, below the highest.
    pub(super) fn missing(&self) -> Vec<Range<u64>> {
        let open = self.gaps.iter().map(|(start, end)| *start..*end);
        let mut missing: Vec<_> = open.chain(self.closed.iter().cloned()).collect();
        missing.sort_by_key(|gap| gap.start);
        missing
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn postings_are_next_late_repeated_or_missing() {
        let mut order = Order::default();
        let places = [0, 1, 5, 3, 3, 0, 5, 6].map(|index| order.place(index));
        assert_eq!(
            places,
            [
                Place::Next,
                Place::Next,
                Place::AfterGap,
                Place::Late { after: 5 },
                Place::Repeated,
                Place::Repeated,
                Place::Repeated,
                Place::Next,
            ]
        );
        assert_eq!(order.missing(), [2..3, 4..5]);
        assert_eq!([order.place(2), order.place(4)], [Place::Late { after: 6 }, Place::Late { after: 6 }]);
        assert!(order.missing().is_empty());
        assert_eq!((order.place(u64::MAX), order.next()), (Place::AfterGap, u64::MAX));
    }

    #[test]
    fn a_file_full_of_gaps_takes_no_more_memory() {
        let mut order = Order::default();
        for index in 0..10_000 {
            assert_eq!(order.place(2 * index + 1), Place::AfterGap);
        }
        assert_eq!(order.missing().len(), 2 * MAX_GAPS);
        assert_eq!(order.place(19_000), Place::Late { after: 19_999 });
    }
}

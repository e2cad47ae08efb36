//! Which answer of the position view belongs to which push of a router (spec 1 §5.2).
//!
//! Both are in one transaction and concern the same (user, asset). A router may emit its push before it calls the view or after, so
//! neither order is assumed: whatever comes is paired with the oldest open counterpart that it can belong to, else it stays
//! open. An answer can belong to a push unless what both carry differs: the values of a full push, the request id of a replay.

use std::collections::VecDeque;

use alloy_primitives::map::HashMap;
use alloy_primitives::{Address, U256};
use plimsoll_types::RequestId;

/// A push of a router.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Push {
    /// Collateral and debt of a full push; a delta has none.
    pub(crate) values: Option<(U256, U256)>,
    pub(crate) request_id: Option<RequestId>,
}

/// What the position view made of a push.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Answer {
    /// It wrote these values.
    Wrote { values: (U256, U256) },
    /// It had this request already.
    Replayed { request_id: Option<RequestId> },
    /// It could not be written.
    Failed,
}

/// A push and its answer, by the numbers they were given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pair {
    pub(crate) push: usize,
    pub(crate) answer: usize,
}

/// What is open within one transaction.
#[derive(Debug, Default)]
pub(crate) struct Pairing {
    open: HashMap<(Address, Address), Open>,
    pairs: Vec<Pair>,
}

#[derive(Debug, Default)]
struct Open {
    pushes: VecDeque<(usize, Push)>,
    answers: VecDeque<(usize, Answer)>,
}

fn belong(push: &Push, answer: &Answer) -> bool {
    match answer {
        Answer::Wrote { values } => push.values.is_none_or(|pushed| pushed == *values),
        Answer::Replayed { request_id } => push.request_id == *request_id,
        Answer::Failed => true,
    }
}

impl Pairing {
    /// The next push for (user, asset) in the transaction, numbered `at`.
    pub(crate) fn push(&mut self, key: (Address, Address), at: usize, push: Push) {
        let open = self.open.entry(key).or_default();
        match open
            .answers
            .iter()
            .position(|(_, answer)| belong(&push, answer))
            .and_then(|i| open.answers.remove(i))
        {
            Some((answer, _)) => self.pairs.push(Pair { push: at, answer }),
            None => open.pushes.push_back((at, push)),
        }
    }

    /// The next answer for (user, asset) in the transaction, numbered `at`.
    pub(crate) fn answer(&mut self, key: (Address, Address), at: usize, answer: Answer) {
        let open = self.open.entry(key).or_default();
        match open
            .pushes
            .iter()
            .position(|(_, push)| belong(push, &answer))
            .and_then(|i| open.pushes.remove(i))
        {
            Some((push, _)) => self.pairs.push(Pair { push, answer: at }),
            None => open.answers.push_back((at, answer)),
        }
    }

    /// The transaction ends: what is open stays without a counterpart.
    pub(crate) fn end_transaction(&mut self) {
        self.open.clear();
    }

    pub(crate) fn into_pairs(self) -> Vec<Pair> {
        self.pairs
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy_primitives::B256;

    #[derive(Clone, Copy)]
    enum Step {
        Push(Push),
        Answer(Answer),
        End,
    }
    use Step::{Answer as A, End, Push as P};

    fn full(collateral: u64, id: u8) -> Step {
        P(Push {
            values: Some((U256::from(collateral), U256::ZERO)),
            request_id: RequestId::from_chain(B256::repeat_byte(id)),
        })
    }
    fn delta(id: u8) -> Step {
        P(Push { values: None, request_id: RequestId::from_chain(B256::repeat_byte(id)) })
    }
    fn wrote(collateral: u64) -> Step {
        A(Answer::Wrote { values: (U256::from(collateral), U256::ZERO) })
    }
    fn replayed(id: u8) -> Step {
        A(Answer::Replayed { request_id: RequestId::from_chain(B256::repeat_byte(id)) })
    }
    const FAILED: Step = A(Answer::Failed);

    fn pairs(steps: &[Step]) -> Vec<(usize, usize)> {
        let key = (Address::repeat_byte(1), Address::repeat_byte(2));
        let mut pairing = Pairing::default();
        for (at, step) in steps.iter().enumerate() {
            match step {
                P(push) => pairing.push(key, at, *push),
                A(answer) => pairing.answer(key, at, *answer),
                End => pairing.end_transaction(),
            }
        }
        let mut pairs: Vec<_> =
            pairing.into_pairs().into_iter().map(|pair| (pair.push, pair.answer)).collect();
        pairs.sort_unstable();
        pairs
    }

    #[test]
    fn a_push_meets_its_answer_whichever_comes_first() {
        assert_eq!(pairs(&[full(5, 1), wrote(5)]), [(0, 1)]);
        assert_eq!(pairs(&[wrote(5), full(5, 1)]), [(1, 0)]);
        assert_eq!(pairs(&[delta(1), wrote(5)]), [(0, 1)]);
        assert_eq!(pairs(&[FAILED, delta(1)]), [(1, 0)]);
        assert_eq!(pairs(&[replayed(1), full(5, 1)]), [(1, 0)]);
    }

    #[test]
    fn several_are_paired_in_order() {
        assert_eq!(pairs(&[delta(1), wrote(5), delta(2), wrote(6)]), [(0, 1), (2, 3)]);
        assert_eq!(pairs(&[delta(1), delta(2), wrote(5), wrote(6)]), [(0, 2), (1, 3)]);
        assert_eq!(pairs(&[wrote(5), wrote(6), delta(1), delta(2)]), [(2, 0), (3, 1)]);
        assert_eq!(
            pairs(&[full(5, 1), wrote(5), full(5, 1), replayed(1), delta(3), FAILED]),
            [(0, 1), (2, 3), (4, 5)]
        );
    }

    #[test]
    fn what_contradicts_is_not_paired() {
        assert_eq!(pairs(&[wrote(4), full(5, 1), wrote(5)]), [(1, 2)]);
        assert_eq!(pairs(&[full(5, 1), replayed(2), wrote(5)]), [(0, 2)]);
        assert_eq!(pairs(&[full(5, 1), wrote(6)]), []);
    }

    #[test]
    fn a_pair_never_spans_transactions_or_keys() {
        assert_eq!(pairs(&[full(5, 1), End, wrote(5)]), []);
        let mut pairing = Pairing::default();
        pairing.push((Address::ZERO, Address::ZERO), 0, Push { values: None, request_id: None });
        pairing.answer((Address::ZERO, Address::repeat_byte(1)), 1, Answer::Failed);
        assert!(pairing.into_pairs().is_empty());
    }
}

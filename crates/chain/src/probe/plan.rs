//! Which questions are asked together. Pure.
//!
//! **One contract is called in a multicall, never two.** Multicall3 calls with `CALL`, so what a contract does while it answers is there for
//! the calls after it in the same multicall: one that means harm could move tokens around for as long as its neighbours' balances are read.
//! Asked like this, a contract can falsify its own answers, which it can do anyway, and nobody else's. Native balances, which
//! run no foreign code, have multicalls of their own.

use std::collections::HashMap;

use alloy_primitives::Address;

use super::{
    multicall::calldata_bytes,
    reading::{Probe, Question},
};
use crate::client::BATCH_REQUESTS;

/// Calls in a multicall. A node gives all of them together the gas that it gives one call alone, often 50 million.
const MULTICALL_CALLS: usize = 100;
/// Calldata of a multicall, which costs gas as well.
const MULTICALL_BYTES: usize = 64 * 1024;
/// How often in a row what timed out is asked again in halves.
const MAX_HALVINGS_FOR_TIME: u32 = 2;

/// How questions are put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// In one call of Multicall3.
    Multicall,
    /// In a batch of `eth_call`.
    Calls,
    /// In a batch of `eth_getBalance`.
    Balances,
}

/// Questions that are asked together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Chunk {
    pub(super) way: Way,
    /// Places of the questions in the whole.
    pub(super) places: Vec<usize>,
    /// How often the questions were asked in vain for want of time.
    timeouts: u32,
}

impl Chunk {
    fn new(way: Way, places: &[usize]) -> Self {
        Self { way, places: places.to_vec(), timeouts: 0 }
    }

    /// Its halves, where it can be halved.
    pub(super) fn halves(&self) -> Option<[Self; 2]> {
        let (first, last) = self.places.split_at(self.places.len() / 2);
        let half = |places: &[usize]| Self { places: places.to_vec(), ..*self };
        (!first.is_empty()).then(|| [half(first), half(last)])
    }

    /// Its halves after it timed out, where that is worth another try.
    pub(super) fn halves_for_time(&self) -> Option<[Self; 2]> {
        let more = Self { timeouts: self.timeouts + 1, ..self.clone() };
        more.halves().filter(|_| more.timeouts <= MAX_HALVINGS_FOR_TIME)
    }

    /// The same questions without a multicall; some of them, if `only` says which.
    pub(super) fn plain(&self, probes: &[Probe], only: impl Fn(usize) -> bool) -> Vec<Self> {
        let places: Vec<_> = self.places.iter().copied().filter(|&place| only(place)).collect();
        plain(probes, &places)
    }
}

/// All questions in chunks, so that each is in one of them. Where a contract is asked one thing only, a multicall would bring nothing.
pub(super) fn chunks(probes: &[Probe], has_multicall: bool) -> Vec<Chunk> {
    let mut contracts: Vec<Vec<usize>> = Vec::new();
    let mut known: HashMap<Option<Address>, usize> = HashMap::new();
    let mut single = Vec::new();
    for (place, probe) in probes.iter().enumerate() {
        let contract = match &probe.question {
            Question::Native(_) => None,
            Question::View(view) if !view.direct => Some(view.contract),
            Question::View(_) => {
                single.push(place);
                continue;
            }
        };
        let group = *known.entry(contract).or_insert(contracts.len());
        if group == contracts.len() {
            contracts.push(Vec::new());
        }
        contracts[group].push(place);
    }
    let mut chunks = Vec::new();
    for places in contracts {
        if has_multicall && places.len() > 1 {
            chunks.extend(multicalls(probes, &places));
        } else {
            single.extend(places);
        }
    }
    chunks.extend(plain(probes, &single));
    chunks
}

fn multicalls(probes: &[Probe], places: &[usize]) -> Vec<Chunk> {
    let mut chunks: Vec<Chunk> = Vec::new();
    let mut bytes = 0;
    for &place in places {
        let more = calldata_bytes(&probes[place].question);
        match chunks.last_mut() {
            Some(last) if last.places.len() < MULTICALL_CALLS && bytes + more <= MULTICALL_BYTES => {
                last.places.push(place);
                bytes += more;
            }
            _ => {
                chunks.push(Chunk::new(Way::Multicall, &[place]));
                bytes = more;
            }
        }
    }
    chunks
}

fn plain(probes: &[Probe], places: &[usize]) -> Vec<Chunk> {
    let is_native = |place: &usize| matches!(probes[*place].question, Question::Native(_));
    let (native, called): (Vec<usize>, Vec<usize>) = places.iter().copied().partition(is_native);
    [(Way::Balances, native), (Way::Calls, called)]
        .into_iter()
        .flat_map(|(way, places)| {
            places.chunks(BATCH_REQUESTS).map(|places| Chunk::new(way, places)).collect::<Vec<_>>()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use alloy_dyn_abi::DynSolType;
    use alloy_primitives::Bytes;
    use proptest::prelude::*;

    use super::super::reading::View;
    use super::*;

    fn view(contract: u8, bytes: usize, direct: bool) -> Probe {
        let outputs = DynSolType::Tuple(vec![DynSolType::Uint(256)]);
        let data = Bytes::from(vec![0; bytes]);
        let contract = Address::repeat_byte(contract);
        Probe { question: Question::View(View { contract, data, direct, outputs, place: 0 }) }
    }

    fn native() -> Probe {
        Probe::native(Address::ZERO)
    }

    fn any_probe() -> impl Strategy<Value = Probe> {
        prop_oneof![
            Just(native()),
            (0_u8..4, prop_oneof![4_usize..200, 30_000_usize..70_000], prop::bool::weighted(0.1))
                .prop_map(|(contract, bytes, direct)| view(contract, bytes, direct)),
        ]
    }

    fn contract(probe: &Probe) -> Option<Address> {
        match &probe.question {
            Question::Native(_) => None,
            Question::View(view) => Some(view.contract),
        }
    }

    proptest! {
        #[test]
        fn every_question_is_in_one_chunk_and_no_chunk_is_beyond_the_limits(
            probes in prop::collection::vec(any_probe(), 0..400),
            has_multicall: bool,
        ) {
            let chunks = chunks(&probes, has_multicall);
            let mut places: Vec<_> = chunks.iter().flat_map(|chunk| chunk.places.clone()).collect();
            places.sort_unstable();
            prop_assert_eq!(places, (0..probes.len()).collect::<Vec<_>>());
            for chunk in &chunks {
                let asked: Vec<_> = chunk.places.iter().map(|&place| &probes[place]).collect();
                prop_assert!(!asked.is_empty() && asked.len() <= 100);
                match chunk.way {
                    Way::Multicall => {
                        prop_assert!(has_multicall);
                        prop_assert!(asked.iter().all(|probe| contract(probe) == contract(asked[0])), "two contracts in one multicall");
                        prop_assert!(!asked.iter().any(|probe| matches!(&probe.question, Question::View(view) if view.direct)));
                        let bytes: usize = asked.iter().map(|probe| calldata_bytes(&probe.question)).sum();
                        prop_assert!(asked.len() == 1 || bytes <= MULTICALL_BYTES);
                    }
                    Way::Calls => prop_assert!(asked.iter().all(|probe| contract(probe).is_some())),
                    Way::Balances => prop_assert!(asked.iter().all(|probe| contract(probe).is_none())),
                }
            }
        }
    }

    #[test]
    fn what_is_asked_of_one_contract_goes_into_few_calls_and_single_questions_into_one_batch() {
        let mut probes = vec![view(1, 36, false); 250];
        probes.extend(vec![native(); 3]);
        probes.extend((10..90).map(|contract| view(contract, 36, false)));
        let ways = |has_multicall| {
            chunks(&probes, has_multicall)
                .iter()
                .map(|chunk| (chunk.way, chunk.places.len()))
                .collect::<Vec<_>>()
        };
        use Way::{Balances, Calls, Multicall};
        assert_eq!(
            ways(true),
            [(Multicall, 100), (Multicall, 100), (Multicall, 50), (Multicall, 3), (Calls, 80)]
        );
        assert_eq!(ways(false), [(Balances, 3), (Calls, 100), (Calls, 100), (Calls, 100), (Calls, 30)]);
    }

    #[test]
    fn halving_ends_with_single_questions_and_for_want_of_time_earlier() {
        let whole = Chunk::new(Way::Multicall, &[3, 4, 5]);
        let [first, last] = whole.halves().unwrap();
        assert_eq!((&first.places[..], &last.places[..]), (&[3][..], &[4, 5][..]));
        assert_eq!(first.halves(), None);
        let mut chunk = Chunk::new(Way::Calls, &[0; 64]);
        let mut halvings = 0;
        while let Some([half, _]) = chunk.halves_for_time() {
            (chunk, halvings) = (half, halvings + 1);
        }
        assert_eq!((halvings, chunk.places.len()), (2, 16));
    }
}

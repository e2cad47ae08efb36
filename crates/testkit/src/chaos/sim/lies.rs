//! Endpoints that hide logs or alter them, though the header says otherwise.
//!
//! A liar is consistent: what it hides of a block or alters it hides or alters each time, in `eth_getLogs` and in `eth_getBlockReceipts`.
//! The header that it shows is the true one, since another would have another hash. What is held against the lies is what the follower was told to
//! prove: at `receipts` none is believed and each liar is named, at `bloom` none that the bloom shows.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use alloy_json_rpc::{Response, ResponsePayload, SerializedRequest};
use alloy_primitives::{B256, Bloom, BloomInput};
use alloy_transport::{TransportError, TransportErrorKind};
use serde_json::Value;
use serde_json::value::{RawValue, to_raw_value};

use super::Trace;
use super::dice::Dice;
use super::network::Network;
use crate::truth::TruthEvent;

/// An endpoint that lies about its logs.
pub(super) struct Liar {
    place: usize,
    seed: u64,
    /// Of a thousand logs, so many are hidden or altered.
    permille: u32,
    network: Arc<Network>,
    trace: Arc<Trace>,
    lies: Arc<Lies>,
}

/// The lies that were told.
#[derive(Debug, Default)]
pub(super) struct Lies(Mutex<Told>);

#[derive(Debug, Default)]
struct Told {
    /// Blocks about which a lie was told that the bloom does not show.
    unseen: HashSet<B256>,
    /// How many lies each endpoint told.
    by_place: BTreeMap<usize, u64>,
    /// No lies are told any more.
    is_over: bool,
}

/// What an endpoint is called.
pub(super) fn name(place: usize) -> String {
    format!("endpoint-{place}")
}

impl Lies {
    fn told(&self) -> MutexGuard<'_, Told> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on all tell the truth.
    pub(super) fn end(&self) {
        self.told().is_over = true;
    }

    /// Whether a lie was told about this block that its bloom does not show.
    pub(super) fn is_unseen(&self, block: B256) -> bool {
        self.told().unseen.contains(&block)
    }

    /// Whether the endpoint of this name lied.
    pub(super) fn have_been_told_by(&self, endpoint: &str) -> bool {
        self.told().by_place.keys().any(|place| name(*place) == endpoint)
    }

    /// The endpoints that lied, each with how often.
    pub(super) fn by_place(&self) -> BTreeMap<usize, u64> {
        self.told().by_place.clone()
    }
}

impl Liar {
    pub(super) fn new(
        place: usize,
        seed: u64,
        permille: u32,
        network: Arc<Network>,
        trace: Arc<Trace>,
        lies: Arc<Lies>,
    ) -> Self {
        Self { place, seed, permille, network, trace, lies }
    }

    /// The node's answer, or what is made of it.
    pub(super) fn tells(
        &self,
        request: &SerializedRequest,
        answer: Response,
    ) -> Result<Response, TransportError> {
        let ResponsePayload::Success(result) = &answer.payload else { return Ok(answer) };
        if self.lies.told().is_over {
            return Ok(answer);
        }
        let is_list = request.method() == "eth_getLogs";
        if !is_list && request.method() != "eth_getBlockReceipts" {
            return Ok(answer);
        }
        let mut value: Value = serde_json::from_str(result.get()).map_err(TransportErrorKind::custom)?;
        let mut lied = HashSet::new();
        if is_list {
            self.twist(&mut value, &mut lied);
        } else {
            let receipts = value.as_array_mut().into_iter().flatten();
            receipts.for_each(|receipt| self.twist(&mut receipt["logs"], &mut lied));
        }
        if lied.is_empty() {
            return Ok(answer);
        }
        self.note(&lied, is_list.then_some((request, &value)));
        let result = to_raw_value(&value).map_err(TransportErrorKind::custom)?;
        Ok(Response { payload: ResponsePayload::Success(result), ..answer })
    }

    /// Hides logs of a list, or alters them; adds the blocks whose they are.
    fn twist(&self, logs: &mut Value, lied: &mut HashSet<B256>) {
        let Some(logs) = logs.as_array_mut() else { return };
        logs.retain_mut(|log| {
            let Ok(block) = serde_json::from_value::<B256>(log["blockHash"].clone()) else { return true };
            let index =
                log["logIndex"].as_str().map_or(0, |text| text.len() as u64 + u64::from(text.as_bytes()[2]));
            let word = u64::from_be_bytes(block[..8].try_into().expect("eight bytes"));
            let mut dice = Dice::new(self.seed ^ word, index);
            if !dice.permille(self.permille) {
                return true;
            }
            let truth = log.clone();
            let is_told = match (dice.index(4), log["topics"].get_mut(0)) {
                (0, _) => {
                    log["data"] = "0x".into();
                    true
                }
                (1, Some(topic)) => {
                    *topic = B256::repeat_byte(7).to_string().into();
                    true
                }
                _ => false,
            };
            // To empty what is empty is no lie.
            if !is_told || *log != truth {
                lied.insert(block);
            }
            is_told
        });
    }

    fn note(&self, lied: &HashSet<B256>, list: Option<(&SerializedRequest, &Value)>) {
        let mut lied: Vec<_> = lied.iter().copied().collect();
        lied.sort_unstable();
        self.trace.note(format_args!("endpoint {} lies about {lied:?}", self.place));
        self.trace.fault("lie");
        *self.lies.told().by_place.entry(self.place).or_default() += 1;
        let Some((request, list)) = list else { return };
        let asked = request.params().map_or("", RawValue::get).to_lowercase();
        for block in lied {
            let mut truth = self.network.with_world(|world| world.events_of(block));
            // Of whom nobody asks, silence shows nothing.
            truth.retain(|event| asked.contains(&event.address.to_string().to_lowercase()));
            let bloom = self.network.with_world(|world| world.chain.bloom_of(block));
            if !is_shown(block, &bloom, &truth, list) {
                self.lies.told().unseen.insert(block);
            }
        }
    }
}

/// Whether the block's bloom contradicts what is told of its logs, or asks for more: one of them is not in it, or it has a followed contract of which
/// none is told.
fn is_shown(block: B256, bloom: &Bloom, truth: &[TruthEvent], list: &Value) -> bool {
    let of_block = |log: &&Value| log["blockHash"] == block.to_string();
    let told: Vec<&Value> = list.as_array().into_iter().flatten().filter(of_block).collect();
    let topics = told.iter().flat_map(|log| log["topics"].as_array().into_iter().flatten());
    let mut topics = topics.filter_map(|topic| serde_json::from_value::<B256>(topic.clone()).ok());
    let is_foreign = topics.any(|topic| !bloom.contains_input(BloomInput::Raw(topic.as_slice())));
    let is_silent = |event: &TruthEvent| {
        let address = event.address.to_string().to_lowercase();
        !told.iter().any(|log| log["address"] == address)
    };
    is_foreign || truth.iter().any(is_silent)
}

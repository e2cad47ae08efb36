//! What is stored of a range, held against what was proven of it.

use std::collections::{HashMap, HashSet};

use alloy_primitives::{Address, B256};
use plimsoll_journal::{Event, Filter, Range, Stored, Transaction};
use plimsoll_types::address_text;
use serde::Serialize;
use serde_json::{Value, json};

/// How the journal differs from the chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DifferenceKind {
    /// The chain has it, the raw store does not.
    Missing,
    /// Both have it, and not the same.
    Altered,
    /// The raw store has it, the chain does not.
    Foreign,
    /// It is stored, and not as a log of the canonical chain.
    NotLive,
}

impl DifferenceKind {
    /// Its name as an anomaly's kind.
    #[must_use]
    pub fn anomaly(self) -> &'static str {
        match self {
            Self::Missing => "completeness_missing",
            Self::Altered => "completeness_altered",
            Self::Foreign => "completeness_foreign",
            Self::NotLive => "completeness_not_live",
        }
    }

    /// Whether asking for the block again mends it: what is not in the journal is appended to it late, and nothing is ever taken out or changed.
    pub(super) fn can_be_repaired(self) -> bool {
        matches!(self, Self::Missing | Self::NotLive)
    }
}

/// A log, or a transaction of a watched sender, in which journal and chain differ.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Difference {
    /// How.
    pub kind: DifferenceKind,
    /// `event` or `transaction`.
    pub of: &'static str,
    /// The contract, or the sender.
    pub address: Address,
    /// Its block's number.
    pub block_number: u64,
    /// Its block's hash.
    pub block_hash: B256,
    /// Its log index, or its place in the block.
    pub index: u32,
    /// What is stored.
    pub stored: Option<Value>,
    /// What the chain has.
    pub chain: Option<Value>,
}

/// A thing of a block, and what the chain says of it.
struct Fact {
    place: (u64, B256, u32),
    address: Address,
    what: Value,
    is_live: bool,
}

/// What differs, as far as the filter wants it: by kind of thing, then in the order of the chain.
pub(super) fn compare(filter: &Filter, range: &Range, stored: &Stored) -> Vec<Difference> {
    let canonical: HashSet<B256> = range.hashes.iter().copied().collect();
    let on_chain = range.events.iter().map(|new| event(&new.event, true)).collect();
    let is_wanted = |event: &&Event| {
        filter.contracts.get(&event.contract).is_some_and(|start| event.block_number >= *start)
    };
    let kept = stored.events.iter().filter(is_wanted).map(|it| event(it, stored.live.contains(&it.id)));
    let mut found = differences("event", &canonical, on_chain, kept.collect());
    let on_chain = range.transactions.iter().map(transaction).collect();
    let ours = stored
        .transactions
        .iter()
        .filter(|tx| filter.senders.get(&tx.sender).is_some_and(|from| tx.block_number >= *from));
    // What else than its block's hash makes a transaction canonical is not on record: the same block may have been left and come back.
    let ours = ours.filter(|tx| canonical.contains(&tx.block_hash)).map(transaction);
    found.extend(differences("transaction", &canonical, on_chain, ours.collect()));
    found
}

fn event(event: &Event, is_live: bool) -> Fact {
    let what = json!({
        "tx_hash": event.tx_hash,
        "tx_index": event.tx_index,
        "contract": address_text(&event.contract),
        "topics": event.topics.iter().collect::<Vec<_>>(),
        "data": event.data,
    });
    Fact {
        place: (event.block_number, event.block_hash, event.log_index),
        address: event.contract,
        what,
        is_live,
    }
}

fn transaction(tx: &Transaction) -> Fact {
    let what = json!({
        "tx_hash": tx.tx_hash,
        "sender": address_text(&tx.sender),
        "to": tx.to.as_ref().map(address_text),
        "nonce": tx.nonce,
        "succeeded": tx.succeeded,
        "gas_used": tx.gas_used,
        "effective_gas_price": tx.effective_gas_price,
    });
    Fact { place: (tx.block_number, tx.block_hash, tx.tx_index), address: tx.sender, what, is_live: true }
}

fn differences(
    of: &'static str,
    canonical: &HashSet<B256>,
    on_chain: Vec<Fact>,
    kept: Vec<Fact>,
) -> Vec<Difference> {
    let mut expected: HashMap<_, _> = on_chain.into_iter().map(|fact| (fact.place, fact)).collect();
    let mut found = Vec::new();
    let mut differs = |kind, stored: Option<Fact>, chain: Option<Fact>| {
        let Some(Fact { place: (block_number, block_hash, index), address, .. }) =
            stored.as_ref().or(chain.as_ref())
        else {
            return;
        };
        let (block_number, block_hash, index, address) = (*block_number, *block_hash, *index, *address);
        let (stored, chain) = (stored.map(|fact| fact.what), chain.map(|fact| fact.what));
        found.push(Difference { kind, of, address, block_number, block_hash, index, stored, chain });
    };
    for ours in kept {
        match expected.remove(&ours.place) {
            Some(chain) if chain.what != ours.what => {
                differs(DifferenceKind::Altered, Some(ours), Some(chain));
            }
            Some(chain) if !ours.is_live => differs(DifferenceKind::NotLive, Some(ours), Some(chain)),
            Some(_) => {}
            // What was left by a reorganisation stays stored.
            None if !ours.is_live && !canonical.contains(&ours.place.1) => {}
            None => differs(DifferenceKind::Foreign, Some(ours), None),
        }
    }
    expected.into_values().for_each(|chain| differs(DifferenceKind::Missing, None, Some(chain)));
    found.sort_unstable_by_key(|it: &Difference| (it.block_number, it.block_hash, it.index));
    found
}

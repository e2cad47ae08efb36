//! What a header's bloom filter says about the logs of its block (yellow paper, section 4.3.1).
//!
//! Each log sets three of the filter's 2,048 bits for its address and three for each of its topics; a block's filter is the
//! union over its logs. The header's hash covers it.
//!
//! # What it shows
//!
//! - A bit that is not set proves that **no** log of the block has that address or topic. A filter that the bloom rules out,
//!   with no log returned, is answered completely ([`Explanation::Empty`]).
//! - A returned log whose bits are not all set is not of this block ([`BloomFault::NotInBloom`]). A bloom without any bit in a
//!   block with logs is the same, told apart because some chains and nodes leave the field empty ([`BloomFault::Blank`]).
//! - If *every* log of the block was asked for, their bits are exactly the bloom's; a bit that none of them sets is one of a log
//!   that was kept back ([`BloomFault::Hidden`]).
//!
//! # What it cannot show
//!
//! - **That a returned list is complete.** A second transfer of the same token between the same parties sets no bit that the first
//!   did not. Nor is a hit without a log a proof of a hidden one: other logs may set the same bits, and in a full block of
//!   Ethereum, where half of the bits are set, an eighth of all addresses seem to be there. That is [`Explanation::Unexplained`]:
//!   neither right nor wrong, and a reason to look at the receipts.
//! - **Anything about a log but its address and topics**: data, order, index, transaction, number of logs.
//! - **Which topic stands where.** The bits of a first topic and of a third are the same.
//!
//! All of that is shown by the receipts ([`ProvenHeader::prove_receipts`](crate::ProvenHeader::prove_receipts)).

use std::collections::BTreeSet;

use alloy_primitives::{Address, B256, Bloom, keccak256};

use crate::Finding;

/// The bloom of logs, each given by its address and topics.
pub fn of_logs<'a>(logs: impl IntoIterator<Item = (Address, &'a [B256])>) -> Bloom {
    let mut bloom = Bloom::ZERO;
    for (address, topics) in logs {
        bloom.accrue_raw_log(address, topics);
    }
    bloom
}

/// The three bits of one address or topic.
#[derive(Clone, Copy, Debug)]
struct Bits([u16; 3]);

impl Bits {
    fn of(value: &[u8]) -> Self {
        let hash = keccak256(value);
        Self([0, 2, 4].map(|at| u16::from_be_bytes([hash[at], hash[at + 1]]) & 0x7ff))
    }

    fn are_in(self, bloom: &Bloom) -> bool {
        self.0.iter().all(|bit| {
            let bit = usize::from(*bit);
            bloom[Bloom::len_bytes() - 1 - bit / 8] & (1 << (bit % 8)) != 0
        })
    }
}

/// A filter of `eth_getLogs`, prepared to be held against many blooms.
#[derive(Clone, Debug, Default)]
pub struct LogFilter {
    addresses: Vec<(Address, Bits)>,
    topics: Vec<Vec<(B256, Bits)>>,
}

/// What a bloom and the logs that were returned for a filter say together, where they agree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Explanation {
    /// The bloom rules out every log that the filter wants, and none was returned: the answer is proven complete.
    Empty,
    /// Each value of the filter that the bloom may contain is in a returned log. Nothing speaks against the answer; it is not proven.
    Consistent,
    /// The bloom may contain logs that the filter wants and none of which was returned. A false positive, or a hidden log: *unproven*.
    Unexplained {
        /// Addresses of the filter that the bloom may contain and no returned log has.
        addresses: Vec<Address>,
        /// Topics of the filter that the bloom may contain and no returned log has.
        topics: Vec<B256>,
    },
}

/// Part of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The contract.
    Address(Address),
    /// The topic at a position.
    Topic(usize, B256),
}

/// A bloom and logs that cannot both be of one block.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BloomFault {
    /// There are logs, and the bloom has no bit at all.
    #[error("{logs} logs, and the header's bloom is empty: the node or its chain does not fill it")]
    Blank {
        /// Logs that were returned.
        logs: usize,
    },
    /// A returned log is not in the bloom.
    #[error("log {log} of the answer is not in the header's bloom: {part:?}")]
    NotInBloom {
        /// Its position among the returned logs.
        log: usize,
        /// What of it the bloom does not have.
        part: Part,
    },
    /// Every log was asked for, and the bloom has bits that none of the returned ones sets.
    #[error("the header's bloom has {bits} bits that no returned log sets, though every log was asked for")]
    Hidden {
        /// How many.
        bits: usize,
    },
}

impl BloomFault {
    /// Always a contradiction: what the bloom merely leaves open is an [`Explanation`].
    #[must_use]
    pub fn finding(&self) -> Finding {
        Finding::Contradiction
    }
}

impl LogFilter {
    /// A filter as `eth_getLogs` takes it: any of the addresses (none: any), and for each position any of the topics (none: any).
    #[must_use]
    pub fn new(addresses: &[Address], topics: &[Vec<B256>]) -> Self {
        let topic = |topic: &B256| (*topic, Bits::of(topic.as_slice()));
        Self {
            addresses: addresses.iter().map(|address| (*address, Bits::of(address.as_slice()))).collect(),
            topics: topics.iter().map(|any| any.iter().map(topic).collect()).collect(),
        }
    }

    /// Whether the filter wants a log of this contract with these topics.
    #[must_use]
    pub fn admits(&self, address: &Address, topics: &[B256]) -> bool {
        let wanted = |place: usize, any: &[(B256, Bits)]| {
            any.is_empty() || topics.get(place).is_some_and(|topic| any.iter().any(|(want, _)| want == topic))
        };
        (self.addresses.is_empty() || self.addresses.iter().any(|(want, _)| want == address))
            && self.topics.iter().enumerate().all(|(place, any)| wanted(place, any))
    }

    /// Whether a block with this bloom may have a log that the filter wants. False is a proof that it has none.
    #[must_use]
    pub fn may_match(&self, bloom: &Bloom) -> bool {
        (self.addresses.is_empty() || self.addresses.iter().any(|(_, bits)| bits.are_in(bloom)))
            && self.topics.iter().all(|any| any.is_empty() || any.iter().any(|(_, bits)| bits.are_in(bloom)))
    }

    /// Holds the logs that a node returned for the filter against the bloom of their block's (proven) header.
    ///
    /// # Errors
    /// Where the logs and the bloom cannot be of one block.
    pub fn explain<'a>(
        &self,
        bloom: &Bloom,
        returned: impl IntoIterator<Item = (Address, &'a [B256])>,
    ) -> Result<Explanation, BloomFault> {
        if *bloom == Bloom::ZERO {
            return match returned.into_iter().count() {
                0 => Ok(Explanation::Empty),
                logs => Err(BloomFault::Blank { logs }),
            };
        }
        let mut seen = Seen::default();
        let mut logs = 0;
        for (address, topics) in returned {
            if let Some(part) = seen.missing_part(bloom, address, topics) {
                return Err(BloomFault::NotInBloom { log: logs, part });
            }
            logs += 1;
        }
        if self.wants_everything() && seen.union != *bloom {
            let bits =
                bloom.iter().zip(seen.union).map(|(all, seen)| (all & !seen).count_ones() as usize).sum();
            return Err(BloomFault::Hidden { bits });
        }
        if logs == 0 && !self.may_match(bloom) {
            return Ok(Explanation::Empty);
        }
        let addresses = unseen(&self.addresses, bloom, &seen.addresses);
        let mut topics = Vec::new();
        for any in &self.topics {
            topics.extend(unseen(any, bloom, &seen.topics));
        }
        // A hidden log would need a value of each list that the bloom may contain.
        if (addresses.is_empty() && topics.is_empty()) || !self.may_match(bloom) {
            Ok(Explanation::Consistent)
        } else {
            Ok(Explanation::Unexplained { addresses, topics })
        }
    }

    fn wants_everything(&self) -> bool {
        self.addresses.is_empty() && self.topics.iter().all(Vec::is_empty)
    }
}

/// Values of the filter that the bloom may contain and no returned log has.
fn unseen<T: Ord + Copy>(wanted: &[(T, Bits)], bloom: &Bloom, seen: &BTreeSet<T>) -> Vec<T> {
    let open = wanted.iter().filter(|(value, bits)| bits.are_in(bloom) && !seen.contains(value));
    open.map(|(value, _)| *value).collect()
}

/// What the returned logs have, each value hashed once.
#[derive(Default)]
struct Seen {
    addresses: BTreeSet<Address>,
    topics: BTreeSet<B256>,
    union: Bloom,
}

impl Seen {
    /// Notes a log; gives what of it the bloom does not have.
    fn missing_part(&mut self, bloom: &Bloom, address: Address, topics: &[B256]) -> Option<Part> {
        let mut missing = None;
        if self.addresses.insert(address) && !self.accrue(address.as_slice(), bloom) {
            missing = Some(Part::Address(address));
        }
        for (place, topic) in topics.iter().enumerate() {
            if self.topics.insert(*topic) && !self.accrue(topic.as_slice(), bloom) {
                missing = missing.or(Some(Part::Topic(place, *topic)));
            }
        }
        missing
    }

    fn accrue(&mut self, value: &[u8], bloom: &Bloom) -> bool {
        let hash = keccak256(value);
        self.union.m3_2048_hashed(&hash);
        bloom.contains_input(alloy_primitives::BloomInput::Hash(hash))
    }
}

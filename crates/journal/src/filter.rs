//! What is asked for of a chain.

use std::collections::{BTreeMap, BTreeSet};

use alloy_primitives::{Address, B256, keccak256};

/// What a digest begins with, so that it is of nothing else.
const DOMAIN: &[u8] = b"plimsoll/filter/1";

/// Which logs and transactions are wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// All logs of these contracts, each from this block on.
    pub contracts: BTreeMap<Address, u64>,
    /// All transactions of these senders.
    pub senders: BTreeSet<Address>,
}

impl Filter {
    /// Tells it from any other: keccak-256 over `plimsoll/filter/1`, the count of contracts, each one's address and start block in the order of the
    /// addresses, the count of senders and each one's address; numbers as eight bytes, big-endian.
    #[must_use]
    pub fn digest(&self) -> B256 {
        let mut bytes = DOMAIN.to_vec();
        bytes.extend_from_slice(&(self.contracts.len() as u64).to_be_bytes());
        for (address, start_block) in &self.contracts {
            bytes.extend_from_slice(address.as_slice());
            bytes.extend_from_slice(&start_block.to_be_bytes());
        }
        bytes.extend_from_slice(&(self.senders.len() as u64).to_be_bytes());
        self.senders.iter().for_each(|sender| bytes.extend_from_slice(sender.as_slice()));
        keccak256(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(contracts: &[(u8, u64)], senders: &[u8]) -> Filter {
        Filter {
            contracts: contracts.iter().map(|(byte, start)| (Address::repeat_byte(*byte), *start)).collect(),
            senders: senders.iter().map(|byte| Address::repeat_byte(*byte)).collect(),
        }
    }

    #[test]
    fn each_filter_has_a_digest_of_its_own_whatever_its_order() {
        assert_eq!(filter(&[(1, 5), (2, 6)], &[3, 4]).digest(), filter(&[(2, 6), (1, 5)], &[4, 3]).digest());
        let filters = [
            filter(&[], &[]),
            filter(&[(1, 5)], &[]),
            filter(&[(1, 6)], &[]),
            filter(&[], &[1]),
            filter(&[(1, 5), (2, 5)], &[]),
            filter(&[(1, 5)], &[2]),
        ];
        for (at, one) in filters.iter().enumerate() {
            for other in &filters[at + 1..] {
                assert_ne!(one.digest(), other.digest(), "{one:?} and {other:?}");
            }
        }
    }
}

//! What is asked for of a chain.

use std::collections::BTreeMap;

use alloy_primitives::{Address, B256, keccak256};

/// What a digest begins with, so that it is of nothing else.
const DOMAIN: &[u8] = b"plimsoll/filter/1";

/// Which logs and transactions are wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// All logs of these contracts, each from this block on.
    pub contracts: BTreeMap<Address, u64>,
    /// All transactions of these senders, each from this block on.
    pub senders: BTreeMap<Address, u64>,
}

impl Filter {
    /// Tells it from any other: keccak-256 over `plimsoll/filter/1`, the count of contracts, each one's address and block in the order of the
    /// addresses, and the same of the senders; numbers as eight bytes, big-endian.
    #[must_use]
    pub fn digest(&self) -> B256 {
        let mut bytes = DOMAIN.to_vec();
        for addresses in [&self.contracts, &self.senders] {
            bytes.extend_from_slice(&(addresses.len() as u64).to_be_bytes());
            for (address, from) in addresses {
                bytes.extend_from_slice(address.as_slice());
                bytes.extend_from_slice(&from.to_be_bytes());
            }
        }
        keccak256(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(contracts: &[(u8, u64)], senders: &[(u8, u64)]) -> Filter {
        let of = |given: &[(u8, u64)]| {
            given.iter().map(|(byte, from)| (Address::repeat_byte(*byte), *from)).collect()
        };
        Filter { contracts: of(contracts), senders: of(senders) }
    }

    #[test]
    fn each_filter_has_a_digest_of_its_own_whatever_its_order() {
        let order =
            [filter(&[(1, 5), (2, 6)], &[(3, 0), (4, 1)]), filter(&[(2, 6), (1, 5)], &[(4, 1), (3, 0)])];
        assert_eq!(order[0].digest(), order[1].digest());
        let filters = [
            filter(&[], &[]),
            filter(&[(1, 5)], &[]),
            filter(&[(1, 6)], &[]),
            filter(&[], &[(1, 0)]),
            filter(&[], &[(1, 5)]),
            filter(&[(1, 5), (2, 5)], &[]),
            filter(&[(1, 5)], &[(2, 0)]),
        ];
        for (at, one) in filters.iter().enumerate() {
            for other in &filters[at + 1..] {
                assert_ne!(one.digest(), other.digest(), "{one:?} and {other:?}");
            }
        }
    }
}

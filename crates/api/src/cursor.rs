//! Opaque cursors: the last key of a page, bound to the filters that it was made under.
//!
//! Hexadecimal of: kind, fingerprint of the filters (8 bytes), key. The fingerprint is no secret and no protection: a cursor
//! only says where to go on, and whatever it says the filters still hold.

use alloy_primitives::{Address, B256, hex, keccak256};

use crate::problem::{Problem, ProblemKind};

/// The page that a cursor belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Page {
    Positions = 1,
    Events = 2,
    Audit = 3,
    Users = 10,
    Roles = 11,
    ApiKeys = 12,
    Sessions = 13,
    Approvals = 14,
    Transactions = 15,
    LedgerPostings = 16,
    LedgerAccounts = 17,
    LedgerCurrencies = 18,
    LedgerClosings = 19,
    TrialBalance = 20,
    LedgerStatement = 21,
}

/// Which filters a cursor was made under.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fingerprint([u8; 8]);

impl Fingerprint {
    /// Of filters in a fixed order, `None` where one is not given.
    pub(crate) fn of(filters: &[Option<String>]) -> Self {
        let mut text = Vec::with_capacity(128);
        for filter in filters {
            match filter {
                Some(filter) => {
                    text.push(1);
                    text.extend_from_slice(&(filter.len() as u64).to_be_bytes());
                    text.extend_from_slice(filter.as_bytes());
                }
                None => text.push(0),
            }
        }
        let mut short = [0; 8];
        short.copy_from_slice(&keccak256(&text)[..8]);
        Self(short)
    }
}

/// The key of a position: everything after it comes on the next page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PositionKey {
    pub(crate) chain_id: i64,
    pub(crate) contract: Address,
    pub(crate) user: Address,
    pub(crate) asset: Address,
}

/// The key of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct EventKey {
    pub(crate) block_number: i64,
    pub(crate) block_hash: B256,
    pub(crate) log_index: i32,
}

/// A key that a cursor can hold.
pub(crate) trait Key: Sized {
    const PAGE: Page;
    fn write(&self, out: &mut Vec<u8>);
    fn read(bytes: &[u8]) -> Option<Self>;
}

impl Key for PositionKey {
    const PAGE: Page = Page::Positions;

    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.chain_id.to_be_bytes());
        for address in [self.contract, self.user, self.asset] {
            out.extend_from_slice(address.as_slice());
        }
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let (chain_id, rest) = bytes.split_first_chunk::<8>()?;
        let (contract, rest) = rest.split_first_chunk::<20>()?;
        let (user, rest) = rest.split_first_chunk::<20>()?;
        let asset: &[u8; 20] = rest.try_into().ok()?;
        let chain_id = i64::from_be_bytes(*chain_id);
        Some(Self { chain_id, contract: contract.into(), user: user.into(), asset: asset.into() })
    }
}

/// The number of an entry of the audit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AuditKey(pub(crate) i64);

impl Key for AuditKey {
    const PAGE: Page = Page::Audit;

    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.0.to_be_bytes());
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        Some(Self(i64::from_be_bytes(bytes.try_into().ok()?)))
    }
}

impl Key for EventKey {
    const PAGE: Page = Page::Events;

    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.block_number.to_be_bytes());
        out.extend_from_slice(self.block_hash.as_slice());
        out.extend_from_slice(&self.log_index.to_be_bytes());
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let (block_number, rest) = bytes.split_first_chunk::<8>()?;
        let (block_hash, rest) = rest.split_first_chunk::<32>()?;
        let log_index: &[u8; 4] = rest.try_into().ok()?;
        Some(Self {
            block_number: i64::from_be_bytes(*block_number),
            block_hash: block_hash.into(),
            log_index: i32::from_be_bytes(*log_index),
        })
    }
}

/// The cursor for what comes after `key`.
pub(crate) fn encode<K: Key>(filters: Fingerprint, key: &K) -> String {
    let mut bytes = Vec::with_capacity(80);
    bytes.push(K::PAGE as u8);
    bytes.extend_from_slice(&filters.0);
    key.write(&mut bytes);
    hex::encode(bytes)
}

/// Reads a cursor back. One of another page or of other filters is refused: going on from it would skip rows in silence.
pub(crate) fn decode<K: Key>(filters: Fingerprint, text: &str) -> Result<K, Problem> {
    let malformed = || Problem::new(ProblemKind::InvalidCursor, "the cursor is not one that this page gave");
    let bytes = hex::decode(text).map_err(|_| malformed())?;
    let (page, rest) = bytes.split_first().ok_or_else(malformed)?;
    let (made_under, key) = rest.split_first_chunk::<8>().ok_or_else(malformed)?;
    if *page != K::PAGE as u8 {
        return Err(malformed());
    }
    let key = K::read(key).ok_or_else(malformed)?;
    if *made_under != filters.0 {
        return Err(Problem::new(
            ProblemKind::InvalidCursor,
            "the cursor was made under other filters or another order",
        ));
    }
    Ok(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event() -> EventKey {
        EventKey { block_number: 7, block_hash: B256::repeat_byte(9), log_index: 3 }
    }

    #[test]
    fn a_cursor_comes_back_as_the_key_it_was_made_from() {
        let filters = Fingerprint::of(&[Some("a".into()), None]);
        assert_eq!(decode::<EventKey>(filters, &encode(filters, &event())).unwrap(), event());
        let position = PositionKey {
            chain_id: 1,
            contract: Address::repeat_byte(1),
            user: Address::repeat_byte(2),
            asset: Address::repeat_byte(3),
        };
        assert_eq!(decode::<PositionKey>(filters, &encode(filters, &position)).unwrap(), position);
    }

    #[test]
    fn a_cursor_of_other_filters_another_page_or_none_is_refused() {
        let filters = Fingerprint::of(&[Some("ab".into()), Some("c".into())]);
        let others = Fingerprint::of(&[Some("a".into()), Some("bc".into())]);
        let cursor = encode(filters, &event());
        assert!(decode::<EventKey>(others, &cursor).unwrap_err().detail.contains("other filters"));
        assert!(decode::<PositionKey>(filters, &cursor).is_err());
        for text in ["", "zz", "02", &cursor[..cursor.len() - 2], &format!("{cursor}00")] {
            assert!(decode::<EventKey>(filters, text).is_err(), "{text}");
        }
    }
}

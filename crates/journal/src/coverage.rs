//! Which blocks were asked for whom: what is on record of a journal's completeness, read back.

use std::collections::BTreeMap;
use std::sync::Arc;

use alloy_primitives::{Address, B256};
use plimsoll_store::Db;
use plimsoll_types::Completeness;
use serde::Serialize;
use time::OffsetDateTime;

use crate::filter::Filter;
use crate::fold::FoldError;
use crate::repo::certificate as repo;

/// What was proven of a range of blocks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// The first block.
    pub from: u64,
    /// The last block.
    pub to: u64,
    /// Its hash.
    pub to_hash: B256,
    /// Over the hashes of all blocks; none where only the last was looked at.
    pub blocks_root: Option<B256>,
    /// What was asked for.
    pub filter: Arc<Filter>,
    /// What was proven.
    pub level: Completeness,
    /// By whose answers.
    pub endpoints: Vec<String>,
    /// `backfill`, `head`, `verify` or `late`.
    pub source: String,
    /// When its last block was taken in.
    pub certified_at: OffsetDateTime,
}

/// Blocks of which nobody was asked what a contract, or a sender, did in them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Uncovered {
    /// Whose logs, or transactions.
    pub address: Address,
    /// Whether it is a watched sender, not a contract.
    pub is_sender: bool,
    /// The first block.
    pub from: u64,
    /// The last block.
    pub to: u64,
}

impl Uncovered {
    /// Whether what this address did in this block was never asked for.
    #[must_use]
    pub fn contains(&self, address: Address, block_number: u64) -> bool {
        self.address == address && (self.from..=self.to).contains(&block_number)
    }
}

/// All certificates of a chain, by the order of their blocks.
///
/// # Errors
/// When the database fails, or has what this version cannot read.
pub async fn certificates(db: &Db, chain_id: u64) -> Result<Vec<Certificate>, FoldError> {
    let mut conn = db.worker().acquire().await?;
    repo::all(&mut conn, chain_id).await
}

/// What of `wanted` is in none of the certificates, of the blocks from where it is wanted to `to`; by address, contracts first, in the order of blocks.
#[must_use]
pub fn uncovered(wanted: &Filter, certificates: &[Certificate], to: u64) -> Vec<Uncovered> {
    type Of = fn(&Filter) -> &BTreeMap<Address, u64>;
    let asked: [Of; 2] = [|filter| &filter.contracts, |filter| &filter.senders];
    let mut gaps = Vec::new();
    for (of, is_sender) in asked.into_iter().zip([false, true]) {
        for (address, from) in of(wanted) {
            let seen = certificates.iter().filter_map(|certificate| {
                let asked_from = *of(&certificate.filter).get(address)?;
                Some((certificate.from.max(asked_from), certificate.to))
            });
            gaps.extend(gaps_of(*address, is_sender, (*from, to), seen));
        }
    }
    gaps
}

/// What of the range is in none of these.
fn gaps_of(
    address: Address,
    is_sender: bool,
    (from, to): (u64, u64),
    seen: impl Iterator<Item = (u64, u64)>,
) -> Vec<Uncovered> {
    let mut seen: Vec<_> = seen.filter(|(from, to)| from <= to).collect();
    seen.sort_unstable();
    let mut gaps = Vec::new();
    let mut next = from;
    for (first, last) in seen {
        if next < first && next <= to {
            gaps.push(Uncovered { address, is_sender, from: next, to: to.min(first - 1) });
        }
        next = next.max(last + 1);
    }
    if next <= to {
        gaps.push(Uncovered { address, is_sender, from: next, to });
    }
    gaps
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(contracts: &[(u8, u64)], senders: &[(u8, u64)]) -> Arc<Filter> {
        let of = |given: &[(u8, u64)]| {
            given.iter().map(|(byte, from)| (Address::repeat_byte(*byte), *from)).collect()
        };
        Arc::new(Filter { contracts: of(contracts), senders: of(senders) })
    }

    fn certificate(from: u64, to: u64, filter: &Arc<Filter>) -> Certificate {
        Certificate {
            from,
            to,
            to_hash: B256::ZERO,
            blocks_root: None,
            filter: filter.clone(),
            level: Completeness::Bloom,
            endpoints: Vec::new(),
            source: "backfill".into(),
            certified_at: OffsetDateTime::UNIX_EPOCH,
        }
    }

    /// The gaps as (first byte of the address, first block, last block).
    fn gaps(wanted: &Filter, certificates: &[Certificate], to: u64) -> Vec<(u8, u64, u64)> {
        uncovered(wanted, certificates, to).iter().map(|gap| (gap.address[0], gap.from, gap.to)).collect()
    }

    #[test]
    fn a_contract_that_is_added_later_is_uncovered_before() {
        let (narrow, wide) = (filter(&[(1, 5)], &[]), filter(&[(1, 5), (2, 7)], &[(3, 2)]));
        let certificates = [certificate(5, 10, &narrow), certificate(11, 20, &wide)];
        assert_eq!(gaps(&wide, &certificates, 20), [(2, 7, 10), (3, 2, 10)]);
        assert_eq!(gaps(&narrow, &certificates, 20), []);
        assert_eq!(gaps(&narrow, &certificates, 25), [(1, 21, 25)], "what is not there yet");
    }

    #[test]
    fn a_contract_that_is_wanted_from_an_earlier_block_is_uncovered_up_to_where_it_was_wanted_from() {
        let (late, early) = (filter(&[(1, 8)], &[]), filter(&[(1, 3)], &[]));
        // The range begins below, but its logs were not asked for there.
        assert_eq!(gaps(&early, &[certificate(0, 10, &late)], 10), [(1, 3, 7)]);
        assert_eq!(gaps(&late, &[certificate(0, 10, &early)], 10), []);
    }

    #[test]
    fn gaps_are_found_wherever_they_are_however_ranges_overlap() {
        let all = filter(&[(1, 0)], &[]);
        let ranges = |ranges: &[(u64, u64)]| -> Vec<_> {
            ranges.iter().map(|(from, to)| certificate(*from, *to, &all)).collect()
        };
        assert_eq!(gaps(&all, &[], 9), [(1, 0, 9)]);
        assert_eq!(gaps(&all, &ranges(&[(0, 9)]), 9), []);
        assert_eq!(gaps(&all, &ranges(&[(2, 3), (6, 7)]), 9), [(1, 0, 1), (1, 4, 5), (1, 8, 9)]);
        assert_eq!(gaps(&all, &ranges(&[(0, 5), (2, 3), (4, 8)]), 9), [(1, 9, 9)]);
        assert_eq!(gaps(&all, &ranges(&[(20, 30)]), 9), [(1, 0, 9)], "above what is asked");
    }
}

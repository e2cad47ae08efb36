//! The receipts of a block against its header's `receiptsRoot`.

use alloy_primitives::{Address, B256, Bloom, Bytes};

use crate::{
    Finding, LogFilter,
    header::ProvenHeader,
    receipt::{ARBITRUM_CLASSIC, Receipt, ReportedReceipt},
    transactions::ProvenTransactions,
    trie::{self, Inclusion, InclusionFault},
    tx_type,
};

/// The root of receipts in their order.
#[must_use]
pub fn receipts_root(receipts: &[ReportedReceipt]) -> B256 {
    trie::ordered_root(receipts, |reported, out| reported.receipt.encode(out))
}

/// Why a block's receipts are not proven.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReceiptsFault {
    /// A receipt says that it is of another block.
    #[error("receipt {index} says that it is of block {claimed}")]
    OtherBlock {
        /// Position of the receipt in the answer.
        index: usize,
        /// The block that it names.
        claimed: B256,
    },
    /// A receipt says that it stands elsewhere.
    #[error("receipt {index} says that it is number {claimed}")]
    Displaced {
        /// Position of the receipt in the answer.
        index: usize,
        /// The position that it names.
        claimed: u32,
    },
    /// A log says that it stands elsewhere in the block.
    #[error("log {expected} of the block, in receipt {index}, says that it is number {claimed}")]
    LogIndex {
        /// Position of the receipt in the answer.
        index: usize,
        /// The log's position, counted.
        expected: u32,
        /// The position that it names.
        claimed: u32,
    },
    /// The receipts do not give the root.
    #[error(
        "the {receipts} receipts have root {found}, the header has {expected}{}{}",
        odd_types(.unknown_types),
        altered_receipts(.altered)
    )]
    Root {
        /// The header's root.
        expected: B256,
        /// The receipts' root.
        found: B256,
        /// How many receipts there were.
        receipts: usize,
        /// Types among them whose encoding is not known for sure.
        unknown_types: Vec<u8>,
        /// Receipts whose logs do not make their bloom: where a log was hidden or altered and the bloom forgotten.
        altered: Vec<usize>,
    },
    /// A receipt names another transaction than the block has at its place.
    #[error("receipt {index} names transaction {claimed}, the block has {proven} there")]
    TxHash {
        /// Position of the receipt.
        index: usize,
        /// The transaction that it names.
        claimed: B256,
        /// The block's.
        proven: B256,
    },
    /// There are not as many receipts as transactions.
    #[error("{receipts} receipts for {transactions} transactions")]
    Count {
        /// Receipts.
        receipts: usize,
        /// Transactions.
        transactions: usize,
    },
}

fn odd_types(types: &[u8]) -> String {
    if types.is_empty() {
        return String::new();
    }
    let names: Vec<_> = types.iter().map(|of| tx_type::name(*of)).collect();
    format!("; it is not known how receipts of {} are encoded", names.join(", "))
}

fn altered_receipts(receipts: &[usize]) -> String {
    match receipts {
        [] => String::new(),
        [first, ..] => {
            format!("; the logs of {} receipts do not make their bloom, first number {first}", receipts.len())
        }
    }
}

impl ReceiptsFault {
    /// Whether the receipts are wrong, or merely of a kind that is not known.
    #[must_use]
    pub fn finding(&self) -> Finding {
        match self {
            Self::Root { unknown_types, .. } if !unknown_types.is_empty() => Finding::Unproven,
            _ => Finding::Contradiction,
        }
    }
}

/// The receipts of a block, shown to be all of them, in order and unaltered. The only way to them is through the check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProvenReceipts {
    receipts: Vec<ReportedReceipt>,
}

/// A log and its place in a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlacedLog<'a> {
    /// Position of its transaction in the block.
    pub tx_index: u32,
    /// Position in the block, over all transactions.
    pub log_index: u32,
    /// The transaction. As claimed, until [`ProvenReceipts::check_transactions`] has shown it.
    pub tx_hash: B256,
    /// The contract.
    pub address: Address,
    /// Signature hash and indexed arguments.
    pub topics: &'a [B256],
    /// The other arguments, ABI encoded.
    pub data: &'a Bytes,
}

impl ProvenHeader {
    /// Shows that these are the receipts of this block, all of them, in order.
    ///
    /// # Errors
    /// Where they are not, or that cannot be told.
    pub fn prove_receipts(&self, receipts: Vec<ReportedReceipt>) -> Result<ProvenReceipts, ReceiptsFault> {
        let found = receipts_root(&receipts);
        if found != self.receipts_root {
            let mut unknown_types: Vec<u8> =
                receipts.iter().map(|r| r.receipt.tx_type).filter(|of| !is_encoding_known(*of)).collect();
            unknown_types.sort_unstable();
            unknown_types.dedup();
            let is_altered = |r: &ReportedReceipt| r.receipt.bloom != r.receipt.bloom_of_logs();
            return Err(ReceiptsFault::Root {
                expected: self.receipts_root,
                found,
                receipts: receipts.len(),
                unknown_types,
                altered: (0..receipts.len()).filter(|index| is_altered(&receipts[*index])).collect(),
            });
        }
        let mut expected: u32 = 0;
        for (index, receipt) in receipts.iter().enumerate() {
            if receipt.block_hash != self.hash {
                return Err(ReceiptsFault::OtherBlock { index, claimed: receipt.block_hash });
            }
            if receipt.tx_index as usize != index {
                return Err(ReceiptsFault::Displaced { index, claimed: receipt.tx_index });
            }
            for claimed in &receipt.log_indexes {
                if *claimed != expected {
                    return Err(ReceiptsFault::LogIndex { index, expected, claimed: *claimed });
                }
                expected += 1;
            }
        }
        Ok(ProvenReceipts { receipts })
    }

    /// Reads a receipt out of a proof that this block has it.
    ///
    /// # Errors
    /// Where the proof does not lead to it from this header's `receiptsRoot`.
    pub fn prove_receipt(&self, proof: &Inclusion) -> Result<Receipt, InclusionFault> {
        proof.verify(self.receipts_root)?;
        Receipt::decode(&proof.value).map_err(|source| InclusionFault::Value { index: proof.index, source })
    }
}

/// Whether a receipt of this type is certainly encoded as others are. Classic Arbitrum's blocks got their roots before Nitro.
fn is_encoding_known(of: u8) -> bool {
    of != ARBITRUM_CLASSIC && tx_type::is_known(of)
}

impl ProvenReceipts {
    /// The receipts in order: the one at `index` is of the transaction at `index`.
    #[must_use]
    pub fn receipts(&self) -> &[ReportedReceipt] {
        &self.receipts
    }

    /// The receipts, to keep.
    #[must_use]
    pub fn into_inner(self) -> Vec<ReportedReceipt> {
        self.receipts
    }

    /// Every log of the block, in order.
    pub fn logs(&self) -> impl Iterator<Item = PlacedLog<'_>> {
        self.receipts.iter().flat_map(|reported| {
            let ReportedReceipt { receipt, tx_index, tx_hash, log_indexes, .. } = reported;
            receipt.logs.iter().zip(log_indexes).map(|(log, log_index)| PlacedLog {
                tx_index: *tx_index,
                log_index: *log_index,
                tx_hash: *tx_hash,
                address: log.address,
                topics: &log.topics,
                data: &log.data,
            })
        })
    }

    /// Gas that the transaction at `index` used alone; none if there is no such transaction, or the block does not count
    /// as blocks do (classic Arbitrum).
    #[must_use]
    pub fn gas_used(&self, index: usize) -> Option<u64> {
        let cumulative = |index: usize| Some(self.receipts.get(index)?.receipt.cumulative_gas_used);
        let before = index.checked_sub(1).map_or(Some(0), cumulative)?;
        cumulative(index)?.checked_sub(before)
    }

    /// Bloom filter over the logs: what the header's bloom has to be.
    #[must_use]
    pub fn bloom(&self) -> Bloom {
        let mut bloom = Bloom::ZERO;
        for reported in &self.receipts {
            bloom.accrue_bloom(&reported.receipt.bloom);
        }
        bloom
    }

    /// A proof that the block has the receipt at `index`, to be read with [`ProvenHeader::prove_receipt`]; none if there is no
    /// such receipt.
    #[must_use]
    pub fn inclusion(&self, index: usize) -> Option<Inclusion> {
        Inclusion::build(&self.receipts, index, |reported, out| reported.receipt.encode(out))
    }

    /// Shows that each receipt names the transaction that the block has at its place, so that the logs' `tx_hash` is proven.
    ///
    /// # Errors
    /// Where one does not. Both must be of one header; else they hardly agree.
    pub fn check_transactions(&self, transactions: &ProvenTransactions) -> Result<(), ReceiptsFault> {
        let transactions = transactions.transactions();
        if transactions.len() != self.receipts.len() {
            return Err(ReceiptsFault::Count {
                receipts: self.receipts.len(),
                transactions: transactions.len(),
            });
        }
        for (index, (receipt, transaction)) in self.receipts.iter().zip(transactions).enumerate() {
            if receipt.tx_hash != transaction.hash {
                let (claimed, proven) = (receipt.tx_hash, transaction.hash);
                return Err(ReceiptsFault::TxHash { index, claimed, proven });
            }
        }
        Ok(())
    }

    /// How the logs that a node returned for this block and filter (as by `eth_getLogs`), in order of their position, differ
    /// from what the block has. Empty where the answer is right.
    pub fn disputes<'a>(
        &self,
        filter: &LogFilter,
        returned: impl IntoIterator<Item = PlacedLog<'a>>,
    ) -> Vec<Dispute> {
        let mut wanted =
            self.logs().filter(|placed| filter.admits(&placed.address, placed.topics)).peekable();
        let mut disputes = Vec::new();
        for log in returned {
            while let Some(hidden) = wanted.next_if(|placed| placed.log_index < log.log_index) {
                disputes.push(Dispute::Hidden { log_index: hidden.log_index });
            }
            match wanted.next_if(|placed| placed.log_index == log.log_index) {
                None => disputes.push(Dispute::Invented { log_index: log.log_index }),
                Some(proven) if proven != log => disputes.push(Dispute::Altered { log_index: log.log_index }),
                Some(_) => {}
            }
        }
        disputes.extend(wanted.map(|hidden| Dispute::Hidden { log_index: hidden.log_index }));
        disputes
    }
}

/// How a returned list of logs differs from the block's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dispute {
    /// The block has it, the answer does not.
    Hidden {
        /// Position in the block.
        log_index: u32,
    },
    /// The answer has it (again), the block does not, or the filter does not want it.
    Invented {
        /// The position that the answer names.
        log_index: u32,
    },
    /// Both have one there, with another content or of another transaction.
    Altered {
        /// Position in the block.
        log_index: u32,
    },
}

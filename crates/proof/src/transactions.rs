//! The transactions of a block against its header's `transactionsRoot`.

use alloy_primitives::{B256, keccak256};

use crate::{
    Finding,
    header::ProvenHeader,
    transaction::{SenderFault, Transaction, Unencodable},
    trie::{self, Inclusion, InclusionFault},
};

/// The root of transactions in their order.
///
/// # Errors
/// Where one of them cannot be encoded.
pub fn transactions_root(transactions: &[Transaction]) -> Result<B256, Unencodable> {
    let encoded = transactions.iter().map(Transaction::encode).collect::<Result<Vec<_>, _>>()?;
    Ok(root_of(&encoded))
}

fn root_of(encoded: &[Vec<u8>]) -> B256 {
    trie::ordered_root(encoded, |bytes, out| out.extend_from_slice(bytes))
}

/// Why a block's transactions are not proven.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TransactionsFault {
    /// Some cannot be encoded, hence no root be made. The hashes of the others are right.
    #[error(
        "{count} of {transactions} transactions cannot be proven, nor their root; number {first} is the first: {source}"
    )]
    Unencodable {
        /// How many transactions there were.
        transactions: usize,
        /// How many cannot be encoded.
        count: usize,
        /// The first of them.
        first: usize,
        /// Why.
        source: Unencodable,
    },
    /// A transaction says that it is of another block.
    #[error("transaction {index} says that it is of block {claimed}")]
    OtherBlock {
        /// Position in the answer.
        index: usize,
        /// The block that it names.
        claimed: B256,
    },
    /// A transaction says that it stands elsewhere.
    #[error("transaction {index} says that it is number {claimed}")]
    Displaced {
        /// Position in the answer.
        index: usize,
        /// The position that it names.
        claimed: u32,
    },
    /// The fields of a transaction do not give its hash.
    #[error("transaction {index} hashes to {computed}, not to {claimed}")]
    Hash {
        /// Position in the answer.
        index: usize,
        /// The hash in the answer.
        claimed: B256,
        /// The hash of the fields.
        computed: B256,
    },
    /// The transactions do not give the root.
    #[error("the {transactions} transactions have root {found}, the header has {expected}{}", with_blobs(*.blobs))]
    Root {
        /// The header's root.
        expected: B256,
        /// The transactions' root.
        found: B256,
        /// How many transactions there were.
        transactions: usize,
        /// How many of them came with their blobs. A development node's root may cover these.
        blobs: usize,
    },
}

fn with_blobs(transactions: usize) -> String {
    match transactions {
        0 => String::new(),
        some => format!("; {some} came with their blobs, which the node may have put under the root"),
    }
}

impl TransactionsFault {
    /// Whether the transactions are wrong, or merely of a kind that is not known.
    #[must_use]
    pub fn finding(&self) -> Finding {
        match self {
            Self::Unencodable { .. } => Finding::Unproven,
            Self::Root { blobs, .. } if *blobs > 0 => Finding::Unproven,
            _ => Finding::Contradiction,
        }
    }
}

/// The transactions of a block, shown to be all of them, in order and with the hashes that they claim. Not shown are what is not
/// in their encoding: `from` of the signed types ([`Transaction::check_sender`]) and a paid `gas_price`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProvenTransactions {
    transactions: Vec<Transaction>,
}

impl ProvenHeader {
    /// Shows that these are the transactions of this block, all of them, in order, and that each has the hash that it claims.
    ///
    /// # Errors
    /// Where they are not, or that cannot be told.
    pub fn prove_transactions(
        &self,
        transactions: Vec<Transaction>,
    ) -> Result<ProvenTransactions, TransactionsFault> {
        let mut encoded = Vec::with_capacity(transactions.len());
        let mut unencodable: Option<(usize, usize, Unencodable)> = None;
        for (index, transaction) in transactions.iter().enumerate() {
            if let Some(claimed) = transaction.block_hash.filter(|claimed| *claimed != self.hash) {
                return Err(TransactionsFault::OtherBlock { index, claimed });
            }
            if let Some(claimed) = transaction.transaction_index.filter(|claimed| *claimed as usize != index)
            {
                return Err(TransactionsFault::Displaced { index, claimed });
            }
            let unprovable = match transaction.encode() {
                Ok(bytes) => {
                    let (claimed, computed) = (transaction.hash, keccak256(&bytes));
                    encoded.push(bytes);
                    match claimed == computed {
                        true => continue,
                        false if transaction.has_empty_signature() => Unencodable::Unsigned,
                        false => return Err(TransactionsFault::Hash { index, claimed, computed }),
                    }
                }
                Err(source) => source,
            };
            match &mut unencodable {
                Some((count, ..)) => *count += 1,
                None => unencodable = Some((1, index, unprovable)),
            }
        }
        if let Some((count, first, source)) = unencodable {
            let transactions = transactions.len();
            return Err(TransactionsFault::Unencodable { transactions, count, first, source });
        }
        let found = root_of(&encoded);
        if found == self.transactions_root {
            Ok(ProvenTransactions { transactions })
        } else {
            let blobs = transactions.iter().filter(|transaction| transaction.has_blobs).count();
            let (expected, transactions) = (self.transactions_root, transactions.len());
            Err(TransactionsFault::Root { expected, found, transactions, blobs })
        }
    }

    /// The hash of a transaction, out of a proof that this block has it.
    ///
    /// # Errors
    /// Where the proof does not lead to it from this header's `transactionsRoot`.
    pub fn prove_transaction(&self, proof: &Inclusion) -> Result<B256, InclusionFault> {
        proof.verify(self.transactions_root)?;
        Ok(keccak256(&proof.value))
    }
}

impl ProvenTransactions {
    /// The transactions in order.
    #[must_use]
    pub fn transactions(&self) -> &[Transaction] {
        &self.transactions
    }

    /// The transactions, to keep.
    #[must_use]
    pub fn into_inner(self) -> Vec<Transaction> {
        self.transactions
    }

    /// Shows that each transaction was sent by whom it names.
    ///
    /// # Errors
    /// The first that was not, or that cannot be told, with its position.
    pub fn check_senders(&self) -> Result<(), (usize, SenderFault)> {
        for (index, transaction) in self.transactions.iter().enumerate() {
            transaction.check_sender().map_err(|fault| (index, fault))?;
        }
        Ok(())
    }

    /// A proof that the block has the transaction at `index`, to be read with [`ProvenHeader::prove_transaction`]; none if there
    /// is no such transaction.
    #[must_use]
    pub fn inclusion(&self, index: usize) -> Option<Inclusion> {
        // All of them could be encoded, or they would not be proven.
        let encoded: Vec<Vec<u8>> =
            self.transactions.iter().map_while(|transaction| transaction.encode().ok()).collect();
        Inclusion::build(&encoded, index, |bytes, out| out.extend_from_slice(bytes))
    }
}

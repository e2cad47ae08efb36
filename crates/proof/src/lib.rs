//! What a block's header proves about the block's content: pure functions from what a node says to *proven*, *unproven* or
//! *contradiction*.
//!
//! # What it promises
//!
//! Whoever trusts a block's hash need not trust the node that tells what is in the block:
//!
//! | given | shown by | then proven |
//! | --- | --- | --- |
//! | a header | [`Header::prove`]: the fields hash to the hash | every field of it, roots and bloom among them |
//! | logs of a filter | [`LogFilter::explain`]: held against the bloom | that there is none, where the bloom rules them out; never that a list is complete ([`bloom`]) |
//! | all receipts | [`ProvenHeader::prove_receipts`]: their trie has `receiptsRoot` | type, outcome, gas and every log of every transaction, number and order; **not** the transactions' hashes |
//! | one receipt and a path | [`ProvenHeader::prove_receipt`] | that receipt |
//! | all transactions | [`ProvenHeader::prove_transactions`]: their trie has `transactionsRoot`, each its hash | every field that is encoded; **not** the sender of a signed one |
//! | their signatures | [`ProvenTransactions::check_senders`] | the senders |
//! | an account and a path | [`ProvenHeader::prove_account`]: it is under `stateRoot` | its nonce, balance, storage's root and code's hash after the block, or that there is none |
//! | receipts and transactions | [`ProvenReceipts::check_transactions`] | which transaction emitted a log |
//!
//! What a signed checkpoint proves of our own books is in [`ledger`].
//!
//! That the hash is one of the canonical chain is not this crate's to say: parents, quorum and finality do.
//!
//! ```
//! use plimsoll_proof::{Finding, Header, LogFilter};
//! # let answer: serde_json::Value = serde_json::from_str(include_str!("../testdata/arbitrum-one-150000000.json"))?;
//! # let (block, receipts) = (answer["block"].to_string(), answer["receipts"].to_string());
//! # let transactions = answer["block"]["transactions"].to_string();
//!
//! // From `eth_getBlockByHash` with full transactions, and `eth_getBlockReceipts`.
//! let header = serde_json::from_str::<Header>(&block)?.prove()?;
//! let transactions = header.prove_transactions(serde_json::from_str(&transactions)?)?;
//! let receipts = header.prove_receipts(serde_json::from_str(&receipts)?)?;
//! receipts.check_transactions(&transactions)?;
//!
//! let usdt = "0xfd086bc7cd5c481dcc9c85ebe478a1c0b69fcbb9".parse()?;
//! let wanted = LogFilter::new(&[usdt], &[]);
//! let logs: Vec<_> = receipts.logs().filter(|log| wanted.admits(&log.address, log.topics)).collect();
//! assert_eq!(logs.len(), 7);
//!
//! // A node that keeps one of them back is found out, and what it kept back is named.
//! assert_eq!(receipts.disputes(&wanted, logs[1..].iter().copied()).len(), 1);
//! // The bloom alone could not have shown that; it shows what is not there.
//! assert!(!LogFilter::new(&[alloy_primitives::Address::ZERO], &[]).may_match(&header.logs_bloom));
//!
//! // For somebody who has only the header: one receipt and the way to it.
//! let proof = receipts.inclusion(1).expect("there are five");
//! assert_eq!(header.prove_receipt(&proof)?.logs.len(), 11);
//!
//! let mut forged = receipts.into_inner();
//! forged[1].receipt.logs.pop();
//! let fault = header.prove_receipts(forged).expect_err("a log is missing");
//! assert_eq!(fault.finding(), Finding::Contradiction);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Why that holds
//!
//! A proven thing is a type of its own ([`ProvenHeader`], [`ProvenReceipts`], [`ProvenTransactions`]) whose only source is the
//! check. The check rebuilds the hash or the root from the fields that are given back, so a field counts exactly if it is in the
//! encoding; what a node says beside that (positions, block, hashes) is compared with what follows from the proof, or named
//! as unproven here.
//!
//! What this version does not know is [`Finding::Unproven`] and never wrong: a later fork's field in a header, a type of
//! transaction, a field that a chain's nodes leave out. Only what cannot be true is a [`Finding::Contradiction`], which makes
//! its source suspect. A liar can turn the one into the other, by adding a field that nobody knows; nothing is gained by that, for
//! unproven is not proven.
//!
//! # Chains
//!
//! - **Ethereum**, every fork up to Amsterdam; types 0 to 4. A receipt of a type that is not known is tried in the form that all
//!   have had so far.
//! - **Arbitrum** since Nitro: headers are London's, with `mixHash`, `extraData` and `nonce` in use; types 0x64 to 0x6a beside
//!   Ethereum's; receipts have the same form, and the gas for the parent chain is not a part of them. What is from before Nitro
//!   (type 0x78) has hashes and roots that were made otherwise: unproven.
//! - **Anvil** is Ethereum at the fork that it runs, but for three things, each of which is found and called unproven: a
//!   transaction of an impersonated account has no signature and a hash of its own; blobs are put under the transactions' root; and
//!   its genesis before Shanghai has Cancun's blob fields.
//! - Chains that put something of their own into headers, receipts or types (the OP stack's deposits, Celo, Polygon's state
//!   sync, zkSync) are unproven as far as it reaches.
//!
//! # Traps
//!
//! - A header's encoding does not name its fields, so one that may be left out before one that may not would let a node pass
//!   one field off as the other, with the right hash. That is why the later fields must be a beginning of the forks' order.
//! - The bloom is not in question here, but in [`bloom`]: read what it cannot show.
//! - Before Byzantium a receipt has a state root and no status. It says nothing about success.
//! - The header's `gasUsed` is not compared with the receipts': since EIP-7778 they need not agree.
//! - Positions in tries are encoded so that 0 comes after 127 (`trie.rs`).

mod account;
mod blocks_root;
pub mod bloom;
mod finding;
mod header;
pub mod hex;
pub mod ledger;
mod log;
mod receipt;
mod receipts;
mod rlp;
mod transaction;
mod transactions;
mod trie;
pub mod tx_type;

pub use account::{Account, AccountFault, ReportedAccount};
pub use blocks_root::BlocksRoot;
pub use bloom::{BloomFault, Explanation, LogFilter, Part};
pub use finding::Finding;
pub use header::{Fork, Header, HeaderFault, ProvenHeader};
pub use log::{Log, MAX_TOPICS};
pub use receipt::{Outcome, Receipt, ReportedReceipt};
pub use receipts::{Dispute, PlacedLog, ProvenReceipts, ReceiptsFault, receipts_root};
pub use transaction::{AccessListItem, Authorization, SenderFault, Transaction, Unencodable};
pub use transactions::{ProvenTransactions, TransactionsFault, transactions_root};
pub use trie::{Inclusion, InclusionFault};

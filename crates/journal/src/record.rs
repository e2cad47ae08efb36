//! What a journal record says, with the row of the raw store that it refers to.

use std::sync::Arc;

use alloy_primitives::{Address, B256, Bytes};
use plimsoll_chain::Topics;
use plimsoll_types::{Amount, JournalKind, RequestId};
use time::OffsetDateTime;

/// A log as the chain gave it (`chain_events`). Immutable; the same log that comes back after a reorg is the same event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Its id, unique within the chain.
    pub id: i64,
    /// Block number.
    pub block_number: u64,
    /// Block hash.
    pub block_hash: B256,
    /// Transaction hash.
    pub tx_hash: B256,
    /// The transaction's index in the block.
    pub tx_index: u32,
    /// The log's index in the block.
    pub log_index: u32,
    /// The contract that emitted it.
    pub contract: Address,
    /// Its topics, topic0 first; empty for an anonymous log without indexed parameters.
    pub topics: Topics,
    /// Its data.
    pub data: Bytes,
}

/// An inclusion of a transaction by a watched sender (`chain_tx_meta`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transaction {
    /// Its id, unique within the chain.
    pub id: i64,
    /// Block number.
    pub block_number: u64,
    /// Block hash.
    pub block_hash: B256,
    /// Transaction hash.
    pub tx_hash: B256,
    /// Its index in the block.
    pub tx_index: u32,
    /// Who signed it.
    pub sender: Address,
    /// Whom it calls; `None` when it creates a contract.
    pub to: Option<Address>,
    /// The sender's nonce that it consumed.
    pub nonce: u64,
    /// Whether it succeeded; a reverted one consumed its nonce and its gas all the same.
    pub succeeded: bool,
    /// Gas used, in gas.
    pub gas_used: Amount,
    /// Price paid for a unit of gas, in wei.
    pub effective_gas_price: Amount,
    /// What the sender paid, in wei: `gas_used` times `effective_gas_price`, and the OP stack's `l1Fee` where there is one.
    pub gas_paid_wei: Amount,
    /// The request id that it carries, where it carries one.
    pub request_id: Option<RequestId>,
}

/// A block that the journal has a record of (`chain_blocks`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// Its id, unique within the chain.
    pub id: i64,
    /// Number.
    pub number: u64,
    /// Hash.
    pub hash: B256,
    /// The parent's hash.
    pub parent_hash: B256,
    /// The chain's own time of it.
    pub time: OffsetDateTime,
}

/// The row that a record refers to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// Of an `append` or a `late_append`.
    Event(Arc<Event>),
    /// Of an `included` or a `late_included`.
    Transaction(Arc<Transaction>),
    /// Of a `block`, `confirm` or `finalize`.
    Block(Arc<Block>),
    /// Of a `retract`: the record that is taken back.
    Retract(Box<Record>),
}

/// One record of a chain's journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its place: dense, from 1.
    pub seq: i64,
    /// What it says.
    pub kind: JournalKind,
    /// The block that it is about.
    pub block_number: u64,
    /// What it refers to.
    pub body: Body,
}

impl Record {
    /// Whether the record is on a fold's undo stack: what a reorg takes back, marks excepted.
    #[must_use]
    pub fn is_undoable(&self) -> bool {
        matches!(self.kind, JournalKind::Append | JournalKind::Included | JournalKind::Block)
    }

    /// Whether it comes late: later blocks than its own, which is final, stand before it.
    #[must_use]
    pub fn is_late(&self) -> bool {
        self.kind.is_late()
    }

    /// The event of an `append` or a `late_append`.
    #[must_use]
    pub fn event(&self) -> Option<&Arc<Event>> {
        match &self.body {
            Body::Event(event) => Some(event),
            _ => None,
        }
    }

    /// The block of a `block`, `confirm` or `finalize`.
    #[must_use]
    pub fn block(&self) -> Option<&Arc<Block>> {
        match &self.body {
            Body::Block(block) => Some(block),
            _ => None,
        }
    }
}

//! What a writer is given.

use std::sync::Arc;

use alloy_primitives::B256;

use crate::record::{Event, Transaction};

/// Which chain a journal is of, and its depths.
#[derive(Clone, Debug)]
pub struct ChainIdentity {
    /// EIP-155 chain id.
    pub chain_id: u64,
    /// Its name, for people.
    pub name: String,
    /// Hash of block 0: tells two chains with one id apart.
    pub genesis_hash: B256,
    /// The first block of interest.
    pub start_block: u64,
    /// Blocks on top before a block is confirmed.
    pub confirmations: u64,
    /// When a block is final, for people.
    pub finality: String,
}

/// A block to put on record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewBlock {
    /// Number.
    pub number: u64,
    /// Hash.
    pub hash: B256,
    /// Parent's hash.
    pub parent_hash: B256,
    /// The chain's own time of it, in seconds since 1970.
    pub timestamp: u64,
}

/// What an ABI makes of an event.
#[derive(Clone, Debug)]
pub struct Decoding {
    /// The event's name.
    pub event_name: Arc<str>,
    /// Its parameters, as JSON text.
    pub payload: Vec<u8>,
    /// The request id that it carries, as text.
    pub request_id: Option<String>,
    /// The on-chain sequence that it carries.
    pub seq: Option<u64>,
}

/// An event to append. Its id is given by the writer.
#[derive(Clone, Debug)]
pub struct NewEvent {
    /// The log.
    pub event: Event,
    /// What it says; `None` when no ABI knows it.
    pub decoding: Option<Decoding>,
}

/// Everything wanted of one block.
#[derive(Clone, Debug)]
pub struct Content {
    /// The block.
    pub block: NewBlock,
    /// Its events, in log order.
    pub events: Vec<NewEvent>,
    /// Its transactions by watched senders, in transaction order. Their ids are given by the writer.
    pub transactions: Vec<Transaction>,
}

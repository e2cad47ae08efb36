//! What a writer is given.

use std::sync::Arc;

use alloy_primitives::B256;
use plimsoll_types::Completeness;

use crate::filter::Filter;
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
    /// What is wanted of it.
    pub filter: Filter,
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

/// How it is known that everything wanted of a block is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Evidence {
    /// What was proven.
    pub level: Completeness,
    /// By whose answers: the endpoint's name.
    pub endpoint: Arc<str>,
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
    /// How it is known that this is all.
    pub evidence: Evidence,
}

/// Everything wanted of the blocks of a range that a backfill brings in.
#[derive(Clone, Debug)]
pub struct Range {
    /// The first block.
    pub from: u64,
    /// The last one.
    pub end: NewBlock,
    /// The hashes of all of them, in order; none where only the last was looked at.
    pub hashes: Vec<B256>,
    /// Those below the last that have events or transactions, in order: each is put on record for its time.
    pub blocks: Vec<NewBlock>,
    /// Their events, in the order of the chain.
    pub events: Vec<NewEvent>,
    /// Their transactions by watched senders, in the order of the chain. Their ids are given by the writer.
    pub transactions: Vec<Transaction>,
    /// How it is known that this is all.
    pub evidence: Evidence,
}

//! A chain in memory whose branches can be switched between at will, spoken to over JSON-RPC.
//!
//! It is a node as ingest sees one: blocks with parents, blooms and logs, a head that may lag, calls that are answered from the
//! state at a block. It is deterministic: the same drafts on the same parent give the same hashes, and a transaction's
//! hash does not depend on its block, so that one transaction can be in two branches.
//!
//! The model never forgets a block. Whether it still answers for those that left the canonical chain is a setting, because
//! nodes differ there.

mod rpc;
mod service;

pub use service::answer_each;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use alloy_primitives::{Address, B256, Bloom, Bytes};

use crate::truth::TruthEvent;

/// A log to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogDraft {
    /// The contract.
    pub address: Address,
    /// Its topics, topic0 first.
    pub topics: Vec<B256>,
    /// Its data.
    pub data: Bytes,
}

/// What a call answers from the transaction's block on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The contract that is called.
    pub to: Address,
    /// The whole calldata.
    pub calldata: Bytes,
    /// What it returns.
    pub result: Bytes,
}

/// A transaction to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TxDraft {
    /// Sender.
    pub from: Address,
    /// Recipient.
    pub to: Address,
    /// The sender's nonce; with sender and recipient it makes the hash.
    pub nonce: u64,
    /// Calldata.
    pub input: Bytes,
    /// False: it reverted; its logs and answers do not count.
    pub succeeded: bool,
    /// Its logs.
    pub logs: Vec<LogDraft>,
    /// What it makes calls answer.
    pub answers: Vec<Answer>,
}

/// A transaction in a block.
#[derive(Clone, Debug)]
pub(crate) struct ModelTx {
    hash: B256,
    draft: TxDraft,
    /// Index in the block of its first log.
    first_log: usize,
}

/// A block.
#[derive(Clone, Debug)]
pub(crate) struct ModelBlock {
    number: u64,
    hash: B256,
    parent: B256,
    timestamp: u64,
    logs_bloom: Bloom,
    receipts_root: B256,
    transactions_root: B256,
    /// Tells blocks apart that have everything else in common.
    salt: u64,
    txs: Vec<ModelTx>,
}

/// What the node answers when it is asked for the logs of a block that it does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogsOfUnknown {
    /// An error.
    Refused,
    /// An empty list.
    Empty,
}

/// Whether the node still answers by hash for blocks that left its canonical chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Orphans {
    /// It does.
    Served,
    /// They are unknown to it.
    Forgotten,
}

#[derive(Clone, Debug)]
pub(crate) struct State {
    chain_id: u64,
    blocks: HashMap<B256, Arc<ModelBlock>>,
    canonical: Vec<B256>,
    /// Blocks at the top that the node does not admit to yet.
    lag_blocks: u64,
    finality_depth: u64,
    orphans: Orphans,
    logs_of_unknown: LogsOfUnknown,
    /// After so many more requests it lags no more.
    catches_up_after: Option<u32>,
    /// After so many more questions for the head it shows this chain again.
    visit: Option<(u32, Vec<B256>)>,
    /// Requests answered, by method.
    answered: HashMap<String, u64>,
    /// The next so many requests fail.
    failures: u32,
    max_range_blocks: Option<u64>,
}

/// The chain. Cheap to clone; clones are one chain.
#[derive(Clone, Debug)]
pub struct ModelChain(Arc<Mutex<State>>);

/// Seconds between blocks.
const BLOCK_SECONDS: u64 = 2;
/// The genesis block's time: 2025-01-01.
const GENESIS_TIME: u64 = 1_735_689_600;

impl TxDraft {
    /// A transaction that succeeds and does nothing else than these logs.
    #[must_use]
    pub fn with_logs(from: Address, to: Address, nonce: u64, logs: Vec<LogDraft>) -> Self {
        Self { from, to, nonce, input: Bytes::new(), succeeded: true, logs, answers: Vec::new() }
    }

    /// Its hash, in whatever block: that of its fields.
    #[must_use]
    pub fn hash(&self) -> B256 {
        rpc::reported(self).compute_hash().expect("it has every field of its type")
    }
}

impl ModelTx {
    fn logs(&self) -> &[LogDraft] {
        if self.draft.succeeded { &self.draft.logs } else { &[] }
    }
}

impl ModelBlock {
    fn new(number: u64, parent: B256, drafts: Vec<TxDraft>, salt: u64) -> Self {
        let (mut logs_bloom, mut first_log) = (Bloom::ZERO, 0);
        let mut txs = Vec::with_capacity(drafts.len());
        for draft in drafts {
            let tx = ModelTx { hash: draft.hash(), draft, first_log };
            for log in tx.logs() {
                logs_bloom.accrue_raw_log(log.address, &log.topics);
            }
            first_log += tx.logs().len();
            txs.push(tx);
        }
        let timestamp = GENESIS_TIME + number * BLOCK_SECONDS;
        let (receipts_root, transactions_root) = (B256::ZERO, B256::ZERO);
        let hash = B256::ZERO;
        let mut block =
            Self { number, hash, parent, timestamp, logs_bloom, receipts_root, transactions_root, salt, txs };
        (block.receipts_root, block.transactions_root) = rpc::roots(&block);
        block.hash = rpc::hash_of(&block);
        block
    }

    /// Its logs, as they are true.
    fn events(&self) -> impl Iterator<Item = TruthEvent> {
        self.txs.iter().zip(0..).flat_map(move |(tx, tx_index)| {
            tx.logs().iter().enumerate().map(move |(i, log)| TruthEvent {
                block_number: self.number,
                log_index: u32::try_from(tx.first_log + i).expect("fewer logs than 2^32"),
                block_hash: self.hash,
                tx_hash: tx.hash,
                tx_index,
                address: log.address,
                topics: log.topics.clone(),
                data: log.data.clone(),
            })
        })
    }
}

impl ModelChain {
    /// A chain with its genesis block.
    #[must_use]
    pub fn new(chain_id: u64, finality_depth: u64) -> Self {
        let genesis = Arc::new(ModelBlock::new(0, B256::ZERO, Vec::new(), chain_id));
        Self(Arc::new(Mutex::new(State {
            chain_id,
            canonical: vec![genesis.hash],
            blocks: HashMap::from([(genesis.hash, genesis)]),
            lag_blocks: 0,
            finality_depth,
            orphans: Orphans::Served,
            logs_of_unknown: LogsOfUnknown::Refused,
            catches_up_after: None,
            visit: None,
            answered: HashMap::new(),
            failures: 0,
            max_range_blocks: None,
        })))
    }

    /// Another node of the same chain: it knows what this one knows now, and goes its own way from here.
    #[must_use]
    pub fn twin(&self) -> Self {
        Self(Arc::new(Mutex::new(self.state().clone())))
    }

    /// Learns the blocks that the other node knows. What is canonical does not change.
    pub fn learn(&self, other: &Self) {
        let blocks = other.state().blocks.clone();
        self.state().blocks.extend(blocks);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a block on `parent`, on whatever branch that is, and returns its hash. What is canonical does not change.
    ///
    /// # Panics
    ///
    /// When the parent is unknown.
    #[must_use]
    pub fn add(&self, parent: B256, transactions: Vec<TxDraft>, salt: u64) -> B256 {
        let mut state = self.state();
        let number = state.blocks.get(&parent).expect("the parent is a block of this chain").number + 1;
        let block = ModelBlock::new(number, parent, transactions, salt);
        let hash = block.hash;
        state.blocks.insert(hash, Arc::new(block));
        hash
    }

    /// Puts a block on the canonical tip and makes it the tip.
    pub fn push(&self, transactions: Vec<TxDraft>) -> B256 {
        let hash = self.add(self.tip(), transactions, 0);
        self.switch_to(hash);
        hash
    }

    /// Makes the branch that ends with this block the canonical one.
    ///
    /// # Panics
    ///
    /// When the block is unknown.
    pub fn switch_to(&self, tip: B256) {
        let mut state = self.state();
        let mut path = vec![tip];
        loop {
            let last = *path.last().expect("never empty");
            let block = state.blocks.get(&last).expect("a block of this chain");
            if block.number == 0 {
                break;
            }
            path.push(block.parent);
        }
        path.reverse();
        state.canonical = path;
    }

    /// Learns the other node's branch that ends with this block, and makes it the canonical one.
    ///
    /// # Panics
    ///
    /// When the block is unknown to the other node.
    pub fn follow(&self, other: &Self, tip: B256) {
        let mut missing = Vec::new();
        {
            let (state, theirs) = (self.state(), other.state());
            let mut next = tip;
            while !state.blocks.contains_key(&next) {
                let block = theirs.blocks.get(&next).expect("a block of the other chain");
                missing.push(Arc::clone(block));
                next = block.parent;
            }
        }
        self.state().blocks.extend(missing.into_iter().map(|block| (block.hash, block)));
        self.switch_to(tip);
    }

    /// The canonical chain's last block, however much of it the node admits to.
    #[must_use]
    pub fn tip(&self) -> B256 {
        *self.state().canonical.last().expect("genesis is always there")
    }

    /// The block's ancestor at this number.
    #[must_use]
    pub fn ancestor(&self, of: B256, number: u64) -> Option<B256> {
        let state = self.state();
        let mut block = state.blocks.get(&of)?;
        while block.number > number {
            block = state.blocks.get(&block.parent)?;
        }
        (block.number == number).then_some(block.hash)
    }

    /// The block's number.
    #[must_use]
    pub fn number(&self, of: B256) -> Option<u64> {
        self.state().blocks.get(&of).map(|block| block.number)
    }

    /// The node calls final what is so many blocks below its head.
    pub fn set_finality_depth(&self, blocks: u64) {
        self.state().finality_depth = blocks;
    }

    /// The node admits to the canonical chain less its last `blocks` blocks, as one that lags behind its peers.
    pub fn lag(&self, blocks: u64) {
        self.state().lag_blocks = blocks;
    }

    /// The lag ends when so many more requests were answered, also in the midst of a batch.
    pub fn catch_up_after(&self, requests: u32) {
        self.state().catches_up_after = Some(requests);
    }

    /// Shows the branch that ends with this block to the next so many questions for the head, and then what is canonical now again.
    pub fn visit(&self, tip: B256, looks: u32) {
        let home = self.state().canonical.clone();
        self.switch_to(tip);
        self.state().visit = Some((looks, home));
    }

    /// Whether such a visit goes on.
    #[must_use]
    pub fn is_visiting(&self) -> bool {
        self.state().visit.is_some()
    }

    /// The node says that it serves this chain, whatever its blocks are.
    pub fn pretend_to_be(&self, chain_id: u64) {
        self.state().chain_id = chain_id;
    }

    /// What it answers when it is asked for the logs of a block that it does not have.
    pub fn set_logs_of_unknown(&self, logs: LogsOfUnknown) {
        self.state().logs_of_unknown = logs;
    }

    /// Whether blocks that left the canonical chain are still known by hash.
    pub fn set_orphans(&self, orphans: Orphans) {
        self.state().orphans = orphans;
    }

    /// The next so many requests are answered with a server error.
    pub fn fail_next(&self, requests: u32) {
        self.state().failures = requests;
    }

    /// Log queries over more blocks are refused, in a provider's words.
    pub fn limit_range(&self, max_blocks: Option<u64>) {
        self.state().max_range_blocks = max_blocks;
    }

    /// Requests of this method that were answered.
    #[must_use]
    pub fn answered(&self, method: &str) -> u64 {
        self.state().answered.get(method).copied().unwrap_or(0)
    }

    /// The logs of the canonical chain, all of them, as the truth that a sync is compared with.
    #[must_use]
    pub fn truth(&self) -> Vec<TruthEvent> {
        let state = self.state();
        state.canonical.iter().flat_map(|hash| state.blocks[hash].events()).collect()
    }

    /// The bloom of a block's header, on whatever branch it is; empty if it is unknown.
    #[must_use]
    pub fn bloom_of(&self, block: B256) -> Bloom {
        self.state().blocks.get(&block).map_or(Bloom::ZERO, |block| block.logs_bloom)
    }

    /// The logs of a block, on whatever branch it is; none if it is unknown.
    #[must_use]
    pub fn events_of(&self, block: B256) -> Vec<TruthEvent> {
        self.state().blocks.get(&block).map_or_else(Vec::new, |block| block.events().collect())
    }
}

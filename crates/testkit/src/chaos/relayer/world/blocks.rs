//! Blocks: what gets into them, what it does there, and how they are lost.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use alloy_primitives::{Address, B256, U256};
use tokio::time::Instant;

use super::{BLOCK_GAS, Block, COUNTER, GWEI, Included, PERFORM_GAS, PLAIN_GAS, REVERT_GAS, State, World};
use crate::chaos::relayer::transaction::{Effect, Signed, effect};

/// The base fee rises and falls by this part of itself (EIP-1559).
const BASE_FEE_PART: u128 = 8;
/// The most transactions of a block.
const MOST: u64 = 24;

/// What gas costs at a block, and cost before it.
#[derive(Debug)]
pub(in crate::chaos::relayer) struct Fees {
    /// The first block of the history.
    pub(in crate::chaos::relayer) oldest: u64,
    /// Of each block, and of the one after the last.
    pub(in crate::chaos::relayer) base_fees: Vec<u128>,
    /// How full each was.
    pub(in crate::chaos::relayer) used: Vec<f64>,
    /// The tips of each, low and high.
    pub(in crate::chaos::relayer) tips: Vec<(u128, u128)>,
}

/// What a call comes to.
fn outcome(tx: &Signed, refuses: bool) -> (bool, u64) {
    let (succeeds, gas) = match (tx.to, effect(&tx.data)) {
        (Some(COUNTER), Effect::Counts(_)) if !refuses => (true, PERFORM_GAS),
        (Some(COUNTER), Effect::Counts(_) | Effect::Reverts) => (false, REVERT_GAS),
        _ => (true, PLAIN_GAS),
    };
    if gas > tx.gas_limit { (false, tx.gas_limit) } else { (succeeds, gas) }
}

impl World {
    /// Another block on the canonical chain, of what one of the nodes has.
    pub(in crate::chaos::relayer) fn grow(&mut self) {
        self.tick();
        let block = self.build(self.tip);
        self.tip = self.insert(block);
        self.announce();
    }

    /// The last `depth` blocks are replaced by `blocks` others. What was in them is waited for by some nodes, and by others not.
    pub(in crate::chaos::relayer) fn reorganise(&mut self, depth: u64, blocks: u64, forgets_permille: u32) {
        self.tick();
        let number = self.head().number;
        let Some(base) = self.ancestor(self.tip, number.saturating_sub(depth)) else { return };
        let mut orphaned = Vec::new();
        let mut at = self.tip;
        while at != base {
            let included = self.blocks[at].included.iter().map(|included| &included.tx);
            orphaned.extend(included.filter(|tx| !self.private.contains(&tx.hash)).cloned());
            self.left.insert(at);
            at = self.blocks[at].parent;
        }
        self.tip = base;
        for place in 0..self.nodes.len() {
            for tx in &orphaned {
                if !self.dice.permille(forgets_permille) {
                    let key = (tx.sender, tx.nonce);
                    self.nodes[place].pool.entry(key).or_insert_with(|| Arc::clone(tx));
                }
            }
        }
        for _ in 0..blocks {
            let block = self.build(self.tip);
            self.tip = self.insert(block);
        }
        self.announce();
    }

    fn announce(&mut self) {
        let (now, tip) = (Instant::now(), self.tip);
        for place in 0..self.nodes.len() {
            let jitter = Duration::from_millis(self.dice.up_to(100));
            let node = &mut self.nodes[place];
            let at = now + node.lag + jitter;
            // News overtake none that are older.
            let at = node.news.back().map_or(at, |(last, _)| at.max(*last));
            node.news.push_back((at, tip));
        }
        self.tick();
    }

    fn insert(&mut self, mut block: Block) -> usize {
        self.salt += 1;
        block.seal(self.salt);
        let place = self.blocks.len();
        self.highest = self.highest.max(block.number);
        self.hashes.insert(block.hash, place);
        self.blocks.push(block);
        place
    }

    /// The next base fee: towards where it is driven, an eighth at most.
    fn next_base_fee(&self, parent: &Block) -> u128 {
        let (old, aim) = (parent.base_fee, self.course.base_fee);
        let step = (old / BASE_FEE_PART).max(1);
        if aim > old { aim.min(old + step) } else { aim.max(old - step) }
    }

    fn build(&mut self, parent_place: usize) -> Block {
        let parent = self.blocks[parent_place].clone();
        let base_fee = self.next_base_fee(&parent);
        let mut block = Block {
            number: parent.number + 1,
            hash: B256::ZERO,
            parent: parent_place,
            timestamp: parent.timestamp + 2,
            base_fee,
            gas_used: 0,
            included: Vec::new(),
            ..parent
        };
        if self.dice.permille(self.course.empty_permille) {
            return block;
        }
        let builder = self.dice.index(self.nodes.len());
        let most = 1 + self.up_to(MOST - 1);
        let mut blocked = BTreeSet::new();
        for _ in 0..most {
            let pool = &self.nodes[builder].pool;
            let next = |tx: &&Arc<Signed>| {
                let account = block.state.accounts.get(&tx.sender).copied().unwrap_or_default();
                tx.nonce == account.nonce && !blocked.contains(&tx.sender)
            };
            // Who offers most comes first.
            let Some(tx) = pool.values().filter(next).max_by_key(|tx| (tx.tip, tx.hash)).cloned() else {
                break;
            };
            if !execute(&mut block, &tx, self.course.refuses, &mut self.doubled) {
                blocked.insert(tx.sender);
            }
        }
        block
    }

    /// What gas costs by a node's newest blocks.
    pub(in crate::chaos::relayer) fn fees_of(&self, place: usize, blocks: u64) -> Fees {
        let head = self.head_of(place);
        let count = blocks.min(head.number + 1);
        let mut fees = Fees {
            oldest: head.number + 1 - count,
            base_fees: Vec::new(),
            used: Vec::new(),
            tips: Vec::new(),
        };
        let mut at = self.nodes[place].tip;
        for _ in 0..count {
            let block = &self.blocks[at];
            fees.base_fees.push(block.base_fee);
            fees.used.push(block.gas_used as f64 / BLOCK_GAS as f64);
            let tips = block.included.iter().map(|included| included.gas_price - block.base_fee);
            let (low, high) = (tips.clone().min().unwrap_or(0), tips.max().unwrap_or(0));
            fees.tips.push((low, high.min(5 * GWEI)));
            at = block.parent;
        }
        fees.base_fees.reverse();
        fees.used.reverse();
        fees.tips.reverse();
        fees.base_fees.push(self.next_base_fee(head));
        fees
    }

    /// The gas that a call would use on a node's newest block; none: it would revert.
    pub(in crate::chaos::relayer) fn estimate(&self, to: Option<Address>, data: &[u8]) -> Option<u64> {
        let (to, data) = (to, data.to_vec().into());
        let call = Signed {
            hash: B256::ZERO,
            sender: Address::ZERO,
            nonce: 0,
            to,
            value: U256::ZERO,
            data,
            gas_limit: u64::MAX,
            max_fee: 0,
            tip: 0,
        };
        let (succeeds, gas) = outcome(&call, self.course.refuses);
        succeeds.then_some(gas)
    }
}

/// Runs a transaction at the end of a block; whether it could be.
fn execute(block: &mut Block, tx: &Arc<Signed>, refuses: bool, doubled: &mut Vec<uuid::Uuid>) -> bool {
    let State { accounts, effects } = &mut block.state;
    let account = accounts.entry(tx.sender).or_default();
    if tx.max_fee < block.base_fee || account.balance < tx.max_cost() || account.nonce != tx.nonce {
        return false;
    }
    let (succeeded, gas_used) = outcome(tx, refuses);
    let gas_price = tx.max_fee.min(block.base_fee + tx.tip);
    account.nonce += 1;
    account.balance -= U256::from(gas_used) * U256::from(gas_price);
    if succeeded {
        account.balance -= tx.value;
        if let (Some(COUNTER), Effect::Counts(id)) = (tx.to, effect(&tx.data)) {
            let count = effects.entry(id).or_default();
            *count += 1;
            if *count > 1 {
                doubled.push(id);
            }
        }
    }
    block.gas_used += gas_used;
    block.included.push(Included { tx: Arc::clone(tx), succeeded, gas_used, gas_price });
    true
}

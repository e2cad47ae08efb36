//! The simulated chain: its blocks on every branch, what each node has seen of them, and what waits in each node's pool.
//!
//! A transaction gets into a block through one node's pool, so what only one node has takes longer, and what all have lost is never included. The
//! state after each block is kept with it, and with it the judge's count of effects: what is true on a branch is read there, whoever asks.

mod blocks;
mod pool;
mod sealed;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use alloy_primitives::{Address, B256, U256};
use tokio::time::Instant;
use uuid::Uuid;

pub(super) use self::pool::{Client, Refusal};
use self::sealed::Accounts;
use super::transaction::Signed;
use crate::chaos::dice::Dice;

/// The chain's id.
pub(super) const CHAIN_ID: u64 = 77;
/// The contract that counts requests.
pub(super) const COUNTER: Address = Address::repeat_byte(0xcc);
/// The gas of one block.
pub(super) const BLOCK_GAS: u64 = 30_000_000;
/// What a transaction uses that does nothing.
pub(super) const PLAIN_GAS: u64 = 21_000;
/// What one uses that counts a request.
pub(super) const PERFORM_GAS: u64 = 48_000;
/// What one has used when it reverts.
pub(super) const REVERT_GAS: u64 = 30_000;
/// The least tip that nodes take, in wei.
pub(super) const LEAST_TIP: u128 = 1_000;
/// A gwei, in wei.
pub(super) const GWEI: u128 = 1_000_000_000;

/// An account after a block.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Account {
    pub(super) nonce: u64,
    pub(super) balance: U256,
}

/// All accounts after a block, and how often each request was counted.
#[derive(Clone, Debug, Default)]
pub(super) struct State {
    pub(super) accounts: BTreeMap<Address, Account>,
    pub(super) effects: BTreeMap<Uuid, u64>,
}

/// A transaction in a block.
#[derive(Clone, Debug)]
pub(super) struct Included {
    pub(super) tx: Arc<Signed>,
    pub(super) succeeded: bool,
    pub(super) gas_used: u64,
    pub(super) gas_price: u128,
}

/// A block.
#[derive(Clone, Debug)]
pub(super) struct Block {
    pub(super) number: u64,
    pub(super) hash: B256,
    pub(super) parent: usize,
    pub(super) timestamp: u64,
    pub(super) base_fee: u128,
    pub(super) gas_used: u64,
    pub(super) included: Vec<Included>,
    pub(super) state: State,
    /// The accounts, as its hash commits to them.
    accounts: Accounts,
    state_root: B256,
    /// What tells it from others that are the same otherwise.
    salt: u64,
}

/// A node's own part of the world.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) client: Client,
    /// The block that it takes for the newest.
    tip: usize,
    /// Blocks that it will hear of.
    news: VecDeque<(Instant, usize)>,
    /// How much later than they are made.
    pub(super) lag: Duration,
    /// What waits, by sender and nonce.
    pool: BTreeMap<(Address, u64), Arc<Signed>>,
    /// How much more than the truth it says of what was sent, up to the newest block and with its pool.
    pub(super) lie: (i64, i64),
}

/// What changes the chain's course.
#[derive(Clone, Copy, Debug)]
pub(super) struct Course {
    /// The base fee that it drifts to.
    pub(super) base_fee: u128,
    /// Whether the counter refuses everybody.
    pub(super) refuses: bool,
    /// Of a thousand blocks, so many have nothing in them.
    pub(super) empty_permille: u32,
    /// Of a thousand rumours, so many are not heard.
    pub(super) deaf_permille: u32,
    /// How long a rumour takes at most, in milliseconds.
    pub(super) rumour_ms: u64,
}

/// The chain.
#[derive(Debug)]
pub(super) struct World {
    pub(super) blocks: Vec<Block>,
    hashes: HashMap<B256, usize>,
    /// The tip of the canonical chain.
    pub(super) tip: usize,
    /// The highest block that ever was.
    pub(super) highest: u64,
    pub(super) nodes: Vec<Node>,
    pub(super) course: Course,
    dice: Dice,
    /// Transactions on their way from node to node: when, to whom.
    rumours: Vec<(Instant, usize, Arc<Signed>)>,
    /// Blocks of a reorganisation's branch draw their hashes from here.
    salt: u64,
    /// Blocks that the chain left.
    left: BTreeSet<usize>,
    /// Transactions that were given to a builder alone: whose block leaves the chain, nobody else has them.
    pub(super) private: BTreeSet<B256>,
    /// Requests that were counted more than once on one branch.
    pub(super) doubled: Vec<Uuid>,
}

impl World {
    /// A chain whose first block has these accounts.
    pub(super) fn new(
        clients: &[Client],
        accounts: impl IntoIterator<Item = (Address, Account)>,
        dice: Dice,
    ) -> Self {
        let state = State { accounts: accounts.into_iter().collect(), effects: BTreeMap::new() };
        let mut genesis = Block {
            number: 0,
            hash: B256::ZERO,
            parent: 0,
            timestamp: 1_700_000_000,
            base_fee: GWEI,
            gas_used: 0,
            included: Vec::new(),
            state,
            accounts: Accounts::default(),
            state_root: B256::ZERO,
            salt: 0,
        };
        genesis.seal(0);
        let node = |client: &Client| Node {
            client: *client,
            tip: 0,
            news: VecDeque::new(),
            lag: Duration::ZERO,
            pool: BTreeMap::new(),
            lie: (0, 0),
        };
        Self {
            hashes: [(genesis.hash, 0)].into(),
            blocks: vec![genesis],
            tip: 0,
            highest: 0,
            nodes: clients.iter().map(node).collect(),
            course: Course {
                base_fee: GWEI,
                refuses: false,
                empty_permille: 50,
                deaf_permille: 0,
                rumour_ms: 300,
            },
            dice,
            rumours: Vec::new(),
            salt: 0,
            left: BTreeSet::new(),
            private: BTreeSet::new(),
            doubled: Vec::new(),
        }
    }

    /// Lets everybody hear what has come to them by now.
    pub(super) fn tick(&mut self) {
        let now = Instant::now();
        for node in &mut self.nodes {
            while node.news.front().is_some_and(|(at, _)| *at <= now) {
                if let Some((_, tip)) = node.news.pop_front() {
                    node.tip = tip;
                }
            }
        }
        let due: Vec<_> = self.rumours.extract_if(.., |(at, _, _)| *at <= now).collect();
        for (_, place, tx) in due {
            // A node that does not take it does not say so.
            let _ = self.submit(place, &tx);
        }
    }

    /// The canonical tip.
    pub(super) fn head(&self) -> &Block {
        &self.blocks[self.tip]
    }

    /// The block that a node takes for the newest.
    pub(super) fn head_of(&self, place: usize) -> &Block {
        &self.blocks[self.nodes[place].tip]
    }

    /// The state that a node sees.
    pub(super) fn account_of(&self, place: usize, address: Address) -> Account {
        self.head_of(place).state.accounts.get(&address).copied().unwrap_or_default()
    }

    /// The block of a branch at a height.
    pub(super) fn ancestor(&self, mut tip: usize, number: u64) -> Option<usize> {
        while self.blocks[tip].number > number {
            tip = self.blocks[tip].parent;
        }
        (self.blocks[tip].number == number).then_some(tip)
    }

    /// The canonical block at a height.
    pub(super) fn canonical(&self, number: u64) -> Option<&Block> {
        self.ancestor(self.tip, number).map(|place| &self.blocks[place])
    }

    /// What a node says that was sent: up to its newest block, and with its pool.
    pub(super) fn counts_of(&self, place: usize, address: Address) -> (u64, u64) {
        let node = &self.nodes[place];
        let latest = self.account_of(place, address).nonce;
        let mut pending = latest;
        while node.pool.contains_key(&(address, pending)) {
            pending += 1;
        }
        let (more, more_pending) = node.lie;
        let (told, told_pending) =
            (latest.saturating_add_signed(more), pending.saturating_add_signed(more_pending));
        // What was sent before the signer was ours comes back from no journal: who denies it, and need not prove it, must not be the only one to be asked (`docs/relayer.md`).
        let is_believed = !node.client.proves() && (self.nodes.len() == 1 || place > 0);
        let before = self.blocks[0].state.accounts.get(&address).map_or(0, |account| account.nonce);
        let floor = if is_believed { before } else { 0 };
        (told.max(floor), told_pending.max(floor))
    }

    /// Adds to somebody's balance, or takes it away, from the next block on.
    pub(super) fn endow(&mut self, address: Address, balance: U256) {
        let tip = self.tip;
        self.blocks[tip].state.accounts.entry(address).or_default().balance = balance;
    }

    /// Everything is told as it is, at once.
    pub(super) fn heal(&mut self) {
        self.course =
            Course { base_fee: GWEI, refuses: false, empty_permille: 20, deaf_permille: 0, rumour_ms: 100 };
        let tip = self.tip;
        for node in &mut self.nodes {
            (node.lag, node.lie) = (Duration::ZERO, (0, 0));
            node.news.clear();
            node.tip = tip;
        }
    }

    fn up_to(&mut self, most: u64) -> u64 {
        self.dice.up_to(most)
    }
}

/// What the judge asks.
impl World {
    /// The block with this hash.
    pub(super) fn block(&self, hash: B256) -> Option<&Block> {
        self.hashes.get(&hash).map(|place| &self.blocks[*place])
    }

    /// Blocks at this height, on whatever branch there ever was.
    pub(super) fn ever(&self, number: u64) -> impl Iterator<Item = usize> {
        (0..self.blocks.len()).rev().filter(move |place| self.blocks[*place].number == number)
    }

    /// Whether the branch of a tip has this block at this height.
    pub(super) fn is_on(&self, tip: usize, hash: B256, number: u64) -> bool {
        self.ancestor(tip, number).is_some_and(|place| self.blocks[place].hash == hash)
    }

    /// Whether a block is one that the chain left at some time.
    pub(super) fn was_left(&self, hash: B256) -> bool {
        self.hashes.get(&hash).is_none_or(|place| self.left.contains(place))
    }

    /// Whether the canonical chain has this transaction.
    pub(super) fn is_included(&self, tx_hash: B256) -> bool {
        let mut at = self.tip;
        while at != 0 {
            if self.blocks[at].included.iter().any(|included| included.tx.hash == tx_hash) {
                return true;
            }
            at = self.blocks[at].parent;
        }
        false
    }
}

//! A lending business on a model chain, and what is true after each of its blocks, on whatever branch.

mod business;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use alloy_primitives::{Address, B256};

pub use self::business::{Deed, Plan, Position, address_of, asset, contracts, log, user};
use self::business::{SHAPES, State};
use crate::model::{ModelChain, TxDraft};
use crate::truth::TruthEvent;

/// A transaction of a watched sender: block, index, sender, nonce, whether it succeeded.
pub type Inclusion = (u64, B256, u32, Address, u64, bool);

/// The chain, with what is true after each of its blocks.
#[derive(Debug)]
pub struct World {
    /// The chain.
    pub chain: ModelChain,
    states: HashMap<B256, Arc<State>>,
    plans: HashMap<B256, Vec<Plan>>,
    drafts: HashMap<B256, Vec<TxDraft>>,
    next_salt: u64,
    /// No branch that this block is not on is ever switched to.
    pub final_block: B256,
    finality_depth: u64,
    lag_blocks: u64,
}

impl World {
    /// A business that has done nothing yet, on a chain with its genesis block.
    #[must_use]
    pub fn new(chain_id: u64, finality_depth: u64) -> Self {
        let chain = ModelChain::new(chain_id, finality_depth);
        let genesis = chain.tip();
        Self {
            states: HashMap::from([(genesis, Arc::default())]),
            plans: HashMap::new(),
            drafts: HashMap::new(),
            next_salt: 1,
            final_block: genesis,
            finality_depth,
            lag_blocks: 0,
            chain,
        }
    }

    fn number(&self, block: B256) -> u64 {
        self.chain.number(block).expect("a block of this chain")
    }

    /// Puts a block on a branch, as no other block is. What is canonical does not change.
    ///
    /// # Panics
    ///
    /// When the parent is not a block of this chain.
    pub fn add(&mut self, parent: B256, plans: Vec<Plan>) -> B256 {
        let mut state = State::clone(&self.states[&parent]);
        let number = self.number(parent) + 1;
        let drafts: Vec<_> = plans.iter().map(|plan| state.run(number, plan)).collect();
        let block = self.chain.add(parent, drafts.clone(), self.next_salt);
        self.next_salt += 1;
        self.states.insert(block, Arc::new(state));
        self.plans.insert(block, plans);
        self.drafts.insert(block, drafts);
        block
    }

    /// Puts blocks on the canonical tip.
    pub fn extend(&mut self, blocks: Vec<Vec<Plan>>) {
        let tip = blocks.into_iter().fold(self.chain.tip(), |parent, plans| self.add(parent, plans));
        self.switch_to(tip);
    }

    /// Leaves the canonical chain `depth` blocks below its tip, not below finality, for a branch of these blocks. With
    /// `again`, what the abandoned blocks held is tried again on the branch.
    ///
    /// # Panics
    ///
    /// Never: the block that it leaves is canonical.
    pub fn fork(&mut self, depth: u64, mut blocks: Vec<Vec<Plan>>, again: bool) {
        let tip = self.chain.tip();
        let floor = self.number(self.final_block);
        let from = self.number(tip).saturating_sub(depth).max(floor);
        let parent = self.chain.ancestor(tip, from).expect("an ancestor of the tip");
        if again {
            for (number, plans) in (from + 1..).zip(&mut blocks) {
                let lost = self.chain.ancestor(tip, number).and_then(|block| self.plans.get(&block));
                plans.extend(lost.cloned().unwrap_or_default());
            }
        }
        let tip = blocks.into_iter().fold(parent, |parent, plans| self.add(parent, plans));
        self.switch_to(tip);
    }

    /// Switches to some block that was seen before, above finality: of another branch, where there is one.
    pub fn flip(&mut self, choice: usize) {
        let (floor, tip) = (self.number(self.final_block), self.chain.tip());
        let mut blocks: Vec<_> = self
            .states
            .keys()
            .filter(|block| self.chain.ancestor(**block, floor) == Some(self.final_block))
            .map(|block| (self.number(*block), *block))
            .collect();
        blocks.sort_unstable();
        let elsewhere = |(number, block): &(u64, B256)| self.chain.ancestor(tip, *number) != Some(*block);
        if blocks.iter().any(elsewhere) {
            blocks.retain(elsewhere);
        }
        let (_, block) = blocks[choice % blocks.len()];
        self.switch_to(block);
    }

    fn switch_to(&mut self, tip: B256) {
        self.chain.switch_to(tip);
        let last_final = self.number(tip).saturating_sub(self.finality_depth);
        if last_final > self.number(self.final_block) {
            self.final_block = self.chain.ancestor(tip, last_final).expect("an ancestor of the tip");
        }
    }

    /// The node admits to the canonical chain less its last `blocks` blocks.
    pub fn lag(&mut self, blocks: u64) {
        self.lag_blocks = blocks;
        self.chain.lag(blocks);
    }

    /// The head that the node admits to.
    ///
    /// # Panics
    ///
    /// Never: it is an ancestor of the tip.
    #[must_use]
    pub fn visible_head(&self) -> (u64, B256) {
        let tip = self.chain.tip();
        let number = self.number(tip).saturating_sub(self.lag_blocks);
        (number, self.chain.ancestor(tip, number).expect("an ancestor of the tip"))
    }

    /// Whether a journal that ends with this head, and has announced this as final, has no reason to move.
    #[must_use]
    pub fn is_satisfied_by(
        &self,
        head: Option<(u64, B256)>,
        final_number: Option<u64>,
        start_block: u64,
    ) -> bool {
        let (number, visible) = self.visible_head();
        // The node is behind what it has shown as final: it is waited for, however much is still to be had below.
        if final_number.is_some_and(|last| last > number) {
            return true;
        }
        match head {
            None => number < start_block,
            Some((_, head)) => self.chain.ancestor(head, number) == Some(visible),
        }
    }

    /// The logs of the followed contracts on the canonical chain.
    #[must_use]
    pub fn true_events(&self, start_block: u64) -> Vec<TruthEvent> {
        let mut events = self.chain.truth();
        events.retain(|e| SHAPES.get(&e.address).is_some() && e.block_number >= start_block);
        events.sort_unstable();
        events
    }

    /// The positions that were cached on the canonical chain.
    #[must_use]
    pub fn true_positions(&self, start_block: u64) -> BTreeMap<(Address, Address), Position> {
        let mut positions = self.states[&self.chain.tip()].positions.clone();
        positions.retain(|_, position| position.block_number >= start_block);
        positions
    }

    /// What these senders did on the canonical chain.
    ///
    /// # Panics
    ///
    /// Never: each block of the chain is an ancestor of its tip.
    #[must_use]
    pub fn true_inclusions(&self, senders: &[Address], start_block: u64) -> Vec<Inclusion> {
        let tip = self.chain.tip();
        let blocks = (start_block.max(1)..=self.number(tip))
            .map(|number| self.chain.ancestor(tip, number).expect("an ancestor of the tip"));
        blocks.flat_map(|block| self.inclusions_of(block, senders)).collect()
    }

    /// What was planned for a block, on whatever branch.
    #[must_use]
    pub fn plans_of(&self, block: B256) -> Vec<Plan> {
        self.plans.get(&block).cloned().unwrap_or_default()
    }

    /// The logs of the followed contracts in a block, on whatever branch.
    #[must_use]
    pub fn events_of(&self, block: B256) -> Vec<TruthEvent> {
        let mut events = self.chain.events_of(block);
        events.retain(|event| SHAPES.get(&event.address).is_some());
        events
    }

    /// What these senders did in a block, on whatever branch.
    ///
    /// # Panics
    ///
    /// When the block is not of this chain.
    #[must_use]
    pub fn inclusions_of(&self, block: B256, senders: &[Address]) -> Vec<Inclusion> {
        let number = self.number(block);
        let drafts = self.drafts.get(&block).map_or(&[][..], Vec::as_slice);
        let ours = drafts.iter().zip(0..).filter(|(tx, _)| senders.contains(&tx.from));
        ours.map(|(tx, index)| (number, block, index, tx.from, tx.nonce, tx.succeeded)).collect()
    }
}

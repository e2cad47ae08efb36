//! What a judge wants to know: who had which block on his canonical chain, and who could be heard.

use alloy_primitives::B256;
use tokio::time::Instant;

use super::super::store::BlockId;
use super::{Network, Node, Place, State};
use crate::world::{Inclusion, World, user};

impl Network {
    /// Whether another chain ever answered at one of the addresses.
    pub(in super::super) fn was_foreign(&self) -> bool {
        self.state().was_foreign
    }

    /// Whether a block is of this chain, on whatever branch.
    pub(in super::super) fn has(&self, block: BlockId) -> bool {
        self.state().world.chain.number(block.1) == Some(block.0)
    }

    /// The block's ancestor at this height.
    pub(in super::super) fn ancestor(&self, of: B256, number: u64) -> Option<B256> {
        self.state().world.chain.ancestor(of, number)
    }

    pub(in super::super) fn with_world<T>(&self, with: impl FnOnce(&World) -> T) -> T {
        with(&self.state().world)
    }

    /// Places of the endpoints that had this block on their canonical chain all the time since then, whichever node answered.
    pub(in super::super) fn stood_by(&self, block: BlockId, since: Instant) -> Vec<usize> {
        self.which(|state, place| {
            place.nodes.iter().all(|node| node.tips(since).all(|tip| state.is_on(tip, block)))
        })
    }

    /// Places of the endpoints that had another block at this height on their canonical chain all the time since then.
    pub(in super::super) fn stood_against(&self, block: BlockId, since: Instant) -> Vec<usize> {
        self.which(|state, place| {
            let is_against = |tip| state.at(tip, block.0).is_some_and(|there| there != block.1);
            place.nodes.iter().all(|node| node.tips(since).all(is_against))
        })
    }

    /// Places of the endpoints that had this block on their canonical chain at some moment since then.
    pub(in super::super) fn have_shown(&self, block: BlockId, since: Instant) -> Vec<usize> {
        self.which(|state, place| {
            place.nodes.iter().any(|node| node.tips(since).any(|tip| state.is_on(tip, block)))
        })
    }

    /// Places of the endpoints that ever had this block on their canonical chain, with so many blocks on top of it.
    pub(in super::super) fn have_shown_deep(&self, block: BlockId, depth: u64) -> Vec<usize> {
        self.which(|state, place| {
            let mut shown = place.nodes.iter().flat_map(|node| node.shown.iter().map(|(_, tip)| *tip));
            shown.any(|tip| {
                state.is_on(tip, block)
                    && state.world.chain.number(tip).is_some_and(|number| number >= block.0 + depth)
            })
        })
    }

    /// Whether the endpoint could be heard about this height: it was not asked since then and would have answered, or was asked and has answered.
    pub(in super::super) fn could_be_heard(&self, place: usize, number: u64, since: Instant) -> bool {
        let state = self.state();
        let place = &state.places[place];
        let mut said = place.said.iter().filter(|said| said.at >= since && said.number == number).peekable();
        match said.peek() {
            Some(_) => said.any(|said| said.is_answered),
            None => place.resting_until.is_none_or(|until| until <= since),
        }
    }

    fn which(&self, is_it: impl Fn(&State, &Place) -> bool) -> Vec<usize> {
        let state = self.state();
        let places = state.places.iter().enumerate().filter(|(_, place)| is_it(&state, place));
        places.map(|(place, _)| place).collect()
    }

    /// The transactions of these users in a block.
    pub(in super::super) fn inclusions_of(&self, block: B256, watched: &[u8]) -> Vec<Inclusion> {
        let senders: Vec<_> = watched.iter().map(|n| user(*n)).collect();
        self.state().world.inclusions_of(block, &senders)
    }
}

impl Node {
    /// The tips that it showed since then, the one that it showed at that time included. What it showed in the millisecond in which it changed may be
    /// either.
    fn tips(&self, since: Instant) -> impl Iterator<Item = B256> {
        let first = self.shown.partition_point(|(at, _)| *at < since).saturating_sub(1);
        self.shown[first..].iter().map(|(_, tip)| *tip)
    }
}

//! What happens to the chain: it grows, leaves its tip for a branch, and is seen by each in his time.

use std::sync::Arc;

use alloy_primitives::B256;
use tokio::time::Instant;

use super::{MAX_TRANSACTIONS, Network, Place, State};
use crate::world::Plan;

impl Network {
    /// Puts a block on the chain's tip; all learn of it who are on no fork of their own.
    pub(in super::super) fn grow(self: &Arc<Self>, plans: Vec<Plan>) {
        let tip = self.state().tip;
        let tip = self.add(tip, vec![plans]);
        self.switch_to(tip);
    }

    /// The chain leaves its tip for a branch of these blocks, which begins `depth` blocks below, and not below what may be final somewhere unless it
    /// `is_deep`. With `again`, the branch holds what the blocks held that it leaves.
    pub(in super::super) fn reorganise(
        self: &Arc<Self>,
        depth: u64,
        blocks: Vec<Vec<Plan>>,
        again: bool,
        is_deep: bool,
    ) {
        let tip = self.branch(depth, blocks, again, is_deep);
        self.switch_to(tip);
    }

    /// The chain goes back to a tip that it left, if nothing that may be final is lost by it.
    pub(in super::super) fn flip(self: &Arc<Self>, choice: usize) {
        let tip = {
            let state = self.state();
            let floor = state.floor(self.finality_depth);
            let is_allowed = |tip: &&B256| {
                **tip != state.tip
                    && state.number(**tip) >= floor
                    && state.world.chain.ancestor(**tip, floor)
                        == state.world.chain.ancestor(state.tip, floor)
            };
            let tips: Vec<B256> = state.left.iter().filter(is_allowed).copied().collect();
            (!tips.is_empty()).then(|| tips[choice % tips.len()])
        };
        if let Some(tip) = tip {
            self.switch_to(tip);
        }
    }

    /// The chain goes back to the tip that it left last, whatever is lost by it.
    pub(in super::super) fn undo(self: &Arc<Self>) {
        let last = self.state().left.last().copied();
        if let Some(tip) = last {
            self.switch_to(tip);
        }
    }

    /// These endpoints leave the chain for a branch of their own.
    pub(in super::super) fn split(
        self: &Arc<Self>,
        places: &[usize],
        depth: u64,
        blocks: Vec<Vec<Plan>>,
        is_deep: bool,
    ) {
        let tip = self.branch(depth, blocks, false, is_deep);
        for place in places {
            self.state().places[*place].own = Some(tip);
            self.announce(*place, tip);
        }
    }

    /// The branches on which some are alone grow by these blocks, and stay apart.
    pub(in super::super) fn grow_apart(self: &Arc<Self>, blocks: &[Vec<Plan>]) {
        let mut tips: Vec<B256> = self.state().places.iter().filter_map(|place| place.own).collect();
        tips.sort_unstable();
        tips.dedup();
        for tip in tips {
            let next = self.add(tip, blocks.to_vec());
            for place in 0..self.places() {
                let is_on_it = self.state().places[place].own == Some(tip);
                if is_on_it {
                    self.state().places[place].own = Some(next);
                    self.announce(place, next);
                }
            }
        }
    }

    /// All are on one chain again.
    pub(in super::super) fn rejoin(self: &Arc<Self>) {
        let (tip, count) = (self.tip().1, self.places());
        for place in 0..count {
            let own = self.state().places[place].own.take();
            if own.is_some() {
                self.announce(place, tip);
            }
        }
    }

    fn add(&self, parent: B256, blocks: Vec<Vec<Plan>>) -> B256 {
        let mut state = self.state();
        self.trace.count(|counts| counts.blocks += blocks.len() as u64);
        blocks.into_iter().fold(parent, |parent, plans| state.world.add(parent, plans))
    }

    /// Makes a branch beside the chain, and returns its tip.
    fn branch(&self, depth: u64, mut blocks: Vec<Vec<Plan>>, again: bool, is_deep: bool) -> B256 {
        let (tip, from) = {
            let state = self.state();
            let number = state.number(state.tip);
            let floor = if is_deep { 0 } else { state.floor(self.finality_depth).min(number) };
            (state.tip, number.saturating_sub(depth).max(floor))
        };
        let parent = {
            let state = self.state();
            if again {
                for (number, plans) in (from + 1..).zip(&mut blocks) {
                    let lost = state.world.chain.ancestor(tip, number);
                    plans.extend(lost.map_or(Vec::new(), |block| state.world.plans_of(block)));
                    plans.truncate(MAX_TRANSACTIONS);
                }
            }
            state.world.chain.ancestor(tip, from).expect("an ancestor of the tip")
        };
        self.add(parent, blocks)
    }

    fn switch_to(self: &Arc<Self>, tip: B256) {
        let places = {
            let mut state = self.state();
            let old = std::mem::replace(&mut state.tip, tip);
            if state.world.chain.ancestor(tip, state.number(old)) != Some(old) {
                state.left.push(old);
            }
            let followers = state.places.iter().enumerate().filter(|(_, place)| place.own.is_none());
            followers.map(|(place, _)| place).collect::<Vec<_>>()
        };
        self.trace.note(format_args!("the chain is {} {tip}", self.tip().0));
        for place in places {
            self.announce(place, tip);
        }
    }

    /// The endpoint's nodes learn of a tip, each in its time.
    pub(super) fn announce(self: &Arc<Self>, place: usize, tip: B256) {
        let (announcement, waits) = {
            let mut state = self.state();
            state.announcements += 1;
            let Place { nodes, delay, .. } = &state.places[place];
            let waits: Vec<_> = nodes.iter().map(|node| *delay + node.behind).collect();
            (state.announcements, waits)
        };
        for (node, wait) in waits.into_iter().enumerate() {
            if wait.is_zero() {
                self.deliver(place, node, announcement, tip);
                continue;
            }
            let network = self.clone();
            tokio::spawn(async move {
                tokio::time::sleep(wait).await;
                network.deliver(place, node, announcement, tip);
            });
        }
    }

    fn deliver(&self, place: usize, node: usize, announcement: u64, tip: B256) {
        let mut state = self.state();
        let number = state.number(tip);
        let State { world, places, highest, .. } = &mut *state;
        let Place { nodes, foreign, .. } = &mut places[place];
        let hears = &mut nodes[node];
        if hears.heard > announcement {
            return;
        }
        hears.heard = announcement;
        hears.chain.follow(&world.chain, tip);
        if foreign.is_none() {
            hears.shown.push((Instant::now(), tip));
        }
        *highest = number.max(*highest);
        self.trace.note(format_args!("endpoint {place}.{node} is at {number} {tip}"));
    }
}

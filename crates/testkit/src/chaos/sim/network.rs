//! The chain, its branches, and who has seen which of them when.

mod branches;
mod seen;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use alloy_primitives::B256;
use tokio::time::Instant;

use super::Trace;
use super::conduct::Conduct;
use super::store::BlockId;
use super::story::{EndpointSettings, Settings};
use crate::model::ModelChain;
use crate::world::World;

/// The chain's id.
pub(super) const CHAIN_ID: u64 = 1;
/// A range of the simulated backfill has so few logs that they are decoded where they arrive: on another thread chance would decide when that is
/// done.
const MAX_TRANSACTIONS: usize = 4;
/// How many of an endpoint's last answers about canonical blocks are remembered.
const SAID: usize = 256;

/// A node.
#[derive(Debug)]
struct Node {
    chain: ModelChain,
    /// What it showed as its tip, and since when.
    shown: Vec<(Instant, B256)>,
    /// The announcement that it last heard of: one that was overtaken is not followed any more.
    heard: u64,
    /// How much later than its endpoint's other node it learns of blocks.
    behind: Duration,
}

/// Whether a question for the canonical block at a height was answered.
#[derive(Clone, Copy, Debug)]
struct Said {
    at: Instant,
    number: u64,
    is_answered: bool,
}

/// An endpoint: an address with one or two nodes behind it.
#[derive(Debug)]
struct Place {
    settings: EndpointSettings,
    nodes: Vec<Node>,
    /// The tip of the branch that it is on alone.
    own: Option<B256>,
    /// How long after its peers it learns of blocks.
    delay: Duration,
    /// Another chain that answers at its address for now.
    foreign: Option<ModelChain>,
    conduct: Conduct,
    said: VecDeque<Said>,
    /// Until when it wants to be left alone.
    resting_until: Option<Instant>,
}

#[derive(Debug)]
struct State {
    /// All blocks.
    world: World,
    /// The tip of the chain that those are on who are on no fork of their own.
    tip: B256,
    /// Tips that this chain left for another branch.
    left: Vec<B256>,
    /// The highest block that anybody was ever shown.
    highest: u64,
    announcements: u64,
    places: Vec<Place>,
    /// Whether another chain ever answered at one of the addresses.
    was_foreign: bool,
}

/// The chain and its nodes.
#[derive(Debug)]
pub(super) struct Network {
    state: Mutex<State>,
    trace: Arc<Trace>,
    finality_depth: u64,
    request_timeout: Duration,
    genesis: B256,
}

impl Network {
    pub(super) fn new(settings: &Settings, trace: Arc<Trace>) -> Self {
        let world = World::new(CHAIN_ID, settings.finality_depth);
        let genesis = world.chain.tip();
        let now = Instant::now();
        let place = |endpoint: &EndpointSettings| {
            let node = |behind_ms| {
                let chain = world.chain.twin();
                chain.set_orphans(endpoint.orphans);
                chain.set_logs_of_unknown(endpoint.logs_of_unknown);
                Node {
                    chain,
                    shown: vec![(now, genesis)],
                    heard: 0,
                    behind: Duration::from_millis(behind_ms),
                }
            };
            Place {
                nodes: [0].into_iter().chain(endpoint.second_node_ms).map(node).collect(),
                own: None,
                delay: Duration::from_millis(endpoint.delay_ms),
                foreign: None,
                conduct: endpoint.conduct(),
                said: VecDeque::new(),
                resting_until: None,
                settings: *endpoint,
            }
        };
        let places = settings.endpoints.iter().map(place).collect();
        let state = State {
            world,
            tip: genesis,
            left: Vec::new(),
            highest: 0,
            announcements: 0,
            places,
            was_foreign: false,
        };
        Self {
            state: Mutex::new(state),
            trace,
            finality_depth: settings.finality_depth,
            request_timeout: Duration::from_millis(settings.request_timeout_ms),
            genesis,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn genesis(&self) -> B256 {
        self.genesis
    }

    /// An answer that takes longer is not waited for.
    pub(super) fn request_timeout(&self) -> Duration {
        self.request_timeout
    }

    pub(super) fn places(&self) -> usize {
        self.state().places.len()
    }

    /// The chain's tip.
    pub(super) fn tip(&self) -> BlockId {
        let state = self.state();
        (state.number(state.tip), state.tip)
    }

    /// The node that answers at this endpoint, by choice the one that is behind where there is one.
    pub(super) fn node(&self, place: usize, is_stale: bool) -> ModelChain {
        let state = self.state();
        let place = &state.places[place];
        let node = if is_stale { place.nodes.last() } else { place.nodes.first() };
        place.foreign.as_ref().unwrap_or(&node.expect("an endpoint has a node").chain).clone()
    }

    pub(super) fn conduct(&self, place: usize) -> Conduct {
        self.state().places[place].conduct.clone()
    }

    /// A question for the canonical block at this height was answered, or was not.
    pub(super) fn said(&self, place: usize, number: u64, is_answered: bool) {
        let said = &mut self.state().places[place].said;
        if said.len() == SAID {
            said.pop_front();
        }
        said.push_back(Said { at: Instant::now(), number, is_answered });
    }

    /// The endpoint said that it wants to be left alone for so long.
    pub(super) fn rests(&self, place: usize, duration: Duration) {
        let until = Instant::now() + duration;
        let place = &mut self.state().places[place];
        place.resting_until = place.resting_until.max(Some(until));
    }

    /// From now on the endpoint learns of blocks so much later.
    pub(super) fn delay(&self, place: usize, delay: Duration) {
        self.state().places[place].delay = delay;
    }

    pub(super) fn trouble(&self, place: usize, with: impl FnOnce(&mut Conduct)) {
        with(&mut self.state().places[place].conduct);
    }

    /// The endpoint refuses ranges of more blocks.
    pub(super) fn limit_range(&self, place: usize, blocks: Option<u64>) {
        self.state().places[place].nodes.iter().for_each(|node| node.chain.limit_range(blocks));
    }

    /// Another chain answers at the endpoint's address.
    pub(super) fn replace(&self, place: usize, foreign: &ModelChain) {
        let mut state = self.state();
        state.was_foreign = true;
        let place = &mut state.places[place];
        place.foreign = Some(foreign.clone());
        place.nodes.iter_mut().for_each(|node| node.shown.push((Instant::now(), B256::ZERO)));
    }

    /// All endpoints are as they were configured, but for forks.
    pub(super) fn calm(&self) {
        for place in &mut self.state().places {
            place.conduct = place.settings.conduct();
            place.delay = Duration::from_millis(place.settings.delay_ms);
            place.end_of_foreign();
            place.nodes.iter().for_each(|node| node.chain.limit_range(None));
        }
    }

    /// All endpoints are well, know of all blocks at once, and are on one chain.
    pub(super) fn heal(self: &Arc<Self>) {
        for place in &mut self.state().places {
            place.conduct = Conduct::healed(place.settings.slowest_ms.min(20));
            place.delay = Duration::ZERO;
            place.own = None;
            place.end_of_foreign();
            place.nodes.iter_mut().for_each(|node| {
                node.chain.limit_range(None);
                node.behind = Duration::ZERO;
            });
        }
        let tip = self.tip().1;
        (0..self.places()).for_each(|place| self.announce(place, tip));
    }
}

impl Place {
    fn end_of_foreign(&mut self) {
        if self.foreign.take().is_some() {
            self.nodes.iter_mut().for_each(|node| node.shown.push((Instant::now(), node.chain.tip())));
        }
    }
}

impl State {
    fn number(&self, block: B256) -> u64 {
        self.world.chain.number(block).expect("a block of this chain")
    }

    fn at(&self, tip: B256, number: u64) -> Option<B256> {
        self.world.chain.ancestor(tip, number)
    }

    fn is_on(&self, tip: B256, (number, hash): BlockId) -> bool {
        self.at(tip, number) == Some(hash)
    }

    /// Up to here the chain may be final for somebody who has seen everything that was ever shown.
    fn floor(&self, finality_depth: u64) -> u64 {
        self.highest.saturating_sub(finality_depth)
    }
}

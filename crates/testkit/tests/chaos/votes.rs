//! What one endpoint shows alone: when it is believed because the others are silent, and what it cannot make final.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use alloy_primitives::B256;
use alloy_transport::{BoxTransport, TransportErrorKind};
use plimsoll_chain::interval::IntervalPolicy;
use plimsoll_chain::{EndpointConfig, FinalityTag, Pool, Rpc, transport};
use plimsoll_ingest::{Book as _, Finality, Follower, IngestConfig, IngestError};
use plimsoll_testkit::chaos::sim::MemoryJournal;
use plimsoll_testkit::model::ModelChain;
use plimsoll_testkit::world::{Deed, Plan, World, contracts};
use plimsoll_types::Completeness;
use tokio_util::sync::CancellationToken;

const FINALITY: u64 = 5;
const BLOCKS: u64 = 20;

/// Whether an endpoint answers when it is asked which block it has at a height, one question after the other. After the last it answers.
type Votes = Arc<Mutex<VecDeque<bool>>>;

fn voter(chain: &ModelChain, votes: &Votes) -> BoxTransport {
    let (chain, votes) = (chain.clone(), Arc::clone(votes));
    transport::answering(move |packet| {
        let is_vote = packet.as_single().is_some_and(|request| {
            request.method() == "eth_getBlockByNumber"
                && request.params().is_some_and(|params| params.get().starts_with("[\"0x"))
        });
        let is_silent = is_vote && votes.lock().unwrap().pop_front() == Some(false);
        let told = chain.answers(packet);
        async move { if is_silent { Err(TransportErrorKind::backend_gone()) } else { told.await } }
    })
}

/// A chain, a journal that follows it through some endpoints, and what they are told to do.
struct Scene {
    world: World,
    genesis: B256,
    nodes: Vec<ModelChain>,
    votes: Vec<Votes>,
    pool: Pool,
    journal: MemoryJournal,
    finality: Finality,
}

impl Scene {
    fn new(endpoints: usize) -> Self {
        let mut world = World::new(1, FINALITY);
        let genesis = world.chain.tip();
        world.extend((0..BLOCKS).map(|_| block()).collect());
        let nodes: Vec<ModelChain> = (0..endpoints).map(|_| world.chain.twin()).collect();
        let votes: Vec<Votes> = nodes.iter().map(|_| Votes::default()).collect();
        let rpcs = nodes.iter().zip(&votes).map(|(chain, votes)| {
            let config = EndpointConfig { max_retries: 0, ..EndpointConfig::new("http://voter") };
            Rpc::over(voter(chain, votes), &config)
        });
        let pool = Pool::new(rpcs.collect()).unwrap();
        let (journal, finality) = (MemoryJournal::new(1), Finality::Depth(FINALITY));
        Self { world, genesis, nodes, votes, pool, journal, finality }
    }

    /// A branch from so far below the tip, which is higher than it by one; the first endpoint knows it.
    fn branch(&mut self, depth: u64) -> B256 {
        let tip = self.world.chain.tip();
        let from = self.world.chain.ancestor(tip, BLOCKS - depth).unwrap();
        let branch = (0..=depth).fold(from, |parent, _| self.world.add(parent, block()));
        self.nodes[0].learn(&self.world.chain);
        branch
    }

    /// Follows until this is so, or until the follower ends.
    async fn until(&self, is_so: impl Fn(&Self) -> bool) -> Option<IngestError> {
        let config = IngestConfig {
            chain_id: 1,
            name: "voters".into(),
            confirmations: 1,
            finality: self.finality,
            poll_interval: Duration::from_millis(100),
            watched_senders: Vec::new(),
            ranges_in_flight: 1,
            range: IntervalPolicy { initial_blocks: 3, max_blocks: 3, ..IntervalPolicy::default() },
            head_completeness: Completeness::Receipts,
            backfill_completeness: Completeness::Bloom,
        };
        let contracts = contracts(0);
        let mut follower = Follower::new(&config, &self.pool, &contracts, self.genesis, self.journal.open());
        let mut looks = tokio::time::interval(Duration::from_millis(10));
        let watched = async {
            while !is_so(self) {
                looks.tick().await;
            }
        };
        let cancel = CancellationToken::new();
        let followed = async {
            tokio::select! {
                () = watched => None,
                ended = follower.follow(&cancel) => ended.err(),
            }
        };
        tokio::time::timeout(Duration::from_secs(3_600), followed).await.expect("it comes to pass")
    }

    fn head(&self) -> Option<B256> {
        self.journal.open().head().map(|(_, hash)| hash)
    }

    /// The journal has the chain, and what is deep enough is final.
    fn is_settled(&self) -> bool {
        self.head() == Some(self.world.chain.tip()) && self.journal.marks().1 == Some(BLOCKS - FINALITY)
    }

    /// What the last endpoint does when it is asked next.
    fn script(&self, votes: &[bool]) {
        self.votes.last().unwrap().lock().unwrap().extend(votes);
    }

    fn has_voted(&self) -> bool {
        self.votes.last().unwrap().lock().unwrap().is_empty()
    }
}

fn block() -> Vec<Plan> {
    vec![Plan { sender: 0, succeeds: true, deeds: vec![Deed::Cache { user: 0, asset: 0, amount: 5 }] }]
}

#[tokio::test(start_paused = true)]
async fn a_branch_is_believed_when_the_others_are_silent_three_times_in_a_row_and_not_when_they_contradict_in_between()
 {
    let mut scene = Scene::new(2);
    assert!(scene.until(Scene::is_settled).await.is_none());
    let branch = scene.branch(3);
    scene.nodes[0].switch_to(branch);
    scene.script(&[false, false, true].repeat(4));
    assert!(scene.until(Scene::has_voted).await.is_none());
    assert_eq!(scene.head(), Some(scene.world.chain.tip()), "it was contradicted each time");
    scene.script(&[false; 3]);
    assert!(scene.until(Scene::has_voted).await.is_none());
    assert!(scene.until(|scene| scene.head() == Some(branch)).await.is_none());
}

#[tokio::test(start_paused = true)]
async fn one_endpoint_that_shows_a_branch_past_finality_twice_halts_nothing_and_three_times_halts() {
    for (looks, halts) in [(2, false), (20, true)] {
        let mut scene = Scene::new(1);
        assert!(scene.until(Scene::is_settled).await.is_none());
        let branch = scene.branch(FINALITY + 2);
        scene.nodes[0].visit(branch, looks);
        let ended = scene.until(|scene| !scene.nodes[0].is_visiting()).await;
        assert_eq!(matches!(ended, Some(IngestError::DeepReorg(_))), halts, "{looks} looks: {ended:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn who_contradicted_a_branch_past_finality_is_asked_again_only_after_it_was_shown_as_often() {
    let mut scene = Scene::new(2);
    assert!(scene.until(Scene::is_settled).await.is_none());
    let branch = scene.branch(FINALITY + 2);
    scene.script(&[true, false]);
    scene.nodes[0].visit(branch, 5);
    let ended = scene.until(|scene| !scene.nodes[0].is_visiting()).await;
    assert!(ended.is_none(), "{ended:?}");
    assert!(!scene.has_voted(), "it was asked twice");
}

#[tokio::test(start_paused = true)]
async fn one_endpoint_that_shows_a_lower_branch_twice_takes_nothing_back() {
    for (looks, is_taken) in [(2, false), (20, true)] {
        let mut scene = Scene::new(1);
        assert!(scene.until(Scene::is_settled).await.is_none());
        let higher = scene.branch(3);
        let lower = scene.world.chain.ancestor(higher, BLOCKS - 1).unwrap();
        scene.nodes[0].visit(lower, looks);
        assert!(
            scene.until(|scene| !scene.nodes[0].is_visiting() || scene.head() == Some(lower)).await.is_none()
        );
        assert_eq!(scene.head() == Some(lower), is_taken, "{looks} looks");
    }
}

/// The model's blocks are so far apart.
const BLOCK_SECONDS: u64 = 2;

#[tokio::test(start_paused = true)]
async fn one_endpoint_that_runs_ahead_makes_nothing_final_and_what_it_made_up_is_taken_back() {
    for finality in [Finality::Depth(FINALITY), Finality::Age(Duration::from_secs(FINALITY * BLOCK_SECONDS))]
    {
        let mut scene = Scene { finality, ..Scene::new(3) };
        assert!(scene.until(Scene::is_settled).await.is_none());
        let ahead = scene.branch(0);
        let ahead = (0..30).fold(ahead, |parent, _| scene.world.add(parent, block()));
        scene.nodes[0].follow(&scene.world.chain, ahead);
        let began = tokio::time::Instant::now();
        assert!(scene.until(|_| began.elapsed() > Duration::from_secs(120)).await.is_none());
        let last_final = scene.journal.marks().1;
        assert!(
            last_final <= Some(BLOCKS),
            "{finality:?}: block {last_final:?} is final, which nobody else has"
        );
        scene.world.extend(vec![block(), block()]);
        for node in &scene.nodes[1..] {
            node.follow(&scene.world.chain, scene.world.chain.tip());
        }
        let is_back = |scene: &Scene| scene.head() == Some(scene.world.chain.tip());
        assert!(scene.until(is_back).await.is_none(), "{finality:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_backfill_ends_with_a_block_that_the_majority_has() {
    for finality in [Finality::Depth(FINALITY), Finality::Tag(FinalityTag::Finalized)] {
        let mut scene = Scene { finality, ..Scene::new(3) };
        let branch = scene.branch(BLOCKS - 2);
        scene.nodes[0].switch_to(branch);
        // The others are not there for a while, and then they are.
        for votes in &scene.votes[1..] {
            votes.lock().unwrap().extend([false; 3]);
        }
        let ended = scene.until(Scene::is_settled).await;
        assert!(ended.is_none(), "{finality:?}: {ended:?}");
    }
}

//! What one endpoint shows alone: when it is believed because the others are silent, and what it cannot make final.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use alloy_primitives::B256;
use alloy_transport::{BoxTransport, TransportErrorKind};
use plimsoll_chain::interval::IntervalPolicy;
use plimsoll_chain::transport::{self, Fault, FaultHandle, Faulty};
use plimsoll_chain::{EndpointConfig, ErrorClass, FinalityTag, Pool, Reason, Rpc};
use plimsoll_ingest::{Book as _, Finality, Follower, IngestConfig, IngestError};
use plimsoll_journal::WriteError;
use plimsoll_testkit::chaos::sim::MemoryJournal;
use plimsoll_testkit::model::ModelChain;
use plimsoll_testkit::world::{Deed, Plan, World, contracts};
use plimsoll_types::{Completeness, JournalKind};
use tokio_util::sync::CancellationToken;

const FINALITY: u64 = 5;
const BLOCKS: u64 = 20;
/// The model's blocks are so far apart.
const BLOCK_SECONDS: u64 = 2;

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
    faults: Vec<FaultHandle>,
    pool: Pool,
    journal: MemoryJournal,
    finality: Finality,
    start_block: u64,
    /// How often the head is looked at.
    poll: Duration,
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
            let (transport, faults) = Faulty::new(voter(chain, votes));
            (Rpc::over(transport.boxed(), &config), faults)
        });
        let (rpcs, faults): (Vec<_>, Vec<_>) = rpcs.unzip();
        let pool = Pool::new(rpcs).unwrap();
        let (journal, finality) = (MemoryJournal::new(1), Finality::Depth(FINALITY));
        let (start_block, poll) = (0, Duration::from_millis(100));
        Self { world, genesis, nodes, votes, faults, pool, journal, finality, start_block, poll }
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
            poll_interval: self.poll,
            watched_senders: std::collections::BTreeMap::new(),
            ranges_in_flight: 1,
            range: IntervalPolicy { initial_blocks: 3, max_blocks: 3, ..IntervalPolicy::default() },
            head_completeness: Completeness::Receipts,
            backfill_completeness: Completeness::Bloom,
        };
        let contracts = contracts(self.start_block);
        let book = self.journal.open_for(plimsoll_ingest::filter(&config, &contracts));
        let mut follower = Follower::new(&config, &self.pool, &contracts, self.genesis, book);
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
        tokio::time::timeout(Duration::from_secs(600), followed).await.expect("it comes to pass")
    }

    fn head(&self) -> Option<B256> {
        self.journal.open().head().map(|(_, hash)| hash)
    }

    /// The journal has the chain, and what is deep enough is final.
    fn is_settled(&self) -> bool {
        self.head() == Some(self.world.chain.tip()) && self.journal.marks().1 == Some(BLOCKS - FINALITY)
    }

    /// Whether something was taken back.
    fn has_retracted(&self) -> bool {
        self.journal.read(|journal| journal.rows.iter().any(|row| row.kind == JournalKind::Retract))
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
    let tag = Finality::Tag(FinalityTag::Finalized);
    // The others are not there for a while and then they are, or they are there and have agreed on their own.
    for (finality, silent) in [(Finality::Depth(FINALITY), 3), (tag, 3), (tag, 0)] {
        let mut scene = Scene { finality, ..Scene::new(3) };
        let branch = scene.branch(BLOCKS - 2);
        scene.nodes[0].switch_to(branch);
        for votes in &scene.votes[1..] {
            votes.lock().unwrap().extend(vec![false; silent]);
        }
        let ended = scene.until(Scene::is_settled).await;
        assert!(ended.is_none(), "{finality:?}: {ended:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn endpoints_that_are_all_below_the_first_block_of_interest_take_its_blocks_back_only_when_they_stay_there()
 {
    for (looks, is_taken) in [(2, false), (20, true)] {
        let mut scene = Scene { start_block: BLOCKS - 3, ..Scene::new(3) };
        assert!(scene.until(|scene| scene.head() == Some(scene.world.chain.tip())).await.is_none());
        let branch = scene.branch(10);
        let ends = [branch, scene.world.chain.tip(), scene.world.chain.tip()];
        for (node, end) in scene.nodes.iter().zip(ends) {
            node.visit(scene.world.chain.ancestor(end, BLOCKS - 8).unwrap(), looks);
        }
        let are_back = |scene: &Scene| !scene.nodes.iter().any(ModelChain::is_visiting);
        assert!(scene.until(|scene| are_back(scene) || scene.has_retracted()).await.is_none());
        assert_eq!(scene.has_retracted(), is_taken, "{looks} looks");
    }
}

#[tokio::test(start_paused = true)]
async fn with_several_endpoints_what_is_deep_or_old_enough_is_final_and_no_block_above_it() {
    let age = Finality::Age(Duration::from_secs(FINALITY * BLOCK_SECONDS));
    for finality in [Finality::Depth(FINALITY), age, Finality::Tag(FinalityTag::Finalized)] {
        let mut scene = Scene { finality, ..Scene::new(3) };
        let end = (0..4).fold(scene.world.chain.tip(), |parent, _| scene.world.add(parent, block()));
        let began = tokio::time::Instant::now();
        // A block each ten seconds, and then a while without.
        let is_over = |scene: &Scene| {
            let number = BLOCKS + (began.elapsed().as_secs() / 10).min(4);
            for node in &scene.nodes {
                node.follow(&scene.world.chain, scene.world.chain.ancestor(end, number).unwrap());
            }
            let last_final = scene.journal.marks().1;
            assert!(last_final <= Some(number - FINALITY), "{finality:?}: {last_final:?} of {number}");
            began.elapsed() > Duration::from_secs(90)
        };
        assert!(scene.until(is_over).await.is_none());
        assert_eq!(scene.journal.marks().1, Some(BLOCKS + 4 - FINALITY), "{finality:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_with_another_chain_behind_its_address_is_passed_over_and_named_where_it_is_alone() {
    for (endpoints, chain_id) in [(2, 1), (2, 2), (1, 1), (1, 2)] {
        let mut scene = Scene::new(endpoints);
        assert!(scene.until(Scene::is_settled).await.is_none());
        let mut foreign = World::new(7, FINALITY);
        foreign.extend((0..BLOCKS + 3).map(|_| block()).collect());
        scene.nodes[0].learn(&foreign.chain);
        scene.nodes[0].switch_to(foreign.chain.tip());
        scene.nodes[0].pretend_to_be(chain_id);
        let is_passed_over = |scene: &Scene| {
            let bench = scene.pool.endpoints()[0].standing().bench;
            endpoints > 1 && bench.is_some_and(|bench| bench.reason == Reason::WrongChain)
        };
        match scene.until(is_passed_over).await {
            None => {
                scene.world.extend(vec![block()]);
                scene.nodes[1].follow(&scene.world.chain, scene.world.chain.tip());
                let is_there = |scene: &Scene| scene.head() == Some(scene.world.chain.tip());
                assert!(scene.until(is_there).await.is_none(), "the other is followed");
            }
            Some(IngestError::WrongChain { .. }) => assert_eq!((endpoints, chain_id), (1, 2)),
            Some(IngestError::Journal(WriteError::DifferentGenesis { .. })) => {
                assert_eq!((endpoints, chain_id), (1, 1));
            }
            Some(other) => panic!("{endpoints} endpoints, chain {chain_id}: {other}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_range_that_one_endpoint_does_not_give_is_asked_of_the_next_at_once() {
    // Longer than it may take: the head is looked at once, and nothing but that look brings the ranges.
    let scene = Scene { poll: Duration::from_secs(3_600), ..Scene::new(2) };
    scene.faults[0].next("eth_getLogs", u64::MAX, Fault::Fail(ErrorClass::StateUnavailable));
    let ended = scene.until(Scene::is_settled).await;
    assert!(ended.is_none(), "{ended:?}");
    assert!(scene.faults[0].requests("eth_getLogs") > 0, "it was asked first");
}

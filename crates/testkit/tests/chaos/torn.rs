//! A node that goes to another branch, from below what is final, while a range is asked for.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use alloy_json_rpc::{RequestPacket, ResponsePacket, SerializedRequest};
use alloy_primitives::B256;
use alloy_transport::TransportError;
use plimsoll_chain::interval::IntervalPolicy;
use plimsoll_chain::{EndpointConfig, Pool, Rpc, transport};
use plimsoll_ingest::{Book as _, Finality, Follower, IngestConfig, IngestError};
use plimsoll_testkit::chaos::sim::MemoryJournal;
use plimsoll_testkit::model::{ModelChain, answer_each};
use plimsoll_testkit::truth::TruthEvent;
use plimsoll_testkit::world::{Deed, Plan, World, contracts};
use plimsoll_types::Completeness;
use tokio_util::sync::CancellationToken;

/// The range that is torn is of this block alone.
const TORN: &str = "0xa";
/// The branch begins on this block.
const FORK: u64 = 9;
const BLOCKS: u64 = 20;
const FINALITY: u64 = 3;

/// A node that is `there` for some of the questions about the torn block, and `here` for all others.
#[derive(Clone)]
struct Wanderer {
    chain: ModelChain,
    here: B256,
    there: B256,
    /// Whether it is back with the last member of the batch.
    comes_back: bool,
    /// So many questions about the torn block find it there.
    times: Arc<AtomicU32>,
}

impl Wanderer {
    /// Of each member of the batch, whether it finds the node on the branch.
    fn is_there(&self, requests: &[SerializedRequest]) -> Vec<bool> {
        let names =
            |request: &SerializedRequest| request.params().is_some_and(|params| params.get().contains(TORN));
        let is_range = requests.iter().any(|request| request.method() == "eth_getLogs" && names(request));
        let is_header =
            requests.len() == 1 && requests[0].method() == "eth_getBlockByNumber" && names(&requests[0]);
        let last = requests.len() - 1;
        let left = |left: u32| left.checked_sub(1);
        if !is_range && !is_header
            || self.times.fetch_update(Ordering::Relaxed, Ordering::Relaxed, left).is_err()
        {
            return vec![false; requests.len()];
        }
        (0..=last).map(|place| is_header || place > 0 && !(self.comes_back && place == last)).collect()
    }

    fn tells(&self, packet: &RequestPacket) -> Result<ResponsePacket, TransportError> {
        let mut places = self.is_there(packet.requests()).into_iter();
        let told = answer_each(packet, |request| {
            let is_there = places.next().unwrap();
            self.chain.switch_to(if is_there { self.there } else { self.here });
            self.chain.answer(request)
        });
        self.chain.switch_to(self.here);
        told
    }
}

fn plan(amount: u8) -> Plan {
    Plan { sender: 0, succeeds: true, deeds: vec![Deed::Cache { user: 0, asset: 0, amount }] }
}

/// What became of a journal that is followed until it is at the chain's head, or halted: itself, how the follower ended, and what is on the chain.
async fn followed(comes_back: bool, times: u32) -> (MemoryJournal, Vec<IngestError>, Vec<TruthEvent>) {
    let mut world = World::new(1, FINALITY);
    let genesis = world.chain.tip();
    world.extend((0..BLOCKS).map(|_| vec![plan(5)]).collect());
    let here = world.chain.tip();
    let fork = world.chain.ancestor(here, FORK).unwrap();
    let there = (FORK..=BLOCKS).fold(fork, |parent, _| world.add(parent, vec![plan(7)]));
    let times = Arc::new(AtomicU32::new(times));
    let node = Wanderer { chain: world.chain.twin(), here, there, comes_back, times: Arc::clone(&times) };
    node.chain.follow(&world.chain, here);
    let config = EndpointConfig { max_retries: 0, ..EndpointConfig::new("http://wanderer") };
    let wanderer = transport::answering(move |packet| {
        let told = node.tells(&packet);
        async {
            tokio::task::yield_now().await;
            told
        }
    });
    let pool = Pool::from(Rpc::over(wanderer, &config));
    let config = IngestConfig {
        chain_id: 1,
        name: "torn".into(),
        confirmations: 1,
        finality: Finality::Depth(FINALITY),
        poll_interval: Duration::from_millis(100),
        watched_senders: std::collections::BTreeMap::new(),
        ranges_in_flight: 1,
        range: IntervalPolicy { initial_blocks: 1, max_blocks: 1, ..IntervalPolicy::default() },
        head_completeness: Completeness::Receipts,
        backfill_completeness: Completeness::Bloom,
    };
    let (contracts, journal) = (contracts(0), MemoryJournal::new(1));
    let mut ends = Vec::new();
    // Ends: each life but the last ends with one of the errors, of which there are few.
    while journal.open().head() != Some((BLOCKS, here)) {
        let mut follower = Follower::new(&config, &pool, &contracts, genesis, journal.open());
        let cancel = CancellationToken::new();
        let mut looks = tokio::time::interval(Duration::from_millis(10));
        let is_there = async {
            while journal.open().head() != Some((BLOCKS, here)) {
                looks.tick().await;
            }
        };
        tokio::select! {
            () = is_there => {}
            ended = follower.follow(&cancel) => ends.push(ended.unwrap_err()),
        }
        assert!(ends.len() < 10, "{ends:#?}");
        if matches!(ends.last(), Some(IngestError::DeepReorg(_))) {
            break;
        }
    }
    assert_eq!(times.load(Ordering::Relaxed), 0, "it was there as often as it should have been");
    (journal, ends, world.chain.truth())
}

fn found(journal: &MemoryJournal) -> Vec<B256> {
    journal.live_events().iter().map(|event| event.block_hash).collect()
}

#[tokio::test(start_paused = true)]
async fn a_range_of_another_branch_is_not_taken_although_the_question_began_on_the_final_blocks_chain() {
    let (journal, ends, truth) = followed(false, 4).await;
    assert!(ends.is_empty(), "it is asked again: {ends:#?}");
    assert_eq!(found(&journal), truth.iter().map(|event| event.block_hash).collect::<Vec<_>>());
}

/// Nothing that can be asked by height shows it: the hashes do, one range later.
#[tokio::test(start_paused = true)]
async fn a_range_of_another_branch_that_looked_right_is_found_by_the_next_one() {
    // The question, and the one for its header.
    let (journal, ends, _) = followed(true, 2).await;
    let Some(IngestError::DeepReorg(evidence)) = ends.last() else { panic!("{ends:#?}") };
    assert_eq!(evidence.final_block.0, FORK + 1, "{evidence}");
    assert!(evidence.found.is_some() && evidence.found != Some(evidence.final_block.1), "{evidence}");
    assert_eq!(journal.open().head(), Some(evidence.final_block), "nothing was written on top of it");
}

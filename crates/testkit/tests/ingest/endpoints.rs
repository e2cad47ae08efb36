//! Several endpoints: what one of them fails to do, shows alone, or says wrongly, costs its answers and nothing else.

use alloy_primitives::B256;
use alloy_transport::{BoxTransport, Transport};
use plimsoll_chain::ErrorClass;
use plimsoll_chain::transport::{Fault, FaultHandle, Faulty};
use plimsoll_ingest::IngestError;
use plimsoll_store::Db;
use plimsoll_testkit::model::ModelChain;
use plimsoll_types::Completeness;
use tokio_util::sync::CancellationToken;

use crate::reorgs::retractions;
use crate::support::endpoints::forger;
use crate::support::follower::Follower;
use crate::support::world::World;
use crate::{HANGS_AFTER, agrees, integers, place, plan, settings};

/// Blocks so that nothing is final in a short test.
const DEEP: u64 = 64;

fn faulty(chain: &ModelChain) -> (BoxTransport, FaultHandle) {
    let (transport, faults) = Faulty::new(chain.clone().boxed());
    (transport.boxed(), faults)
}

/// A node that follows these model nodes as its endpoints.
async fn following(
    db: &Db,
    leases: &plimsoll_store::Leases,
    chain_id: u64,
    finality: u64,
    nodes: &[&ModelChain],
) -> Follower {
    let endpoints = nodes.iter().map(|node| (*node).clone().boxed()).collect();
    Follower::new(db, leases, chain_id, nodes[0], settings(finality)).await.with_endpoints(endpoints)
}

/// Waits until the node was asked for its head so many more times, by which time whatever it showed was judged more than once.
async fn looked_at(node: &ModelChain, times: u64) {
    let before = node.answered("eth_getBlockByNumber");
    let looked = async {
        while node.answered("eth_getBlockByNumber") < before + times {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(HANGS_AFTER, looked).await.expect("the endpoint is looked at");
}

/// A branch of so many blocks on top of `parent`.
fn branch(world: &mut World, parent: B256, blocks: usize) -> B256 {
    (0..blocks).fold(parent, |parent, _| world.add(parent, vec![plan()]))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_is_dead_or_dies_keeps_nobody_waiting() {
    let ((db, leases), mut world) = (place().await, World::new(1, DEEP));
    world.extend(vec![vec![plan()]; 80]);
    let ((dead, never), (dying, faults)) = (faulty(&world.chain), faulty(&world.chain));
    never.next_of_any(u64::MAX, Fault::Fail(ErrorClass::Transient));
    let endpoints = vec![dead, dying, world.chain.clone().boxed()];
    let mut node =
        Follower::new(&db, &leases, 1, &world.chain, settings(DEEP)).await.with_endpoints(endpoints);
    node.start_ingest();
    let tip = world.visible_head();
    node.settle(|journal| journal.head == Some(tip)).await.unwrap();

    faults.next_of_any(u64::MAX, Fault::Fail(ErrorClass::Transient));
    world.extend(vec![vec![plan()]; 5]);
    let tip = world.visible_head();
    node.settle(|journal| journal.head == Some(tip)).await.unwrap();
    node.end().await;
    agrees(&db, 1, &world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_lags_takes_nothing_back() {
    let ((db, leases), mut world) = (place().await, World::new(1, DEEP));
    let behind = world.chain.twin();
    let mut node = following(&db, &leases, 1, DEEP, &[&behind, &world.chain]).await;
    node.start_ingest();
    for _ in 0..5 {
        world.extend(vec![vec![plan()]; 2]);
        let tip = world.visible_head();
        node.settle(|journal| journal.head == Some(tip)).await.unwrap();
    }
    looked_at(&behind, 5).await;
    node.end().await;
    assert_eq!(retractions(&db, 1).await, 0);
    agrees(&db, 1, &world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_branch_that_one_endpoint_shows_alone_takes_nothing_back_and_one_that_the_majority_shows_does() {
    let (db, leases) = place().await;
    // Longer than the others' chain, as long, and shorter.
    for (chain_id, blocks) in [(1, 12), (2, 6), (3, 2)] {
        let mut world = World::new(chain_id, DEEP);
        world.extend(vec![vec![plan()]; 10]);
        let (a, b) = (world.chain.twin(), world.chain.twin());
        let mut node = following(&db, &leases, chain_id, DEEP, &[&world.chain, &a, &b]).await;
        node.start_ingest();
        let tip = world.visible_head();
        node.settle(|journal| journal.head == Some(tip)).await.unwrap();

        let fork = world.chain.ancestor(tip.1, 4).unwrap();
        let other = branch(&mut world, fork, blocks);
        a.learn(&world.chain);
        a.switch_to(other);
        looked_at(&a, 12).await;
        assert_eq!(retractions(&db, chain_id).await, 0, "{blocks} blocks");
        agrees(&db, chain_id, &world).await;

        b.learn(&world.chain);
        b.switch_to(other);
        let number = world.chain.number(other).unwrap();
        node.settle(|journal| journal.head == Some((number, other))).await.unwrap();
        node.end().await;
        assert!(retractions(&db, chain_id).await > 0, "{blocks} blocks");
        world.chain.switch_to(other);
        agrees(&db, chain_id, &world).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_endpoints_that_disagree_are_waited_for_and_one_that_is_silent_does_not_stop_the_other_for_ever()
{
    let ((db, leases), mut world) = (place().await, World::new(1, DEEP));
    world.extend(vec![vec![plan()]; 6]);
    let twin = world.chain.twin();
    let (second, faults) = faulty(&twin);
    let endpoints = vec![world.chain.clone().boxed(), second];
    let mut node =
        Follower::new(&db, &leases, 1, &world.chain, settings(DEEP)).await.with_endpoints(endpoints);
    node.start_ingest();
    let tip = world.visible_head();
    node.settle(|journal| journal.head == Some(tip)).await.unwrap();

    let fork = world.chain.ancestor(tip.1, 3).unwrap();
    let other = branch(&mut world, fork, 5);
    world.chain.switch_to(other);
    looked_at(&world.chain, 12).await;
    assert_eq!(retractions(&db, 1).await, 0, "the other still has the old branch");

    faults.next_of_any(u64::MAX, Fault::Fail(ErrorClass::Transient));
    node.settle(|journal| journal.head == Some((8, other))).await.unwrap();
    node.end().await;
    agrees(&db, 1, &world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_branch_past_finality_halts_the_chain_only_if_no_majority_contradicts() {
    let ((db, leases), mut world) = (place().await, World::new(1, 3));
    let genesis = world.chain.tip();
    world.extend(vec![vec![plan()]; 9]);
    let (a, b) = (world.chain.twin(), world.chain.twin());
    let mut node = following(&db, &leases, 1, 3, &[&a, &world.chain, &b]).await;
    node.start_ingest();
    let tip = world.visible_head();
    node.settle(|journal| journal.head == Some(tip)).await.unwrap();

    let other = branch(&mut world, genesis, 12);
    a.learn(&world.chain);
    a.switch_to(other);
    looked_at(&a, 20).await;
    let halts = "SELECT count(*) FROM chains WHERE chain_id = $1 AND state = 'halted'";
    assert_eq!(integers(&db, halts, 1).await, 0);
    world.extend(vec![vec![plan()]]);
    let tip = world.visible_head();
    node.settle(|journal| journal.head == Some(tip)).await.unwrap();
    agrees(&db, 1, &world).await;

    b.learn(&world.chain);
    b.switch_to(other);
    let halted = async { while integers(&db, halts, 1).await == 0 {} };
    tokio::time::timeout(HANGS_AFTER, halted).await.expect("the chain halts");
    node.end().await;
    agrees(&db, 1, &world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_of_another_chain_is_named_at_the_start_and_passed_over_later() {
    let ((db, leases), mut world) = (place().await, World::new(1, DEEP));
    world.extend(vec![vec![plan()]; 6]);
    let twin = world.chain.twin();
    let mut foreign = World::new(1, DEEP);
    foreign.extend(vec![vec![]; 30]);
    foreign.chain.pretend_to_be(2);

    let node = following(&db, &leases, 1, DEEP, &[&world.chain, &foreign.chain]).await;
    let error = node.ingest().run(&CancellationToken::new()).await.unwrap_err();
    assert!(matches!(&error, IngestError::WrongChain { .. }), "{error}");
    assert!(error.is_fatal() && error.to_string().contains("URL of model-1"), "{error}");

    let mut node = following(&db, &leases, 1, DEEP, &[&world.chain, &twin]).await;
    node.start_ingest();
    let tip = world.visible_head();
    node.settle(|journal| journal.head == Some(tip)).await.unwrap();
    twin.learn(&foreign.chain);
    twin.switch_to(foreign.chain.tip());
    twin.pretend_to_be(2);
    looked_at(&twin, 1).await;
    world.extend(vec![vec![plan()]; 4]);
    let tip = world.visible_head();
    node.settle(|journal| journal.head == Some(tip)).await.unwrap();
    node.end().await;
    assert_eq!(retractions(&db, 1).await, 0);
    agrees(&db, 1, &world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_makes_up_a_history_of_whole_blocks_is_outvoted() {
    let (db, leases) = place().await;
    for (chain_id, level) in [(1, Completeness::Bloom), (2, Completeness::Receipts)] {
        let mut world = World::new(chain_id, 1);
        world.extend(vec![vec![plan()]; 30]);
        let fork = world.chain.ancestor(world.chain.tip(), 3).unwrap();
        let made_up = branch(&mut world, fork, 25);
        let other = world.chain.twin();
        other.learn(&world.chain);
        other.switch_to(made_up);
        let forger = forger(&world.chain, &other, 20);
        // Of the others none gives the first ranges, or they might be faster each time.
        let others = [&world.chain, &world.chain.twin()].map(|node| {
            let (other, faults) = faulty(node);
            faults.next("eth_getLogs", 4, Fault::Fail(ErrorClass::StateUnavailable));
            other
        });
        let endpoints = std::iter::once(forger).chain(others).collect();
        let mut node = Follower::new(&db, &leases, chain_id, &world.chain, settings(1))
            .await
            .with_endpoints(endpoints)
            .with_completeness(Completeness::Receipts, level);
        node.start_ingest();
        let tip = world.visible_head();
        node.settle(|journal| journal.head == Some(tip)).await.unwrap();
        node.end().await;
        assert!(other.answered("eth_getLogs") > 0, "it was asked");
        agrees(&db, chain_id, &world).await;
    }
}

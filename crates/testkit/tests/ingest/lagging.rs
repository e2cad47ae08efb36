//! Nodes that are behind, and do not say so.

use alloy_transport::Transport as _;
use plimsoll_chain::{EndpointConfig, ErrorClass, Log, LogFilter, Rpc};
use plimsoll_testkit::model::LogsOfUnknown;

use crate::support::follower::{Follower, Settings};
use crate::support::world::{World, contracts};
use crate::{agrees, place, plan, settings};

/// A chain whose last block has logs, an address of its node, and those logs.
async fn behind_by_one() -> (World, Rpc, Vec<Log>) {
    let mut world = World::new(1, 4);
    world.extend(vec![vec![plan()]; 3]);
    let endpoint = EndpointConfig { max_retries: 0, ..EndpointConfig::new("http://model") };
    let rpc = Rpc::over(world.chain.clone().boxed(), &endpoint);
    let logs = rpc.logs_of_block(world.chain.tip(), &filter()).await.unwrap();
    assert!(!logs.is_empty());
    (world, rpc, logs)
}

fn filter() -> LogFilter {
    LogFilter::of_addresses(contracts(0).addresses())
}

#[tokio::test]
async fn no_logs_of_a_block_are_believed_only_if_the_block_was_there_before_they_were_looked_for() {
    let (world, rpc, logs) = behind_by_one().await;
    world.chain.set_logs_of_unknown(LogsOfUnknown::Empty);
    world.chain.lag(1);
    let unknown = rpc.logs_of_block(world.chain.tip(), &filter()).await.unwrap_err();
    assert_eq!(unknown.class(), ErrorClass::BlockUnknown, "{unknown}");
    for requests in 0..4 {
        world.chain.lag(1);
        world.chain.catch_up_after(requests);
        match rpc.logs_of_block(world.chain.tip(), &filter()).await {
            Ok(found) => assert_eq!(found, logs, "the block came after {requests} requests"),
            Err(error) => assert_eq!(error.class(), ErrorClass::BlockUnknown, "{error}"),
        }
    }
}

#[tokio::test]
async fn logs_of_a_range_are_believed_only_if_its_last_block_was_there_before_they_were_looked_for() {
    let (world, rpc, logs) = behind_by_one().await;
    let tip = world.visible_head();
    for requests in 0..4 {
        world.chain.lag(1);
        world.chain.catch_up_after(requests);
        // The block that the range must be on is the last one, or one that is there already: neither proves the logs by itself.
        let below = (2, world.chain.ancestor(tip.1, 2).unwrap());
        for on in [tip, below] {
            let range = rpc.range(3, 3, on, &filter()).await.unwrap();
            if let Some((found, end)) = range {
                assert_eq!((found, (end.number, end.hash)), (logs.clone(), tip), "after {requests} requests");
            }
        }
    }
    assert!(rpc.range(3, 3, tip, &filter()).await.unwrap().is_some());
    let elsewhere = (2, tip.1);
    assert!(rpc.range(3, 3, elsewhere, &filter()).await.unwrap().is_none(), "it is not on that block");
    assert!(rpc.header_on(3, elsewhere).await.unwrap().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_head_misses_nothing_where_requests_go_to_two_nodes_of_which_one_is_behind_and_says_nothing_of_it()
 {
    let (db, leases) = place().await;
    for chain_id in 1..=4 {
        let mut world = World::new(chain_id, 16);
        world.chain.set_logs_of_unknown(LogsOfUnknown::Empty);
        let node = Follower::new(&db, &leases, chain_id, &world.chain, settings(16)).await;
        let mut node = node.behind_two_nodes(&world.chain, 1);
        node.start_ingest();
        for _ in 0..12 {
            world.extend(vec![vec![plan()]]);
            let tip = world.visible_head();
            node.settle(|journal| journal.head == Some(tip)).await.unwrap();
        }
        node.end().await;
        agrees(&db, chain_id, &world).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backfill_misses_nothing_where_requests_go_to_two_nodes_of_which_one_is_far_behind() {
    let (db, leases) = place().await;
    for chain_id in 1..=8 {
        let mut world = World::new(chain_id, 1);
        world.extend(vec![vec![plan()]; 40]);
        let settings = Settings { start_block: 1, confirmations: 0, range_blocks: 3, ..settings(1) };
        let node = Follower::new(&db, &leases, chain_id, &world.chain, settings).await;
        let mut node = node.behind_two_nodes(&world.chain, 20);
        node.start_ingest();
        let tip = world.visible_head();
        node.settle(|journal| journal.head == Some(tip)).await.unwrap();
        node.end().await;
        agrees(&db, chain_id, &world).await;
    }
}

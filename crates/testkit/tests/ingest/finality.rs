//! Up to where the chain is final: by its own tag, by age.

use std::time::Duration;

use alloy_transport::Transport;
use plimsoll_chain::FinalityTag;
use plimsoll_ingest::Finality;

use crate::support::follower::Follower;
use crate::support::world::World;
use crate::{HANGS_AFTER, agrees, place, plan, settings};

/// The model's blocks are so far apart.
const BLOCK_SECONDS: u64 = 2;

/// Adds blocks, and then waits until the journal says that all up to this depth is final, and nothing above it.
async fn final_at_depth(node: &mut Follower, world: &mut World, depth: u64) {
    let end = tokio::time::Instant::now() + HANGS_AFTER;
    for block in 0.. {
        // A chain that pauses then: what it calls final is written down all the same.
        world.extend(vec![vec![plan()]; if block < 10 { 1 } else { 0 }]);
        let tip = world.visible_head();
        node.settle(|journal| journal.head == Some(tip)).await.unwrap();
        let found = node.standing().await.final_number;
        let deep = tip.0.saturating_sub(depth);
        assert!(found.is_none_or(|found| found <= deep), "block {found:?} is final with {} as head", tip.0);
        if deep > 0 && found == Some(deep) {
            return;
        }
        assert!(tokio::time::Instant::now() < end, "nothing becomes final: {:?}", node.standing().await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_chain_calls_final_is_final_and_nothing_else() {
    for (chain_id, tag, blocks) in [(1, FinalityTag::Finalized, 3), (2, FinalityTag::Safe, 40)] {
        let ((db, leases), mut world) = (place().await, World::new(chain_id, 6));
        world.extend(vec![vec![plan()]; blocks]);
        let mut node = Follower::new(&db, &leases, chain_id, &world.chain, settings(6))
            .await
            .with_finality(Finality::Tag(tag));
        node.start_ingest();
        final_at_depth(&mut node, &mut world, 6).await;
        // What is not final may go.
        world.fork(6, vec![vec![plan()]; 8], false);
        let tip = world.visible_head();
        node.settle(|journal| journal.head == Some(tip)).await.unwrap();
        node.end().await;
        agrees(&db, chain_id, &world).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_endpoint_alone_makes_nothing_final() {
    let ((db, leases), mut world) = (place().await, World::new(1, 6));
    world.extend(vec![vec![plan()]; 3]);
    let hasty = world.chain.twin();
    hasty.set_finality_depth(0);
    let second = world.chain.twin();
    let endpoints = [&hasty, &world.chain, &second].map(|node| node.clone().boxed()).to_vec();
    let mut node = Follower::new(&db, &leases, 1, &world.chain, settings(6))
        .await
        .with_finality(Finality::Tag(FinalityTag::Finalized))
        .with_endpoints(endpoints);
    node.start_ingest();
    let end = tokio::time::Instant::now() + HANGS_AFTER;
    for block in 0.. {
        world.extend(vec![vec![plan()]; if block < 40 { 1 } else { 0 }]);
        for twin in [&hasty, &second] {
            twin.learn(&world.chain);
            twin.switch_to(world.chain.tip());
        }
        let tip = world.visible_head();
        node.settle(|journal| journal.head == Some(tip)).await.unwrap();
        let found = node.standing().await.final_number;
        let deep = tip.0.saturating_sub(6);
        assert!(found.is_none_or(|found| found <= deep), "block {found:?} of {}", tip.0);
        if block > 40 && found == Some(deep) {
            break;
        }
        assert!(tokio::time::Instant::now() < end, "nothing becomes final: {found:?}");
    }
    node.end().await;
    agrees(&db, 1, &world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_old_enough_is_final() {
    for (chain_id, blocks) in [(1, 2), (2, 60)] {
        let ((db, leases), mut world) = (place().await, World::new(chain_id, 5));
        world.extend(vec![vec![plan()]; blocks]);
        let mut node = Follower::new(&db, &leases, chain_id, &world.chain, settings(5))
            .await
            .with_finality(Finality::Age(Duration::from_secs(5 * BLOCK_SECONDS)));
        node.start_ingest();
        let tip = world.visible_head();
        node.settle(|journal| journal.head == Some(tip)).await.unwrap();
        if blocks > 5 {
            assert_eq!(node.standing().await.final_number, Some(tip.0 - 5), "by the backfill");
        }
        final_at_depth(&mut node, &mut world, 5).await;
        world.fork(5, vec![vec![plan()]; 7], false);
        let tip = world.visible_head();
        node.settle(|journal| journal.head == Some(tip)).await.unwrap();
        node.end().await;
        agrees(&db, chain_id, &world).await;
    }
}

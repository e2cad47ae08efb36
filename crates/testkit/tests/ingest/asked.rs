//! How a backfill that was asked for is worked off: so many ranges at a time, at the level that was asked for, each range the past of the one above it.

use alloy_transport::Transport;
use plimsoll_chain::transport::{Fault, Faulty};
use plimsoll_journal::backfills::{self, Order};
use plimsoll_types::{BackfillState, Completeness};

use crate::backfills::{LATE, ask, deceived, hiding, order, until, until_it_ends};
use crate::late::{narrow_from, until_covered, wide};
use crate::support::endpoints::forger;
use crate::support::follower::Follower;
use crate::support::world::address_of;
use crate::{HANGS_AFTER, integers, place, plan};

#[tokio::test(flavor = "multi_thread")]
async fn never_are_more_ranges_in_flight_than_were_asked_for() {
    for ranges in [1, 3, 4] {
        let (db, leases) = place().await;
        let (mut world, node, _) = deceived(&db, &leases).await;
        let asked = Order { parallel_ranges: Some(ranges), ..order(1, &world) };
        ask(&db, &asked).await;
        // None is answered until all are let go; the head asks by the block's hash, and for no logs.
        let (held, faults) = Faulty::new(world.chain.clone().boxed());
        faults.next("eth_getLogs", u64::MAX, Fault::Stall);
        let mut node = Follower::new(&db, &leases, 1, &world.chain, node.settings.clone())
            .await
            .with_endpoints(vec![held.boxed()]);
        node.start_ingest();
        for round in 1..=2 {
            let sent = faults.wait_for_requests("eth_getLogs", round * u64::from(ranges));
            tokio::time::timeout(HANGS_AFTER, sent).await.expect("so many are sent");
            // Whatever else would be sent has been sent by the time that the head has moved.
            world.extend(vec![vec![plan()]]);
            let tip = world.visible_head();
            node.settle(|journal| journal.head == Some(tip)).await.unwrap();
            assert_eq!(faults.requests("eth_getLogs"), round * u64::from(ranges), "at a time: {ranges}");
            faults.release();
        }
        faults.clear();
        faults.release();
        let ended = until_it_ends(&db, &asked).await;
        assert_eq!((ended.state, ended.next), (BackfillState::Done, None), "{ended:?}");
        node.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_proven_at_the_level_that_was_asked_for_where_that_shows_more() {
    let (db, leases) = place().await;
    let (world, honest, hidden) = deceived(&db, &leases).await;
    let lying = async |head, backfill| {
        let settings = honest.settings.clone();
        let node = Follower::new(&db, &leases, 1, &world.chain, settings).await;
        node.with_endpoints(vec![hiding(&world)]).with_completeness(head, backfill)
    };
    let (trusted, receipts) = (Completeness::Trusted, Completeness::Receipts);
    let mut node = lying(trusted, trusted).await;
    node.start_ingest();
    for (number, level, state) in [
        (1, None, BackfillState::Done),
        (2, Some(trusted), BackfillState::Done),
        (3, Some(receipts), BackfillState::Failed),
    ] {
        let asked = Order { level, ..order(number, &world) };
        ask(&db, &asked).await;
        let ended = until_it_ends(&db, &asked).await;
        assert_eq!((ended.state, ended.found), (state, 0), "{ended:?}");
        let is_named = ended.trouble.is_some_and(|why| why.contains("model-0 contradicts itself"));
        assert_eq!(is_named, state == BackfillState::Failed);
    }
    node.end().await;

    // It never shows less than the chain's backfills do; and from an honest one it has what was hidden.
    let mut node = lying(trusted, receipts).await;
    node.start_ingest();
    let asked = Order { level: Some(Completeness::Bloom), ..order(4, &world) };
    ask(&db, &asked).await;
    assert_eq!(until_it_ends(&db, &asked).await.state, BackfillState::Failed);
    node.end().await;
    let mut node = honest;
    node.start_ingest();
    let asked = Order { level: Some(receipts), ..order(5, &world) };
    ask(&db, &asked).await;
    let ended = until_it_ends(&db, &asked).await;
    assert_eq!((ended.state, ended.found), (BackfillState::Done, hidden - 1), "{ended:?}");
    node.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_past_that_does_not_lead_to_the_blocks_above_it_is_not_taken() {
    // The ranges have 2, 3 and 4 blocks. Made up is the second one, which the first one leads to; or all of them, below the journal's first block, where it has
    // the hashes of those that had something.
    for (first, below, told) in [(9, 7, "block 7 names the parent "), (19, 19, "block 17 is ")] {
        let (db, leases) = place().await;
        let mut world = narrow_from(first, &db, &leases).await;
        let mut node = Follower::new(&db, &leases, 1, &world.chain, wide()).await;
        node.start_ingest();
        // What may still be taken back is not looked at again before it is final.
        world.extend(vec![vec![plan()]; 4]);
        until_covered(&node).await;
        node.end().await;
        let taken = integers(&db, LATE, 1).await;
        assert!(taken > 0);
        // Another past for them, each block linked to the next.
        let fork = world.chain.ancestor(world.chain.tip(), 2).unwrap();
        let made_up = (0..30).fold(fork, |parent, _| world.add(parent, vec![plan()]));
        let other = world.chain.twin();
        other.learn(&world.chain);
        other.switch_to(made_up);
        let contracts = Some(["PositionView", "VaultRouter"].map(address_of).into());
        let asked = Order { from: 0, to: first - 1, contracts, parallel_ranges: Some(1), ..order(1, &world) };
        ask(&db, &asked).await;
        let liar = forger(&world.chain, &other, below);
        let node = Follower::new(&db, &leases, 1, &world.chain, wide()).await;
        let mut node = node.with_endpoints(vec![liar]);
        node.start_ingest();
        let seen = until(&db, &asked, |seen| seen.trouble.is_some()).await;
        assert!(seen.trouble.as_deref().is_some_and(|why| why.contains(told)), "{seen:?}");
        node.end().await;
        let seen = backfills::find(&db, asked.request_id).await.unwrap();
        assert_eq!((seen.found, seen.next), (0, Some(below - 1)), "{seen:?}");
        assert_eq!(integers(&db, LATE, 1).await, taken, "nothing of it was taken");
    }
}

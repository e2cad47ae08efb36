//! How a backfill that was asked for is worked off: so many ranges at a time, at the level that was asked for, each range the past of the one above it.

use alloy_transport::Transport;
use plimsoll_chain::transport::{Fault, Faulty};
use plimsoll_journal::backfills::{self, Order};
use plimsoll_types::{BackfillState, Completeness};

use crate::backfills::{LATE, ask, deceived, hiding, order, until, until_it_ends};
use crate::late::{FIRST, narrow, until_covered, wide};
use crate::support::endpoints::forger;
use crate::support::follower::Follower;
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
            world.extend(vec![vec![plan()]; 2]);
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
    let (db, leases) = place().await;
    let mut world = narrow(&db, &leases).await;
    let mut node = Follower::new(&db, &leases, 1, &world.chain, wide()).await;
    node.start_ingest();
    until_covered(&node).await;
    node.end().await;
    let taken = integers(&db, LATE, 1).await;
    // Blocks that the journal has no hash of, and another past for them, each block linked to the next.
    let fork = world.chain.ancestor(world.chain.tip(), 2).unwrap();
    let made_up = (0..30).fold(fork, |parent, _| world.add(parent, vec![plan()]));
    let other = world.chain.twin();
    other.learn(&world.chain);
    other.switch_to(made_up);
    // The ranges have 2, 3 and 4 blocks: made up is the second one, below the first; or all, below the journal's own block.
    for (number, below, told) in [(1, FIRST - 2, "block 7 names the parent "), (2, FIRST, "block 8 is ")] {
        let asked = Order { from: 0, to: FIRST - 1, parallel_ranges: Some(1), ..order(number, &world) };
        ask(&db, &asked).await;
        let liar = forger(&world.chain, &other, below);
        let mut node = Follower::new(&db, &leases, 1, &world.chain, wide()).await.with_endpoints(vec![liar]);
        node.start_ingest();
        let seen = until(&db, &asked, |seen| seen.trouble.is_some()).await;
        assert!(seen.trouble.as_deref().is_some_and(|why| why.contains(told)), "{seen:?}");
        node.end().await;
        let seen = backfills::find(&db, asked.request_id).await.unwrap();
        assert_eq!((seen.found, seen.next), (0, Some(below - 1)), "{seen:?}");
        let mut tx = db.begin_worker().await.unwrap();
        backfills::cancel(&mut tx, asked.request_id).await.unwrap();
        tx.commit().await.unwrap();
    }
    assert_eq!(integers(&db, LATE, 1).await, taken, "nothing of it was taken");
}

//! Backfills that were asked for: what an endpoint once hid is found, whoever dies meanwhile; and what cannot be had is said.

use std::collections::BTreeSet;
use std::sync::Arc;

use alloy_transport::{BoxTransport, Transport};
use plimsoll_chain::transport::{Fault, Faulty};
use plimsoll_ingest::verify::{VerifyOptions, verify};
use plimsoll_journal::backfills::{self, Backfill, Order};
use plimsoll_journal::{StepOptions, step};
use plimsoll_store::{Db, Leases};
use plimsoll_types::{BackfillState, Completeness};
use plimsoll_views::ViewFold;
use plimsoll_views::replay::replay;
use serde_json::Value;
use uuid::Uuid;

use crate::support::follower::{Follower, Settings};
use crate::support::laws;
use crate::support::world::{Plan, World, address_of, contracts, user};
use crate::{HANGS_AFTER, integers, place, plan, settings};

pub(crate) const LATE: &str =
    "SELECT count(*) FROM journal WHERE chain_id = $1 AND kind IN ('late_append', 'late_included')";
const LIVE: &str = "SELECT count(*) FROM chain_live WHERE chain_id = $1";

/// A node that hides the first log of every block it tells of.
pub(crate) fn hiding(world: &World) -> BoxTransport {
    let (liar, faults) = Faulty::new(world.chain.clone().boxed());
    let hide = |mut answer: Value| {
        if let Some(logs) =
            answer.as_array_mut().filter(|all| all.iter().all(|one| one.get("logIndex").is_some()))
        {
            logs.retain(|log| log["logIndex"] != "0x0");
        }
        answer
    };
    faults.next("eth_getLogs", u64::MAX, Fault::Rewrite(Arc::new(hide)));
    liar.boxed()
}

/// A chain of 24 blocks, all but the last final; a journal that was followed from a node that hides, at a level that does not show it; and a node
/// that would follow it now, with an honest endpoint.
pub(crate) async fn deceived(db: &Db, leases: &Leases) -> (World, Follower, u64) {
    let mut world = World::new(1, 1);
    world.extend(vec![vec![plan(), Plan { sender: 2, ..plan() }]; 24]);
    let settings = Settings { watched: vec![user(0)], ..settings(1) };
    let mut node = Follower::new(db, leases, 1, &world.chain, settings.clone())
        .await
        .with_completeness(Completeness::Trusted, Completeness::Trusted)
        .with_endpoints(vec![hiding(&world)]);
    node.start_ingest();
    let tip = world.visible_head();
    node.settle(|journal| journal.head == Some(tip)).await.unwrap();
    node.end().await;
    let truth = world.true_events(0).len() as u64;
    let hidden = truth - integers(db, LIVE, 1).await.unsigned_abs();
    assert!(hidden >= 20, "{hidden} of {truth}");
    let honest = Follower::new(db, leases, 1, &world.chain, settings).await;
    (world, honest, hidden)
}

pub(crate) fn order(number: u128, world: &World) -> Order {
    Order {
        request_id: Uuid::from_u128(number),
        chain_id: 1,
        from: 0,
        to: world.visible_head().0 - 1,
        contracts: None,
        max_events: None,
        parallel_ranges: None,
        level: None,
    }
}

pub(crate) async fn ask(db: &Db, order: &Order) {
    let mut tx = db.begin_worker().await.unwrap();
    assert!(backfills::request(&mut tx, order, "cli:ada", None).await.unwrap().1);
    tx.commit().await.unwrap();
}

async fn resume(db: &Db, order: &Order) {
    let mut tx = db.begin_worker().await.unwrap();
    backfills::resume(&mut tx, order.request_id).await.unwrap();
    tx.commit().await.unwrap();
}

/// Until the request is as it should be: the ingest tells nobody when one ends, so it is looked at.
pub(crate) async fn until(db: &Db, order: &Order, is_there: impl Fn(&Backfill) -> bool) -> Backfill {
    let seen = async {
        loop {
            let seen = backfills::find(db, order.request_id).await.unwrap();
            if is_there(&seen) {
                break seen;
            }
        }
    };
    let seen = tokio::time::timeout(HANGS_AFTER, seen).await;
    match seen {
        Ok(seen) => seen,
        Err(_) => panic!("it hangs: {:?}", backfills::find(db, order.request_id).await.unwrap()),
    }
}

pub(crate) async fn until_it_ends(db: &Db, order: &Order) -> Backfill {
    until(db, order, |seen| !seen.state.is_open()).await
}

/// The blocks at or below the last final one have all logs of the chain, and a replay gives the mirror that is there.
async fn is_whole(node: &Follower) {
    let contracts = contracts(node.settings.start_block);
    let whole = VerifyOptions { from: None, to: None, level: Completeness::Receipts };
    let report = verify(&node.db, &node.pool(), &contracts, &node.config(), whole, |_| ()).await.unwrap();
    assert_eq!((report.different, report.unproven_blocks()), (0, 0), "{report}");
    assert!(report.uncovered.is_empty(), "{report}");
    let mut fold = ViewFold::new(1, &contracts);
    let options = StepOptions { max_records: 7, up_to_seq: None, tail: None, lease: None };
    while step(&mut fold, &node.db, 1, options).await.unwrap().records > 0 {}
    let report = replay(&node.db, 1, &contracts, |_| {}).await.unwrap();
    assert!(report.equal, "{report:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_endpoint_hid_is_found_and_comes_late_and_a_second_time_there_is_nothing() {
    let (db, leases) = place().await;
    let (world, mut node, hidden) = deceived(&db, &leases).await;
    // The last block is not final, and was taken in without its first log.
    let above = world.true_events(0).iter().filter(|it| it.block_number == world.visible_head().0).count();
    assert!(above > 0);
    let asked = Order { parallel_ranges: Some(3), ..order(1, &world) };
    ask(&db, &asked).await;
    node.start_ingest();
    let ended = until_it_ends(&db, &asked).await;
    assert_eq!((ended.state, ended.next), (BackfillState::Done, None), "{ended:?}");
    assert_eq!((ended.found, ended.blocks_done), (hidden - 1, world.visible_head().0), "{ended:?}");
    assert_eq!(integers(&db, LATE, 1).await.unsigned_abs(), hidden - 1);

    let again = order(2, &world);
    ask(&db, &again).await;
    let ended = until_it_ends(&db, &again).await;
    assert_eq!((ended.state, ended.found), (BackfillState::Done, 0));
    node.end().await;
    assert_eq!(integers(&db, LATE, 1).await.unsigned_abs(), hidden - 1);
    laws::check(db.worker(), 1).await.unwrap();
    is_whole(&node).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_dies_meanwhile_it_is_found_once() {
    let (db, leases) = place().await;
    let (world, mut node, hidden) = deceived(&db, &leases).await;
    let asked = order(1, &world);
    ask(&db, &asked).await;
    // Each time it gets a little further, and is cut off in the midst of whatever it does.
    let mut polls = 10;
    while backfills::find(&db, asked.request_id).await.unwrap().state.is_open() {
        node.start_ingest();
        node.kill_ingest_after(polls);
        node.ingest_killed().await.unwrap();
        polls = polls.saturating_add(7);
    }
    let ended = backfills::find(&db, asked.request_id).await.unwrap();
    assert_eq!((ended.state, ended.found), (BackfillState::Done, hidden - 1), "{ended:?}");
    assert_eq!(integers(&db, LATE, 1).await.unsigned_abs(), hidden - 1);
    laws::check(db.worker(), 1).await.unwrap();
    is_whole(&node).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_stops_at_its_limit_and_finds_what_it_was_asked_for_alone() {
    let (db, leases) = place().await;
    let (world, mut node, hidden) = deceived(&db, &leases).await;
    let tip = world.visible_head().0;
    // Each block's first log is of the same contract.
    let first = world.true_events(0).into_iter().find(|it| it.log_index == 0).unwrap().address;
    let other = ["PositionView", "VaultRouter"].map(address_of).into_iter().find(|it| *it != first).unwrap();
    let others = Order { contracts: Some(BTreeSet::from([other])), ..order(1, &world) };
    ask(&db, &others).await;
    node.start_ingest();
    let ended = until_it_ends(&db, &others).await;
    assert_eq!((ended.state, ended.found), (BackfillState::Done, 0), "{ended:?}");

    let asked = Order { contracts: Some(BTreeSet::from([first])), max_events: Some(9), ..order(2, &world) };
    ask(&db, &asked).await;
    let ended = until_it_ends(&db, &asked).await;
    // One a block, the newest first.
    assert_eq!(
        (ended.state, ended.found, ended.next),
        (BackfillState::Limited, 9, Some(tip - 10)),
        "{ended:?}"
    );
    resume(&db, &asked).await;
    let ended = until_it_ends(&db, &asked).await;
    assert_eq!(
        (ended.state, ended.found, ended.next),
        (BackfillState::Limited, 18, Some(tip - 19)),
        "{ended:?}"
    );
    resume(&db, &asked).await;
    let ended = until_it_ends(&db, &asked).await;
    assert_eq!((ended.state, ended.found), (BackfillState::Done, hidden - 1), "{ended:?}");
    node.end().await;
    is_whole(&node).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_that_do_not_answer_are_waited_for() {
    let (db, leases) = place().await;
    let (world, node, hidden) = deceived(&db, &leases).await;
    let asked = order(1, &world);
    ask(&db, &asked).await;
    // The head goes on, and ranges are refused.
    let (mute, faults) = Faulty::new(world.chain.clone().boxed());
    faults.next("eth_getLogs", u64::MAX, Fault::Fail(plimsoll_chain::ErrorClass::Transient));
    let mut silent = Follower::new(&db, &leases, 1, &world.chain, node.settings.clone())
        .await
        .with_endpoints(vec![mute.boxed()]);
    silent.start_ingest();
    let seen = until(&db, &asked, |seen| seen.trouble.is_some()).await;
    assert_eq!((seen.state, seen.found), (BackfillState::Running, 0), "{seen:?}");
    assert!(seen.trouble.as_deref().is_some_and(|why| why.contains("blocks ")), "{seen:?}");
    silent.end().await;

    // Its word goes when it comes on.
    let mut honest = node;
    honest.start_ingest();
    let ended = until_it_ends(&db, &asked).await;
    assert_eq!((ended.state, ended.found, ended.trouble), (BackfillState::Done, hidden - 1, None));
    honest.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_can_prove_fails_with_the_reason_and_goes_on_when_somebody_can() {
    let (db, leases) = place().await;
    let (world, mut honest, hidden) = deceived(&db, &leases).await;
    let asked = order(1, &world);
    ask(&db, &asked).await;
    // It hides more than it can: the blooms have what it denies.
    let (liar, faults) = Faulty::new(world.chain.clone().boxed());
    let hide = |answer: Value| match answer.as_array() {
        Some(all) if all.iter().all(|one| one.get("logIndex").is_some()) => Value::Array(Vec::new()),
        _ => answer,
    };
    faults.next("eth_getLogs", u64::MAX, Fault::Rewrite(Arc::new(hide)));
    let mut lying = Follower::new(&db, &leases, 1, &world.chain, honest.settings.clone())
        .await
        .with_endpoints(vec![liar.boxed()]);
    lying.start_ingest();
    let ended = until_it_ends(&db, &asked).await;
    assert_eq!((ended.state, ended.found), (BackfillState::Failed, 0), "{ended:?}");
    assert!(
        ended.trouble.as_deref().is_some_and(|why| why.contains("model-0 contradicts itself")),
        "{ended:?}"
    );
    lying.end().await;
    assert_eq!(integers(&db, LATE, 1).await, 0);

    resume(&db, &asked).await;
    honest.start_ingest();
    let ended = until_it_ends(&db, &asked).await;
    assert_eq!((ended.state, ended.found, ended.trouble), (BackfillState::Done, hidden - 1, None));
    honest.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_contract_that_is_not_followed_any_more_fails_its_backfill() {
    let (db, leases) = place().await;
    let (world, mut node, _) = deceived(&db, &leases).await;
    let gone = BTreeSet::from([user(9)]);
    let asked = Order { contracts: Some(gone), ..order(1, &world) };
    ask(&db, &asked).await;
    node.start_ingest();
    let ended = until_it_ends(&db, &asked).await;
    assert_eq!(ended.state, BackfillState::Failed);
    assert!(
        ended.trouble.as_deref().is_some_and(|why| why.contains("is not followed any more")),
        "{ended:?}"
    );
    node.end().await;
    assert_eq!(integers(&db, LATE, 1).await, 0);
}

//! What is wanted since later than it begins comes in late, whatever dies meanwhile: then the journal has all of it, and the views are those of whoever
//! followed from the first block.

use std::time::Duration;

use plimsoll_ingest::verify::{VerifyOptions, verify};
use plimsoll_journal::{Uncovered, certificates, uncovered, watch, watched};
use plimsoll_store::{Db, Leases};
use plimsoll_testkit::projection::Projection;
use plimsoll_types::Completeness;

use crate::support::endpoints::forger;
use crate::support::follower::{Follower, Settings};
use crate::support::laws;
use crate::support::world::{Plan, World, contracts, user};
use crate::{HANGS_AFTER, agrees, integers, place, plan, settings};

/// Of the contracts nothing was wanted below this block, of the senders nothing at all.
const FIRST: u64 = 9;
const FINALITY: u64 = 3;

pub(crate) fn wide() -> Settings {
    Settings { watched: vec![user(0), user(2)], ..settings(FINALITY) }
}

/// A chain, and a node that has followed the later half of it.
async fn narrow(db: &Db, leases: &Leases) -> World {
    narrow_from(FIRST, db, leases).await
}

/// The same from this block on.
pub(crate) async fn narrow_from(first: u64, db: &Db, leases: &Leases) -> World {
    let mut world = World::new(1, 1);
    for _ in 0..10 {
        world.extend(vec![vec![plan(), Plan { sender: 2, ..plan() }], vec![plan()]]);
    }
    let settings = Settings { start_block: first, watched: Vec::new(), ..wide() };
    let mut node = Follower::new(db, leases, 1, &world.chain, settings).await;
    node.start_ingest();
    node.start_fold();
    let tip = world.visible_head();
    node.settle(|journal| journal.head == Some(tip)).await.unwrap();
    node.end().await;
    world
}

/// What of all that is wanted nobody was asked about.
async fn gaps(node: &Follower) -> Vec<Uncovered> {
    let Some((head, _)) = node.standing().await.head else { return Vec::new() };
    let filter = plimsoll_ingest::filter(&node.config(), &contracts(0));
    uncovered(&filter, &certificates(&node.db, 1).await.unwrap(), head)
}

pub(crate) async fn until_covered(node: &Follower) {
    let mut looks = tokio::time::interval(Duration::from_millis(20));
    let covered = async {
        while !gaps(node).await.is_empty() {
            looks.tick().await;
        }
    };
    tokio::time::timeout(HANGS_AFTER, covered).await.expect("what is uncovered is brought in");
}

async fn projection(db: &Db) -> Projection {
    Projection::read(&mut db.worker().acquire().await.unwrap(), 1).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wanted_from_an_earlier_block_and_who_is_watched_later_end_as_if_from_the_start() {
    let (db, leases) = place().await;
    let mut world = narrow(&db, &leases).await;
    let mut node = Follower::new(&db, &leases, 1, &world.chain, wide()).await;
    assert!(!gaps(&node).await.is_empty());
    // It dies again and again while it brings that in.
    for polls in [1, 4, 9, 16, 30, 60] {
        node.start_ingest();
        node.kill_ingest_after(polls);
        node.ingest_killed().await.unwrap();
    }
    node.start_ingest();
    node.start_fold();
    // What was above finality then comes once it is final.
    world.extend(vec![vec![plan()]; 1 + usize::try_from(FINALITY).unwrap()]);
    let tip = world.visible_head();
    node.settle(|journal| journal.head == Some(tip)).await.unwrap();
    until_covered(&node).await;
    node.settle(|_| true).await.unwrap();
    agrees(&db, 1, &world).await;
    assert!(
        integers(&db, "SELECT count(*) FROM journal WHERE chain_id = $1 AND kind = 'late_append'", 1).await
            > 0
    );

    let (pool, contracts, config) = (node.pool(), contracts(0), node.config());
    let whole = VerifyOptions { from: None, to: None, level: Completeness::Receipts };
    let report = verify(&db, &pool, &contracts, &config, whole, |_| ()).await.unwrap();
    assert_eq!((report.different, report.unproven_blocks(), report.uncovered.len()), (0, 0, 0), "{report}");
    node.end().await;

    let (other, leases) = place().await;
    let mut from_the_start = Follower::new(&other, &leases, 1, &world.chain, wide()).await;
    from_the_start.start_ingest();
    from_the_start.start_fold();
    from_the_start.settle(|journal| journal.head == Some(tip)).await.unwrap();
    from_the_start.end().await;
    let differences = projection(&db).await.differences(&projection(&other).await);
    assert!(differences.is_empty(), "{differences:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_came_late_has_its_own_certificates_from_the_newest_block_down() {
    let (db, leases) = place().await;
    let world = narrow(&db, &leases).await;
    let mut node = Follower::new(&db, &leases, 1, &world.chain, wide()).await;
    node.start_ingest();
    let last_final = world.visible_head().0 - FINALITY;
    let mut looks = tokio::time::interval(Duration::from_millis(20));
    let settled = async {
        while gaps(&node).await.iter().any(|gap| gap.from <= last_final) {
            looks.tick().await;
        }
    };
    tokio::time::timeout(HANGS_AFTER, settled).await.expect("what is final is brought in");
    // What may still be taken back waits.
    assert!(gaps(&node).await.iter().all(|gap| gap.is_sender && gap.from > last_final));
    node.end().await;
    let blocks: Vec<i64> =
        sqlx::query_scalar("SELECT block_number FROM journal WHERE kind = 'late_append' ORDER BY seq")
            .fetch_all(db.worker())
            .await
            .unwrap();
    assert!(!blocks.is_empty() && blocks.is_sorted_by(|a, b| a >= b), "{blocks:?}");
    let mut late = certificates(&db, 1).await.unwrap();
    late.retain(|it| it.source == "late");
    assert!(late.iter().all(|it| it.blocks_root.is_some() && it.level == Completeness::Bloom), "{late:#?}");
    let covered: u64 =
        late.iter().filter(|it| !it.filter.contracts.is_empty()).map(|it| it.to - it.from + 1).sum();
    assert_eq!(covered, FIRST, "each block once: {late:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sender_that_is_added_while_the_chain_is_followed_is_acknowledged_then_relied_on_and_looked_back_for()
 {
    let (db, leases) = place().await;
    let mut world = narrow(&db, &leases).await;
    let from = world.visible_head().0 - 6;
    let mut node =
        Follower::new(&db, &leases, 1, &world.chain, Settings { watched: vec![user(0)], ..wide() }).await;
    node.start_ingest();
    let acknowledged = async || {
        let mut conn = db.worker().acquire().await.unwrap();
        watched(&mut conn, 1).await.unwrap().first().and_then(|it| it.acknowledged)
    };
    {
        let mut conn = db.worker().acquire().await.unwrap();
        let added = watch(&mut conn, 1, user(2), Some(from), "the test").await.unwrap();
        assert_eq!((added.address, added.from, added.acknowledged), (user(2), from, None));
        // It is the same one however often it is asked for, from the earlier block.
        assert_eq!(watch(&mut conn, 1, user(2), None, "another").await.unwrap().from, from);
    }
    let mut looks = tokio::time::interval(Duration::from_millis(20));
    let acknowledging = async {
        while acknowledged().await.is_none() {
            looks.tick().await;
        }
    };
    tokio::time::timeout(HANGS_AFTER, acknowledging).await.expect("the watch is acknowledged");
    let since = acknowledged().await.unwrap();
    assert_eq!(since, world.visible_head().0 + 1);

    // From then on nothing of it is missing at the head.
    let sent = || Plan { sender: 2, ..plan() };
    world.extend(vec![vec![sent()], vec![sent(), plan()]]);
    let tip = world.visible_head();
    node.settle(|journal| journal.head == Some(tip)).await.unwrap();
    let at_head = "SELECT count(*) FROM journal WHERE chain_id = $1 AND kind = 'included' AND block_number >=
        (SELECT watched_from FROM watched_senders)";
    assert_eq!(integers(&db, at_head, 1).await, 3, "two of the added one, one of the other");
    // Before it is looked back for it, once that is final.
    world.extend(vec![vec![plan()]; usize::try_from(FINALITY).unwrap() + 1]);
    let tip = world.visible_head();
    node.settle(|journal| journal.head == Some(tip)).await.unwrap();
    let expected = world.true_inclusions(&[user(2)], from).len();
    let mut looks = tokio::time::interval(Duration::from_millis(20));
    let found = "SELECT count(*) FROM chain_tx_meta WHERE chain_id = $1 AND sender = '0x1212121212121212121212121212121212121212'";
    let complete = async {
        while usize::try_from(integers(&db, found, 1).await).unwrap() < expected {
            looks.tick().await;
        }
    };
    tokio::time::timeout(HANGS_AFTER, complete).await.expect("it is looked back for");
    assert_eq!(
        usize::try_from(integers(&db, found, 1).await).unwrap(),
        expected,
        "none from before it is wanted"
    );
    node.end().await;
    laws::check(db.worker(), 1).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_past_that_is_not_the_journals_is_not_taken_and_the_head_goes_on() {
    let (db, leases) = place().await;
    let mut world = narrow(&db, &leases).await;
    // What it tells of the blocks below the first one of the journal is made up, each linked to the next.
    let fork = world.chain.ancestor(world.chain.tip(), 3).unwrap();
    let made_up = (0..20).fold(fork, |parent, _| world.add(parent, vec![plan()]));
    let other = world.chain.twin();
    other.learn(&world.chain);
    other.switch_to(made_up);
    let liar = forger(&world.chain, &other, FIRST);
    let mut node = Follower::new(&db, &leases, 1, &world.chain, wide()).await.with_endpoints(vec![liar]);
    node.start_ingest();
    node.start_fold();
    world.extend(vec![vec![plan()]; 6]);
    let tip = world.visible_head();
    node.settle(|journal| journal.head == Some(tip)).await.unwrap();
    let asked = async {
        while other.answered("eth_getLogs") < 3 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(HANGS_AFTER, asked).await.expect("it is asked for the past");
    world.extend(vec![vec![plan()]; 2]);
    let tip = world.visible_head();
    node.settle(|journal| journal.head == Some(tip)).await.unwrap();
    node.end().await;
    assert!(gaps(&node).await.iter().any(|gap| !gap.is_sender), "what was made up covers nothing");
    let foreign = "SELECT count(*) FROM journal WHERE chain_id = $1 AND kind = 'late_append'";
    assert_eq!(integers(&db, foreign, 1).await, 0);
}

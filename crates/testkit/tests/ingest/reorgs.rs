//! Branches: which are believed, and when.

use plimsoll_store::Db;

use crate::support::follower::Follower;
use crate::support::world::World;
use crate::{HANGS_AFTER, agrees, integers, place, plan, settings};

pub(crate) async fn retractions(db: &Db, chain_id: u64) -> i64 {
    integers(db, "SELECT count(*) FROM journal WHERE chain_id = $1 AND kind = 'retract'", chain_id).await
}

async fn visit_is_over(world: &World) {
    let over = async {
        while world.chain.is_visiting() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(HANGS_AFTER, over).await.expect("the ingest looks at its chain no more");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lower_head_on_another_branch_is_not_believed_before_it_stays() {
    let (db, leases) = place().await;
    let mut world = World::new(1, 16);
    let mut node = Follower::new(&db, &leases, 1, &world.chain, settings(16)).await;
    node.start_ingest();
    world.extend(vec![vec![plan()]; 6]);
    let tip = world.visible_head();
    node.settle(|journal| journal.head == Some(tip)).await.unwrap();

    let fork = world.chain.ancestor(tip.1, 2).unwrap();
    let other = (0..2).fold(fork, |parent, _| world.add(parent, vec![plan()]));
    world.chain.visit(other, 2);
    visit_is_over(&world).await;
    world.extend(vec![vec![plan()]]);
    let tip = world.visible_head();
    node.settle(|journal| journal.head == Some(tip)).await.unwrap();
    assert_eq!(retractions(&db, 1).await, 0);
    agrees(&db, 1, &world).await;

    // It stays.
    world.chain.switch_to(other);
    node.settle(|journal| journal.head == Some((4, other))).await.unwrap();
    node.end().await;
    assert!(retractions(&db, 1).await > 0);
    agrees(&db, 1, &world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_branch_past_finality_that_was_shown_for_a_moment_halts_nothing() {
    let (db, leases) = place().await;
    // Shown as a higher head, at the same height, and as a lower one that is still above the final block.
    for (chain_id, blocks) in [(1, 12), (2, 9), (3, 7)] {
        let mut world = World::new(chain_id, 3);
        let genesis = world.chain.tip();
        let mut node = Follower::new(&db, &leases, chain_id, &world.chain, settings(3)).await;
        node.start_ingest();
        world.extend(vec![vec![plan()]; 9]);
        let tip = world.visible_head();
        node.settle(|journal| journal.head == Some(tip)).await.unwrap();

        let other = (0..blocks).fold(genesis, |parent, _| world.add(parent, vec![plan()]));
        world.chain.visit(other, 2);
        visit_is_over(&world).await;
        world.extend(vec![vec![plan()]]);
        let tip = world.visible_head();
        node.settle(|journal| journal.head == Some(tip)).await.unwrap();
        node.end().await;
        let halts =
            "SELECT count(*) FROM chains WHERE chain_id = $1 AND (state = 'halted' OR halt IS NOT NULL)";
        assert_eq!(integers(&db, halts, chain_id).await, 0);
        assert_eq!(retractions(&db, chain_id).await, 0);
        agrees(&db, chain_id, &world).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chain_that_goes_back_past_finality_and_stays_lower_halts_with_the_journal_as_it_was() {
    let ((db, leases), mut world) = (place().await, World::new(1, 3));
    let genesis = world.chain.tip();
    let mut node = Follower::new(&db, &leases, 1, &world.chain, settings(3)).await;
    node.start_ingest();
    world.extend(vec![Vec::new(); 9]);
    let tip = world.visible_head();
    node.settle(|journal| journal.head == Some(tip)).await.unwrap();
    let journal = "SELECT count(*) FROM journal WHERE chain_id = $1";
    let before = integers(&db, journal, 1).await;

    // 9 blocks, final up to 6: to a branch of 8 that leaves at the genesis block.
    let other = (0..8).fold(genesis, |parent, _| world.add(parent, Vec::new()));
    world.chain.switch_to(other);
    let halted = async {
        let halt = "SELECT halt->>'endpoint_head_hash' FROM chains WHERE chain_id = 1 AND state = 'halted'";
        loop {
            let found: Option<String> = sqlx::query_scalar(halt).fetch_optional(db.worker()).await.unwrap();
            if let Some(found) = found {
                return found;
            }
        }
    };
    let found = tokio::time::timeout(HANGS_AFTER, halted).await;
    assert_eq!(found.expect("the chain halts"), other.to_string());
    assert_eq!(integers(&db, journal, 1).await, before);
    node.end().await;
}

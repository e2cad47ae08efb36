//! The end of a process whose authority is gone.

use plimsoll_store::Db;
use sqlx::Row as _;

use crate::support::follower::Follower;
use crate::support::world::World;
use crate::{HANGS_AFTER, agrees, integers, place, plan, settings};

/// Gives the chain's leases to another process, for long.
async fn take_leases(db: &Db, chain_id: u64) {
    let taken = "UPDATE leases SET fencing_token = fencing_token + 1, holder = 'another', expires_at = now() + interval '1 hour'
                 WHERE name LIKE '%:' || $1";
    let result = sqlx::query(taken).bind(chain_id.to_string()).execute(db.worker()).await.unwrap();
    assert_eq!(result.rows_affected(), 2, "the ingest's and the fold's");
}

/// Each lease's name, token, holder and end.
async fn leases_of(db: &Db, chain_id: u64) -> Vec<String> {
    let rows = sqlx::query(
        "SELECT concat_ws(' ', name, fencing_token, holder, expires_at) AS lease FROM leases WHERE name LIKE '%:' || $1 ORDER BY name",
    );
    let rows = rows.bind(chain_id.to_string()).fetch_all(db.worker()).await.unwrap();
    rows.iter().map(|row| row.get("lease")).collect()
}

async fn ends(node: &mut Follower) {
    tokio::time::timeout(HANGS_AFTER, node.end()).await.expect("it ends when it is told to");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_told_to_end_while_his_leases_are_anothers_ends_and_touches_neither_them_nor_the_journal() {
    let (db, leases) = place().await;
    let mut world = World::new(1, 16);
    let mut node = Follower::new(&db, &leases, 1, &world.chain, settings(16)).await;
    node.start_ingest();
    node.start_fold();
    world.extend(vec![vec![plan()]; 4]);
    let tip = world.visible_head();
    node.settle(|journal| journal.head == Some(tip)).await.unwrap();
    take_leases(&db, 1).await;
    let (held, records) = (leases_of(&db, 1).await, "SELECT count(*) FROM journal WHERE chain_id = $1");
    let before = integers(&db, records, 1).await;
    // With work at hand, so that it may be anywhere between its loss and its wait for the lease.
    world.extend(vec![vec![plan()]]);
    ends(&mut node).await;
    assert_eq!((leases_of(&db, 1).await, integers(&db, records, 1).await), (held.clone(), before));

    // Started while another has them, and told to end while it stands by.
    let questions = world.chain.answered("eth_getCode");
    node.start_ingest();
    node.start_fold();
    let asks = async {
        while world.chain.answered("eth_getCode") == questions {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(HANGS_AFTER, asks).await.expect("the ingest looks at its chain");
    ends(&mut node).await;
    assert_eq!((leases_of(&db, 1).await, integers(&db, records, 1).await), (held, before));

    let free = "UPDATE leases SET expires_at = now() - interval '1 second'";
    sqlx::query(free).execute(db.worker()).await.unwrap();
    node.start_ingest();
    let tip = world.visible_head();
    node.settle(|journal| journal.head == Some(tip)).await.unwrap();
    node.end().await;
    agrees(&db, 1, &world).await;
}

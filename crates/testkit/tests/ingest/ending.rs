//! The end of a process whose authority is gone.

use plimsoll_ingest::lease_name;
use plimsoll_store::{DEFAULT_TERM, Db, Lease, Leases};
use plimsoll_views::FOLD_NAME;

use crate::support::follower::Follower;
use crate::support::world::World;
use crate::{HANGS_AFTER, agrees, integers, place, plan, settings};

/// Another process takes the chain's leases, as after their term has passed.
async fn taken_over(db: &Db, chain_id: u64) -> (Leases, Vec<Lease>) {
    let leases = Leases::connect(db, "another", DEFAULT_TERM).await.unwrap();
    let mut taken = Vec::new();
    for name in [format!("fold:{FOLD_NAME}:{chain_id}"), lease_name(chain_id)] {
        let lease = loop {
            let expire = "UPDATE leases SET expires_at = now() - interval '1 second' WHERE name = $1";
            let expired = sqlx::query(expire).bind(&name).execute(db.worker()).await.unwrap();
            assert_eq!(expired.rows_affected(), 1, "{name}");
            if let Some(lease) = leases.acquire(&name).await.unwrap() {
                break lease;
            }
        };
        taken.push(lease);
    }
    (leases, taken)
}

/// Each lease's name, token and holder, if it is in force.
async fn in_force(db: &Db) -> Vec<String> {
    let held = "SELECT concat_ws(' ', name, fencing_token, holder) FROM leases WHERE expires_at > clock_timestamp() ORDER BY name";
    sqlx::query_scalar(held).fetch_all(db.worker()).await.unwrap()
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
    let (_another, taken) = taken_over(&db, 1).await;
    let (held, records) = (in_force(&db).await, "SELECT count(*) FROM journal WHERE chain_id = $1");
    assert!(held.len() == 2 && held.iter().all(|lease| lease.ends_with(" another")), "{held:?}");
    let before = integers(&db, records, 1).await;
    // With work at hand, so that it may be anywhere between its loss and its wait for the lease.
    world.extend(vec![vec![plan()]]);
    ends(&mut node).await;
    assert_eq!((in_force(&db).await, integers(&db, records, 1).await), (held.clone(), before));

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
    assert_eq!((in_force(&db).await, integers(&db, records, 1).await), (held, before));

    for lease in taken {
        assert!(!lease.lost().is_cancelled());
        lease.release().await.unwrap();
    }
    node.start_ingest();
    let tip = world.visible_head();
    node.settle(|journal| journal.head == Some(tip)).await.unwrap();
    node.end().await;
    agrees(&db, 1, &world).await;
}

//! Another chain behind the configured address.

use alloy_primitives::B256;
use plimsoll_ingest::IngestError;
use plimsoll_journal::WriteError;
use plimsoll_store::Db;
use tokio_util::sync::CancellationToken;

use crate::support::follower::{Follower, Settings};
use crate::support::world::{World, user};
use crate::{HANGS_AFTER, agrees, place, plan, settings};

/// No block in the database is of another chain than this.
async fn has_nothing_foreign(db: &Db, chain_id: u64, world: &World) {
    let blocks: Vec<Vec<u8>> = sqlx::query_scalar(
        "SELECT hash FROM chain_blocks WHERE chain_id = $1 UNION SELECT block_hash FROM chain_events WHERE chain_id = $1
         UNION SELECT block_hash FROM chain_tx_meta WHERE chain_id = $1",
    )
    .bind(chain_id.cast_signed())
    .fetch_all(db.worker())
    .await
    .unwrap();
    for block in blocks {
        let hash = B256::from_slice(&block);
        assert!(world.chain.number(hash).is_some(), "{hash} is a block of another chain");
    }
}

/// A chain with the same business, with this id or pretending to have it.
fn foreign(chain_id: u64, pretends: bool, blocks: usize) -> World {
    let mut world = World::new(chain_id + 1_000, 3);
    world.extend(vec![vec![plan()]; blocks]);
    if pretends {
        world.chain.pretend_to_be(chain_id);
    }
    world
}

/// Runs the ingest as the supervisor does, which tries again what may pass.
async fn fatal_end_of(node: &Follower) -> IngestError {
    let end = async {
        loop {
            let error = node.ingest().run(&CancellationToken::new()).await.unwrap_err();
            if error.is_fatal() {
                return error;
            }
        }
    };
    tokio::time::timeout(HANGS_AFTER, end).await.expect("the ingest ends")
}

/// It says what is wrong and what to do.
fn is_told(error: &IngestError, pretends: bool) -> bool {
    let told = error.to_string();
    error.is_fatal()
        && if pretends {
            matches!(error, IngestError::Journal(WriteError::DifferentGenesis { .. }))
                && told.contains("another chain with the same id")
        } else {
            matches!(error, IngestError::WrongChain { .. })
                && told.contains("correct `chain_id` or the URL of model-0")
        }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_chain_behind_the_address_ends_the_ingest_with_its_reason_and_leaves_nothing_in_the_journal()
{
    let (db, leases) = place().await;
    let mut chain_id = 0;
    // Longer, as long, shorter, shorter than what is final, and with nothing but a genesis block.
    for blocks in [30, 12, 11, 4, 0] {
        for pretends in [false, true] {
            chain_id += 1;
            let mut world = World::new(chain_id, 3);
            world.extend(vec![vec![plan()]; 12]);
            let tip = world.visible_head();
            let mut node = Follower::new(&db, &leases, chain_id, &world.chain, settings(3)).await;
            node.start_ingest();
            node.settle(|journal| journal.head == Some(tip)).await.unwrap();
            node.end().await;

            // While it runs, and when it starts.
            let other = foreign(chain_id, pretends, blocks);
            for requests in [20, 0] {
                node.replaced_after(requests, &world.chain, &other.chain);
                let error = fatal_end_of(&node).await;
                assert!(is_told(&error, pretends), "{blocks} blocks: {error}");
            }
            has_nothing_foreign(&db, chain_id, &world).await;
            agrees(&db, chain_id, &world).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_chain_behind_the_address_during_a_first_backfill_leaves_nothing_in_the_journal() {
    let (db, leases) = place().await;
    let mut chain_id = 100;
    for requests in 0..32 {
        for (pretends, watched) in [(false, Vec::new()), (true, Vec::new()), (true, vec![user(0)])] {
            // Replaced before it was asked who it is, only the id can tell.
            if requests == 0 && pretends {
                continue;
            }
            chain_id += 1;
            let mut world = World::new(chain_id, 3);
            world.extend(vec![vec![plan()]; 14]);
            let other = foreign(chain_id, pretends, 30);
            let settings = Settings { watched, ..settings(3) };
            let mut node = Follower::new(&db, &leases, chain_id, &world.chain, settings).await;
            node.replaced_after(requests, &world.chain, &other.chain);
            let error = fatal_end_of(&node).await;
            assert!(is_told(&error, pretends), "after {requests} requests: {error}");
            has_nothing_foreign(&db, chain_id, &world).await;

            node.replaced_after(u64::MAX, &world.chain, &other.chain);
            node.start_ingest();
            let tip = world.visible_head();
            node.settle(|journal| journal.head == Some(tip)).await.unwrap();
            node.end().await;
            agrees(&db, chain_id, &world).await;
        }
    }
}

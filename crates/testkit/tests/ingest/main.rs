//! What the ingest makes of its endpoint: what it believes at once, what after a while, what never.

#![allow(missing_docs, clippy::unwrap_used)]

#[path = "../support/mod.rs"]
mod support;

mod asked;
mod backfills;
mod ending;
mod endpoints;
mod finality;
mod foreign;
mod lagging;
mod late;
mod lies;
mod reorgs;
mod senders;
mod verify;

use std::time::Duration;

use plimsoll_store::{DEFAULT_TERM, Db, Leases};
use plimsoll_testkit::projection::live_truth;
use plimsoll_testkit::truth;
use support::follower::Settings;
use support::laws;
use support::world::{Deed, Plan, World};

/// What has not come to pass by then never will.
const HANGS_AFTER: Duration = Duration::from_secs(60);

fn plan() -> Plan {
    let deeds =
        vec![Deed::Push { user: 1, asset: 0, amount: 48 }, Deed::Cache { user: 0, asset: 0, amount: 5 }];
    Plan { sender: 0, succeeds: true, deeds }
}

fn settings(finality_depth: u64) -> Settings {
    Settings {
        start_block: 0,
        confirmations: 1,
        finality_depth,
        watched: Vec::new(),
        ranges_in_flight: 2,
        range_blocks: 2,
        step_records: None,
    }
}

async fn place() -> (Db, Leases) {
    let db = plimsoll_store::testing::db().await;
    let leases = Leases::connect(&db, "test", DEFAULT_TERM).await.unwrap();
    (db, leases)
}

async fn integers(db: &Db, statement: &'static str, chain_id: u64) -> i64 {
    sqlx::query_scalar(statement).bind(chain_id.cast_signed()).fetch_one(db.worker()).await.unwrap()
}

/// The journal covers this chain from its first block of interest, and nothing else.
async fn agrees(db: &Db, chain_id: u64, world: &World) {
    laws::check(db.worker(), chain_id).await.unwrap();
    let mut conn = db.worker().acquire().await.unwrap();
    let found = live_truth(&mut conn, chain_id).await.unwrap();
    assert_eq!(truth::differences(&world.true_events(0), &found), [] as [String; 0], "chain {chain_id}");
}

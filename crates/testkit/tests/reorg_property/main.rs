//! Whatever a chain does above finality, and whatever happens to the node that follows it: when things settle, what was lived
//! through equals what a fresh sync of the surviving chain gives, and both equal the chain itself.
//!
//! `PROPTEST_CASES` asks for more cases; a seed that failed is kept in `proptest-regressions` and tried first.

#![allow(missing_docs, clippy::unwrap_used)]

#[path = "../support/mod.rs"]
mod support;

mod judge;
mod story;

use std::cell::Cell;

use judge::{judge, nothing, projection, replays};
use plimsoll_store::{DEFAULT_TERM, Db, Leases};
use plimsoll_testkit::model::Orphans;
use proptest::prelude::*;
use proptest::test_runner::{Config, FileFailurePersistence, RngSeed, TestRunner};
use story::{Act, Story, Wait, story};
use support::follower::{Follower, Settings};
use support::laws;
use support::world::{Deed, Plan, World};

/// Enough to meet every operation beside every other in well under a minute, unoptimised.
const DEFAULT_CASES: u32 = 16;
/// A story that hangs takes a minute each time it is made smaller.
const MAX_SHRINK_TIME_MS: u32 = 300_000;
const REGRESSIONS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/proptest-regressions/reorg_property.txt");

#[test]
fn whatever_was_lived_through_a_fresh_sync_of_the_surviving_chain_gives_the_same() {
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|text| text.parse().ok());
    // The same stories each time, so that a failure is of the change at hand; other ones by another seed.
    let seed = std::env::var("PLIMSOLL_TEST_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(1);
    let config = Config {
        cases: cases.unwrap_or(DEFAULT_CASES),
        rng_seed: RngSeed::Fixed(seed),
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct(REGRESSIONS))),
        max_shrink_iters: 200,
        max_shrink_time: MAX_SHRINK_TIME_MS,
        ..Config::default()
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let places = runtime.block_on(places());
    let next_chain = Cell::new(1);
    let outcome = TestRunner::new(config).run(&story(), |story| {
        let chain_id = next_chain.replace(next_chain.get() + 1);
        runtime.block_on(play(&places, chain_id, story)).map_err(TestCaseError::fail)
    });
    if let Err(failed) = outcome {
        panic!("{failed}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backfill_waits_for_a_node_that_fell_behind_what_it_had_shown_as_final_and_then_goes_on() {
    let places = places().await;
    let settings = Settings {
        start_block: 2,
        confirmations: 0,
        finality_depth: 1,
        watched: Vec::new(),
        ranges_in_flight: 1,
        range_blocks: 2,
        step_records: Some(5),
    };
    for commits in 1..5 {
        let acts = vec![
            (Act::GrowUnseen(vec![vec![plan()]; 12]), Wait::Commits(commits)),
            (Act::Lag(3), Wait::Settled),
            (Act::RestartIngest, Wait::Settled),
            (Act::Lag(0), Wait::Settled),
        ];
        let story = Story { settings: settings.clone(), acts };
        play(&places, commits.into(), story).await.unwrap();
    }
}

fn plan() -> Plan {
    let deeds =
        vec![Deed::Push { user: 1, asset: 0, amount: 48 }, Deed::Cache { user: 0, asset: 0, amount: 5 }];
    Plan { sender: 0, succeeds: true, deeds }
}

/// Hashes depend on the chain's id: the two runs of one chain are in two databases.
async fn places() -> [(Db, Leases); 2] {
    let (lived, fresh) = (plimsoll_store::testing::db().await, plimsoll_store::testing::db().await);
    let (lived_leases, fresh_leases) = (leases(&lived).await, leases(&fresh).await);
    [(lived, lived_leases), (fresh, fresh_leases)]
}

async fn leases(db: &Db) -> Leases {
    Leases::connect(db, "test", DEFAULT_TERM).await.unwrap()
}

async fn play(places: &[(Db, Leases); 2], chain_id: u64, story: Story) -> Result<(), String> {
    let Settings { start_block, finality_depth, .. } = story.settings;
    let settings = story.settings;
    let mut world = World::new(chain_id, finality_depth);
    let [(lived, lived_leases), (fresh, fresh_leases)] = places;
    let mut node = Follower::new(lived, lived_leases, chain_id, &world.chain, settings.clone()).await;
    node.start_ingest();
    node.start_fold();
    for (act, wait) in story.acts {
        perform(&mut world, &mut node, act).await?;
        wait_for(&world, &mut node, wait).await?;
    }

    // All is well again, and there is one more block, so that a head that went down has to be followed.
    world.chain.fail_next(0);
    world.lag(0);
    world.extend(vec![Vec::new()]);
    while world.visible_head().0 < start_block {
        world.extend(vec![Vec::new()]);
    }
    node.start_ingest();
    node.start_fold();
    let tip = world.visible_head();
    node.settle(|journal| journal.head == Some(tip)).await?;
    node.end().await;

    let mut other = Follower::new(fresh, fresh_leases, chain_id, &world.chain, settings.clone()).await;
    other.start_ingest();
    other.start_fold();
    other.settle(|journal| journal.head == Some(tip)).await?;
    other.end().await;

    let watched = &settings.watched;
    for (db, name) in [(lived, "the run that was lived through"), (fresh, "the fresh sync")] {
        let broken = judge(db, chain_id, &world, start_block, watched).await;
        broken.map_err(|broken| format!("{name}: {broken}"))?;
    }
    replays(lived, chain_id, start_block).await?;
    let (lived, fresh) = (projection(lived, chain_id).await, projection(fresh, chain_id).await);
    nothing("lived through (first), fresh (second)", &lived.differences(&fresh))
}

async fn perform(world: &mut World, node: &mut Follower, act: Act) -> Result<(), String> {
    match act {
        Act::Extend(blocks) => world.extend(blocks),
        Act::GrowUnseen(blocks) => {
            node.end_ingest().await;
            world.extend(blocks);
            node.start_ingest();
        }
        Act::Fork { depth, blocks, again } => world.fork(depth, blocks, again),
        Act::Flip(choice) => world.flip(choice),
        Act::Lag(blocks) => world.lag(blocks),
        Act::Fail(requests) => world.chain.fail_next(requests),
        Act::LimitRange(blocks) => world.chain.limit_range(blocks),
        Act::ForgetOrphans(forgets) => {
            world.chain.set_orphans(if forgets { Orphans::Forgotten } else { Orphans::Served });
        }
        Act::RestartIngest => {
            node.end_ingest().await;
            node.start_ingest();
        }
        Act::RestartFold => {
            node.end_fold().await;
            node.start_fold();
        }
        Act::KillIngest { polls, blocks } => {
            node.kill_ingest_after(polls);
            world.extend(blocks);
            node.ingest_killed().await?;
            node.start_ingest();
        }
        Act::KillFold { polls, blocks } => {
            node.kill_fold_after(polls);
            world.extend(blocks);
            let start_block = node.settings.start_block;
            node.fold_killed(|journal| {
                world.is_satisfied_by(journal.head, journal.final_number, start_block)
            })
            .await?;
            node.start_fold();
        }
        Act::StopFold => node.end_fold().await,
    }
    Ok(())
}

async fn wait_for(world: &World, node: &mut Follower, wait: Wait) -> Result<(), String> {
    let start_block = node.settings.start_block;
    match wait {
        Wait::Nothing => Ok(()),
        Wait::Turns(turns) => {
            for _ in 0..turns {
                tokio::task::yield_now().await;
            }
            Ok(())
        }
        Wait::Commits(commits) => {
            node.wait_for_commits(commits, |journal| {
                world.is_satisfied_by(journal.head, journal.final_number, start_block)
            })
            .await
        }
        Wait::Settled => {
            node.settle(|journal| world.is_satisfied_by(journal.head, journal.final_number, start_block))
                .await?;
            laws::check(node.db.worker(), node.chain_id).await
        }
    }
}

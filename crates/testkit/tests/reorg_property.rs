//! Whatever a chain does above finality, and whatever happens to the node that follows it: when things settle, what was lived
//! through equals what a fresh sync of the surviving chain gives, and both equal the chain itself.
//!
//! `PROPTEST_CASES` asks for more cases; a seed that failed is kept in `proptest-regressions` and tried first.

#![allow(missing_docs, clippy::unwrap_used)]

mod support;

use std::cell::Cell;

use alloy_primitives::Address;
use plimsoll_store::{DEFAULT_TERM, Db, Leases};
use plimsoll_testkit::model::Orphans;
use plimsoll_testkit::projection::{JournalCheck, Projection, live_truth};
use plimsoll_testkit::truth;
use plimsoll_views::replay::replay;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, FileFailurePersistence, RngSeed, TestRunner};
use sqlx::PgPool;
use support::follower::{Follower, Settings};
use support::laws;
use support::world::{Deed, Inclusion, Plan, World, contracts, user};

/// Enough to meet every operation beside every other in well under a minute, unoptimised.
const DEFAULT_CASES: u32 = 16;
/// A story that hangs takes a minute each time it is made smaller.
const MAX_SHRINK_TIME_MS: u32 = 300_000;
/// A commit of the ingest, or a step of the fold, takes fewer.
const KILLED_WITHIN_POLLS: u8 = 60;
const REGRESSIONS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/proptest-regressions/reorg_property.txt");

/// What happens to the chain, to its endpoint, or to the node.
#[derive(Clone, Debug)]
enum Act {
    Extend(Vec<Vec<Plan>>),
    /// The chain grows by so many blocks while the ingest is down: ranges are backfilled when it is back.
    GrowUnseen(Vec<Vec<Plan>>),
    Fork {
        depth: u64,
        blocks: Vec<Vec<Plan>>,
        again: bool,
    },
    /// To a block that was there before, on whatever branch: A, B, A.
    Flip(usize),
    Lag(u64),
    Fail(u32),
    LimitRange(Option<u64>),
    ForgetOrphans(bool),
    RestartIngest,
    RestartFold,
    /// The ingest is dropped after so many polls, while the chain grows or another branch has won.
    KillIngest {
        polls: u8,
        blocks: Vec<Vec<Plan>>,
    },
    KillFold {
        polls: u8,
        blocks: Vec<Vec<Plan>>,
    },
    StopFold,
}

/// What is waited for before the next act.
#[derive(Clone, Copy, Debug)]
enum Wait {
    Nothing,
    /// Other tasks get so many turns, so that what comes next meets the node half way.
    Turns(u8),
    /// So many commits of the journal, if that many are to come.
    Commits(u32),
    Settled,
}

#[derive(Clone, Debug)]
struct Story {
    settings: Settings,
    acts: Vec<(Act, Wait)>,
}

fn deed() -> impl Strategy<Value = Deed> {
    (0u8..14, 0u8..3, 0u8..2, 0u8..50).prop_map(|(kind, user, asset, amount)| match kind {
        0..=2 => Deed::Cache { user, asset, amount },
        3..=5 => Deed::Push { user, asset, amount },
        6 => Deed::PushFails { user, asset },
        7 => Deed::Replay { user, asset },
        8 => Deed::Health { user, factor: amount },
        9 => Deed::AssetStats { asset, price: amount },
        10 => Deed::History { user, asset },
        11 => Deed::Fee { user },
        12 => {
            if amount < 25 {
                Deed::Unknown { topic: amount }
            } else {
                Deed::Anonymous
            }
        }
        _ => Deed::Elsewhere,
    })
}

fn blocks(count: std::ops::Range<usize>) -> impl Strategy<Value = Vec<Vec<Plan>>> {
    let plan = (0u8..3, prop::bool::weighted(0.9), vec(deed(), 0..3));
    let plan = plan.prop_map(|(sender, succeeds, deeds)| Plan { sender, succeeds, deeds });
    vec(vec(plan, 0..3), count)
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        6 => blocks(1..4).prop_map(Act::Extend),
        2 => blocks(4..16).prop_map(Act::GrowUnseen),
        8 => (0u64..9, blocks(1..7), any::<bool>())
            .prop_map(|(depth, blocks, again)| Act::Fork { depth, blocks, again }),
        7 => any::<usize>().prop_map(Act::Flip),
        2 => (0u64..4).prop_map(Act::Lag),
        3 => (1u32..6).prop_map(Act::Fail),
        1 => prop::option::of(1u64..4).prop_map(Act::LimitRange),
        1 => any::<bool>().prop_map(Act::ForgetOrphans),
        2 => Just(Act::RestartIngest),
        1 => Just(Act::RestartFold),
        6 => (0..KILLED_WITHIN_POLLS, blocks(1..4)).prop_map(|(polls, blocks)| Act::KillIngest { polls, blocks }),
        4 => (0..KILLED_WITHIN_POLLS, blocks(1..4)).prop_map(|(polls, blocks)| Act::KillFold { polls, blocks }),
        1 => Just(Act::StopFold),
    ]
}

fn wait() -> impl Strategy<Value = Wait> {
    prop_oneof![
        1 => Just(Wait::Nothing),
        1 => any::<u8>().prop_map(Wait::Turns),
        2 => (1u32..4).prop_map(Wait::Commits),
        4 => Just(Wait::Settled),
    ]
}

fn story() -> impl Strategy<Value = Story> {
    let settings =
        (0u64..3, 0u64..4, 0u64..9, any::<bool>(), 1usize..4, 1u64..6, prop::option::of(1usize..20));
    let settings =
        settings.prop_map(|(start_block, confirmations, beyond, watched, flight, range, step)| Settings {
            start_block,
            confirmations,
            finality_depth: (confirmations + beyond).max(1),
            watched: if watched { vec![user(0), user(2)] } else { Vec::new() },
            ranges_in_flight: flight,
            range_blocks: range,
            step_records: step,
        });
    (settings, vec((act(), wait()), 1..25)).prop_map(|(settings, acts)| Story { settings, acts })
}

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
async fn a_chain_that_goes_back_past_finality_and_stays_lower_halts_with_the_journal_as_it_was() {
    let db = plimsoll_store::testing::db().await;
    let (leases, mut world) = (leases(&db).await, World::new(1, 3));
    let settings = Settings {
        start_block: 0,
        confirmations: 1,
        finality_depth: 3,
        watched: Vec::new(),
        ranges_in_flight: 1,
        range_blocks: 5,
        step_records: None,
    };
    let genesis = world.chain.tip();
    let mut node = Follower::new(&db, &leases, 1, &world.chain, settings).await;
    node.start_ingest();
    world.extend(vec![Vec::new(); 9]);
    let tip = world.visible_head();
    node.settle(|journal| journal.head == Some(tip)).await.unwrap();
    let journal = "SELECT count(*) FROM journal";
    let before: i64 = sqlx::query_scalar(journal).fetch_one(db.worker()).await.unwrap();

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
    let found = tokio::time::timeout(std::time::Duration::from_secs(30), halted).await;
    assert_eq!(found.expect("the chain halts"), other.to_string());
    let after: i64 = sqlx::query_scalar(journal).fetch_one(db.worker()).await.unwrap();
    assert_eq!(after, before);
    node.end().await;
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

#[tokio::test(flavor = "multi_thread")]
async fn a_backfill_misses_nothing_where_requests_go_to_two_nodes_of_which_one_is_far_behind() {
    let db = plimsoll_store::testing::db().await;
    let leases = leases(&db).await;
    for chain_id in 1..=8 {
        let mut world = World::new(chain_id, 1);
        world.extend(vec![vec![plan()]; 40]);
        let settings = Settings {
            start_block: 1,
            confirmations: 0,
            finality_depth: 1,
            watched: Vec::new(),
            ranges_in_flight: 2,
            range_blocks: 3,
            step_records: None,
        };
        let node = Follower::new(&db, &leases, chain_id, &world.chain, settings).await;
        let mut node = node.behind_two_nodes(&world.chain, 20);
        node.start_ingest();
        let tip = world.visible_head();
        node.settle(|journal| journal.head == Some(tip)).await.unwrap();
        node.end().await;
        let mut conn = db.worker().acquire().await.unwrap();
        let found = live_truth(&mut conn, chain_id).await.unwrap();
        assert_eq!(truth::differences(&world.true_events(1), &found), [] as [String; 0], "chain {chain_id}");
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
            node.fold_killed(|journal| world.is_satisfied_by(journal, start_block)).await?;
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
            node.wait_for_commits(commits, |journal| world.is_satisfied_by(journal, start_block)).await
        }
        Wait::Settled => {
            node.settle(|journal| world.is_satisfied_by(journal, start_block)).await?;
            laws::check(node.db.worker(), node.chain_id).await
        }
    }
}

fn nothing(what: &str, differences: &[String]) -> Result<(), String> {
    if differences.is_empty() { Ok(()) } else { Err(format!("{what}: {differences:#?}")) }
}

async fn projection(db: &Db, chain_id: u64) -> Projection {
    let mut conn = db.worker().acquire().await.unwrap();
    Projection::read(&mut conn, chain_id).await.unwrap()
}

/// What one run's database says against the chain, and against itself.
async fn judge(
    db: &Db,
    chain_id: u64,
    world: &World,
    start_block: u64,
    watched: &[Address],
) -> Result<(), String> {
    let mut conn = db.worker().acquire().await.unwrap();
    let found = live_truth(&mut conn, chain_id).await.map_err(|error| error.to_string())?;
    nothing("events", &truth::differences(&world.true_events(start_block), &found))?;

    let (expected, found) =
        (world.true_inclusions(watched, start_block), inclusions(db.worker(), chain_id).await);
    if expected != found {
        return Err(format!("watched transactions are {expected:#?} on the chain, and here {found:#?}"));
    }
    let expected = world.true_positions(start_block);
    let expected: Vec<_> = expected
        .iter()
        .map(|((who, what), p)| {
            let version = i64::try_from(p.version).unwrap();
            let (number, collateral) = (i64::try_from(p.block_number).unwrap(), p.collateral.to_string());
            (
                who.to_string().to_lowercase(),
                what.to_string().to_lowercase(),
                collateral,
                p.debt.to_string(),
                version,
                number,
            )
        })
        .collect();
    let found: Vec<(String, String, String, String, i64, i64)> = sqlx::query_as(
        r#"SELECT "user", asset, collateral::text, debt::text, version::bigint, last_chain_block FROM position_cache_mirror
           WHERE chain_id = $1 ORDER BY "user", asset"#,
    )
    .bind(chain_id.cast_signed())
    .fetch_all(db.worker())
    .await
    .unwrap();
    if expected != found {
        return Err(format!("positions are {expected:#?} on the chain, and here {found:#?}"));
    }

    let check = JournalCheck::read(&mut conn, chain_id).await.unwrap();
    if !check.is_sound() {
        return Err(format!("{check:?}"));
    }
    laws::check(db.worker(), chain_id).await?;
    Ok(())
}

/// The fold of the whole journal from zero gives what the fold that ran has.
async fn replays(db: &Db, chain_id: u64, start_block: u64) -> Result<(), String> {
    let mut conn = db.worker().acquire().await.unwrap();
    let end = JournalCheck::read(&mut conn, chain_id).await.unwrap().last_seq;
    let replayed = replay(db, chain_id, &contracts(start_block), |_| {}).await;
    let replayed = replayed.map_err(|error| error.to_string())?;
    if replayed.equal && replayed.at_seq == end {
        Ok(())
    } else {
        Err(format!("replayed to {end}: {replayed:#?}"))
    }
}

/// The unretracted inclusions.
async fn inclusions(pool: &PgPool, chain_id: u64) -> Vec<Inclusion> {
    let rows: Vec<(i64, Vec<u8>, i32, String, i64, bool)> = sqlx::query_as(
        "SELECT t.block_number, t.block_hash, t.tx_index, t.sender, t.nonce::bigint, t.succeeded
         FROM journal j JOIN chain_tx_meta t ON t.chain_id = j.chain_id AND t.block_number = j.block_number AND t.id = j.ref
         WHERE j.chain_id = $1 AND j.kind = 'included'
           AND NOT EXISTS (SELECT FROM journal r WHERE r.chain_id = j.chain_id AND r.kind = 'retract' AND r.ref = j.seq)
         ORDER BY t.block_number, t.tx_index",
    )
    .bind(chain_id.cast_signed())
    .fetch_all(pool)
    .await
    .unwrap();
    rows.into_iter()
        .map(|(number, hash, index, sender, nonce, succeeded)| {
            let (number, nonce) = (number.cast_unsigned(), nonce.cast_unsigned());
            let hash = alloy_primitives::B256::from_slice(&hash);
            (number, hash, index.cast_unsigned(), sender.parse().unwrap(), nonce, succeeded)
        })
        .collect()
}

//! The relayer in real processes: a short run of chaos with its judge, and requests in flight while the process that takes them is killed.

use std::collections::BTreeMap;

use plimsoll_testkit::chaos::real_relayer as real;
use plimsoll_testkit::chaos::seeds;
use plimsoll_testkit::demo::child::tested_program;
use sqlx::{AssertSqlSafe, ConnectOptions as _, PgConnection};

/// So many acts of a story are told.
const ACTS: usize = 12;

/// The first seed in whose settings and first acts there is all this, and nothing that takes long.
fn seed() -> u64 {
    let wanted = ["kill after", "Reorganise", "CallOff", "Stranger", "Repeat", "Kill", "trouble: Deceiving"];
    let has_all = |seed: &u64| {
        let schedule = real::schedule(*seed);
        let (settings, acts) = schedule.split_once('\n').unwrap();
        let is_act = |line: &&str| line.contains(". after ");
        let acts: Vec<_> = acts.lines().filter(is_act).take(ACTS).collect();
        let has = |what: &str| acts.iter().any(|act| act.contains(what));
        settings.contains("nodes: 2")
            && settings.contains("block_ms: 150")
            && wanted.iter().all(|act| has(act))
            && !has("Freeze")
            && !has("RestartPostgres")
    };
    (0..1_000_000).find(has_all).expect("one in a million")
}

/// What is done behind the relayer's back, and what the judge says to it.
const MEDDLINGS: &[(&str, &[&str])] = &[
    (
        "UPDATE managed_transactions SET succeeded = false, state = 'failed', end_why = 'a lie' WHERE id = (SELECT max(id::text)::uuid FROM managed_transactions WHERE state = 'confirmed')",
        &["is failed and took effect 1 times", "the chain has Some(Included"],
    ),
    (
        "CREATE TEMP TABLE aside AS SELECT tx_hash FROM transaction_attempts ORDER BY committed_at DESC LIMIT 1;
         DELETE FROM transaction_broadcasts b USING aside a WHERE b.tx_hash = a.tx_hash;
         DELETE FROM transaction_attempts t USING aside a WHERE t.tx_hash = a.tx_hash",
        &["was sent and is no attempt that was committed"],
    ),
    (
        "UPDATE transaction_attempts SET committed_at = now() + interval '1 day', raw = raw || '\\x00'",
        &["was sent before it was committed", "are not its own"],
    ),
    ("UPDATE signers SET next_nonce = next_nonce + 1", &["was given nonces up to"]),
    (
        "UPDATE managed_transactions SET request_id = gen_random_uuid() WHERE id = (SELECT max(id::text)::uuid FROM managed_transactions WHERE tenant_id IS NOT NULL)",
        &["there are 0 transactions", "nobody asked for the request"],
    ),
];

async fn execute(conn: &mut PgConnection, statements: &str) {
    sqlx::raw_sql(AssertSqlSafe(statements)).execute(conn).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_short_run_of_real_processes_holds_and_the_judge_sees_what_is_wrong() {
    let seed = seed();
    println!("seed {seed}, {ACTS} acts of these:\n{}", real::schedule(seed));
    let program = tested_program().unwrap();
    let mut lived = Box::pin(real::live(seed, ACTS, &program)).await.unwrap();
    assert_eq!(lived.judge().await.unwrap(), [] as [String; 0]);
    let counts = lived.counts().clone();
    for (what, count) in [
        ("effects", counts.effects),
        ("strangers", counts.strangers),
        ("reorganisations", counts.reorgs),
        ("calls made again", counts.retries),
        ("kinds of faults", counts.faults.len() as u64),
    ] {
        assert!(count > 0, "no {what}: {counts:?}");
    }

    // A relayer that sends something twice is one whose request the contract counts twice.
    let (doubled, _) = lived.answers().next().unwrap();
    let before = lived.judge().await.unwrap();
    for _ in 0..2 {
        lived.perform_again(doubled).await.unwrap();
    }
    let wrong = lived.judge().await.unwrap().join("\n");
    assert!(before.is_empty() && wrong.contains(&format!("the request {doubled} took effect")), "{wrong}");

    let mut owner = lived.urls().owner.connect().await.unwrap();
    for (meddling, expected) in MEDDLINGS {
        execute(&mut owner, meddling).await;
        let wrong = lived.judge().await.unwrap().join("\n");
        for words in *expected {
            assert!(wrong.contains(words), "after {meddling}: {words:?} is not in:\n{wrong}");
        }
    }
    let blows = lived.end().await.unwrap().blows;
    assert!(blows.kills > 1, "{blows:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_in_flight_while_their_process_is_killed_are_answered_alike_and_take_effect_once() {
    let program = tested_program().unwrap();
    let mut lived = Box::pin(real::live_through_kills(7, &program)).await.unwrap();
    assert_eq!(lived.judge().await.unwrap(), [] as [String; 0]);
    let answers: BTreeMap<_, _> = lived.answers().collect();
    let counts = lived.counts().clone();
    assert_eq!((counts.requests, counts.effects), (answers.len() as u64, answers.len() as u64));
    assert!(counts.retries > 0, "none was in flight: {counts:?}");

    // Long after: the same answers, and nothing more comes of it.
    assert_eq!(lived.hand_in_again().await.unwrap(), counts.requests);
    assert_eq!(lived.answers().collect::<BTreeMap<_, _>>(), answers);
    assert_eq!(lived.judge().await.unwrap(), [] as [String; 0]);
    assert_eq!(lived.end().await.unwrap().blows.kills, 3);
}

#[test]
fn seeds_that_once_failed_can_be_read() {
    seeds::read(seeds::RELAYER_REAL).unwrap();
}

//! A short run of real processes, and the judge of such runs: what is altered behind Plimsoll's back he sees.

use plimsoll_testkit::chaos::{real, seeds};
use plimsoll_testkit::demo::child::tested_program;
use sqlx::{AssertSqlSafe, ConnectOptions as _, PgConnection};

/// So many acts of a story are told.
const ACTS: usize = 12;

/// The first seed in whose settings and first acts there is all this, and nothing that takes long.
fn seed() -> u64 {
    let wanted = ["Grow", "Reorganise", "Kill", "place: None, trouble: Slow, permille: 1000, ms: 1000"];
    let has_all = |seed: &u64| {
        let schedule = real::schedule(*seed);
        let (settings, acts) = schedule.split_once('\n').unwrap();
        let acts: Vec<_> = acts.lines().take(ACTS).collect();
        let has = |what: &str, from: usize| acts.iter().skip(from).any(|act| act.contains(what));
        settings.contains("processes: 2")
            && settings.contains("1000]")
            && wanted.iter().all(|act| has(act, 0))
            // By then there are sessions.
            && has("EndSessions { all: true }", ACTS / 2)
            && !has("Freeze", 0)
    };
    (0..1_000_000).find(has_all).expect("one in a million")
}

/// What is done behind Plimsoll's back, and what the judge says to it.
const MEDDLINGS: &[(&[&str], &[&str])] = &[
    (
        &[
            "CREATE TEMP TABLE aside AS SELECT * FROM chain_live ORDER BY block_number LIMIT 1",
            "DELETE FROM chain_live l USING aside a WHERE l.event_id = a.event_id",
            "UPDATE position_cache_mirror SET collateral = collateral + 1",
            "UPDATE completeness_certificates SET blocks_root = sha256(to_hash) WHERE source = 'head'",
            "INSERT INTO anomalies (chain_id, source, kind, detail)
             SELECT chain_id, 'ingest', 'endpoint_contradiction', '{\"endpoint\": \"somebody\"}' FROM chains",
        ],
        &[
            "on the chain and not in the database: block",
            "of the kind",
            "the journal does not say what is live",
            "`plimsoll verify views` ends with Some(1)",
            "`plimsoll replay views` ends with Some(1)",
            "a law of the journal is broken",
            "an anomaly that nobody is the cause of: ingest endpoint_contradiction",
        ],
    ),
    (
        &[
            "INSERT INTO chain_live SELECT * FROM aside",
            "UPDATE chain_events SET data = data || '\\x00' WHERE id = (SELECT max(event_id) FROM chain_live)",
            "UPDATE chain_tx_meta SET succeeded = NOT succeeded",
        ],
        // Of the event its topic, of the transaction its nonce.
        &["in the database and not on the chain: block", "topic0", ", nonce "],
    ),
];

async fn execute(conn: &mut PgConnection, statements: &str) {
    sqlx::raw_sql(AssertSqlSafe(statements)).execute(conn).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_short_run_of_real_processes_holds_and_the_judge_sees_what_is_altered_afterwards() {
    let seed = seed();
    println!("seed {seed}, {ACTS} acts of these:\n{}", real::schedule(seed));
    let program = tested_program().unwrap();
    let mut lived = Box::pin(real::live(seed, ACTS, &program)).await.unwrap();
    assert_eq!(lived.judge().await.unwrap(), [] as [String; 0]);

    let mut owner = lived.urls().owner.connect().await.unwrap();
    execute(&mut owner, "SET search_path = plimsoll").await;
    for (meddlings, expected) in MEDDLINGS {
        execute(&mut owner, &meddlings.join(";\n")).await;
        let wrong = lived.judge().await.unwrap().join("\n");
        for words in *expected {
            assert!(wrong.contains(words), "after {meddlings:#?}: {words:?} is not in:\n{wrong}");
        }
    }

    let counts = lived.end().await.unwrap();
    let happened = [
        ("reorgs", counts.reorgs),
        ("kills", counts.blows.kills),
        ("sessions ended", counts.blows.sessions_ended),
        ("lies", counts.lies),
        ("liars named", counts.liars_named),
        ("kinds of faults", counts.faults.len() as u64),
    ];
    for (what, count) in happened {
        assert!(count > 0, "no {what}: {counts:?}");
    }
}

#[test]
fn seeds_that_once_failed_can_be_read() {
    seeds::read(seeds::INGEST_REAL).unwrap();
}

//! The ledger in real processes: a short run of chaos with its judge, and that the judge sees what is wrong.

use plimsoll_testkit::chaos::{real_ledger, seeds};
use plimsoll_testkit::demo::child::tested_program;
use sqlx::{AssertSqlSafe, ConnectOptions as _, PgConnection};

const KILLS: u64 = 5;

/// A seed of two processes, in whose short story nothing takes long.
fn seed() -> u64 {
    let fits = |seed: &u64| {
        let schedule = real_ledger::schedule(*seed, KILLS);
        schedule.contains("processes: 2")
            && schedule.contains("block_ms: 250")
            && schedule.contains("process: 0")
            && schedule.contains("process: 1")
            && !schedule.contains("Freeze")
    };
    (0..10_000).find(fits).expect("one in ten thousand")
}

/// What is done behind the ledger's back by somebody who may do anything, and what the judge says to it. Each leaves the database to the next as it is.
const MEDDLINGS: &[(&str, &[&str])] = &[
    // A posting is lost, with everything that is about it.
    (
        "CREATE TEMP TABLE lost AS SELECT posting_id FROM ledger_postings p WHERE created_by LIKE 'user:%' AND NOT EXISTS (SELECT FROM ledger_postings r WHERE r.reverses = p.posting_id)
           AND reverses IS NULL ORDER BY posting_id DESC LIMIT 1;
         DELETE FROM ledger_leaves l USING lost WHERE l.posting_id = lost.posting_id;
         DELETE FROM ledger_entries e USING lost WHERE e.posting_id = lost.posting_id;
         DELETE FROM ledger_postings p USING lost WHERE p.posting_id = lost.posting_id",
        &["and is lost", "has not the balance of its lines", "has a gap, or another size", "has not one event", "`plimsoll verify ledger` ends with Some(1)"],
    ),
    // A request is booked a second time, for another user.
    (
        "CREATE TEMP TABLE twice AS SELECT * FROM ledger_postings WHERE created_by LIKE 'user:%' AND reverses IS NULL ORDER BY posting_id LIMIT 1;
         CREATE TEMP TABLE lines AS SELECT e.* FROM ledger_entries e JOIN twice USING (posting_id);
         UPDATE twice SET posting_id = gen_random_uuid(), user_id = gen_random_uuid();
         UPDATE lines SET posting_id = (SELECT posting_id FROM twice), account_version = account_version + 1000000;
         INSERT INTO ledger_postings SELECT * FROM twice;
         INSERT INTO ledger_entries SELECT * FROM lines",
        &["is on record 2 times", "is not sealed, or is no posting and sealed", "has no entry"],
    ),
    // A line has another amount: the request's, the posting's sum, the account's balance, and the seal say so.
    (
        "UPDATE ledger_entries SET debit = debit + 1 WHERE debit > 0 AND (posting_id, sequence) = (SELECT posting_id, sequence FROM ledger_entries JOIN ledger_postings p USING (posting_id)
         WHERE debit > 0 AND p.created_by LIKE 'user:%' ORDER BY posting_id OFFSET 5 LIMIT 1)",
        &["was offered as", "is not balanced"],
    ),
    // What the chain did is booked no more, and something else is booked that it did not do.
    (
        "UPDATE chain_bookings SET tx_hash = decode(repeat('ab', 32), 'hex') WHERE posting_id = (SELECT posting_id FROM chain_bookings b WHERE log_index IS NOT NULL
         AND NOT EXISTS (SELECT FROM ledger_postings r WHERE r.reverses = b.posting_id) ORDER BY posting_id LIMIT 1)",
        &["is on the chain, and is not booked", "is booked twice, or is not on the chain"],
    ),
    // A balance that is nobody's: neither its lines', nor the chain's.
    (
        "UPDATE asset_balances SET raw_balance = raw_balance + 1 WHERE account_id = (SELECT account_id FROM accounts WHERE account_type = 'SUSPENSE' ORDER BY account_id LIMIT 1)",
        &["does not sum to nothing", "in suspense is"],
    ),
    // An event that was told of nothing.
    (
        "UPDATE events SET target_id = gen_random_uuid()::text WHERE sequence = (SELECT max(sequence) FROM events WHERE event_type = 'ledger.posting.posted')",
        &["has not one event"],
    ),
];

async fn execute(conn: &mut PgConnection, statements: &str) {
    sqlx::raw_sql(AssertSqlSafe(statements)).execute(conn).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_short_run_of_real_processes_loses_and_doubles_nothing_and_the_judge_sees_what_is_wrong() {
    let seed = seed();
    println!("seed {seed}:\n{}", real_ledger::schedule(seed, KILLS));
    let program = tested_program().unwrap();
    let mut lived = Box::pin(real_ledger::live(seed, KILLS, &program)).await.unwrap();
    assert_eq!(lived.judge().await.unwrap(), [] as [String; 0]);
    let counts = lived.counts();
    println!("{counts:?}");
    assert_eq!(counts.blows.kills, KILLS);
    for (what, count) in [
        ("answers", counts.answered),
        ("postings taken back by request", counts.reversals),
        ("calls made again", counts.retries),
        ("postings offered again", counts.repeats),
        ("conflicts", counts.conflicts),
        ("postings from the chain", counts.booked),
        ("postings that a reorganisation took back", counts.taken_back),
        ("checkpoints", counts.checkpoints),
        ("restarts of the server", counts.blows.postgres_restarts),
    ] {
        assert!(count > 0, "no {what}: {counts:?}");
    }
    assert!(counts.sealed > counts.answered, "{counts:?}");

    let mut owner = lived.urls().owner.connect().await.unwrap();
    // Triggers and rules are not asked: whoever does this owns the server.
    execute(&mut owner, "SET session_replication_role = replica").await;
    for (meddling, expected) in MEDDLINGS {
        let before = lived.judge().await.unwrap().join("\n");
        execute(&mut owner, meddling).await;
        let wrong = lived.judge().await.unwrap().join("\n");
        assert_ne!(before, wrong, "after {meddling}");
        for words in *expected {
            assert!(wrong.contains(words), "after {meddling}: {words:?} is not in:\n{wrong}");
        }
    }
    lived.end().await.unwrap();
}

#[test]
fn seeds_that_once_failed_can_be_read() {
    seeds::read(seeds::LEDGER_REAL).unwrap();
}

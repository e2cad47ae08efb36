//! Writes over HTTP while Postgres is killed under them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::{Value, json};
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use crate::house::{House, Settings, Storage, admin};
use crate::world::{World, seed};

const CLIENTS: usize = 8;
/// Acknowledged between two kills.
const WRITES_BETWEEN: u64 = 150;
/// What may be said of a write that nobody knows about yet: each asks to come back.
const HONEST: [&str; 4] = ["database-unavailable", "timed-out", "overloaded", "request-in-flight"];

/// What the clients did and were told.
#[derive(Default)]
struct Ledger {
    next: AtomicU64,
    acknowledged: AtomicU64,
    /// How often each refusal was given.
    refusals: Mutex<BTreeMap<String, u64>>,
}

/// Asks for approvals under keys of their own, each again and again until it is acknowledged.
async fn client(ledger: Arc<Ledger>, url: String, token: String, keys: Value, stop: CancellationToken) {
    let http = reqwest::Client::new();
    while !stop.is_cancelled() {
        let number = ledger.next.fetch_add(1, Ordering::Relaxed);
        let mut body = json!({"action": "retry:request", "body": {"number": number}, "term_seconds": 3_600});
        body.as_object_mut().unwrap().extend(keys.as_object().unwrap().clone());
        body["request_id"] = json!(uuid::Uuid::new_v4());
        // Ends: Postgres comes back, and then the write is acknowledged; else the test's own limit ends it.
        loop {
            let request = http
                .post(&url)
                .header("authorization", format!("Bearer {token}"))
                .header("idempotency-key", format!("write-{number}"))
                .header("content-type", "application/json")
                .body(body.to_string());
            let answer = request.send().await.unwrap();
            let status = answer.status().as_u16();
            let text = answer.text().await.unwrap();
            if status == 201 {
                ledger.acknowledged.fetch_add(1, Ordering::Relaxed);
                break;
            }
            let problem: Value = serde_json::from_str(&text).unwrap_or_default();
            let kind = problem["type"].as_str().unwrap_or(&text).trim_start_matches("urn:plimsoll:problem:");
            *ledger.refusals.lock().await.entry(format!("{status} {kind}")).or_default() += 1;
            tokio::task::yield_now().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_acknowledged_write_is_lost_or_doubled_while_postgres_is_killed_twice() {
    let world = World::new(seed(902), 10).await;
    let mut house = House::new(&world, Settings { storage: Storage::Private, ..Settings::default() }).await;
    house.start();
    house.catches_up(&world).await;
    let user =
        admin(&house, &["users", "create", "--name", "writer", "--kind", "machine", "--role", "operator"])
            .await;
    let user_id = user["target_id"].as_str().unwrap();
    let scopes = "approvals:request,retry:request";
    let issued =
        admin(&house, &["keys", "issue", "--user", user_id, "--label", "writer", "--scopes", scopes]).await;
    let token = issued["key"].as_str().unwrap();
    let tenants = admin(&house, &["tenants", "list"]).await;
    let keys = json!({"tenant_id": tenants[0]["tenant_id"], "user_id": user_id});

    let (ledger, stop) = (Arc::new(Ledger::default()), CancellationToken::new());
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let url = house.url("/api/v1/approvals");
            tokio::spawn(client(ledger.clone(), url, token.to_owned(), keys.clone(), stop.clone()))
        })
        .collect();
    for kill in 0..=2 {
        let goal = ledger.acknowledged.load(Ordering::Relaxed) + WRITES_BETWEEN;
        house
            .until(&format!("{goal} acknowledged writes"), async |_| {
                (ledger.acknowledged.load(Ordering::Relaxed) >= goal).then_some(())
            })
            .await;
        if kill < 2 {
            house.kill_postgres();
        }
    }
    stop.cancel();
    for client in clients {
        client.await.unwrap();
    }

    let refusals = ledger.refusals.lock().await.clone();
    for refusal in refusals.keys() {
        assert!(HONEST.iter().any(|kind| refusal.ends_with(kind)), "{refusals:?}\n{}", house.log());
    }
    assert!(!refusals.is_empty(), "no write met a killed Postgres");
    let mut conn = house.connect().await.unwrap();
    let kept: Vec<i64> =
        sqlx::query_scalar("SELECT (body->>'number')::bigint FROM plimsoll.approvals ORDER BY 1")
            .fetch_all(&mut conn)
            .await
            .unwrap();
    let asked = i64::try_from(ledger.next.load(Ordering::Relaxed)).unwrap();
    assert_eq!(kept, (0..asked).collect::<Vec<_>>(), "each write once; refusals: {refusals:?}");
    let recorded: i64 =
        sqlx::query_scalar("SELECT (SELECT count(*) FROM plimsoll.audit_log WHERE action = 'identity.approval.request')
                                 + (SELECT count(*) FROM plimsoll.audit_staging WHERE action = 'identity.approval.request')")
            .fetch_one(&mut conn)
            .await
            .unwrap();
    assert_eq!(recorded, asked, "each write is on record once");
    house.stop().await;
}

//! A machine that asks for approvals over HTTP: writes that are easily counted.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::{Value, json};
use sqlx::PgConnection;
use tokio::sync::Mutex;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::house::{House, admin};

/// Who asks, by an API key of its own.
#[derive(Clone)]
pub(crate) struct Writer {
    http: reqwest::Client,
    token: String,
    keys: Value,
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) is_replayed: bool,
    pub(crate) text: String,
}

impl Answer {
    /// The status, and what is the matter where something is.
    pub(crate) fn told(&self) -> String {
        let problem: Value = serde_json::from_str(&self.text).unwrap_or_default();
        let kind = problem["type"].as_str().unwrap_or_default();
        format!("{} {}", self.status, kind.trim_start_matches("urn:plimsoll:problem:")).trim().to_owned()
    }
}

impl Writer {
    /// Makes it, at an installation that runs.
    pub(crate) async fn new(house: &House) -> Self {
        let user =
            admin(house, &["users", "create", "--name", "writer", "--kind", "machine", "--role", "operator"])
                .await;
        let user_id = user["target_id"].as_str().unwrap();
        let scopes = "approvals:request,retry:request";
        let issued =
            admin(house, &["keys", "issue", "--user", user_id, "--label", "writer", "--scopes", scopes])
                .await;
        let tenants = admin(house, &["tenants", "list"]).await;
        Self {
            http: reqwest::Client::new(),
            token: issued["key"].as_str().unwrap().to_owned(),
            keys: json!({"tenant_id": tenants[0]["tenant_id"], "user_id": user_id}),
        }
    }

    /// Asks for the approval of this number, under its key. An error: nobody answered.
    pub(crate) async fn ask(&self, url: &str, number: u64) -> Result<Answer, reqwest::Error> {
        let mut body = json!({"action": "retry:request", "body": {"number": number}, "term_seconds": 3_600});
        body.as_object_mut().unwrap().extend(self.keys.as_object().unwrap().clone());
        // The same each time: it is part of what is asked.
        body["request_id"] = json!(uuid::Uuid::from_u128(u128::from(number) + 1));
        let request = self
            .http
            .post(url)
            .header("authorization", format!("Bearer {}", self.token))
            .header("idempotency-key", format!("write-{number}"))
            .header("content-type", "application/json")
            .body(body.to_string());
        let answer = request.send().await?;
        Ok(Answer {
            status: answer.status().as_u16(),
            is_replayed: answer.headers().contains_key("idempotent-replayed"),
            text: answer.text().await?,
        })
    }
}

/// What clients did and were told.
#[derive(Default)]
struct Ledger {
    next: AtomicU64,
    acknowledged: AtomicU64,
    /// How often each refusal was given, and how often nobody answered.
    refusals: Mutex<BTreeMap<String, u64>>,
}

/// Writers at work, each with one request under way.
pub(crate) struct Clients {
    ledger: Arc<Ledger>,
    stop: CancellationToken,
    running: Vec<JoinHandle<()>>,
}

impl Clients {
    /// They turn to these addresses in turn, with each attempt to the next.
    pub(crate) fn start(writer: &Writer, urls: &[String], count: usize) -> Self {
        let (ledger, stop) = (Arc::new(Ledger::default()), CancellationToken::new());
        let running = (0..count)
            .map(|_| tokio::spawn(client(ledger.clone(), writer.clone(), urls.to_owned(), stop.clone())))
            .collect();
        Self { ledger, stop, running }
    }

    /// Waits until so many more writes are acknowledged.
    pub(crate) async fn write(&self, house: &mut House, more: u64) {
        let goal = self.ledger.acknowledged.load(Ordering::Relaxed) + more;
        house
            .until(&format!("{goal} acknowledged writes"), async |_| {
                (self.ledger.acknowledged.load(Ordering::Relaxed) >= goal).then_some(())
            })
            .await;
    }

    /// Lets each finish what it began. Returns how many writes there were, all of them acknowledged, and every refusal.
    pub(crate) async fn end(self, house: &mut House) -> (u64, BTreeMap<String, u64>) {
        self.stop.cancel();
        house
            .until("every client to be told of its last write", async |_| {
                self.running.iter().all(JoinHandle::is_finished).then_some(())
            })
            .await;
        for client in self.running {
            client.await.unwrap();
        }
        (self.ledger.next.load(Ordering::Relaxed), self.ledger.refusals.lock().await.clone())
    }
}

/// Asks for approvals under keys of their own, each again and again until it is acknowledged.
async fn client(ledger: Arc<Ledger>, writer: Writer, urls: Vec<String>, stop: CancellationToken) {
    let mut urls = urls.iter().cycle();
    while !stop.is_cancelled() {
        let number = ledger.next.fetch_add(1, Ordering::Relaxed);
        // Ends: whoever was killed comes back, and then the write is acknowledged; else the test's own limit ends it.
        for url in urls.by_ref() {
            let told = match writer.ask(url, number).await {
                Ok(answer) if answer.status == 201 => {
                    ledger.acknowledged.fetch_add(1, Ordering::Relaxed);
                    break;
                }
                Ok(answer) => answer.told(),
                Err(_) => "nobody answered".to_owned(),
            };
            *ledger.refusals.lock().await.entry(told).or_default() += 1;
            tokio::task::yield_now().await;
        }
    }
}

/// These writes are there, each once, and each once on record.
pub(crate) async fn each_is_there_once(conn: &mut PgConnection, asked: u64, told: &impl std::fmt::Debug) {
    let kept: Vec<i64> =
        sqlx::query_scalar("SELECT (body->>'number')::bigint FROM plimsoll.approvals ORDER BY 1")
            .fetch_all(&mut *conn)
            .await
            .unwrap();
    let asked = i64::try_from(asked).unwrap();
    assert_eq!(kept, (0..asked).collect::<Vec<_>>(), "each write once; refusals: {told:?}");
    let recorded: i64 = sqlx::query_scalar(
        "SELECT (SELECT count(*) FROM plimsoll.audit_log WHERE action = 'identity.approval.request')
              + (SELECT count(*) FROM plimsoll.audit_staging WHERE action = 'identity.approval.request')",
    )
    .fetch_one(conn)
    .await
    .unwrap();
    assert_eq!(recorded, asked, "each write is on record once");
}

//! Several processes and one key. What a client sees of it is tested where the API is.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod deferred;
mod presence;
mod round_trips;
mod shared;

use std::sync::Arc;
use std::time::Duration;

use plimsoll_store::idempotency::{
    Claim, Entered, EntryFilter, Fingerprint, IdempotencyError, Key, KeyOptions, Keys, RecoveryPoint, Replay,
    Request, Response, Scope, State, entries, entry,
};
use plimsoll_store::{DatabaseUrls, Db, testing};
use serde_json::json;
use sqlx::{ConnectOptions, PgConnection};
use uuid::Uuid;

const TENANT: Uuid = Uuid::from_u128(1);

/// A database with a table for effects.
async fn database() -> DatabaseUrls {
    let urls = testing::database().await;
    let mut owner = urls.owner.clone().connect().await.unwrap();
    sqlx::raw_sql(
        "CREATE TABLE effects (tenant_id uuid NOT NULL, what text NOT NULL);
         ALTER TABLE effects ENABLE ROW LEVEL SECURITY;
         ALTER TABLE effects FORCE ROW LEVEL SECURITY;
         CREATE POLICY own_tenant ON effects TO plimsoll_app USING (tenant_id = ANY (current_tenants()));
         GRANT SELECT, INSERT ON effects TO plimsoll_app;
         GRANT SELECT ON effects TO plimsoll_worker",
    )
    .execute(&mut owner)
    .await
    .unwrap();
    urls
}

async fn process(urls: &DatabaseUrls, name: &str, options: KeyOptions) -> Keys {
    Keys::new(Db::connect(urls).await.unwrap(), name, options)
}

fn request(key: &str) -> Request {
    Request {
        scope: Scope {
            tenant_id: Some(TENANT),
            principal: "user:ada".into(),
            method: "POST".into(),
            route: "/r".into(),
        },
        key: Key::explicit(key).unwrap(),
        fingerprint: Fingerprint::from_bytes([1; 32]),
    }
}

fn response(body: &str) -> Response {
    let headers = vec![("content-type".to_owned(), "text/plain".to_owned())];
    Response::new(200, headers, body.as_bytes().to_vec()).unwrap()
}

#[track_caller]
fn claimed(entered: Entered) -> Claim {
    match entered {
        Entered::Claimed(claim) => claim,
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn replayed(entered: Entered) -> String {
    match entered {
        Entered::Replay(replay) => match &*replay {
            Replay::Response(response) => String::from_utf8(response.body().to_vec()).unwrap(),
            Replay::Withheld { status } => panic!("{status}"),
        },
        other => panic!("{other:?}"),
    }
}

async fn put(conn: &mut PgConnection, what: &str) -> Result<(), IdempotencyError> {
    sqlx::query("INSERT INTO effects (tenant_id, what) VALUES ($1, $2)")
        .bind(TENANT)
        .bind(what)
        .execute(conn)
        .await?;
    Ok(())
}

async fn effects(keys: &Keys) -> i64 {
    sqlx::query_scalar("SELECT count(*) FROM effects").fetch_one(keys.db().worker()).await.unwrap()
}

/// The effect and the answer, as a handler commits them.
async fn work(claim: Claim, what: &str) -> Result<(), IdempotencyError> {
    let mut tx = claim.begin_effects().await?;
    put(&mut tx, what).await?;
    claim.write(&mut tx, &response(what)).await?;
    tx.commit().await?;
    claim.committed(response(what));
    Ok(())
}

#[tokio::test]
async fn a_duplicate_in_another_process_waits_too_and_gets_the_answer() {
    let urls = database().await;
    let (one, other) = (
        process(&urls, "one", KeyOptions::default()).await,
        process(&urls, "other", KeyOptions::default()).await,
    );
    let claim = claimed(one.enter(request("k")).await.unwrap());
    let waiting = tokio::spawn({
        let other = other.clone();
        async move { other.enter(request("k")).await.unwrap() }
    });
    while other.waiting() == 0 {
        tokio::task::yield_now().await;
    }
    work(claim, "done by one").await.unwrap();
    assert_eq!(replayed(waiting.await.unwrap()), "done by one");
    assert_eq!((effects(&one).await, one.waiting(), other.waiting()), (1, 0, 0));
}

#[tokio::test]
async fn a_key_that_was_given_up_is_had_by_who_waits_for_it() {
    let urls = database().await;
    let (one, other) = (
        process(&urls, "one", KeyOptions::default()).await,
        process(&urls, "other", KeyOptions::default()).await,
    );
    let claim = claimed(one.enter(request("k")).await.unwrap());
    let waiting = tokio::spawn({
        let other = other.clone();
        async move { other.enter(request("k")).await.unwrap() }
    });
    while other.waiting() == 0 {
        tokio::task::yield_now().await;
    }
    drop(claim);
    work(claimed(waiting.await.unwrap()), "done by other").await.unwrap();
    assert_eq!(replayed(one.enter(request("k")).await.unwrap()), "done by other");
}

#[tokio::test]
async fn an_attempt_that_gives_up_after_a_recovery_point_leaves_that_behind() {
    let urls = database().await;
    let keys = process(&urls, "one", KeyOptions::default()).await;
    let claim = claimed(keys.enter(request("k")).await.unwrap());
    let point = RecoveryPoint { name: "half".into(), data: json!({"way": "through"}) };
    let mut tx = claim.begin_effects().await.unwrap();
    put(&mut tx, "first half").await.unwrap();
    claim.advance(&mut tx, &point).await.unwrap();
    tx.commit().await.unwrap();
    drop(claim);
    let claim = claimed(keys.enter(request("k")).await.unwrap());
    assert_eq!(claim.recovery_point(), Some(&point));
    work(claim, "second half").await.unwrap();
    assert_eq!(replayed(keys.enter(request("k")).await.unwrap()), "second half");
    assert_eq!(effects(&keys).await, 2);
}

/// Claims that run out at once: everybody takes over from everybody, at any moment.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn however_many_take_over_from_each_other_one_commits() {
    const PROCESSES: usize = 4;
    const EACH: usize = 5;
    let urls = database().await;
    let options = KeyOptions { claim_term: Duration::ZERO, wait: Duration::ZERO, ..KeyOptions::default() };
    let mut processes = Vec::new();
    for at in 0..PROCESSES {
        processes.push(process(&urls, &at.to_string(), options).await);
    }
    let processes = Arc::new(processes);
    for round in 0..25 {
        let key = format!("k{round}");
        let racing: Vec<_> = (0..PROCESSES * EACH)
            .map(|at| {
                let (processes, key) = (processes.clone(), key.clone());
                tokio::spawn(async move {
                    // Each goes on until somebody has committed.
                    loop {
                        match processes[at % PROCESSES].enter(request(&key)).await.unwrap() {
                            Entered::Claimed(claim) => match work(claim, &key).await {
                                Ok(()) => return true,
                                Err(IdempotencyError::Fenced { .. }) => {}
                                Err(error) => panic!("{error}"),
                            },
                            Entered::InFlight => tokio::task::yield_now().await,
                            replay => {
                                assert_eq!(replayed(replay), key);
                                return false;
                            }
                        }
                    }
                })
            })
            .collect();
        let mut committed = 0;
        for racer in racing {
            committed += usize::from(racer.await.unwrap());
        }
        assert_eq!(committed, 1, "{key}");
        assert_eq!(effects(&processes[0]).await, round + 1);
    }
}

#[test]
fn an_answer_is_an_outcome_of_bounded_size_with_headers_that_can_be_sent() {
    for status in [100, 199, 500, 503] {
        assert!(matches!(
            Response::new(status, Vec::new(), Vec::new()),
            Err(IdempotencyError::NotAnOutcome { .. })
        ));
    }
    let split = vec![("location".to_owned(), "/a\r\nset-cookie: b".to_owned())];
    assert!(matches!(Response::new(200, split, Vec::new()), Err(IdempotencyError::Header { .. })));
    let large = vec![0; plimsoll_store::idempotency::RESPONSE_MAX_BYTES + 1];
    assert!(matches!(Response::new(200, Vec::new(), large), Err(IdempotencyError::ResponseTooLarge { .. })));
}

#[tokio::test]
async fn an_operator_sees_the_entries_of_the_tenant_that_was_named_and_no_other() {
    let urls = database().await;
    let keys = process(&urls, "one", KeyOptions::default()).await;
    let platform = Request { scope: Scope { tenant_id: None, ..request("k").scope }, ..request("k") };
    let (held, of_platform) =
        (claimed(keys.enter(request("k")).await.unwrap()), claimed(keys.enter(platform).await.unwrap()));
    work(claimed(keys.enter(request("done")).await.unwrap()), "answer").await.unwrap();
    let other = EntryFilter { tenant_id: Some(Uuid::from_u128(2)), ..EntryFilter::default() };
    let ours = EntryFilter { tenant_id: Some(TENANT), ..EntryFilter::default() };
    let mut worker = keys.db().begin_worker().await.unwrap();
    for (filter, expected) in [
        (EntryFilter::default(), vec!["k"]),
        (other, vec![]),
        (ours.clone(), vec!["done", "k"]),
        (EntryFilter { route: Some("/r".into()), state: Some(State::InFlight), ..ours.clone() }, vec!["k"]),
        (EntryFilter { route: Some("/s".into()), ..ours.clone() }, vec![]),
        (
            EntryFilter { key: Some("done".into()), principal: Some("user:ada".into()), ..ours.clone() },
            vec!["done"],
        ),
        (EntryFilter { principal: Some("user:bob".into()), ..ours.clone() }, vec![]),
    ] {
        let found = entries(&mut worker, &filter, 10).await.unwrap();
        assert_eq!(found.iter().map(|entry| entry.key.as_str()).collect::<Vec<_>>(), expected, "{filter:?}");
    }
    let found = entries(&mut worker, &ours, 1).await.unwrap().remove(0);
    assert_eq!((found.state, found.status, found.answer_bytes), (State::Done, Some(200), Some(6)));
    assert_eq!(entry(&mut worker, found.entry_id).await.unwrap().as_ref(), Some(&found));
    let mut confined = keys.db().tenant_tx(&[Uuid::from_u128(2)]).await.unwrap();
    assert_eq!(entry(&mut confined, found.entry_id).await.unwrap(), None);
    assert!(entries(&mut confined, &ours, 10).await.unwrap().is_empty());
    drop((held, of_platform));
}

//! Line 8: whatever is cut off, and wherever, there is one effect and one answer.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::Json;
use axum::http::StatusCode;
use plimsoll_store::idempotency::{
    Entered, Fingerprint, Key, KeyOptions, Keys, RecoveryPoint, Request, Scope,
};
use plimsoll_store::testing::{Polling, drop_after};
use plimsoll_store::{DatabaseUrls, PoolSizes};
use serde_json::{Value, json};

use super::{Answer, House, Probe, TENANT, post, write};
use crate::gateway::{Access, Declaration, Routes, WriteMethod};
use crate::idempotency::{Answered, Execution, Reply};
use crate::problem::{Problem, ProblemKind};
use crate::{ApiState, routes::router_with};

const TRANSFERS: &str = "/api/v1/transfers";
const POOLS: PoolSizes = PoolSizes { app: 3, worker: 1 };
/// No request takes as many steps: the loops end.
const STEPS_MAX: usize = 500;
const POLLS_MAX: usize = 100_000_000;

/// Reserves, sends, and books: two transactions with an effect outside the database between them.
async fn transfer(
    probe: Arc<Probe>,
    execution: Execution,
    Json(body): Json<Value>,
) -> Result<Answered, Problem> {
    probe.pass().await;
    let execution = match execution.recovery_point() {
        Some(_) => execution,
        None => {
            let tenant_id = execution.scope().tenant_id;
            let mut effect = execution.begin_effects().await?;
            let at = write(&mut effect, tenant_id, "reserved").await?;
            effect.advance("reserved", json!({"id": format!("transfer-{at}")})).await?
        }
    };
    let id = execution.recovery_point().unwrap().data["id"].as_str().unwrap().to_owned();
    // The world outside: it knows an id that it has seen.
    tokio::task::yield_now().await;
    *probe.sent.lock().unwrap().entry(id.clone()).or_default() += 1;
    tokio::task::yield_now().await;
    if body["outcome"] == "broken" && probe.executions() == 1 {
        return Err(Problem::new(ProblemKind::Internal, "the answer was lost"));
    }
    let tenant_id = execution.scope().tenant_id;
    let mut effect = execution.begin_effects().await?;
    let at = write(&mut effect, tenant_id, "booked").await?;
    Ok(effect
        .commit(super::entry("booked"), Reply::json(StatusCode::CREATED, &json!({"id": id, "booked": at}))?)
        .await?)
}

fn transfers(house: &House) -> Router {
    let probe = house.probe.clone();
    let handler = move |execution, body| transfer(probe.clone(), execution, body);
    let routes = Routes::<ApiState>::default()
        .write(Declaration::requiring_key(WriteMethod::Post, TRANSFERS, Access::Anybody), handler);
    router_with(house.state.clone(), super::behind(routes))
}

/// Sends it twice more: both must be the one answer, and behind it one effect of each kind.
async fn has_one_effect_and_one_answer(house: &House, router: &Router, key: &str, first: Option<Answer>) {
    let ask = || super::answer(router.clone(), post(TRANSFERS, key, &json!({"key": key})));
    let (second, third) = (ask().await, ask().await);
    for answer in [&second, &third] {
        assert_eq!(answer.status.as_u16(), 201, "{key}: {}", String::from_utf8_lossy(&answer.body));
    }
    assert!(third.is_replayed());
    assert_eq!(second.body, third.body, "{key}");
    if let Some(first) = first {
        assert_eq!((first.status, first.body), (second.status, second.body.clone()), "{key}");
    }
    let effects: Vec<(String, i64)> =
        sqlx::query_as("SELECT what, count(*) FROM effects GROUP BY what ORDER BY what")
            .fetch_all(house.db.worker())
            .await
            .unwrap();
    let sent = house.probe.sent.lock().unwrap();
    assert!(sent.contains_key(second.json()["id"].as_str().unwrap()));
    let count = i64::try_from(sent.len()).unwrap();
    assert_eq!(effects, [("booked".to_owned(), count), ("reserved".to_owned(), count)], "{key}");
}

#[tokio::test]
async fn line_8_a_request_that_is_dropped_at_any_await_has_one_effect_and_one_answer() {
    let house = House::start().await;
    let router = transfers(&house);
    for polls in 1..STEPS_MAX {
        let key = format!("dropped-{polls}");
        let request = post(TRANSFERS, &key, &json!({"key": key}));
        let first = drop_after(polls, Polling::WhenWoken, super::answer(router.clone(), request)).await;
        let is_whole = first.is_some();
        has_one_effect_and_one_answer(&house, &router, &key, first).await;
        if is_whole {
            assert!(polls > 5, "there are steps to be dropped at");
            return;
        }
    }
    panic!("a request that takes more than {STEPS_MAX} steps");
}

#[tokio::test]
async fn line_7_a_5xx_resumes_from_its_recovery_point() {
    let house = House::start().await;
    let router = transfers(&house);
    let ask = || super::answer(router.clone(), post(TRANSFERS, "k", &json!({"outcome": "broken"})));
    ask().await.is_problem(500, "internal");
    let (second, third) = (ask().await, ask().await);
    assert_eq!((second.status.as_u16(), second.is_replayed(), third.is_replayed()), (201, false, true));
    assert_eq!((second.body, house.probe.executions()), (third.body, 2));
    assert_eq!(house.effects().await, 2, "reserved once, booked once");
    let sent = house.probe.sent.lock().unwrap();
    assert_eq!(sent.values().copied().collect::<Vec<_>>(), [2], "sent again under the same id");
}

/// Runs a request for so many steps in a process of its own, as far as a test can: a runtime with its pools, of which nothing is
/// left after that, not even a task that would clean up. Its claims have their whole term before them: they are free because it is gone.
fn killed_after(polls: usize, urls: &DatabaseUrls, probe: Arc<Probe>, key: &str) -> Option<(u16, Vec<u8>)> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let answer = runtime.block_on(async {
        let house = House::on(urls, KeyOptions::default(), POOLS, probe).await;
        let request = post(TRANSFERS, key, &json!({"key": key}));
        drop_after(polls, Polling::Restless, super::answer(transfers(&house), request)).await
    });
    runtime.shutdown_background();
    answer.map(|answer| (answer.status.as_u16(), answer.body))
}

#[tokio::test]
async fn line_8_a_process_that_is_killed_at_any_step_leaves_one_effect_and_one_answer() {
    let house = House::start().await;
    let router = transfers(&house);
    let mut polls = 1;
    while polls < POLLS_MAX {
        let key = format!("killed-{polls}");
        let (urls, probe, name) = (house.urls.clone(), house.probe.clone(), key.clone());
        let first =
            tokio::task::spawn_blocking(move || killed_after(polls, &urls, probe, &name)).await.unwrap();
        let is_whole = first.is_some();
        has_one_effect_and_one_answer(&house, &router, &key, None).await;
        if let Some((status, body)) = first {
            let again = super::answer(router.clone(), post(TRANSFERS, &key, &json!({"key": key}))).await;
            assert_eq!((status, body), (again.status.as_u16(), again.body));
        }
        if is_whole {
            return;
        }
        polls += 1 + polls / 4;
    }
    panic!("a request that is not answered within {POLLS_MAX} polls");
}

fn request(key: &str) -> Request {
    Request {
        scope: Scope {
            tenant_id: Some(TENANT),
            principal: "user:ada".into(),
            method: "POST".into(),
            route: TRANSFERS.into(),
        },
        key: Key::explicit(key).unwrap(),
        fingerprint: Fingerprint::from_bytes([1; 32]),
    }
}

#[track_caller]
fn is_in_flight(entered: &Entered) {
    assert!(matches!(entered, Entered::InFlight), "{entered:?}");
}

#[tokio::test]
async fn line_8_who_lost_its_claim_commits_nothing_and_who_is_committing_cannot_lose_it() {
    let house = House::start().await;
    let at_once = KeyOptions { claim_term: Duration::ZERO, wait: Duration::ZERO, ..KeyOptions::default() };
    let slow = Keys::new(house.db.clone(), "slow:1", at_once);
    let quick = Keys::new(house.db.clone(), "quick:1", at_once);
    let response = plimsoll_store::idempotency::Response::new(201, Vec::new(), b"done".to_vec()).unwrap();

    // Before its transaction: it cannot begin.
    let Entered::Claimed(lost) = slow.enter(request("a")).await.unwrap() else { unreachable!() };
    let Entered::Claimed(taken) = quick.enter(request("a")).await.unwrap() else { unreachable!() };
    assert!(lost.begin_effects().await.unwrap_err().to_string().contains("no longer held"));
    drop(lost);
    let mut tx = taken.begin_effects().await.unwrap();
    taken.write(&mut tx, &response).await.unwrap();
    tx.commit().await.unwrap();
    taken.committed(response.clone());
    let Entered::Replay(_) = slow.enter(request("a")).await.unwrap() else { unreachable!() };

    // Within its transaction: its claim has run out, and nobody gets it until the transaction ends.
    let Entered::Claimed(held) = slow.enter(request("b")).await.unwrap() else { unreachable!() };
    let mut tx = held.begin_effects().await.unwrap();
    is_in_flight(&quick.enter(request("b")).await.unwrap());
    held.write(&mut tx, &response).await.unwrap();
    is_in_flight(&quick.enter(request("b")).await.unwrap());
    tx.commit().await.unwrap();
    held.committed(response);
    let Entered::Replay(_) = quick.enter(request("b")).await.unwrap() else { unreachable!() };

    // Between two: the other goes on from the recovery point.
    let Entered::Claimed(mut lost) = slow.enter(request("c")).await.unwrap() else { unreachable!() };
    let point = RecoveryPoint { name: "half".into(), data: json!({"way": 1}) };
    let mut tx = lost.begin_effects().await.unwrap();
    lost.advance(&mut tx, &point).await.unwrap();
    tx.commit().await.unwrap();
    lost.advanced(point.clone());
    let Entered::Claimed(taken) = quick.enter(request("c")).await.unwrap() else { unreachable!() };
    assert_eq!(taken.recovery_point(), Some(&point));
    assert!(lost.begin_effects().await.is_err());
}

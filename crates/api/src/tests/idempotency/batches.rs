//! Batch writers, and batches.

use std::sync::Arc;

use axum::extract::Json;
use axum::http::StatusCode;
use plimsoll_store::PoolSizes;
use plimsoll_store::idempotency::{
    Claim, Entered, Fingerprint, Item, Key, KeyOptions, Response, Scope, Settled, lock_all, write_all,
};
use serde_json::{Value, json};
use tokio::sync::{Semaphore, mpsc, oneshot};

use super::{House, Probe, TENANT, post, write};
use crate::ApiState;
use crate::gateway::{Access, Declaration, Routes, WriteMethod};
use crate::idempotency::{Answered, Execution, Reply};
use crate::problem::{Problem, ProblemKind};
use crate::routes::router_with;

const POSTINGS: &str = "/api/v1/postings";
const HANDLERS: usize = 200;

struct Posting {
    claim: Claim,
    response: Response,
    answer: oneshot::Sender<Settled>,
}

/// Commits whatever waits, in one transaction: keys, effects and answers.
async fn writer(house_db: plimsoll_store::Db, mut postings: mpsc::Receiver<Posting>, gate: Arc<Semaphore>) {
    let mut batch = Vec::new();
    while gate.acquire().await.is_ok() && postings.recv_many(&mut batch, HANDLERS).await > 0 {
        let mut tx = house_db.tenant_tx_by_keys(&[TENANT]).await.unwrap();
        let claims: Vec<&Claim> = batch.iter().map(|posting| &posting.claim).collect();
        let held = lock_all(&mut tx, &claims).await.unwrap();
        let mut at = held.into_iter();
        batch.retain(|_| at.next().unwrap());
        for posting in &batch {
            write(&mut tx, posting.claim.scope().tenant_id, posting.claim.key().as_str()).await.unwrap();
        }
        let answers: Vec<_> = batch.iter().map(|posting| (&posting.claim, &posting.response)).collect();
        write_all(&mut tx, &answers).await.unwrap();
        tx.commit().await.unwrap();
        for posting in batch.drain(..) {
            let settled = posting.claim.committed(posting.response);
            // Whoever went away meanwhile asks again, and gets it as a replay.
            posting.answer.send(settled).ok();
        }
    }
}

async fn posting(
    queue: mpsc::Sender<Posting>,
    execution: Execution,
    Json(body): Json<Value>,
) -> Result<Answered, Problem> {
    let (claim, form) = execution.hand_over();
    let response = form.keep(Reply::json(StatusCode::CREATED, &json!({"posted": body["name"]}))?)?;
    let (answer, settled) = oneshot::channel();
    let posting = Posting { claim, response, answer };
    let gone = || Problem::new(ProblemKind::Overloaded, "the writer is gone");
    queue.send(posting).await.map_err(|_| gone())?;
    Ok(settled.await.map_err(|_| gone())?.into())
}

#[tokio::test]
async fn line_8_two_hundred_handlers_wait_on_one_batch_writer_and_hold_no_connection() {
    let urls = super::database().await;
    let pools = PoolSizes { app: 5, worker: 2 };
    let house = House::on(&urls, KeyOptions::default(), pools, Probe::new()).await;
    let (queue, postings) = mpsc::channel(HANDLERS);
    let gate = Arc::new(Semaphore::new(0));
    let writing = tokio::spawn(writer(house.db.clone(), postings, gate.clone()));
    let handler = {
        let queue = queue.clone();
        move |execution, body| posting(queue.clone(), execution, body)
    };
    let routes = Routes::<ApiState>::default()
        .write(Declaration::requiring_key(WriteMethod::Post, POSTINGS, Access::Anybody), handler);
    let router = router_with(house.state.clone(), super::behind(routes));
    let request = |at: usize| post(POSTINGS, &format!("k{at}"), &json!({"name": at}));

    let calls: Vec<_> =
        (0..HANDLERS).map(|at| tokio::spawn(super::answer(router.clone(), request(at)))).collect();
    while queue.capacity() > 0 {
        tokio::task::yield_now().await;
    }
    // All wait for the writer, and every connection is to be had.
    let mut connections = Vec::new();
    for _ in 0..pools.app {
        connections.push(house.db.app().acquire().await.unwrap());
    }
    drop(connections);
    assert_eq!(house.effects().await, 0);
    // A client that goes away takes nothing with it.
    calls[0].abort();
    gate.add_permits(Semaphore::MAX_PERMITS / 2);
    for (at, call) in calls.into_iter().enumerate().skip(1) {
        let answer = call.await.unwrap();
        assert_eq!((answer.status.as_u16(), answer.is_replayed()), (201, false));
        assert_eq!(answer.json()["posted"], at);
    }
    let gone = super::answer(router.clone(), request(0)).await;
    assert_eq!((gone.status.as_u16(), gone.is_replayed(), gone.json()), (201, true, json!({"posted": 0})));
    assert_eq!(house.effects().await, i64::try_from(HANDLERS).unwrap());
    writing.abort();
}

fn item(key: &str, what: u8) -> (Key, Fingerprint) {
    (Key::explicit(key).unwrap(), Fingerprint::from_bytes([what; 32]))
}

#[tokio::test]
async fn line_11_each_item_of_a_batch_has_its_key_and_duplicates_within_it_count_once() {
    let house = House::start().await;
    let scope = Scope {
        tenant_id: Some(TENANT),
        principal: "user:ada".into(),
        method: "POST".into(),
        route: POSTINGS.into(),
    };
    let batch = [item("b", 1), item("a", 2), item("b", 1), item("a", 3)];
    let mut claims = Vec::new();
    let items = house.keys.enter_all(&scope, &batch).await.unwrap();
    let seen: Vec<&str> = items
        .iter()
        .map(|item| match item {
            Item::Entered(Entered::Claimed(_)) => "claimed",
            Item::Entered(Entered::Mismatch) => "mismatch",
            Item::SameAs(0) => "same as the first",
            _ => "another",
        })
        .collect();
    assert_eq!(seen, ["claimed", "claimed", "same as the first", "mismatch"]);
    for item in items {
        if let Item::Entered(Entered::Claimed(claim)) = item {
            claims.push(claim);
        }
    }

    // While it is in flight, another batch is told so at once; two could wait for each other.
    let other = house.keys.enter_all(&scope, &[item("a", 2), item("c", 1)]).await.unwrap();
    let [Item::Entered(Entered::InFlight), Item::Entered(Entered::Claimed(third))] = other.as_slice() else {
        panic!("{other:?}")
    };
    assert_eq!(third.key().as_str(), "c");

    let mut tx = house.db.tenant_tx(&[TENANT]).await.unwrap();
    let held: Vec<&Claim> = claims.iter().collect();
    assert_eq!(lock_all(&mut tx, &held).await.unwrap(), [true, true]);
    let responses: Vec<Response> = claims
        .iter()
        .map(|claim| Response::new(201, Vec::new(), claim.key().as_str().as_bytes().to_vec()).unwrap())
        .collect();
    for claim in &claims {
        write(&mut tx, Some(TENANT), claim.key().as_str()).await.unwrap();
    }
    let answers: Vec<_> = claims.iter().zip(&responses).collect();
    write_all(&mut tx, &answers).await.unwrap();
    tx.commit().await.unwrap();
    for (claim, response) in claims.into_iter().zip(responses) {
        claim.committed(response);
    }

    let again = house.keys.enter_all(&scope, &[item("a", 2), item("b", 9), item("b", 1)]).await.unwrap();
    let [Item::Entered(Entered::Replay(a)), Item::Entered(Entered::Mismatch), ..] = again.as_slice() else {
        panic!("{again:?}")
    };
    assert!(format!("{a:?}").contains("[97]"), "{a:?}");
    assert_eq!(house.effects().await, 2);
    let many: Vec<_> = (0..1_001).map(|at| item(&at.to_string(), 1)).collect();
    assert!(house.keys.enter_all(&scope, &many).await.unwrap_err().to_string().contains("1000"));
}

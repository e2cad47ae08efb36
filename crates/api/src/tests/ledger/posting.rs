//! Handing in postings: once, whole or not at all, and nothing that the books do not allow.

use std::collections::BTreeSet;

use axum::http::Method;
use plimsoll_identity::UserKind;
use serde_json::{Value, json};
use uuid::Uuid;

use super::super::Api;
use super::support::{BATCH, House, POST, books, house, send};

const POSTINGS: &str = "SELECT count(*) FROM ledger_postings";
const AUDITED: &str = "SELECT count(*) FROM audit_staging WHERE action = 'ledger.post'";

async fn events(house: &House, kind: &str) -> i64 {
    let told = sqlx::query_scalar("SELECT count(*) FROM events_staging WHERE event_type = $1").bind(kind);
    told.fetch_one(house.api.db.worker()).await.unwrap()
}

#[tokio::test]
async fn a_posting_is_booked_once_however_often_it_is_sent() {
    let house = house().await;
    let body = house.deposit(12_345);
    let first = house.send(POST, "one", &body).await;
    let made = first.expect(201);
    assert_eq!((&made["request_id"], &made["operation_type"]), (&body["request_id"], &json!("deposit")));
    let again = house.send(POST, "one", &body).await;
    assert_eq!((again.status, &again.body), (first.status, &first.body));
    assert_eq!(again.headers["idempotent-replayed"], "true");
    // The key has gone, or is another: the natural one still holds, and the answer is the first.
    let other = house.send(POST, "two", &body).await;
    assert_eq!((other.status, &other.body), (first.status, &first.body));
    assert!(!other.headers.contains_key("idempotent-replayed"));
    assert_eq!(house.balance(house.cash, "").await, "12345");
    assert_eq!((house.count(POSTINGS).await, house.count(AUDITED).await), (1, 1));
    assert_eq!(events(&house, "ledger.posting.posted").await, 1);

    // For another user, or another operation, it is another posting.
    for (field, value) in [("user_id", json!(Uuid::new_v4())), ("operation_type", json!("bonus"))] {
        let mut another = body.clone();
        another[field] = value;
        house.post(&another).await.expect(201);
    }
    assert_eq!(house.balance(house.cash, "").await, "37035");
}

#[tokio::test]
async fn another_posting_under_a_key_is_a_conflict_that_names_the_first() {
    let house = house().await;
    let body = house.deposit(5);
    let made = house.send(POST, "one", &body).await.expect(201);
    let mut changed = house.deposit(6);
    changed["request_id"] = body["request_id"].clone();
    let conflict = house.send(POST, "two", &changed).await;
    let detail = conflict.refused(409, "conflict");
    assert!(detail.contains(made["posting_id"].as_str().unwrap()), "{detail}");
    // It is an answer, and kept.
    let again = house.send(POST, "two", &changed).await;
    assert_eq!((again.status, &again.body), (conflict.status, &conflict.body));
    house.send(POST, "one", &changed).await.refused(422, "idempotency-key-reused");
    let on_record = "SELECT count(*) FROM bf_events WHERE status = 'conflict'";
    assert_eq!((house.count(POSTINGS).await, house.count(on_record).await), (1, 1));
    assert_eq!(events(&house, "ledger.posting.conflict").await, 1);
    assert_eq!(house.balance(house.cash, "").await, "5");
}

#[tokio::test]
async fn what_the_books_do_not_allow_is_refused_and_can_be_asked_for_again() {
    let house = house().await;
    let overdraft = house.withdrawal(10);
    let detail = house.send(POST, "one", &overdraft).await.refused(422, "posting-refused");
    assert!(detail.contains("would hold -10"), "{detail}");
    house.post(&house.deposit(10)).await.expect(201);
    // Not kept under its key: now there is enough.
    house.send(POST, "one", &overdraft).await.expect(201);

    let closing = json!({ "reason": "the year is over" });
    let close = format!("/api/v1/ledger/accounts/{}/close", house.deposits);
    let closed = house.api.post(&house.admin, &close, closing.clone()).await.expect(200);
    assert!(closed["closed_at"].is_string(), "{closed}");
    house.api.post(&house.admin, &close, closing).await.refused(409, "conflict");
    let detail = house.post(&house.deposit(1)).await.refused(422, "posting-refused");
    assert!(detail.contains("is closed"), "{detail}");
    assert_eq!(house.count(POSTINGS).await, 2);
}

#[tokio::test]
async fn whatever_is_wrong_with_a_posting_is_named_by_its_field() {
    let house = house().await;
    let strange = Uuid::new_v4();
    for (change, named) in [
        (json!({ "entries": [] }), "entries"),
        (json!({ "effective_at": "tomorrow" }), "effective_at"),
        (json!({ "chain_tx_hash": "0x12" }), "chain_tx_hash"),
        (json!({ "domain": "Cash" }), "domain"),
        (json!({ "metadata": { "long": "x".repeat(17 * 1024) } }), "metadata"),
    ] {
        let mut body = house.deposit(1);
        body.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        let refused = house.post(&body).await;
        refused.refused(400, "invalid-body");
        assert_eq!(refused.json()["parameters"][0]["name"], named, "{}", refused.body);
    }
    let mut body = house.deposit(1);
    body["entries"][0]["debit"] = json!(1.5);
    assert!(house.post(&body).await.refused(400, "invalid-body").contains("decimal string"));
    // As the document has it, and no posting all the same.
    for (place, value, named, said) in [
        ("/entries/0/debit", json!(2), "entries", "must be equal"),
        ("/entries/0/debit", json!(0), "entries[0]", "books nothing"),
        ("/entries/0/credit", json!("1"), "entries[0]", "is a debit or a credit"),
        ("/chain_block_number", json!(7), "chain_block_hash", "give both, or neither"),
    ] {
        let mut body = house.deposit(1);
        body.as_object_mut().unwrap().entry("chain_block_number").or_insert(Value::Null);
        *body.pointer_mut(place).unwrap() = value;
        let refused = house.post(&body).await;
        assert!(refused.refused(422, "posting-refused").contains(said), "{place}: {}", refused.body);
        assert_eq!(refused.json()["parameters"][0]["name"], named, "{}", refused.body);
    }
    for key in ["request_id", "tenant_id"] {
        let mut body = house.deposit(1);
        body.as_object_mut().unwrap().remove(key);
        house.post(&body).await.refused(400, "missing-key");
    }
    let mut body = house.deposit(1);
    body["tenant_id"] = json!(strange);
    house.post(&body).await.refused(404, "not-found");
    let mut body = house.deposit(1);
    body["entries"][0]["account_id"] = json!(strange);
    house.post(&body).await.refused(422, "posting-refused");
    let body = house.deposit(1);
    let without_key = house.api.ask(Some(&house.admin.token), Method::POST, POST, Some(&body));
    without_key.await.refused(400, "missing-idempotency-key");
    assert_eq!(house.count(POSTINGS).await, 0);
}

#[tokio::test]
async fn of_a_batch_each_has_its_own_outcome_and_one_that_is_refused_fails_no_other() {
    let house = house().await;
    let taken = house.deposit(1);
    house.post(&taken).await.expect(201);
    let mut conflict = house.deposit(2);
    conflict["request_id"] = taken["request_id"].clone();
    let mut unbalanced = house.deposit(3);
    unbalanced["entries"][0]["debit"] = json!(4);
    let postings =
        json!([house.deposit(10), house.withdrawal(1_000), conflict, unbalanced, taken, house.deposit(20)]);
    let batch =
        json!({ "request_id": Uuid::new_v4(), "tenant_id": house.admin.tenant_id, "postings": postings });
    let first = house.send(BATCH, "batch", &batch).await;
    let told = first.expect(200);
    let statuses: Vec<_> =
        told["items"].as_array().unwrap().iter().map(|item| item["status"].clone()).collect();
    assert_eq!(statuses, [201, 422, 409, 422, 201, 201]);
    for (item, asked) in told["items"].as_array().unwrap().iter().zip(postings.as_array().unwrap()) {
        assert_eq!(item["request_id"], asked["request_id"]);
        assert_eq!(item["posting"].is_null(), item["detail"].is_string(), "{item}");
    }
    assert_eq!(house.balance(house.cash, "").await, "31");
    let again = house.send(BATCH, "batch", &batch).await;
    assert_eq!(again.body, first.body);
    assert_eq!((house.count(POSTINGS).await, house.count(AUDITED).await), (3, 3));

    let empty = json!({ "request_id": Uuid::new_v4(), "tenant_id": house.admin.tenant_id, "postings": [] });
    house.send(BATCH, "empty", &empty).await.refused(400, "invalid-body");
    let foreign = [("tenant_id", json!(Uuid::new_v4())), ("created_by", json!("key:somebody"))];
    for (field, value) in foreign {
        let mut posting = house.deposit(1);
        posting[field] = value;
        let batch = json!({ "request_id": Uuid::new_v4(), "tenant_id": house.admin.tenant_id, "postings": [house.deposit(1), posting] });
        let detail = house.send(BATCH, &Uuid::new_v4().to_string(), &batch).await.refused(403, "forbidden");
        assert!(detail.contains("postings[1]"), "{field}: {detail}");
    }
    assert_eq!(house.count(POSTINGS).await, 3);
}

#[tokio::test]
async fn a_hundred_at_once_share_transactions_and_one_posting_is_one() {
    let house = house().await;
    let body = house.deposit(7);
    let send = |n: usize| {
        let (house, body) = (&house, if n.is_multiple_of(2) { body.clone() } else { house.deposit(1) });
        async move { house.send(POST, &format!("key-{n}"), &body).await }
    };
    let all = futures::future::join_all((0..100).map(send)).await;
    let same: BTreeSet<_> = all.iter().step_by(2).map(|answer| answer.expect(201).to_string()).collect();
    assert_eq!(same.len(), 1, "{same:?}");
    assert_eq!((house.count(POSTINGS).await, house.count(AUDITED).await), (51, 51));
    let commits = house.count("SELECT count(DISTINCT xmin::text) FROM ledger_postings").await;
    assert!(commits < 40, "{commits} transactions for 51 postings");
    assert_eq!(house.balance(house.cash, "").await, "57");
}

#[tokio::test]
async fn who_may_not_post_or_gave_no_second_factor_is_refused() {
    let house = house().await;
    let tenant_id = house.admin.tenant_id;
    let viewer = house.api.person(tenant_id, UserKind::Person, &["viewer"]).await;
    let body = house.deposit(1);
    send(&house.api, &viewer, POST, "a", &body).await.refused(403, "forbidden");
    let user = house.api.user_of(&house.admin).await;
    let once = house.api.session(&user, false).await;
    send(&house.api, &once, POST, "b", &body).await.refused(403, "second-factor-required");
    assert_eq!(house.count(POSTINGS).await, 0);
}

#[tokio::test]
async fn tenants_post_to_their_own_accounts_alone() {
    let house = house().await;
    let other = house.api.tenant_named("globex").await;
    let other = house.api.person(other, UserKind::Person, &["admin"]).await;
    let (theirs, _) = books(&house.api, &other).await;
    let mut body = house.deposit(1);
    body["entries"][0]["account_id"] = json!(theirs);
    let detail = house.post(&body).await.refused(422, "posting-refused");
    assert!(detail.contains("none of the tenant's"), "{detail}");
    let made = house.post(&house.deposit(1)).await.expect(201);
    let posting = format!("/api/v1/ledger/postings/{}", made["posting_id"].as_str().unwrap());
    house.api.read(&other, &posting).await.refused(404, "not-found");
    house.api.read(&other, &format!("{posting}/proof")).await.refused(404, "not-found");
    let none = |page: &Value| page["items"].as_array().unwrap().is_empty();
    let entries = format!("/api/v1/ledger/entries?request_id={}", made["request_id"].as_str().unwrap());
    assert!(none(&house.api.read(&other, &entries).await.expect(200)));
    assert!(!none(&house.read(&entries).await));
    let account = format!("/api/v1/ledger/accounts/{}", house.cash);
    house.api.read(&other, &account).await.refused(404, "not-found");
    house.api.post(&other, &format!("{account}/limits"), json!({})).await.refused(404, "not-found");
}

#[tokio::test]
async fn what_was_answered_before_a_restart_is_answered_after_it() {
    let house = house().await;
    let body = house.deposit(9);
    let first = house.send(POST, "one", &body).await;
    first.expect(201);
    // Another process over the same database.
    let (db, roles) = (house.api.db.clone(), crate::Roles::of("here:2"));
    let keys = plimsoll_store::idempotency::Keys::new(
        db.clone(),
        "here:2",
        plimsoll_store::idempotency::KeyOptions::default(),
    );
    let mut services = super::super::services(&db, keys, roles);
    services.authenticator =
        plimsoll_identity::Authenticator::new(db, house.api.state.authenticator().tokens().clone());
    let state = crate::ApiState::new(services, crate::ApiOptions::default());
    let router = crate::routes::router_with(state.clone(), axum::Router::new());
    let api = Api { router, state, ..house.api };
    let again = send(&api, &house.admin, POST, "one", &body).await;
    assert_eq!((again.status, again.body.as_str()), (first.status, first.body.as_str()));
    let other = send(&api, &house.admin, POST, "two", &body).await;
    assert_eq!((other.status, other.body.as_str()), (first.status, first.body.as_str()));
}

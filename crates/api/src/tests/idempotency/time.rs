//! How long a key lives, and who may end it before.

use std::time::Duration;

use plimsoll_store::Leases;
use plimsoll_store::idempotency::{Key, KeyOptions, Scope, State, invalidate, sweep};
use serde_json::json;
use sqlx::{AssertSqlSafe, ConnectOptions};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{House, TENANT, THINGS, post};

fn scope() -> Scope {
    Scope {
        tenant_id: Some(TENANT),
        principal: "user:ada".into(),
        method: "POST".into(),
        route: THINGS.into(),
    }
}

#[tokio::test]
async fn line_10_a_key_lives_for_24_hours_unless_configured() {
    let house = House::start().await;
    house.post(THINGS, "k", &json!({})).await;
    let hours: i32 = sqlx::query_scalar(
        "SELECT (extract(epoch FROM expires_at - created_at) / 3600)::int FROM idempotency_cache",
    )
    .fetch_one(house.db.worker())
    .await
    .unwrap();
    assert_eq!(hours, 24);

    let house = House::start_with(KeyOptions { ttl: Duration::ZERO, ..KeyOptions::default() }).await;
    for effects in 1..=2 {
        let answer = house.post(THINGS, "k", &json!({"name": effects})).await;
        assert_eq!((answer.status.as_u16(), answer.is_replayed()), (201, false), "its time was over");
        assert_eq!((house.effects().await, house.entries().await), (effects, 1));
    }
}

#[tokio::test]
async fn line_10_keys_whose_time_is_over_are_swept_in_batches_and_no_others() {
    let house = House::start().await;
    let mut owner = house.urls.owner.clone().connect().await.unwrap();
    let fill = |count: i32, state: &str, claim_left_s: i32, left_s: i32| {
        AssertSqlSafe(format!(
            "INSERT INTO idempotency_cache (principal, method, route, key, fingerprint, state, claim, claimed_by,
                 claim_expires_at, result_status, created_at, expires_at)
             SELECT 'p', 'POST', '/r', '{state} {claim_left_s} {left_s} ' || n, sha256('x'), '{state}', gen_random_uuid(), 'h',
                 now() + {claim_left_s} * interval '1 s', CASE '{state}' WHEN 'done' THEN 200 END, now(),
                 now() + {left_s} * interval '1 s'
             FROM generate_series(1, {count}) AS n"
        ))
    };
    for statement in [
        fill(2_500, "done", -1, -1),
        fill(1, "done", -1, 60),
        fill(1, "in_flight", -1, -1),
        fill(1, "in_flight", 60, -1),
    ] {
        sqlx::raw_sql(statement).execute(&mut owner).await.unwrap();
    }
    let leases = Leases::connect(&house.db, "here:1", plimsoll_store::DEFAULT_TERM).await.unwrap();
    let lease = leases.acquire("retention").await.unwrap().unwrap();
    assert_eq!(sweep(&house.db, &lease, &CancellationToken::new()).await.unwrap(), 2_501);
    assert_eq!(house.entries().await, 2, "one is young, and one is being worked on");
    lease.clone().release().await.unwrap();
    assert!(sweep(&house.db, &lease, &CancellationToken::new()).await.is_err(), "only under the lease");
}

#[tokio::test]
async fn line_13_an_operator_takes_a_key_out_on_record() {
    let house = House::start().await;
    let body = json!({"name": "a"});
    house.post(THINGS, "k", &body).await;
    let key = Key::explicit("k").unwrap();
    let mut tx = house.db.begin_worker().await.unwrap();
    let unsigned = invalidate(&mut tx, &scope(), &key, " ", "because").await.unwrap_err();
    assert!(unsigned.to_string().contains("on record"));
    let gone =
        invalidate(&mut tx, &scope(), &key, "ada@example.org", "sent by mistake").await.unwrap().unwrap();
    assert_eq!((gone.state, gone.status), (State::Done, Some(201)));
    assert_eq!(invalidate(&mut tx, &scope(), &key, "ada@example.org", "again").await.unwrap(), None);
    tx.commit().await.unwrap();
    let record: (String, String, Option<Uuid>, String) =
        sqlx::query_as("SELECT operator, reason, tenant_id, key FROM idempotency_invalidations")
            .fetch_one(house.db.worker())
            .await
            .unwrap();
    assert_eq!(record, ("ada@example.org".into(), "sent by mistake".into(), Some(TENANT), "k".into()));
    assert!(!house.post(THINGS, "k", &body).await.is_replayed());
    assert_eq!(house.effects().await, 2);
}

#[tokio::test]
async fn line_13_who_works_on_a_key_that_is_taken_out_commits_nothing() {
    let house = House::start().await;
    house.probe.close();
    let working = tokio::spawn(super::answer(house.router.clone(), post(THINGS, "k", &json!({}))));
    house.probe.one_entered().await;
    let mut tx = house.db.begin_worker().await.unwrap();
    let gone = invalidate(&mut tx, &scope(), &Key::explicit("k").unwrap(), "ada", "stop it").await.unwrap();
    assert_eq!(gone.unwrap().state, State::InFlight);
    tx.commit().await.unwrap();
    house.probe.gate.add_permits(1);
    working.await.unwrap().is_problem(409, "request-in-flight");
    assert_eq!((house.effects().await, house.entries().await), (0, 0));
}

#[tokio::test]
async fn line_13_the_table_is_unique_over_the_whole_scope_and_shows_a_tenant_its_own() {
    let house = House::start().await;
    let mut owner = house.urls.owner.clone().connect().await.unwrap();
    let insert = |tenant: &str, key: &str| {
        AssertSqlSafe(format!(
            "INSERT INTO idempotency_cache (tenant_id, principal, method, route, key, fingerprint, claim, claimed_by,
                 claim_expires_at, created_at, expires_at)
             VALUES ({tenant}, 'p', 'POST', '/r', '{key}', sha256('x'), gen_random_uuid(), 'h', now(), now(), now())"
        ))
    };
    let (one, other) = (format!("'{TENANT}'"), format!("'{}'", Uuid::from_u128(2)));
    for tenant in [&one, &other, "NULL"] {
        sqlx::raw_sql(insert(tenant, "k")).execute(&mut owner).await.unwrap();
        let twice = sqlx::raw_sql(insert(tenant, "k")).execute(&mut owner).await.unwrap_err();
        assert!(twice.as_database_error().unwrap().is_unique_violation(), "{tenant}");
    }
    for (tenants, sees) in [
        (vec![TENANT], 1_i64),
        (vec![], 0),
        (vec![Uuid::from_u128(3)], 0),
        (vec![plimsoll_store::idempotency::PLATFORM], 1),
        (vec![TENANT, Uuid::from_u128(2)], 2),
    ] {
        let mut tx = house.db.tenant_tx(&tenants).await.unwrap();
        let seen: i64 =
            sqlx::query_scalar("SELECT count(*) FROM idempotency_cache").fetch_one(&mut *tx).await.unwrap();
        assert_eq!(seen, sees, "{tenants:?}");
        let strange =
            sqlx::raw_sql(insert(&format!("'{}'", Uuid::from_u128(9)), "s")).execute(&mut *tx).await;
        assert!(strange.is_err(), "another tenant's entry cannot be written");
    }
}

//! Many callers, one transaction: whoever is wrong is wrong alone.

use futures::future::join_all;
use plimsoll_relayer::desk::DeskOptions;
use plimsoll_relayer::grant::{Allowed, Grant, Grantee, Limit};
use plimsoll_relayer::{AcceptError, Answer, Kept, SubmitError};
use plimsoll_store::idempotency::{
    Asked, Entered, Fingerprint, IdempotencyError, Key, KeyOptions, Keys, Response, Scope, invalidate,
};
use plimsoll_testkit::anvil::Mining;
use plimsoll_types::TransactionState;
use uuid::Uuid;

use crate::house::House;

#[tokio::test(flavor = "multi_thread")]
async fn of_two_requests_under_one_key_in_one_batch_one_is_taken_and_the_other_is_told() {
    let house = House::new(Mining::OnDemand).await;
    // So that those behind share a transaction.
    let first = house.acceptor.accept(house.request());
    let pairs: Vec<_> = (0..50).map(|_| house.request()).collect();
    let asked = pairs.iter().flat_map(|request| {
        let mut other = request.clone();
        other.priority = 1;
        [house.acceptor.accept(request.clone()), house.acceptor.accept(other)]
    });
    let (_, outcomes) = tokio::join!(first, join_all(asked));
    for pair in outcomes.chunks(2) {
        let ([Ok(taken), Err(AcceptError::Conflict { id, .. })]
        | [Err(AcceptError::Conflict { id, .. }), Ok(taken)]) = pair
        else {
            panic!("{pair:?}")
        };
        assert_eq!(taken.id, *id);
        assert!(!taken.is_replay);
    }
    house.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_the_database_does_not_take_fails_none_of_its_neighbours() {
    let house = House::new(Mining::OnDemand).await;
    let mut requests: Vec<_> = (0..40).map(|_| house.request()).collect();
    requests[17].context.tenant_id = Some(Uuid::new_v4());
    requests[30].context.actor = "with a nul\0".into();
    let outcomes = join_all(requests.iter().map(|request| house.acceptor.accept(request.clone()))).await;
    for (place, outcome) in outcomes.iter().enumerate() {
        assert_eq!(outcome.is_err(), place == 17 || place == 30, "{place}: {outcome:?}");
    }
    house.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_came_under_a_key_that_is_anothers_now_is_not_put_on_record_and_its_neighbours_are() {
    let house = House::new(Mining::OnDemand).await;
    let everything = Grant {
        grantee: Grantee::Tenant(house.tenant),
        targets: Allowed::Any,
        may_create: true,
        methods: Allowed::Any,
        max_value_wei: Limit::None,
        max_value_wei_per_day: Limit::None,
        max_gas_wei_per_day: Limit::None,
    };
    let intake = house.intake(vec![everything]);
    let keys = Keys::new(house.db.clone(), "node-0", KeyOptions::default());
    let scope = Scope {
        tenant_id: Some(house.tenant),
        principal: "test".into(),
        method: "POST".into(),
        route: "/chain/tx/submit".into(),
    };
    let claim = async |key: &str| {
        let (scope, key) = (scope.clone(), Key::explicit(key).unwrap());
        let fingerprint = Fingerprint::of(&Asked {
            method: "POST",
            path: "/",
            query: &[],
            is_json: false,
            body: b"",
            api_version: "v1",
        });
        match keys.enter(plimsoll_store::idempotency::Request { scope, key, fingerprint }).await.unwrap() {
            Entered::Claimed(claim) => claim,
            other => panic!("{other:?}"),
        }
    };
    let answer = || -> Answer {
        Box::new(|outcome| match outcome {
            Ok((accepted, made)) => {
                assert_eq!(accepted.id, made.transaction_id);
                let response = Response::new(202, Vec::new(), made.request_id.to_string().into_bytes())?;
                Ok(Some(Kept { response, entry: None }))
            }
            Err(_) => Ok(None),
        })
    };
    let (lost, held) = (claim("lost").await, claim("held").await);
    let mut tx = house.db.tenant_tx(&[house.tenant]).await.unwrap();
    let key = Key::explicit("lost").unwrap();
    invalidate(&mut tx, &scope, &key, "somebody", "a test").await.unwrap().unwrap();
    tx.commit().await.unwrap();

    let (first, second) = (house.request(), house.request());
    let (lost, held) = tokio::join!(
        intake.submit_under(first.clone(), lost, answer()),
        intake.submit_under(second.clone(), held, answer())
    );
    assert!(matches!(lost, Err(SubmitError::Key(IdempotencyError::Fenced { .. }))), "{lost:?}");
    let told = held.unwrap().into_response();
    assert_eq!(told.body(), second.context.request_id.to_string().as_bytes());
    let on_record: Vec<Uuid> = sqlx::query_scalar("SELECT request_id FROM managed_transactions")
        .fetch_all(house.db.worker())
        .await
        .unwrap();
    assert_eq!(on_record, [second.context.request_id]);
    house.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_that_are_ended_all_the_time_lose_nothing_and_send_nothing_twice() {
    let house = House::new(Mining::OnDemand).await;
    let desk = house.work("node-1", house.pool(), DeskOptions::default()).await;
    let requests: Vec<_> = (0..100).map(|_| house.request()).collect();
    let persist = async |request: &plimsoll_relayer::request::Request| loop {
        match house.acceptor.accept(request.clone()).await {
            Ok(accepted) => return accepted.id,
            Err(AcceptError::Database(_)) => tokio::task::yield_now().await,
            Err(other) => panic!("{other}"),
        }
    };
    let accepting = join_all(requests.iter().map(persist));
    let cutting = async {
        let owner = sqlx::PgPool::connect_with(house.urls.owner.clone()).await.unwrap();
        for _ in 0..60 {
            sqlx::query(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                 WHERE datname = current_database() AND pid <> pg_backend_pid() AND usename IN ('plimsoll_app', 'plimsoll_worker')
                   AND state <> 'idle' AND query NOT LIKE '%lease%'",
            )
            .execute(&owner)
            .await
            .unwrap();
            house.anvil.mine(1).await.unwrap();
        }
    };
    let (ids, ()) = tokio::join!(accepting, cutting);
    for (id, request) in ids.iter().zip(&requests) {
        house.until_state(*id, TransactionState::Confirmed, true).await;
        assert_eq!(house.effects(request.context.request_id).await, 1);
    }
    let nonces: Vec<i64> = sqlx::query_scalar("SELECT nonce FROM managed_transactions ORDER BY nonce")
        .fetch_all(house.db.worker())
        .await
        .unwrap();
    assert_eq!(nonces, (0..100).collect::<Vec<_>>());
    desk.stop().await;
    house.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn thousands_at_once_and_of_several_tenants_are_each_their_tenants_own() {
    let house = House::new(Mining::OnDemand).await;
    let other = Uuid::new_v4();
    sqlx::query("INSERT INTO tenants (tenant_id, name) VALUES ($1, 'other')")
        .bind(other)
        .execute(house.db.worker())
        .await
        .unwrap();
    let ours: Vec<_> = (0..2_000).map(|_| house.request()).collect();
    // Under the very same keys.
    let theirs = ours.iter().cloned().map(|mut request| {
        request.context.tenant_id = Some(other);
        request.priority = 1;
        request
    });
    let all: Vec<_> = ours.iter().cloned().chain(theirs).collect();
    let outcomes = join_all(all.iter().map(|request| house.acceptor.accept(request.clone()))).await;
    let accepted: Vec<_> = outcomes.into_iter().map(Result::unwrap).collect();
    assert!(accepted.iter().all(|accepted| !accepted.is_replay));
    assert!(accepted.iter().any(|accepted| accepted.batch > 100), "they share their transactions");
    for tenant in [house.tenant, other] {
        let mut tx = house.db.tenant_tx(&[tenant]).await.unwrap();
        let seen: i64 = sqlx::query_scalar("SELECT count(*) FROM managed_transactions")
            .fetch_one(&mut *tx)
            .await
            .unwrap();
        assert_eq!(seen, 2_000);
    }
    house.end().await;
}

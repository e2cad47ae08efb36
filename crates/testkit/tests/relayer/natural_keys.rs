//! A natural key has one transaction, whether a signer of ours or a user signs it.

use std::collections::HashMap;

use futures::future::{join, join_all};
use plimsoll_relayer::grant::{Allowed, Grant, Grantee, Limit};
use plimsoll_relayer::request::Request;
use plimsoll_relayer::users::{UserSubmitError, put_in};
use plimsoll_relayer::{AcceptError, alone};
use plimsoll_testkit::anvil::Mining;
use uuid::Uuid;

use crate::house::{House, policy_of};
use crate::users::{put, signed_for};

pub(crate) const SOMEBODY_WAITS: &str = "SELECT count(*) > 0 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted AND $1::uuid IS NOT NULL
                              AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";

/// How many transactions have the key: of ours, and of users.
async fn has(house: &House, request_id: Uuid) -> (i64, i64) {
    sqlx::query_as(
        "SELECT (SELECT count(*) FROM managed_transactions WHERE request_id = $1), (SELECT count(*) FROM user_transactions WHERE request_id = $1)",
    )
    .bind(request_id)
    .fetch_one(house.db.worker())
    .await
    .unwrap()
}

fn everything() -> Grant {
    Grant {
        grantee: Grantee::Everybody,
        targets: Allowed::Any,
        may_create: true,
        methods: Allowed::Any,
        max_value_wei: Limit::None,
        max_value_wei_per_day: Limit::None,
        max_gas_wei_per_day: Limit::None,
    }
}

fn in_conflict(outcome: Result<impl std::fmt::Debug, AcceptError>) -> Uuid {
    match outcome {
        Err(AcceptError::Conflict { id, .. }) => id,
        other => panic!("no conflict: {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_comes_second_is_told_of_the_first_and_nobody_beside_it_is() {
    let house = House::new(Mining::OnDemand).await;
    let ours = house.request();
    let id = ours.context.request_id;
    let (chain, theirs) = signed_for(&house, id).await;
    let (kept, _) = put(&house, &chain, &theirs).await.unwrap();
    // In one batch with others, of which one has the same request id and is another operation.
    let named = |operation: &str| Request { operation_type: operation.into(), ..ours.clone() };
    let (beside, other, again) = (house.request(), named("another"), ours.clone());
    let all = [ours, beside, other, again].map(|request| house.acceptor.accept(request));
    let [ours, beside, other, again] = join_all(all).await.try_into().unwrap();
    assert_eq!((in_conflict(ours), in_conflict(again)), (kept, kept));
    assert!(beside.is_ok() && other.is_ok(), "{beside:?} {other:?}");
    assert_eq!(has(&house, id).await, (1, 1), "the other operation, and what was signed");

    let ours = house.request();
    let id = ours.context.request_id;
    let accepted = house.acceptor.accept(ours).await.unwrap();
    let (chain, theirs) = signed_for(&house, id).await;
    let refused = put(&house, &chain, &theirs).await.unwrap_err();
    assert!(
        matches!(refused, UserSubmitError::Conflict { id, .. } if id == accepted.id),
        "{refused}, not {accepted:?}"
    );
    assert_eq!(has(&house, id).await, (1, 0));
    house.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_comes_while_the_other_commits_waits_for_it() {
    let house = House::new(Mining::OnDemand).await;
    let (ours, id) = (house.request(), Uuid::nil());
    let (chain, theirs) = signed_for(&house, ours.context.request_id).await;
    let checked = theirs.checked(&chain).await.unwrap();
    let mut tx = house.db.tenant_tx(&[house.tenant]).await.unwrap();
    let (kept, _) = put_in(&mut tx, "node-0", checked).await.unwrap();
    let committed = async {
        house.until("the batch waits", false, SOMEBODY_WAITS, id).await;
        tx.commit().await.unwrap();
    };
    let request_id = ours.context.request_id;
    let (accepted, ()) = join(house.acceptor.accept(ours), committed).await;
    assert_eq!(in_conflict(accepted), kept);
    assert_eq!(has(&house, request_id).await, (0, 1));

    let ours = house.request();
    let (chain, theirs) = signed_for(&house, ours.context.request_id).await;
    let policies = HashMap::from([(house.signer, policy_of(house.signer, vec![everything()]))]);
    let mut tx = house.db.tenant_tx(&[house.tenant]).await.unwrap();
    let accepted = alone::submit_in(&mut tx, "node-0", &policies, &ours).await.unwrap();
    let committed = async {
        house.until("the user's waits", false, SOMEBODY_WAITS, id).await;
        tx.commit().await.unwrap();
    };
    let (refused, ()) = join(put(&house, &chain, &theirs), committed).await;
    assert!(
        matches!(&refused, Err(UserSubmitError::Conflict { id, .. }) if *id == accepted.id),
        "{refused:?}, not {accepted:?}"
    );
    assert_eq!(has(&house, ours.context.request_id).await, (1, 0));
    house.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_that_come_at_once_each_key_has_one() {
    let house = House::new(Mining::OnDemand).await;
    let ours: Vec<_> = (0..48).map(|_| house.request()).collect();
    let theirs = join_all(ours.iter().map(|request| signed_for(&house, request.context.request_id))).await;
    let accepts = ours.iter().map(|request| house.acceptor.accept(request.clone()));
    let puts = theirs.iter().map(|(chain, request)| put(&house, chain, request));
    let (accepted, kept) = join(join_all(accepts), join_all(puts)).await;
    for (request, (accepted, kept)) in ours.iter().zip(accepted.into_iter().zip(kept)) {
        assert_eq!(u8::from(accepted.is_ok()) + u8::from(kept.is_ok()), 1, "{accepted:?} {kept:?}");
        let (managed, signed) = has(&house, request.context.request_id).await;
        assert_eq!((managed == 1, signed == 1, managed + signed), (accepted.is_ok(), kept.is_ok(), 1));
    }
    house.end().await;
}

//! What a tenant hands in: sent, told, and counted in its day as it was paid.

use alloy_primitives::U256;
use plimsoll_relayer::desk::DeskOptions;
use plimsoll_relayer::grant::{Allowed, Grant, Grantee, Limit};
use plimsoll_relayer::{SubmitError, read};
use plimsoll_testkit::anvil::Mining;
use plimsoll_types::TransactionState;

use crate::house::House;

#[tokio::test(flavor = "multi_thread")]
async fn what_is_handed_in_takes_effect_and_is_told_with_its_attempt_and_counts_as_it_was_paid() {
    let house = House::new(Mining::OnDemand).await;
    // Room for one transaction at the most that it may cost: 100,000 gas at 500 Gwei.
    let intake = house.intake(vec![Grant {
        grantee: Grantee::Tenant(house.tenant),
        targets: Allowed::Only([house.counter].into()),
        may_create: false,
        methods: Allowed::Any,
        max_value_wei: Limit::Wei(U256::ZERO),
        max_value_wei_per_day: Limit::Wei(U256::ZERO),
        max_gas_wei_per_day: Limit::Wei(U256::from(60_000_000_000_000_000_u64)),
    }]);
    let (first, second) = (house.request(), house.request());
    let accepted = intake.submit(first.clone()).await.unwrap();
    let refused = intake.submit(second.clone()).await.unwrap_err();
    assert!(matches!(refused, SubmitError::Refused(_)), "{refused}");

    let desk = house.work("node-1", house.pool(), DeskOptions::default()).await;
    house.until_taken(accepted.id).await;
    house.until_state(accepted.id, TransactionState::Confirmed, true).await;
    assert_eq!(house.effects(first.context.request_id).await, 1);
    let is_paid = "SELECT gas_paid_wei IS NOT NULL FROM managed_transactions WHERE id = $1";
    house.until("what was paid is known", true, is_paid, accepted.id).await;
    let mut tx = house.db.tenant_tx(&[house.tenant]).await.unwrap();
    let told = read::by_id(&mut tx, house.tenant, accepted.id).await.unwrap().unwrap();
    let inclusion = told.inclusion.unwrap();
    assert_eq!((told.state, inclusion.succeeded), (TransactionState::Confirmed, true));
    let sent = told.attempts.iter().find(|attempt| attempt.tx_hash == inclusion.tx_hash).unwrap();
    assert_eq!((Some(sent.nonce), Some(sent.number)), (told.nonce, inclusion.attempt));
    assert!(sent.answers.iter().any(|answer| answer.endpoint == "anvil"), "{:?}", sent.answers);
    let by_hash = read::by_hash(&mut tx, house.tenant, &inclusion.tx_hash).await.unwrap().unwrap();
    assert_eq!(by_hash.transaction_id, accepted.id);
    drop(tx);

    // It cost far less than it might have.
    let accepted = intake.submit(second.clone()).await.unwrap();
    house.until_state(accepted.id, TransactionState::Confirmed, true).await;
    assert_eq!(house.effects(second.context.request_id).await, 1);
    desk.stop().await;
    house.end().await;
}

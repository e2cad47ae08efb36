//! What a tenant's day is counted from: one after the other, and as much as it may cost.

use std::collections::HashMap;

use alloy_primitives::{Address, U256};
use futures::future::join;
use plimsoll_relayer::desk::DeskOptions;
use plimsoll_relayer::grant::{Allowed, Grant, Grantee, Limit, Refusal, SignerPolicy};
use plimsoll_relayer::request::{Request, SignerId};
use plimsoll_relayer::{Intake, SubmitError, alone, signers};
use plimsoll_testkit::anvil::Mining;
use plimsoll_types::TransactionState;
use sqlx::ConnectOptions as _;
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use crate::house::{House, policy_of};
use crate::natural_keys::SOMEBODY_WAITS;

/// So many wei of gas a day, and nothing else is limited.
fn gas_a_day(wei: u64) -> Grant {
    Grant {
        grantee: Grantee::Everybody,
        targets: Allowed::Any,
        may_create: true,
        methods: Allowed::Any,
        max_value_wei: Limit::None,
        max_value_wei_per_day: Limit::None,
        max_gas_wei_per_day: Limit::Wei(U256::from(wei)),
    }
}

/// A signer of the house's chain that offers at most 10 wei for a unit of gas.
fn cheap(signer: SignerId, grant: Grant) -> SignerPolicy {
    SignerPolicy {
        name: signer.address.to_string(),
        max_fee_per_gas_wei: Some(10),
        ..policy_of(signer, vec![grant])
    }
}

fn of(house: &House, gas_limit: u64, max_fee_limit: Option<u128>) -> Request {
    Request { gas_limit: Some(gas_limit), max_fee_limit, ..house.request() }
}

fn is_over(outcome: &Result<plimsoll_relayer::Accepted, SubmitError>) -> bool {
    matches!(outcome, Err(SubmitError::Refused(Refusal::GasPerDay { .. })))
}

async fn as_owner(house: &House, statement: &'static str, id: Uuid, other: Uuid) {
    let mut owner = house.urls.owner.connect().await.unwrap();
    let done = sqlx::query(statement).bind(id).bind(other).execute(&mut owner).await.unwrap();
    assert_eq!(done.rows_affected(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_that_ask_at_one_moment_in_different_transactions_the_second_counts_the_first() {
    let house = House::new(Mining::OnDemand).await;
    // Room for one of them.
    let policy = cheap(house.signer, gas_a_day(1_500_000));
    let policies = HashMap::from([(house.signer, policy.clone())]);
    let intake = Intake::start(house.db.clone(), "node-1", [policy], house.bell.clone());
    for is_alone in [false, true] {
        let (first, second) = (of(&house, 100_000, None), of(&house, 100_000, None));
        let mut tx = house.db.tenant_tx(&[house.tenant]).await.unwrap();
        let first = alone::submit_in(&mut tx, "node-0", &policies, &first).await.unwrap();
        let committed = async {
            house.until("the second waits", false, SOMEBODY_WAITS, first.id).await;
            tx.commit().await.unwrap();
        };
        let asked = async {
            if !is_alone {
                return intake.submit(second).await;
            }
            let mut tx = house.db.tenant_tx(&[house.tenant]).await.unwrap();
            alone::submit_in(&mut tx, "node-1", &policies, &second).await
        };
        let (told, ()) = join(asked, committed).await;
        assert!(is_over(&told), "{told:?}");
        let ended = "UPDATE plimsoll.managed_transactions SET state = 'cancelled', end_why = 'a test' WHERE id = $1 AND $2::uuid IS NOT NULL";
        as_owner(&house, ended, first.id, first.id).await;
    }
    house.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_day_has_twenty_four_hours() {
    let house = House::new(Mining::OnDemand).await;
    let policy = cheap(house.signer, gas_a_day(1_000_000));
    let intake = Intake::start(house.db.clone(), "node-1", [policy], house.bell.clone());
    let first = intake.submit(of(&house, 100_000, None)).await.unwrap().id;
    assert!(is_over(&intake.submit(of(&house, 1, None)).await));
    // Its id says when it was accepted.
    let mut id = first;
    for (ago, is_of_the_day) in
        [(Duration::minutes(24 * 60 - 1), true), (Duration::minutes(24 * 60 + 1), false)]
    {
        let millis = (OffsetDateTime::now_utc() - ago).unix_timestamp_nanos() / 1_000_000;
        let then =
            uuid::Builder::from_unix_timestamp_millis(u64::try_from(millis).unwrap(), &[7; 10]).into_uuid();
        as_owner(&house, "UPDATE plimsoll.managed_transactions SET id = $2 WHERE id = $1", id, then).await;
        id = then;
        let told = intake.submit(of(&house, 100_000, None)).await;
        assert_eq!(is_over(&told), is_of_the_day, "{ago} ago: {told:?}");
    }
    house.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn gas_counts_with_the_most_that_it_may_cost_and_for_its_own_signer() {
    let house = House::new(Mining::OnDemand).await;
    let other = SignerId { address: Address::repeat_byte(9), ..house.signer };
    let policies = [house.signer, other].map(|signer| cheap(signer, gas_a_day(1_000_000)));
    signers::register(&house.db, &policies).await.unwrap();
    let intake = Intake::start(house.db.clone(), "node-1", policies, house.bell.clone());
    // A request that pays less than its signer does may use more gas.
    let of_other = |gas, fee| Request { signer: other, ..of(&house, gas, fee) };
    assert!(is_over(&intake.submit(of_other(250_001, Some(4))).await));
    intake.submit(of_other(250_000, Some(4))).await.unwrap();
    assert!(is_over(&intake.submit(of_other(1, Some(1))).await));
    // 200,000 wei; 300,000, whatever else it would pay; and the rest.
    for (gas, fee) in [(50_000, Some(4)), (30_000, Some(1_000)), (50_000, None)] {
        intake.submit(of(&house, gas, fee)).await.unwrap();
    }
    assert!(is_over(&intake.submit(of(&house, 1, Some(1))).await));
    house.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_failed_on_the_chain_counts_as_it_was_paid() {
    let house = House::new(Mining::OnDemand).await;
    house.refuse(true).await;
    // Just the most that one of them may cost: 100,000 gas at 500 gwei.
    let intake = house.intake(vec![gas_a_day(50_000_000_000_000_000)]);
    let failed = intake.submit(house.request()).await.unwrap().id;
    let desk = house.work("node-1", house.pool(), DeskOptions::default()).await;
    house.until_state(failed, TransactionState::Failed, true).await;
    let told = intake.submit(house.request()).await;
    assert!(is_over(&told), "{told:?}");
    intake.submit(of(&house, 99_000, None)).await.unwrap();
    desk.stop().await;
    house.end().await;
}

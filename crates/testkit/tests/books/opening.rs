//! What accounts held before their first posting is told from what nobody can explain.

use alloy_primitives::{Bytes, U256};
use plimsoll_ledger::chain::check::{BalanceReport, Break};
use plimsoll_testkit::node::Call;
use plimsoll_types::address_text;
use uuid::Uuid;

use crate::deposit;
use crate::house::{CONFIRMATIONS, House};

/// Tokens that come to the collateral manager without any event of the protocol.
fn gift(house: &House, amount: u64) -> Call {
    let mut data = vec![0x40, 0xc1, 0x0f, 0x19]; // mint(address,uint256)
    data.extend_from_slice(house.deployment.address("CollateralManager").into_word().as_slice());
    data.extend_from_slice(&U256::from(amount).to_be_bytes::<32>());
    let token = house.deployment.assets[0].token;
    Call { from: house.deployment.users[1], to: Some(token), data: Bytes::from(data) }
}

async fn compared_after(house: &mut House, calls: &[Call]) -> BalanceReport {
    for call in calls {
        house.act(std::slice::from_ref(call)).await;
    }
    house.anvil.mine(CONFIRMATIONS).await.unwrap();
    house.followed().await;
    house.folded().await;
    house.compare_and_settle().await
}

fn of_manager<'a>(house: &House, report: &'a BalanceReport) -> Option<&'a Break> {
    let name = format!("held by {}", address_text(&house.deployment.address("CollateralManager")));
    report.breaks.iter().find(|found| found.name == name)
}

#[tokio::test]
async fn what_an_account_held_before_its_first_posting_is_no_break_and_the_same_amount_later_is_one() {
    let mut house = House::build().await;
    let calls = [gift(&house, 33), deposit(&house, 500, Uuid::new_v4())];
    let first = compared_after(&mut house, &calls).await;
    let opening = of_manager(&house, &first).unwrap();
    assert_eq!((opening.difference.to_string(), opening.is_opening), ("33".into(), true), "{first:?}");
    assert_eq!(first.unexplained(), 0, "senders' coins, too, were there before: {first:?}");

    let calls = [gift(&house, 33)];
    let second = compared_after(&mut house, &calls).await;
    let found = of_manager(&house, &second).unwrap();
    assert_eq!((found.difference.to_string(), found.is_opening), ("33".into(), false), "{second:?}");
    assert_eq!(second.unexplained(), 1);
    house.agrees_to_the_last_unit().await;
}

#[tokio::test]
async fn what_comes_after_the_first_posting_is_a_break_in_the_first_comparison_too() {
    let mut house = House::build().await;
    let calls = [gift(&house, 33), deposit(&house, 500, Uuid::new_v4()), gift(&house, 7)];
    let report = compared_after(&mut house, &calls).await;
    let found = of_manager(&house, &report).unwrap();
    assert_eq!((found.difference.to_string(), found.is_opening), ("40".into(), false), "{report:?}");
}

//! Who works a signer: whoever of those who stand by it is routed to, and somebody else when that one is gone.

use std::cell::RefCell;

use plimsoll_relayer::book::BookError;
use plimsoll_relayer::desk::DeskOptions;
use plimsoll_relayer::{post, route};
use plimsoll_testkit::anvil::Mining;
use plimsoll_types::TransactionState;
use uuid::Uuid;

use crate::house::House;

const NODES: [&str; 2] = ["node-1", "node-2"];

/// A request takes effect, and this node worked it.
async fn is_worked_by(house: &House, node: &str) {
    let request = house.request();
    let id = house.acceptor.accept(request.clone()).await.unwrap().id;
    house.until_state(id, TransactionState::Confirmed, true).await;
    assert_eq!(house.effects(request.context.request_id).await, 1);
    let by: String = sqlx::query_scalar("SELECT worked_by FROM managed_transactions WHERE id = $1")
        .bind(id)
        .fetch_one(house.db.worker())
        .await
        .unwrap();
    assert_eq!(by, node);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signer_goes_to_the_node_that_it_is_routed_to_and_to_another_when_that_one_is_gone() {
    let house = House::new(Mining::OnDemand).await;
    let home = route::preferred(&NODES, house.signer.chain_id, house.signer.address).unwrap();
    let other = NODES.into_iter().find(|node| *node != home).unwrap();
    let told = async || {
        let mut conn = house.db.worker().acquire().await.unwrap();
        post::node_of(&mut conn, house.signer).await.unwrap()
    };
    assert_eq!(told().await, None);

    let other_desk = house.work(other, house.pool(), DeskOptions::default()).await;
    is_worked_by(&house, other).await;
    assert_eq!(told().await.as_deref(), Some(other));

    let home_desk = house.work(home, house.pool(), DeskOptions::default()).await;
    let held = if home == "node-1" {
        "SELECT holder = 'node-1' AND $1::uuid IS NOT NULL FROM leases WHERE name LIKE 'signer/%'"
    } else {
        "SELECT holder = 'node-2' AND $1::uuid IS NOT NULL FROM leases WHERE name LIKE 'signer/%'"
    };
    house.until("it is handed over", false, held, Uuid::nil()).await;
    is_worked_by(&house, home).await;
    assert_eq!(told().await.as_deref(), Some(home));

    home_desk.stop().await;
    is_worked_by(&house, other).await;
    assert_eq!(told().await.as_deref(), Some(other));
    other_desk.stop().await;
    house.end().await;
}

/// How often it was looked until the signer was given up, where each look finds this; none: the database does not answer.
async fn looks(found: &[Option<bool>]) -> usize {
    let left = RefCell::new(found.iter());
    let is_mine = || {
        let found = left.borrow_mut().next().expect("it is not given up");
        std::future::ready(found.ok_or_else(|| BookError::Unavailable("a test".to_owned())))
    };
    post::until_elsewhere(is_mine).await;
    found.len() - left.into_inner().len()
}

#[tokio::test(start_paused = true)]
async fn a_signer_is_given_up_when_it_is_anothers_twice_in_a_row_and_not_for_want_of_an_answer() {
    let (mine, anothers, unknown) = (Some(true), Some(false), None);
    for (found, expected) in [
        (&[anothers, anothers, anothers][..], 2),
        (&[anothers, mine, anothers, anothers], 4),
        (&[unknown, unknown, unknown, anothers, anothers], 5),
        (&[anothers, unknown, anothers, anothers], 4),
    ] {
        assert_eq!(looks(found).await, expected, "{found:?}");
    }
}

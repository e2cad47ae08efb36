//! A signer hands over to another, and both work.

use std::sync::Arc;

use alloy_primitives::{Address, U256};
use plimsoll_relayer::book::{Book, Entered, PgBook};
use plimsoll_relayer::desk::{Desk, DeskOptions, Market};
use plimsoll_relayer::grant::{Allowed, Grant, Grantee, Limit, SignerPolicy};
use plimsoll_relayer::keys::{Key, LocalKey, Secret};
use plimsoll_relayer::reconcile::Reconciler;
use plimsoll_relayer::request::SignerId;
use plimsoll_relayer::rotation::{self, NotTheirs, RotateError};
use plimsoll_relayer::signers;
use plimsoll_store::{DEFAULT_TERM, Leases};
use plimsoll_testkit::anvil::Mining;
use plimsoll_types::{TransactionState, address_text};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::house::{House, SECOND_KEY, policy_of};

/// A second signer, made known.
async fn second(house: &House) -> (SignerId, Arc<dyn Key>) {
    let key: Arc<dyn Key> = Arc::new(LocalKey::new(Secret::new(&SECOND_KEY).unwrap()));
    let signer = SignerId { chain_id: house.signer.chain_id, address: key.address() };
    let policy =
        SignerPolicy { name: "next".into(), address: signer.address, ..policy_of(signer, Vec::new()) };
    signers::register(&house.db, &[policy]).await.unwrap();
    (signer, key)
}

async fn rotate(house: &House, old: SignerId, new: SignerId) -> Result<usize, RotateError> {
    let mut tx = house.db.begin_worker().await.unwrap();
    let moved = rotation::rotate(&mut tx, old, new).await?;
    tx.commit().await.unwrap();
    Ok(moved)
}

async fn signer_of(house: &House, id: Uuid) -> String {
    sqlx::query_scalar("SELECT signer FROM managed_transactions WHERE id = $1")
        .bind(id)
        .fetch_one(house.db.worker())
        .await
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_is_done_by_the_successor_and_what_is_under_way_ends_where_it_is() {
    let house = House::new(Mining::OnDemand).await;
    let (old, (new, key)) = (house.signer, second(&house).await);
    let narrow = DeskOptions { window: 1, ..DeskOptions::default() };
    let desk = house.work("node-1", house.pool(), narrow).await;
    let mut asked = Vec::new();
    for _ in 0..3 {
        let request = house.request();
        let id = house.acceptor.accept(request.clone()).await.unwrap().id;
        asked.push((request, id));
    }
    house.until_taken(asked[0].1).await;
    assert_eq!(rotate(&house, old, new).await.unwrap(), 2);
    // Once more changes nothing, and nobody takes over twice.
    assert_eq!(rotate(&house, old, new).await.unwrap(), 0);
    assert!(matches!(rotate(&house, new, old).await, Err(RotateError::SuccessorIsRotated { .. })));
    assert!(matches!(rotate(&house, old, old).await, Err(RotateError::NotAnother { .. })));
    let elsewhere = SignerId { chain_id: new.chain_id + 1, ..new };
    assert!(matches!(rotate(&house, old, elsewhere).await, Err(RotateError::NotAnother { .. })));
    let third = SignerId { address: Address::repeat_byte(7), ..old };
    let policy = SignerPolicy { name: "third".into(), ..policy_of(third, Vec::new()) };
    signers::register(&house.db, &[policy]).await.unwrap();
    assert!(
        matches!(rotate(&house, old, third).await, Err(RotateError::RotatedAlready { to, .. }) if to == new)
    );
    let nobody = SignerId { address: house.counter, ..old };
    assert!(matches!(rotate(&house, old, nobody).await, Err(RotateError::UnknownSigner(of)) if of == nobody));

    // What is asked for with the old one is still the same request, and what is new with it is done by the successor.
    let (request, id) = &asked[1];
    let again = house.acceptor.accept(request.clone()).await.unwrap();
    assert!(again.is_replay && again.id == *id);
    let late = house.request();
    let late_id = house.acceptor.accept(late.clone()).await.unwrap().id;
    asked.push((late, late_id));

    let leases = Leases::connect(&house.db, "node-2", DEFAULT_TERM).await.unwrap();
    let book = PgBook::new(house.db.clone(), leases.clone(), "node-2".into());
    let market = Market::new(house.pool());
    let successor = Desk::new(new.chain_id, key, DeskOptions::default(), market, book, house.bell.clone());
    let mut reconciler =
        Reconciler::new(old.chain_id, house.db.clone(), leases, house.pool(), house.bell.clone());
    let stop = CancellationToken::new();
    let until = stop.clone();
    let working = tokio::spawn(async move {
        let (_, reconciled) = tokio::join!(successor.run(&until), reconciler.run(&until));
        reconciled.unwrap();
    });
    for (place, (request, id)) in asked.iter().enumerate() {
        house.until_state(*id, TransactionState::Confirmed, true).await;
        assert_eq!(house.effects(request.context.request_id).await, 1);
        let by = if place == 0 { old } else { new };
        assert_eq!(signer_of(&house, *id).await, address_text(&by.address), "request {place}");
    }
    assert_eq!(house.history(asked[1].1).await, ["pending", "pending", "tracking", "mined", "confirmed"]);
    let given: i64 = sqlx::query_scalar("SELECT next_nonce FROM signers WHERE address = $1")
        .bind(address_text(&old.address))
        .fetch_one(house.db.worker())
        .await
        .unwrap();
    assert_eq!(given, 1, "the old one gave a nonce to nothing new");
    stop.cancel();
    working.await.unwrap();
    desk.stop().await;
    house.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_a_request_in_hand_that_is_handed_over_gives_it_no_nonce() {
    let house = House::new(Mining::OnDemand).await;
    let (old, (new, _)) = (house.signer, second(&house).await);
    let leases = Leases::connect(&house.db, "node-1", DEFAULT_TERM).await.unwrap();
    let book = PgBook::new(house.db.clone(), leases, "node-1".into());
    let authority = book.acquire(old, &CancellationToken::new()).await.unwrap();
    let request = house.request();
    let id = house.acceptor.accept(request.clone()).await.unwrap().id;
    assert_eq!(book.queue(old, None, 8).await.unwrap().len(), 1);
    let attempt = house.attempt(id, &request, 0).await;
    assert_eq!(rotate(&house, old, new).await.unwrap(), 1);
    // It was moved.
    let entered = book.enter(&authority, old, 0, std::slice::from_ref(&attempt)).await.unwrap();
    assert_eq!(entered, Entered::Overtaken);
    // It was accepted a moment too late to be moved at once.
    let request = house.request();
    let late = house.acceptor.accept(request.clone()).await.unwrap().id;
    assert_eq!(signer_of(&house, late).await, address_text(&old.address));
    assert!(book.queue(old, None, 8).await.unwrap().is_empty());
    let attempt = house.attempt(late, &request, 0).await;
    assert_eq!(book.enter(&authority, old, 0, &[attempt]).await.unwrap(), Entered::Overtaken);
    for id in [id, late] {
        assert_eq!(house.state(id).await, TransactionState::Pending);
    }
    assert_eq!(book.progress(old).await.unwrap().next_nonce, 0);
    let mut conn = house.db.worker().acquire().await.unwrap();
    assert_eq!(rotation::unfinished(&mut conn, old.chain_id).await.unwrap(), [old]);
    drop(conn);
    drop(authority);
    house.end().await;
}

#[test]
fn a_signer_is_a_tenants_to_rotate_where_nobody_else_has_it_and_the_next_grants_just_the_same() {
    let (tenant, other) = (Uuid::from_u128(1), Uuid::from_u128(2));
    let of = |grantee| Grant {
        grantee,
        targets: Allowed::Any,
        may_create: false,
        methods: Allowed::Any,
        max_value_wei: Limit::Wei(U256::from(7)),
        max_value_wei_per_day: Limit::None,
        max_gas_wei_per_day: Limit::None,
    };
    let (own, theirs, everybodys) =
        (of(Grantee::Tenant(tenant)), of(Grantee::Tenant(other)), of(Grantee::Everybody));
    let rotates = |old: &[&Grant], new: &[&Grant]| {
        let policy = |byte, grants: &[&Grant]| {
            let signer = SignerId { chain_id: 1, address: Address::repeat_byte(byte) };
            policy_of(signer, grants.iter().copied().cloned().collect())
        };
        match rotation::is_theirs(tenant, &policy(1, old), &policy(2, new)) {
            Ok(()) => "theirs",
            Err(NotTheirs::Shared { .. }) => "shared",
            Err(NotTheirs::GrantsOther { .. }) => "other",
        }
    };
    for (old, new, expected) in [
        (&[&own][..], &[&own][..], "theirs"),
        (&[&own], &[&everybodys], "theirs"),
        (&[&own], &[&theirs, &own], "theirs"),
        (&[&theirs], &[&everybodys], "shared"),
        (&[&everybodys], &[&own], "shared"),
        (&[&own, &theirs], &[&own], "shared"),
        (&[&own, &everybodys], &[&own], "shared"),
        (&[], &[&own], "shared"),
        (&[&own], &[&theirs], "other"),
        (&[&own], &[], "other"),
        (&[&own], &[&Grant { max_value_wei: Limit::None, ..own.clone() }], "other"),
        (&[&own], &[&Grant { max_value_wei_per_day: Limit::Wei(U256::from(7)), ..own.clone() }], "other"),
        (&[&own], &[&Grant { max_gas_wei_per_day: Limit::Wei(U256::ZERO), ..own.clone() }], "other"),
        (&[&own], &[&Grant { may_create: true, ..own.clone() }], "other"),
        (&[&own], &[&Grant { targets: Allowed::Only([].into()), ..own.clone() }], "other"),
        (&[&own], &[&Grant { methods: Allowed::Only([].into()), ..own.clone() }], "other"),
    ] {
        assert_eq!(rotates(old, new), expected, "{old:?} to {new:?}");
    }
}

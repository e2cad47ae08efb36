//! What operators hold back: what a switch is for, and nothing beside it.

use alloy_primitives::{Address, keccak256};
use plimsoll_relayer::book::{Book, Entered, PgBook};
use plimsoll_relayer::request::SignerId;
use plimsoll_relayer::signers;
use plimsoll_relayer::switches::{self, Scope};
use plimsoll_store::{DEFAULT_TERM, Leases};
use plimsoll_testkit::anvil::Mining;
use plimsoll_types::{TransactionState, address_text};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::house::{House, policy_of};
use crate::users::{Working, handed_in, until, until_taken};

async fn throw(house: &House, scope: Scope) {
    let mut conn = house.db.worker().acquire().await.unwrap();
    switches::throw(&mut conn, scope, "cli:root", "a test").await.unwrap();
}

async fn release(house: &House, scope: Scope) {
    let mut conn = house.db.worker().acquire().await.unwrap();
    switches::release(&mut conn, scope).await.unwrap().unwrap();
}

/// Another tenant, and another signer of the same chain.
async fn others(house: &House) -> (Uuid, SignerId) {
    let tenant = Uuid::new_v4();
    sqlx::query("INSERT INTO tenants (tenant_id, name) VALUES ($1, 'other')")
        .bind(tenant)
        .execute(house.db.worker())
        .await
        .unwrap();
    let signer = SignerId { address: Address::repeat_byte(9), ..house.signer };
    let policy =
        plimsoll_relayer::grant::SignerPolicy { name: "other".into(), ..policy_of(signer, Vec::new()) };
    signers::register(&house.db, &[policy]).await.unwrap();
    (tenant, signer)
}

/// The same address on a chain that is not followed here.
async fn elsewhere(house: &House) -> SignerId {
    let signer = SignerId { chain_id: house.signer.chain_id + 1, ..house.signer };
    let chain = "INSERT INTO chains (chain_id, name, genesis_hash, start_block, confirmations, finality) SELECT $1, 'elsewhere', genesis_hash, 0, 1, 'x' FROM chains";
    sqlx::query(chain).bind(signer.chain_id.cast_signed()).execute(house.db.worker()).await.unwrap();
    sqlx::query("INSERT INTO signers (chain_id, address, name) VALUES ($1, $2, 'elsewhere')")
        .bind(signer.chain_id.cast_signed())
        .bind(address_text(&signer.address))
        .execute(house.db.worker())
        .await
        .unwrap();
    signer
}

#[tokio::test(flavor = "multi_thread")]
async fn a_switch_holds_back_what_it_is_for_from_the_queue_and_from_the_window_and_nothing_else() {
    let house = House::new(Mining::OnDemand).await;
    let (other_tenant, other_signer) = others(&house).await;
    let elsewhere = elsewhere(&house).await;
    let leases = Leases::connect(&house.db, "node-1", DEFAULT_TERM).await.unwrap();
    let book = PgBook::new(house.db.clone(), leases, "node-1".into());
    let authority = book.acquire(house.signer, &CancellationToken::new()).await.unwrap();
    let (tenant, signer) = (house.tenant, house.signer);
    let cases = [
        (None, None, true),
        (Some(tenant), None, true),
        (None, Some(signer), true),
        (Some(tenant), Some(signer), true),
        (Some(other_tenant), None, false),
        (None, Some(other_signer), false),
        (None, Some(elsewhere), false),
        (Some(tenant), Some(other_signer), false),
        (Some(other_tenant), Some(signer), false),
    ];
    for (nonce, (of_tenant, of_signer, holds)) in (0..).zip(cases) {
        let scope = Scope { tenant_id: of_tenant, signer: of_signer };
        let request = house.request();
        let id = house.acceptor.accept(request.clone()).await.unwrap().id;
        let queue = async || {
            let queued = book.queue(signer, None, 8).await.unwrap();
            queued.iter().map(|queued| queued.id).collect::<Vec<_>>()
        };
        let enter = async || {
            let attempt = house.attempt(id, &request, nonce).await;
            book.enter(&authority, signer, 0, &[attempt]).await.unwrap()
        };
        throw(&house, scope).await;
        if holds {
            assert!(queue().await.is_empty(), "{scope}");
            assert_eq!(enter().await, Entered::Overtaken, "{scope}");
            assert_eq!(house.state(id).await, TransactionState::Pending, "{scope}");
            release(&house, scope).await;
        }
        assert_eq!(queue().await, [id], "{scope}");
        assert_eq!(enter().await, Entered::Committed, "{scope}");
        if !holds {
            release(&house, scope).await;
        }
    }
    drop(authority);
    house.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_switch_is_released_and_those_beside_it_stay_thrown() {
    let house = House::new(Mining::OnDemand).await;
    let (other_tenant, other_signer) = others(&house).await;
    let mut scopes = Vec::new();
    for tenant_id in [None, Some(house.tenant), Some(other_tenant)] {
        for signer in [None, Some(house.signer), Some(other_signer)] {
            scopes.push(Scope { tenant_id, signer });
        }
    }
    for scope in &scopes {
        throw(&house, *scope).await;
    }
    while !scopes.is_empty() {
        let released = scopes.remove(scopes.len() / 2);
        release(&house, released).await;
        let thrown = switches::thrown(&mut house.db.worker().acquire().await.unwrap()).await.unwrap();
        let left: Vec<_> = thrown.iter().map(|switch| switch.scope).collect();
        assert_eq!(left, scopes, "after {released}");
    }
    house.end().await;
}

/// Whoever sends what users signed looks once from the beginning to the end: it has the sender of each of these watched before it takes anything.
async fn a_look_passes(house: &House) {
    for _ in 0..2 {
        let id = Uuid::now_v7();
        let hash = keccak256(id);
        let mut tx = house.db.tenant_tx(&[house.tenant]).await.unwrap();
        sqlx::query(
            "INSERT INTO user_transactions (id, tenant_id, request_id, operation_type, created_by, correlation_id, chain_id, sender, nonce, signed_hash, raw, value_wei,
                                            data, gas_limit, max_fee_per_gas, checked_block, accepted_by)
             VALUES ($1, $2, $1, 'mark', 'test', 'test', $3, $4, 0, $5, '\\x02', 0, '', 21000, 30, 0, 'node-0')",
        )
        .bind(id)
        .bind(house.tenant)
        .bind(house.signer.chain_id.cast_signed())
        .bind(address_text(&Address::from_slice(&hash[12..])))
        .bind(hash.as_slice())
        .execute(&mut *tx)
        .await
        .unwrap();
        tx.commit().await.unwrap();
        house.bell.ring();
        let is_seen = "SELECT EXISTS (SELECT FROM watched_senders w JOIN user_transactions t ON t.sender = w.address WHERE t.id = $1)";
        house.until("it is looked at", false, is_seen, id).await;
    }
}

async fn sends(house: &House, id: Uuid) -> i32 {
    let sends = sqlx::query_scalar("SELECT sends FROM user_transactions WHERE id = $1");
    sends.bind(id).fetch_one(house.db.worker()).await.unwrap()
}

const IS_WATCHED: &str = "SELECT EXISTS (SELECT FROM watched_senders w JOIN user_transactions t ON t.sender = w.address WHERE t.id = $1 AND w.watched_from IS NOT NULL)";

#[tokio::test(flavor = "multi_thread")]
async fn what_a_user_signed_is_held_back_by_switches_of_all_and_of_its_tenant_and_by_no_other() {
    let house = House::new(Mining::OnDemand).await;
    let (other_tenant, _) = others(&house).await;
    let courier = Working::of(&house, "node-1", house.pool()).await;
    let (tenant, signer) = (house.tenant, house.signer);
    for (tenant_id, signer, holds) in [
        (None, None, true),
        (Some(tenant), None, true),
        (Some(other_tenant), None, false),
        (None, Some(signer), false),
        (Some(tenant), Some(signer), false),
    ] {
        let scope = Scope { tenant_id, signer };
        throw(&house, scope).await;
        let (request, id) = handed_in(&house).await;
        house.bell.ring();
        if holds {
            house.until("its sender is followed", false, IS_WATCHED, id).await;
            a_look_passes(&house).await;
            assert_eq!(sends(&house, id).await, 0, "{scope}");
            release(&house, scope).await;
            house.bell.ring();
        }
        until_taken(&house, id).await;
        until(&house, id, TransactionState::Confirmed, true).await;
        assert_eq!(house.effects(request.context.request_id).await, 1, "{scope}");
        if !holds {
            release(&house, scope).await;
        }
    }
    courier.stop().await;
    house.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_a_user_signed_is_sent_before_its_sender_is_followed_and_what_a_node_has_rests() {
    let house = House::new(Mining::OnDemand).await;
    let (request, id) = handed_in(&house).await;
    // Whoever writes the journal has to wait before it can acknowledge anybody.
    let mut tx = house.db.begin_worker().await.unwrap();
    sqlx::query("SELECT FROM chains WHERE chain_id = $1 FOR NO KEY UPDATE")
        .bind(house.signer.chain_id.cast_signed())
        .execute(&mut *tx)
        .await
        .unwrap();
    let courier = Working::of(&house, "node-1", house.pool()).await;
    a_look_passes(&house).await;
    a_look_passes(&house).await;
    assert_eq!(sends(&house, id).await, 0);
    assert_eq!(house.anvil.pool_size().await.unwrap(), 0);
    tx.rollback().await.unwrap();
    let rests = "SELECT bool_and(t.not_before > a.sent_at + interval '20 seconds') IS TRUE
                 FROM user_transaction_answers a JOIN user_transactions t ON t.id = a.transaction_id WHERE t.id = $1";
    house.until("a node has it", false, rests, id).await;
    let sent = sends(&house, id).await;
    a_look_passes(&house).await;
    assert_eq!(sends(&house, id).await, sent, "what a node has rests");
    until(&house, id, TransactionState::Confirmed, true).await;
    assert_eq!(house.effects(request.context.request_id).await, 1);
    courier.stop().await;
    house.end().await;
}

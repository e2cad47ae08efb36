//! Transactions handed in, looked at and called off, as a client does it; and who signs them.

mod asking;
mod chained;
mod gauges;
mod looking;
mod rotating;
mod submitting;
mod switches;
mod users;

use std::collections::BTreeSet;
use std::num::NonZeroU32;

use alloy_primitives::{Address, Bytes, U256};
use axum::body::Body;
use axum::http::{Method, Request};
use plimsoll_identity::UserKind;
use plimsoll_relayer::grant::{Allowed, ForeignUse, Grant, Grantee, Limit, Method as Called, SignerPolicy};
use plimsoll_relayer::{Intake, request as relayer};
use plimsoll_store::Db;
use plimsoll_types::{Context, address_text};
use serde_json::{Value, json};
use uuid::Uuid;

use super::people::Person;
use super::{Answer, Api, CHAIN};

const SUBMIT: &str = "/chain/tx/submit";
/// Grants everybody everything.
pub(super) const OPEN: Address = Address::repeat_byte(0x11);
/// Grants everybody a little.
const BOUND: Address = Address::repeat_byte(0x22);
/// Grants somebody else everything.
const CLOSED: Address = Address::repeat_byte(0x33);
const TARGET: Address = Address::repeat_byte(0xaa);

fn everything(grantee: Grantee) -> Grant {
    Grant {
        grantee,
        targets: Allowed::Any,
        may_create: true,
        methods: Allowed::Any,
        max_value_wei: Limit::None,
        max_value_wei_per_day: Limit::None,
        max_gas_wei_per_day: Limit::None,
    }
}

fn policies() -> Vec<SignerPolicy> {
    let policy = |name: &str, address, max_fee_per_gas_wei, grant| SignerPolicy {
        name: name.into(),
        chain_id: CHAIN,
        address,
        window: NonZeroU32::new(16).unwrap(),
        max_fee_per_gas_wei,
        on_foreign_use: ForeignUse::Requeue,
        grants: vec![grant],
    };
    let little = Grant {
        targets: Allowed::Only(BTreeSet::from([TARGET])),
        may_create: false,
        methods: Allowed::Only(BTreeSet::from([Called::Plain])),
        max_value_wei: Limit::Wei(U256::from(100)),
        max_value_wei_per_day: Limit::Wei(U256::from(150)),
        max_gas_wei_per_day: Limit::Wei(U256::from(1_000_000)),
        ..everything(Grantee::Everybody)
    };
    vec![
        policy("open", OPEN, None, everything(Grantee::Everybody)),
        policy("bound", BOUND, Some(10), little),
        policy("closed", CLOSED, None, everything(Grantee::Tenant(Uuid::nil()))),
    ]
}

/// Where the tests' transactions are handed in.
pub(super) fn intake(db: &Db) -> Intake {
    Intake::start(db.clone(), "here:1", policies(), plimsoll_relayer::Bell::default())
}

/// The tests' signers, made known on a chain that is followed.
pub(super) async fn register(api: &Api) {
    plimsoll_relayer::signers::register(&api.db, &policies()).await.unwrap();
}

/// A request to the signer that grants everything, as the relayer knows it.
fn request(context: Context, operation_type: &str) -> relayer::Request {
    relayer::Request {
        context,
        operation_type: operation_type.into(),
        signer: relayer::SignerId { chain_id: CHAIN, address: OPEN },
        call: relayer::Call { to: Some(TARGET), value: U256::from(1), data: Bytes::new() },
        gas_limit: None,
        max_fee_limit: None,
        priority: 0,
        validity: relayer::Validity::default(),
        simulate: None,
    }
}

/// The same, as a client writes it.
fn plain() -> Value {
    json!({ "operation_type": "push", "chain_id": CHAIN, "signer": address_text(&OPEN), "to": address_text(&TARGET) })
}

/// A chain that is followed, its signers, and somebody who may do everything.
async fn house() -> (Api, Person) {
    let api = Api::followed().await;
    register(&api).await;
    let tenant_id = api.tenant_named("acme").await;
    let admin = api.person(tenant_id, UserKind::Person, &["admin"]).await;
    (api, admin)
}

fn with(mut of: Value, fields: &Value) -> Value {
    of.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    of
}

async fn hand_in(api: &Api, who: &Person, key: &str, body: &Value) -> Answer {
    let request = Request::builder()
        .method(Method::POST)
        .uri(SUBMIT)
        .header("authorization", format!("Bearer {}", who.token))
        .header("idempotency-key", key)
        .header("content-type", "application/json");
    api.send(request.body(Body::from(body.to_string())).unwrap()).await
}

/// Under a new key and a new `request_id`.
async fn submit(api: &Api, who: &Person, fields: &Value) -> Answer {
    hand_in(api, who, &Uuid::new_v4().to_string(), &who.body(with(plain(), fields))).await
}

async fn count(api: &Api, sql: &'static str) -> i64 {
    sqlx::query_scalar(sql).fetch_one(api.db.worker()).await.unwrap()
}

async fn transactions(api: &Api) -> i64 {
    count(api, "SELECT count(*) FROM managed_transactions").await
}

/// An attempt of the transaction, and what an endpoint answered to it twice.
async fn attempted(api: &Api, id: Uuid, tenant_id: Uuid, hash: [u8; 32], name: &str) {
    let worker = api.db.worker();
    sqlx::query(
        "INSERT INTO transaction_attempts (chain_id, signer, nonce, attempt, transaction_id, tenant_id, purpose, tx_hash, raw, gas_limit, max_fee_per_gas,
                                           max_priority_fee_per_gas, why, fencing_token, signed_by)
         SELECT chain_id, signer, (SELECT count(*) FROM transaction_attempts), 1, id, tenant_id, 'send', $2, '\\x02', 21000, 30, 2, $3, 1, 'here:1'
         FROM managed_transactions WHERE id = $1",
    )
    .bind(id)
    .bind(hash)
    .bind(format!("decision of {name}"))
    .execute(worker)
    .await
    .unwrap();
    sqlx::query("UPDATE managed_transactions SET version = 2 WHERE id = $1")
        .bind(id)
        .execute(worker)
        .await
        .unwrap();
    for answer in ["timeout", "accepted"] {
        sqlx::query(
            "INSERT INTO transaction_broadcasts (chain_id, tx_hash, tenant_id, endpoint, answer, detail, sent_at) VALUES ($1, $2, $3, 'node-1', $4, $5, now())",
        )
        .bind(i64::try_from(CHAIN).unwrap())
        .bind(hash)
        .bind(tenant_id)
        .bind(answer)
        .bind(format!("said to {name}"))
        .execute(worker)
        .await
        .unwrap();
    }
}

/// What a user of the tenant signed.
async fn signed_by_a_user(tx: &mut sqlx::PgConnection, context: &Context, name: &str) {
    let hash = alloy_primitives::keccak256(format!("signed by the user of {name}"));
    sqlx::query(
        "INSERT INTO user_transactions (id, tenant_id, request_id, operation_type, user_id, created_by, correlation_id, chain_id, sender, nonce, signed_hash, raw,
                                        value_wei, data, gas_limit, max_fee_per_gas, checked_block, accepted_by)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, 0, $10, $11, 0, '', 21000, 30, 100, 'here:1')",
    )
    .bind(Uuid::now_v7())
    .bind(context.tenant_id)
    .bind(Uuid::new_v4())
    .bind(format!("signed-operation-of-{name}"))
    .bind(context.user_id)
    .bind(&context.actor)
    .bind(format!("signed story of {name}"))
    .bind(i64::try_from(CHAIN).unwrap())
    .bind(address_text(&Address::from_slice(&hash[12..])))
    .bind(hash.as_slice())
    .bind(name.as_bytes())
    .execute(tx)
    .await
    .unwrap();
}

/// A transaction that waits.
pub(super) async fn accepted(api: &Api, context: Context) -> Uuid {
    intake(&api.db).submit(request(context, "push")).await.unwrap().id
}

/// A transaction with an attempt, and a signer that is stopped.
pub(super) async fn one_of(api: &Api, context: &Context, name: &str) {
    register(api).await;
    let (tenant_id, hash) = (context.tenant_id.unwrap(), *alloy_primitives::keccak256(name));
    let request = request(context.clone(), &format!("operation-of-{name}"));
    let id = intake(&api.db).submit(request).await.unwrap().id;
    let mut tx = api.db.tenant_tx(&[tenant_id]).await.unwrap();
    signed_by_a_user(&mut tx, context, name).await;
    tx.commit().await.unwrap();
    let answered = "INSERT INTO user_transaction_answers (transaction_id, tenant_id, endpoint, answer, detail, sent_at)
                    SELECT id, tenant_id, 'node-1', 'accepted', 'said to the user of ' || $2, now() FROM user_transactions WHERE tenant_id = $1";
    sqlx::query(answered).bind(tenant_id).bind(name).execute(api.db.worker()).await.unwrap();
    attempted(api, id, tenant_id, hash, name).await;
    sqlx::query("INSERT INTO kill_switches (tenant_id, thrown_by, reason) VALUES ($1, 'somebody', $2)")
        .bind(tenant_id)
        .bind(format!("halt of {name}"))
        .execute(api.db.worker())
        .await
        .unwrap();
}

//! One signer hands over to another: a tenant's own, and nobody else's.

use alloy_primitives::{Address, U256};
use axum::Router;
use plimsoll_identity::UserKind;
use plimsoll_relayer::grant::{Grant, Grantee, Limit, SignerPolicy};
use plimsoll_relayer::{Bell, Intake, rotation, signers};
use plimsoll_store::idempotency::{KeyOptions, Keys};
use plimsoll_types::address_text;
use serde_json::{Value, json};
use uuid::Uuid;

use super::super::people::Person;
use super::super::{Api, CHAIN, services};
use super::{OPEN, count, everything, hand_in, house, plain, policies, with};
use crate::routes::router_with;
use crate::{ApiOptions, ApiState, Roles, Services};

const OLD: Address = Address::repeat_byte(0x51);
const NEXT: Address = Address::repeat_byte(0x52);
const NARROW: Address = Address::repeat_byte(0x53);
const THEIRS: Address = Address::repeat_byte(0x54);

fn path(signer: &str) -> String {
    format!("/api/v1/signers/{signer}/rotate")
}

fn to(successor: Address) -> Value {
    json!({ "chain_id": CHAIN, "successor": address_text(&successor), "reason": "its key is old" })
}

/// Beside the signers of all, some that are one tenant's alone, and that tenant's administrator; and one of another tenant's.
async fn owned() -> (Api, Person) {
    let (api, admin) = house().await;
    let of = |grantee| Grant { grantee, ..everything(grantee) };
    let own = of(Grantee::Tenant(admin.tenant_id));
    let narrow = Grant { max_value_wei: Limit::Wei(U256::from(7)), ..own.clone() };
    let other = api.tenant_named("globex").await;
    let policy = |name: &str, address, grant| SignerPolicy {
        name: name.into(),
        address,
        grants: vec![grant],
        ..policies().remove(0)
    };
    let mut all = policies();
    all.extend([
        policy("old", OLD, own.clone()),
        policy("next", NEXT, own),
        policy("narrow", NARROW, narrow),
        policy("theirs", THEIRS, of(Grantee::Tenant(other))),
    ]);
    signers::register(&api.db, &all).await.unwrap();
    let relayer = Some(Intake::start(api.db.clone(), "here:2", all, Bell::default()));
    let (roles, keys) = (Roles::of("here:2"), Keys::new(api.db.clone(), "here:2", KeyOptions::default()));
    let services = Services { relayer, ..services(&api.db, keys, roles) };
    let state = ApiState::new(services, ApiOptions::default());
    let api = Api { router: router_with(state.clone(), Router::new()), state, ..api };
    let admin = api.session(&api.user_of(&admin).await, true).await;
    (api, admin)
}

async fn rotated_to(api: &Api, who: &Person, signer: &str) -> Value {
    api.read(who, &format!("/api/v1/signers/{signer}")).await.expect(200)["items"][0]["rotated_to"].clone()
}

#[tokio::test]
async fn an_operator_has_the_tenants_own_signer_hand_over_once_and_for_good() {
    let (api, admin) = owned().await;
    let body = admin.body(with(plain(), &json!({ "signer": address_text(&OLD) })));
    let waits = hand_in(&api, &admin, "waits", &body).await.expect(202);

    let told = api.post(&admin, &path("old"), to(NEXT)).await.expect(200);
    let expected = json!({ "chain_id": CHAIN, "address": address_text(&OLD), "name": "old", "rotated_to": address_text(&NEXT) });
    assert_eq!(told, expected);
    assert_eq!(rotated_to(&api, &admin, "old").await, json!(address_text(&NEXT)));
    for (signer, successor) in [("old", NEXT), (&*address_text(&OLD), NEXT), ("next", OLD)] {
        let detail = api.post(&admin, &path(signer), to(successor)).await.refused(409, "conflict");
        assert!(detail.contains("hands over to"), "{detail}");
    }
    assert_eq!(rotated_to(&api, &admin, "next").await, Value::Null);
    let audited = "SELECT count(*) FROM audit_staging WHERE action = 'relayer.signer.rotate' AND reason = 'its key is old'
                   AND target_type = 'signer' AND target_id LIKE '%5151'";
    assert_eq!(count(&api, audited).await, 1);

    // What waits is moved by whoever comes, and is the same request.
    let mut tx = api.db.begin_worker().await.unwrap();
    let old = plimsoll_relayer::request::SignerId { chain_id: CHAIN, address: OLD };
    assert_eq!(rotation::unfinished(&mut tx, CHAIN).await.unwrap(), [old]);
    assert_eq!(rotation::hand_over(&mut tx, old).await.unwrap(), 1);
    tx.commit().await.unwrap();
    let again = hand_in(&api, &admin, "again", &body).await.expect(202);
    assert_eq!(
        (&again["transaction_id"], &again["signer"]),
        (&waits["transaction_id"], &json!(address_text(&NEXT)))
    );

    // Nor does the role take the mark back that every request has, or write anything else of a signer.
    for statement in [
        "UPDATE signers SET rotated_to = NULL, rotated_at = NULL",
        "UPDATE signers SET rotated_to = address",
        "UPDATE signers SET next_nonce = 0",
    ] {
        let mut tx = api.db.tenant_tx(&[admin.tenant_id]).await.unwrap();
        assert!(sqlx::query(statement).execute(&mut *tx).await.is_err(), "{statement}");
    }
}

#[tokio::test]
async fn a_rotation_under_one_key_is_one_and_is_answered_the_same() {
    let (api, admin) = owned().await;
    let key = Uuid::new_v4().to_string();
    let body = admin.body(to(NEXT));
    let send = async || {
        let request = axum::http::Request::post(path("old"))
            .header("authorization", format!("Bearer {}", admin.token))
            .header("idempotency-key", &key)
            .header("content-type", "application/json");
        api.send(request.body(axum::body::Body::from(body.to_string())).unwrap()).await
    };
    let (first, second) = (send().await, send().await);
    assert_eq!(first.expect(200), second.expect(200));
    assert_eq!(second.headers["idempotent-replayed"], "true");
}

#[tokio::test]
async fn what_is_not_the_tenants_alone_or_grants_it_something_else_is_the_platforms_to_rotate() {
    let (api, admin) = owned().await;
    for (signer, successor) in [("open", NEXT), ("old", NARROW), ("narrow", OLD)] {
        let refused = api.post(&admin, &path(signer), to(successor)).await.refused(403, "forbidden");
        assert!(refused.contains(signer), "{refused}");
    }
    for (signer, successor) in [("theirs", NEXT), ("old", THEIRS), ("nobody", NEXT), ("old", Address::ZERO)] {
        api.post(&admin, &path(signer), to(successor)).await.refused(404, "not-found");
    }
    let elsewhere = with(to(NEXT), &json!({ "chain_id": 5 }));
    api.post(&admin, &path("old"), elsewhere).await.refused(404, "not-found");
    for (fields, field) in [
        (json!({ "successor": "0x12" }), "successor"),
        (json!({ "successor": address_text(&OLD) }), "successor"),
        (json!({ "reason": "" }), "reason"),
        (json!({ "reason": "x".repeat(501) }), "reason"),
    ] {
        let answer = api.post(&admin, &path("old"), with(to(NEXT), &fields)).await;
        answer.refused(400, "invalid-body");
        assert_eq!(answer.json()["parameters"][0]["name"], field, "{fields}");
    }
    let viewer = api.person(admin.tenant_id, UserKind::Person, &["viewer"]).await;
    api.post(&viewer, &path("old"), to(NEXT)).await.refused(403, "forbidden");
    let unproven = api.session(&api.user_of(&admin).await, false).await;
    api.post(&unproven, &path("old"), to(NEXT)).await.refused(403, "second-factor-required");
    assert_eq!(count(&api, "SELECT count(*) FROM signers WHERE rotated_to IS NOT NULL").await, 0);
    let shared = api.post(&admin, &path("old"), to(OPEN)).await.expect(200);
    assert_eq!(shared["rotated_to"], json!(address_text(&OPEN)), "what everybody is granted, the tenant is");
}

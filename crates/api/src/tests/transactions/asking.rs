//! Asking for a better offer, and what something waits for.

use alloy_primitives::hex;
use plimsoll_identity::UserKind;
use plimsoll_types::address_text;
use serde_json::json;
use uuid::Uuid;

use super::super::CHAIN;
use super::{BOUND, OPEN, attempted, count, house, submit};

/// A transaction that is under way at nonce 0, as whoever works its signer leaves it.
async fn under_way(api: &super::Api, admin: &super::Person) -> String {
    let made = submit(api, admin, &json!({})).await.expect(202);
    let id = made["transaction_id"].as_str().unwrap().to_owned();
    sqlx::query(
        "UPDATE managed_transactions SET state = 'tracking', nonce = 0, version = 2 WHERE id = $1::uuid",
    )
    .bind(&id)
    .execute(api.db.worker())
    .await
    .unwrap();
    attempted(api, id.parse().unwrap(), admin.tenant_id, [7; 32], "this").await;
    id
}

#[tokio::test]
async fn more_is_asked_for_once_with_a_reason_where_there_is_something_to_offer_more_for() {
    let (api, admin) = house().await;
    let waiting = submit(&api, &admin, &json!({})).await.expect(202);
    let path = |id: &str| format!("/chain/tx/{id}/speed-up");
    let early = path(waiting["transaction_id"].as_str().unwrap());
    let detail = api.post(&admin, &early, json!({ "reason": "now" })).await.refused(409, "conflict");
    assert!(detail.contains("no nonce yet"), "{detail}");

    let id = under_way(&api, &admin).await;
    for reason in [String::new(), "x".repeat(501)] {
        let answer = api.post(&admin, &path(&id), json!({ "reason": reason })).await;
        answer.refused(400, "invalid-body");
        assert_eq!(answer.json()["parameters"][0]["name"], "reason");
    }
    let asked = api.post(&admin, &path(&id), json!({ "reason": "a deadline" })).await.expect(202);
    assert_eq!((&asked["speed_up_wanted"], &asked["state"]), (&json!("a deadline"), &json!("tracking")));
    let detail = api.post(&admin, &path(&id), json!({ "reason": "again" })).await.refused(409, "conflict");
    assert!(detail.contains("already: a deadline"), "{detail}");
    let by = "SELECT count(*) FROM managed_transactions WHERE speed_up_by LIKE 'user:%'";
    assert_eq!(count(&api, by).await, 1);
    let audited = "SELECT count(*) FROM audit_staging WHERE action = 'relayer.transaction.speed_up'";
    assert_eq!(count(&api, audited).await, 1);

    // Whoever is to be called off is not sped up, and the wish for an end comes through all the same.
    api.post(&admin, &format!("/chain/tx/{id}/cancel"), json!({ "reason": "withdrawn" })).await.expect(202);
    let detail = api.post(&admin, &path(&id), json!({ "reason": "again" })).await.refused(409, "conflict");
    assert!(detail.contains("is to be cancelled"), "{detail}");
    let nothing = path(&Uuid::now_v7().to_string());
    api.post(&admin, &nothing, json!({ "reason": "why not" })).await.refused(404, "not-found");
    let other = api.tenant_named("globex").await;
    let other = api.person(other, UserKind::Person, &["admin"]).await;
    api.post(&other, &path(&id), json!({ "reason": "theirs" })).await.refused(404, "not-found");
    for role in ["viewer"] {
        let reader = api.person(admin.tenant_id, UserKind::Person, &[role]).await;
        api.post(&reader, &path(&id), json!({ "reason": "no" })).await.refused(403, "forbidden");
    }
}

#[tokio::test]
async fn the_app_takes_no_wish_back_and_gives_no_state() {
    let (api, admin) = house().await;
    let id = under_way(&api, &admin).await;
    api.post(&admin, &format!("/chain/tx/{id}/speed-up"), json!({ "reason": "a deadline" }))
        .await
        .expect(202);
    let mut tx = api.db.tenant_tx(&[admin.tenant_id]).await.unwrap();
    let back = "UPDATE managed_transactions SET speed_up_wanted = NULL, speed_up_by = NULL";
    let error = sqlx::query(back).execute(&mut *tx).await.unwrap_err();
    assert_eq!(error.as_database_error().unwrap().code().as_deref(), Some("42501"), "{error}");
    drop(tx);
    for statement in [
        "UPDATE user_transactions SET state = 'confirmed'",
        "DELETE FROM user_transactions",
        "UPDATE user_transactions SET raw = ''",
    ] {
        let mut tx = api.db.tenant_tx(&[admin.tenant_id]).await.unwrap();
        let error = sqlx::query(statement).execute(&mut *tx).await.unwrap_err();
        assert_eq!(error.as_database_error().unwrap().code().as_deref(), Some("42501"), "{statement}");
    }
}

#[tokio::test]
async fn what_a_transaction_and_a_nonce_wait_for_is_told_to_whom_they_belong() {
    let (api, admin) = house().await;
    let waiting = submit(
        &api,
        &admin,
        &json!({ "signer": address_text(&BOUND), "to": address_text(&super::TARGET), "gas_limit": 10 }),
    )
    .await
    .expect(202);
    let path = |id: &str| format!("/chain/tx/{id}/explain");
    let told = api.read(&admin, &path(waiting["transaction_id"].as_str().unwrap())).await.expect(200);
    assert_eq!((&told["waits_for"], &told["held_by"]), (&json!("holder"), &json!(null)));

    let id = under_way(&api, &admin).await;
    sqlx::query("INSERT INTO leases (name, fencing_token, holder, acquired_at, expires_at) VALUES ($1, 9, 'node-a', now(), now() + interval '1 minute')")
        .bind(format!("signer/{CHAIN}/{}", address_text(&OPEN)))
        .execute(api.db.worker())
        .await
        .unwrap();
    let told = api.read(&admin, &path(&id)).await.expect(200);
    assert_eq!((&told["waits_for"], &told["held_by"]["holder"]), (&json!("block"), &json!("node-a")));
    assert!(told["waiting"].as_str().unwrap().starts_with("node-1 has it"), "{told:#}");
    assert_eq!(api.read(&admin, &path(&hex::encode_prefixed([7; 32]))).await.expect(200), told);

    let nonces = |signer: &str, nonce: &str| format!("/api/v1/signers/{signer}/nonces/{nonce}/explain");
    assert_eq!(api.read(&admin, &nonces("open", "0")).await.expect(200), told);
    let on_chain = format!("{}?chain_id={CHAIN}", nonces(&OPEN.to_string(), "0"));
    assert_eq!(api.read(&admin, &on_chain).await.expect(200), told);
    let beyond = api.read(&admin, &nonces("open", "5")).await.expect(200);
    assert_eq!((&beyond["waits_for"], &beyond["transaction_id"]), (&json!("turn"), &json!(null)));

    // Another tenant's is told to be one.
    let other = api.tenant_named("globex").await;
    let other = api.person(other, UserKind::Person, &["admin"]).await;
    api.read(&other, &path(&id)).await.refused(404, "not-found");
    let theirs = api.read(&other, &nonces("open", "0")).await.expect(200);
    assert!(theirs["waiting"].as_str().unwrap().contains("another tenant"), "{theirs:#}");
    assert_eq!((&theirs["transaction_id"], &theirs["state"]), (&json!(null), &json!(null)));
    for (path, status) in [
        (nonces("open", "x"), 400),
        (nonces("open", "-1"), 400),
        (nonces("open", "99999999999999999999"), 400),
        (format!("{}?chain_id=5", nonces("open", "0")), 404),
        (nonces("closed", "0"), 404),
        (nonces("%00", "0"), 404),
    ] {
        assert_eq!(api.read(&admin, &path).await.status.as_u16(), status, "{path}");
    }
}

//! Holding back: a tenant's own switches over HTTP, and the platform's beside them.

use plimsoll_identity::UserKind;
use plimsoll_relayer::request::SignerId;
use plimsoll_relayer::switches::{self, Scope};
use plimsoll_types::address_text;
use serde_json::{Value, json};

use super::super::CHAIN;
use super::{BOUND, OPEN, count, house, submit};

const PATH: &str = "/api/v1/kill-switches";
const RELEASE: &str = "/api/v1/kill-switches/release";

fn by_open() -> Value {
    json!({ "chain_id": CHAIN, "signer": address_text(&OPEN), "reason": "prices look wrong" })
}

#[tokio::test]
async fn an_operator_holds_back_the_own_tenant_and_lets_it_go_again() {
    let (api, admin) = house().await;
    let other = api.tenant_named("globex").await;
    let other = api.person(other, UserKind::Person, &["admin"]).await;
    let waits = submit(&api, &admin, &json!({})).await.expect(202);
    assert_eq!(waits["halts"], json!([]));

    let thrown = api.post(&admin, PATH, by_open()).await.expect(201);
    assert_eq!((&thrown["is_for_tenant"], &thrown["chain_id"]), (&json!(true), &json!(CHAIN)), "{thrown:#}");
    assert_eq!(thrown["thrown_by"], json!(format!("user:{}", admin.user_id)));
    let detail = api.post(&admin, PATH, by_open()).await.refused(409, "conflict");
    assert!(detail.contains("prices look wrong"), "{detail}");
    let all = api.post(&admin, PATH, json!({ "reason": "everything" })).await.expect(201);
    assert_eq!((&all["chain_id"], &all["signer"]), (&Value::Null, &Value::Null));
    assert_eq!(api.read(&admin, PATH).await.expect(200)["items"], json!([thrown, all]));
    assert_eq!(api.read(&other, PATH).await.expect(200)["items"], json!([]), "it is nobody else's affair");

    // What waits says why, and so does the signer; another tenant's does not.
    let path = format!("/chain/tx/{}", waits["transaction_id"].as_str().unwrap());
    let halts = api.read(&admin, &path).await.expect(200)["halts"].clone();
    assert_eq!(
        (&halts[0]["reason"], &halts[0]["is_for_signer"]),
        (&json!("prices look wrong"), &json!(true))
    );
    assert_eq!((&halts[1]["reason"], &halts[1]["is_for_signer"]), (&json!("everything"), &json!(false)));
    let free = submit(&api, &other, &json!({})).await.expect(202);
    assert_eq!(free["halts"], json!([]));

    api.post(&other, RELEASE, by_open()).await.refused(404, "not-found");
    let released = api.post(&admin, RELEASE, by_open()).await.expect(200);
    assert_eq!(released, thrown);
    api.post(&admin, RELEASE, by_open()).await.refused(404, "not-found");
    assert_eq!(api.read(&admin, PATH).await.expect(200)["items"], json!([all]));
    for (action, times) in [("throw", 2), ("release", 1)] {
        let audited = sqlx::query_scalar::<_, i64>(
            "SELECT count(*) FROM audit_staging WHERE action = 'relayer.kill_switch.' || $1 AND tenant_id = $2 AND reason IS NOT NULL",
        );
        let audited = audited.bind(action).bind(admin.tenant_id).fetch_one(api.db.worker()).await.unwrap();
        assert_eq!(audited, times, "{action}");
    }
}

#[tokio::test]
async fn the_platforms_switches_are_told_and_are_nobody_elses_to_release() {
    let (api, admin) = house().await;
    let mut tx = api.db.begin_worker().await.unwrap();
    let bound = Scope { tenant_id: None, signer: Some(SignerId { chain_id: CHAIN, address: BOUND }) };
    for scope in [Scope::default(), bound] {
        switches::throw(&mut tx, scope, "cli:root", "the platform's reason").await.unwrap();
    }
    tx.commit().await.unwrap();
    let told = api.read(&admin, PATH).await.expect(200)["items"].clone();
    let told = told.as_array().unwrap();
    assert_eq!(told.len(), 2);
    for switch in told {
        assert_eq!((&switch["is_for_tenant"], &switch["thrown_by"]), (&json!(false), &Value::Null));
        assert_eq!(switch["reason"], "the platform's reason");
    }
    api.post(&admin, RELEASE, json!({ "reason": "mine?" })).await.refused(404, "not-found");
    // Nor does the role let go of them that every request has.
    let mut tx = api.db.tenant_tx(&[admin.tenant_id]).await.unwrap();
    let deleted = sqlx::query("DELETE FROM kill_switches").execute(&mut *tx).await.unwrap();
    assert_eq!(deleted.rows_affected(), 0);
    let thrown =
        sqlx::query("INSERT INTO kill_switches (tenant_id, thrown_by, reason) VALUES (NULL, 'me', 'no')");
    assert!(thrown.execute(&mut *tx).await.is_err());
    drop(tx);
    assert_eq!(count(&api, "SELECT count(*) FROM kill_switches").await, 2);
}

#[tokio::test]
async fn what_is_wrong_with_a_switch_is_said_by_its_field() {
    let (api, admin) = house().await;
    let address = address_text(&OPEN);
    for (order, field) in [
        (json!({ "reason": "" }), "reason"),
        (json!({ "reason": "x".repeat(501) }), "reason"),
        (json!({ "reason": "x", "signer": "0x12", "chain_id": CHAIN }), "signer"),
    ] {
        for path in [PATH, RELEASE] {
            let answer = api.post(&admin, path, order.clone()).await;
            answer.refused(400, "invalid-body");
            assert_eq!(answer.json()["parameters"][0]["name"], field, "{order}");
        }
    }
    // A signer is an address on a chain: one without the other is nothing, and never every signer.
    for (order, missing) in [
        (json!({ "reason": "x", "chain_id": CHAIN }), "`signer`"),
        (json!({ "reason": "x", "signer": address }), "`chain_id`"),
        (json!({ "reason": "x", "chain_id": null, "signer": null }), "null"),
    ] {
        for path in [PATH, RELEASE] {
            let detail = api.post(&admin, path, order.clone()).await.refused(400, "invalid-body");
            assert!(detail.contains(missing), "{order}: {detail}");
        }
    }
    let stranger = json!({ "reason": "x", "signer": address, "chain_id": 5 });
    api.post(&admin, PATH, stranger).await.refused(404, "not-found");
    let viewer = api.person(admin.tenant_id, UserKind::Person, &["viewer"]).await;
    api.post(&viewer, PATH, json!({ "reason": "x" })).await.refused(403, "forbidden");
    api.read(&viewer, PATH).await.expect(200);
    assert_eq!(count(&api, "SELECT count(*) FROM kill_switches").await, 0);
}

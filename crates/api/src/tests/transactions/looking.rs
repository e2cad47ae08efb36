//! Looking at transactions and signers, and calling off.

use plimsoll_identity::UserKind;
use plimsoll_types::address_text;
use serde_json::{Value, json};
use uuid::Uuid;

use super::super::CHAIN;
use super::{BOUND, CLOSED, OPEN, attempted, count, house, submit};

#[tokio::test]
async fn a_transaction_is_found_by_its_id_and_by_any_attempts_hash() {
    let (api, admin) = house().await;
    let made = submit(&api, &admin, &json!({})).await.expect(202);
    let id = made["transaction_id"].as_str().unwrap();
    attempted(&api, id.parse().unwrap(), admin.tenant_id, [7; 32], "this").await;
    let hash = alloy_primitives::hex::encode_prefixed([7; 32]);
    let (by_id, by_hash) = (format!("/chain/tx/{id}"), format!("/chain/tx/{hash}"));
    let found = api.read(&admin, &by_id).await.expect(200);
    assert_eq!(found, api.read(&admin, &by_hash).await.expect(200));
    let attempts = found["attempts"].as_array().unwrap();
    assert_eq!(attempts.len(), 1, "{found:#}");
    for (field, value) in [
        ("number", json!(1)),
        ("tx_hash", json!(hash)),
        ("max_fee_per_gas", json!("30")),
        ("max_priority_fee_per_gas", json!("2")),
        ("why", json!("decision of this")),
    ] {
        assert_eq!(attempts[0][field], value, "{field}");
    }
    let answers = attempts[0]["answers"].as_array().unwrap();
    assert_eq!((answers.len(), &answers[0]["answer"]), (1, &json!("accepted")), "the last of each endpoint");

    let other = api.tenant_named("globex").await;
    let other = api.person(other, UserKind::Person, &["admin"]).await;
    for path in [by_id, by_hash, format!("/chain/tx/{}", Uuid::now_v7()), "/chain/tx/nothing".into()] {
        api.read(&other, &path).await.refused(404, "not-found");
    }
    assert_eq!(api.read(&other, "/chain/tx").await.expect(200)["items"], json!([]));
}

#[tokio::test]
async fn transactions_are_listed_in_pages_the_newest_first_and_by_what_they_are() {
    let (api, admin) = house().await;
    let mut made = Vec::new();
    for n in 0..5 {
        let fields =
            json!({ "operation_type": if n == 2 { "odd" } else { "push" }, "value_wei": n.to_string() });
        made.push(submit(&api, &admin, &fields).await.expect(202));
    }
    made.reverse();
    let list = async |query: &str| api.read(&admin, &format!("/chain/tx{query}")).await.expect(200);
    let (mut found, mut cursor) = (Vec::new(), String::new());
    for left in [3, 1, 0] {
        let page = list(&format!("?limit=2{cursor}")).await;
        found.extend(page["items"].as_array().unwrap().clone());
        assert_eq!(page["next_cursor"].is_null(), left == 0);
        cursor = format!("&cursor={}", page["next_cursor"].as_str().unwrap_or_default());
    }
    assert_eq!(found, made);

    let request_id = made[0]["request_id"].as_str().unwrap();
    let since = made[1]["created_at"].as_str().unwrap();
    for (query, wanted) in [
        ("?operation_type=odd".to_owned(), &made[2..3]),
        (format!("?request_id={request_id}"), &made[..1]),
        (format!("?request_id={request_id}&operation_type=odd"), &made[..0]),
        ("?state=pending".into(), &made[..]),
        ("?state=mined".into(), &made[..0]),
        (format!("?chain_id={CHAIN}&signer={OPEN}"), &made[..]),
        ("?chain_id=5".into(), &made[..0]),
        (format!("?signer={BOUND}"), &made[..0]),
        ("?since=2100-01-01T00:00:00Z".into(), &made[..0]),
    ] {
        assert_eq!(list(&query).await["items"], json!(wanted), "{query}");
    }
    let later = list(&format!("?since={since}")).await;
    assert!(later["items"].as_array().unwrap().len() <= 3, "since {since}: {later:#}");
    for query in ["?state=gone", "?request_id=1", "?signer=0x", "?since=now", "?tenant=1"] {
        assert_eq!(api.read(&admin, &format!("/chain/tx{query}")).await.status.as_u16(), 400, "{query}");
    }
    let bad = api.read(&admin, &format!("/chain/tx?state=mined&limit=2{cursor}")).await;
    assert_eq!(bad.status.as_u16(), 400);
}

#[tokio::test]
async fn a_transaction_is_called_off_once_with_a_reason() {
    let (api, admin) = house().await;
    let made = submit(&api, &admin, &json!({})).await.expect(202);
    let path = format!("/chain/tx/{}/cancel", made["transaction_id"].as_str().unwrap());
    for reason in [String::new(), "x".repeat(501)] {
        let answer = api.post(&admin, &path, json!({ "reason": reason })).await;
        answer.refused(400, "invalid-body");
        assert_eq!(answer.json()["parameters"][0]["name"], "reason");
    }
    let wished = api.post(&admin, &path, json!({ "reason": "withdrawn" })).await.expect(202);
    assert_eq!((&wished["end_wanted"], &wished["end_why"]), (&json!("cancelled"), &json!("withdrawn")));
    let detail = api.post(&admin, &path, json!({ "reason": "again" })).await.refused(409, "conflict");
    assert!(detail.contains("withdrawn"), "{detail}");
    sqlx::query("UPDATE managed_transactions SET state = 'cancelled'")
        .execute(api.db.worker())
        .await
        .unwrap();
    let detail = api.post(&admin, &path, json!({ "reason": "again" })).await.refused(409, "conflict");
    assert!(detail.contains("is cancelled and stays so"), "{detail}");
    let nothing = format!("/chain/tx/{}/cancel", Uuid::now_v7());
    api.post(&admin, &nothing, json!({ "reason": "why not" })).await.refused(404, "not-found");
    let other = api.tenant_named("globex").await;
    let other = api.person(other, UserKind::Person, &["admin"]).await;
    api.post(&other, &path, json!({ "reason": "theirs" })).await.refused(404, "not-found");
    let audited = "SELECT count(*) FROM audit_staging WHERE action = 'relayer.transaction.cancel'";
    assert_eq!(count(&api, audited).await, 1);
}

#[tokio::test]
async fn the_signers_that_grant_a_tenant_anything_are_told() {
    let (api, admin) = house().await;
    sqlx::query("INSERT INTO leases (name, fencing_token, holder, acquired_at, expires_at) VALUES ($1, 9, 'node-a', now(), now() + interval '1 minute')")
        .bind(format!("signer/{CHAIN}/{}", address_text(&OPEN)))
        .execute(api.db.worker())
        .await
        .unwrap();
    sqlx::query("INSERT INTO kill_switches (tenant_id, chain_id, signer, thrown_by, reason) VALUES ($1, $2, $3, 'somebody', 'keys are turned'), (NULL, NULL, NULL, 'somebody', 'all')")
        .bind(admin.tenant_id)
        .bind(i64::try_from(CHAIN).unwrap())
        .bind(address_text(&BOUND))
        .execute(api.db.worker())
        .await
        .unwrap();
    sqlx::query("INSERT INTO signer_sightings (chain_id, address, latest, pending, balance_wei, needed_wei, answered, endpoints, findings, seen_at) VALUES ($1, $2, 7, 8, 1000, 0, 1, 1, '[]', now())")
        .bind(i64::try_from(CHAIN).unwrap())
        .bind(address_text(&OPEN))
        .execute(api.db.worker())
        .await
        .unwrap();
    let told = api.read(&admin, "/api/v1/signers").await.expect(200);
    let names: Vec<_> =
        told["items"].as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["bound", "open"], "{told:#}");
    let (bound, open) = (&told["items"][0], &told["items"][1]);
    assert_eq!((&open["lease"]["holder"], &open["lease"]["token"]), (&json!("node-a"), &json!(9)));
    assert_eq!((&open["next_nonce"], &open["consumed_next"]), (&json!(0), &json!(0)));
    assert_eq!(open["chain_nonce"], json!(7));
    assert_eq!(open["balance"], json!(null), "what was seen is of another moment, and nobody can be asked");
    assert!(open.get("balance_wei").is_none(), "there is one balance, with its block");
    assert_eq!(
        (&bound["chain_nonce"], &bound["seen_at"], &bound["rotated_to"]),
        (&Value::Null, &Value::Null, &Value::Null)
    );
    let reasons = |of: &Value| {
        let halts = of["halts"].as_array().unwrap().iter();
        halts.map(|halt| halt["reason"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(reasons(open), ["all"]);
    assert_eq!(
        (reasons(bound), &bound["lease"]),
        (vec!["keys are turned".into(), "all".into()], &Value::Null)
    );

    let one = api.read(&admin, &format!("/api/v1/signers/{OPEN}")).await.expect(200);
    assert_eq!(one["items"], json!([open]));
    for strange in [address_text(&CLOSED), "me".into()] {
        api.read(&admin, &format!("/api/v1/signers/{strange}")).await.refused(404, "not-found");
    }
}

#[tokio::test]
async fn who_reads_hands_nothing_in_and_who_hands_in_calls_nothing_off() {
    let (api, admin) = house().await;
    let made = submit(&api, &admin, &json!({})).await.expect(202);
    let path = format!("/chain/tx/{}", made["transaction_id"].as_str().unwrap());
    let viewer = api.person(admin.tenant_id, UserKind::Person, &["viewer"]).await;
    let agent = api.person(admin.tenant_id, UserKind::Agent, &["agent"]).await;
    for reader in [&viewer, &agent] {
        for path in [path.as_str(), "/chain/tx", "/api/v1/signers"] {
            api.read(reader, path).await.expect(200);
        }
        submit(&api, reader, &json!({})).await.refused(403, "forbidden");
        let cancel = api.post(reader, &format!("{path}/cancel"), json!({ "reason": "no" })).await;
        cancel.refused(403, "forbidden");
    }
    let operator = api.person(admin.tenant_id, UserKind::Machine, &["operator"]).await;
    submit(&api, &operator, &json!({})).await.expect(202);
}

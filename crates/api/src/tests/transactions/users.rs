//! Transactions that users sign, on a real node: prepared, handed in once, and nobody's to change; and calls that users authorise.

use alloy_primitives::{B256, Bytes, U256, hex, keccak256};
use plimsoll_chain::abi::Contracts;
use plimsoll_identity::UserKind;
use plimsoll_testkit::node;
use plimsoll_types::address_text;
use serde_json::{Value, json};
use uuid::Uuid;

use super::super::CHAIN;
use super::chained::{PREPARE, asking, chained, raw_of, signature, user};
use super::{BOUND, OPEN, count, hand_in, house, plain, with};

#[tokio::test]
async fn a_transaction_is_prepared_with_all_that_a_user_is_to_be_shown_and_nothing_is_kept() {
    let chained = chained().await;
    let prepared = chained.prepare(&json!({})).await.expect(200);
    let id: Uuid = prepared["request_id"].as_str().unwrap().parse().unwrap();
    let data = prepared["data"].as_str().unwrap();
    assert!(data.ends_with(&hex::encode(id.as_bytes())), "{data}");
    for (field, value) in [
        ("submitted_by", json!("wallet")),
        ("request_id_in", json!("argument")),
        ("nonce", json!(0)),
        ("fee_token", json!({ "symbol": "ETH", "is_native": true, "decimals": 18 })),
        ("typed_data", Value::Null),
    ] {
        assert_eq!(prepared[field], value, "{field}");
    }
    assert_eq!(prepared["transaction"]["data"], prepared["data"]);
    assert!(prepared["gas_limit"].as_u64() >= prepared["gas_estimate"].as_u64());
    let codes = |prepared: &Value| {
        let notices = prepared["notices"].as_array().unwrap().clone();
        for notice in &notices {
            let zh = notice["zh"].as_str().unwrap();
            assert!(
                notice["en"].as_str().unwrap().is_ascii() && zh.chars().any(|c| c > '\u{4e00}'),
                "{notice}"
            );
        }
        notices.iter().map(|notice| notice["code"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(codes(&prepared), ["you_pay", "on_failure", "request_id"]);
    let stranger = json!({ "to": address_text(&OPEN), "data": null });
    assert_eq!(chained.prepare(&stranger).await.expect(200)["request_id_in"], "suffix");

    let by_platform = json!({ "submitted_by": "platform", "forwarder": address_text(&chained.forwarder) });
    let authorisation = chained.prepare(&by_platform).await.expect(200);
    assert_eq!(codes(&authorisation)[0], "platform_submits");
    assert_eq!((&authorisation["nonce"], &authorisation["transaction"]), (&Value::Null, &Value::Null));
    assert_eq!(authorisation["typed_data"]["message"]["data"], authorisation["data"]);

    assert_eq!(count(&chained.api, "SELECT count(*) FROM user_transactions").await, 0);
    let viewer = chained.api.person(chained.admin.tenant_id, UserKind::Person, &["viewer"]).await;
    chained.api.post(&viewer, PREPARE, chained.draft()).await.refused(403, "forbidden");
}

#[tokio::test]
async fn what_cannot_be_prepared_is_refused_by_its_field_or_by_the_chain() {
    let chained = chained().await;
    let other = hex::encode_prefixed([&keccak256("perform(bytes32)")[..4], &[9; 32]].concat());
    let forwarder = address_text(&chained.forwarder);
    for (fields, named) in [
        (json!({ "from": "me" }), "from"),
        (json!({ "to": "0x12" }), "to"),
        (json!({ "value_wei": "-1" }), "value_wei"),
        (json!({ "data": "0xabc" }), "data"),
        (json!({ "data": other }), "data"),
        (
            json!({ "data": "0x12345678", "to": address_text(&chained.counter), "forwarder": forwarder }),
            "forwarder",
        ),
        (json!({ "submitted_by": "platform" }), "forwarder"),
        (json!({ "submitted_by": "platform", "forwarder": address_text(&chained.counter) }), "forwarder"),
        (json!({ "submitted_by": "platform", "forwarder": forwarder, "to": address_text(&OPEN) }), "to"),
        (json!({ "submitted_by": "platform", "forwarder": forwarder, "value_wei": "1" }), "value_wei"),
        (json!({ "request_id": Uuid::nil() }), "request_id"),
    ] {
        let answer = chained.prepare(&fields).await;
        answer.refused(400, "invalid-body");
        assert_eq!(answer.json()["parameters"][0]["name"], named, "{fields}: {}", answer.body);
    }
    chained.prepare(&json!({ "submitted_by": "anybody" })).await.refused(400, "invalid-body");
    chained.prepare(&json!({ "chain_id": 5 })).await.refused(409, "not-configured");
    let dear = json!({ "value_wei": U256::MAX.to_string() });
    chained.prepare(&dear).await.refused(409, "conflict");
    // Another tenant has no contract that takes its users' authorisations.
    let tenant_id = chained.api.tenant_named("globex").await;
    let other = chained.api.person(tenant_id, UserKind::Person, &["admin"]).await;
    let by_platform = json!({ "submitted_by": "platform", "forwarder": forwarder });
    chained.api.post(&other, PREPARE, with(chained.draft(), &by_platform)).await.refused(400, "invalid-body");
    let (api, admin) = asking(chained.api, &chained.admin, "http://127.0.0.1:9", Contracts::default()).await;
    api.post(
        &admin,
        PREPARE,
        json!({ "chain_id": CHAIN, "from": address_text(&user()), "to": address_text(&OPEN) }),
    )
    .await
    .refused(503, "chain-unavailable");
}

#[tokio::test]
async fn what_a_wallet_signed_is_taken_once_found_by_every_name_and_changed_by_nobody() {
    let chained = chained().await;
    let (api, admin) = (&chained.api, &chained.admin);
    let prepared = chained.prepare(&json!({})).await.expect(200);
    let body = chained.signed(&prepared);
    let first = hand_in(api, admin, "one", &body).await;
    let made = first.expect(202);
    let hash = hex::encode_prefixed(keccak256(raw_of(&prepared)));
    for (field, value) in [
        ("kind", json!("user_signed")),
        ("state", json!("pending")),
        ("signer", json!(address_text(&user()))),
        ("nonce", json!(0)),
        ("request_id", prepared["request_id"].clone()),
    ] {
        assert_eq!(made[field], value, "{field}");
    }
    assert_eq!(made["attempts"][0]["tx_hash"], json!(hash));
    assert_eq!(hand_in(api, admin, "one", &body).await.headers["idempotent-replayed"], "true");
    assert_eq!(hand_in(api, admin, "two", &body).await.body, first.body);
    let keys: Vec<_> = (0..20).map(|n| format!("of-{n}")).collect();
    let all = futures::future::join_all(keys.iter().map(|key| hand_in(api, admin, key, &body))).await;
    assert!(all.iter().all(|answer| answer.body == first.body));
    assert_eq!(count(api, "SELECT count(*) FROM user_transactions").await, 1);
    let audited = "SELECT count(*) FROM audit_staging WHERE action = 'relayer.transaction.submit_signed'";
    assert_eq!(count(api, audited).await, 1);
    assert_eq!(
        chained.anvil.pool_size().await.unwrap(),
        0,
        "nothing is sent before it is kept, and not from here"
    );

    let id = made["transaction_id"].as_str().unwrap();
    let request = made["request_id"].as_str().unwrap();
    for path in [format!("/chain/tx/{id}"), format!("/chain/tx/{hash}")] {
        assert_eq!(api.read(admin, &path).await.expect(200), made, "{path}");
    }
    for query in [format!("?request_id={request}"), format!("?signer={}", user()), "?state=pending".into()] {
        assert_eq!(api.read(admin, &format!("/chain/tx{query}")).await.expect(200)["items"], json!([made]));
    }
    let explained = api.read(admin, &format!("/chain/tx/{hash}/explain")).await.expect(200);
    assert_eq!((&explained["waits_for"], &explained["state"]), (&json!("holder"), &json!("pending")));
    for action in ["cancel", "speed-up"] {
        let asked = api.post(admin, &format!("/chain/tx/{id}/{action}"), json!({ "reason": "no" })).await;
        assert!(asked.refused(409, "conflict").contains("its user signed"), "{action}");
    }

    // What holds it back is told, as of any request.
    api.post(admin, "/api/v1/kill-switches", json!({ "reason": "prices look wrong" })).await.expect(201);
    let halts = api.read(admin, &format!("/chain/tx/{id}")).await.expect(200)["halts"].clone();
    assert_eq!(
        (&halts[0]["reason"], &halts[0]["is_for_tenant"]),
        (&json!("prices look wrong"), &json!(true))
    );
    api.post(admin, "/api/v1/kill-switches/release", json!({ "reason": "over" })).await.expect(200);

    // Used meanwhile: what is there is told, what is not is refused.
    let other = chained.prepare(&json!({})).await.expect(200);
    let from = user();
    chained.anvil.send(&node::Call { from, to: Some(from), data: Bytes::new() }).await.unwrap();
    chained.anvil.mine(1).await.unwrap();
    assert_eq!(hand_in(api, admin, "three", &body).await.body, first.body);
    let refused = hand_in(api, admin, "four", &chained.signed(&other)).await.refused(409, "conflict");
    assert!(refused.contains("the next one is 1"), "{refused}");

    let tenant_id = api.tenant_named("globex").await;
    let stranger = api.person(tenant_id, UserKind::Person, &["admin"]).await;
    for path in [format!("/chain/tx/{id}"), format!("/chain/tx/{hash}"), format!("/chain/tx/{id}/explain")] {
        api.read(&stranger, &path).await.refused(404, "not-found");
    }
    assert_eq!(api.read(&stranger, "/chain/tx").await.expect(200)["items"], json!([]));
}

#[tokio::test]
async fn what_is_not_what_the_body_says_is_refused_by_its_field() {
    let chained = chained().await;
    let (api, admin) = (&chained.api, &chained.admin);
    let prepared = chained.prepare(&json!({})).await.expect(200);
    let body = chained.signed(&prepared);
    let raw = body["raw"].as_str().unwrap();
    let garbled = format!("{}00", &raw[..raw.len() - 2]);
    for (fields, named) in [
        (json!({ "chain_id": 1 }), "chain_id"),
        (json!({ "sender": address_text(&OPEN) }), "sender"),
        (json!({ "sender": "me" }), "sender"),
        (json!({ "raw": "0x" }), "raw"),
        (json!({ "raw": "0x01zz" }), "raw"),
        (json!({ "raw": format!("{raw}00") }), "raw"),
        (json!({ "raw": garbled }), "sender"),
        (json!({ "request_id": Uuid::new_v4() }), "raw"),
        (json!({ "operation_type": "a b" }), "operation_type"),
        (json!({ "operation_type": "fill" }), "operation_type"),
    ] {
        let answer = hand_in(api, admin, &Uuid::new_v4().to_string(), &with(body.clone(), &fields)).await;
        answer.refused(400, "invalid-body");
        assert_eq!(answer.json()["parameters"][0]["name"], named, "{fields}: {}", answer.body);
    }
    hand_in(api, admin, "more", &with(body.clone(), &json!({ "signer": "x" })))
        .await
        .refused(400, "invalid-body");
    let viewer = api.person(admin.tenant_id, UserKind::Person, &["viewer"]).await;
    hand_in(api, &viewer, "viewer", &body).await.refused(403, "forbidden");

    hand_in(api, admin, "one", &body).await.expect(202);
    let renamed = with(body.clone(), &json!({ "operation_type": "another" }));
    hand_in(api, admin, "two", &renamed).await.refused(409, "conflict");
    let mut other =
        chained.prepare(&json!({ "request_id": prepared["request_id"], "value_wei": "1" })).await.expect(200);
    other["request_id"] = prepared["request_id"].clone();
    let other = chained.signed(&other);
    hand_in(api, admin, "three", &other).await.refused(409, "conflict");
    hand_in(api, admin, "one", &other).await.refused(422, "idempotency-key-reused");
    assert_eq!(count(api, "SELECT count(*) FROM user_transactions").await, 1);
}

#[tokio::test]
async fn a_call_that_a_user_authorised_is_handed_to_a_signer_if_the_signature_is_the_users() {
    let chained = chained().await;
    let (api, admin) = (&chained.api, &chained.admin);
    let by_platform = json!({ "submitted_by": "platform", "forwarder": address_text(&chained.forwarder) });
    let prepared = chained.prepare(&by_platform).await.expect(200);
    let message = &prepared["typed_data"]["message"];
    // The contract says what is signed.
    let digest = {
        let word = |text: &str| B256::left_padding_from(&hex::decode(text).unwrap());
        let data = hex::decode(message["data"].as_str().unwrap()).unwrap();
        let deadline: u64 = message["deadline"].as_str().unwrap().parse().unwrap();
        let mut call = keccak256("digest(address,address,bytes,bytes32,uint256)")[..4].to_vec();
        for head in [
            word(message["from"].as_str().unwrap()),
            word(message["to"].as_str().unwrap()),
            U256::from(160).into(),
            word(message["requestId"].as_str().unwrap()),
            U256::from(deadline).into(),
            U256::from(data.len()).into(),
        ] {
            call.extend(head.0);
        }
        call.extend(&data);
        call.resize(call.len() + 28, 0);
        let answer = chained.anvil.call(chained.forwarder, &call.into(), json!("latest")).await.unwrap();
        B256::from_slice(&answer)
    };
    let authorization = json!({
        "forwarder": address_text(&chained.forwarder), "from": message["from"], "to": message["to"], "data": message["data"],
        "deadline": message["deadline"].as_str().unwrap().parse::<u64>().unwrap(), "signature": hex::encode_prefixed(signature(digest)),
    });
    let mut body = admin.body(json!({
        "operation_type": "count", "chain_id": CHAIN, "signer": address_text(&OPEN), "authorization": authorization,
    }));
    body["request_id"] = prepared["request_id"].clone();
    for (field, value) in [
        ("forwarder", json!(address_text(&chained.counter))),
        ("from", json!(address_text(&chained.counter))),
        ("to", json!(address_text(&OPEN))),
        ("data", json!("0x")),
        ("deadline", json!(1)),
        ("deadline", json!(u64::MAX)),
        ("signature", json!("0x12")),
    ] {
        let mut wrong = body.clone();
        wrong["authorization"][field] = value.clone();
        let answer = hand_in(api, admin, &Uuid::new_v4().to_string(), &wrong).await;
        answer.refused(400, "invalid-body");
        let named = answer.json()["parameters"][0]["name"].as_str().unwrap().to_owned();
        let wanted = if ["from", "data"].contains(&field) { "signature" } else { field };
        assert_eq!(named, format!("authorization.{wanted}"), "{field} = {value}: {}", answer.body);
    }
    let bound = with(body.clone(), &json!({ "signer": address_text(&BOUND), "gas_limit": 10 }));
    hand_in(api, admin, "bound", &bound).await.refused(403, "forbidden");
    let made = hand_in(api, admin, "one", &body).await.expect(202);
    assert_eq!((&made["kind"], &made["to"]), (&json!("managed"), &json!(address_text(&chained.forwarder))));
    assert_eq!(hand_in(api, admin, "two", &body).await.expect(202), made);
    // It does what the user signed, and does it once.
    let data: Bytes = made["data"].as_str().unwrap().parse().unwrap();
    let from = chained.anvil.accounts().await.unwrap()[0];
    let to = Some(chained.forwarder);
    let sent = chained.anvil.send(&node::Call { from, to, data: data.clone() }).await.unwrap();
    chained.anvil.mine(1).await.unwrap();
    assert_eq!(chained.anvil.wait_receipt(sent).await.unwrap()["status"], "0x1");
    assert!(chained.anvil.call(chained.forwarder, &data, json!("latest")).await.is_err(), "a second time");
}

#[tokio::test]
async fn a_signer_of_the_platforms_is_no_user() {
    let chained = chained().await;
    let (api, admin) = (&chained.api, &chained.admin);
    let before = chained.signed(&chained.prepare(&json!({})).await.expect(200));
    let kept = hand_in(api, admin, "before", &before).await.expect(202);
    let later = chained.signed(&chained.prepare(&json!({})).await.expect(200));
    sqlx::query("INSERT INTO signers (chain_id, address, name) VALUES ($1, $2, 'ours now')")
        .bind(i64::try_from(CHAIN).unwrap())
        .bind(address_text(&user()))
        .execute(api.db.worker())
        .await
        .unwrap();
    let refused = hand_in(api, admin, "later", &later).await.refused(403, "managed-sender");
    assert!(refused.contains(&address_text(&user())), "{refused}");
    let by_platform = json!({ "submitted_by": "platform", "forwarder": address_text(&chained.forwarder) });
    for fields in [json!({}), by_platform] {
        chained.prepare(&fields).await.refused(403, "managed-sender");
    }
    let authorized = admin.body(json!({
        "operation_type": "count", "chain_id": CHAIN, "signer": address_text(&OPEN),
        "authorization": {
            "forwarder": address_text(&chained.forwarder), "from": address_text(&user()), "to": address_text(&chained.counter), "data": "0x",
            "deadline": 1_900_000_000, "signature": hex::encode_prefixed(signature(B256::ZERO)),
        },
    }));
    hand_in(api, admin, "authorized", &authorized).await.refused(403, "managed-sender");
    // What is there is told all the same.
    assert_eq!(hand_in(api, admin, "again", &before).await.expect(202), kept);
    assert_eq!(count(api, "SELECT count(*) FROM user_transactions").await, 1);
    assert_eq!(count(api, "SELECT count(*) FROM managed_transactions").await, 0);
}

#[tokio::test]
async fn what_a_user_signed_under_a_key_is_no_other_request_of_that_key() {
    let chained = chained().await;
    let (api, admin) = (&chained.api, &chained.admin);
    let body = chained.signed(&chained.prepare(&json!({})).await.expect(200));
    let kept = hand_in(api, admin, "signed", &body).await.expect(202);
    let mut call = admin.body(with(plain(), &json!({ "operation_type": body["operation_type"] })));
    call["request_id"] = body["request_id"].clone();
    let refused = hand_in(api, admin, "call", &call).await.refused(409, "conflict");
    assert!(refused.contains(kept["transaction_id"].as_str().unwrap()), "{refused}");
    assert_eq!(count(api, "SELECT count(*) FROM managed_transactions").await, 0);
}

#[tokio::test]
async fn what_a_user_signed_ahead_of_what_the_chain_has_waits_for_the_lower_nonces() {
    let chained = chained().await;
    let (api, admin) = (&chained.api, &chained.admin);
    let prepared = chained.prepare(&json!({})).await.expect(200);
    let made = hand_in(api, admin, "one", &chained.signed(&prepared)).await.expect(202);
    let mut owner = sqlx::ConnectOptions::connect(&api.db.urls().owner).await.unwrap();
    let ahead = sqlx::query("UPDATE user_transactions SET state = 'tracking', nonce = 1");
    assert_eq!(ahead.execute(&mut owner).await.unwrap().rows_affected(), 1);
    let path = format!("/chain/tx/{}/explain", made["transaction_id"].as_str().unwrap());
    let told = api.read(admin, &path).await.expect(200);
    assert_eq!(told["waits_for"], json!("lower_nonce"), "{told:#}");
    assert!(told["waiting"].as_str().unwrap().starts_with("nonce 0 of its sender"), "{told:#}");
    let from = user();
    chained.anvil.send(&node::Call { from, to: Some(from), data: Bytes::new() }).await.unwrap();
    chained.anvil.mine(1).await.unwrap();
    let told = api.read(admin, &path).await.expect(200);
    assert_eq!(told["waits_for"], json!("holder"), "{told:#}");
}

#[tokio::test]
async fn a_signers_balance_is_told_with_its_block_and_it_is_found_by_its_name() {
    let chained = chained().await;
    chained.anvil.raw("anvil_setBalance", json!([OPEN, "0x7"])).await.unwrap();
    let block = chained.anvil.block_hash(2).await.unwrap().unwrap();
    let told = chained.api.read(&chained.admin, "/api/v1/signers/open").await.expect(200);
    assert_eq!(told, chained.api.read(&chained.admin, &format!("/api/v1/signers/{OPEN}")).await.expect(200));
    let balance = &told["items"][0]["balance"];
    assert_eq!(*balance, json!({ "wei": "7", "block_number": 2, "block_hash": block }), "{told:#}");
    for nobody in ["closed", "", "nobody"] {
        let answer = chained.api.read(&chained.admin, &format!("/api/v1/signers/{nobody}")).await;
        assert_eq!(answer.status.as_u16(), 404, "{nobody}");
    }
    let (api, admin) = asking(chained.api, &chained.admin, "http://127.0.0.1:9", Contracts::default()).await;
    let told = api.read(&admin, "/api/v1/signers/open").await.expect(200);
    assert_eq!(told["items"][0]["balance"], Value::Null, "nobody tells, and the rest is told all the same");
}

#[tokio::test]
async fn a_server_that_sends_nothing_on_a_chain_takes_nothing_for_it() {
    let (api, admin) = house().await;
    let body = admin.body(json!({
        "operation_type": "count", "chain_id": CHAIN, "sender": address_text(&user()), "raw": "0x02",
    }));
    hand_in(&api, &admin, "one", &body).await.refused(400, "invalid-body");
    let chained = chained().await;
    let signed = chained.signed(&chained.prepare(&json!({})).await.expect(200));
    let (tenant_id, user_id) = (admin.tenant_id, admin.user_id);
    let theirs = with(signed, &json!({ "tenant_id": tenant_id, "user_id": user_id }));
    hand_in(&api, &admin, "two", &theirs).await.refused(409, "not-configured");
}

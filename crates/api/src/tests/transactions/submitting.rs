//! Handing in: once, within what is granted, and nothing that is wrong.

use std::collections::BTreeSet;

use alloy_primitives::U256;
use axum::Router;
use plimsoll_identity::UserKind;
use plimsoll_store::idempotency::{KeyOptions, Keys};
use plimsoll_types::address_text;
use serde_json::{Value, json};

use super::super::{Api, services};
use super::{BOUND, CLOSED, OPEN, SUBMIT, TARGET, count, hand_in, house, plain, submit, transactions, with};
use crate::routes::router_with;
use crate::{ApiOptions, ApiState, Roles, Services};

#[tokio::test]
async fn a_transaction_is_handed_in_once_however_often_it_is_sent() {
    let (api, admin) = house().await;
    let body = admin.body(with(plain(), &json!({ "value_wei": "7", "data": "0xD09de08a" })));
    let first = hand_in(&api, &admin, "one", &body).await;
    let made = first.expect(202);
    assert_eq!(made["request_id"], body["request_id"]);
    for (field, value) in [
        ("state", json!("pending")),
        ("value_wei", json!("7")),
        ("data", json!("0xd09de08a")),
        ("signer", json!(address_text(&OPEN))),
        ("attempts", json!([])),
        ("created_by", json!(format!("user:{}", admin.user_id))),
    ] {
        assert_eq!(made[field], value, "{field}");
    }

    let again = hand_in(&api, &admin, "one", &body).await;
    assert_eq!((again.status, &again.body), (first.status, &first.body));
    assert_eq!(again.headers["idempotent-replayed"], "true");
    // The key has gone, or is another: the natural one still holds.
    let other = hand_in(&api, &admin, "two", &body).await;
    assert_eq!((other.status, &other.body), (first.status, &first.body));
    assert!(!other.headers.contains_key("idempotent-replayed"));

    let mut changed = body.clone();
    changed["value_wei"] = json!("8");
    hand_in(&api, &admin, "one", &changed).await.refused(422, "idempotency-key-reused");
    let detail = hand_in(&api, &admin, "three", &changed).await.refused(409, "conflict");
    assert!(detail.contains(made["transaction_id"].as_str().unwrap()), "{detail}");
    changed["operation_type"] = json!("another");
    hand_in(&api, &admin, "four", &changed).await.expect(202);

    assert_eq!(transactions(&api).await, 2);
    let audited = "SELECT count(*) FROM audit_staging WHERE action = 'relayer.transaction.submit'";
    assert_eq!(count(&api, audited).await, 2);
}

#[tokio::test]
async fn a_hundred_at_once_are_one_transaction_with_one_answer() {
    let (api, admin) = house().await;
    // The second is all that the signer's day has room for.
    let little = json!({ "signer": address_text(&BOUND), "value_wei": "100", "gas_limit": 100_000 });
    for (made, fields) in [(1, json!({})), (2, little)] {
        let body = admin.body(with(plain(), &fields));
        // Half of them under one key, half under keys of their own.
        let keys: Vec<_> = (0..100)
            .map(|n| if n % 2 == 0 { format!("one-{made}") } else { format!("{made}-{n}") })
            .collect();
        let all = futures::future::join_all(keys.iter().map(|key| hand_in(&api, &admin, key, &body))).await;
        let answers: BTreeSet<_> =
            all.iter().map(|answer| (answer.status.as_u16(), answer.body.clone())).collect();
        assert_eq!(answers.len(), 1, "{answers:#?}");
        assert_eq!((all[0].status.as_u16(), transactions(&api).await), (202, made));
    }
}

#[tokio::test]
async fn what_comes_at_once_shares_transactions_and_nothing_fails_its_neighbours() {
    let (api, admin) = house().await;
    let taken = submit(&api, &admin, &json!({})).await.json()["request_id"].clone();
    let bodies: Vec<_> = (0..120)
        .map(|n| match n % 4 {
            // Refused; a conflict; and of the signer with a day's limits, of which the first two have room.
            0 => admin.body(with(plain(), &json!({ "signer": address_text(&CLOSED) }))),
            1 => with(admin.body(plain()), &json!({ "request_id": taken, "priority": 1 })),
            2 => admin.body(with(
                plain(),
                &json!({ "signer": address_text(&BOUND), "value_wei": "75", "gas_limit": 10 }),
            )),
            _ => admin.body(plain()),
        })
        .collect();
    let send = |n: usize| {
        let (api, admin, body) = (&api, &admin, &bodies[n]);
        async move { hand_in(api, admin, &format!("key-{n}"), body).await }
    };
    let all = futures::future::join_all((0..bodies.len()).map(send)).await;
    let statuses = |of: usize| -> Vec<_> {
        let statuses = all.iter().skip(of).step_by(4).map(|answer| answer.status.as_u16());
        statuses.collect::<BTreeSet<_>>().into_iter().collect()
    };
    assert_eq!(
        [statuses(0), statuses(1), statuses(2), statuses(3)],
        [vec![403], vec![409], vec![202, 403], vec![202]]
    );
    assert_eq!(transactions(&api).await, 1 + 2 + 30);
    let audited = "SELECT count(*) FROM audit_staging WHERE action = 'relayer.transaction.submit'";
    assert_eq!(count(&api, audited).await, 1 + 2 + 30);
    let commits = count(&api, "SELECT count(DISTINCT xmin::text) FROM managed_transactions").await;
    assert!(commits < 20, "{commits} transactions for 33 requests");

    // What was an outcome is kept, word for word; what was refused is asked for anew.
    for (n, first) in all.iter().enumerate() {
        let again = send(n).await;
        assert_eq!(
            (again.status, again.headers.contains_key("idempotent-replayed")),
            (first.status, n % 4 != 0 && first.status != 403)
        );
        assert!(again.body == first.body || first.status == 403, "{n}");
    }
    assert_eq!(transactions(&api).await, 1 + 2 + 30);
}

#[tokio::test]
async fn value_is_moved_under_a_key_of_the_clients_alone() {
    let (api, admin) = house().await;
    api.post(&admin, SUBMIT, plain()).await.refused(400, "missing-idempotency-key");
    assert_eq!(transactions(&api).await, 0);
}

#[tokio::test]
async fn whatever_is_wrong_with_a_body_is_named_once_by_its_field() {
    let (api, admin) = house().await;
    for (fields, named) in [
        (json!({ "signer": "me" }), vec!["signer"]),
        (json!({ "to": "0x12" }), vec!["to"]),
        (json!({ "value_wei": "-1" }), vec!["value_wei"]),
        (json!({ "data": "0xabc" }), vec!["data"]),
        (json!({ "data": "0x0xab" }), vec!["data"]),
        (json!({ "data": "ab" }), vec!["data"]),
        (json!({ "to": null }), vec!["data"]),
        (json!({ "to": null, "data": "zz" }), vec!["data"]),
        (json!({ "operation_type": "a b" }), vec!["operation_type"]),
        (json!({ "operation_type": "fill" }), vec!["operation_type"]),
        (json!({ "gas_limit": 0 }), vec!["gas_limit"]),
        (json!({ "max_fee_per_gas_limit": "0" }), vec!["max_fee_per_gas_limit"]),
        (json!({ "max_fee_per_gas_limit": U256::MAX.to_string() }), vec!["max_fee_per_gas_limit"]),
        (json!({ "priority": 32_768 }), vec!["priority"]),
        (json!({ "valid_until": "tomorrow" }), vec!["valid_until"]),
        (json!({ "valid_until_block": u64::MAX }), vec!["valid_until_block"]),
        (json!({ "as_of_block_hash": "0x1" }), vec!["as_of_block_hash"]),
        (json!({ "signer": "", "to": "", "gas_limit": 0 }), vec!["signer", "to", "gas_limit"]),
        // Of the signer whose gas has a budget.
        (json!({ "signer": address_text(&BOUND) }), vec!["gas_limit"]),
    ] {
        let problem = submit(&api, &admin, &fields).await;
        problem.refused(400, "invalid-body");
        let told = problem.json();
        let names: Vec<_> = told["parameters"]
            .as_array()
            .unwrap()
            .iter()
            .map(|field| field["name"].as_str().unwrap())
            .collect();
        assert_eq!(names, named, "{fields}: {told}");
    }
    // What has another type is named too, and what is said is said whole.
    for (fields, said) in [
        (json!({ "gas": 1 }), "unknown field `gas`, expected one of"),
        (json!({ "value_wei": 5 }), "value_wei: invalid type"),
        (json!({ "chain_id": "1" }), "chain_id: invalid type"),
        (json!({ "priority": -1 }), "priority: "),
    ] {
        let told = submit(&api, &admin, &fields).await.refused(400, "invalid-body");
        assert!(
            told.contains(said) && told.contains(if said.starts_with("unknown") { "`simulate`" } else { "" }),
            "{told}"
        );
    }
    assert_eq!(transactions(&api).await, 0);
}

#[tokio::test]
async fn what_is_not_granted_is_refused_and_says_why() {
    let (api, admin) = house().await;
    let bound = |fields: &Value| with(json!({ "signer": address_text(&BOUND), "gas_limit": 10 }), fields);
    for (fields, says) in [
        (json!({ "signer": address_text(&CLOSED) }), "no grant from the signer closed"),
        (bound(&json!({ "to": address_text(&OPEN) })), "may not send to"),
        (bound(&json!({ "to": null, "data": "0x00" })), "may not create"),
        (bound(&json!({ "data": "0xd09de08a" })), "0xd09de08a"),
        (bound(&json!({ "value_wei": "101" })), "101"),
        (bound(&json!({ "gas_limit": 100_001 })), "budget is 1000000"),
    ] {
        let detail = submit(&api, &admin, &fields).await.refused(403, "forbidden");
        assert!(detail.contains(says), "{fields}: {detail}");
    }
    let strange = json!({ "signer": address_text(&TARGET) });
    submit(&api, &admin, &strange).await.refused(409, "not-configured");
    submit(&api, &admin, &json!({ "chain_id": 5 })).await.refused(409, "not-configured");
    assert_eq!(transactions(&api).await, 0);
}

#[tokio::test]
async fn a_days_limits_hold_however_many_ask_at_once() {
    let (api, admin) = house().await;
    let ask = json!({ "signer": address_text(&BOUND), "value_wei": "50", "gas_limit": 10 });
    let all = futures::future::join_all((0..10).map(|_| submit(&api, &admin, &ask))).await;
    let taken = all.iter().filter(|answer| answer.status.as_u16() == 202).count();
    assert_eq!((taken, transactions(&api).await), (3, 3), "150 wei a day, 50 each");
    for answer in all.iter().filter(|answer| answer.status.as_u16() != 202) {
        let detail = answer.refused(403, "forbidden");
        assert!(detail.contains("would carry 200 wei"), "{detail}");
    }
    // What ended without an effect carried nothing; what is older than a day is another day's; another tenant has its own day.
    let worker = api.db.worker();
    sqlx::query("UPDATE managed_transactions SET state = 'cancelled', end_why = 'a test' WHERE id = (SELECT min(id::text)::uuid FROM managed_transactions)")
        .execute(worker)
        .await
        .unwrap();
    submit(&api, &admin, &ask).await.expect(202);
    submit(&api, &admin, &ask).await.refused(403, "forbidden");
    let mut owner = sqlx::ConnectOptions::connect(&api.db.urls().owner).await.unwrap();
    sqlx::query("UPDATE managed_transactions SET id = ('00000000' || right(id::text, 28))::uuid WHERE state = 'pending'")
        .execute(&mut owner)
        .await
        .unwrap();
    submit(&api, &admin, &ask).await.expect(202);
    let other = api.tenant_named("globex").await;
    let other = api.person(other, UserKind::Person, &["operator"]).await;
    submit(&api, &other, &ask).await.expect(202);

    // Gas: 10 wei for each of 99,000, beside 200 of those from before.
    let ask = json!({ "signer": address_text(&BOUND), "gas_limit": 99_000 });
    submit(&api, &admin, &ask).await.expect(202);
    let detail = submit(&api, &admin, &ask).await.refused(403, "forbidden");
    assert!(detail.contains("gas may cost 1980100"), "{detail}");
    sqlx::query("UPDATE managed_transactions SET gas_limit = NULL WHERE gas_limit = 99000")
        .execute(&mut owner)
        .await
        .unwrap();
    let detail = submit(&api, &admin, &ask).await.refused(403, "forbidden");
    assert!(detail.contains("not known yet how much gas"), "{detail}");
}

#[tokio::test]
async fn a_server_without_signers_says_so() {
    let (api, _) = house().await;
    let (roles, keys) = (Roles::of("here:2"), Keys::new(api.db.clone(), "here:2", KeyOptions::default()));
    let services = Services { relayer: None, ..services(&api.db, keys, roles) };
    let state = ApiState::new(services, ApiOptions::default());
    let without = Api { router: router_with(state.clone(), Router::new()), state, ..api };
    let tenant_id = without.tenant_named("globex").await;
    let admin = without.person(tenant_id, UserKind::Person, &["admin"]).await;
    submit(&without, &admin, &json!({})).await.refused(409, "not-configured");
    without.read(&admin, "/api/v1/signers").await.refused(409, "not-configured");
    without.read(&admin, "/chain/tx").await.expect(200);
}

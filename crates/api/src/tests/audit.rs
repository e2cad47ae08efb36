//! The audit log of a tenant, read over HTTP; and an export, verified as somebody would who has nothing but the file and `docs/audit.md`.

use plimsoll_bus::audit::{AUDIT_LOG, Entry, record};
use plimsoll_bus::{Context, Keys};
use plimsoll_identity::UserKind::Person;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use uuid::Uuid;

use super::Api;
use super::people::Person as Somebody;
use super::streams::Numbering;

/// Entries of two tenants in turn, in requests of two, numbered; and of the platform, which is nobody's.
async fn with_entries(count: u128) -> (Api, Somebody, Somebody) {
    let api = Api::start().await;
    let (acme, globex) = (api.tenant_named("acme").await, api.tenant_named("globex").await);
    let ada = api.person(acme, Person, &["operator"]).await;
    let bob = api.person(globex, Person, &["operator"]).await;
    let mut tx = api.db.begin_worker().await.unwrap();
    for number in 0..count {
        let who = if number % 2 == 0 { &ada } else { &bob };
        let action = if number < 4 { "user.suspend" } else { "key.revoke" };
        let context = Context::new(Uuid::from_u128(1_000 + number / 4), format!("user:{}", number % 3));
        let entry = Entry::new(action, "user", number.to_string())
            .with_change(
                Some(json!({ "status": "active" })),
                Some(json!({ "status": "suspended", "by": number.to_string() })),
            )
            .with_reason("ticket \"42\"\n");
        record(&mut tx, entry.in_context(context.on_behalf_of(who.tenant_id, Some(who.user_id))))
            .await
            .unwrap();
    }
    let own = Entry::new("node.start", "node", "1").demanding(Keys::Platform);
    record(&mut tx, own.in_context(Context::new(Uuid::from_u128(1_000), "cli:root"))).await.unwrap();
    tx.commit().await.unwrap();
    Numbering::of_stream(&api.db, &AUDIT_LOG).await.number_all().await;
    (api, ada, bob)
}

fn numbers(items: &Value) -> Vec<i64> {
    items.as_array().unwrap().iter().map(|item| item["sequence"].as_i64().unwrap()).collect()
}

#[tokio::test]
async fn a_requests_entries_are_its_tenants_with_what_was_before_and_after() {
    let (api, ada, bob) = with_entries(8).await;
    let path = format!("/admin/audit/{}", Uuid::from_u128(1_000));
    let found = api.read(&ada, &path).await.expect(200);
    assert_eq!(numbers(&found["items"]), [1, 3]);
    assert_eq!(
        (&found["items"][1]["before"], &found["items"][1]["after"]["status"]),
        (&json!({ "status": "active" }), &json!("suspended"))
    );
    assert_eq!(numbers(&api.read(&bob, &path).await.expect(200)["items"]), [2, 4]);
    for unknown in [Uuid::from_u128(9).to_string(), "job-7".into(), "x".repeat(500)] {
        api.read(&ada, &format!("/admin/audit/{unknown}")).await.refused(404, "not-found");
    }
    api.problem(&path, 401, "unauthenticated").await;
    let viewer = api.person(ada.tenant_id, Person, &["viewer"]).await;
    for path in [&*path, "/api/v1/audit", "/api/v1/audit/export"] {
        api.read(&viewer, path).await.refused(403, "forbidden");
    }
}

#[tokio::test]
async fn what_a_client_named_with_a_text_of_its_own_is_found_by_that_text() {
    let (api, ada, _) = with_entries(0).await;
    let request_id = crate::gateway::request_uuid("job-7");
    let context = Context::new(request_id, "user:1").on_behalf_of(ada.tenant_id, Some(ada.user_id));
    let mut tx = api.db.tenant_tx(&[ada.tenant_id]).await.unwrap();
    record(&mut tx, Entry::new("user.suspend", "user", "1").in_context(context)).await.unwrap();
    tx.commit().await.unwrap();
    let found = api.read(&ada, "/admin/audit/job-7").await.expect(200);
    assert_eq!(found["request_id"], json!(request_id));
    assert_eq!(
        (&found["items"][0]["sequence"], &found["items"][0]["hash"]),
        (&Value::Null, &Value::Null),
        "it waits for its number"
    );
}

#[tokio::test]
async fn every_filter_finds_the_tenants_own_entries_in_either_order() {
    let (api, ada, _) = with_entries(12).await;
    let first = api.read(&ada, "/api/v1/audit?order=asc&limit=1").await.expect(200);
    let since = first["items"][0]["recorded_at"].as_str().unwrap().to_owned();
    for (filters, expected) in [
        (String::new(), vec![1, 3, 5, 7, 9, 11]),
        ("&actor=user:1".into(), vec![5, 11]),
        ("&action=user.suspend".into(), vec![1, 3]),
        ("&action=key.".into(), vec![5, 7, 9, 11]),
        ("&action=key".into(), vec![]),
        ("&target_type=user&target_id=4".into(), vec![5]),
        ("&target_type=node".into(), vec![]),
        (format!("&user_id={}", ada.user_id), vec![1, 3, 5, 7, 9, 11]),
        (format!("&user_id={}", Uuid::from_u128(1)), vec![]),
        ("&from=3&to=6".into(), vec![3, 5]),
        (format!("&since={since}"), vec![1, 3, 5, 7, 9, 11]),
        (format!("&until={since}"), vec![]),
        ("&until=2999-01-01T00:00:00Z".into(), vec![1, 3, 5, 7, 9, 11]),
    ] {
        for limit in [1, 4, 500] {
            for order in ["asc", "desc"] {
                let (mut found, mut cursor) = (Vec::new(), String::new());
                loop {
                    let path = format!("/api/v1/audit?order={order}&limit={limit}{filters}{cursor}");
                    let page = api.read(&ada, &path).await.expect(200);
                    found.extend(numbers(&page["items"]));
                    let Some(next) = page["next_cursor"].as_str() else { break };
                    cursor = format!("&cursor={next}");
                }
                if order == "desc" {
                    found.reverse();
                }
                assert_eq!(found, expected, "{filters}, {order}, {limit} a page");
            }
        }
    }
    let page = api.read(&ada, "/api/v1/audit?limit=1").await.expect(200);
    let cursor = page["next_cursor"].as_str().unwrap();
    api.read(&ada, &format!("/api/v1/audit?order=asc&cursor={cursor}")).await.refused(400, "invalid-cursor");
    for wrong in ["limit=0", "since=yesterday", "user_id=ada", "from=-1", "actor=%00"] {
        api.read(&ada, &format!("/api/v1/audit?{wrong}")).await.refused(400, "invalid-parameter");
    }
}

/// A field of the digest, as the documentation has it.
fn field(bytes: Option<&[u8]>) -> Vec<u8> {
    match bytes {
        None => vec![0],
        Some(bytes) => [&[1], &(bytes.len() as u64).to_be_bytes()[..], bytes].concat(),
    }
}

/// JSON without numbers, in canonical form: this is how serde_json writes it when names are sorted, which they are in its maps.
fn canonical(value: &Value) -> Option<Vec<u8>> {
    (!value.is_null()).then(|| serde_json::to_vec(value).unwrap())
}

fn unhex(text: &Value) -> Vec<u8> {
    alloy_primitives::hex::decode(text.as_str().unwrap()).unwrap()
}

/// Whether digest and hash follow from what the entry says.
fn holds(entry: &Value) -> bool {
    let text = |name: &str| entry[name].as_str().map(|text| text.as_bytes().to_vec());
    let id = |name: &str| entry[name].as_str().map(|text| text.parse::<Uuid>().unwrap().as_bytes().to_vec());
    let at = OffsetDateTime::parse(entry["recorded_at"].as_str().unwrap(), &Rfc3339).unwrap();
    let micros = i64::try_from(at.unix_timestamp_nanos() / 1_000).unwrap().to_be_bytes().to_vec();
    let fields = [
        id("tenant_id"),
        id("request_id"),
        id("user_id"),
        text("actor"),
        text("action"),
        text("target_type"),
        text("target_id"),
        canonical(&entry["before"]),
        canonical(&entry["after"]),
        text("tx_id"),
        text("reason"),
        text("correlation_id"),
        Some(micros),
    ];
    let row = fields
        .iter()
        .fold(b"plimsoll audit row v1\n".to_vec(), |row, bytes| [row, field(bytes.as_deref())].concat());
    let digest = Sha256::digest(row).to_vec();
    let sequence = entry["sequence"].as_i64().unwrap().to_be_bytes();
    let link =
        [b"plimsoll stream link v1\naudit_log\0".as_slice(), &sequence, &unhex(&entry["prev_hash"]), &digest]
            .concat();
    digest == unhex(&entry["digest"]) && Sha256::digest(link).to_vec() == unhex(&entry["hash"])
}

#[tokio::test]
async fn an_export_is_verified_by_whoever_has_nothing_but_the_file() {
    let (api, ada, bob) = with_entries(250).await;
    let answer = api.read(&ada, "/api/v1/audit/export").await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(answer.headers["content-type"], "application/jsonl");
    let entries: Vec<Value> = answer.body.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let found: Vec<i64> = entries.iter().map(|entry| entry["sequence"].as_i64().unwrap()).collect();
    assert_eq!(found, (1..250).step_by(2).collect::<Vec<_>>(), "more than a page of it, and no one else's");
    assert!(entries.iter().all(holds));
    for (name, forged) in [
        ("reason", json!("other")),
        ("after", json!({})),
        ("sequence", json!(2)),
        ("user_id", json!(bob.user_id)),
    ] {
        let mut entry = entries[0].clone();
        entry[name] = forged;
        assert!(!holds(&entry), "{name}");
    }
    let part = api.read(&ada, "/api/v1/audit/export?action=user.suspend&from=2").await;
    assert_eq!(part.body.lines().count(), 1);
    assert_eq!(api.read(&ada, "/api/v1/audit/export?actor=nobody").await.body, "");
    api.read(&ada, "/api/v1/audit/export?limit=1").await.refused(400, "unknown-parameter");
}

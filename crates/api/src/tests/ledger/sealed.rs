//! What is read, exported and proved, and that somebody who trusts nobody can check it.

use plimsoll_proof::ledger::checkpoint::{Checkpoint, NoteKey, origin};
use plimsoll_proof::ledger::encoding::Encoder;
use plimsoll_proof::ledger::log::Entry;
use plimsoll_proof::ledger::tree::{verify_consistency, verify_inclusion};
use plimsoll_proof::ledger::verify::{Examined, Verifier};
use serde_json::{Value, json};

use super::super::Answer;
use super::support::{House, LOG, house, sealed};

async fn pages(house: &House, filter: &str) -> Vec<Value> {
    let (mut items, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = house.read(&format!("/api/v1/ledger/entries?limit=2{filter}{cursor}")).await;
        items.extend(page["items"].as_array().unwrap().clone());
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return items,
        }
    }
}

async fn export(house: &House, filter: &str) -> Answer {
    house.api.read(&house.admin, &format!("/api/v1/ledger/export?{filter}")).await
}

async fn key(house: &House) -> NoteKey {
    let keys = house.read("/api/v1/ledger/keys").await;
    keys["items"][0]["key"].as_str().unwrap().parse().unwrap()
}

async fn checkpoint(house: &House, size: &str) -> Checkpoint {
    let note = house.api.read(&house.admin, &format!("/api/v1/ledger/checkpoints/{size}?format=note")).await;
    assert_eq!(note.headers["content-type"], "text/plain; charset=utf-8", "{}", note.body);
    Checkpoint::verify(&note.body, &key(house).await, &origin(LOG, house.admin.tenant_id).unwrap()).unwrap()
}

async fn seven(house: &House) -> Vec<Value> {
    let mut made = Vec::new();
    for n in 1..=7 {
        let mut body = if n == 4 { house.withdrawal(2) } else { house.deposit(n) };
        body["effective_at"] = json!(format!("2026-01-0{n}T00:00:00Z"));
        body["metadata"] = json!({ "note": format!("a, \"b\" and {n}") });
        if n > 5 {
            body["chain_id"] = json!(1);
            body["chain_tx_hash"] = json!(format!("0x{}", "ab".repeat(32)));
        }
        made.push(house.post(&body).await.expect(201));
    }
    made
}

#[tokio::test]
async fn an_export_is_exactly_what_the_filter_shows_in_both_forms() {
    let house = house().await;
    seven(&house).await;
    sealed(&house.api).await;
    let hash = "ab".repeat(32);
    for (filter, expected) in [
        (String::new(), 7),
        ("&operation_type=withdrawal".into(), 1),
        ("&since=2026-01-02T00:00:00Z&until=2026-01-05T00:00:00Z".into(), 3),
        (format!("&account_id={}", house.cash), 7),
        (format!("&account_id={}&operation_type=deposit", house.deposits), 6),
        (format!("&chain_tx_hash=0x{hash}"), 2),
        ("&domain=reward".into(), 0),
    ] {
        let mut shown: Vec<_> = pages(&house, &filter).await;
        assert_eq!(shown.len(), expected, "{filter}");
        shown.reverse();
        let ids = |rows: &[Value]| rows.iter().map(|row| row["posting_id"].clone()).collect::<Vec<_>>();
        let lines = export(&house, filter.trim_start_matches('&')).await;
        assert_eq!(lines.headers["content-type"], "application/jsonl");
        let rows: Vec<Value> = lines.body.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(ids(&rows), ids(&shown), "{filter}");
        let csv = export(&house, &format!("format=csv{filter}")).await;
        assert_eq!(csv.body.lines().count(), 1 + 2 * expected, "{filter}");
        for row in &shown {
            assert_eq!(csv.body.matches(row["posting_id"].as_str().unwrap()).count(), 2, "{filter}");
        }
    }
    let quoted = r#""{""note"":""a, \""b\"" and 1""}""#;
    assert!(export(&house, "format=csv").await.body.contains(quoted));
    export(&house, "format=xml").await.refused(400, "invalid-parameter");
}

#[tokio::test]
async fn the_unfiltered_export_is_sound_by_the_verifier_that_knows_no_database() {
    let house = house().await;
    seven(&house).await;
    sealed(&house.api).await;
    let checkpoint = checkpoint(&house, "latest").await;
    let check = |export: &str| {
        let mut verifier = Verifier::new(house.admin.tenant_id, &checkpoint);
        let mut encoder = Encoder::new();
        for (number, line) in (1..).zip(export.lines()) {
            verifier.add(Examined::read(&mut encoder, number, line));
        }
        verifier.finish()
    };
    let whole = export(&house, "").await.body;
    let report = check(&whole);
    assert!(report.is_sound(), "{:?}", report.breaks);
    assert_eq!((report.postings, report.lines, report.accounts), (7, 14, 2));
    assert!(!check(&whole.replace("\"amount\":\"6\"", "\"amount\":\"5\"")).is_sound());
}

#[tokio::test]
async fn a_posting_is_proved_under_a_checkpoint_and_a_checkpoint_under_a_later_one() {
    let house = house().await;
    let made = seven(&house).await;
    let posting = format!("/api/v1/ledger/postings/{}", made[3]["posting_id"].as_str().unwrap());
    house.api.read(&house.admin, &format!("{posting}/proof")).await.refused(409, "conflict");
    house.api.read(&house.admin, "/api/v1/ledger/checkpoints/latest").await.refused(404, "not-found");
    sealed(&house.api).await;
    for n in 0..260 {
        house.post(&house.deposit(n + 1)).await.expect(201);
    }
    sealed(&house.api).await;

    let hash = |value: &Value| value.as_str().unwrap().parse::<alloy_primitives::B256>().unwrap();
    let hashes = |value: &Value| value.as_array().unwrap().iter().map(hash).collect::<Vec<_>>();
    for (query, size) in [("", "267"), ("?tree_size=7", "7")] {
        let proved = house.read(&format!("{posting}/proof{query}")).await;
        let signed = checkpoint(&house, size).await;
        assert_eq!(proved["checkpoint"]["tree_size"].to_string(), size);
        let entry = Entry {
            tenant_id: house.admin.tenant_id,
            index: proved["leaf_index"].as_u64().unwrap(),
            prev_entry_hash: hash(&proved["prev_entry_hash"]),
            posting_digest: hash(&proved["posting_digest"]),
        };
        assert_eq!((entry.index, entry.hash()), (3, hash(&proved["entry_hash"])));
        verify_inclusion(entry.hash(), entry.index, signed.size, &hashes(&proved["proof"]), signed.root)
            .unwrap();
    }
    house.api.read(&house.admin, &format!("{posting}/proof?tree_size=9")).await.refused(404, "not-found");

    let (first, second) = (checkpoint(&house, "7").await, checkpoint(&house, "latest").await);
    let proved = house.read("/api/v1/ledger/consistency?from=7").await;
    verify_consistency(first.size, second.size, &hashes(&proved["proof"]), first.root, second.root).unwrap();
    house.api.read(&house.admin, "/api/v1/ledger/consistency?from=267&to=7").await.refused(409, "conflict");
    house.api.read(&house.admin, "/api/v1/ledger/consistency").await.refused(400, "invalid-parameter");
    assert_eq!(house.read(&posting).await["leaf_index"], 3);
}

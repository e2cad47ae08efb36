//! Accounts, and what they held.

use serde_json::json;
use uuid::Uuid;

use super::support::house;

const ACCOUNTS: &str = "/api/v1/ledger/accounts";

#[tokio::test]
async fn an_account_is_opened_once_and_listed_by_what_it_is() {
    let house = house().await;
    let account = json!({
        "name": "Gas", "account_type": "GAS", "class": "expense", "currency": "USDC", "domain": "platform",
        "chain_id": 31_337, "address": "0x70997970C51812dc3A010C7d01b50e0d17dc79C8", "min_balance": "-5", "max_balance": "100",
    });
    let made = house.api.post(&house.admin, ACCOUNTS, account.clone()).await.expect(201);
    assert_eq!(made["address"], "0x70997970c51812dc3a010c7d01b50e0d17dc79c8");
    house.api.post(&house.admin, ACCOUNTS, account.clone()).await.refused(409, "conflict");
    let mut unknown = account.clone();
    unknown["currency"] = json!("EURC");
    let detail = house.api.post(&house.admin, ACCOUNTS, unknown).await.refused(409, "conflict");
    assert!(detail.contains("no such currency"), "{detail}");
    for (field, value) in [
        ("min_balance", json!("101")),
        ("name", json!("")),
        ("domain", json!("Platform")),
        ("address", json!("0x1")),
    ] {
        let mut wrong = account.clone();
        wrong[field] = value;
        let refused = house.api.post(&house.admin, ACCOUNTS, wrong).await;
        refused.refused(400, "invalid-body");
        assert_eq!(refused.json()["parameters"][0]["name"], field);
    }
    let listed = house.read(&format!("{ACCOUNTS}?account_type=GAS&domain=platform&open=true")).await;
    assert_eq!(listed["items"], json!([made]));
    assert_eq!(house.read(&format!("{ACCOUNTS}?limit=2")).await["items"].as_array().unwrap().len(), 2);
    assert_eq!(house.read("/api/v1/ledger/currencies").await["items"][0]["currency"], "USDC");
    let limits = format!("{ACCOUNTS}/{}/limits", made["account_id"].as_str().unwrap());
    let limited = house.api.post(&house.admin, &limits, json!({ "max_balance": "7" })).await.expect(200);
    assert_eq!((&limited["min_balance"], &limited["max_balance"]), (&json!(null), &json!("7")));
    let nobodys = format!("{ACCOUNTS}/{}/limits", Uuid::new_v4());
    house.api.post(&house.admin, &nobodys, json!({})).await.refused(404, "not-found");
}

#[tokio::test]
async fn a_balance_is_told_as_of_what_happened_what_was_known_and_a_block() {
    let house = house().await;
    let hash = |byte: u8| format!("0x{}", alloy_primitives::hex::encode([byte; 32]));
    let mut known = Vec::new();
    for (amount, at, block) in
        [(1, "2026-01-01T00:00:00Z", 10), (10, "2026-03-01T00:00:00Z", 30), (100, "2026-02-01T00:00:00Z", 20)]
    {
        let mut body = house.deposit(amount);
        body["effective_at"] = json!(at);
        body["chain_id"] = json!(31_337);
        body["chain_block_number"] = json!(block);
        body["chain_block_hash"] = json!(hash(block));
        let made = house.post(&body).await.expect(201);
        let shown =
            house.read(&format!("/api/v1/ledger/postings/{}", made["posting_id"].as_str().unwrap())).await;
        known.push(shown["recorded_at"].as_str().unwrap().to_owned());
    }
    let cash = async |as_of: &str| house.balance(house.cash, as_of).await;
    assert_eq!(cash("").await, "111");
    for (as_of, held) in [
        ("&effective_at=2025-12-31T00:00:00Z".to_owned(), "0"),
        ("&effective_at=2026-02-15T00:00:00Z".to_owned(), "101"),
        ("&effective_at=2026-03-01T00:00:00Z".to_owned(), "111"),
        ("&block_number=10".to_owned(), "1"),
        ("&block_number=29".to_owned(), "101"),
        (format!("&recorded_at={}", known[1]), "11"),
        (format!("&recorded_at={}&effective_at=2026-02-15T00:00:00Z", known[1]), "1"),
    ] {
        assert_eq!(cash(&as_of).await, held, "{as_of}");
    }
    let all = house.read("/api/v1/ledger/balances?domain=cash").await;
    let deposits = &all["items"][1];
    assert_eq!((&deposits["balance"], &deposits["raw_balance"]), (&json!("111"), &json!("-111")));
    assert_eq!(deposits["last_updated_block"], json!({ "number": 30, "hash": hash(30) }));
}

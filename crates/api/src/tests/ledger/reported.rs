//! Reversals, closings, statements and reports.

use serde_json::{Value, json};
use uuid::Uuid;

use super::support::{House, house};

const CLOSINGS: &str = "/api/v1/ledger/closings";

async fn reverse(house: &House, posting: &Value, key: &str, body: &Value) -> super::super::Answer {
    let path = format!("/api/v1/ledger/postings/{}/reverse", posting["posting_id"].as_str().unwrap());
    house.send(&path, key, body).await
}

#[tokio::test]
async fn a_posting_is_taken_back_once_and_both_say_so() {
    let house = house().await;
    let made = house.post(&house.deposit(40)).await.expect(201);
    let order = house.admin.body(json!({ "reason": "booked twice" }));
    let first = reverse(&house, &made, "one", &order).await;
    let reversal = first.expect(201);
    assert_eq!(house.balance(house.cash, "").await, "0");
    let again = reverse(&house, &made, "two", &order).await;
    assert_eq!((again.status, &again.body), (first.status, &first.body));
    let another = house.admin.body(json!({ "reason": "once more" }));
    reverse(&house, &made, "three", &another).await.refused(422, "posting-refused");
    reverse(&house, &reversal, "four", &another).await.refused(422, "posting-refused");
    reverse(&house, &json!({ "posting_id": Uuid::new_v4() }), "five", &another)
        .await
        .refused(404, "not-found");

    let posting = async |of: &Value| {
        house.read(&format!("/api/v1/ledger/postings/{}", of["posting_id"].as_str().unwrap())).await
    };
    assert_eq!(posting(&made).await["reversed_by"], reversal["posting_id"]);
    let shown = posting(&reversal).await;
    assert_eq!((&shown["reverses"], &shown["reason"]), (&made["posting_id"], &json!("booked twice")));
    let told = "SELECT count(*) FROM events_staging WHERE event_type = 'ledger.posting.reversed'";
    assert_eq!(house.count(told).await, 1);
    let audited = "SELECT count(*) FROM audit_staging WHERE action = 'ledger.reverse'";
    assert_eq!(house.count(audited).await, 1);
}

#[tokio::test]
async fn what_comes_late_for_a_closed_period_counts_in_the_open_one() {
    let house = house().await;
    let late = |amount: u64| {
        let mut body = house.deposit(amount);
        body["effective_at"] = json!("2026-01-15T00:00:00Z");
        body
    };
    house.post(&late(1)).await.expect(201);
    let order = json!({ "through": "2026-01-31T23:59:59.999999Z", "reason": "January" });
    let closed = house.api.post(&house.admin, CLOSINGS, order.clone()).await.expect(201);
    house.api.post(&house.admin, CLOSINGS, order).await.refused(409, "conflict");
    assert_eq!(house.read(CLOSINGS).await["items"], json!([closed]));
    house.post(&late(10)).await.expect(201);

    let trial = async |moment: &str| {
        let page = house.read(&format!("/api/v1/ledger/trial-balance?{moment}")).await;
        let rows = page["items"].as_array().unwrap().clone();
        rows.iter().map(|row| (row["name"].clone(), row["raw_balance"].clone())).collect::<Vec<_>>()
    };
    let both =
        |amount: &str| vec![(json!("Cash"), json!(amount)), (json!("Deposits"), json!(format!("-{amount}")))];
    assert_eq!(trial("booked_at=2026-01-31T23:59:59.999999Z").await, both("1"));
    assert_eq!(trial("effective_at=2026-01-31T23:59:59.999999Z").await, both("11"));
    let first = house.read("/api/v1/ledger/trial-balance?limit=1").await;
    let next = first["next_cursor"].as_str().unwrap();
    let second = house.read(&format!("/api/v1/ledger/trial-balance?limit=1&cursor={next}")).await;
    assert_eq!((&second["items"][0]["name"], &second["next_cursor"]), (&json!("Deposits"), &Value::Null));

    let sheet = house.read("/api/v1/ledger/balance-sheet").await["items"][0].clone();
    assert_eq!(
        (&sheet["assets"], &sheet["liabilities"], &sheet["difference"]),
        (&json!("11"), &json!("11"), &json!("0"))
    );
}

#[tokio::test]
async fn a_statement_carries_its_balance_from_page_to_page() {
    let house = house().await;
    for day in 1..=5 {
        let mut body = house.deposit(day);
        body["effective_at"] = json!(format!("2026-01-0{day}T12:00:00Z"));
        house.post(&body).await.expect(201);
    }
    let path = format!("/api/v1/ledger/accounts/{}/statement", house.cash);
    let query = "after=2026-01-02T00:00:00Z&through=2026-01-04T23:00:00Z&limit=2";
    let first = house.read(&format!("{path}?{query}")).await;
    assert_eq!((&first["opening"], &first["closing"]), (&json!("1"), &json!("10")));
    let next = first["next_cursor"].as_str().unwrap();
    let second = house.read(&format!("{path}?{query}&cursor={next}")).await;
    assert_eq!((&second["brought_forward"], &second["next_cursor"]), (&json!("6"), &Value::Null));
    let held = |page: &Value| -> Vec<Value> {
        page["items"].as_array().unwrap().iter().map(|line| line["raw_balance"].clone()).collect()
    };
    assert_eq!([held(&first), held(&second)].concat(), ["3", "6", "10"]);
    let backwards = format!("{path}?after=2026-01-04T00:00:00Z&through=2026-01-01T00:00:00Z");
    house.api.read(&house.admin, &backwards).await.refused(400, "invalid-parameter");
    let nobodys = format!("/api/v1/ledger/accounts/{}/statement", Uuid::new_v4());
    house.api.read(&house.admin, &nobodys).await.refused(404, "not-found");
}

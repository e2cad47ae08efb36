//! Files of postings, and postings as vouchers.

use axum::body::Body;
use axum::http::Request;
use plimsoll_identity::UserKind;
use serde_json::{Value, json};
use sqlx::ConnectOptions as _;
use uuid::Uuid;

use super::super::people::Person;
use super::super::{Answer, Api};
use super::support::{House, books, house};
use crate::limits::{BODY_MAX_BYTES, IMPORT_MAX_BYTES};

const IMPORT: &str = "/api/v1/ledger/import";
const VOUCHERS: &str = "/api/v1/ledger/vouchers";
const POSTINGS: &str = "SELECT count(*) FROM ledger_postings";
const AUDITED: &str =
    "SELECT count(*) FROM audit_staging WHERE action = 'ledger.import' AND reason = 'January'";
const CSV: &str = "voucher,account,debit,credit,currency\n\
                   v1,Cash,90,,USDC\n\
                   ,Deposits,,90,USDC\n\
                   v2,Deposits,4,,USDC\n\
                   ,Cash,,4,USDC\n";

/// Sends a file under this key and request.
async fn send(api: &Api, who: &Person, key: &str, query: &str, media_type: &str, file: &str) -> Answer {
    let request = Request::post(format!("{IMPORT}?{query}"))
        .header("authorization", format!("Bearer {}", who.token))
        .header("idempotency-key", key)
        .header("content-type", media_type);
    api.send(request.body(Body::from(file.to_owned())).unwrap()).await
}

fn keys(of: &Person, request_id: Uuid) -> String {
    format!("request_id={request_id}&tenant_id={}", of.tenant_id)
}

impl House {
    /// Under a new key and request.
    async fn import(&self, more: &str, file: &str) -> Answer {
        let query = format!("{}{more}", keys(&self.admin, Uuid::new_v4()));
        send(&self.api, &self.admin, &Uuid::new_v4().to_string(), &query, "text/csv", file).await
    }
}

#[tokio::test]
async fn a_file_is_rehearsed_booked_on_record_and_repeated_without_booking() {
    let house = house().await;
    let dry = house.import("&dry_run=true&reason=January", CSV).await.expect(200);
    let told = |of: &Value| (of["dry_run"].clone(), of["posted"].clone(), of["repeated"].clone());
    assert_eq!(told(&dry), (json!(true), json!(2), json!(0)), "{dry:#}");
    assert_eq!((&dry["postings"], &dry["lines"]), (&json!(2), &json!(4)));
    assert_eq!((house.count(POSTINGS).await, house.count(AUDITED).await), (0, 0));

    let request = Uuid::new_v4();
    let query = format!("{}&dry_run=false&reason=January", keys(&house.admin, request));
    let first = send(&house.api, &house.admin, "january", &query, "text/csv; charset=utf-8", CSV).await;
    let done = first.expect(200);
    assert_eq!(told(&done), (json!(false), json!(2), json!(0)), "{done:#}");
    assert_eq!((&done["sha256"], &done["request_id"]), (&dry["sha256"], &json!(request)));
    assert_eq!((house.count(POSTINGS).await, house.count(AUDITED).await), (2, 1));
    assert_eq!(house.balance(house.cash, "").await, "86");
    let entries = house.read("/api/v1/ledger/entries").await;
    let of_it = |posting: &Value| posting["causation_id"] == json!(request);
    assert!(entries["items"].as_array().unwrap().iter().all(of_it), "{entries:#}");

    let again = send(&house.api, &house.admin, "january", &query, "text/csv; charset=utf-8", CSV).await;
    assert_eq!((&again.headers["idempotent-replayed"], again.body), (&"true".parse().unwrap(), first.body));
    let repeated = house.import("&reason=January", CSV).await.expect(200);
    assert_eq!(told(&repeated), (json!(false), json!(0), json!(2)), "{repeated:#}");
    let line = json!({ "voucher": "v3", "lines": [
        { "account": "Cash", "debit": "1", "currency": "USDC" }, { "account": "Deposits", "credit": "1", "currency": "USDC" },
    ] });
    let query = keys(&house.admin, Uuid::new_v4());
    let lines =
        send(&house.api, &house.admin, "lines", &query, "application/x-ndjson", &format!("{line}\n")).await;
    assert_eq!(told(&lines.expect(200)), (json!(false), json!(1), json!(0)));
    assert_eq!((house.count(POSTINGS).await, house.count(AUDITED).await), (3, 1));
}

#[tokio::test]
async fn an_import_that_was_broken_off_goes_on_under_its_key() {
    let house = house().await;
    let query = format!("{}&reason=January", keys(&house.admin, Uuid::new_v4()));
    let import = || send(&house.api, &house.admin, "january", &query, "text/csv", CSV);
    // Somebody else has the accounts, and the booking waits.
    let mut other = house.api.db.urls().owner.connect().await.unwrap();
    sqlx::raw_sql("BEGIN; SELECT FROM plimsoll.accounts FOR UPDATE").execute(&mut other).await.unwrap();
    let begun = async {
        let point = "SELECT count(*) FROM idempotency_cache WHERE recovery_point = 'importing'";
        while house.count(point).await == 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        answer = import() => panic!("{}", answer.body),
        () = begun => {}
    }
    sqlx::raw_sql("ROLLBACK").execute(&mut other).await.unwrap();
    let done = import().await.expect(200);
    assert_eq!(done["posted"].as_u64().zip(done["repeated"].as_u64()).map(|(new, old)| new + old), Some(2));
    assert_eq!((house.count(POSTINGS).await, house.count(AUDITED).await), (2, 1));
    assert_eq!(house.balance(house.cash, "").await, "86");
}

#[tokio::test]
async fn a_file_with_a_wrong_line_names_it_and_nothing_is_booked() {
    let house = house().await;
    let wrong = CSV.replace("v2,Deposits", "v2,Deposit").replace("Cash,90,", "Cash,90.5,");
    let query = keys(&house.admin, Uuid::new_v4());
    let post = async |file: &str| send(&house.api, &house.admin, "january", &query, "text/csv", file).await;
    let answer = post(&wrong).await;
    assert_eq!(answer.status.as_u16(), 422, "{}", answer.body);
    let problem = answer.json();
    assert_eq!(problem["detail"], "2 things are wrong with the file, and nothing of it was booked");
    let named: Vec<_> =
        problem["parameters"].as_array().unwrap().iter().map(|it| it["name"].clone()).collect();
    assert_eq!(named, ["line 2, debit", "line 4, account"], "{problem:#}");
    // More than there is goes out.
    house.import("", &CSV.replace("4", "91")).await.refused(422, "posting-refused");
    assert_eq!(house.count(POSTINGS).await, 0);
    post(CSV).await.expect(200);
}

#[tokio::test]
async fn a_file_that_is_none_or_too_large_or_of_nobody_is_refused() {
    let house = house().await;
    let query = keys(&house.admin, Uuid::new_v4());
    let post = async |query: &str, media_type: &str, file: &str| {
        send(&house.api, &house.admin, &Uuid::new_v4().to_string(), query, media_type, file).await
    };
    post(&query, "application/json", "{}").await.refused(415, "unsupported-media-type");
    // What other routes do not take: it is read, and found wrong.
    let long = " ".repeat(BODY_MAX_BYTES) + "\n";
    post(&query, "text/csv", &format!("{long}a\n")).await.refused(422, "posting-refused");
    post(&query, "text/csv", &long.repeat(IMPORT_MAX_BYTES / BODY_MAX_BYTES))
        .await
        .refused(413, "body-too-large");
    let detail = post("dry_run=true", "text/csv", CSV).await.refused(400, "missing-key");
    assert!(detail.contains("request_id, tenant_id"), "{detail}");
    post(&format!("{query}&dry_run=maybe"), "text/csv", CSV).await.refused(400, "invalid-parameter");

    // The same file, by somebody else: their own accounts are meant.
    let globex = house.api.tenant_named("globex").await;
    let other = house.api.person(globex, UserKind::Person, &["admin"]).await;
    post(&keys(&other, Uuid::new_v4()), "text/csv", CSV).await.refused(404, "not-found");
    let theirs = async || {
        let query = keys(&other, Uuid::new_v4());
        send(&house.api, &other, &Uuid::new_v4().to_string(), &query, "text/csv", CSV).await
    };
    house.import("", CSV).await.expect(200);
    theirs().await.refused(422, "posting-refused");
    books(&house.api, &other).await;
    assert_eq!(theirs().await.expect(200)["posted"], 2, "it is on record in the other's books alone");
    let reader = house.api.person(house.admin.tenant_id, UserKind::Person, &["viewer"]).await;
    send(&house.api, &reader, "a", &query, "text/csv", CSV).await.refused(403, "forbidden");
}

#[tokio::test]
async fn a_posting_of_two_lines_is_a_voucher_and_one_that_is_divided_is_none() {
    let house = house().await;
    let deposit = house.post(&house.deposit(90)).await.expect(201);
    let mut divided = house.deposit(10);
    divided["entries"][0]["debit"] = json!(6);
    let part = json!({ "account_id": house.cash, "debit": 4, "currency": "USDC" });
    divided["entries"].as_array_mut().unwrap().push(part);
    house.post(&divided).await.expect(201);
    let back = house.post(&house.withdrawal(5)).await.expect(201);

    let all = house.read(VOUCHERS).await["items"].clone();
    let ids: Vec<_> = all.as_array().unwrap().iter().map(|voucher| voucher["entry_id"].clone()).collect();
    assert_eq!(ids, [back["posting_id"].clone(), deposit["posting_id"].clone()], "{all:#}");
    let expected = [
        ("debit_account_id", json!(house.cash)),
        ("credit_account_id", json!(house.deposits)),
        ("amount", json!("90")),
        ("currency", json!("USDC")),
        ("operation_type", json!("deposit")),
    ];
    for (field, value) in expected {
        assert_eq!(all[1][field], value, "{field} of {all:#}");
    }
    let of_request = format!("{VOUCHERS}?request_id={}", deposit["request_id"].as_str().unwrap());
    assert_eq!(house.read(&of_request).await["items"], json!([all[1]]));
    let first = house.read(&format!("{VOUCHERS}?limit=2")).await;
    assert_eq!(first["items"], json!([all[0]]), "of two postings one is a voucher");
    let next = first["next_cursor"].as_str().unwrap();
    let second = house.read(&format!("{VOUCHERS}?limit=2&cursor={next}")).await;
    assert_eq!((&second["items"], &second["next_cursor"]), (&json!([all[1]]), &Value::Null));

    let globex = house.api.tenant_named("globex").await;
    let other = house.api.person(globex, UserKind::Person, &["admin"]).await;
    assert_eq!(house.api.read(&other, VOUCHERS).await.expect(200)["items"], json!([]));
}

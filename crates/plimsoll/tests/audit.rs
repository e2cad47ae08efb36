//! The audit log as an operator meets it: numbered by a running process, verified on the command line.

#![allow(clippy::unwrap_used)] // a panic is a failed test

mod common;

use common::{CHAIN_ID, Place, configuration, node_of_chain};
use plimsoll_bus::audit::{Entry, record};
use plimsoll_bus::{Context, Keys};
use plimsoll_store::{Db, testing};
use serde_json::{Value, json};
use sqlx::ConnectOptions as _;
use uuid::Uuid;

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_somebody_changed_is_named_and_the_exit_code_is_1() {
    let place = Place::new();
    let urls = testing::database().await;
    let url = urls.owner.to_url_lossy();
    place.write("plimsoll.toml", &configuration(node_of_chain(CHAIN_ID), &format!("url = \"{url}\"")));
    let empty = place.run(&["verify", "audit"]);
    assert_eq!((empty.code, empty.out.lines().count()), (0, 2), "{empty:#?}");

    let running = place.start("numbers the stream");
    let db = Db::connect(&urls).await.unwrap();
    let mut tx = db.begin_worker().await.unwrap();
    for number in 0..3 {
        let entry = Entry::new("test.done", "thing", number.to_string())
            .with_change(None, Some(json!({ "number": number })))
            .in_context(Context::new(Uuid::from_u128(1), "cli:test"))
            .demanding(Keys::Platform);
        record(&mut tx, entry).await.unwrap();
    }
    tx.commit().await.unwrap();
    let verified = loop {
        let verified = place.run(&["verify", "audit", "--json"]);
        assert_eq!(verified.code, 0, "{verified:#?}");
        let report: Value = serde_json::from_str(&verified.out).unwrap();
        if report["rows"] == 3 {
            break report;
        }
    };
    assert_eq!((&verified["to"], &verified["broken"]), (&json!(3), &Value::Null));
    place.run(&["verify", "audit", "--to", "4"]).fails(2, &["the audit log has the rows 1 to 3"]);

    let mut superuser = urls.owner.connect().await.unwrap();
    sqlx::raw_sql("UPDATE plimsoll.audit_log SET after = '{\"number\": 7}' WHERE sequence = 2")
        .execute(&mut superuser)
        .await
        .unwrap();
    let broken = place.run(&["verify", "audit"]);
    broken.fails(1, &["row 2 of the audit log does not hold", "not what its digest was made of"]);
    let row: Vec<&str> = broken.out.lines().nth(1).unwrap().split_whitespace().take(4).collect();
    assert_eq!(row, ["1", "3", "1", "2"], "{broken:#?}");
    running.signal("TERM");
    let (code, log) = running.end();
    assert_eq!(code, Some(0), "{log}");
}

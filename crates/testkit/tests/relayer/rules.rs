//! What the database itself does not let anybody write.

use plimsoll_relayer::call_off;
use plimsoll_relayer::desk::DeskOptions;
use plimsoll_store::Db;
use plimsoll_testkit::anvil::Mining;
use plimsoll_types::TransactionState;
use uuid::Uuid;

use crate::house::House;

const COLUMNS: &str = "id, tenant_id, request_id, operation_type, fingerprint, created_by, correlation_id, chain_id, signer, value_wei, data, accepted_by";

/// A row as it is asked for, with this in addition.
fn insert(house: &House, tenant: &str, operation: &str, and: &[(&str, &str)]) -> String {
    let (mut columns, mut values) = (COLUMNS.to_owned(), String::new());
    for (column, value) in and {
        columns += &format!(", {column}");
        values += &format!(", {value}");
    }
    let signer = plimsoll_types::address_text(&house.signer.address);
    let (id, chain_id) = (Uuid::new_v4(), house.signer.chain_id);
    format!(
        "INSERT INTO managed_transactions ({columns})
         VALUES ('{id}', {tenant}, '{id}', '{operation}', sha256(''), 'x', 'x', {chain_id}, '{signer}', 0, '', 'x'{values})"
    )
}

async fn as_app(db: &Db, tenant: Uuid, sql: &str) -> Result<u64, sqlx::Error> {
    let mut tx = db.tenant_tx(&[tenant]).await?;
    let done = sqlx::query(sqlx::AssertSqlSafe(sql)).execute(&mut *tx).await?;
    tx.commit().await?;
    Ok(done.rows_affected())
}

async fn as_worker(db: &Db, sql: &str) -> Result<u64, sqlx::Error> {
    Ok(sqlx::query(sqlx::AssertSqlSafe(sql)).execute(db.worker()).await?.rows_affected())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_app_asks_and_wishes_and_decides_nothing() {
    let house = House::new(Mining::OnDemand).await;
    let other = Uuid::new_v4();
    sqlx::query("INSERT INTO tenants (tenant_id, name) VALUES ($1, 'other')")
        .bind(other)
        .execute(house.db.worker())
        .await
        .unwrap();
    let ours = format!("'{}'", house.tenant);
    assert_eq!(as_app(&house.db, house.tenant, &insert(&house, &ours, "x", &[])).await.unwrap(), 1);
    let id = house.acceptor.accept(house.request()).await.unwrap().id;
    let refused = [
        // A state, a nonce, an inclusion, or a wish, from the first moment on.
        insert(&house, &ours, "x", &[("state", "'tracking'"), ("nonce", "0")]),
        insert(&house, &ours, "x", &[("nonce", "0")]),
        insert(&house, &ours, "x", &[("end_wanted", "'failed'"), ("end_why", "''")]),
        insert(&house, &ours, "x", &[("is_final", "true")]),
        insert(&house, &ours, "x", &[("version", "5")]),
        // Another's.
        insert(&house, &format!("'{other}'"), "x", &[]),
        insert(&house, "NULL", "fill", &[]),
        insert(&house, &ours, "fill", &[]),
        format!("UPDATE managed_transactions SET state = 'failed' WHERE id = '{id}'"),
        format!("UPDATE managed_transactions SET nonce = 1 WHERE id = '{id}'"),
        format!("UPDATE managed_transactions SET data = '' WHERE id = '{id}'"),
        format!("UPDATE managed_transactions SET end_wanted = 'failed', end_why = '' WHERE id = '{id}'"),
        format!("UPDATE managed_transactions SET end_wanted = 'cancelled' WHERE id = '{id}'"),
        format!("DELETE FROM managed_transactions WHERE id = '{id}'"),
        "UPDATE signers SET next_nonce = 5".to_owned(),
        "UPDATE signer_progress SET consumed_next = 5".to_owned(),
        "UPDATE kill_switches SET reason = 'y'".to_owned(),
        format!("INSERT INTO kill_switches (tenant_id, thrown_by, reason) VALUES ('{other}', 'x', 'x')"),
        "INSERT INTO kill_switches (thrown_by, reason) VALUES ('x', 'x')".to_owned(),
        "DELETE FROM transaction_attempts".to_owned(),
        "TRUNCATE managed_transactions".to_owned(),
    ];
    for sql in &refused {
        let outcome = as_app(&house.db, house.tenant, sql).await;
        assert!(outcome.is_err(), "{sql}: {outcome:?}");
    }
    // What the platform or another tenant holds back stays held back, and what is its own it throws and releases.
    for scope in ["NULL".to_owned(), format!("'{other}'"), ours.clone()] {
        let throw =
            format!("INSERT INTO kill_switches (tenant_id, thrown_by, reason) VALUES ({scope}, 'x', 'x')");
        assert_eq!(as_worker(&house.db, &throw).await.unwrap(), 1);
    }
    assert_eq!(as_app(&house.db, house.tenant, "DELETE FROM kill_switches").await.unwrap(), 1);
    // Another tenant's rows are not there.
    let wish =
        format!("UPDATE managed_transactions SET end_wanted = 'cancelled', end_why = '' WHERE id = '{id}'");
    assert_eq!(as_app(&house.db, other, &wish).await.unwrap(), 0);
    assert!(!call_off(&house.db, other, id, "not theirs").await.unwrap());
    // What was wished stays wished.
    assert!(call_off(&house.db, house.tenant, id, "ours").await.unwrap());
    let no_longer =
        format!("UPDATE managed_transactions SET end_wanted = NULL, end_why = NULL WHERE id = '{id}'");
    let outcome = as_app(&house.db, house.tenant, &no_longer).await;
    assert!(outcome.as_ref().map_or(true, |rows| *rows == 0), "{outcome:?}");
    let why: String = sqlx::query_scalar("SELECT end_why FROM managed_transactions WHERE id = $1")
        .bind(id)
        .fetch_one(house.db.worker())
        .await
        .unwrap();
    assert_eq!(why, "ours");
    house.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_writes_what_contradicts_itself_or_changes_what_left_the_building() {
    let house = House::new(Mining::OnDemand).await;
    let desk = house.work("node-1", house.pool(), DeskOptions::default()).await;
    let sent = house.acceptor.accept(house.request()).await.unwrap().id;
    house.until_state(sent, TransactionState::Tracking, false).await;
    house.until_taken(sent).await;
    desk.stop().await;
    let waits = house.acceptor.accept(house.request()).await.unwrap().id;
    let set = |what: &str, id: Uuid| format!("UPDATE managed_transactions SET {what} WHERE id = '{id}'");
    let refused = [
        set("state = 'tracking'", waits),
        set("state = 'tracking', nonce = 0", waits),
        set("nonce = 7", waits),
        set("state = 'mined'", sent),
        set("state = 'confirmed'", sent),
        set("state = 'failed', end_why = 'x'", sent),
        set("state = 'cancelled', end_why = 'x'", sent),
        set("state = 'expired', end_why = 'x'", sent),
        set("state = 'replaced', end_why = 'x'", sent),
        set("state = 'failed'", waits),
        set("state = 'pending'", sent),
        set("end_wanted = 'failed'", sent),
        set("end_wanted = 'confirmed', end_why = 'x'", sent),
        set("block_number = 1", sent),
        set("attempt = 1, purpose = 'send'", sent),
        set("request_id = id", sent),
        set("data = ''", sent),
        insert(&house, "NULL", "not a fill", &[]),
        "UPDATE transaction_attempts SET raw = ''".to_owned(),
        "DELETE FROM transaction_attempts".to_owned(),
        "UPDATE transaction_broadcasts SET answer = 'accepted'".to_owned(),
        "DELETE FROM managed_transactions".to_owned(),
        "DELETE FROM signers".to_owned(),
        "INSERT INTO transaction_attempts SELECT (jsonb_populate_record(a, '{\"nonce\": 9}')).* FROM transaction_attempts a".to_owned(),
        "INSERT INTO transaction_attempts SELECT a.* FROM transaction_attempts a".to_owned(),
    ];
    for sql in &refused {
        let outcome = as_worker(&house.db, sql).await;
        assert!(outcome.is_err(), "{sql}: {outcome:?}");
    }
    house.end().await;
}

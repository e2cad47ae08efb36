//! What nothing that keeps the same rows could be much faster than: they, as plainly as Postgres takes them.

use std::time::{Duration, Instant};

use anyhow::Result;
use plimsoll_types::{Amount, Balance};
use sqlx::{ConnectOptions, Connection, PgConnection};
use time::OffsetDateTime;
use uuid::Uuid;

use super::super::pipeline::Store;

/// Postings of a statement.
const BATCH: usize = 500;

/// As [`plain`] has them: the same columns and indexes, and nothing that looks at them.
const TABLES: &str = "
    CREATE TABLE floor_postings (LIKE ledger_postings INCLUDING ALL);
    CREATE TABLE floor_entries (LIKE ledger_entries INCLUDING ALL);
    CREATE TABLE floor_leaves (LIKE ledger_leaves INCLUDING ALL);
    CREATE TABLE floor_balances (LIKE asset_balances INCLUDING ALL) WITH (fillfactor = 50);
    INSERT INTO floor_balances (account_id, tenant_id, token_address) SELECT account_id, tenant_id, token_address FROM asset_balances";

/// What of a posting differs from one to the next; the rest is the same for all of this workload.
#[derive(sqlx::FromRow)]
struct Header {
    posting_id: Uuid,
    tenant_id: Uuid,
    request_id: Uuid,
    checksum: Vec<u8>,
    effective_at: OffsetDateTime,
    recorded_at: OffsetDateTime,
    correlation_id: String,
    digest: Vec<u8>,
    leaf_index: i64,
    prev_entry_hash: Vec<u8>,
    entry_hash: Vec<u8>,
}

#[derive(sqlx::FromRow)]
struct Entry {
    posting_id: Uuid,
    sequence: i16,
    account_id: Uuid,
    debit: Amount,
    credit: Amount,
    account_version: i64,
    balance_after: Balance,
    checksum: Vec<u8>,
}

/// Writes the first `count` postings of the books once more: how many a second.
#[allow(clippy::cast_precision_loss)]
pub(super) async fn plain(store: &Store, count: usize) -> Result<f64> {
    let mut owner = store.db.urls().owner.connect().await?;
    sqlx::raw_sql(TABLES).execute(&mut owner).await?;
    let headers: Vec<Header> = sqlx::query_as(
        "SELECT p.posting_id, p.tenant_id, p.request_id, p.checksum, p.effective_at, p.recorded_at, p.correlation_id, p.digest, l.leaf_index, l.prev_entry_hash, l.entry_hash
         FROM ledger_leaves l JOIN ledger_postings p USING (posting_id) ORDER BY l.leaf_index LIMIT $1",
    )
    .bind(i64::try_from(count)?)
    .fetch_all(&mut owner)
    .await?;
    let entries: Vec<Entry> = sqlx::query_as(
        "SELECT e.posting_id, e.sequence, e.account_id, e.debit, e.credit, e.account_version, e.balance_after, e.checksum
         FROM ledger_leaves l JOIN ledger_entries e USING (posting_id) ORDER BY l.leaf_index, e.sequence LIMIT $1",
    )
    .bind(i64::try_from(2 * count)?)
    .fetch_all(&mut owner)
    .await?;
    let started = Instant::now();
    for (headers, entries) in headers.chunks(BATCH).zip(entries.chunks(2 * BATCH)) {
        sqlx::raw_sql("BEGIN").execute(&mut owner).await?;
        write(&mut owner, headers, entries).await?;
        sqlx::raw_sql("COMMIT").execute(&mut owner).await?;
    }
    let per_second = headers.len() as f64 / started.elapsed().as_secs_f64();
    owner.close().await?;
    Ok(per_second)
}

async fn write(conn: &mut PgConnection, headers: &[Header], entries: &[Entry]) -> Result<()> {
    fn column<R, T>(rows: &[R], of: impl Fn(&R) -> T) -> Vec<T> {
        rows.iter().map(of).collect()
    }
    sqlx::query(
        "INSERT INTO floor_postings (posting_id, tenant_id, request_id, operation_type, checksum, domain, effective_at, booked_at, recorded_at, created_by, correlation_id, metadata, line_count, digest)
         SELECT id, tenant, request, 'transfer', checksum, 'cash', effective, effective, recorded, 'bench', correlation, '{}', 2, digest
         FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::bytea[], $5::timestamptz[], $6::timestamptz[], $7::text[], $8::bytea[])
              AS given(id, tenant, request, checksum, effective, recorded, correlation, digest)",
    )
    .bind(column(headers, |it| it.posting_id))
    .bind(column(headers, |it| it.tenant_id))
    .bind(column(headers, |it| it.request_id))
    .bind(column(headers, |it| it.checksum.clone()))
    .bind(column(headers, |it| it.effective_at))
    .bind(column(headers, |it| it.recorded_at))
    .bind(column(headers, |it| it.correlation_id.clone()))
    .bind(column(headers, |it| it.digest.clone()))
    .execute(&mut *conn)
    .await?;
    sqlx::query(
        "INSERT INTO floor_entries (posting_id, sequence, tenant_id, account_id, debit, credit, currency, entry_type, account_version, balance_after, effective_at, latest_effective_at, recorded_at, checksum)
         SELECT posting, sequence, $9, account, debit, credit, 'USDC', 'TRADE', version, balance, $10, $10, $10, checksum
         FROM unnest($1::uuid[], $2::smallint[], $3::uuid[], $4::numeric[], $5::numeric[], $6::bigint[], $7::numeric[], $8::bytea[])
              AS given(posting, sequence, account, debit, credit, version, balance, checksum)",
    )
    .bind(column(entries, |it| it.posting_id))
    .bind(column(entries, |it| it.sequence))
    .bind(column(entries, |it| it.account_id))
    .bind(column(entries, |it| it.debit))
    .bind(column(entries, |it| it.credit))
    .bind(column(entries, |it| it.account_version))
    .bind(column(entries, |it| it.balance_after))
    .bind(column(entries, |it| it.checksum.clone()))
    .bind(headers[0].tenant_id)
    .bind(headers[0].recorded_at)
    .execute(&mut *conn)
    .await?;
    sqlx::query(
        "UPDATE floor_balances b SET raw_balance = given.balance, version = given.version, latest_effective_at = $4, last_recorded_at = $4
         FROM (SELECT DISTINCT ON (account) account, version, balance FROM unnest($1::uuid[], $2::bigint[], $3::numeric[]) AS given(account, version, balance)
               ORDER BY account, version DESC) AS given WHERE b.account_id = given.account",
    )
    .bind(column(entries, |it| it.account_id))
    .bind(column(entries, |it| it.account_version))
    .bind(column(entries, |it| it.balance_after))
    .bind(headers[0].recorded_at)
    .execute(&mut *conn)
    .await?;
    sqlx::query(
        "INSERT INTO floor_leaves (tenant_id, leaf_index, posting_id, prev_entry_hash, entry_hash)
         SELECT $1, * FROM unnest($2::bigint[], $3::uuid[], $4::bytea[], $5::bytea[])",
    )
    .bind(headers[0].tenant_id)
    .bind(column(headers, |it| it.leaf_index))
    .bind(column(headers, |it| it.posting_id))
    .bind(column(headers, |it| it.prev_entry_hash.clone()))
    .bind(column(headers, |it| it.entry_hash.clone()))
    .execute(&mut *conn)
    .await?;
    Ok(())
}

/// How long one row and its commit take, one after the other.
pub(super) async fn bare_commits(store: &Store, count: usize) -> Result<Vec<Duration>> {
    let mut owner = store.db.urls().owner.connect().await?;
    sqlx::raw_sql("CREATE TABLE floor_bare (id bigint PRIMARY KEY)").execute(&mut owner).await?;
    let mut took = Vec::with_capacity(count);
    for n in 0..i64::try_from(count)? {
        let started = Instant::now();
        sqlx::query("INSERT INTO floor_bare (id) VALUES ($1)").bind(n).execute(&mut owner).await?;
        took.push(started.elapsed());
    }
    owner.close().await?;
    Ok(took)
}

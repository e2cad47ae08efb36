//! One moment of the whole ledger, for several connections, and what is counted in it. Over the worker's role.

use std::collections::HashMap;

use plimsoll_types::Balance;
use sqlx::{AssertSqlSafe, PgConnection};
use uuid::Uuid;

use super::seal::Log;
use super::{hash, to_i64, to_u64, unreadable};

/// Rows of `asset_balances` that are read at a time.
const HELD_ROWS: i64 = 10_000;

/// Lets others see the moment that this transaction sees ([`join`]), for as long as it lasts. It may take longer than a request's.
pub(crate) async fn export(conn: &mut PgConnection) -> Result<String, sqlx::Error> {
    be_patient(conn).await?;
    sqlx::query_scalar!(r#"SELECT pg_export_snapshot() AS "id!""#).fetch_one(conn).await
}

/// Sees the exported moment from here on, in a transaction that has seen nothing yet, and looks rows up by their keys, whatever is believed of the tables.
pub(crate) async fn join(conn: &mut PgConnection, id: &str) -> Result<(), sqlx::Error> {
    if !id.chars().all(|c| c.is_ascii_hexdigit() || c == '-') {
        return Err(unreadable(format!("{id:?}, which is no snapshot")));
    }
    sqlx::raw_sql(AssertSqlSafe(format!("SET TRANSACTION SNAPSHOT '{id}'"))).execute(&mut *conn).await?;
    let by_keys = "SET LOCAL enable_hashjoin = off; SET LOCAL enable_mergejoin = off; SET LOCAL enable_seqscan = off; SET LOCAL jit = off";
    sqlx::raw_sql(by_keys).execute(&mut *conn).await?;
    be_patient(conn).await
}

async fn be_patient(conn: &mut PgConnection) -> Result<(), sqlx::Error> {
    let patient = "SET LOCAL statement_timeout = 0; SET LOCAL idle_in_transaction_session_timeout = 0";
    sqlx::raw_sql(patient).execute(conn).await.map(drop)
}

/// Who has books.
pub(crate) async fn tenants(conn: &mut PgConnection) -> Result<Vec<Uuid>, sqlx::Error> {
    sqlx::query_scalar!("SELECT tenant_id FROM ledger_books ORDER BY tenant_id").fetch_all(conn).await
}

/// A tenant's log as it says it stands; `None`: it has none.
pub(crate) async fn log(conn: &mut PgConnection, tenant_id: Uuid) -> Result<Option<Log>, sqlx::Error> {
    let row =
        sqlx::query!("SELECT size, head_hash, frontier FROM ledger_logs WHERE tenant_id = $1", tenant_id)
            .fetch_optional(conn)
            .await?;
    row.map(|row| {
        let frontier = row.frontier.chunks(32).map(hash).collect::<Result<_, _>>()?;
        Ok(Log { tenant_id, size: to_u64(row.size)?, head_hash: hash(&row.head_hash)?, frontier })
    })
    .transpose()
}

/// What there is of a tenant.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Counts {
    pub(crate) postings: u64,
    /// After the highest index of an entry.
    pub(crate) entries_end: u64,
    pub(crate) tiles: u64,
    pub(crate) checkpoints: u64,
}

pub(crate) async fn counts(conn: &mut PgConnection, tenant_id: Uuid) -> Result<Counts, sqlx::Error> {
    let row = sqlx::query!(
        r#"SELECT (SELECT count(*) FROM ledger_postings WHERE tenant_id = $1) AS "postings!",
                  (SELECT COALESCE(max(leaf_index) + 1, 0) FROM ledger_leaves WHERE tenant_id = $1) AS "entries_end!",
                  (SELECT count(*) FROM ledger_tiles WHERE tenant_id = $1) AS "tiles!", (SELECT count(*) FROM ledger_checkpoints WHERE tenant_id = $1) AS "checkpoints!""#,
        tenant_id
    )
    .fetch_one(conn)
    .await?;
    Ok(Counts {
        postings: to_u64(row.postings)?,
        entries_end: to_u64(row.entries_end)?,
        tiles: to_u64(row.tiles)?,
        checkpoints: to_u64(row.checkpoints)?,
    })
}

/// How many lines each tenant has.
async fn line_counts(conn: &mut PgConnection) -> Result<HashMap<Uuid, u64>, sqlx::Error> {
    let rows =
        sqlx::query!(r#"SELECT tenant_id, count(*) AS "lines!" FROM ledger_entries GROUP BY tenant_id"#)
            .fetch_all(conn)
            .await?;
    rows.into_iter().map(|row| Ok((row.tenant_id, to_u64(row.lines)?))).collect()
}

/// What waits to be sealed: postings and their digests, after the row `after`, of so many rows; and the last row's number.
pub(crate) async fn staged(
    conn: &mut PgConnection,
    tenant_id: Uuid,
    after: i64,
    rows: i64,
) -> Result<Option<(i64, Vec<Uuid>, Vec<u8>)>, sqlx::Error> {
    let rows = sqlx::query!(
        "SELECT staging_id, postings, digests FROM ledger_staging WHERE tenant_id = $1 AND staging_id > $2 ORDER BY staging_id LIMIT $3",
        tenant_id,
        after,
        rows
    )
    .fetch_all(conn)
    .await?;
    let Some(last) = rows.last().map(|row| row.staging_id) else { return Ok(None) };
    let (mut postings, mut digests) = (Vec::new(), Vec::new());
    for row in rows {
        postings.extend(row.postings);
        digests.extend(row.digests);
    }
    Ok(Some((last, postings, digests)))
}

/// Some postings that have no entry and wait for none.
pub(crate) async fn lost(
    conn: &mut PgConnection,
    tenant_id: Uuid,
    limit: u64,
) -> Result<Vec<Uuid>, sqlx::Error> {
    sqlx::query_scalar!(
        "SELECT posting_id FROM ledger_postings p
         WHERE tenant_id = $1 AND NOT EXISTS (SELECT FROM ledger_leaves l WHERE l.posting_id = p.posting_id AND l.tenant_id = $1)
           AND NOT EXISTS (SELECT FROM ledger_staging s, unnest(s.postings) AS staged WHERE s.tenant_id = $1 AND staged = p.posting_id)
         ORDER BY posting_id LIMIT $2",
        tenant_id,
        to_i64(limit)
    )
    .fetch_all(conn)
    .await
}

/// Some lines without their posting: its id, and their places.
pub(crate) async fn stray_lines(
    conn: &mut PgConnection,
    tenant_id: Uuid,
    limit: u64,
) -> Result<Vec<(Uuid, i16)>, sqlx::Error> {
    let rows = sqlx::query!(
        "SELECT posting_id, sequence FROM ledger_entries e
         WHERE tenant_id = $1 AND NOT EXISTS (SELECT FROM ledger_postings p WHERE p.posting_id = e.posting_id AND p.tenant_id = $1)
         ORDER BY posting_id, sequence LIMIT $2",
        tenant_id,
        to_i64(limit)
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|row| (row.posting_id, row.sequence)).collect())
}

/// What an account is said to hold.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Held {
    pub(crate) account_id: Uuid,
    pub(crate) version: u64,
    pub(crate) balance: Balance,
}

/// What is said of a tenant beside its postings.
#[derive(Debug, Default)]
pub(crate) struct Said {
    /// How many lines it has.
    pub(crate) lines: u64,
    /// By account.
    pub(crate) held: Vec<Held>,
    /// The currencies whose balances do not sum to nothing, with their sums.
    pub(crate) unbalanced: Vec<(String, String)>,
}

/// What is said of these tenants. The lines and the balances of all are looked at for that, once.
pub(crate) async fn said(
    conn: &mut PgConnection,
    tenants: &[Uuid],
) -> Result<HashMap<Uuid, Said>, sqlx::Error> {
    let mut said: HashMap<Uuid, Said> = HashMap::new();
    for (tenant_id, lines) in line_counts(conn).await? {
        said.entry(tenant_id).or_default().lines = lines;
    }
    let mut after = Uuid::nil();
    // Ends: each page begins behind the last one.
    loop {
        let page = held(conn, tenants, after).await?;
        let Some((_, last)) = page.last() else { break };
        after = last.account_id;
        for (tenant_id, held) in page {
            said.entry(tenant_id).or_default().held.push(held);
        }
    }
    let unbalanced = sqlx::query!(
        r#"SELECT tenant_id, token_address, sum(raw_balance)::text AS "sum!" FROM asset_balances WHERE tenant_id = ANY ($1)
           GROUP BY tenant_id, token_address HAVING sum(raw_balance) <> 0 ORDER BY tenant_id, token_address"#,
        tenants
    )
    .fetch_all(conn)
    .await?;
    for row in unbalanced {
        said.entry(row.tenant_id).or_default().unbalanced.push((row.token_address, row.sum));
    }
    Ok(said)
}

/// What the accounts of these tenants after `after` are said to hold, a page of them.
async fn held(
    conn: &mut PgConnection,
    tenants: &[Uuid],
    after: Uuid,
) -> Result<Vec<(Uuid, Held)>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"SELECT tenant_id, account_id, version, raw_balance AS "raw_balance: Balance" FROM asset_balances WHERE tenant_id = ANY ($1) AND account_id > $2 ORDER BY account_id LIMIT $3"#,
        tenants,
        after,
        HELD_ROWS
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|row| {
            let (account_id, version) = (row.account_id, to_u64(row.version)?);
            Ok((row.tenant_id, Held { account_id, version, balance: row.raw_balance }))
        })
        .collect()
}

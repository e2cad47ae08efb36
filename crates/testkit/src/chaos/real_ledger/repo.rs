//! What a run reads from its database.

use std::collections::HashMap;

use alloy_primitives::{Address, B256};
use anyhow::{Context as _, Result, anyhow};
use sqlx::{PgConnection, Row as _};
use uuid::Uuid;

use super::chain::Occasion;

/// A posting on record.
#[derive(Clone, Debug)]
pub(super) struct Recorded {
    pub(super) posting_id: Uuid,
    pub(super) tenant_id: Uuid,
    pub(super) operation_type: String,
    pub(super) checksum: B256,
    pub(super) reverses: Option<Uuid>,
    /// Each line's account, and its amount: positive in a debit.
    pub(super) lines: Vec<(Uuid, i128)>,
}

/// What must be so of all postings, and what is found where it is not: each query names what breaks it.
pub(super) const LAWS: &[(&str, &str)] = &[
    (
        "is not balanced",
        "SELECT format('posting %s', posting_id) FROM ledger_entries GROUP BY posting_id, currency HAVING sum(debit) <> sum(credit)",
    ),
    (
        "has not the lines that it says",
        "SELECT format('posting %s', p.posting_id) FROM ledger_postings p LEFT JOIN (SELECT posting_id, count(*) AS lines FROM ledger_entries GROUP BY posting_id) e USING (posting_id)
         WHERE p.line_count <> COALESCE(e.lines, 0)",
    ),
    (
        "is of no posting",
        "SELECT format('line %s of %s', sequence, posting_id) FROM ledger_entries e WHERE NOT EXISTS (SELECT FROM ledger_postings p WHERE p.posting_id = e.posting_id)",
    ),
    (
        "has not the balance of its lines",
        "SELECT format('account %s', account_id) FROM asset_balances b FULL JOIN (SELECT account_id, sum(debit - credit) AS sum, count(*) AS lines, max(account_version) AS last FROM ledger_entries GROUP BY account_id) e
         USING (account_id) WHERE COALESCE(b.raw_balance, 0) <> COALESCE(e.sum, 0) OR COALESCE(b.version, 0) <> COALESCE(e.lines, 0) OR COALESCE(b.version, 0) <> COALESCE(e.last, 0)",
    ),
    (
        "does not sum to nothing",
        "SELECT format('%s of tenant %s', token_address, tenant_id) FROM asset_balances GROUP BY tenant_id, token_address HAVING sum(raw_balance) <> 0",
    ),
    (
        "has not one event",
        "SELECT format('posting %s', COALESCE(p.posting_id::text, e.target_id)) FROM ledger_postings p
         FULL JOIN (SELECT target_id, count(*) AS events FROM events WHERE event_type IN ('ledger.posting.posted', 'ledger.posting.reversed') GROUP BY target_id) e ON e.target_id = p.posting_id::text
         WHERE p.posting_id IS NULL OR COALESCE(e.events, 0) <> 1",
    ),
    (
        "is not sealed, or is no posting and sealed",
        "SELECT format('posting %s', posting_id) FROM ledger_postings p FULL JOIN ledger_leaves l USING (posting_id, tenant_id) WHERE p.digest IS NULL OR l.entry_hash IS NULL",
    ),
    (
        "has a gap, or another size",
        "SELECT format('the log of tenant %s', g.tenant_id) FROM ledger_logs g LEFT JOIN ledger_leaves l USING (tenant_id) GROUP BY g.tenant_id, g.size
         HAVING count(l.leaf_index) <> g.size OR COALESCE(max(l.leaf_index) + 1, 0) <> g.size",
    ),
    (
        "is covered by no signed checkpoint to its end",
        "SELECT format('the log of tenant %s', tenant_id) FROM ledger_logs g WHERE size > 0 AND NOT EXISTS (SELECT FROM ledger_checkpoints c WHERE c.tenant_id = g.tenant_id AND c.tree_size = g.size AND c.note IS NOT NULL)",
    ),
    (
        "of a user is explained by nothing on the chain",
        "SELECT format('account %s', e.account_id) FROM ledger_entries e JOIN accounts a USING (account_id) JOIN ledger_postings p USING (posting_id)
         WHERE p.operation_type = 'silent_change' AND a.account_type = 'USER'",
    ),
];

/// What breaks a law, each once.
pub(super) async fn broken(conn: &mut PgConnection, law: &'static str) -> Result<Vec<String>, sqlx::Error> {
    sqlx::query_scalar(law).fetch_all(conn).await
}

/// What these tenants' books have, by request.
pub(super) async fn recorded(
    conn: &mut PgConnection,
    tenants: &[Uuid],
) -> Result<HashMap<Uuid, Vec<Recorded>>> {
    let all = "SELECT posting_id, account_id, (debit - credit)::text AS amount FROM ledger_entries WHERE tenant_id = ANY ($1)";
    let mut lines: HashMap<Uuid, Vec<(Uuid, i128)>> = HashMap::new();
    for row in sqlx::query(all).bind(tenants).fetch_all(&mut *conn).await? {
        let amount: String = row.try_get("amount")?;
        let amount = amount.parse().with_context(|| format!("{amount} is no small amount"))?;
        lines.entry(row.try_get("posting_id")?).or_default().push((row.try_get("account_id")?, amount));
    }
    let all = "SELECT posting_id, tenant_id, request_id, operation_type, checksum, reverses FROM ledger_postings WHERE tenant_id = ANY ($1)";
    let mut recorded: HashMap<Uuid, Vec<Recorded>> = HashMap::new();
    for row in sqlx::query(all).bind(tenants).fetch_all(conn).await? {
        let posting_id = row.try_get("posting_id")?;
        recorded.entry(row.try_get("request_id")?).or_default().push(Recorded {
            posting_id,
            tenant_id: row.try_get("tenant_id")?,
            operation_type: row.try_get("operation_type")?,
            checksum: hash(row.try_get("checksum")?)?,
            reverses: row.try_get("reverses")?,
            lines: lines.remove(&posting_id).unwrap_or_default(),
        });
    }
    Ok(recorded)
}

fn hash(bytes: &[u8]) -> Result<B256> {
    B256::try_from(bytes).map_err(|_| anyhow!("{} bytes where a hash must be", bytes.len()))
}

/// What is booked from the chain: of what, and whether it was taken back.
pub(super) async fn booked(conn: &mut PgConnection) -> Result<Vec<(Occasion, bool)>> {
    let all = "SELECT tx_hash, log_index, EXISTS (SELECT FROM ledger_postings r WHERE r.reverses = b.posting_id) AS taken_back FROM chain_bookings b WHERE tx_hash IS NOT NULL";
    let rows = sqlx::query(all).fetch_all(conn).await?;
    rows.into_iter()
        .map(|row| {
            let log_index = row.try_get::<Option<i32>, _>("log_index")?.map(i32::cast_unsigned);
            Ok(((hash(row.try_get("tx_hash")?)?, log_index), row.try_get("taken_back")?))
        })
        .collect()
}

/// The block that the books stand at.
pub(super) async fn stands(conn: &mut PgConnection) -> Result<Option<(u64, B256)>> {
    let row = sqlx::query("SELECT block_number, block_hash FROM chain_books").fetch_optional(conn).await?;
    row.map(|row| {
        Ok((row.try_get::<i64, _>("block_number")?.unsigned_abs(), hash(row.try_get("block_hash")?)?))
    })
    .transpose()
}

/// What waits to be sealed, signed or told; none: nothing.
pub(super) async fn waiting(conn: &mut PgConnection) -> Result<Option<String>, sqlx::Error> {
    sqlx::query_scalar(
        "SELECT CASE WHEN EXISTS (SELECT FROM ledger_staging) THEN 'postings to be sealed'
                     WHEN EXISTS (SELECT FROM events_staging) THEN 'events to be numbered'
                     WHEN EXISTS (SELECT FROM ledger_logs g WHERE size > 0
                                  AND NOT EXISTS (SELECT FROM ledger_checkpoints c WHERE c.tenant_id = g.tenant_id AND c.tree_size = g.size AND c.note IS NOT NULL))
                     THEN 'a checkpoint of each log' END",
    )
    .fetch_one(conn)
    .await
}

/// Who is said to hold what on the chain, but for users' positions: the address, and the token.
pub(super) async fn holders(conn: &mut PgConnection) -> Result<Vec<(Address, Option<Address>)>> {
    let all = "SELECT a.address, c.token_address FROM chain_accounts JOIN accounts a USING (account_id) JOIN currencies c ON c.tenant_id = a.tenant_id AND c.currency = a.currency
               WHERE a.account_type <> 'USER'";
    let rows = sqlx::query(all).fetch_all(conn).await?;
    rows.into_iter()
        .map(|row| {
            let (holder, token): (String, Option<String>) = (row.try_get(0)?, row.try_get(1)?);
            Ok((holder.parse()?, token.map(|token| token.parse()).transpose()?))
        })
        .collect()
}

/// What is held in suspense, by token.
pub(super) async fn suspense(conn: &mut PgConnection) -> Result<Vec<(Option<Address>, String)>> {
    let all = "SELECT c.token_address, (-b.raw_balance)::text FROM accounts a JOIN asset_balances b USING (account_id) JOIN currencies c ON c.tenant_id = a.tenant_id AND c.currency = a.currency
               WHERE a.account_type = 'SUSPENSE'";
    let rows = sqlx::query(all).fetch_all(conn).await?;
    rows.into_iter()
        .map(|row| {
            let token: Option<String> = row.try_get(0)?;
            Ok((token.map(|token| token.parse()).transpose()?, row.try_get(1)?))
        })
        .collect()
}

/// Entries of all logs, and signed checkpoints.
pub(super) async fn sealed(conn: &mut PgConnection) -> Result<(u64, u64), sqlx::Error> {
    let counts = "SELECT (SELECT COALESCE(sum(size), 0)::bigint FROM ledger_logs), (SELECT count(*) FROM ledger_checkpoints WHERE note IS NOT NULL)";
    let (entries, checkpoints): (i64, i64) = sqlx::query_as(counts).fetch_one(conn).await?;
    Ok((entries.unsigned_abs(), checkpoints.unsigned_abs()))
}

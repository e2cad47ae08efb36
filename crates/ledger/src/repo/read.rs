//! Postings, read in a transaction that is confined to their tenant.
//!
//! What is asked for differs in what it has an index for, so these are planned for what is given ([`plan_each`]), not once for all. The history of an account is read along its versions.

use alloy_primitives::FixedBytes;
use plimsoll_types::api::LedgerVoucher;
use plimsoll_types::{Amount, Balance};
use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::read::Filter;

/// A posting's header.
pub(crate) struct Header {
    pub(crate) posting_id: Uuid,
    pub(crate) user_id: Option<Uuid>,
    pub(crate) request_id: Uuid,
    pub(crate) operation_type: String,
    pub(crate) checksum: Vec<u8>,
    pub(crate) domain: String,
    pub(crate) internal_tx_id: Option<Uuid>,
    pub(crate) trace_id: Option<Uuid>,
    pub(crate) effective_at: OffsetDateTime,
    pub(crate) booked_at: OffsetDateTime,
    pub(crate) recorded_at: OffsetDateTime,
    pub(crate) chain_id: Option<i64>,
    pub(crate) chain_tx_hash: Option<Vec<u8>>,
    pub(crate) chain_block_number: Option<i64>,
    pub(crate) chain_block_hash: Option<Vec<u8>>,
    pub(crate) confirmations: Option<i64>,
    pub(crate) reverses: Option<Uuid>,
    pub(crate) reversed_by: Option<Uuid>,
    pub(crate) compensates: Option<Uuid>,
    pub(crate) compensated_by: Vec<Uuid>,
    pub(crate) reason: Option<String>,
    pub(crate) created_by: String,
    pub(crate) correlation_id: String,
    pub(crate) causation_id: Option<String>,
    pub(crate) metadata: String,
    pub(crate) leaf_index: Option<i64>,
    pub(crate) prev_entry_hash: Option<Vec<u8>>,
    pub(crate) entry_hash: Option<Vec<u8>>,
}

/// A posting's line.
pub(crate) struct LineRow {
    pub(crate) posting_id: Uuid,
    pub(crate) sequence: i16,
    pub(crate) account_id: Uuid,
    pub(crate) debit: Amount,
    pub(crate) credit: Amount,
    pub(crate) currency: String,
    pub(crate) entry_type: String,
    pub(crate) account_version: i64,
    pub(crate) balance_after: Balance,
    pub(crate) checksum: Vec<u8>,
}

/// Has each statement of the transaction planned for what it is given.
pub(crate) async fn plan_each(conn: &mut PgConnection) -> Result<(), sqlx::Error> {
    sqlx::query!("SELECT set_config('plan_cache_mode', 'force_custom_plan', true) AS mode")
        .fetch_one(conn)
        .await
        .map(drop)
}

/// The newest that are wanted, below an id.
pub(crate) async fn newest(
    conn: &mut PgConnection,
    tenant_id: Uuid,
    wanted: &Filter,
    below: Option<Uuid>,
    limit: i64,
) -> Result<Vec<Uuid>, sqlx::Error> {
    sqlx::query_scalar!(
        "SELECT posting_id FROM ledger_postings
         WHERE tenant_id = $1 AND ($2::uuid IS NULL OR request_id = $2) AND ($3::uuid IS NULL OR user_id = $3) AND ($4::text IS NULL OR domain = $4)
           AND ($5::text IS NULL OR operation_type = $5) AND ($6::bytea IS NULL OR chain_tx_hash = $6)
           AND ($7::timestamptz IS NULL OR effective_at >= $7) AND ($8::timestamptz IS NULL OR effective_at < $8) AND ($9::uuid IS NULL OR posting_id < $9)
         ORDER BY posting_id DESC LIMIT $10",
        tenant_id,
        wanted.request_id,
        wanted.user_id,
        wanted.domain,
        wanted.operation_type,
        wanted.chain_tx_hash.as_ref().map(FixedBytes::as_slice),
        wanted.since,
        wanted.until,
        below,
        limit,
    )
    .fetch_all(conn)
    .await
}

/// The same of one account, which are found along its versions, by the last of their lines on it.
pub(crate) async fn newest_of_account(
    conn: &mut PgConnection,
    tenant_id: Uuid,
    account_id: Uuid,
    wanted: &Filter,
    below: Option<Uuid>,
    limit: i64,
) -> Result<Vec<Uuid>, sqlx::Error> {
    sqlx::query_scalar!(
        "SELECT p.posting_id FROM ledger_entries e JOIN ledger_postings p USING (posting_id)
         WHERE e.account_id = $11 AND p.tenant_id = $1 AND ($2::uuid IS NULL OR p.request_id = $2) AND ($3::uuid IS NULL OR p.user_id = $3)
           AND ($4::text IS NULL OR p.domain = $4) AND ($5::text IS NULL OR p.operation_type = $5) AND ($6::bytea IS NULL OR p.chain_tx_hash = $6)
           AND ($7::timestamptz IS NULL OR p.effective_at >= $7) AND ($8::timestamptz IS NULL OR p.effective_at < $8)
           AND ($9::uuid IS NULL OR e.account_version < (SELECT min(o.account_version) FROM ledger_entries o WHERE o.posting_id = $9 AND o.account_id = $11))
           AND NOT EXISTS (SELECT FROM ledger_entries o WHERE o.posting_id = e.posting_id AND o.account_id = e.account_id AND o.sequence > e.sequence)
         ORDER BY e.account_version DESC LIMIT $10",
        tenant_id,
        wanted.request_id,
        wanted.user_id,
        wanted.domain,
        wanted.operation_type,
        wanted.chain_tx_hash.as_ref().map(FixedBytes::as_slice),
        wanted.since,
        wanted.until,
        below,
        limit,
        account_id,
    )
    .fetch_all(conn)
    .await
}

/// Those that are wanted of so many entries of the tenant's log, in its order.
pub(crate) async fn of_log(
    conn: &mut PgConnection,
    tenant_id: Uuid,
    wanted: &Filter,
    from: i64,
    to: i64,
) -> Result<Vec<Uuid>, sqlx::Error> {
    sqlx::query_scalar!(
        "SELECT p.posting_id FROM ledger_leaves l JOIN ledger_postings p USING (posting_id)
         WHERE l.tenant_id = $1 AND l.leaf_index >= $9 AND l.leaf_index < $10 AND ($2::uuid IS NULL OR p.request_id = $2) AND ($3::uuid IS NULL OR p.user_id = $3)
           AND ($4::text IS NULL OR p.domain = $4) AND ($5::text IS NULL OR p.operation_type = $5) AND ($6::bytea IS NULL OR p.chain_tx_hash = $6)
           AND ($7::timestamptz IS NULL OR p.effective_at >= $7) AND ($8::timestamptz IS NULL OR p.effective_at < $8)
           AND ($11::uuid IS NULL OR EXISTS (SELECT FROM ledger_entries e WHERE e.posting_id = p.posting_id AND e.account_id = $11))
         ORDER BY l.leaf_index",
        tenant_id,
        wanted.request_id,
        wanted.user_id,
        wanted.domain,
        wanted.operation_type,
        wanted.chain_tx_hash.as_ref().map(FixedBytes::as_slice),
        wanted.since,
        wanted.until,
        from,
        to,
        wanted.account_id,
    )
    .fetch_all(conn)
    .await
}

/// How many entries the tenant's log has.
pub(crate) async fn log_size(conn: &mut PgConnection, tenant_id: Uuid) -> Result<i64, sqlx::Error> {
    let size = sqlx::query_scalar!("SELECT size FROM ledger_logs WHERE tenant_id = $1", tenant_id);
    Ok(size.fetch_optional(conn).await?.unwrap_or(0))
}

/// These postings' headers, in no order.
pub(crate) async fn headers(
    conn: &mut PgConnection,
    tenant_id: Uuid,
    postings: &[Uuid],
) -> Result<Vec<Header>, sqlx::Error> {
    sqlx::query_as!(
        Header,
        r#"SELECT p.posting_id, p.user_id, p.request_id, p.operation_type, p.checksum, p.domain, p.internal_tx_id, p.trace_id, p.effective_at, p.booked_at,
                  p.recorded_at, p.chain_id, p.chain_tx_hash, p.chain_block_number, p.chain_block_hash, p.reverses, p.compensates, p.reason, p.created_by,
                  p.correlation_id, p.causation_id, p.metadata,
                  (SELECT r.posting_id FROM ledger_postings r WHERE r.reverses = p.posting_id) AS reversed_by,
                  ARRAY (SELECT c.posting_id FROM ledger_postings c WHERE c.compensates = p.posting_id ORDER BY c.posting_id) AS "compensated_by!",
                  (SELECT (SELECT max(h.number) FROM chain_blocks h WHERE h.chain_id = b.chain_id AND h.state <> 'orphaned') - b.number + 1
                   FROM chain_blocks b WHERE b.chain_id = p.chain_id AND b.number = p.chain_block_number AND b.hash = p.chain_block_hash
                     AND b.state <> 'orphaned') AS confirmations,
                  l.leaf_index AS "leaf_index?", l.prev_entry_hash AS "prev_entry_hash?", l.entry_hash AS "entry_hash?"
           FROM ledger_postings p LEFT JOIN ledger_leaves l USING (posting_id) WHERE p.tenant_id = $1 AND p.posting_id = ANY ($2)"#,
        tenant_id,
        postings,
    )
    .fetch_all(conn)
    .await
}

/// These postings' lines, each posting's in order.
pub(crate) async fn lines(
    conn: &mut PgConnection,
    tenant_id: Uuid,
    postings: &[Uuid],
) -> Result<Vec<LineRow>, sqlx::Error> {
    sqlx::query_as!(
        LineRow,
        r#"SELECT posting_id, sequence, account_id, debit AS "debit: Amount", credit AS "credit: Amount", currency, entry_type, account_version,
                  balance_after AS "balance_after: Balance", checksum
           FROM ledger_entries WHERE tenant_id = $1 AND posting_id = ANY ($2) ORDER BY posting_id, sequence"#,
        tenant_id,
        postings,
    )
    .fetch_all(conn)
    .await
}

/// The vouchers of these postings, in the order of these.
pub(crate) async fn vouchers(
    conn: &mut PgConnection,
    tenant_id: Uuid,
    postings: &[Uuid],
) -> Result<Vec<LedgerVoucher>, sqlx::Error> {
    sqlx::query_as!(
        LedgerVoucher,
        r#"SELECT entry_id AS "entry_id!", internal_tx_id, trace_id, debit_account_id AS "debit_account_id!", credit_account_id AS "credit_account_id!", amount AS "amount!: Amount",
                  currency AS "currency!", entry_type AS "entry_type!", user_id, request_id AS "request_id!", operation_type AS "operation_type!", domain AS "domain!",
                  effective_at AS "effective_at!", created_at AS "created_at!"
           FROM vouchers WHERE tenant_id = $1 AND entry_id = ANY ($2) ORDER BY array_position($2, entry_id), currency"#,
        tenant_id,
        postings,
    )
    .fetch_all(conn)
    .await
}

//! Transactions and signers, read: by the app's role, confined to a tenant, but for leases, which are the worker's to read.

use alloy_primitives::B256;
use plimsoll_types::{Amount, AttemptPurpose, RevertSource, TransactionState};
use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

/// Which transactions.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wanted {
    pub(crate) request_id: Option<Uuid>,
    pub(crate) operation_type: Option<String>,
    pub(crate) state: Option<TransactionState>,
    pub(crate) chain_id: Option<i64>,
    pub(crate) signer: Option<String>,
    /// The lowest id.
    pub(crate) from: Option<Uuid>,
    /// Ids below it.
    pub(crate) below: Option<Uuid>,
}

/// A transaction's row.
pub(crate) struct Row {
    pub(crate) id: Uuid,
    pub(crate) tenant_id: Option<Uuid>,
    pub(crate) request_id: Uuid,
    pub(crate) operation_type: String,
    pub(crate) user_id: Option<Uuid>,
    pub(crate) created_by: String,
    pub(crate) correlation_id: String,
    pub(crate) chain_id: i64,
    pub(crate) signer: String,
    pub(crate) to_address: Option<String>,
    pub(crate) value_wei: Amount,
    pub(crate) data: Vec<u8>,
    pub(crate) gas_limit: Option<i64>,
    pub(crate) max_fee_limit: Option<Amount>,
    pub(crate) priority: i16,
    pub(crate) valid_until: Option<OffsetDateTime>,
    pub(crate) valid_until_block: Option<i64>,
    pub(crate) as_of_block_hash: Option<Vec<u8>>,
    pub(crate) state: TransactionState,
    pub(crate) version: i32,
    pub(crate) nonce: Option<i64>,
    pub(crate) end_wanted: Option<TransactionState>,
    pub(crate) end_why: Option<String>,
    pub(crate) speed_up_wanted: Option<String>,
    pub(crate) block_number: Option<i64>,
    pub(crate) block_hash: Option<Vec<u8>>,
    pub(crate) tx_hash: Option<Vec<u8>>,
    pub(crate) attempt: Option<i32>,
    pub(crate) purpose: Option<AttemptPurpose>,
    pub(crate) succeeded: Option<bool>,
    pub(crate) gas_used: Option<Amount>,
    pub(crate) gas_paid_wei: Option<Amount>,
    pub(crate) is_final: bool,
    pub(crate) simulate: Option<bool>,
    pub(crate) revert_code: Option<String>,
    pub(crate) revert_text: Option<String>,
    pub(crate) revert_source: Option<RevertSource>,
    pub(crate) held_why: Option<String>,
    pub(crate) held_at: Option<OffsetDateTime>,
    pub(crate) created_at: OffsetDateTime,
    pub(crate) updated_at: OffsetDateTime,
    /// Whether any switch is: whose it is has to be asked then.
    pub(crate) are_switches_thrown: bool,
}

/// An attempt's row.
pub(crate) struct AttemptRow {
    pub(crate) transaction_id: Uuid,
    pub(crate) nonce: i64,
    pub(crate) attempt: i32,
    pub(crate) purpose: AttemptPurpose,
    pub(crate) tx_hash: Vec<u8>,
    pub(crate) gas_limit: i64,
    pub(crate) max_fee_per_gas: Amount,
    pub(crate) max_priority_fee_per_gas: Option<Amount>,
    pub(crate) why: String,
    pub(crate) committed_at: OffsetDateTime,
}

/// What an endpoint answered last.
pub(crate) struct AnswerRow {
    pub(crate) transaction_id: Uuid,
    pub(crate) tx_hash: Vec<u8>,
    pub(crate) endpoint: String,
    pub(crate) answer: String,
    pub(crate) detail: Option<String>,
    pub(crate) sent_at: OffsetDateTime,
}

/// A signer's row.
pub(crate) struct SignerRow {
    pub(crate) chain_id: i64,
    pub(crate) address: String,
    pub(crate) next_nonce: i64,
    pub(crate) consumed_next: i64,
    pub(crate) rotated_to: Option<String>,
    pub(crate) chain_nonce: Option<i64>,
    pub(crate) seen_at: Option<OffsetDateTime>,
}

/// A lease that is held.
pub(crate) struct LeaseRow {
    pub(crate) name: String,
    pub(crate) holder: String,
    pub(crate) fencing_token: i64,
    pub(crate) expires_at: OffsetDateTime,
}

/// A switch that is thrown.
pub(crate) struct HaltRow {
    pub(crate) tenant_id: Option<Uuid>,
    pub(crate) chain_id: Option<i64>,
    pub(crate) signer: Option<String>,
    pub(crate) reason: String,
    pub(crate) thrown_at: OffsetDateTime,
}

/// The statement for each way in: by the natural key's beginning, or by age.
macro_rules! ids {
    ($conn:ident, $tenant_id:ident, $wanted:ident, $limit:ident, $path:literal) => {
        sqlx::query_scalar!(
            r#"SELECT id AS "id!" FROM (SELECT id, tenant_id, request_id, operation_type, state, chain_id, signer FROM managed_transactions
                              UNION ALL SELECT id, tenant_id, request_id, operation_type, state, chain_id, sender FROM user_transactions) t
               WHERE tenant_id = $1 AND "# + $path + r#" AND ($3::text IS NULL OR operation_type = $3) AND ($4::transaction_state IS NULL OR state = $4)
                 AND ($5::bigint IS NULL OR chain_id = $5) AND ($6::text IS NULL OR signer = $6)
                 AND id >= COALESCE($7::uuid, '00000000-0000-0000-0000-000000000000') AND id < COALESCE($8::uuid, 'ffffffff-ffff-ffff-ffff-ffffffffffff')
               ORDER BY id DESC LIMIT $9"#,
            $tenant_id,
            $wanted.request_id,
            $wanted.operation_type,
            $wanted.state as Option<TransactionState>,
            $wanted.chain_id,
            $wanted.signer,
            $wanted.from,
            $wanted.below,
            $limit,
        )
        .fetch_all($conn)
        .await
    };
}

/// The newest of those that are wanted.
pub(crate) async fn ids(
    conn: &mut PgConnection,
    tenant_id: Uuid,
    wanted: &Wanted,
    limit: i64,
) -> Result<Vec<Uuid>, sqlx::Error> {
    match wanted.request_id {
        Some(_) => ids!(conn, tenant_id, wanted, limit, "request_id = $2"),
        None => ids!(conn, tenant_id, wanted, limit, "$2::uuid IS NULL"),
    }
}

/// Whose attempt has this hash, or what a user signed, on whichever chain.
pub(crate) async fn id_of(conn: &mut PgConnection, tx_hash: &B256) -> Result<Option<Uuid>, sqlx::Error> {
    sqlx::query_scalar!(
        r#"SELECT a.transaction_id AS "transaction_id!" FROM chains c
           CROSS JOIN LATERAL (SELECT transaction_id FROM transaction_attempts WHERE chain_id = c.chain_id AND tx_hash = $1
                               UNION ALL SELECT id FROM user_transactions WHERE chain_id = c.chain_id AND signed_hash = $1) a
           LIMIT 1"#,
        tx_hash.as_slice()
    )
    .fetch_optional(conn)
    .await
}

/// Those of these that are the tenants', or the platform's, which the worker's role alone sees; the newest first.
pub(crate) async fn transactions(
    conn: &mut PgConnection,
    tenants: &[Uuid],
    ids: &[Uuid],
) -> Result<Vec<Row>, sqlx::Error> {
    told!(
        "SELECT ",
        " FROM unnest($2::uuid[]) AS given(id) CROSS JOIN LATERAL (SELECT * FROM managed_transactions t WHERE t.id = given.id LIMIT 1) AS t
           WHERE t.tenant_id = ANY($1) OR t.tenant_id IS NULL ORDER BY t.id DESC",
        tenants,
        ids,
    )
    .fetch_all(conn)
    .await
}

/// The attempts of these, first to last.
pub(crate) async fn attempts(conn: &mut PgConnection, ids: &[Uuid]) -> Result<Vec<AttemptRow>, sqlx::Error> {
    sqlx::query_as!(
        AttemptRow,
        r#"SELECT transaction_id, nonce, attempt, purpose AS "purpose: AttemptPurpose", tx_hash, gas_limit, max_fee_per_gas AS "max_fee_per_gas: Amount",
                  max_priority_fee_per_gas AS "max_priority_fee_per_gas: Amount", why, committed_at
           FROM transaction_attempts WHERE transaction_id = ANY($1) ORDER BY committed_at, nonce, attempt"#,
        ids
    )
    .fetch_all(conn)
    .await
}

/// The last answer of each endpoint to each attempt of these.
pub(crate) async fn answers(conn: &mut PgConnection, ids: &[Uuid]) -> Result<Vec<AnswerRow>, sqlx::Error> {
    sqlx::query_as!(
        AnswerRow,
        "SELECT DISTINCT ON (a.transaction_id, b.tx_hash, b.endpoint) a.transaction_id, b.tx_hash, b.endpoint, b.answer, b.detail, b.sent_at
         FROM transaction_attempts a JOIN transaction_broadcasts b USING (chain_id, tx_hash) WHERE a.transaction_id = ANY($1)
         ORDER BY a.transaction_id, b.tx_hash, b.endpoint, b.id DESC",
        ids
    )
    .fetch_all(conn)
    .await
}

/// These signers, as far as they are known.
pub(crate) async fn signers(
    conn: &mut PgConnection,
    chain_ids: &[i64],
    addresses: &[String],
) -> Result<Vec<SignerRow>, sqlx::Error> {
    sqlx::query_as!(
        SignerRow,
        r#"SELECT s.chain_id, s.address, s.next_nonce, p.consumed_next, s.rotated_to, g.latest AS "chain_nonce?", g.seen_at AS "seen_at?"
           FROM unnest($1::bigint[], $2::text[]) AS given(chain_id, address)
           JOIN signers s ON s.chain_id = given.chain_id AND s.address = given.address
           JOIN signer_progress p ON p.chain_id = s.chain_id AND p.address = s.address
           LEFT JOIN signer_sightings g ON g.chain_id = s.chain_id AND g.address = s.address"#,
        chain_ids,
        addresses
    )
    .fetch_all(conn)
    .await
}

/// What the transactions of tenants are held up by.
pub(crate) async fn halts(conn: &mut PgConnection, tenants: &[Uuid]) -> Result<Vec<HaltRow>, sqlx::Error> {
    sqlx::query_as!(
        HaltRow,
        "SELECT tenant_id, chain_id, signer, reason, thrown_at
         FROM kill_switches WHERE tenant_id IS NULL OR tenant_id = ANY($1) ORDER BY thrown_at, id",
        tenants
    )
    .fetch_all(conn)
    .await
}

/// Those of these leases that somebody holds. The worker's role alone may ask.
pub(crate) async fn leases(pool: &sqlx::PgPool, names: &[String]) -> Result<Vec<LeaseRow>, sqlx::Error> {
    sqlx::query_as!(
        LeaseRow,
        "SELECT name, holder, fencing_token, expires_at FROM leases WHERE name = ANY($1) AND expires_at > clock_timestamp()",
        names
    )
    .fetch_all(pool)
    .await
}

//! What users signed, read as our own transactions are ([`super::read`]), with what was signed as its only attempt: by the app's role, confined to a tenant.

use plimsoll_types::{Amount, AttemptPurpose, RevertSource, TransactionState};
use sqlx::PgConnection;
use uuid::Uuid;

use super::read::{AnswerRow, AttemptRow, Row};

/// Those of these that there are.
pub(crate) async fn transactions(
    conn: &mut PgConnection,
    tenants: &[Uuid],
    ids: &[Uuid],
) -> Result<Vec<Row>, sqlx::Error> {
    sqlx::query_as!(
        Row,
        r#"SELECT id, tenant_id AS "tenant_id?", request_id, operation_type, user_id, created_by, correlation_id, chain_id, sender AS signer, to_address,
                  value_wei AS "value_wei: Amount", data, gas_limit AS "gas_limit?", NULL::numeric AS "max_fee_limit: Amount", 0::smallint AS "priority!",
                  NULL::timestamptz AS valid_until, NULL::bigint AS valid_until_block, NULL::bytea AS as_of_block_hash,
                  state AS "state: TransactionState", version, nonce AS "nonce?", NULL::transaction_state AS "end_wanted: TransactionState", end_why,
                  NULL::text AS speed_up_wanted, block_number, block_hash, tx_hash, CASE WHEN tx_hash = signed_hash THEN 1 END AS attempt,
                  CASE WHEN tx_hash = signed_hash THEN 'send'::attempt_purpose END AS "purpose: AttemptPurpose", succeeded, gas_used AS "gas_used: Amount",
                  gas_paid_wei AS "gas_paid_wei: Amount", is_final, NULL::boolean AS simulate, NULL::text AS revert_code, NULL::text AS revert_text,
                  NULL::revert_source AS "revert_source: RevertSource", NULL::text AS held_why, NULL::timestamptz AS held_at, created_at, updated_at,
                  EXISTS (SELECT FROM kill_switches) AS "are_switches_thrown!"
           FROM user_transactions WHERE tenant_id = ANY($1) AND id = ANY($2)"#,
        tenants,
        ids
    )
    .fetch_all(conn)
    .await
}

/// What was signed of each of these.
pub(crate) async fn attempts(
    conn: &mut PgConnection,
    tenants: &[Uuid],
    ids: &[Uuid],
) -> Result<Vec<AttemptRow>, sqlx::Error> {
    sqlx::query_as!(
        AttemptRow,
        r#"SELECT id AS transaction_id, nonce, 1 AS "attempt!", 'send'::attempt_purpose AS "purpose!: AttemptPurpose", signed_hash AS tx_hash, gas_limit,
                  max_fee_per_gas AS "max_fee_per_gas: Amount", max_priority_fee_per_gas AS "max_priority_fee_per_gas: Amount",
                  'its user signed it so' AS "why!", created_at AS committed_at
           FROM user_transactions WHERE tenant_id = ANY($1) AND id = ANY($2)"#,
        tenants,
        ids
    )
    .fetch_all(conn)
    .await
}

/// What each endpoint answered last to each of these.
pub(crate) async fn answers(
    conn: &mut PgConnection,
    tenants: &[Uuid],
    ids: &[Uuid],
) -> Result<Vec<AnswerRow>, sqlx::Error> {
    sqlx::query_as!(
        AnswerRow,
        "SELECT a.transaction_id, t.signed_hash AS tx_hash, a.endpoint, a.answer, a.detail, a.sent_at
         FROM user_transaction_answers a JOIN user_transactions t ON t.id = a.transaction_id
         WHERE t.tenant_id = ANY($1) AND t.id = ANY($2) ORDER BY a.transaction_id, a.endpoint",
        tenants,
        ids
    )
    .fetch_all(conn)
    .await
}

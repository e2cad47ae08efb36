//! What users signed, read: by the app's role, confined to a tenant.

use plimsoll_types::{Amount, TransactionState};
use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

/// A row.
pub(crate) struct Row {
    pub(crate) id: Uuid,
    pub(crate) request_id: Uuid,
    pub(crate) operation_type: String,
    pub(crate) user_id: Option<Uuid>,
    pub(crate) created_by: String,
    pub(crate) correlation_id: String,
    pub(crate) chain_id: i64,
    pub(crate) sender: String,
    pub(crate) nonce: i64,
    pub(crate) signed_hash: Vec<u8>,
    pub(crate) to_address: Option<String>,
    pub(crate) value_wei: Amount,
    pub(crate) data: Vec<u8>,
    pub(crate) gas_limit: i64,
    pub(crate) max_fee_per_gas: Amount,
    pub(crate) max_priority_fee_per_gas: Option<Amount>,
    pub(crate) state: TransactionState,
    pub(crate) version: i32,
    pub(crate) end_why: Option<String>,
    pub(crate) block_number: Option<i64>,
    pub(crate) block_hash: Option<Vec<u8>>,
    pub(crate) tx_hash: Option<Vec<u8>>,
    pub(crate) succeeded: Option<bool>,
    pub(crate) gas_used: Option<Amount>,
    pub(crate) gas_paid_wei: Option<Amount>,
    pub(crate) is_final: bool,
    pub(crate) created_at: OffsetDateTime,
    pub(crate) updated_at: OffsetDateTime,
}

/// What an endpoint answered last.
pub(crate) struct AnswerRow {
    pub(crate) transaction_id: Uuid,
    pub(crate) endpoint: String,
    pub(crate) answer: String,
    pub(crate) detail: Option<String>,
    pub(crate) sent_at: OffsetDateTime,
}

/// Those of these that there are.
pub(crate) async fn transactions(
    conn: &mut PgConnection,
    tenants: &[Uuid],
    ids: &[Uuid],
) -> Result<Vec<Row>, sqlx::Error> {
    sqlx::query_as!(
        Row,
        r#"SELECT id, request_id, operation_type, user_id, created_by, correlation_id, chain_id, sender, nonce, signed_hash, to_address,
                  value_wei AS "value_wei: Amount", data, gas_limit, max_fee_per_gas AS "max_fee_per_gas: Amount",
                  max_priority_fee_per_gas AS "max_priority_fee_per_gas: Amount", state AS "state: TransactionState", version, end_why, block_number, block_hash,
                  tx_hash, succeeded, gas_used AS "gas_used: Amount", gas_paid_wei AS "gas_paid_wei: Amount", is_final, created_at, updated_at
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
        "SELECT transaction_id, endpoint, answer, detail, sent_at FROM user_transaction_answers
         WHERE tenant_id = ANY($1) AND transaction_id = ANY($2) ORDER BY transaction_id, endpoint",
        tenants,
        ids
    )
    .fetch_all(conn)
    .await
}

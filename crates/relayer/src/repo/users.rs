//! What users signed: put by the app's role, marked as under way by the holder of the chain's courier lease, and given its verdicts by the chain's fold.

use std::time::Duration;

use alloy_primitives::{Address, B256, Bytes};
use plimsoll_types::{Amount, TransactionState, address_text};
use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use super::{Changed, address, hash, keys, to_i64, to_u64};
use crate::users::SignedRequest;

/// What is there under a key, or with the same bytes.
pub(crate) struct Known {
    pub(crate) id: Uuid,
    pub(crate) has_key: bool,
    pub(crate) has_bytes: bool,
}

/// What is to be sent.
pub(crate) struct Due {
    pub(crate) changed: Changed,
    pub(crate) hash: B256,
    pub(crate) raw: Bytes,
    /// It was not sent before.
    pub(crate) is_first: bool,
}

/// What an endpoint answered.
pub(crate) struct Answered {
    pub(crate) transaction_id: Uuid,
    pub(crate) tenant_id: Option<Uuid>,
    pub(crate) endpoint: String,
    pub(crate) answer: &'static str,
    pub(crate) detail: Option<String>,
}

/// Keeps others of the tenant from putting what users signed until the transaction ends, and everybody from putting anything under this request's key: of two with the same key or bytes
/// the second sees the first.
pub(crate) async fn lock(
    conn: &mut PgConnection,
    tenant_id: Uuid,
    request_id: Uuid,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "SELECT pg_advisory_xact_lock(hashtextextended($1, 0))",
        format!("user-transactions/{tenant_id}")
    )
    .execute(&mut *conn)
    .await?;
    keys::hold(conn, request_id).await
}

/// What the tenant has under this key, else with these bytes.
pub(crate) async fn find(
    conn: &mut PgConnection,
    tenant_id: Uuid,
    request_id: Uuid,
    operation_type: &str,
    chain_id: u64,
    hash: &B256,
) -> Result<Option<Known>, sqlx::Error> {
    sqlx::query_as!(
        Known,
        r#"SELECT id AS "id!", has_key AS "has_key!", has_bytes AS "has_bytes!"
           FROM (SELECT id, true AS has_key, false AS has_bytes FROM managed_transactions WHERE tenant_id = $1 AND request_id = $2 AND operation_type = $3
                 UNION ALL
                 SELECT id, request_id = $2 AND operation_type = $3, chain_id = $4 AND signed_hash = $5 FROM user_transactions
                 WHERE tenant_id = $1 AND ((request_id = $2 AND operation_type = $3) OR (chain_id = $4 AND signed_hash = $5))) AS known
           ORDER BY has_key DESC LIMIT 1"#,
        tenant_id,
        request_id,
        operation_type,
        to_i64(chain_id),
        hash.as_slice(),
    )
    .fetch_optional(conn)
    .await
}

/// How many of the tenant's wait for a block.
pub(crate) async fn open(conn: &mut PgConnection, tenant_id: Uuid) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar!(
        r#"SELECT count(*) AS "count!" FROM user_transactions WHERE tenant_id = $1 AND state IN ('pending', 'tracking')"#,
        tenant_id
    )
    .fetch_one(conn)
    .await
}

/// Whether the chain has a journal.
pub(crate) async fn is_followed(conn: &mut PgConnection, chain_id: u64) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar!(
        r#"SELECT EXISTS (SELECT FROM chains WHERE chain_id = $1) AS "exists!""#,
        to_i64(chain_id)
    )
    .fetch_one(conn)
    .await
}

/// Puts one.
pub(crate) async fn insert(
    conn: &mut PgConnection,
    node: &str,
    id: Uuid,
    tenant_id: Uuid,
    request: &SignedRequest,
    checked_block: u64,
) -> Result<Changed, sqlx::Error> {
    let (context, transaction) = (&request.context, &request.transaction);
    let fees = transaction.fees;
    users_changed!(
        r#"INSERT INTO user_transactions AS t (id, tenant_id, request_id, operation_type, user_id, created_by, correlation_id, causation_id, chain_id, sender, nonce,
                                               signed_hash, raw, to_address, value_wei, data, gas_limit, max_fee_per_gas, max_priority_fee_per_gas, checked_block,
                                               accepted_by)
           VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21)"#,
        id,
        tenant_id,
        context.request_id,
        request.operation_type,
        context.user_id,
        context.actor,
        context.correlation_id,
        context.causation_id,
        to_i64(transaction.chain_id),
        address_text(&transaction.sender),
        to_i64(transaction.nonce),
        transaction.tx_hash.as_slice(),
        &transaction.raw[..],
        transaction.call.to.as_ref().map(address_text),
        Amount::from(transaction.call.value) as Amount,
        &transaction.call.data[..],
        to_i64(transaction.gas_limit),
        Amount::from(fees.max_fee_per_gas) as Amount,
        fees.max_priority_fee_per_gas.map(Amount::from) as Option<Amount>,
        to_i64(checked_block),
        node,
    )
    .fetch_one(conn)
    .await
}

/// Senders that nobody watches, each with the block from which on it is wanted: after the block at which its nonce was not used, or after the last final one where that is earlier.
pub(crate) async fn unwatched(
    conn: &mut PgConnection,
    chain_id: u64,
) -> Result<Vec<(Address, u64)>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"SELECT t.sender, LEAST(min(t.checked_block), COALESCE(c.final_number, c.head_number, 0)) + 1 AS "from!"
           FROM user_transactions t JOIN chains c USING (chain_id)
           WHERE t.chain_id = $1 AND t.state IN ('pending', 'tracking') AND t.block_hash IS NULL
             AND NOT EXISTS (SELECT FROM watched_senders w WHERE w.chain_id = t.chain_id AND w.address = t.sender)
           GROUP BY t.sender, c.final_number, c.head_number ORDER BY t.sender"#,
        to_i64(chain_id)
    )
    .fetch_all(conn)
    .await?;
    rows.iter().map(|row| Ok((address(&row.sender)?, to_u64(row.from)?))).collect()
}

/// Takes what is due, and marks it as under way: whose sender is followed, and what no switch holds back. The next time is `pause` later, twice that with each time, and `most` at most.
pub(crate) async fn take(
    conn: &mut PgConnection,
    node: &str,
    chain_id: u64,
    limit: i64,
    pause: Duration,
    most: Duration,
) -> Result<Vec<Due>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"WITH due AS (
               SELECT t.id, t.state FROM user_transactions t
               WHERE t.chain_id = $1 AND t.state IN ('pending', 'tracking') AND t.block_hash IS NULL AND t.not_before <= clock_timestamp()
                 AND EXISTS (SELECT FROM watched_senders w WHERE w.chain_id = t.chain_id AND w.address = t.sender AND w.watched_from IS NOT NULL)
                 AND NOT EXISTS (SELECT FROM kill_switches k WHERE (k.tenant_id IS NULL OR k.tenant_id = t.tenant_id) AND k.signer IS NULL)
               ORDER BY t.not_before, t.id LIMIT $2 FOR UPDATE)
           UPDATE user_transactions t
           SET state = 'tracking', version = t.version + CASE due.state WHEN 'pending' THEN 1 ELSE 0 END, sends = t.sends + 1, worked_by = $3,
               not_before = clock_timestamp() + LEAST($4 * 2 ^ LEAST(t.sends, 20), $5) * interval '1 second', updated_at = clock_timestamp()
           FROM due WHERE t.id = due.id
           RETURNING t.id, t.tenant_id, t.request_id, t.user_id, t.correlation_id, t.version, t.chain_id, t.sender, t.nonce, t.signed_hash, t.raw,
                     due.state = 'pending' AS "is_first!""#,
        to_i64(chain_id),
        limit,
        node,
        pause.as_secs_f64(),
        most.as_secs_f64(),
    )
    .fetch_all(conn)
    .await?;
    let mut due = rows
        .into_iter()
        .map(|row| {
            Ok(Due {
                hash: hash(&row.signed_hash)?,
                raw: row.raw.into(),
                is_first: row.is_first,
                changed: Changed {
                    id: row.id,
                    tenant_id: Some(row.tenant_id),
                    request_id: row.request_id,
                    user_id: row.user_id,
                    correlation_id: row.correlation_id,
                    version: row.version,
                    chain_id: row.chain_id,
                    signer: row.sender,
                    nonce: Some(row.nonce),
                    tx_hash: Some(row.signed_hash),
                    block_number: None,
                    state: TransactionState::Tracking,
                    end_why: None,
                },
            })
        })
        .collect::<Result<Vec<_>, sqlx::Error>>()?;
    // A node that does not keep what waits for a lower nonce gets that one first.
    due.sort_by(|one, other| {
        (&one.changed.signer, one.changed.nonce).cmp(&(&other.changed.signer, other.changed.nonce))
    });
    Ok(due)
}

/// Keeps the last answer of each endpoint.
pub(crate) async fn keep_answers(conn: &mut PgConnection, answers: &[Answered]) -> Result<(), sqlx::Error> {
    let ids: Vec<_> = answers.iter().map(|answer| answer.transaction_id).collect();
    let tenants: Vec<_> = answers.iter().map(|answer| answer.tenant_id).collect();
    let endpoints: Vec<_> = answers.iter().map(|answer| answer.endpoint.clone()).collect();
    let kinds: Vec<_> = answers.iter().map(|answer| answer.answer.to_owned()).collect();
    let details: Vec<_> = answers.iter().map(|answer| answer.detail.clone()).collect();
    sqlx::query!(
        "INSERT INTO user_transaction_answers (transaction_id, tenant_id, endpoint, answer, detail, sent_at)
         SELECT given.*, $6 FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::text[]) AS given
         ON CONFLICT (transaction_id, endpoint) DO UPDATE SET answer = EXCLUDED.answer, detail = EXCLUDED.detail, sent_at = EXCLUDED.sent_at",
        &ids,
        &tenants as &[Option<Uuid>],
        &endpoints,
        &kinds,
        &details as &[Option<String>],
        OffsetDateTime::now_utc(),
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Lets what an endpoint has rest for a while.
pub(crate) async fn rest(conn: &mut PgConnection, ids: &[Uuid], time: Duration) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "UPDATE user_transactions SET not_before = clock_timestamp() + $2 * interval '1 second' WHERE id = ANY($1)",
        ids,
        time.as_secs_f64(),
    )
    .execute(conn)
    .await?;
    Ok(())
}

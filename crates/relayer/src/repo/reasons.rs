//! Why transactions reverted, and what holds those that wait. No state is changed here, so whoever writes this competes with nobody who does.

use plimsoll_types::{Amount, RevertSource, TransactionState};
use sqlx::PgConnection;
use uuid::Uuid;

use super::{Changed, address, hash, to_i64, to_u64};
use crate::inquest::Case;
use crate::reason::Reason;
use crate::request::Call;

/// Transactions of ours that reverted in a block, without a reason yet; the oldest first.
pub(crate) async fn unexplained(
    conn: &mut PgConnection,
    chain_id: u64,
    limit: i64,
) -> Result<Vec<Case>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"SELECT t.id, t.tenant_id, t.signer, t.to_address, t.value_wei AS "value_wei: Amount", t.data, t.block_number AS "block_number!", t.block_hash AS "block_hash!",
                  a.tx_hash, a.gas_limit, t.gas_used AS "gas_used: Amount"
           FROM managed_transactions t JOIN transaction_attempts a ON a.chain_id = t.chain_id AND a.tx_hash = t.tx_hash
           WHERE t.chain_id = $1 AND t.succeeded = false AND t.purpose IN ('send', 'bump') AND t.revert_code IS NULL
           ORDER BY t.id LIMIT $2"#,
        to_i64(chain_id),
        limit,
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|row| {
            Ok(Case {
                id: row.id,
                tenant_id: row.tenant_id,
                sender: address(&row.signer)?,
                call: Call {
                    to: row.to_address.as_deref().map(address).transpose()?,
                    value: row.value_wei.0,
                    data: row.data.into(),
                },
                gas_limit: to_u64(row.gas_limit)?,
                gas_used: row.gas_used,
                tx_hash: hash(&row.tx_hash)?,
                block_number: to_u64(row.block_number)?,
                block_hash: hash(&row.block_hash)?,
            })
        })
        .collect()
}

/// Keeps why a transaction reverted in this block, unless it is there no longer, or somebody told it already.
pub(crate) async fn explain(
    conn: &mut PgConnection,
    case: &Case,
    reason: &Reason,
) -> Result<Option<Changed>, sqlx::Error> {
    let changed = changed!(
        r#"UPDATE managed_transactions t
           SET revert_code = $4, revert_text = $5, revert_source = $6, version = version + 1, updated_at = clock_timestamp(),
               end_why = CASE WHEN state = 'failed' THEN 'it reverted: ' || $5 ELSE end_why END
           WHERE id = $1 AND tx_hash = $2 AND block_hash = $3 AND succeeded = false AND revert_code IS NULL"#,
        case.id,
        case.tx_hash.as_slice(),
        case.block_hash.as_slice(),
        reason.code,
        reason.text,
        reason.source as RevertSource,
    )
    .fetch_optional(&mut *conn)
    .await?;
    if changed.is_some() {
        sqlx::query!(
            "INSERT INTO transaction_reverts (transaction_id, tenant_id, source, tx_hash, block_hash, data, message) VALUES ($1, $2, $3, $4, $5, $6, $7)",
            case.id,
            case.tenant_id,
            reason.source as RevertSource,
            case.tx_hash.as_slice(),
            case.block_hash.as_slice(),
            reason.data.to_vec(),
            reason.message,
        )
        .execute(conn)
        .await?;
    }
    Ok(changed)
}

/// Keeps why these ended before they had a nonce, in the transaction that ended them.
pub(crate) async fn keep(conn: &mut PgConnection, ended: &[(Uuid, &Reason)]) -> Result<(), sqlx::Error> {
    if ended.is_empty() {
        return Ok(());
    }
    let ids: Vec<_> = ended.iter().map(|(id, _)| *id).collect();
    let codes: Vec<_> = ended.iter().map(|(_, reason)| reason.code.clone()).collect();
    let texts: Vec<_> = ended.iter().map(|(_, reason)| reason.text.clone()).collect();
    let sources: Vec<_> = ended.iter().map(|(_, reason)| reason.source).collect();
    let data: Vec<_> = ended.iter().map(|(_, reason)| reason.data.to_vec()).collect();
    let messages: Vec<_> = ended.iter().map(|(_, reason)| reason.message.clone()).collect();
    sqlx::query!(
        "WITH told AS (
             UPDATE managed_transactions t SET revert_code = given.code, revert_text = given.text, revert_source = given.source
             FROM unnest($1::uuid[], $2::text[], $3::text[], $4::revert_source[], $5::bytea[], $6::text[]) AS given(id, code, text, source, data, message)
             WHERE t.id = given.id AND t.state = 'failed' AND t.nonce IS NULL AND t.revert_code IS NULL
             RETURNING t.id, t.tenant_id, given.source, given.data, given.message)
         INSERT INTO transaction_reverts (transaction_id, tenant_id, source, data, message) SELECT id, tenant_id, source, data, message FROM told",
        &ids,
        &codes,
        &texts,
        &sources as &[RevertSource],
        &data,
        &messages,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Keeps why these could not enter the window, when they were looked at last; what changes is written every ten seconds at most.
pub(crate) async fn hold(conn: &mut PgConnection, held: &[(Uuid, String)]) -> Result<(), sqlx::Error> {
    if held.is_empty() {
        return Ok(());
    }
    let ids: Vec<_> = held.iter().map(|(id, _)| *id).collect();
    let whys: Vec<_> = held.iter().map(|(_, why)| why.clone()).collect();
    sqlx::query!(
        "UPDATE managed_transactions t SET held_why = given.why, held_at = clock_timestamp()
         FROM (SELECT t.id, given.why FROM unnest($1::uuid[], $2::text[]) AS given(id, why) JOIN managed_transactions t USING (id)
               WHERE t.state = 'pending' AND (t.held_at IS NULL OR t.held_at < clock_timestamp() - interval '10 seconds' AND t.held_why <> given.why)
               ORDER BY t.id FOR NO KEY UPDATE OF t SKIP LOCKED) AS given
         WHERE t.id = given.id",
        &ids,
        &whys,
    )
    .execute(conn)
    .await?;
    Ok(())
}

//! What the holder of a signer's lease reads and commits.

use alloy_primitives::Bytes;
use plimsoll_types::{Amount, AttemptPurpose, TransactionState, address_text};
use sqlx::PgConnection;
use uuid::Uuid;

use super::{Changed, address, hash, to_i64, to_u64, to_u128};
use crate::attempt::{Attempt, Flight};
use crate::book::Told;
use crate::fees::Fees;
use crate::request::{Call, SignerId};
use crate::state::{CalledOff, Change, Committed, Pending, State, Tracking};

/// Locks the signer's row until the transaction ends: its next nonce.
pub(crate) async fn lock(conn: &mut PgConnection, signer: SignerId) -> Result<u64, sqlx::Error> {
    let next = sqlx::query_scalar!(
        "SELECT next_nonce FROM signers WHERE chain_id = $1 AND address = $2 FOR NO KEY UPDATE",
        to_i64(signer.chain_id),
        address_text(&signer.address),
    )
    .fetch_one(conn)
    .await?;
    to_u64(next)
}

/// Moves the signer on.
pub(crate) async fn advance(
    conn: &mut PgConnection,
    signer: SignerId,
    next_nonce: u64,
    token: i64,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "UPDATE signers SET next_nonce = $3, fencing_token = $4 WHERE chain_id = $1 AND address = $2",
        to_i64(signer.chain_id),
        address_text(&signer.address),
        to_i64(next_nonce),
        token
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Keeps these attempts. Their transactions are theirs already, or will be in the same transaction.
pub(crate) async fn insert_attempts(
    conn: &mut PgConnection,
    signer: SignerId,
    token: i64,
    node: &str,
    attempts: &[Attempt],
) -> Result<(), sqlx::Error> {
    let column = |of: fn(&Attempt) -> i64| attempts.iter().map(of).collect::<Vec<_>>();
    let numbers: Vec<_> = attempts.iter().map(|attempt| attempt.number.cast_signed()).collect();
    let ids: Vec<_> = attempts.iter().map(|attempt| attempt.transaction_id).collect();
    let tenants: Vec<_> = attempts.iter().map(|attempt| attempt.tenant_id).collect();
    let purposes: Vec<_> = attempts.iter().map(|attempt| attempt.purpose).collect();
    let hashes: Vec<_> = attempts.iter().map(|attempt| attempt.tx_hash.to_vec()).collect();
    let raws: Vec<_> = attempts.iter().map(|attempt| attempt.raw.to_vec()).collect();
    let fees: Vec<_> = attempts.iter().map(|attempt| Amount::from(attempt.fees.max_fee_per_gas)).collect();
    let tips: Vec<_> =
        attempts.iter().map(|attempt| attempt.fees.max_priority_fee_per_gas.map(Amount::from)).collect();
    let whys: Vec<_> = attempts.iter().map(|attempt| attempt.why.clone()).collect();
    sqlx::query!(
        "INSERT INTO transaction_attempts (chain_id, signer, fencing_token, signed_by, nonce, attempt, transaction_id, tenant_id, purpose, tx_hash, raw, gas_limit,
                                           max_fee_per_gas, max_priority_fee_per_gas, why)
         SELECT $1, $2, $3, $4, given.*
         FROM unnest($5::bigint[], $6::integer[], $7::uuid[], $8::uuid[], $9::attempt_purpose[], $10::bytea[], $11::bytea[], $12::bigint[], $13::numeric[],
                     $14::numeric[], $15::text[]) AS given",
        to_i64(signer.chain_id),
        address_text(&signer.address),
        token,
        node,
        &column(|attempt| to_i64(attempt.nonce)),
        &numbers,
        &ids,
        &tenants as &[Option<Uuid>],
        &purposes as &[AttemptPurpose],
        &hashes,
        &raws,
        &column(|attempt| to_i64(attempt.gas_limit)),
        &fees as &[Amount],
        &tips as &[Option<Amount>],
        &whys,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Gives requests their nonces. What is not pending, was switched off or called off meanwhile, or whose signer hands over, is not among what comes back; what was handed over comes back as the other's.
pub(crate) async fn enter(
    conn: &mut PgConnection,
    node: &str,
    changes: &[Change<Pending, Tracking>],
) -> Result<Vec<Changed>, sqlx::Error> {
    let ids: Vec<_> = changes.iter().map(|change| change.transaction_id).collect();
    let nonces: Vec<_> =
        changes.iter().map(|Change { because: Committed { nonce }, .. }| to_i64(*nonce)).collect();
    changed!(
        r#"UPDATE managed_transactions t SET state = 'tracking', nonce = given.nonce, version = version + 1, worked_by = $3, updated_at = clock_timestamp()
           FROM unnest($1::uuid[], $2::bigint[]) AS given(id, nonce)
           WHERE t.id = given.id AND t.state = (SELECT 'pending'::transaction_state) AND t.end_wanted IS NULL
             AND NOT EXISTS (SELECT FROM signers s WHERE s.chain_id = t.chain_id AND s.address = t.signer AND s.rotated_to IS NOT NULL)
             AND NOT EXISTS (SELECT FROM kill_switches k WHERE (k.tenant_id IS NULL OR k.tenant_id = t.tenant_id)
                                                           AND (k.signer IS NULL OR (k.chain_id = t.chain_id AND k.signer = t.signer)))"#,
        &ids,
        &nonces,
        node,
    )
    .fetch_all(conn)
    .await
}

/// Ends requests that never had an attempt at the nonce in question.
pub(crate) async fn end<To: State>(
    conn: &mut PgConnection,
    changes: &[Change<Pending, To>],
) -> Result<Vec<Changed>, sqlx::Error>
where
    Pending: crate::state::Becomes<To, Because = CalledOff>,
{
    let ids: Vec<_> = changes.iter().map(|change| change.transaction_id).collect();
    let whys: Vec<_> = changes.iter().map(|change| change.because.why.clone()).collect();
    changed!(
        r#"UPDATE managed_transactions t SET state = $3, end_why = given.why, version = version + 1, updated_at = clock_timestamp()
           FROM unnest($1::uuid[], $2::text[]) AS given(id, why)
           WHERE t.id = given.id AND t.state = (SELECT 'pending'::transaction_state)"#,
        &ids,
        &whys,
        To::STATE as TransactionState,
    )
    .fetch_all(conn)
    .await
}

/// Puts the platform's own transactions, which fill nonces that nothing else has, straight into the window.
pub(crate) async fn insert_fills(
    conn: &mut PgConnection,
    signer: SignerId,
    node: &str,
    fills: &[(Uuid, u64)],
) -> Result<Vec<Changed>, sqlx::Error> {
    let ids: Vec<_> = fills.iter().map(|(id, _)| *id).collect();
    let nonces: Vec<_> = fills.iter().map(|(_, nonce)| to_i64(*nonce)).collect();
    changed!(
        r#"INSERT INTO managed_transactions AS t (id, request_id, operation_type, fingerprint, created_by, correlation_id, chain_id, signer, to_address, value_wei,
                                                  data, state, nonce, accepted_by, worked_by)
           SELECT id, id, 'fill', decode(repeat('00', 32), 'hex'), 'relayer', id::text, $3, $4, $4, 0, '', 'tracking', nonce, $5, $5
           FROM unnest($1::uuid[], $2::bigint[]) AS given(id, nonce)"#,
        &ids,
        &nonces,
        to_i64(signer.chain_id),
        address_text(&signer.address),
        node,
    )
    .fetch_all(conn)
    .await
}

/// Asks, as the worker, for the end of a transaction that is under way, where nobody did yet.
pub(crate) async fn want_end(
    conn: &mut PgConnection,
    id: Uuid,
    end: TransactionState,
    why: &str,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "UPDATE managed_transactions SET end_wanted = $2, end_why = $3, updated_at = clock_timestamp()
         WHERE id = $1 AND state = 'tracking' AND end_wanted IS NULL",
        id,
        end as TransactionState,
        why,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Everything of a signer that has a nonce from `from` on and may still be included, by nonce, each with its attempts' latest.
pub(crate) async fn flights(
    conn: &mut PgConnection,
    signer: SignerId,
    from: u64,
) -> Result<Vec<Flight>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"SELECT t.id, t.tenant_id, t.nonce AS "nonce!", t.to_address, t.value_wei AS "value_wei: Amount", t.data, t.gas_limit AS gas_asked,
                  t.max_fee_limit AS "max_fee_limit: Amount", t.end_wanted AS "end_wanted: TransactionState", t.end_why, t.priority, t.operation_type = 'fill' AS "is_fill!",
                  t.speed_up_by || ' asks for it: ' || t.speed_up_wanted AS speed_up,
                  a.attempt, a.purpose AS "purpose: AttemptPurpose", a.tx_hash, a.raw, a.gas_limit, a.max_fee_per_gas AS "max_fee_per_gas: Amount",
                  a.max_priority_fee_per_gas AS "max_priority_fee_per_gas: Amount", a.why, a.committed_at
           FROM managed_transactions t
           CROSS JOIN LATERAL (SELECT * FROM transaction_attempts a WHERE a.chain_id = t.chain_id AND a.signer = t.signer AND a.nonce = t.nonce
                               ORDER BY a.attempt DESC LIMIT 1) a
           WHERE t.chain_id = $1 AND t.signer = $2 AND t.nonce >= $3 AND t.state = 'tracking' AND t.block_hash IS NULL
           ORDER BY t.nonce"#,
        to_i64(signer.chain_id),
        address_text(&signer.address),
        to_i64(from),
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|row| {
            Ok(Flight {
                call: Call {
                    to: row.to_address.as_deref().map(address).transpose()?,
                    value: row.value_wei.0,
                    data: row.data.into(),
                },
                gas_asked: row.gas_asked.map(to_u64).transpose()?,
                max_fee_limit: row.max_fee_limit.map(to_u128).transpose()?,
                end_wanted: row.end_wanted.map(|end| (end, row.end_why.unwrap_or_default())),
                priority: row.priority,
                speed_up: row.speed_up,
                is_fill: row.is_fill,
                committed_at: row.committed_at,
                latest: Attempt {
                    transaction_id: row.id,
                    tenant_id: row.tenant_id,
                    nonce: to_u64(row.nonce)?,
                    number: row.attempt.cast_unsigned(),
                    purpose: row.purpose,
                    fees: Fees {
                        max_fee_per_gas: to_u128(row.max_fee_per_gas)?,
                        max_priority_fee_per_gas: row.max_priority_fee_per_gas.map(to_u128).transpose()?,
                    },
                    gas_limit: to_u64(row.gas_limit)?,
                    raw: Bytes::from(row.raw),
                    tx_hash: hash(&row.tx_hash)?,
                    why: row.why,
                },
            })
        })
        .collect()
}

/// Which of the nonces from `from` up to and without `to` some request has.
pub(crate) async fn bound(
    conn: &mut PgConnection,
    signer: SignerId,
    from: u64,
    to: u64,
) -> Result<Vec<u64>, sqlx::Error> {
    let nonces = sqlx::query_scalar!(
        r#"SELECT nonce AS "nonce!" FROM managed_transactions WHERE chain_id = $1 AND signer = $2 AND nonce >= $3 AND nonce < $4 ORDER BY nonce"#,
        to_i64(signer.chain_id),
        address_text(&signer.address),
        to_i64(from),
        to_i64(to),
    )
    .fetch_all(conn)
    .await?;
    nonces.into_iter().map(to_u64).collect()
}

/// Keeps what endpoints answered.
pub(crate) async fn insert_broadcasts(
    conn: &mut PgConnection,
    chain_id: u64,
    told: &[Told],
) -> Result<(), sqlx::Error> {
    let hashes: Vec<_> = told.iter().map(|told| told.tx_hash.to_vec()).collect();
    let tenants: Vec<_> = told.iter().map(|told| told.tenant_id).collect();
    let endpoints: Vec<_> = told.iter().map(|told| told.endpoint.clone()).collect();
    let answers: Vec<_> = told.iter().map(|told| told.answer.to_owned()).collect();
    let details: Vec<_> = told.iter().map(|told| told.detail.clone()).collect();
    let times: Vec<_> = told.iter().map(|told| told.sent_at).collect();
    sqlx::query!(
        "INSERT INTO transaction_broadcasts (chain_id, tx_hash, tenant_id, endpoint, answer, detail, sent_at)
         SELECT $1, given.* FROM unnest($2::bytea[], $3::uuid[], $4::text[], $5::text[], $6::text[], $7::timestamptz[]) AS given",
        to_i64(chain_id),
        &hashes,
        &tenants as &[Option<Uuid>],
        &endpoints,
        &answers,
        &details as &[Option<String>],
        &times,
    )
    .execute(conn)
    .await?;
    Ok(())
}

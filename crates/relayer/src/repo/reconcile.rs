//! What is compared with the chain, and what was found: read and written by the worker.

use plimsoll_types::{Amount, address_text};
use sqlx::PgConnection;
use sqlx::types::Json;

use super::{address, hash, to_i64, to_u64};
use crate::overview::Sighting;
use crate::reconcile::{Finding, Flying, Landed, Ours};
use crate::request::SignerId;

/// What changed so lately is passed over, in seconds: it is being sent, or folded.
const FRESH_SECONDS: f64 = 10.0;

/// The signers of a chain.
pub(crate) async fn signers(conn: &mut PgConnection, chain_id: u64) -> Result<Vec<SignerId>, sqlx::Error> {
    let addresses = sqlx::query_scalar!(
        "SELECT address FROM signers WHERE chain_id = $1 ORDER BY name",
        to_i64(chain_id)
    )
    .fetch_all(conn)
    .await?;
    addresses.iter().map(|text| Ok(SignerId { chain_id, address: address(text)? })).collect()
}

/// What the database has of a signer, and at most so many of its requests each.
pub(crate) async fn ours(
    conn: &mut PgConnection,
    signer: SignerId,
    limit: i64,
) -> Result<Option<Ours>, sqlx::Error> {
    let (chain_id, name) = (to_i64(signer.chain_id), address_text(&signer.address));
    // One statement: its snapshot has nonces and requests of one moment.
    let row = sqlx::query!(
        r#"SELECT s.next_nonce, p.consumed_next,
                  ARRAY(SELECT nonce FROM managed_transactions t WHERE t.chain_id = s.chain_id AND t.signer = s.address AND t.nonce >= p.consumed_next
                                                                   AND t.nonce < s.next_nonce) AS "bound!: Vec<i64>",
                  COALESCE((SELECT block_number FROM fold_cursors c WHERE c.chain_id = s.chain_id AND c.fold = $3), 0) AS "folded_to!"
           FROM signers s JOIN signer_progress p USING (chain_id, address) WHERE s.chain_id = $1 AND s.address = $2"#,
        chain_id,
        name,
        crate::fold::FOLD_NAME,
    )
    .fetch_optional(&mut *conn)
    .await?;
    let Some(row) = row else { return Ok(None) };
    let flights = sqlx::query!(
        r#"SELECT t.id, t.nonce AS "nonce!", t.end_wanted IS NOT NULL AND bool_and(a.purpose NOT IN ('cancel', 'fill')) AS "is_to_end!",
                  array_agg(a.tx_hash ORDER BY a.attempt) AS "tx_hashes!"
           FROM managed_transactions t JOIN transaction_attempts a USING (chain_id, signer, nonce)
           WHERE t.chain_id = $1 AND t.signer = $2 AND t.state = 'tracking' AND t.block_hash IS NULL
             AND t.updated_at < clock_timestamp() - make_interval(secs => $4)
           GROUP BY t.id HAVING max(a.committed_at) < clock_timestamp() - make_interval(secs => $4)
           ORDER BY t.nonce LIMIT $3"#,
        chain_id,
        name,
        limit,
        FRESH_SECONDS,
    )
    .fetch_all(&mut *conn)
    .await?;
    let landed = sqlx::query!(
        r#"SELECT id, nonce AS "nonce!", tx_hash AS "tx_hash!", block_hash AS "block_hash!"
           FROM managed_transactions
           WHERE chain_id = $1 AND signer = $2 AND (state = 'mined' OR (state = 'confirmed' AND NOT is_final))
             AND updated_at < clock_timestamp() - make_interval(secs => $4)
           ORDER BY block_number, nonce LIMIT $3"#,
        chain_id,
        name,
        limit,
        FRESH_SECONDS,
    )
    .fetch_all(conn)
    .await?;
    Ok(Some(Ours {
        next_nonce: to_u64(row.next_nonce)?,
        consumed_next: to_u64(row.consumed_next)?,
        bound: row.bound.into_iter().map(to_u64).collect::<Result<_, _>>()?,
        folded_to: to_u64(row.folded_to)?,
        flights: flights
            .into_iter()
            .map(|row| {
                Ok(Flying {
                    transaction_id: row.id,
                    nonce: to_u64(row.nonce)?,
                    tx_hashes: row.tx_hashes.iter().map(|bytes| hash(bytes)).collect::<Result<_, _>>()?,
                    is_to_end: row.is_to_end,
                })
            })
            .collect::<Result<_, sqlx::Error>>()?,
        landed: landed
            .into_iter()
            .map(|row| {
                Ok(Landed {
                    transaction_id: row.id,
                    nonce: to_u64(row.nonce)?,
                    tx_hash: hash(&row.tx_hash)?,
                    block_hash: hash(&row.block_hash)?,
                })
            })
            .collect::<Result<_, sqlx::Error>>()?,
    }))
}

/// What was found the last time.
pub(crate) async fn findings(conn: &mut PgConnection, signer: SignerId) -> Result<Vec<Finding>, sqlx::Error> {
    let findings = sqlx::query_scalar!(
        r#"SELECT findings AS "findings: Json<Vec<Finding>>" FROM signer_sightings WHERE chain_id = $1 AND address = $2"#,
        to_i64(signer.chain_id),
        address_text(&signer.address),
    )
    .fetch_optional(conn)
    .await?;
    Ok(findings.map_or_else(Vec::new, |findings| findings.0))
}

/// Keeps what was seen, by the database's clock.
pub(crate) async fn keep(
    conn: &mut PgConnection,
    signer: SignerId,
    seen: &Sighting,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "INSERT INTO signer_sightings (chain_id, address, latest, pending, balance_wei, needed_wei, answered, endpoints, findings, seen_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, clock_timestamp())
         ON CONFLICT (chain_id, address) DO UPDATE
         SET (latest, pending, balance_wei, needed_wei, answered, endpoints, findings, seen_at)
           = (EXCLUDED.latest, EXCLUDED.pending, EXCLUDED.balance_wei, EXCLUDED.needed_wei, EXCLUDED.answered, EXCLUDED.endpoints, EXCLUDED.findings, EXCLUDED.seen_at)",
        to_i64(signer.chain_id),
        address_text(&signer.address),
        seen.latest.map(to_i64),
        seen.pending.map(to_i64),
        seen.balance_wei.map(Amount::from) as Option<Amount>,
        Amount::from(seen.needed_wei) as Amount,
        seen.answered.cast_signed(),
        seen.endpoints.cast_signed(),
        Json(&seen.findings) as _,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Asks the signer's holder to look again.
pub(crate) async fn ask_to_look(conn: &mut PgConnection, signer: SignerId) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "UPDATE signers SET looks_wanted = looks_wanted + 1 WHERE chain_id = $1 AND address = $2",
        to_i64(signer.chain_id),
        address_text(&signer.address),
    )
    .execute(conn)
    .await?;
    Ok(())
}

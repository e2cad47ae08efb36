//! What a run reads from its database.

use alloy_primitives::B256;
use sqlx::{PgConnection, Row as _};
use time::OffsetDateTime;
use uuid::Uuid;

/// A request, as the relayer has it.
#[derive(Clone, Debug)]
pub(super) struct Managed {
    pub(super) id: Uuid,
    pub(super) tenant_id: Option<Uuid>,
    pub(super) request_id: Uuid,
    pub(super) signer: String,
    pub(super) state: String,
    pub(super) nonce: Option<u64>,
    pub(super) tx_hash: Option<B256>,
    pub(super) block_hash: Option<B256>,
    pub(super) attempt: Option<i32>,
    pub(super) purpose: Option<String>,
    pub(super) succeeded: Option<bool>,
    pub(super) is_final: bool,
    pub(super) end_why: Option<String>,
}

/// What may have left the building.
#[derive(Clone, Debug)]
pub(super) struct Attempt {
    pub(super) transaction_id: Uuid,
    pub(super) nonce: u64,
    pub(super) tx_hash: B256,
    pub(super) raw: Vec<u8>,
    pub(super) purpose: String,
    pub(super) committed_at: OffsetDateTime,
}

fn number(value: i64) -> u64 {
    value.unsigned_abs()
}

fn hash(bytes: Option<Vec<u8>>) -> Option<B256> {
    bytes.and_then(|bytes| B256::try_from(&*bytes).ok())
}

/// How many signers of the chain are followed.
pub(super) async fn watched(conn: &mut PgConnection, chain_id: u64) -> Result<u64, sqlx::Error> {
    let count = "SELECT count(*) FROM signers s JOIN watched_senders w USING (chain_id, address) WHERE chain_id = $1 AND w.watched_from IS NOT NULL";
    sqlx::query_scalar(count).bind(chain_id.cast_signed()).fetch_one(conn).await.map(number)
}

/// A request that has not come to its end for good; none: all have.
pub(super) async fn open(conn: &mut PgConnection) -> Result<Option<String>, sqlx::Error> {
    sqlx::query_scalar(
        "SELECT format('a %s request to end, as %s (nonce %s, %s): %s such', state, id, nonce, end_why, count(*) OVER ())
         FROM managed_transactions WHERE NOT is_final AND (nonce IS NOT NULL OR state IN ('pending', 'tracking', 'mined', 'confirmed'))
         ORDER BY signer, nonce NULLS LAST LIMIT 1",
    )
    .fetch_optional(conn)
    .await
}

/// The first nonce of a signer that no block has used, as the journal has it.
pub(super) async fn consumed_next(
    conn: &mut PgConnection,
    chain_id: u64,
    signer: &str,
) -> Result<u64, sqlx::Error> {
    let next = "SELECT consumed_next FROM signer_progress WHERE chain_id = $1 AND address = $2";
    sqlx::query_scalar(next).bind(chain_id.cast_signed()).bind(signer).fetch_one(conn).await.map(number)
}

/// The first nonce of a signer that no attempt was committed for, and how often its lease was taken.
pub(super) async fn signer(
    conn: &mut PgConnection,
    chain_id: u64,
    signer: &str,
    lease: &str,
) -> Result<(u64, u64), sqlx::Error> {
    let next = "SELECT next_nonce, (SELECT fencing_token FROM leases WHERE name = $3) FROM signers WHERE chain_id = $1 AND address = $2";
    let row = sqlx::query(next).bind(chain_id.cast_signed()).bind(signer).bind(lease).fetch_one(conn).await?;
    Ok((number(row.try_get(0)?), number(row.try_get::<Option<i64>, _>(1)?.unwrap_or(0))))
}

/// All requests, those of the relayer itself too.
pub(super) async fn managed(conn: &mut PgConnection) -> Result<Vec<Managed>, sqlx::Error> {
    let all = "SELECT id, tenant_id, request_id, signer, state::text AS state, nonce, tx_hash, block_hash, attempt, purpose::text AS purpose, succeeded, is_final, end_why
               FROM managed_transactions ORDER BY id";
    let rows = sqlx::query(all).fetch_all(conn).await?;
    rows.iter()
        .map(|row| {
            Ok(Managed {
                id: row.try_get("id")?,
                tenant_id: row.try_get("tenant_id")?,
                request_id: row.try_get("request_id")?,
                signer: row.try_get("signer")?,
                state: row.try_get("state")?,
                nonce: row.try_get::<Option<i64>, _>("nonce")?.map(number),
                tx_hash: hash(row.try_get("tx_hash")?),
                block_hash: hash(row.try_get("block_hash")?),
                attempt: row.try_get("attempt")?,
                purpose: row.try_get("purpose")?,
                succeeded: row.try_get("succeeded")?,
                is_final: row.try_get("is_final")?,
                end_why: row.try_get("end_why")?,
            })
        })
        .collect()
}

/// All attempts.
pub(super) async fn attempts(conn: &mut PgConnection) -> Result<Vec<Attempt>, sqlx::Error> {
    let all = "SELECT transaction_id, nonce, tx_hash, raw, purpose::text AS purpose, committed_at FROM transaction_attempts";
    let rows = sqlx::query(all).fetch_all(conn).await?;
    rows.iter()
        .map(|row| {
            Ok(Attempt {
                transaction_id: row.try_get("transaction_id")?,
                nonce: number(row.try_get("nonce")?),
                tx_hash: hash(row.try_get("tx_hash")?).unwrap_or_default(),
                raw: row.try_get("raw")?,
                purpose: row.try_get("purpose")?,
                committed_at: row.try_get("committed_at")?,
            })
        })
        .collect()
}

/// Who holds a lease.
pub(super) async fn holder(conn: &mut PgConnection, lease: &str) -> Result<String, sqlx::Error> {
    sqlx::query_scalar("SELECT holder FROM leases WHERE name = $1").bind(lease).fetch_one(conn).await
}

/// The number of the block that a request is in, as the relayer knows.
pub(super) async fn block_of(conn: &mut PgConnection, request_id: Uuid) -> Result<Option<u64>, sqlx::Error> {
    let number = "SELECT block_number FROM managed_transactions WHERE request_id = $1";
    let number: Option<i64> = sqlx::query_scalar(number).bind(request_id).fetch_one(conn).await?;
    Ok(number.map(self::number))
}

/// Whether it is told to be confirmed.
pub(super) async fn is_confirmed(conn: &mut PgConnection, request_id: Uuid) -> Result<bool, sqlx::Error> {
    let is = "SELECT state = 'confirmed' FROM managed_transactions WHERE request_id = $1";
    sqlx::query_scalar(is).bind(request_id).fetch_one(conn).await
}

/// When a node had a request first, and whether the process that took it worked it.
#[derive(Clone, Debug)]
pub(super) struct Sent {
    pub(super) request_id: Uuid,
    pub(super) at: OffsetDateTime,
    pub(super) is_worked_where_accepted: bool,
}

/// How many of these are confirmed.
pub(super) async fn confirmed(conn: &mut PgConnection, requests: &[Uuid]) -> Result<usize, sqlx::Error> {
    let count =
        "SELECT count(*) FROM managed_transactions WHERE request_id = ANY($1) AND state = 'confirmed'";
    let count: i64 = sqlx::query_scalar(count).bind(requests).fetch_one(conn).await?;
    Ok(usize::try_from(count).unwrap_or_default())
}

/// When a node took each of these first.
pub(super) async fn sent(conn: &mut PgConnection, requests: &[Uuid]) -> Result<Vec<Sent>, sqlx::Error> {
    let rows = sqlx::query(
        "SELECT t.request_id, min(b.sent_at) AS at, t.accepted_by = t.worked_by AS here
         FROM managed_transactions t JOIN transaction_attempts a ON a.transaction_id = t.id JOIN transaction_broadcasts b ON b.chain_id = a.chain_id AND b.tx_hash = a.tx_hash
         WHERE t.request_id = ANY($1) AND b.answer IN ('accepted', 'already_known') GROUP BY t.id",
    )
    .bind(requests)
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|row| {
            Ok(Sent {
                request_id: row.try_get("request_id")?,
                at: row.try_get("at")?,
                is_worked_where_accepted: row.try_get("here")?,
            })
        })
        .collect()
}

//! What a tenant had a signer do, counted.

use plimsoll_types::{Amount, address_text};
use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use super::{to_i64, to_u64};
use crate::grant::Spending;
use crate::request::SignerId;

/// What transactions carry and cost, as far as that is known.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spent {
    pub(crate) spending: Spending,
    /// Transactions of which it is not known what their gas may cost: they count for nothing in the above.
    pub(crate) unbounded: u64,
}

/// The smallest id that is made at or after this time (UUIDv7: milliseconds first).
pub(crate) fn first_id_of(time: OffsetDateTime) -> Uuid {
    let millis = u64::try_from(time.unix_timestamp_nanos() / 1_000_000).unwrap_or(0);
    uuid::Builder::from_unix_timestamp_millis(millis, &[0; 10]).into_uuid()
}

/// Keeps others from counting for this tenant and signer until the transaction ends: of two requests the second sees the first.
pub(crate) async fn lock(
    conn: &mut PgConnection,
    tenant_id: Uuid,
    signer: SignerId,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "SELECT pg_advisory_xact_lock(hashtextextended($1, 0))",
        format!("spending/{tenant_id}/{signer}")
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// What the tenant's transactions of this signer, accepted since then, carry and cost: what did, and of what is open what may at most. What ended without an effect carries nothing,
/// and costs what its gas did. `cap`: the most that the signer pays for a unit of gas, in wei.
pub(crate) async fn spent(
    conn: &mut PgConnection,
    tenant_id: Uuid,
    signer: SignerId,
    since: OffsetDateTime,
    cap: u128,
) -> Result<Spent, sqlx::Error> {
    // No sum is told that is no U256: what is larger is above every limit anyway.
    let row = sqlx::query!(
        r#"WITH day AS (
               SELECT t.value_wei, t.state IN ('failed', 'replaced', 'cancelled', 'expired') AS is_nothing, t.attempt, t.gas_paid_wei,
                      GREATEST(t.gas_limit, (SELECT max(a.gas_limit) FROM transaction_attempts a WHERE a.transaction_id = t.id)) * LEAST(t.max_fee_limit, $5::numeric) AS bound
               FROM managed_transactions t
               WHERE t.tenant_id = $1 AND t.id >= $4 AND t.chain_id = $2 AND t.signer = $3
           ), each AS (
               SELECT CASE WHEN is_nothing THEN 0 ELSE value_wei END AS value_wei,
                      CASE WHEN attempt IS NULL AND is_nothing THEN 0 WHEN attempt IS NOT NULL THEN COALESCE(gas_paid_wei, bound) ELSE bound END AS gas_wei
               FROM day
           )
           SELECT LEAST(COALESCE(sum(value_wei), 0), 2::numeric ^ 256 - 1)::numeric(78,0) AS "value_wei!: Amount",
                  LEAST(COALESCE(sum(gas_wei), 0), 2::numeric ^ 256 - 1)::numeric(78,0) AS "gas_wei!: Amount",
                  count(*) FILTER (WHERE gas_wei IS NULL) AS "unbounded!"
           FROM each"#,
        tenant_id,
        to_i64(signer.chain_id),
        address_text(&signer.address),
        first_id_of(since),
        Amount::from(cap) as Amount,
    )
    .fetch_one(conn)
    .await?;
    Ok(Spent {
        spending: Spending { value_wei: row.value_wei.0, gas_wei: row.gas_wei.0 },
        unbounded: to_u64(row.unbounded)?,
    })
}

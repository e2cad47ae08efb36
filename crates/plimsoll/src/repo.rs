//! The binary's own SQL: what the configuration says about tenants, and the status that operators look at.
//!
//! Everything runs as the worker. The tenants' rows are written in one transaction at start, so that no fold ever attributes
//! by half a configuration; two processes that start at once write the same rows one after the other ([`begin_alone`]).

use plimsoll_store::{Db, Tx};
use plimsoll_types::{BlockState, address_text};
use serde::Serialize;
use serde_json::Value;
use sqlx::{PgConnection, PgPool};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::config::Chain;

/// A transaction in which one process at a time puts what its configuration says. Of two that insert the same new tenant at once, `ON CONFLICT` saves
/// neither: it knows of one unique index, the tenant's id, and the tenant's name is in another.
pub(crate) async fn begin_alone(db: &Db) -> sqlx::Result<Tx> {
    let mut tx = db.begin_worker().await?;
    sqlx::query!("SELECT pg_advisory_xact_lock(hashtextextended('plimsoll.put_tenants', 0))")
        .execute(&mut *tx)
        .await?;
    Ok(tx)
}

/// How far a chain's journal is, and its nodes as its writer hears of them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct JournalMark {
    pub(crate) head_number: Option<u64>,
    pub(crate) node_head_number: Option<u64>,
    pub(crate) node_head_age_seconds: Option<f64>,
    pub(crate) is_halted: bool,
}

/// How far a chain's journal is; none where it has not begun.
pub(crate) async fn journal_mark(pool: &PgPool, chain_id: u64) -> sqlx::Result<Option<JournalMark>> {
    let row = sqlx::query!(
        r#"SELECT head_number, rpc_head_number, EXTRACT(EPOCH FROM clock_timestamp() - rpc_head_at)::float8 AS age, state = 'halted' AS "is_halted!"
           FROM chains WHERE chain_id = $1"#,
        i64::try_from(chain_id).unwrap_or(i64::MAX)
    )
    .fetch_optional(pool)
    .await?;
    let unsigned = |number: Option<i64>| number.and_then(|number| u64::try_from(number).ok());
    Ok(row.map(|row| JournalMark {
        head_number: unsigned(row.head_number),
        node_head_number: unsigned(row.rpc_head_number),
        node_head_age_seconds: row.age,
        is_halted: row.is_halted,
    }))
}

/// Writes a tenant, or its new name.
pub(crate) async fn put_tenant(conn: &mut PgConnection, tenant_id: Uuid, name: &str) -> sqlx::Result<()> {
    sqlx::query!(
        "INSERT INTO tenants (tenant_id, name) VALUES ($1, $2)
         ON CONFLICT (tenant_id) DO UPDATE SET name = EXCLUDED.name WHERE tenants.name <> EXCLUDED.name",
        tenant_id,
        name
    )
    .execute(conn)
    .await
    .map(drop)
}

/// Makes sure that a tenant which the configuration knows by its id alone has a row; one with a name keeps it.
pub(crate) async fn ensure_tenant(conn: &mut PgConnection, tenant_id: Uuid) -> sqlx::Result<()> {
    sqlx::query!(
        "INSERT INTO tenants (tenant_id, name) VALUES ($1, $2) ON CONFLICT (tenant_id) DO NOTHING",
        tenant_id,
        tenant_id.to_string()
    )
    .execute(conn)
    .await
    .map(drop)
}

/// Makes `tenant_contracts` say of this chain what the configuration says.
pub(crate) async fn put_contracts(conn: &mut PgConnection, chain: &Chain) -> sqlx::Result<()> {
    let chain_id = to_i64(chain.chain_id);
    let mut contracts: Vec<_> = chain.contracts.iter().map(|c| (address_text(&c.address), c)).collect();
    contracts.sort_by(|a, b| a.0.cmp(&b.0));
    let addresses: Vec<String> = contracts.iter().map(|(address, _)| address.clone()).collect();
    sqlx::query!(
        "DELETE FROM tenant_contracts WHERE chain_id = $1 AND NOT address = ANY ($2)",
        chain_id,
        &addresses
    )
    .execute(&mut *conn)
    .await?;
    for (address, contract) in contracts {
        sqlx::query!(
            "INSERT INTO tenant_contracts (tenant_id, chain_id, address, name, start_block, abi_digest) VALUES ($1, $2, $3, $4, $5, $6)
             ON CONFLICT (chain_id, address) DO UPDATE SET tenant_id = EXCLUDED.tenant_id, name = EXCLUDED.name,
                 start_block = EXCLUDED.start_block, abi_digest = EXCLUDED.abi_digest, updated_at = now()
             WHERE (tenant_contracts.tenant_id, tenant_contracts.name, tenant_contracts.start_block, tenant_contracts.abi_digest)
                 IS DISTINCT FROM (EXCLUDED.tenant_id, EXCLUDED.name, EXCLUDED.start_block, EXCLUDED.abi_digest)",
            contract.tenant_id,
            chain_id,
            address,
            contract.name,
            to_i64(contract.start_block),
            contract.abi_digest.as_slice()
        )
        .execute(&mut *conn)
        .await?;
    }
    Ok(())
}

/// A fold, as an operator wants to see it.
#[derive(Debug, Serialize)]
pub(crate) struct FoldStatus {
    pub(crate) fold: String,
    pub(crate) chain_id: i64,
    pub(crate) state: String,
    pub(crate) seq: i64,
    /// The journal's last record.
    pub(crate) journal_seq: Option<i64>,
    pub(crate) block_number: Option<i64>,
    pub(crate) stop: Option<Value>,
    #[serde(with = "time::serde::rfc3339")]
    pub(crate) updated_at: OffsetDateTime,
}

/// Every fold, or those of one chain.
pub(crate) async fn folds(pool: &PgPool, chain_id: Option<i64>) -> sqlx::Result<Vec<FoldStatus>> {
    sqlx::query_as!(
        FoldStatus,
        r#"SELECT f.fold, f.chain_id, f.state::text AS "state!", f.seq, c.next_seq - 1 AS journal_seq, f.block_number, f.stop, f.updated_at
           FROM fold_cursors f LEFT JOIN chains c USING (chain_id)
           WHERE $1::bigint IS NULL OR f.chain_id = $1 ORDER BY f.chain_id, f.fold"#,
        chain_id
    )
    .fetch_all(pool)
    .await
}

/// A chain, as an operator wants to see it.
#[derive(Debug, Serialize)]
pub(crate) struct ChainStatus {
    pub(crate) chain_id: i64,
    pub(crate) name: String,
    pub(crate) state: String,
    pub(crate) halt: Option<Value>,
    pub(crate) head_number: Option<i64>,
    pub(crate) head_hash: Option<String>,
    pub(crate) confirmed_number: Option<i64>,
    pub(crate) final_number: Option<i64>,
    pub(crate) final_hash: Option<String>,
    pub(crate) rpc_head_number: Option<i64>,
    pub(crate) journal_seq: i64,
    #[serde(with = "time::serde::rfc3339")]
    pub(crate) updated_at: OffsetDateTime,
}

impl ChainStatus {
    /// Blocks that are announced as final and not in the journal yet: it is being backfilled.
    pub(crate) fn missing_blocks(&self) -> Option<i64> {
        let missing = self.final_number? - self.head_number.unwrap_or(-1);
        (missing > 0).then_some(missing)
    }
}

/// Every chain, or one.
pub(crate) async fn chains(pool: &PgPool, chain_id: Option<i64>) -> sqlx::Result<Vec<ChainStatus>> {
    sqlx::query_as!(
        ChainStatus,
        r#"SELECT c.chain_id, c.name, c.state::text AS "state!", c.halt, c.head_number, '0x' || encode(c.head_hash, 'hex') AS head_hash,
                  c.confirmed_number, c.final_number,
                  (SELECT '0x' || encode(b.hash, 'hex') FROM chain_blocks b
                   WHERE b.chain_id = c.chain_id AND b.number = c.final_number AND b.state = $2) AS final_hash,
                  c.rpc_head_number, c.next_seq - 1 AS "journal_seq!", c.updated_at
           FROM chains c WHERE $1::bigint IS NULL OR c.chain_id = $1 ORDER BY c.chain_id"#,
        chain_id,
        BlockState::Final as BlockState
    )
    .fetch_all(pool)
    .await
}

/// The hash, as `0x…`, of the last final block of a chain, or of its last confirmed one; none while there is none.
pub(crate) async fn marked_hash(
    pool: &PgPool,
    chain_id: i64,
    is_final: bool,
) -> sqlx::Result<Option<String>> {
    sqlx::query_scalar!(
        r#"SELECT '0x' || encode(b.hash, 'hex') AS "hash!"
           FROM chains c JOIN chain_blocks b
             ON b.chain_id = c.chain_id AND b.number = CASE WHEN $2 THEN c.final_number ELSE c.confirmed_number END
           WHERE c.chain_id = $1 AND b.state <> $3"#,
        chain_id,
        is_final,
        BlockState::Orphaned as BlockState
    )
    .fetch_optional(pool)
    .await
}

/// Whether somebody holds this lease.
pub(crate) async fn is_held(pool: &PgPool, lease: &str) -> sqlx::Result<bool> {
    sqlx::query_scalar!(
        r#"SELECT EXISTS (SELECT FROM leases WHERE name = $1 AND expires_at > clock_timestamp()) AS "is_held!""#,
        lease
    )
    .fetch_one(pool)
    .await
}

/// The chains' ids and the schema's limits keep these below 2^53.
pub(crate) fn to_i64(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn processes_that_start_at_once_put_a_new_tenant_each_without_being_told_that_it_is_taken() {
        let db = plimsoll_store::testing::db().await;
        for round in 1..=50 {
            let (tenant_id, name) = (Uuid::from_u128(round), format!("tenant {round}"));
            let put = || async {
                let mut tx = begin_alone(&db).await?;
                put_tenant(&mut tx, tenant_id, &name).await?;
                tx.commit().await
            };
            let ended = tokio::join!(put(), put(), put(), put());
            assert!(matches!(ended, (Ok(()), Ok(()), Ok(()), Ok(()))), "round {round}: {ended:?}");
        }
    }
}

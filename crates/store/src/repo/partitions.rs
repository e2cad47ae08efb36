//! Partitions: made when a writer needs them, dropped when a policy says so.

use sqlx::{AssertSqlSafe, PgConnection, PgPool};

use crate::urls::SCHEMA;

/// Makes the partition of `parent` that holds (chain, point) if it is missing. Returns its exclusive upper bound.
///
/// Two sessions that find it missing at the same moment: the second may look for it in a catalogue cache that does not know it yet,
/// and is told `duplicate_table`. It exists then, and asking again finds it.
pub(crate) async fn ensure(
    pool: &PgPool,
    parent: &str,
    chain_id: i64,
    point: i64,
) -> Result<i64, sqlx::Error> {
    const DUPLICATE_TABLE: &str = "42P07";
    let ask = || {
        sqlx::query_scalar!(r#"SELECT ensure_partition($1, $2, $3) AS "upper!""#, parent, chain_id, point)
            .fetch_one(pool)
    };
    match ask().await {
        Err(error) if crate::roles::sql_state(&error).as_deref() == Some(DUPLICATE_TABLE) => ask().await,
        answer => answer,
    }
}

/// A partition with nothing in it that its policy still wants.
#[derive(Debug)]
pub(crate) struct Expired {
    pub(crate) parent: String,
    pub(crate) child: String,
    /// Detaching was begun and not finished.
    pub(crate) is_pending: bool,
    /// Already detached: only the table is left.
    pub(crate) is_detached: bool,
    /// Its rows are hash-linked to those that are left.
    pub(crate) is_linked: bool,
    /// The first number or block after it.
    pub(crate) upper: i64,
}

/// What may be dropped now. A partition is old when the first block or record *after* it is older than the retention, so that all of
/// it is; and it is done with when every fold or reader has passed it, and its blocks are final.
pub(crate) async fn expired(conn: &mut PgConnection) -> Result<Vec<Expired>, sqlx::Error> {
    sqlx::query_as!(
        Expired,
        r#"
        WITH children AS (
            SELECT policy.parent, policy.unit, policy.retention, child.relname::text AS child,
                   COALESCE(link.inhdetachpending, false) AS is_pending, link.inhrelid IS NULL AS is_detached,
                   bound[1]::bigint AS chain_id, bound[2]::bigint + policy.width AS upper
            FROM partition_policies policy
            JOIN pg_class child ON child.relnamespace = 'plimsoll'::regnamespace AND child.relkind = 'r'
            CROSS JOIN LATERAL regexp_match(child.relname, '^' || policy.parent || '_(\d+)_(\d+)$') AS bound
            LEFT JOIN pg_inherits link ON link.inhrelid = child.oid
            WHERE policy.retention IS NOT NULL AND bound IS NOT NULL AND policy.unit <> 'sequence'
        ), streams AS (
            SELECT policy.parent, policy.retention, child.relname::text AS child,
                   COALESCE(link.inhdetachpending, false) AS is_pending, link.inhrelid IS NULL AS is_detached,
                   bound[1]::bigint + policy.width AS upper,
                   EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = child.oid AND a.attname = 'prev_hash') AS is_linked
            FROM partition_policies policy
            JOIN pg_class child ON child.relnamespace = 'plimsoll'::regnamespace AND child.relkind = 'r'
            CROSS JOIN LATERAL regexp_match(child.relname, '^' || policy.parent || '_(\d+)$') AS bound
            LEFT JOIN pg_inherits link ON link.inhrelid = child.oid
            WHERE policy.retention IS NOT NULL AND bound IS NOT NULL AND policy.unit = 'sequence'
        ), heads AS (
            SELECT b.chain_id, b.time FROM chain_blocks b JOIN chains c ON (b.chain_id, b.number, b.hash) = (c.chain_id, c.head_number, c.head_hash)
        )
        SELECT parent AS "parent!", child AS "child!", is_pending AS "is_pending!", is_detached AS "is_detached!", is_linked AS "is_linked!",
               upper AS "upper!"
        FROM (
        SELECT parent, child, is_pending, is_detached, false AS is_linked, chain_id, upper
        FROM children
        JOIN chains USING (chain_id)
        LEFT JOIN heads AS head USING (chain_id)
        WHERE CASE unit
                WHEN 'blocks' THEN
                    COALESCE(chains.final_number, -1) >= upper
                    AND NOT EXISTS (SELECT FROM fold_cursors c WHERE c.chain_id = children.chain_id AND COALESCE(c.block_number, -1) < upper)
                    AND (SELECT b.time FROM chain_blocks b WHERE b.chain_id = children.chain_id AND b.number >= upper
                         ORDER BY b.number LIMIT 1) < LEAST(now(), head.time) - retention
                ELSE
                    NOT EXISTS (SELECT FROM fold_cursors c WHERE c.chain_id = children.chain_id AND c.seq < upper)
                    AND NOT EXISTS (SELECT FROM fold_undo u WHERE u.chain_id = children.chain_id AND u.seq < upper)
                    AND (SELECT j.recorded_at FROM journal j WHERE j.chain_id = children.chain_id AND j.seq >= upper
                         ORDER BY j.seq LIMIT 1) < LEAST(now(), head.time) - retention
              END
        UNION ALL
        SELECT parent, child, is_pending, is_detached, is_linked, 0, upper
        FROM streams
        WHERE NOT EXISTS (SELECT FROM outbox_cursors c WHERE c.stream = streams.parent AND c.sequence < upper - 1)
          AND stream_is_older(parent, upper, retention + GREATEST(now() - (SELECT max(time) FROM heads), interval '0'))
        ) AS expired
        ORDER BY parent, chain_id, upper"#
    )
    .fetch_all(conn)
    .await
}

/// Puts the last row that is about to go on record: those after it link to its hash.
pub(crate) async fn note_checkpoint(conn: &mut PgConnection, expired: &Expired) -> Result<(), sqlx::Error> {
    let statement = format!(
        "INSERT INTO {SCHEMA}.stream_checkpoints (stream, sequence, hash)
         SELECT '{0}', sequence, hash FROM {SCHEMA}.\"{0}\" WHERE sequence < {1} ORDER BY sequence DESC LIMIT 1
         ON CONFLICT DO NOTHING",
        expired.parent, expired.upper
    );
    sqlx::raw_sql(AssertSqlSafe(statement)).execute(conn).await.map(drop)
}

/// Keeps the rows of `parent` for so many days.
pub(crate) async fn set_retention(
    conn: &mut PgConnection,
    parent: &str,
    days: i32,
) -> Result<bool, sqlx::Error> {
    let result = sqlx::query!(
        "UPDATE partition_policies SET retention = make_interval(days => $2) WHERE parent = $1",
        parent,
        days
    )
    .execute(conn)
    .await?;
    Ok(result.rows_affected() == 1)
}

/// Detaches without stopping readers or writers of the other partitions. Cannot run inside a transaction.
pub(crate) async fn detach(conn: &mut PgConnection, expired: &Expired) -> Result<(), sqlx::Error> {
    let how = if expired.is_pending { "FINALIZE" } else { "CONCURRENTLY" };
    let statement = format!(
        "ALTER TABLE {SCHEMA}.\"{}\" DETACH PARTITION {SCHEMA}.\"{}\" {how}",
        expired.parent, expired.child
    );
    sqlx::raw_sql(AssertSqlSafe(statement)).execute(conn).await.map(drop)
}

/// Drops a partition that is detached.
pub(crate) async fn drop_detached(conn: &mut PgConnection, child: &str) -> Result<(), sqlx::Error> {
    sqlx::raw_sql(AssertSqlSafe(format!("DROP TABLE {SCHEMA}.\"{child}\""))).execute(conn).await.map(drop)
}

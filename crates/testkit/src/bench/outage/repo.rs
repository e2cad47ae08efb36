//! What is there of the writes, once the load is over.

use sqlx::PgConnection;

/// A write, as the database has it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kept {
    /// The client's number of it.
    pub(super) number: i64,
    /// How often it is there.
    pub(super) times: u64,
    /// How many entries of the audit are about it.
    pub(super) recorded: u64,
}

/// Every write that is there.
pub(super) async fn kept(conn: &mut PgConnection) -> Result<Vec<Kept>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"SELECT (approval.body->>'number')::bigint AS "number!", count(DISTINCT approval.approval_id) AS "times!",
                  count(entry.target_id) AS "recorded!"
           FROM approvals approval
           LEFT JOIN (SELECT target_id FROM audit_log WHERE action = 'identity.approval.request'
                      UNION ALL
                      SELECT target_id FROM audit_staging WHERE action = 'identity.approval.request') entry
                  ON entry.target_id = approval.approval_id::text
           GROUP BY 1"#
    )
    .fetch_all(conn)
    .await?;
    let kept = |number, times: i64, recorded: i64| Kept {
        number,
        times: times.unsigned_abs(),
        recorded: recorded.unsigned_abs(),
    };
    Ok(rows.into_iter().map(|row| kept(row.number, row.times, row.recorded)).collect())
}

/// Entries of the audit about writes that are not there.
pub(super) async fn recorded_of_nothing(conn: &mut PgConnection) -> Result<u64, sqlx::Error> {
    let count = sqlx::query_scalar!(
        r#"SELECT count(*) AS "count!"
           FROM (SELECT target_id FROM audit_log WHERE action = 'identity.approval.request'
                 UNION ALL
                 SELECT target_id FROM audit_staging WHERE action = 'identity.approval.request') entry
           WHERE NOT EXISTS (SELECT FROM approvals WHERE approval_id::text = entry.target_id)"#
    )
    .fetch_one(conn)
    .await?;
    Ok(count.unsigned_abs())
}

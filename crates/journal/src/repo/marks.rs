//! The marks of blocks: `confirm`, its retraction, and `finalize`.

use std::collections::HashSet;

use plimsoll_types::JournalKind;
use sqlx::PgConnection;

use super::read::{Row, records, rows_at};
use super::to_i64;
use crate::fold::FoldError;
use crate::record::Record;

/// The journal's last record; `None` without a journal.
pub(crate) async fn end(conn: &mut PgConnection, chain_id: u64) -> Result<Option<i64>, sqlx::Error> {
    // An id beyond the column's range is of no chain.
    let Ok(chain_id) = i64::try_from(chain_id) else { return Ok(None) };
    sqlx::query_scalar!(r#"SELECT next_seq - 1 AS "end!" FROM chains WHERE chain_id = $1"#, chain_id)
        .fetch_optional(conn)
        .await
}

/// The marks after `after`, among the first `limit` records up to `through` that may be one, oldest first; and up to where that is all of them.
pub(crate) async fn marks(
    conn: &mut PgConnection,
    chain_id: u64,
    after: i64,
    through: i64,
    limit: usize,
) -> Result<(Vec<Record>, i64), FoldError> {
    let mut rows = sqlx::query_as!(
        Row,
        r#"SELECT seq, kind AS "kind: JournalKind", block_number, ref AS reference FROM journal
           WHERE chain_id = $1 AND seq > $2 AND seq <= $3 AND kind IN ('confirm', 'finalize', 'retract')
           ORDER BY seq LIMIT $4"#,
        to_i64(chain_id),
        after,
        through,
        i64::try_from(limit).unwrap_or(i64::MAX)
    )
    .fetch_all(&mut *conn)
    .await?;
    let through = rows.last().filter(|_| rows.len() == limit).map_or(through, |last| last.seq);
    let taken: Vec<_> =
        rows.iter().filter(|row| row.kind == JournalKind::Retract).map(|row| row.reference).collect();
    if !taken.is_empty() {
        let found = rows_at(conn, chain_id, &taken).await?;
        let confirmed: HashSet<_> =
            found.into_iter().filter(|row| row.kind == JournalKind::Confirm).map(|row| row.seq).collect();
        rows.retain(|row| row.kind != JournalKind::Retract || confirmed.contains(&row.reference));
    }
    Ok((records(conn, chain_id, &rows).await?, through))
}

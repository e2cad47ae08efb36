//! Fold cursors, undo stacks and skips.

use serde_json::Value;
use sqlx::PgConnection;
use sqlx::types::Json;

use super::{to_i64, to_u64};
use crate::beneath::Oldest;

/// A fold's cursor, locked until the transaction ends.
#[derive(Clone, Debug)]
pub(crate) struct Cursor {
    pub(crate) seq: i64,
    pub(crate) final_number: Option<u64>,
    pub(crate) block_number: Option<i64>,
    pub(crate) block_hash: Option<Vec<u8>>,
    pub(crate) stopped: bool,
}

pub(crate) async fn lock(conn: &mut PgConnection, fold: &str, chain_id: u64) -> Result<Cursor, sqlx::Error> {
    sqlx::query!(
        "INSERT INTO fold_cursors (fold, chain_id) VALUES ($1, $2) ON CONFLICT (fold, chain_id) DO NOTHING",
        fold,
        to_i64(chain_id)
    )
    .execute(&mut *conn)
    .await?;
    let row = sqlx::query!(
        r#"SELECT seq, final_number, block_number, block_hash, state = 'stopped' AS "stopped!" FROM fold_cursors
           WHERE fold = $1 AND chain_id = $2 FOR UPDATE"#,
        fold,
        to_i64(chain_id)
    )
    .fetch_one(conn)
    .await?;
    Ok(Cursor {
        seq: row.seq,
        final_number: u64::try_from(row.final_number).ok(),
        block_number: row.block_number,
        block_hash: row.block_hash,
        stopped: row.stopped,
    })
}

pub(crate) async fn advance(
    conn: &mut PgConnection,
    fold: &str,
    chain_id: u64,
    cursor: &Cursor,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "UPDATE fold_cursors SET seq = $3, final_number = $4, block_number = $5, block_hash = $6, updated_at = now()
         WHERE fold = $1 AND chain_id = $2",
        fold,
        to_i64(chain_id),
        cursor.seq,
        cursor.final_number.map_or(-1, to_i64),
        cursor.block_number,
        cursor.block_hash
    )
    .execute(conn)
    .await?;
    Ok(())
}

pub(crate) async fn position(conn: &mut PgConnection, fold: &str, chain_id: u64) -> Result<i64, sqlx::Error> {
    let seq = sqlx::query_scalar!(
        "SELECT seq FROM fold_cursors WHERE fold = $1 AND chain_id = $2",
        fold,
        to_i64(chain_id)
    )
    .fetch_optional(conn)
    .await?;
    Ok(seq.unwrap_or(0))
}

pub(crate) async fn journal_end(conn: &mut PgConnection, chain_id: u64) -> Result<i64, sqlx::Error> {
    let next = sqlx::query_scalar!("SELECT next_seq FROM chains WHERE chain_id = $1", to_i64(chain_id))
        .fetch_optional(conn)
        .await?;
    Ok(next.map_or(0, |next| next - 1))
}

/// How far a journal has come.
pub(crate) struct Marks {
    pub(crate) start_block: u64,
    pub(crate) head: Option<u64>,
    pub(crate) final_number: Option<u64>,
}

pub(crate) async fn marks(conn: &mut PgConnection, chain_id: u64) -> Result<Option<Marks>, sqlx::Error> {
    let row = sqlx::query!(
        "SELECT start_block, head_number, final_number FROM chains WHERE chain_id = $1",
        to_i64(chain_id)
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| Marks {
        start_block: to_u64(row.start_block),
        head: row.head_number.map(to_u64),
        final_number: row.final_number.map(to_u64),
    }))
}

pub(crate) async fn stop(
    conn: &mut PgConnection,
    fold: &str,
    chain_id: u64,
    why: &Value,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "INSERT INTO fold_cursors (fold, chain_id, state, stop) VALUES ($1, $2, 'stopped', $3)
         ON CONFLICT (fold, chain_id) DO UPDATE SET state = 'stopped', stop = EXCLUDED.stop, updated_at = now()",
        fold,
        to_i64(chain_id),
        why
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Whether a fold has stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stopped {
    No,
    /// On this record, when it was one record's fault.
    At(Option<i64>),
}

/// Where a fold has stopped; its cursor is locked until the transaction ends. `None`: there is no such fold.
pub(crate) async fn stopped_at(
    conn: &mut PgConnection,
    fold: &str,
    chain_id: u64,
) -> Result<Option<Stopped>, sqlx::Error> {
    let row = sqlx::query!(
        r#"SELECT state = 'stopped' AS "stopped!", (stop->>'seq')::bigint AS seq FROM fold_cursors
           WHERE fold = $1 AND chain_id = $2 FOR UPDATE"#,
        fold,
        to_i64(chain_id)
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| if row.stopped { Stopped::At(row.seq) } else { Stopped::No }))
}

pub(crate) async fn restart(conn: &mut PgConnection, fold: &str, chain_id: u64) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "UPDATE fold_cursors SET state = 'running', stop = NULL, updated_at = now() WHERE fold = $1 AND chain_id = $2",
        fold,
        to_i64(chain_id)
    )
    .execute(conn)
    .await?;
    Ok(())
}

pub(crate) async fn add_skip(
    conn: &mut PgConnection,
    fold: &str,
    chain_id: u64,
    seq: i64,
    operator: &str,
    reason: &str,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "INSERT INTO fold_skips (fold, chain_id, seq, operator, reason) VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT (fold, chain_id, seq) DO NOTHING",
        fold,
        to_i64(chain_id),
        seq,
        operator,
        reason
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// The records in (after, upto] that an operator had passed over, with the reasons.
pub(crate) async fn skips(
    conn: &mut PgConnection,
    fold: &str,
    chain_id: u64,
    after: i64,
    upto: i64,
) -> Result<Vec<(i64, String)>, sqlx::Error> {
    let rows = sqlx::query!(
        "SELECT seq, operator, reason FROM fold_skips WHERE fold = $1 AND chain_id = $2 AND seq > $3 AND seq <= $4",
        fold,
        to_i64(chain_id),
        after,
        upto
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|row| (row.seq, format!("{}: {}", row.operator, row.reason))).collect())
}

/// An entry of the undo stack.
pub(crate) struct Entry {
    pub(crate) seq: i64,
    pub(crate) block_number: u64,
    pub(crate) undo: Option<Value>,
}

pub(crate) async fn push(
    conn: &mut PgConnection,
    fold: &str,
    chain_id: u64,
    entries: &[Entry],
) -> Result<(), sqlx::Error> {
    let seqs: Vec<_> = entries.iter().map(|e| e.seq).collect();
    let numbers: Vec<_> = entries.iter().map(|e| to_i64(e.block_number)).collect();
    let undos: Vec<_> = entries.iter().map(|e| e.undo.as_ref().map(Json)).collect();
    sqlx::query!(
        "INSERT INTO fold_undo (fold, chain_id, seq, block_number, undo)
         SELECT $1, $2, * FROM unnest($3::bigint[], $4::bigint[], $5::jsonb[])",
        fold,
        to_i64(chain_id),
        &seqs,
        &numbers,
        &undos as &[Option<Json<&Value>>]
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Takes the newest `count` entries off the stack, newest first.
pub(crate) async fn pop(
    conn: &mut PgConnection,
    fold: &str,
    chain_id: u64,
    count: i64,
) -> Result<Vec<Entry>, sqlx::Error> {
    let mut rows = sqlx::query!(
        "DELETE FROM fold_undo WHERE fold = $1 AND chain_id = $2 AND seq >= (
             SELECT min(seq) FROM (SELECT seq FROM fold_undo WHERE fold = $1 AND chain_id = $2 ORDER BY seq DESC LIMIT $3) top)
         RETURNING seq, block_number, undo",
        fold,
        to_i64(chain_id),
        count
    )
    .fetch_all(conn)
    .await?;
    rows.sort_unstable_by_key(|row| std::cmp::Reverse(row.seq));
    Ok(rows
        .into_iter()
        .map(|row| Entry { seq: row.seq, block_number: to_u64(row.block_number), undo: row.undo })
        .collect())
}

/// See [`crate::oldest_undos`].
pub(crate) async fn oldest_undos(
    conn: &mut PgConnection,
    fold: &str,
    chain_id: u64,
    keys: &[Value],
) -> Result<Vec<Oldest>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"SELECT DISTINCT ON (k.n) k.n AS "n!", u.seq, u.undo AS "undo!"
           FROM unnest($3::jsonb[]) WITH ORDINALITY AS k(key, n)
           JOIN fold_undo u ON u.fold = $1 AND u.chain_id = $2 AND u.undo @> k.key
           ORDER BY k.n, u.seq"#,
        fold,
        to_i64(chain_id),
        keys
    )
    .fetch_all(conn)
    .await?;
    let index = |n: i64| usize::try_from(n - 1).expect("an ordinality counts from 1");
    Ok(rows.into_iter().map(|row| Oldest { key: index(row.n), seq: row.seq, undo: row.undo }).collect())
}

/// See [`crate::replace_undos`].
pub(crate) async fn replace_undos(
    conn: &mut PgConnection,
    fold: &str,
    chain_id: u64,
    undos: &[(i64, Value)],
) -> Result<(), sqlx::Error> {
    let (seqs, undos): (Vec<_>, Vec<_>) = undos.iter().cloned().unzip();
    sqlx::query!(
        "UPDATE fold_undo u SET undo = given.undo FROM unnest($3::bigint[], $4::jsonb[]) AS given(seq, undo)
         WHERE u.fold = $1 AND u.chain_id = $2 AND u.seq = given.seq",
        fold,
        to_i64(chain_id),
        &seqs,
        &undos
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Forgets how to take back what is final.
pub(crate) async fn prune(
    conn: &mut PgConnection,
    fold: &str,
    chain_id: u64,
    final_number: u64,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "DELETE FROM fold_undo WHERE fold = $1 AND chain_id = $2 AND block_number <= $3",
        fold,
        to_i64(chain_id),
        to_i64(final_number)
    )
    .execute(conn)
    .await?;
    Ok(())
}

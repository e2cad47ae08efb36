//! The sequencer's statements. The argument is in [`crate::sequencer`].
//!
//! Statements that name a stream's own tables are composed of the names in its declaration, which are constants of the program.

use sqlx::postgres::PgRow;
use sqlx::{AssertSqlSafe, FromRow, PgConnection, PgPool};
use time::OffsetDateTime;

use crate::db::Db;
use crate::sequencer::{Hash, Links, Stream, Writers};

/// A stream's counter.
#[derive(Debug)]
pub(crate) struct Position {
    pub(crate) next: i64,
    pub(crate) head_hash: Hash,
}

#[derive(Debug)]
struct PositionRow {
    next: i64,
    head_hash: Vec<u8>,
}

impl PositionRow {
    fn checked(self) -> Result<Position, sqlx::Error> {
        let head_hash = Hash::try_from(self.head_hash)
            .map_err(|_| sqlx::Error::Decode("a head_hash that is not 32 bytes".into()))?;
        Ok(Position { next: self.next, head_hash })
    }
}

/// A row that waits.
#[derive(Debug, FromRow)]
pub(crate) struct Queued {
    pub(crate) staging_id: i64,
    pub(crate) digest: Option<Vec<u8>>,
}

/// What a look at the queue tells.
#[derive(Debug, FromRow)]
pub(crate) struct Seen {
    pub(crate) next: i64,
    pub(crate) server_started_at: OffsetDateTime,
    pub(crate) has_rows: bool,
}

/// How far numbering is behind.
#[derive(Debug, FromRow)]
pub(crate) struct Lag {
    pub(crate) rows: f64,
    pub(crate) seconds: f64,
}

/// Whether anything waits at or above `floor`, and what the next number is. In the order of the key: EXISTS would be answered by reading the table from its start, over all that died there.
pub(crate) async fn look(pool: &PgPool, stream: &Stream, floor: i64) -> Result<Option<Seen>, sqlx::Error> {
    let staging = stream.staging();
    sqlx::query_as(AssertSqlSafe(format!(
        "SELECT next, pg_postmaster_start_time() AS server_started_at, (SELECT staging_id FROM {staging} WHERE staging_id >= $2 ORDER BY staging_id LIMIT 1) IS NOT NULL AS has_rows
         FROM sequences WHERE stream = $1"
    )))
    .bind(stream.name())
    .bind(floor)
    .fetch_optional(pool)
    .await
}

/// The counter, locked until the transaction ends. The row was seen before and is never deleted.
pub(crate) async fn lock(conn: &mut PgConnection, stream: &str) -> Result<Position, sqlx::Error> {
    sqlx::query_as!(
        PositionRow,
        "SELECT next, head_hash FROM sequences WHERE stream = $1 FOR NO KEY UPDATE",
        stream
    )
    .fetch_one(conn)
    .await?
    .checked()
}

/// The counter as it stands.
pub(crate) async fn read(conn: &mut PgConnection, stream: &str) -> Result<Option<Position>, sqlx::Error> {
    sqlx::query_as!(PositionRow, "SELECT next, head_hash FROM sequences WHERE stream = $1", stream)
        .fetch_optional(conn)
        .await?
        .map(PositionRow::checked)
        .transpose()
}

/// The oldest rows that can be seen.
pub(crate) async fn oldest(
    conn: &mut PgConnection,
    stream: &Stream,
    floor: i64,
    limit: i64,
) -> Result<Vec<Queued>, sqlx::Error> {
    let staging = stream.staging();
    let digest = if stream.is_linked() { "digest" } else { "NULL::bytea AS digest" };
    sqlx::query_as(AssertSqlSafe(format!(
        "SELECT staging_id, {digest} FROM {staging} WHERE staging_id >= $1 ORDER BY staging_id LIMIT $2"
    )))
    .bind(floor)
    .bind(limit)
    .fetch_all(conn)
    .await
}

/// Moves the rows to the stream, numbered from `first` in the order given, and returns how many there were. The range says nothing new; without it the planner
/// reads the whole queue for each batch, however long it is.
pub(crate) async fn number(
    conn: &mut PgConnection,
    stream: &Stream,
    first: i64,
    queued: &[Queued],
    links: &Links,
) -> Result<u64, sqlx::Error> {
    let (name, staging) = (stream.name(), stream.staging());
    let columns = stream.columns().join(", ");
    let returned =
        stream.columns().iter().map(|column| format!("row.{column}")).collect::<Vec<_>>().join(", ");
    let ids: Vec<i64> = queued.iter().map(|row| row.staging_id).collect();
    let (oldest, newest) = (ids.first().copied(), ids.last().copied());
    let (arrays, linked, linked_columns) = match stream.is_linked() {
        true => (", $5::bytea[], $6::bytea[]", ", prev_hash, hash", ", numbered.prev_hash, numbered.hash"),
        false => ("", "", ""),
    };
    let statement = format!(
        "WITH moved AS (
             DELETE FROM {staging} row USING unnest($2::bigint[]{arrays}) WITH ORDINALITY AS numbered(staging_id{linked}, place)
             WHERE row.staging_id = numbered.staging_id AND row.staging_id BETWEEN $3 AND $4
             RETURNING $1::bigint - 1 + numbered.place AS sequence, {returned}{linked_columns})
         INSERT INTO {name} (sequence, {columns}{linked}) SELECT sequence, {columns}{linked} FROM moved"
    );
    let mut query = sqlx::query(AssertSqlSafe(statement)).bind(first).bind(ids).bind(oldest).bind(newest);
    if stream.is_linked() {
        query = query.bind(&links.prev_hashes).bind(&links.hashes);
    }
    Ok(query.execute(conn).await?.rows_affected())
}

/// Moves the counter, which this transaction has locked.
pub(crate) async fn advance(
    conn: &mut PgConnection,
    stream: &str,
    next: i64,
    head_hash: &Hash,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "UPDATE sequences SET next = $2, head_hash = $3 WHERE stream = $1",
        stream,
        next,
        &head_hash[..]
    )
    .execute(conn)
    .await
    .map(drop)
}

/// The last id that was given out, and then, in a statement of its own, who holds a writer's lock on the queue.
pub(crate) async fn writers(pool: &PgPool, staging: &'static str) -> Result<Writers, sqlx::Error> {
    let mut conn = pool.acquire().await?;
    // An identity that was never used says 1 as well; one id too many only makes the floor wait for its row.
    let (last_id, server_started_at) = sqlx::query_as(AssertSqlSafe(format!(
        "SELECT last_value - CASE WHEN is_called THEN 0 ELSE 1 END, pg_postmaster_start_time() FROM {staging}_staging_id_seq"
    )))
    .fetch_one(&mut *conn)
    .await?;
    let holders = sqlx::query_scalar!(
        r#"SELECT virtualtransaction AS "holder!" FROM pg_locks
           WHERE locktype = 'relation' AND mode = 'RowExclusiveLock' AND relation = $1::text::regclass
             AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"#,
        staging
    )
    .fetch_all(&mut *conn)
    .await?;
    Ok(Writers { server_started_at, last_id, holders })
}

/// How much waits at or above `floor`, counted up to `limit`, and since when the oldest row does.
pub(crate) async fn lag(db: &Db, stream: &Stream, floor: i64, limit: i64) -> Result<Lag, sqlx::Error> {
    let staging = stream.staging();
    let mut tx = db.begin_worker_by_keys().await?;
    let lag = sqlx::query_as(AssertSqlSafe(format!(
        "SELECT (SELECT count(*) FROM (SELECT FROM {staging} WHERE staging_id >= $1 ORDER BY staging_id LIMIT $2) AS waiting)::float8 AS rows,
                COALESCE((SELECT GREATEST(extract(epoch FROM clock_timestamp() - recorded_at), 0) FROM {staging}
                          WHERE staging_id >= $1 ORDER BY staging_id LIMIT 1), 0)::float8 AS seconds"
    )))
    .bind(floor)
    .bind(limit)
    .fetch_one(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok(lag)
}

/// A page of a stream.
pub(crate) async fn read_after<T>(
    conn: &mut PgConnection,
    stream: &Stream,
    sequence: i64,
    limit: i64,
) -> Result<Vec<T>, sqlx::Error>
where
    T: for<'row> FromRow<'row, PgRow> + Send + Unpin,
{
    let name = stream.name();
    sqlx::query_as(AssertSqlSafe(format!(
        "SELECT * FROM {name} WHERE sequence > $1 ORDER BY sequence LIMIT $2"
    )))
    .bind(sequence)
    .bind(limit)
    .fetch_all(conn)
    .await
}

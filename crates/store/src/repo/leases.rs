//! The leases' statements. Each is one statement in a transaction of its own, except [`guard`], which joins its caller's.
//!
//! The advisory lock of a lease is keyed by name *and* token: holding it says "the session that holds token t is alive", and a lock
//! that is left over from an older token says nothing about a newer one.

use sqlx::{AssertSqlSafe, PgConnection};

use crate::urls::SCHEMA;

/// What is known of a lease that somebody wants.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Standing {
    pub(crate) token: i64,
    pub(crate) is_expired: bool,
    /// Nobody holds the advisory lock of (name, token).
    pub(crate) is_deserted: bool,
}

/// The session that keeps leases must not wait long for anything: a renewal that is late is a lease that is lost.
pub(crate) async fn prepare_keeper(conn: &mut PgConnection, lock_timeout_ms: u64) -> Result<(), sqlx::Error> {
    let statement = format!("SET lock_timeout = {lock_timeout_ms}; SET search_path = {SCHEMA}");
    sqlx::raw_sql(AssertSqlSafe(statement)).execute(conn).await.map(drop)
}

/// Looks at a lease. The advisory lock is tried in shared mode, for the length of this statement alone, so that two who look do
/// not take each other for a holder.
pub(crate) async fn standing(conn: &mut PgConnection, name: &str) -> Result<Option<Standing>, sqlx::Error> {
    sqlx::query_as!(
        Standing,
        r#"SELECT fencing_token AS token, expires_at <= clock_timestamp() AS "is_expired!",
                  pg_try_advisory_xact_lock_shared(hashtextextended(name || '/' || fencing_token, 0)) AS "is_deserted!"
           FROM leases WHERE name = $1"#,
        name
    )
    .fetch_optional(conn)
    .await
}

/// Locks (name, token) for this session if it is free at once: who has it may take the token, or is the holder.
pub(crate) async fn try_lock(conn: &mut PgConnection, name: &str, token: i64) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar!(
        r#"SELECT pg_try_advisory_lock(hashtextextended($1 || '/' || $2::bigint, 0)) AS "locked!""#,
        name,
        token
    )
    .fetch_one(conn)
    .await
}

/// Gives the session's advisory lock of (name, token) back.
pub(crate) async fn unlock(conn: &mut PgConnection, name: &str, token: i64) -> Result<(), sqlx::Error> {
    sqlx::query!("SELECT pg_advisory_unlock(hashtextextended($1 || '/' || $2::bigint, 0))", name, token)
        .fetch_one(conn)
        .await
        .map(drop)
}

/// The first taking of a lease. `false`: somebody was faster.
pub(crate) async fn create(
    conn: &mut PgConnection,
    name: &str,
    holder: &str,
    term_ms: i64,
) -> Result<bool, sqlx::Error> {
    let result = sqlx::query!(
        "INSERT INTO leases (name, fencing_token, holder, acquired_at, expires_at)
         VALUES ($1, 1, $2, clock_timestamp(), clock_timestamp() + $3::bigint * interval '1 millisecond')
         ON CONFLICT (name) DO NOTHING",
        name,
        holder,
        term_ms
    )
    .execute(conn)
    .await?;
    Ok(result.rows_affected() == 1)
}

/// Takes a lease from the token that was seen to the next, if it still has that token and is still to be had. Waits for every transaction that
/// guards itself with the old token; the condition is looked at again after the wait, so that a renewal in between wins.
pub(crate) async fn take(
    conn: &mut PgConnection,
    name: &str,
    seen: Standing,
    holder: &str,
    term_ms: i64,
) -> Result<bool, sqlx::Error> {
    let result = sqlx::query!(
        "UPDATE leases SET fencing_token = $2 + 1, holder = $4, acquired_at = clock_timestamp(),
                           expires_at = clock_timestamp() + $5::bigint * interval '1 millisecond'
         WHERE name = $1 AND fencing_token = $2 AND ($3 OR expires_at <= clock_timestamp())",
        name,
        seen.token,
        seen.is_deserted,
        holder,
        term_ms
    )
    .execute(conn)
    .await?;
    Ok(result.rows_affected() == 1)
}

/// Renews all of them in one statement, and returns the names of those that were still held. No key column changes, so this
/// passes the guards (`FOR KEY SHARE`). An expired lease that nobody took is renewed too: its token never left us.
pub(crate) async fn renew(
    conn: &mut PgConnection,
    names: &[String],
    tokens: &[i64],
    term_ms: i64,
) -> Result<Vec<String>, sqlx::Error> {
    sqlx::query_scalar!(
        "UPDATE leases SET expires_at = clock_timestamp() + $3::bigint * interval '1 millisecond'
         FROM unnest($1::text[], $2::bigint[]) AS held(name, token)
         WHERE leases.name = held.name AND leases.fencing_token = held.token
         RETURNING leases.name",
        names,
        tokens,
        term_ms
    )
    .fetch_all(conn)
    .await
}

/// Lets a lease expire now. The token stays, so that the next one is above it.
pub(crate) async fn expire(conn: &mut PgConnection, name: &str, token: i64) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "UPDATE leases SET expires_at = clock_timestamp() WHERE name = $1 AND fencing_token = $2",
        name,
        token
    )
    .execute(conn)
    .await
    .map(drop)
}

/// Whether (name, token) is in force, and stays so until the caller's transaction ends.
pub(crate) async fn guard(conn: &mut PgConnection, name: &str, token: i64) -> Result<bool, sqlx::Error> {
    let row = sqlx::query!(
        r#"SELECT true AS "held!" FROM leases WHERE name = $1 AND fencing_token = $2 AND expires_at > clock_timestamp() FOR KEY SHARE"#,
        name,
        token
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.is_some())
}

/// This connection's process in the server.
pub(crate) async fn backend_pid(conn: &mut PgConnection) -> Result<i32, sqlx::Error> {
    sqlx::query_scalar!(r#"SELECT pg_backend_pid() AS "pid!""#).fetch_one(conn).await
}

/// Ends the sessions that `waiting` waits for, and returns how many there were.
pub(crate) async fn terminate_blockers(conn: &mut PgConnection, waiting: i32) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar!(
        r#"SELECT count(*) FILTER (WHERE pg_terminate_backend(blocker)) AS "count!" FROM unnest(pg_blocking_pids($1)) AS blocker"#,
        waiting
    )
    .fetch_one(conn)
    .await
}

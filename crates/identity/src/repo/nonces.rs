//! Nonces of sign-in messages.

use std::time::Duration;

use sqlx::PgConnection;
use uuid::Uuid;

use crate::repo::interval;

pub(crate) async fn insert(
    conn: &mut PgConnection,
    nonce: &str,
    tenant_id: Uuid,
    term: Duration,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "INSERT INTO sign_in_nonces (nonce, tenant_id, expires_at) VALUES ($1, $2, now() + $3)",
        nonce,
        tenant_id,
        interval(term)?,
    )
    .execute(conn)
    .await
    .map(drop)
}

/// Uses it, if nobody has. Of two at once the second waits for the first's transaction, and then finds it used.
pub(crate) async fn consume(conn: &mut PgConnection, nonce: &str) -> Result<Option<Uuid>, sqlx::Error> {
    sqlx::query_scalar!(
        "UPDATE sign_in_nonces SET used_at = now() WHERE nonce = $1 AND used_at IS NULL AND expires_at > now() RETURNING tenant_id",
        nonce,
    )
    .fetch_optional(conn)
    .await
}

/// Whether it was used; `None` when it is not there.
pub(crate) async fn is_used(conn: &mut PgConnection, nonce: &str) -> Result<Option<bool>, sqlx::Error> {
    sqlx::query_scalar!(
        r#"SELECT used_at IS NOT NULL AS "is_used!" FROM sign_in_nonces WHERE nonce = $1"#,
        nonce
    )
    .fetch_optional(conn)
    .await
}

pub(crate) async fn delete_expired(
    conn: &mut PgConnection,
    kept: Duration,
    limit: i64,
) -> Result<u64, sqlx::Error> {
    sqlx::query!(
        "DELETE FROM sign_in_nonces WHERE nonce IN (SELECT nonce FROM sign_in_nonces WHERE expires_at < now() - $1::interval LIMIT $2)",
        interval(kept)?,
        limit,
    )
    .execute(conn)
    .await
    .map(|done| done.rows_affected())
}

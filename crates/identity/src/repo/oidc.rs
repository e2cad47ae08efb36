//! Sign-ins that are under way at an OpenID Connect provider.

use std::time::Duration;

use sqlx::PgConnection;
use uuid::Uuid;

use crate::oidc::Authorization;
use crate::repo::interval;

/// Where a sign-in stands that cannot be gone on with.
pub(crate) struct Standing {
    pub(crate) is_used: bool,
    pub(crate) is_expired: bool,
    pub(crate) is_browsers: bool,
}

/// One that was gone on with: it is used up.
pub(crate) struct Begun {
    pub(crate) nonce_hash: Vec<u8>,
    /// In which session somebody links; none where they sign in.
    pub(crate) session_id: Option<Uuid>,
}

pub(crate) async fn insert(
    conn: &mut PgConnection,
    authorization: &Authorization,
    session_id: Option<Uuid>,
    term: Duration,
) -> Result<(), sqlx::Error> {
    let Authorization { tenant_id, issuer, state_hash, browser_hash, nonce_hash, .. } = authorization;
    sqlx::query!(
        "INSERT INTO oidc_requests (state_hash, tenant_id, issuer, browser_hash, nonce_hash, session_id, expires_at)
         VALUES ($1, $2, $3, $4, $5, $6, now() + $7)",
        state_hash.as_slice(),
        tenant_id,
        issuer,
        browser_hash.as_slice(),
        nonce_hash.as_slice(),
        session_id,
        interval(term)?,
    )
    .execute(conn)
    .await
    .map(drop)
}

/// Uses it, if nobody has and the browser is the one that began it. Of two at once the second waits for the first's transaction, and then
/// finds it used.
pub(crate) async fn consume(
    conn: &mut PgConnection,
    state_hash: &[u8; 32],
    tenant_id: Uuid,
    issuer: &str,
    browser_hash: &[u8; 32],
) -> Result<Option<Begun>, sqlx::Error> {
    sqlx::query_as!(
        Begun,
        "UPDATE oidc_requests SET used_at = now()
         WHERE state_hash = $1 AND tenant_id = $2 AND issuer = $3 AND browser_hash = $4 AND used_at IS NULL AND expires_at > now()
         RETURNING nonce_hash, session_id",
        state_hash.as_slice(),
        tenant_id,
        issuer,
        browser_hash.as_slice(),
    )
    .fetch_optional(conn)
    .await
}

/// `None` when it is not there, or was begun at another provider or for another tenant.
pub(crate) async fn standing(
    conn: &mut PgConnection,
    state_hash: &[u8; 32],
    tenant_id: Uuid,
    issuer: &str,
    browser_hash: &[u8; 32],
) -> Result<Option<Standing>, sqlx::Error> {
    sqlx::query_as!(
        Standing,
        r#"SELECT used_at IS NOT NULL AS "is_used!", expires_at <= now() AS "is_expired!", browser_hash = $4 AS "is_browsers!"
           FROM oidc_requests WHERE state_hash = $1 AND tenant_id = $2 AND issuer = $3"#,
        state_hash.as_slice(),
        tenant_id,
        issuer,
        browser_hash.as_slice(),
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
        "DELETE FROM oidc_requests WHERE state_hash IN (SELECT state_hash FROM oidc_requests WHERE expires_at < now() - $1::interval LIMIT $2)",
        interval(kept)?,
        limit,
    )
    .execute(conn)
    .await
    .map(|done| done.rows_affected())
}

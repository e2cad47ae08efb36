//! Sessions and refresh tokens. `standing` is the one query of an authentication.

use std::time::Duration;

use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::permission::PermissionSet;
use crate::principal::{UserKind, UserStatus};
use crate::repo::{changed_one, interval};
use crate::session::{Method, RevokeReason, SECOND_FACTOR_TERM};

/// A session with its user's standing.
pub(crate) struct SessionStanding {
    pub(crate) tenant_id: Uuid,
    pub(crate) user_id: Uuid,
    pub(crate) kind: UserKind,
    pub(crate) status: UserStatus,
    pub(crate) permissions: PermissionSet,
    pub(crate) second_factor: bool,
    pub(crate) is_revoked: bool,
    pub(crate) is_expired: bool,
}

/// A refresh token that was just used up.
pub(crate) struct UsedRefresh {
    pub(crate) tenant_id: Uuid,
    pub(crate) user_id: Uuid,
    pub(crate) session_id: Uuid,
    pub(crate) status: UserStatus,
    pub(crate) is_revoked: bool,
    pub(crate) is_expired: bool,
}

pub(crate) async fn insert(
    conn: &mut PgConnection,
    session_id: Uuid,
    tenant_id: Uuid,
    user_id: Uuid,
    method: Method,
    term: Duration,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "INSERT INTO sessions (session_id, tenant_id, user_id, method, expires_at) VALUES ($1, $2, $3, $4, now() + $5)",
        session_id,
        tenant_id,
        user_id,
        method.as_str(),
        interval(term)?,
    )
    .execute(conn)
    .await
    .map(drop)
}

pub(crate) async fn standing(
    conn: &mut PgConnection,
    session_id: Uuid,
) -> Result<Option<SessionStanding>, sqlx::Error> {
    let row = sqlx::query!(
        r#"SELECT s.tenant_id, s.user_id, u.kind, u.status, s.revoked_at IS NOT NULL AS "is_revoked!", s.expires_at <= now() AS "is_expired!",
                  COALESCE(s.second_factor_at > now() - $2::interval, false) AS "second_factor!",
                  ARRAY(SELECT p.permission FROM role_assignments a JOIN role_permissions p USING (tenant_id, role)
                        WHERE a.tenant_id = s.tenant_id AND a.user_id = s.user_id) AS "permissions!"
           FROM sessions s JOIN users u USING (tenant_id, user_id)
           WHERE s.session_id = $1"#,
        session_id,
        interval(SECOND_FACTOR_TERM)?,
    )
    .fetch_optional(conn)
    .await?;
    row.map(|row| {
        Ok(SessionStanding {
            tenant_id: row.tenant_id,
            user_id: row.user_id,
            kind: UserKind::stored(&row.kind)?,
            status: UserStatus::stored(&row.status)?,
            permissions: PermissionSet::from_names(row.permissions),
            second_factor: row.second_factor,
            is_revoked: row.is_revoked,
            is_expired: row.is_expired,
        })
    })
    .transpose()
}

pub(crate) async fn insert_refresh(
    conn: &mut PgConnection,
    token_hash: &[u8; 32],
    tenant_id: Uuid,
    session_id: Uuid,
    term: Duration,
) -> Result<OffsetDateTime, sqlx::Error> {
    sqlx::query_scalar!(
        "INSERT INTO refresh_tokens (token_hash, tenant_id, session_id, expires_at) VALUES ($1, $2, $3, now() + $4) RETURNING expires_at",
        token_hash.as_slice(),
        tenant_id,
        session_id,
        interval(term)?,
    )
    .fetch_one(conn)
    .await
}

/// Uses it, if nobody has. Of two at once the second waits for the first's transaction, and then finds it used. The session's row is locked,
/// so that a revocation is either seen here or waits until the new token is there to be revoked with the rest.
pub(crate) async fn use_refresh(
    conn: &mut PgConnection,
    token_hash: &[u8; 32],
) -> Result<Option<UsedRefresh>, sqlx::Error> {
    let Some(token) = sqlx::query!(
        r#"UPDATE refresh_tokens SET used_at = now() WHERE token_hash = $1 AND used_at IS NULL
           RETURNING tenant_id, session_id, expires_at <= now() AS "is_expired!""#,
        token_hash.as_slice(),
    )
    .fetch_optional(&mut *conn)
    .await?
    else {
        return Ok(None);
    };
    let session = sqlx::query!(
        r#"SELECT s.user_id, u.status, s.revoked_at IS NOT NULL AS "is_revoked!", s.expires_at <= now() AS "is_expired!"
           FROM sessions s JOIN users u USING (tenant_id, user_id)
           WHERE s.tenant_id = $1 AND s.session_id = $2 FOR NO KEY UPDATE OF s"#,
        token.tenant_id,
        token.session_id,
    )
    .fetch_one(conn)
    .await?;
    Ok(Some(UsedRefresh {
        tenant_id: token.tenant_id,
        user_id: session.user_id,
        session_id: token.session_id,
        status: UserStatus::stored(&session.status)?,
        is_revoked: session.is_revoked,
        is_expired: token.is_expired || session.is_expired,
    }))
}

/// The tenant and the session of a refresh token.
pub(crate) async fn family(
    conn: &mut PgConnection,
    token_hash: &[u8; 32],
) -> Result<Option<(Uuid, Uuid)>, sqlx::Error> {
    let row = sqlx::query!(
        "SELECT tenant_id, session_id FROM refresh_tokens WHERE token_hash = $1",
        token_hash.as_slice()
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| (row.tenant_id, row.session_id)))
}

pub(crate) async fn revoke(
    conn: &mut PgConnection,
    tenant_id: Uuid,
    session_id: Uuid,
    reason: RevokeReason,
) -> Result<bool, sqlx::Error> {
    sqlx::query!(
        "UPDATE sessions SET revoked_at = now(), revoke_reason = $3 WHERE tenant_id = $1 AND session_id = $2 AND revoked_at IS NULL",
        tenant_id,
        session_id,
        reason.as_str(),
    )
    .execute(conn)
    .await
    .map(changed_one)
}

/// All of a user's, but for the one that is `kept`.
pub(crate) async fn revoke_all(
    conn: &mut PgConnection,
    tenant_id: Uuid,
    user_id: Uuid,
    kept: Option<Uuid>,
    reason: RevokeReason,
) -> Result<Vec<Uuid>, sqlx::Error> {
    sqlx::query_scalar!(
        "UPDATE sessions SET revoked_at = now(), revoke_reason = $3
         WHERE tenant_id = $1 AND user_id = $2 AND revoked_at IS NULL AND expires_at > now() AND session_id IS DISTINCT FROM $4::uuid
         RETURNING session_id",
        tenant_id,
        user_id,
        reason.as_str(),
        kept,
    )
    .fetch_all(conn)
    .await
}

/// At `at`, or now.
pub(crate) async fn note_second_factor(
    conn: &mut PgConnection,
    tenant_id: Uuid,
    session_id: Uuid,
    at: Option<OffsetDateTime>,
) -> Result<bool, sqlx::Error> {
    sqlx::query!(
        "UPDATE sessions SET second_factor_at = LEAST(now(), $3)
         WHERE tenant_id = $1 AND session_id = $2 AND revoked_at IS NULL AND expires_at > now()",
        tenant_id,
        session_id,
        at,
    )
    .execute(conn)
    .await
    .map(changed_one)
}

/// A session goes with the last of its refresh tokens.
pub(crate) async fn delete_expired(
    conn: &mut PgConnection,
    kept: Duration,
    limit: i64,
) -> Result<u64, sqlx::Error> {
    let kept = interval(kept)?;
    let tokens = sqlx::query!(
        "DELETE FROM refresh_tokens WHERE token_hash IN (
             SELECT t.token_hash FROM sessions s JOIN refresh_tokens t USING (tenant_id, session_id)
             WHERE s.expires_at < now() - $1::interval LIMIT $2)",
        kept.clone(),
        limit,
    )
    .execute(&mut *conn)
    .await?
    .rows_affected();
    let sessions = sqlx::query!(
        "DELETE FROM sessions WHERE session_id IN (
             SELECT s.session_id FROM sessions s
             WHERE s.expires_at < now() - $1::interval
               AND NOT EXISTS (SELECT FROM refresh_tokens t WHERE t.tenant_id = s.tenant_id AND t.session_id = s.session_id)
             LIMIT $2)",
        kept,
        limit,
    )
    .execute(conn)
    .await?
    .rows_affected();
    Ok(tokens + sessions)
}

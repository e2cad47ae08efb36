//! Users, sessions and keys, listed and locked.

use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::api_key::ApiKeyInfo;
use crate::directory::User;
use crate::listing::SessionInfo;
use crate::permission::PermissionSet;
use crate::principal::UserStatus;
use crate::repo::directory::{UserRow, each, one};

struct ListedKey {
    key_id: String,
    user_id: Uuid,
    label: String,
    scopes: Vec<String>,
    is_certificate_bound: bool,
    created_at: OffsetDateTime,
    expires_at: OffsetDateTime,
    last_used_at: Option<OffsetDateTime>,
    revoked_at: Option<OffsetDateTime>,
}

impl From<ListedKey> for ApiKeyInfo {
    fn from(row: ListedKey) -> Self {
        Self {
            key_id: row.key_id,
            user_id: row.user_id,
            label: row.label,
            scopes: PermissionSet::from_names(row.scopes),
            is_certificate_bound: row.is_certificate_bound,
            created_at: row.created_at,
            expires_at: row.expires_at,
            last_used_at: row.last_used_at,
            revoked_at: row.revoked_at,
        }
    }
}

pub(crate) async fn users(
    conn: &mut PgConnection,
    tenant_id: Uuid,
    status: Option<UserStatus>,
    after: Option<Uuid>,
    limit: i64,
) -> Result<Vec<User>, sqlx::Error> {
    sqlx::query_as!(
        UserRow,
        "SELECT tenant_id, user_id, kind, status, display_name, created_at FROM users
         WHERE tenant_id = $1 AND ($2::text IS NULL OR status = $2) AND ($3::uuid IS NULL OR user_id > $3) ORDER BY user_id LIMIT $4",
        tenant_id,
        status.map(UserStatus::as_str),
        after,
        limit,
    )
    .fetch_all(conn)
    .await
    .and_then(each)
}

/// Foreign keys to the user do not wait for this lock.
pub(crate) async fn lock_user(
    conn: &mut PgConnection,
    tenant_id: Uuid,
    user_id: Uuid,
) -> Result<Option<User>, sqlx::Error> {
    sqlx::query_as!(
        UserRow,
        "SELECT tenant_id, user_id, kind, status, display_name, created_at FROM users
         WHERE tenant_id = $1 AND user_id = $2 FOR NO KEY UPDATE",
        tenant_id,
        user_id,
    )
    .fetch_optional(conn)
    .await
    .and_then(one)
}

pub(crate) async fn sessions(
    conn: &mut PgConnection,
    tenant_id: Uuid,
    user_id: Option<Uuid>,
    with_those_over: bool,
    after: Option<Uuid>,
    limit: i64,
) -> Result<Vec<SessionInfo>, sqlx::Error> {
    sqlx::query_as!(
        SessionInfo,
        "SELECT session_id, user_id, method, created_at, expires_at, second_factor_at, revoked_at, revoke_reason FROM sessions
         WHERE tenant_id = $1 AND ($2::uuid IS NULL OR user_id = $2) AND ($3 OR (revoked_at IS NULL AND expires_at > now()))
           AND ($4::uuid IS NULL OR session_id > $4)
         ORDER BY session_id LIMIT $5",
        tenant_id,
        user_id,
        with_those_over,
        after,
        limit,
    )
    .fetch_all(conn)
    .await
}

pub(crate) async fn lock_session(
    conn: &mut PgConnection,
    tenant_id: Uuid,
    session_id: Uuid,
) -> Result<Option<SessionInfo>, sqlx::Error> {
    sqlx::query_as!(
        SessionInfo,
        "SELECT session_id, user_id, method, created_at, expires_at, second_factor_at, revoked_at, revoke_reason FROM sessions
         WHERE tenant_id = $1 AND session_id = $2 FOR NO KEY UPDATE",
        tenant_id,
        session_id,
    )
    .fetch_optional(conn)
    .await
}

pub(crate) async fn lock_key(
    conn: &mut PgConnection,
    tenant_id: Uuid,
    key_id: &str,
) -> Result<Option<ApiKeyInfo>, sqlx::Error> {
    let row = sqlx::query_as!(
        ListedKey,
        r#"SELECT key_id, user_id, label, scopes, certificate_hash IS NOT NULL AS "is_certificate_bound!", created_at, expires_at,
                  last_used_at, revoked_at
           FROM api_keys WHERE tenant_id = $1 AND key_id = $2 FOR NO KEY UPDATE"#,
        tenant_id,
        key_id,
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(ApiKeyInfo::from))
}

pub(crate) async fn keys(
    conn: &mut PgConnection,
    tenant_id: Uuid,
    after: Option<&str>,
    limit: i64,
) -> Result<Vec<ApiKeyInfo>, sqlx::Error> {
    let rows = sqlx::query_as!(
        ListedKey,
        r#"SELECT key_id, user_id, label, scopes, certificate_hash IS NOT NULL AS "is_certificate_bound!", created_at, expires_at,
                  last_used_at, revoked_at
           FROM api_keys WHERE tenant_id = $1 AND ($2::text IS NULL OR key_id > $2) ORDER BY key_id LIMIT $3"#,
        tenant_id,
        after,
        limit,
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(ApiKeyInfo::from).collect())
}

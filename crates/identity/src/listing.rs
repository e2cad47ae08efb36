//! Users, sessions and keys as an administrator looks at them: listed, or one of them locked before it is changed.
//!
//! These run on either role's transactions: the app's is confined to its tenant, and reads no hash.
//! A list is given in parts, by id: `after` is the last id of the part before, and a part that is not full is the last.

use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::api_key::{ApiKeyError, ApiKeyInfo};
use crate::directory::{DirectoryError, User};
use crate::principal::UserStatus;
use crate::repo::listing as repo;
use crate::session::SessionError;

/// A session as it is listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionInfo {
    /// Its id.
    pub session_id: Uuid,
    /// Whose.
    pub user_id: Uuid,
    /// How it was opened, as stored (`wallet`).
    pub method: String,
    /// Since when.
    pub created_at: OffsetDateTime,
    /// Until when, at most.
    pub expires_at: OffsetDateTime,
    /// When its user last gave a second factor.
    pub second_factor_at: Option<OffsetDateTime>,
    /// When it was revoked.
    pub revoked_at: Option<OffsetDateTime>,
    /// Why, as stored (`signed_out`).
    pub revoke_reason: Option<String>,
}

/// Up to `limit` of the tenant's users, by id, which is by age; of one status where one is given.
///
/// # Errors
/// The database's.
pub async fn users(
    conn: &mut PgConnection,
    tenant_id: Uuid,
    status: Option<UserStatus>,
    after: Option<Uuid>,
    limit: i64,
) -> Result<Vec<User>, DirectoryError> {
    Ok(repo::users(conn, tenant_id, status, after, limit).await?)
}

/// The user, its row locked until the transaction ends: of two changes the second sees what the first made of it.
///
/// # Errors
/// [`DirectoryError::NoUser`], or the database's.
pub async fn lock_user(
    conn: &mut PgConnection,
    tenant_id: Uuid,
    user_id: Uuid,
) -> Result<User, DirectoryError> {
    repo::lock_user(conn, tenant_id, user_id).await?.ok_or(DirectoryError::NoUser(user_id))
}

/// Up to `limit` of the tenant's sessions, by id, which is by age: of one user where one is given, those that are over only if asked for.
///
/// # Errors
/// The database's.
pub async fn sessions(
    conn: &mut PgConnection,
    tenant_id: Uuid,
    user_id: Option<Uuid>,
    with_those_over: bool,
    after: Option<Uuid>,
    limit: i64,
) -> Result<Vec<SessionInfo>, SessionError> {
    Ok(repo::sessions(conn, tenant_id, user_id, with_those_over, after, limit).await?)
}

/// The session, its row locked until the transaction ends; `None` where the tenant has none of that id.
///
/// # Errors
/// The database's.
pub async fn lock_session(
    conn: &mut PgConnection,
    tenant_id: Uuid,
    session_id: Uuid,
) -> Result<Option<SessionInfo>, SessionError> {
    Ok(repo::lock_session(conn, tenant_id, session_id).await?)
}

/// Up to `limit` of the tenant's keys, by id.
///
/// # Errors
/// The database's.
pub async fn keys(
    conn: &mut PgConnection,
    tenant_id: Uuid,
    after: Option<&str>,
    limit: i64,
) -> Result<Vec<ApiKeyInfo>, ApiKeyError> {
    Ok(repo::keys(conn, tenant_id, after, limit).await?)
}

/// The key, its row locked until the transaction ends; `None` where the tenant has none of that id.
///
/// # Errors
/// The database's.
pub async fn lock_key(
    conn: &mut PgConnection,
    tenant_id: Uuid,
    key_id: &str,
) -> Result<Option<ApiKeyInfo>, ApiKeyError> {
    Ok(repo::lock_key(conn, tenant_id, key_id).await?)
}

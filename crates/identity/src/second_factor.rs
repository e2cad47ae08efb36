//! What the kinds of second factor (`totp`, `webauthn`) have in common: who has one adds another only after giving it. Else whoever
//! stole a session, which is the first factor, would add a second of their own.

use sqlx::PgConnection;
use uuid::Uuid;

use crate::principal::Principal;
use crate::repo::webauthn as repo;

/// Whether a user has a second factor in force, of whatever kind.
///
/// # Errors
/// The database's.
pub async fn is_enrolled(
    conn: &mut PgConnection,
    tenant_id: Uuid,
    user_id: Uuid,
) -> Result<bool, sqlx::Error> {
    repo::has_second_factor(conn, tenant_id, user_id).await
}

/// Whether the principal may add one now.
pub(crate) async fn may_enrol(conn: &mut PgConnection, principal: &Principal) -> Result<bool, sqlx::Error> {
    Ok(principal.second_factor || !is_enrolled(conn, principal.tenant_id, principal.user_id).await?)
}

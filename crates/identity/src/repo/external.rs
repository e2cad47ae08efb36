//! Who a user is elsewhere.

use sqlx::PgConnection;
use uuid::Uuid;

use crate::directory::User;
use crate::external::ExternalIdentity;
use crate::repo::changed_one;
use crate::repo::directory::{UserRow, one};

/// Whether it was free. A rival's uncommitted claim is waited for.
pub(crate) async fn insert(
    conn: &mut PgConnection,
    tenant_id: Uuid,
    user_id: Uuid,
    issuer: &str,
    subject: &str,
) -> Result<bool, sqlx::Error> {
    sqlx::query!(
        "INSERT INTO external_identities (tenant_id, user_id, issuer, subject) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING",
        tenant_id,
        user_id,
        issuer,
        subject,
    )
    .execute(conn)
    .await
    .map(changed_one)
}

pub(crate) async fn remove(
    conn: &mut PgConnection,
    tenant_id: Uuid,
    user_id: Uuid,
    issuer: &str,
    subject: &str,
) -> Result<bool, sqlx::Error> {
    sqlx::query!(
        "UPDATE external_identities SET removed_at = now()
         WHERE tenant_id = $1 AND user_id = $2 AND issuer = $3 AND subject = $4 AND removed_at IS NULL",
        tenant_id,
        user_id,
        issuer,
        subject,
    )
    .execute(conn)
    .await
    .map(changed_one)
}

pub(crate) async fn owner_of(
    conn: &mut PgConnection,
    tenant_id: Uuid,
    issuer: &str,
    subject: &str,
) -> Result<Option<User>, sqlx::Error> {
    sqlx::query_as!(
        UserRow,
        "SELECT u.tenant_id, u.user_id, u.kind, u.status, u.display_name, u.created_at
         FROM external_identities e JOIN users u USING (tenant_id, user_id)
         WHERE e.tenant_id = $1 AND e.issuer = $2 AND e.subject = $3 AND e.removed_at IS NULL",
        tenant_id,
        issuer,
        subject,
    )
    .fetch_optional(conn)
    .await
    .and_then(one)
}

pub(crate) async fn list(
    conn: &mut PgConnection,
    tenant_id: Uuid,
    user_id: Uuid,
) -> Result<Vec<ExternalIdentity>, sqlx::Error> {
    sqlx::query_as!(
        ExternalIdentity,
        "SELECT issuer, subject, linked_at FROM external_identities
         WHERE tenant_id = $1 AND user_id = $2 AND removed_at IS NULL ORDER BY issuer, subject",
        tenant_id,
        user_id,
    )
    .fetch_all(conn)
    .await
}

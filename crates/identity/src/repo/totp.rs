//! Second factors.

use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::repo::changed_one;
use crate::second_factor::{FactorId, FactorInfo};

/// A second factor, locked until the transaction ends: two codes at once are judged one after the other.
pub(crate) struct Factor {
    pub(crate) sealed: Vec<u8>,
    pub(crate) is_confirmed: bool,
    pub(crate) last_step: i64,
    pub(crate) failures: i32,
    pub(crate) locked_until: Option<OffsetDateTime>,
}

/// Whether there was room: none, or one that was never confirmed. A lock stays: enrolling anew is no way around it.
pub(crate) async fn enrol(
    conn: &mut PgConnection,
    tenant_id: Uuid,
    user_id: Uuid,
    sealed: &[u8],
) -> Result<bool, sqlx::Error> {
    sqlx::query!(
        "INSERT INTO totp_secrets (tenant_id, user_id, sealed) VALUES ($1, $2, $3)
         ON CONFLICT (tenant_id, user_id) DO UPDATE SET sealed = $3, created_at = now(), last_step = -1
             WHERE totp_secrets.confirmed_at IS NULL",
        tenant_id,
        user_id,
        sealed,
    )
    .execute(conn)
    .await
    .map(changed_one)
}

pub(crate) async fn lock(
    conn: &mut PgConnection,
    tenant_id: Uuid,
    user_id: Uuid,
) -> Result<Option<Factor>, sqlx::Error> {
    sqlx::query_as!(
        Factor,
        r#"SELECT sealed, confirmed_at IS NOT NULL AS "is_confirmed!", last_step, failures, locked_until
           FROM totp_secrets WHERE tenant_id = $1 AND user_id = $2 FOR UPDATE"#,
        tenant_id,
        user_id,
    )
    .fetch_optional(conn)
    .await
}

pub(crate) async fn accept(
    conn: &mut PgConnection,
    tenant_id: Uuid,
    user_id: Uuid,
    step: i64,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "UPDATE totp_secrets SET last_step = $3, failures = 0, locked_until = NULL, confirmed_at = COALESCE(confirmed_at, now()), last_used_at = now()
         WHERE tenant_id = $1 AND user_id = $2",
        tenant_id,
        user_id,
        step,
    )
    .execute(conn)
    .await
    .map(drop)
}

pub(crate) async fn count_failure(
    conn: &mut PgConnection,
    tenant_id: Uuid,
    user_id: Uuid,
    failures: i32,
    locked_until: Option<OffsetDateTime>,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "UPDATE totp_secrets SET failures = $3, locked_until = $4 WHERE tenant_id = $1 AND user_id = $2",
        tenant_id,
        user_id,
        failures,
        locked_until,
    )
    .execute(conn)
    .await
    .map(drop)
}

/// The one that is in force.
pub(crate) async fn confirmed(
    conn: &mut PgConnection,
    tenant_id: Uuid,
    user_id: Uuid,
) -> Result<Option<FactorInfo>, sqlx::Error> {
    let row = sqlx::query!(
        "SELECT created_at, last_used_at FROM totp_secrets WHERE tenant_id = $1 AND user_id = $2 AND confirmed_at IS NOT NULL",
        tenant_id,
        user_id,
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| FactorInfo {
        id: FactorId::Totp,
        label: None,
        created_at: row.created_at,
        last_used_at: row.last_used_at,
        cloned_at: None,
    }))
}

/// One that was never confirmed is none, and its lock stays.
pub(crate) async fn remove(
    conn: &mut PgConnection,
    tenant_id: Uuid,
    user_id: Uuid,
) -> Result<bool, sqlx::Error> {
    sqlx::query!(
        "DELETE FROM totp_secrets WHERE tenant_id = $1 AND user_id = $2 AND confirmed_at IS NOT NULL",
        tenant_id,
        user_id,
    )
    .execute(conn)
    .await
    .map(changed_one)
}

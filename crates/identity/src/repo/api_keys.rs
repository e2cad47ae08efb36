//! API keys. `standing` is the one query of an authentication.

use std::time::Duration;

use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::api_key::{ApiKeyInfo, NewApiKey};
use crate::permission::PermissionSet;
use crate::principal::{UserKind, UserStatus};
use crate::repo::{changed_one, hash, interval};

/// `last_used_at` is written at most so often.
const LAST_USED_STEP: Duration = Duration::from_secs(60);

/// A key with its user's standing, as an authentication needs them.
pub(crate) struct KeyStanding {
    pub(crate) tenant_id: Uuid,
    pub(crate) user_id: Uuid,
    pub(crate) kind: UserKind,
    pub(crate) status: UserStatus,
    pub(crate) permissions: PermissionSet,
    pub(crate) secret_hash: [u8; 32],
    pub(crate) previous_hash: Option<[u8; 32]>,
    pub(crate) certificate_hash: Option<[u8; 32]>,
    pub(crate) is_in_force: bool,
    pub(crate) is_last_used_old: bool,
}

pub(crate) async fn standing(
    conn: &mut PgConnection,
    key_id: &str,
) -> Result<Option<KeyStanding>, sqlx::Error> {
    let row = sqlx::query!(
        r#"SELECT k.tenant_id, k.user_id, u.kind, u.status, k.scopes, k.secret_hash, k.certificate_hash,
                  CASE WHEN k.previous_valid_until > now() THEN k.previous_hash END AS previous_hash,
                  k.revoked_at IS NULL AND k.expires_at > now() AS "is_in_force!",
                  k.last_used_at IS NULL OR k.last_used_at < now() - $2::interval AS "is_last_used_old!",
                  ARRAY(SELECT p.permission FROM role_assignments a JOIN role_permissions p USING (tenant_id, role)
                        WHERE a.tenant_id = k.tenant_id AND a.user_id = k.user_id) AS "permissions!"
           FROM api_keys k JOIN users u USING (tenant_id, user_id)
           WHERE k.key_id = $1"#,
        key_id,
        interval(LAST_USED_STEP)?,
    )
    .fetch_optional(conn)
    .await?;
    row.map(|row| {
        Ok(KeyStanding {
            tenant_id: row.tenant_id,
            user_id: row.user_id,
            kind: UserKind::stored(&row.kind)?,
            status: UserStatus::stored(&row.status)?,
            permissions: PermissionSet::from_names(row.permissions)
                .intersection(PermissionSet::from_names(row.scopes)),
            secret_hash: hash(&row.secret_hash)?,
            previous_hash: row.previous_hash.as_deref().map(hash).transpose()?,
            certificate_hash: row.certificate_hash.as_deref().map(hash).transpose()?,
            is_in_force: row.is_in_force,
            is_last_used_old: row.is_last_used_old,
        })
    })
    .transpose()
}

/// Waits for nobody: where another session holds the row, that one notes the use, or the next does.
pub(crate) async fn note_use(conn: &mut PgConnection, key_id: &str) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "UPDATE api_keys SET last_used_at = now()
         WHERE key_id = (SELECT key_id FROM api_keys WHERE key_id = $1 FOR NO KEY UPDATE SKIP LOCKED)",
        key_id,
    )
    .execute(conn)
    .await
    .map(drop)
}

pub(crate) async fn insert(
    conn: &mut PgConnection,
    key_id: &str,
    new: &NewApiKey<'_>,
    secret_hash: &[u8; 32],
) -> Result<OffsetDateTime, sqlx::Error> {
    let scopes: Vec<String> = new.scopes.iter().map(|scope| scope.name().to_owned()).collect();
    sqlx::query_scalar!(
        "INSERT INTO api_keys (key_id, tenant_id, user_id, label, secret_hash, scopes, certificate_hash, expires_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, now() + $8) RETURNING expires_at",
        key_id,
        new.tenant_id,
        new.user_id,
        new.label,
        secret_hash.as_slice(),
        &scopes,
        new.certificate_hash.as_ref().map(<[u8; 32]>::as_slice),
        interval(new.lifetime)?,
    )
    .fetch_one(conn)
    .await
}

/// The table itself keeps the secret before (trigger `api_keys_rotate`): the app, which may rotate, reads no hash.
pub(crate) async fn rotate(
    conn: &mut PgConnection,
    tenant_id: Uuid,
    key_id: &str,
    secret_hash: &[u8; 32],
    grace: Duration,
) -> Result<Option<OffsetDateTime>, sqlx::Error> {
    sqlx::query_scalar!(
        "UPDATE api_keys SET secret_hash = $3, previous_valid_until = now() + $4, rotated_at = now()
         WHERE tenant_id = $1 AND key_id = $2 AND revoked_at IS NULL AND expires_at > now() RETURNING expires_at",
        tenant_id,
        key_id,
        secret_hash.as_slice(),
        interval(grace)?,
    )
    .fetch_optional(conn)
    .await
}

pub(crate) async fn revoke(
    conn: &mut PgConnection,
    tenant_id: Uuid,
    key_id: &str,
) -> Result<bool, sqlx::Error> {
    sqlx::query!(
        "UPDATE api_keys SET revoked_at = now() WHERE tenant_id = $1 AND key_id = $2 AND revoked_at IS NULL",
        tenant_id,
        key_id,
    )
    .execute(conn)
    .await
    .map(changed_one)
}

pub(crate) async fn list(conn: &mut PgConnection, tenant_id: Uuid) -> Result<Vec<ApiKeyInfo>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"SELECT key_id, user_id, label, scopes, certificate_hash IS NOT NULL AS "is_certificate_bound!", created_at, expires_at,
                  last_used_at, revoked_at
           FROM api_keys WHERE tenant_id = $1 ORDER BY key_id"#,
        tenant_id,
    )
    .fetch_all(conn)
    .await?;
    let info = rows.into_iter().map(|row| ApiKeyInfo {
        key_id: row.key_id,
        user_id: row.user_id,
        label: row.label,
        scopes: PermissionSet::from_names(row.scopes),
        is_certificate_bound: row.is_certificate_bound,
        created_at: row.created_at,
        expires_at: row.expires_at,
        last_used_at: row.last_used_at,
        revoked_at: row.revoked_at,
    });
    Ok(info.collect())
}

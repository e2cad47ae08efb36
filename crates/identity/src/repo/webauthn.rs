//! WebAuthn: credentials, and the challenges that are open.

use std::time::Duration;

use sqlx::PgConnection;
use uuid::Uuid;

use crate::repo::{changed_one, hash, interval};
use crate::second_factor::{FactorId, FactorInfo};
use crate::webauthn::{Algorithm, Ceremony, MAX_CREDENTIALS, PublicKey};

/// A credential, locked until the transaction ends: of two uses at once the second sees the first's counter.
pub(crate) struct Credential {
    pub(crate) key: PublicKey,
    pub(crate) sign_count: u32,
    pub(crate) is_cloned: bool,
}

/// One a session and ceremony: a new one replaces the one before.
pub(crate) async fn open_challenge(
    conn: &mut PgConnection,
    tenant_id: Uuid,
    session_id: Uuid,
    ceremony: Ceremony,
    challenge_hash: &[u8; 32],
    term: Duration,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "INSERT INTO webauthn_challenges (tenant_id, session_id, ceremony, challenge_hash, expires_at) VALUES ($1, $2, $3, $4, now() + $5)
         ON CONFLICT (tenant_id, session_id, ceremony)
             DO UPDATE SET challenge_hash = EXCLUDED.challenge_hash, issued_at = now(), expires_at = EXCLUDED.expires_at",
        tenant_id,
        session_id,
        ceremony.as_str(),
        challenge_hash.as_slice(),
        interval(term)?,
    )
    .execute(conn)
    .await
    .map(drop)
}

/// Takes the open challenge away, and returns it if it is not too late. Of two at once the second waits for the first's transaction, and then
/// finds none.
pub(crate) async fn take_challenge(
    conn: &mut PgConnection,
    tenant_id: Uuid,
    session_id: Uuid,
    ceremony: Ceremony,
) -> Result<Option<[u8; 32]>, sqlx::Error> {
    let taken = sqlx::query!(
        r#"DELETE FROM webauthn_challenges WHERE tenant_id = $1 AND session_id = $2 AND ceremony = $3
           RETURNING challenge_hash, expires_at > now() AS "is_open!""#,
        tenant_id,
        session_id,
        ceremony.as_str(),
    )
    .fetch_optional(conn)
    .await?;
    taken.filter(|row| row.is_open).map(|row| hash(&row.challenge_hash)).transpose()
}

/// Whether there was room, and nobody in the tenant had it.
pub(crate) async fn insert(
    conn: &mut PgConnection,
    tenant_id: Uuid,
    user_id: Uuid,
    credential_id: &[u8],
    key: &PublicKey,
    sign_count: u32,
    label: &str,
) -> Result<bool, sqlx::Error> {
    sqlx::query!(
        "INSERT INTO webauthn_credentials (tenant_id, user_id, credential_id, algorithm, public_key, sign_count, label)
         SELECT $1, $2, $3, $4, $5, $6, $7
         WHERE (SELECT count(*) FROM webauthn_credentials WHERE tenant_id = $1 AND user_id = $2) < $8
         ON CONFLICT DO NOTHING",
        tenant_id,
        user_id,
        credential_id,
        key.algorithm().cose(),
        key.bytes(),
        i64::from(sign_count),
        label,
        MAX_CREDENTIALS,
    )
    .execute(conn)
    .await
    .map(changed_one)
}

pub(crate) async fn lock(
    conn: &mut PgConnection,
    tenant_id: Uuid,
    user_id: Uuid,
    credential_id: &[u8],
) -> Result<Option<Credential>, sqlx::Error> {
    let row = sqlx::query!(
        r#"SELECT algorithm, public_key, sign_count, cloned_at IS NOT NULL AS "is_cloned!"
           FROM webauthn_credentials WHERE tenant_id = $1 AND user_id = $2 AND credential_id = $3 FOR NO KEY UPDATE"#,
        tenant_id,
        user_id,
        credential_id,
    )
    .fetch_optional(conn)
    .await?;
    row.map(|row| {
        let unreadable =
            || sqlx::Error::Decode("a key or counter that its table's CHECKs do not allow".into());
        let algorithm = Algorithm::from_cose(row.algorithm.into()).ok_or_else(unreadable)?;
        Ok(Credential {
            key: PublicKey::stored(algorithm, row.public_key),
            sign_count: row.sign_count.try_into().map_err(|_| unreadable())?,
            is_cloned: row.is_cloned,
        })
    })
    .transpose()
}

pub(crate) async fn note_use(
    conn: &mut PgConnection,
    tenant_id: Uuid,
    credential_id: &[u8],
    sign_count: u32,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "UPDATE webauthn_credentials SET sign_count = $3, last_used_at = now() WHERE tenant_id = $1 AND credential_id = $2",
        tenant_id,
        credential_id,
        i64::from(sign_count),
    )
    .execute(conn)
    .await
    .map(drop)
}

pub(crate) async fn mark_cloned(
    conn: &mut PgConnection,
    tenant_id: Uuid,
    credential_id: &[u8],
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "UPDATE webauthn_credentials SET cloned_at = now() WHERE tenant_id = $1 AND credential_id = $2",
        tenant_id,
        credential_id,
    )
    .execute(conn)
    .await
    .map(drop)
}

/// What a user's authenticators call their keys.
pub(crate) async fn ids(
    conn: &mut PgConnection,
    tenant_id: Uuid,
    user_id: Uuid,
) -> Result<Vec<Vec<u8>>, sqlx::Error> {
    sqlx::query_scalar!(
        "SELECT credential_id FROM webauthn_credentials WHERE tenant_id = $1 AND user_id = $2 ORDER BY credential_id",
        tenant_id,
        user_id,
    )
    .fetch_all(conn)
    .await
}

pub(crate) async fn list(
    conn: &mut PgConnection,
    tenant_id: Uuid,
    user_id: Uuid,
) -> Result<Vec<FactorInfo>, sqlx::Error> {
    let rows = sqlx::query!(
        "SELECT credential_id, label, created_at, last_used_at, cloned_at FROM webauthn_credentials
         WHERE tenant_id = $1 AND user_id = $2 ORDER BY label, credential_id",
        tenant_id,
        user_id,
    )
    .fetch_all(conn)
    .await?;
    let factors = rows.into_iter().map(|row| FactorInfo {
        id: FactorId::Webauthn(row.credential_id),
        label: Some(row.label),
        created_at: row.created_at,
        last_used_at: row.last_used_at,
        cloned_at: row.cloned_at,
    });
    Ok(factors.collect())
}

pub(crate) async fn remove(
    conn: &mut PgConnection,
    tenant_id: Uuid,
    user_id: Uuid,
    credential_id: &[u8],
) -> Result<bool, sqlx::Error> {
    sqlx::query!(
        "DELETE FROM webauthn_credentials WHERE tenant_id = $1 AND user_id = $2 AND credential_id = $3",
        tenant_id,
        user_id,
        credential_id,
    )
    .execute(conn)
    .await
    .map(changed_one)
}

/// Whether the user has any second factor in force, of whatever kind.
pub(crate) async fn has_second_factor(
    conn: &mut PgConnection,
    tenant_id: Uuid,
    user_id: Uuid,
) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar!(
        r#"SELECT EXISTS (SELECT FROM totp_secrets WHERE tenant_id = $1 AND user_id = $2 AND confirmed_at IS NOT NULL)
               OR EXISTS (SELECT FROM webauthn_credentials WHERE tenant_id = $1 AND user_id = $2) AS "has_one!""#,
        tenant_id,
        user_id,
    )
    .fetch_one(conn)
    .await
}

pub(crate) async fn delete_expired(
    conn: &mut PgConnection,
    kept: Duration,
    limit: i64,
) -> Result<u64, sqlx::Error> {
    sqlx::query!(
        "DELETE FROM webauthn_challenges WHERE (tenant_id, session_id, ceremony) IN (
             SELECT tenant_id, session_id, ceremony FROM webauthn_challenges WHERE expires_at < now() - $1::interval LIMIT $2)",
        interval(kept)?,
        limit,
    )
    .execute(conn)
    .await
    .map(|done| done.rows_affected())
}

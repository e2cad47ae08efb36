//! The wish for a better offer: the app's role puts it, and whoever works the signer takes it away together with the attempt that meets it.

use plimsoll_types::AttemptPurpose;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::attempt::Attempt;

/// Puts the wish, where there is something to offer more for and nobody asks for it already; whether it could be put.
pub(crate) async fn wish(
    conn: &mut PgConnection,
    id: Uuid,
    actor: &str,
    why: &str,
) -> Result<bool, sqlx::Error> {
    let result = sqlx::query!(
        "UPDATE managed_transactions SET speed_up_wanted = $2, speed_up_by = $3, updated_at = clock_timestamp()
         WHERE id = $1 AND state = 'tracking' AND block_hash IS NULL AND end_wanted IS NULL AND speed_up_wanted IS NULL",
        id,
        why,
        actor,
    )
    .execute(conn)
    .await?;
    Ok(result.rows_affected() == 1)
}

/// These attempts offer more than what was there before.
pub(crate) async fn met(conn: &mut PgConnection, attempts: &[Attempt]) -> Result<(), sqlx::Error> {
    let bumps = attempts.iter().filter(|attempt| attempt.purpose == AttemptPurpose::Bump);
    let ids: Vec<_> = bumps.map(|attempt| attempt.transaction_id).collect();
    if ids.is_empty() {
        return Ok(());
    }
    sqlx::query!(
        "UPDATE managed_transactions SET speed_up_wanted = NULL, speed_up_by = NULL, updated_at = clock_timestamp()
         WHERE id = ANY($1) AND speed_up_wanted IS NOT NULL",
        &ids,
    )
    .execute(conn)
    .await?;
    Ok(())
}

//! Who stands by for a signer: leases, read by the worker.

use sqlx::PgConnection;

/// The names of the leases that begin so and are held.
pub(crate) async fn held(conn: &mut PgConnection, prefix: &str) -> Result<Vec<String>, sqlx::Error> {
    sqlx::query_scalar!(
        "SELECT name FROM leases WHERE starts_with(name, $1) AND expires_at > clock_timestamp()",
        prefix
    )
    .fetch_all(conn)
    .await
}

/// Removes those that begin so and ended long ago. Nothing is fenced by their tokens.
pub(crate) async fn forget(conn: &mut PgConnection, prefix: &str) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "DELETE FROM leases WHERE starts_with(name, $1) AND expires_at < clock_timestamp() - interval '1 day'",
        prefix
    )
    .execute(conn)
    .await?;
    Ok(())
}

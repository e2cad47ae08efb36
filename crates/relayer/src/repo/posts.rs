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

/// Removes the names of those who stood by for any signer and are long gone. Nothing is fenced by their tokens.
pub(crate) async fn forget(conn: &mut PgConnection) -> Result<(), sqlx::Error> {
    sqlx::query!("SELECT forget_standbys()").execute(conn).await?;
    Ok(())
}

//! The setting that row-level security reads.

use sqlx::PgConnection;

/// Confines the current transaction to `tenants` (uuids, comma separated).
pub(crate) async fn confine(conn: &mut PgConnection, tenants: &str) -> Result<(), sqlx::Error> {
    sqlx::query!("SELECT set_config('plimsoll.tenants', $1, true)", tenants).fetch_one(conn).await.map(drop)
}

//! One posting in a transaction of the caller's, with whatever else that commits.

use sqlx::PgConnection;

use crate::batch::{self, Posted};
use crate::error::PostError;
use crate::posting::Posting;

/// Books a posting in a transaction that is confined to its tenant: what will have come of it once that is committed.
///
/// # Errors
/// [`PostError`]. After [`PostError::Database`] the transaction is rolled back; where another one has just used the key or the accounts, the same again finds it.
pub async fn post_in(conn: &mut PgConnection, posting: &Posting) -> Result<Posted, PostError> {
    batch::post(conn, &[posting], None).await?.pop().unwrap_or(Err(PostError::Stopped))
}

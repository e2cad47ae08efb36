//! One request in a transaction of the caller's: what an operator hands in is on record together with its audit entry, or is only rehearsed.
//!
//! Whoever hands in many goes through [`crate::Intake`], where they share transactions.

use std::collections::HashMap;

use plimsoll_bus::PublishError;
use sqlx::PgConnection;

use crate::accept::{self, AcceptError, Accepted};
use crate::allowance::Granted;
use crate::grant::SignerPolicy;
use crate::intake::SubmitError;
use crate::request::{Request, SignerId};

/// Puts a tenant's request on record, as far as one of these signers grants it. `conn` is confined to the tenant.
///
/// # Errors
/// [`SubmitError`]; roll back then.
pub async fn submit_in(
    conn: &mut PgConnection,
    node: &str,
    policies: &HashMap<SignerId, SignerPolicy>,
    request: &Request,
) -> Result<Accepted, SubmitError> {
    request.check()?;
    // What is there under its key is told, whatever is granted now.
    if let Some(known) = accept::found(conn, &[request]).await.map_err(database)?.pop().flatten() {
        return Ok(known?);
    }
    let granted = Granted::of(policies, request)?;
    if granted.counts(request) {
        let mut day = granted.day(conn).await.map_err(database)?;
        // Whoever counted before may have put this very request, which counts already.
        if let Some(known) = accept::found(conn, &[request]).await.map_err(database)?.pop().flatten() {
            return Ok(known?);
        }
        granted.give(&mut day, request)?;
    }
    let put = accept::put(conn, node, &[request]).await.map_err(published)?.outcomes.pop();
    Ok(put.unwrap_or(Err(AcceptError::Stopped))?)
}

fn database(error: sqlx::Error) -> SubmitError {
    published(error.into())
}

fn published(error: PublishError) -> SubmitError {
    AcceptError::Database(std::sync::Arc::new(error)).into()
}

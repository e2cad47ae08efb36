//! Kill switches: an operator's word that nothing new is sent, of everything, of a tenant, of a signer, or of a tenant by a signer.
//!
//! A switch is looked at in the transaction that would give a nonce, and by the same statement ([`crate::book::Book::enter`]): a batch that is being given nonces at that very moment may still be committed, and the next one finds the
//! switch. What is under way goes on, since its bytes may be with any node; to end that, it is called off.

use plimsoll_types::address_text;
use sqlx::PgConnection;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use uuid::Uuid;

use crate::repo::switches as repo;
use crate::request::SignerId;
use crate::signers;

/// The longest reason.
pub const REASON_MAX_CHARS: usize = 500;

/// What a switch holds back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scope {
    /// One tenant's requests; none: everybody's.
    pub tenant_id: Option<Uuid>,
    /// One signer's; none: every signer's.
    pub signer: Option<SignerId>,
}

impl std::fmt::Display for Scope {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.tenant_id, self.signer) {
            (None, None) => f.write_str("everything"),
            (Some(tenant), None) => write!(f, "everything of tenant {tenant}"),
            (None, Some(signer)) => write!(f, "everything of signer {signer}"),
            (Some(tenant), Some(signer)) => write!(f, "everything of tenant {tenant} by signer {signer}"),
        }
    }
}

/// A switch that is thrown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Switch {
    /// Its number.
    pub id: i64,
    /// What it holds back.
    pub scope: Scope,
    /// Who threw it.
    pub thrown_by: String,
    /// Why.
    pub reason: String,
    /// When.
    pub thrown_at: OffsetDateTime,
}

/// Why a switch was not thrown.
#[derive(Debug, thiserror::Error)]
pub enum SwitchError {
    /// It is thrown already.
    #[error("{scope} is halted already, since {thrown_at} by {thrown_by}: {reason}", scope = .0.scope, thrown_at = when(.0.thrown_at), thrown_by = .0.thrown_by, reason = .0.reason)]
    Thrown(Box<Switch>),
    /// No such signer was ever made known.
    #[error("there is no signer {0}")]
    UnknownSigner(SignerId),
    /// The database's.
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

/// As the answers of the API have it.
fn when(at: OffsetDateTime) -> String {
    at.format(&Rfc3339).unwrap_or_else(|_| at.to_string())
}

/// Throws a switch. `conn` is confined to the tenant that the switch is of, or the worker's.
///
/// # Errors
/// [`SwitchError`]; roll back then.
pub async fn throw(
    conn: &mut PgConnection,
    scope: Scope,
    by: &str,
    reason: &str,
) -> Result<Switch, SwitchError> {
    if let Some(signer) = scope.signer
        && !signers::is_known(conn, signer).await?
    {
        return Err(SwitchError::UnknownSigner(signer));
    }
    if let Some(thrown) = repo::throw(conn, scope, by, reason).await? {
        return Ok(thrown);
    }
    match repo::find(conn, scope).await? {
        Some(thrown) => Err(SwitchError::Thrown(Box::new(thrown))),
        // Released between the two statements: whoever asks again throws it.
        None => Err(SwitchError::Database(sqlx::Error::RowNotFound)),
    }
}

/// Releases the switch of this scope; none: it was not thrown.
///
/// # Errors
/// The database's.
pub async fn release(conn: &mut PgConnection, scope: Scope) -> Result<Option<Switch>, sqlx::Error> {
    repo::release(conn, scope).await
}

/// The switches that are thrown and that `conn` may see: a tenant's own and the platform's, or all of them. The oldest first.
///
/// # Errors
/// The database's.
pub async fn thrown(conn: &mut PgConnection) -> Result<Vec<Switch>, sqlx::Error> {
    repo::thrown(conn).await
}

/// A signer's columns.
pub(crate) fn columns(signer: Option<SignerId>) -> (Option<i64>, Option<String>) {
    signer.map(|signer| (crate::repo::to_i64(signer.chain_id), address_text(&signer.address))).unzip()
}

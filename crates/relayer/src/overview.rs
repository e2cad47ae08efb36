//! The global view: each signer with its queue, its window, its nonces, who works it, and what the chain said of it last.
//!
//! For whoever runs the platform: it is of all tenants together, and read as the worker.

use alloy_primitives::{Address, U256};
use sqlx::PgConnection;
use time::OffsetDateTime;

use crate::reconcile::Finding;
use crate::repo::overview as repo;
use crate::request::SignerId;

/// A queue is counted up to this: whoever has more waiting knows enough.
pub const QUEUE_COUNTED: i64 = 100_000;

/// A signer, as the database has it at one moment.
#[derive(Clone, Debug)]
pub struct Overview {
    /// Which.
    pub signer: SignerId,
    /// As it is configured.
    pub name: String,
    /// The first nonce that nothing was signed for.
    pub next_nonce: u64,
    /// The first nonce that no block has consumed, as the journal says.
    pub consumed_next: u64,
    /// Requests that wait for a nonce, up to [`QUEUE_COUNTED`].
    pub queued: u64,
    /// When the oldest of these was accepted.
    pub oldest_queued_at: Option<OffsetDateTime>,
    /// Requests that have a nonce which no block has consumed.
    pub in_flight: u64,
    /// When the first attempt of the foremost of these was committed.
    pub front_since: Option<OffsetDateTime>,
    /// Who does in its place what it has not begun, and since when.
    pub rotated_to: Option<(Address, OffsetDateTime)>,
    /// Who works it.
    pub lease: Option<Holder>,
    /// What the chain said.
    pub sighting: Option<Sighting>,
    /// By the database's clock, when this was read.
    pub read_at: OffsetDateTime,
}

/// Who works a signer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Which process.
    pub holder: String,
    /// Its fencing token.
    pub token: u64,
    /// Until when, unless it is renewed.
    pub expires_at: OffsetDateTime,
}

/// What the chain said of a signer when it was compared with the database last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sighting {
    /// The first nonce that no block has consumed, as most endpoints say; none: too few say it.
    pub latest: Option<u64>,
    /// The same, with what waits in their pools.
    pub pending: Option<u64>,
    /// In wei; none: nobody says it.
    pub balance_wei: Option<U256>,
    /// What is under way may cost so much at most, in wei.
    pub needed_wei: U256,
    /// Endpoints that told the nonces.
    pub answered: u32,
    /// All endpoints.
    pub endpoints: u32,
    /// What did not agree.
    pub findings: Vec<Finding>,
    /// When.
    pub seen_at: OffsetDateTime,
}

/// All signers that were ever made known, by chain and name. `conn` is the worker's.
///
/// # Errors
/// The database's.
pub async fn signers(conn: &mut PgConnection) -> Result<Vec<Overview>, sqlx::Error> {
    repo::signers(conn).await
}

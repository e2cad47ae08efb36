//! A signer's post: who works it, and who stands by.
//!
//! One lease says who works a signer. Beside it everyone who has the signer's key keeps a lease of its own for as long as it lives: these name those who stand by, and of them
//! [`crate::route`] says who is to work it. That one takes the post as soon as it is free. The others try more seldom: they are there for when it does not come. Whoever works a signer that has
//! become another's gives it up, and what waits for it goes with it, since all of that is in the database.
//!
//! So a client that hands its requests in where they are worked is told at once what a bell can tell within a process. Nothing depends on it: two who want the same signer have one lease
//! between them.

use std::future::Future;
use std::time::Duration;

use plimsoll_store::{Db, Lease, LeaseError, Leases};
use sqlx::PgConnection;
use tokio_util::sync::CancellationToken;

use crate::book::BookError;
use crate::repo::posts as repo;
use crate::request::SignerId;
use crate::route;

/// Between two attempts at a post that is one's own.
const POLL: Duration = Duration::from_millis(200);
/// Between two attempts at one that is another's.
const POLL_FOR_ANOTHER: Duration = Duration::from_secs(2);
/// Whoever works a signer looks so often whether it is another's.
const LOOK: Duration = Duration::from_secs(5);
/// After so many looks in a row it gives the signer up: who stands by may be seen a moment late.
const LOOKS: u32 = 2;

/// What the names of all leases of those who stand by begin with.
const STANDBY: &str = "standby/";

/// The name of a signer's lease.
#[must_use]
pub fn lease_name(signer: SignerId) -> String {
    format!("signer/{signer}")
}

/// The name of the lease under which a node stands by for a signer.
#[must_use]
pub fn standby_name(signer: SignerId, node: &str) -> String {
    format!("{}{node}", standby_prefix(signer))
}

/// What the names of the leases of those who stand by for a signer begin with; the node's name follows.
fn standby_prefix(signer: SignerId) -> String {
    format!("{STANDBY}{signer}/")
}

/// The node that works a signer, or is to: of those who stand by. None: nobody does.
///
/// # Errors
/// The database's. The worker's role alone may ask.
pub async fn node_of(conn: &mut PgConnection, signer: SignerId) -> Result<Option<String>, sqlx::Error> {
    let leases = repo::held(conn, &standby_prefix(signer)).await?;
    Ok(among(&leases, signer))
}

/// The names of the leases of all who stand by for any signer.
pub(crate) async fn standing_by(conn: &mut PgConnection) -> Result<Vec<String>, sqlx::Error> {
    repo::held(conn, STANDBY).await
}

/// The node that works a signer, or is to, of those who stand by under these leases; names of other leases say nothing.
#[must_use]
pub fn among(leases: &[String], signer: SignerId) -> Option<String> {
    let prefix = standby_prefix(signer);
    let nodes: Vec<_> = leases.iter().filter_map(|name| name.strip_prefix(&prefix)).collect();
    route::preferred(&nodes, signer.chain_id, signer.address).map(str::to_owned)
}

/// Tries to have the post until it is had: `is_mine` says whether the signer is this node's, and `take` takes its lease if that is free.
///
/// # Errors
/// What these two say; [`BookError::Fenced`] after `stop`.
pub async fn until_had<T, Mine, Take>(
    signer: SignerId,
    stop: &CancellationToken,
    is_mine: impl Fn() -> Mine,
    take: impl Fn() -> Take,
) -> Result<T, BookError>
where
    Mine: Future<Output = Result<bool, BookError>>,
    Take: Future<Output = Result<Option<T>, BookError>>,
{
    let cancelled = || BookError::from(LeaseError::Cancelled { name: lease_name(signer) });
    loop {
        let is_mine = is_mine().await?;
        if !is_mine {
            stop.run_until_cancelled(tokio::time::sleep(POLL_FOR_ANOTHER)).await.ok_or_else(cancelled)?;
        }
        if let Some(had) = stop.run_until_cancelled(take()).await.ok_or_else(cancelled)?? {
            return Ok(had);
        }
        if is_mine {
            stop.run_until_cancelled(tokio::time::sleep(POLL)).await.ok_or_else(cancelled)?;
        }
    }
}

/// Resolves when the signer has been another node's for some looks in a row.
pub async fn until_elsewhere<Mine>(is_mine: impl Fn() -> Mine)
where
    Mine: Future<Output = Result<bool, BookError>>,
{
    let mut looks = 0;
    while looks < LOOKS {
        tokio::time::sleep(LOOK).await;
        // A database that does not answer says nothing of who stands by.
        looks = if is_mine().await.unwrap_or(true) { 0 } else { looks + 1 };
    }
}

/// The right to work a signer.
#[derive(Debug)]
pub struct Post {
    signer: SignerId,
    lease: Lease,
    /// Held beside it, and while it was waited for.
    _standby: Lease,
}

impl Post {
    /// Stands by, and waits until the post is had.
    pub(crate) async fn take(
        db: &Db,
        leases: &Leases,
        signer: SignerId,
        node: &str,
        stop: &CancellationToken,
    ) -> Result<Self, BookError> {
        let name = lease_name(signer);
        repo::forget(&mut *db.worker().acquire().await?).await?;
        let standby = leases.acquire_wait(&standby_name(signer, node), stop).await?;
        let name = name.as_str();
        let take = || async move { Ok(leases.acquire(name).await?) };
        let lease = until_had(signer, stop, || is_mine(db, signer, node), take).await?;
        Ok(Self { signer, lease, _standby: standby })
    }

    pub(crate) fn lost(&self) -> &CancellationToken {
        self.lease.lost()
    }

    pub(crate) fn token(&self) -> i64 {
        self.lease.token()
    }

    pub(crate) async fn guard(&self, conn: &mut PgConnection) -> Result<(), LeaseError> {
        self.lease.guard(conn).await
    }

    /// Resolves when another of those who stand by is to work the signer.
    pub(crate) async fn elsewhere(&self, db: &Db, node: &str) {
        until_elsewhere(|| is_mine(db, self.signer, node)).await;
    }
}

async fn is_mine(db: &Db, signer: SignerId, node: &str) -> Result<bool, BookError> {
    let mut conn = db.worker().acquire().await?;
    Ok(node_of(&mut conn, signer).await?.is_none_or(|of| of == node))
}

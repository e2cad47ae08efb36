//! What the chain's fold tells of users' transactions: as of our own, by compare-and-set on the state, from the journal's records alone.

use plimsoll_bus::PublishError;
use plimsoll_journal::FoldError;
use plimsoll_types::TransactionState::{self, Confirmed, Mined, Tracking};
use sqlx::PgConnection;

use crate::fold::Seen;
use crate::history;
use crate::repo::{Changed, user_verdict as repo};

const ACTOR: &str = "fold:relayer";

/// Whether there is anything on this chain that may change.
pub(crate) async fn is_idle(conn: &mut PgConnection, chain_id: u64) -> Result<bool, FoldError> {
    Ok(!repo::has_open(conn, chain_id).await?)
}

async fn tell(
    conn: &mut PgConnection,
    from: TransactionState,
    because: &str,
    changes: &[Changed],
) -> Result<(), FoldError> {
    if changes.is_empty() {
        return Ok(());
    }
    history::publish_as(conn, ACTOR, Some(from), because, changes).await.map_err(|error| match error {
        PublishError::Database(error) => FoldError::Database(error),
        // What we write ourselves is bounded and has its keys.
        other => FoldError::Database(sqlx::Error::Encode(other.to_string().into())),
    })
}

/// These are in blocks.
pub(crate) async fn included(conn: &mut PgConnection, chain_id: u64, seen: &[Seen]) -> Result<(), FoldError> {
    if seen.is_empty() {
        return Ok(());
    }
    let mined = repo::mined(conn, chain_id, seen).await?;
    tell(conn, Tracking, "it is in a block", &mined).await?;
    let displaced = repo::displaced(conn, chain_id, seen).await?;
    tell(conn, Tracking, "another transaction of its sender is in a block at its nonce", &displaced).await
}

/// Blocks up to this one have the confirmations.
pub(crate) async fn confirmed(conn: &mut PgConnection, chain_id: u64, number: u64) -> Result<(), FoldError> {
    let confirmed = repo::confirm(conn, chain_id, number).await?;
    tell(conn, Mined, "its block has the confirmations", &confirmed).await
}

/// Blocks up to this one are final.
pub(crate) async fn finalized(conn: &mut PgConnection, chain_id: u64, number: u64) -> Result<(), FoldError> {
    // What was in a block before it was handed in: the fold had passed that block by then.
    let found = repo::missed(conn, chain_id, number).await?;
    included(conn, chain_id, &found).await?;
    confirmed(conn, chain_id, number).await?;
    repo::settle(conn, chain_id, number).await?;
    let failed = repo::fail(conn, chain_id, number).await?;
    tell(conn, Mined, "its block is final", &failed).await?;
    let replaced = repo::replace(conn, chain_id, number).await?;
    tell(conn, Tracking, "the block that took its nonce is final", &replaced).await
}

/// The blocks of these left the chain.
pub(crate) async fn taken_back(
    conn: &mut PgConnection,
    chain_id: u64,
    seen: &[Seen],
) -> Result<(), FoldError> {
    if seen.is_empty() {
        return Ok(());
    }
    let revised = repo::revise(conn, chain_id, seen).await?;
    for transaction in &revised {
        tracing::error!(
            chain_id,
            transaction_id = %transaction.id,
            "a user's transaction that was told to be confirmed is not: the chain went back further than its confirmations"
        );
    }
    metrics::counter!("relayer_revised_total", "chain" => chain_id.to_string())
        .increment(revised.len() as u64);
    tell(conn, Confirmed, "a reorganisation deeper than the confirmations", &revised).await?;
    for from in [Mined, Tracking] {
        let back = repo::take_back(conn, chain_id, from, seen).await?;
        tell(conn, from, "its block left the chain", &back).await?;
    }
    Ok(())
}

//! What a tenant can show of its log: signed checkpoints, the keys to check them against, and proofs under them. In a transaction of the caller's that is confined to the tenant.

use plimsoll_proof::ledger::checkpoint::NoteKey;
use plimsoll_proof::ledger::tiles::{Missing, Needs};
use plimsoll_proof::ledger::tree::{OutOfRange, Plan};
use plimsoll_types::api::{LedgerCheckpoint, LedgerConsistency, LedgerInclusion, LedgerKey};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::repo::proofs::{self as repo, CheckpointRow};
use crate::repo::unreadable;

/// Why there is no such proof.
#[derive(Debug, thiserror::Error)]
pub enum ProofError {
    /// No posting of the tenant's.
    #[error("the tenant has no posting {posting_id}")]
    UnknownPosting {
        /// Which.
        posting_id: Uuid,
    },
    /// No checkpoint of that size, or none at all.
    #[error("no checkpoint of the tenant's log {}", size_of(.tree_size))]
    NoCheckpoint {
        /// The size that was asked for.
        tree_size: Option<u64>,
    },
    /// The posting is not in the log, or only in a later one.
    #[error(
        "the posting is in no log of that size: it is sealed within about a second of being booked, and in every later checkpoint"
    )]
    NotCovered,
    /// Sizes the wrong way round.
    #[error(transparent)]
    Range(#[from] OutOfRange),
    /// The log's tables have a hole.
    #[error("the log is broken: {0}; run `plimsoll verify ledger`")]
    Broken(#[from] Missing),
    /// The database's.
    #[error("the log: {0}")]
    Database(#[from] sqlx::Error),
}

fn size_of(tree_size: &Option<u64>) -> String {
    tree_size.map_or_else(|| "is signed yet".to_owned(), |size| format!("has {size} postings"))
}

/// The tenant's signed checkpoint of that size, or the latest.
///
/// # Errors
/// [`ProofError::NoCheckpoint`], or the database's.
pub async fn checkpoint(
    conn: &mut PgConnection,
    tenant_id: Uuid,
    tree_size: Option<u64>,
) -> Result<LedgerCheckpoint, ProofError> {
    let found = repo::checkpoint(conn, tenant_id, tree_size).await?;
    let CheckpointRow { origin, tree_size, root_hash, note, created_at } =
        found.ok_or(ProofError::NoCheckpoint { tree_size })?;
    Ok(LedgerCheckpoint { origin, tree_size, root_hash, note, created_at })
}

/// The keys that have signed the tenant's checkpoints, the newest first.
///
/// # Errors
/// The database's.
pub async fn keys(conn: &mut PgConnection, tenant_id: Uuid) -> Result<Vec<LedgerKey>, sqlx::Error> {
    let rows = repo::keys(conn, tenant_id).await?;
    rows.into_iter()
        .map(|(origin, key, since)| {
            let bytes = key.as_slice().try_into().map_err(|_| unreadable("a key that is not 32 bytes"))?;
            let key = NoteKey::new(&origin, bytes).map_err(|fault| unreadable(fault.to_string()))?;
            Ok(LedgerKey { key: key.to_string(), origin, since })
        })
        .collect()
}

/// The proof that a posting is in the log of the checkpoint of that size, or of the latest.
///
/// # Errors
/// [`ProofError`].
pub async fn inclusion(
    conn: &mut PgConnection,
    tenant_id: Uuid,
    posting_id: Uuid,
    tree_size: Option<u64>,
) -> Result<LedgerInclusion, ProofError> {
    let found = repo::leaf(conn, tenant_id, posting_id).await?;
    let leaf = found.ok_or(ProofError::UnknownPosting { posting_id })?.ok_or(ProofError::NotCovered)?;
    let checkpoint = checkpoint(conn, tenant_id, tree_size).await?;
    if leaf.index >= checkpoint.tree_size {
        return Err(ProofError::NotCovered);
    }
    let plan = Plan::inclusion(leaf.index, checkpoint.tree_size)?;
    let needs = Needs::new(checkpoint.tree_size, plan.needs());
    let nodes = repo::nodes(conn, tenant_id, checkpoint.tree_size, &needs).await?;
    Ok(LedgerInclusion {
        posting_id,
        leaf_index: leaf.index,
        prev_entry_hash: leaf.prev_entry_hash,
        posting_digest: leaf.digest,
        entry_hash: leaf.entry_hash,
        proof: plan.read(&nodes)?,
        checkpoint,
    })
}

/// The proof that the log of one checkpoint is the beginning of that of another; of the latest, where `to` is not given.
///
/// # Errors
/// [`ProofError`].
pub async fn consistency(
    conn: &mut PgConnection,
    tenant_id: Uuid,
    from: u64,
    to: Option<u64>,
) -> Result<LedgerConsistency, ProofError> {
    let from = checkpoint(conn, tenant_id, Some(from)).await?;
    let to = checkpoint(conn, tenant_id, to).await?;
    let plan = Plan::consistency(from.tree_size, to.tree_size)?;
    let needs = Needs::new(to.tree_size, plan.needs());
    let nodes = repo::nodes(conn, tenant_id, to.tree_size, &needs).await?;
    Ok(LedgerConsistency { proof: plan.read(&nodes)?, from, to })
}

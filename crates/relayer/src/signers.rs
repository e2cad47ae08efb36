//! Signers made known: to the database, and to whoever follows their chain.
//!
//! A signer is watched before anything of it is sent: its holder gives no nonce until a writer of the chain's journal has acknowledged that no inclusion of it can be missing.

use plimsoll_journal::WatchError;
use plimsoll_store::Db;
use sqlx::PgConnection;

use crate::grant::{ForeignUse, SignerPolicy};
use crate::repo::signers as repo;
use crate::request::SignerId;

/// Why a signer is not known.
#[derive(Debug, thiserror::Error)]
pub enum RegisterError {
    /// Its chain is not followed yet, or cannot be read.
    #[error(transparent)]
    Watch(#[from] WatchError),
    /// Postgres.
    #[error("database: {0}")]
    Database(#[from] sqlx::Error),
}

/// Makes these signers known, with their names and policies, and has their transactions followed from the journal's next block on. What is known already stays as it is,
/// or gets its new name and policy.
///
/// # Errors
/// [`RegisterError`]; then none of them was made known.
pub async fn register(db: &Db, signers: &[SignerPolicy]) -> Result<(), RegisterError> {
    let mut tx = db.begin_worker().await?;
    for policy in signers {
        let signer = SignerId { chain_id: policy.chain_id, address: policy.address };
        let requeues = policy.on_foreign_use == ForeignUse::Requeue;
        // First: it is what knows whether the chain has a journal.
        plimsoll_journal::watch(&mut tx, signer.chain_id, signer.address, None, "relayer").await?;
        repo::register(&mut tx, signer, &policy.name, requeues).await?;
    }
    tx.commit().await?;
    Ok(())
}

/// Whether it is a signer of the platform's, here or in any process.
///
/// # Errors
/// The database's.
pub async fn is_known(conn: &mut PgConnection, signer: SignerId) -> Result<bool, sqlx::Error> {
    repo::is_known(conn, signer).await
}

//! Rotation: one signer does from now on what another was asked for and has not begun.
//!
//! What has a nonce ends where it is: its bytes may be with any node, and no other signer can consume that nonce. What waits moves, with its place in the queue, its natural key and its
//! fingerprint, so whoever asks again for what was handed in with the old signer is told of the same transaction.
//!
//! # Why nothing is lost or done twice
//! A nonce is given under the lock of the signer's row, and so is the mark set, and so are requests moved: one after the other. Before the mark, what got a nonce is not pending any more and stays. After it,
//! whoever still has the request in hand finds that it is another signer's, or that its own signer is marked, and gives nothing ([`crate::book::Book::enter`]). What was being accepted at that moment, and
//! what comes back because a stranger took its nonce, is moved by the next [`hand_over`], which anybody may do at any time: it reads the mark.

use plimsoll_bus::PublishError;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::grant::{Grant, Grantee, SignerPolicy};
use crate::history;
use crate::repo::rotation as repo;
use crate::request::SignerId;

/// In whose name requests are moved.
const ACTOR: &str = "relayer:rotation";
/// The most requests that one transaction moves.
pub const MOVED_MAX: usize = 4_096;

/// Why a signer does not hand over.
#[derive(Debug, thiserror::Error)]
pub enum RotateError {
    /// No such signer was ever made known.
    #[error("there is no signer {0}")]
    UnknownSigner(SignerId),
    /// It cannot be on another chain, or the same.
    #[error("{old} cannot hand over to {new}: that must be another signer of the same chain")]
    NotAnother {
        /// Who would hand over.
        old: SignerId,
        /// To whom.
        new: SignerId,
    },
    /// It hands over to somebody else already.
    #[error("{old} hands over to {to} already")]
    RotatedAlready {
        /// Who hands over.
        old: SignerId,
        /// To whom.
        to: SignerId,
    },
    /// Whoever would take over hands over, too.
    #[error("{new} hands over to {to} itself: name {to}")]
    SuccessorIsRotated {
        /// Who would take over.
        new: SignerId,
        /// Who does.
        to: SignerId,
    },
    /// What was moved could not be published.
    #[error(transparent)]
    Publish(#[from] PublishError),
    /// The database's.
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

/// Why a tenant's operator may not have a signer hand over.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotTheirs {
    /// What it does is not the tenant's alone.
    #[error("the signer {signer} is not this tenant's alone")]
    Shared {
        /// Its name.
        signer: String,
    },
    /// The successor would do what it does not grant.
    #[error("the signer {successor} does not grant this tenant the same as {signer}")]
    GrantsOther {
        /// Who would hand over.
        signer: String,
        /// Who would take over.
        successor: String,
    },
}

/// Whether a tenant's operator may have `old` hand over to `new`: all that `old` does is the tenant's, so that nobody else's requests move, and the tenant may have `new` do just the same, so that
/// nothing gets around a grant.
///
/// # Errors
/// [`NotTheirs`].
pub fn is_theirs(tenant_id: Uuid, old: &SignerPolicy, new: &SignerPolicy) -> Result<(), NotTheirs> {
    let [own @ Grant { grantee: Grantee::Tenant(of), .. }] = &old.grants[..] else {
        return Err(NotTheirs::Shared { signer: old.name.clone() });
    };
    if *of != tenant_id {
        return Err(NotTheirs::Shared { signer: old.name.clone() });
    }
    let is_same =
        new.grant_of(tenant_id).is_ok_and(|given| Grant { grantee: own.grantee, ..given.clone() } == *own);
    match is_same {
        true => Ok(()),
        false => Err(NotTheirs::GrantsOther { signer: old.name.clone(), successor: new.name.clone() }),
    }
}

/// Has `old` hand over to `new` from now on; whether it did not before. What waits is moved by [`hand_over`]. `conn` is the worker's, or the app's.
///
/// # Errors
/// [`RotateError`]; roll back then.
pub async fn mark(conn: &mut PgConnection, old: SignerId, new: SignerId) -> Result<bool, RotateError> {
    if old == new || old.chain_id != new.chain_id {
        return Err(RotateError::NotAnother { old, new });
    }
    let before = repo::mark(conn, old, new.address).await?;
    let of = |signer: SignerId| {
        let found = before.iter().find(|row| row.address == signer.address);
        found.map(|row| row.rotated_to).ok_or(RotateError::UnknownSigner(signer))
    };
    let at = |address| SignerId { chain_id: old.chain_id, address };
    if let Some(to) = of(new)? {
        return Err(RotateError::SuccessorIsRotated { new, to: at(to) });
    }
    match of(old)? {
        None => Ok(true),
        Some(to) if to == new.address => Ok(false),
        Some(to) => Err(RotateError::RotatedAlready { old, to: at(to) }),
    }
}

/// [`mark`], and moves the first [`MOVED_MAX`] requests that wait; how many. Repeat [`hand_over`] until it moves none. Again for the same two, it only moves. `conn` is the worker's.
///
/// # Errors
/// [`RotateError`]; roll back then.
pub async fn rotate(conn: &mut PgConnection, old: SignerId, new: SignerId) -> Result<usize, RotateError> {
    mark(conn, old, new).await?;
    hand_over(conn, old).await
}

/// Moves requests that wait for a signer that hands over: at most [`MOVED_MAX`]; how many. None of one that does not.
///
/// # Errors
/// [`RotateError::Publish`] and [`RotateError::Database`]; roll back then.
pub async fn hand_over(conn: &mut PgConnection, old: SignerId) -> Result<usize, RotateError> {
    repo::lock(conn, old).await?;
    let moved = repo::hand_over(conn, old, i64::try_from(MOVED_MAX).unwrap_or(i64::MAX)).await?;
    let pending = Some(plimsoll_types::TransactionState::Pending);
    let because = format!("{old} hands over to another signer");
    history::publish_as(conn, ACTOR, pending, &because, &moved).await?;
    Ok(moved.len())
}

/// The signers of a chain that hand over and have requests that wait.
///
/// # Errors
/// The database's.
pub async fn unfinished(conn: &mut PgConnection, chain_id: u64) -> Result<Vec<SignerId>, sqlx::Error> {
    repo::unfinished(conn, chain_id).await
}

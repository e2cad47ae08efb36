//! Accepting: durable, and once per `(tenant_id, request_id, operation_type)`. Here is what one transaction does for many requests; [`crate::intake`] is the way in.

use std::collections::HashMap;
use std::sync::Arc;

use plimsoll_bus::PublishError;
use plimsoll_store::Db;
use plimsoll_types::{Context, TransactionState};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::history;
use crate::repo::read::Row;
use crate::repo::{Changed, accept as repo};
use crate::request::{Invalid, Request, SignerId};

/// A request that is on record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// The transaction's id.
    pub id: Uuid,
    /// Where it stands.
    pub state: TransactionState,
    /// Whether it was there before.
    pub is_replay: bool,
    /// How many requests were in the transaction that says so.
    pub batch: usize,
}

/// Why a request is not on record.
#[derive(Debug, thiserror::Error)]
pub enum AcceptError {
    /// It is not a request.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// Nobody here signs for that address.
    #[error("no signer {signer} is configured; `plimsoll signers list` shows those that are")]
    UnknownSigner {
        /// Who was asked for.
        signer: SignerId,
    },
    /// Its key is another request's, or that of what a user signed.
    #[error(
        "request_id {request_id} was used for another {operation_type} (transaction {id}): send what is new under a new request_id"
    )]
    Conflict {
        /// The key.
        request_id: Uuid,
        /// The key.
        operation_type: String,
        /// What has the key.
        id: Uuid,
    },
    /// Too many wait already.
    #[error("too many requests wait to be accepted: send it again in a moment, under the same request_id")]
    Overloaded,
    /// The database. Whether the request is on record is not known: send it again under the same request_id.
    #[error("accepting: {0}")]
    Database(Arc<PublishError>),
    /// The process ends. As with the database.
    #[error("the relayer is being stopped: send it again under the same request_id")]
    Stopped,
}

/// Asks for a transaction's end, as its tenant; whether that could still be asked for. What comes of it, its history says: before an attempt the request ends, after one something that
/// does nothing competes for its nonce, and the chain decides.
///
/// # Errors
/// The database's.
pub async fn call_off(db: &Db, tenant_id: Uuid, id: Uuid, why: &str) -> Result<bool, sqlx::Error> {
    let mut tx = db.tenant_tx(&[tenant_id]).await?;
    let could = call_off_in(&mut tx, id, why).await?;
    tx.commit().await?;
    Ok(could)
}

/// [`call_off`] within a transaction that is confined to the tenant.
///
/// # Errors
/// The database's.
pub async fn call_off_in(conn: &mut PgConnection, id: Uuid, why: &str) -> Result<bool, sqlx::Error> {
    repo::call_off(conn, id, why).await
}

/// What will have come of requests once the transaction is committed that puts them.
pub(crate) struct Put {
    /// Of each.
    pub(crate) outcomes: Vec<Result<Accepted, AcceptError>>,
    /// Those that were not there before.
    pub(crate) new: Vec<Row>,
}

/// Puts requests, in a transaction that is confined to their tenants.
pub(crate) async fn put(
    conn: &mut PgConnection,
    node: &str,
    requests: &[&Request],
) -> Result<Put, PublishError> {
    // Version 7: their order is that of their making, which the queue goes by.
    let given: Vec<_> = requests.iter().map(|request| (Uuid::now_v7(), *request)).collect();
    let rows = repo::insert(conn, node, &given).await?;
    let changes: Vec<_> = rows.iter().map(Changed::from).collect();
    let new: HashMap<_, _> = rows.iter().map(|row| (row.id, row.state)).collect();
    let contexts: HashMap<_, _> = given.iter().map(|(id, request)| (*id, &request.context)).collect();
    let accepted = changes
        .iter()
        .filter_map(|change| Some((Context::clone(contexts.get(&change.id)?), change)))
        .collect();
    history::publish(conn, None, "accepted", accepted).await?;
    let old: Vec<_> = given
        .iter()
        .enumerate()
        .filter(|(_, (id, _))| !new.contains_key(id))
        .map(|(place, _)| place)
        .collect();
    let found = if old.is_empty() {
        Vec::new()
    } else {
        let asked: Vec<_> = old.iter().map(|place| requests[*place]).collect();
        repo::find(conn, &asked).await?
    };

    let mut outcomes: Vec<_> = given
        .iter()
        .map(|(id, _)| {
            let state = *new.get(id)?;
            Some(Ok(Accepted { id: *id, state, is_replay: false, batch: requests.len() }))
        })
        .collect();
    for row in found {
        let place = old[row.place];
        outcomes[place] = Some(outcome(requests[place], &row));
    }
    // What was neither inserted nor found cannot be: rows are never deleted.
    let outcomes = outcomes.into_iter().map(|outcome| outcome.unwrap_or(Err(AcceptError::Stopped))).collect();
    Ok(Put { outcomes, new: rows })
}

/// What is there under the natural keys of these requests, and what that means for each; none: its key is free.
pub(crate) async fn found(
    conn: &mut PgConnection,
    requests: &[&Request],
) -> Result<Vec<Option<Result<Accepted, AcceptError>>>, sqlx::Error> {
    let mut outcomes: Vec<_> = requests.iter().map(|_| None).collect();
    for row in repo::find(conn, requests).await? {
        outcomes[row.place] = Some(outcome(requests[row.place], &row));
    }
    Ok(outcomes)
}

fn outcome(request: &Request, row: &repo::Row) -> Result<Accepted, AcceptError> {
    if row.fingerprint.as_deref() == Some(&request.fingerprint()[..]) {
        return Ok(Accepted { id: row.id, state: row.state, is_replay: true, batch: 1 });
    }
    Err(AcceptError::Conflict {
        request_id: request.context.request_id,
        operation_type: request.operation_type.clone(),
        id: row.id,
    })
}

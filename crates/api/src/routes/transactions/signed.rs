//! A transaction that a user signed, handed in: looked at, kept, and left to whoever sends for the chain's users.

use axum::http::StatusCode;
use plimsoll_bus::audit::Entry;
use plimsoll_relayer::request::SignerId;
use plimsoll_relayer::users::{SignedRequest, SignedTransaction, UserSubmitError, put_in};
use plimsoll_relayer::{Intake, signers};
use plimsoll_types::api::FieldProblem;
use plimsoll_types::{Context, address_text, api, parse_address};
use serde_json::json;
use uuid::Uuid;

use super::fields::{bytes, field_of, invalid, taken};
use super::of_id;
use crate::gateway::{Keyed, finish};
use crate::idempotency::{Answered, Execution, Reply};
use crate::problem::{Problem, ProblemKind};
use crate::repo::RepoError;
use crate::state::ApiState;

pub(super) async fn submit(
    state: &ApiState,
    intake: &Intake,
    execution: Execution,
    asked: &Keyed<api::Submission>,
    context: Context,
    body: &api::NewSignedTransaction,
) -> Result<Answered, Problem> {
    let tenant_id = asked.caller.tenant_id;
    let request = request_of(context, body)?;
    let chain = state.chains().get(body.chain_id).filter(|_| intake.serves(body.chain_id));
    let chain = chain.ok_or_else(|| not_served(body.chain_id))?;
    request.check(chain).map_err(|error| invalid(vec![field_of(&error)]))?;
    // What is there already is told, whatever has become of its nonce; and nobody waits for the chain with a connection in hand.
    let known = {
        let mut tx = state.db().tenant_tx(&[tenant_id]).await.map_err(RepoError::from)?;
        request.found(&mut tx).await
    };
    let known = match known {
        Ok(known) => known,
        Err(error) => return finish(asked.begin(execution).await?, Err(error.into())).await,
    };
    if let Some(id) = known {
        let mut effect = asked.begin(execution).await?;
        let made = of_id(&mut effect, tenant_id, id).await?;
        return Ok(effect.refuse(Reply::json(StatusCode::ACCEPTED, &made)?).await?);
    }
    let checked = request.checked(chain).await?;
    let mut effect = asked.begin(execution).await?;
    let (id, is_replay) = match put_in(&mut effect, intake.node(), checked).await {
        Ok(put) => put,
        Err(error @ (UserSubmitError::Conflict { .. } | UserSubmitError::Known { .. })) => {
            return finish(effect, Err(error.into())).await;
        }
        // It may be taken later.
        Err(error) => return Err(error.into()),
    };
    let made = of_id(&mut effect, tenant_id, id).await?;
    let reply = Reply::json(StatusCode::ACCEPTED, &made)?;
    if is_replay {
        return Ok(effect.refuse(reply).await?);
    }
    let entry = Entry::new("relayer.transaction.submit_signed", "transaction", id.to_string())
        .with_change(None, Some(state_of(&request)));
    let answered = effect.commit(entry, reply).await?;
    intake.ring();
    Ok(answered)
}

/// Refuses a user's address that is a signer of ours.
pub(super) async fn refuse_managed(
    state: &ApiState,
    tenant_id: Uuid,
    sender: SignerId,
) -> Result<(), Problem> {
    let mut tx = state.db().tenant_tx(&[tenant_id]).await.map_err(RepoError::from)?;
    match signers::is_known(&mut tx, sender).await.map_err(RepoError::from)? {
        true => Err(UserSubmitError::ManagedSender { sender }.into()),
        false => Ok(()),
    }
}

/// As the audit has it: what was signed by its hash.
fn state_of(request: &SignedRequest) -> serde_json::Value {
    let transaction = &request.transaction;
    json!({
        "operation_type": request.operation_type,
        "chain_id": transaction.chain_id,
        "sender": address_text(&transaction.sender),
        "nonce": transaction.nonce,
        "tx_hash": transaction.tx_hash,
        "to": transaction.call.to.as_ref().map(address_text),
        "value_wei": transaction.call.value.to_string(),
    })
}

/// What was signed, if it is what the body says.
fn request_of(context: Context, body: &api::NewSignedTransaction) -> Result<SignedRequest, Problem> {
    let mut wrong = Vec::new();
    let sender = taken(&mut wrong, "sender", Some(&body.sender), parse_address);
    let read = |text: &str| SignedTransaction::read(&bytes(text)?).map_err(|error| error.to_string());
    let transaction = taken(&mut wrong, "raw", Some(&body.raw), read);
    if let Some(transaction) = &transaction {
        let mut is_not = |name: &str, reason: String| wrong.push(FieldProblem { name: name.into(), reason });
        if transaction.chain_id != body.chain_id {
            is_not("chain_id", format!("is not the chain that it is signed for, {}", transaction.chain_id));
        }
        if sender.is_some_and(|sender| sender != transaction.sender) {
            let found = address_text(&transaction.sender);
            is_not(
                "sender",
                format!("did not sign it: {found} did, if these are the bytes that were signed"),
            );
        }
    }
    match transaction {
        Some(transaction) if wrong.is_empty() => {
            Ok(SignedRequest { context, operation_type: body.operation_type.clone(), transaction })
        }
        _ => Err(invalid(wrong)),
    }
}

fn not_served(chain_id: u64) -> Problem {
    Problem::new(ProblemKind::NotConfigured, format!("nothing is sent on chain {chain_id} from here"))
        .with_remedy(
            "give a chain on which `/api/v1/signers` has a signer, or send it to a node of the chain",
        )
}

impl From<UserSubmitError> for Problem {
    fn from(error: UserSubmitError) -> Self {
        let told = error.to_string();
        match error {
            UserSubmitError::Invalid(error) => invalid(vec![field_of(&error)]),
            UserSubmitError::Conflict { .. } => Self::new(ProblemKind::Conflict, told).with_remedy(
                "give what is new a new `request_id`; to ask again, send what was sent the first time",
            ),
            UserSubmitError::Known { .. } => Self::new(ProblemKind::Conflict, told)
                .with_remedy("look at that transaction: the same bytes are sent once"),
            UserSubmitError::Used { .. } => Self::new(ProblemKind::Conflict, told)
                .with_remedy("have it prepared again, and sign it with the nonce that is given"),
            UserSubmitError::ManagedSender { .. } => Self::new(ProblemKind::ManagedSender, told),
            UserSubmitError::Ahead { .. } => {
                Self::new(ProblemKind::Conflict, told).with_remedy("send the transactions before it first")
            }
            UserSubmitError::TooMany => Self::new(ProblemKind::Conflict, told),
            UserSubmitError::Chain(_) => Self::new(ProblemKind::ChainUnavailable, told),
            UserSubmitError::NotFollowed { .. } => Self::new(ProblemKind::NotConfigured, told),
            UserSubmitError::Database(error) => match error {
                plimsoll_bus::PublishError::Database(error) => RepoError::from(error).into(),
                _ => {
                    tracing::error!(error = told, "a signed transaction could not be kept");
                    Self::new(ProblemKind::Internal, "the transaction could not be kept")
                }
            },
        }
    }
}

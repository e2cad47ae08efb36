//! `POST /chain/tx/submit`: a call that a signer of the platform makes, a transaction that a user signed, or a call that a user authorised.

use alloy_primitives::{U256, keccak256};
use axum::extract::State;
use axum::http::StatusCode;
use plimsoll_bus::PublishError;
use plimsoll_bus::audit::Entry;
use plimsoll_relayer::request::{Call, Request, SignerId, Validity};
use plimsoll_relayer::{AcceptError, Kept, Outcome, SubmitError};
use plimsoll_types::api::{FieldProblem, Keyed as _};
use plimsoll_types::{Address, Amount, Context, api, parse_address, parse_hash};
use serde_json::{Value, json};

use super::fields::{bytes, fee, field_of, invalid, taken};
use super::{authorized, no_signers, signed};
use crate::gateway::Keyed;
use crate::idempotency::{Answered, Execution, Reply};
use crate::openapi::SubmitProblems;
use crate::problem::{Problem, ProblemKind};
use crate::query::instant;
use crate::state::ApiState;

/// Hand in a transaction
///
/// *A call*: a signer of the platform makes it once, whatever dies: it is on record before this is answered, and sent when its turn comes. What the tenant is not granted by the signer is refused, and
/// not kept under the key: it may be granted later. *Signed bytes* (`raw`): the transaction of a user, as `/chain/tx/prepare` made it and a wallet signed it; kept before this is
/// answered, then sent to every endpoint until a block has its nonce, and never changed. *An authorised call* (`authorization`): a user's EIP-712 signature, which a signer of the platform
/// hands to the contract that takes it. The same `request_id` and `operation_type` are the same transaction, also under another `Idempotency-Key`; with anything else in the body they are a
/// conflict.
#[utoipa::path(post, operation_id = "submit_transaction", path = "/chain/tx/submit", tag = "relayer", request_body = api::Submission,
    responses((status = 202, description = "The transaction", body = api::Transaction), SubmitProblems))]
pub(crate) async fn submit(
    execution: Execution,
    (State(state), asked): (State<ApiState>, Keyed<api::Submission>),
) -> Result<Answered, Problem> {
    let intake = state.relayer().ok_or_else(no_signers)?;
    let context = Context { request_id: asked.body.request_id(), ..execution.caller().clone() };
    let request = match &asked.body {
        api::Submission::Call(body) => request_of(context, body)?,
        api::Submission::Authorized(body) => authorized::request_of(&state, context, body).await?,
        api::Submission::Signed(body) => {
            return signed::submit(&state, intake, execution, &asked, context, body).await;
        }
    };
    let (claim, form) = execution.hand_over();
    let call = request.call.clone();
    let answer = move |outcome: Outcome<'_>| {
        let (response, entry) = match outcome {
            Ok((accepted, made)) => {
                let entry = Entry::new("relayer.transaction.submit", "transaction", accepted.id.to_string())
                    .with_change(None, Some(state_of(made, &call)));
                (form.keep(Reply::json(StatusCode::ACCEPTED, made)?)?, (!accepted.is_replay).then_some(entry))
            }
            // What cannot be done as things stand is an answer; any other refusal was not executed.
            Err(error @ SubmitError::Accept(AcceptError::Conflict { .. })) => {
                (form.keep(conflict(error.to_string()))?, None)
            }
            Err(_) => return Ok(None),
        };
        Ok(Some(Kept { response, entry }))
    };
    Ok(intake.submit_under(request, claim, Box::new(answer)).await?.into())
}

/// As the audit has it: calldata by its hash.
fn state_of(made: &api::Transaction, call: &Call) -> Value {
    json!({
        "operation_type": made.operation_type,
        "chain_id": made.chain_id,
        "signer": made.signer,
        "to": made.to,
        "value_wei": made.value_wei,
        "data_bytes": call.data.len(),
        "data_keccak256": keccak256(&call.data),
        "state": made.state,
    })
}

/// What is asked for, or everything that is wrong with it.
fn request_of(context: Context, body: &api::NewTransaction) -> Result<Request, Problem> {
    let mut wrong = Vec::new();
    let signer = taken(&mut wrong, "signer", Some(&body.signer), parse_address).unwrap_or_default();
    let to = taken(&mut wrong, "to", body.to.as_deref(), parse_address);
    // One that could not be read is one all the same: nothing that follows from there being none is wrong.
    let to = to.or(body.to.as_ref().map(|_| Address::ZERO));
    let value = taken(&mut wrong, "value_wei", body.value_wei.as_deref(), str::parse::<Amount>);
    let data = taken(&mut wrong, "data", body.data.as_deref(), bytes);
    let max_fee_limit =
        taken(&mut wrong, "max_fee_per_gas_limit", body.max_fee_per_gas_limit.as_deref(), fee);
    let until = taken(&mut wrong, "valid_until", body.valid_until.as_deref(), instant);
    let as_of_block_hash =
        taken(&mut wrong, "as_of_block_hash", body.as_of_block_hash.as_deref(), parse_hash);
    let priority = i16::try_from(body.priority.unwrap_or(0)).ok();
    if priority.is_none() {
        let reason = format!("is above {}", i16::MAX);
        wrong.push(FieldProblem { name: "priority".into(), reason });
    }
    let request = Request {
        context,
        operation_type: body.operation_type.clone(),
        signer: SignerId { chain_id: body.chain_id, address: signer },
        call: Call { to, value: value.map_or(U256::ZERO, |value| value.0), data: data.unwrap_or_default() },
        gas_limit: body.gas_limit,
        max_fee_limit,
        priority: priority.unwrap_or_default(),
        validity: Validity { until, until_block: body.valid_until_block, as_of_block_hash },
        simulate: body.simulate,
    };
    // Of a text that could not be read it is said once what is wrong.
    if let Err(error) = request.check()
        && let field = field_of(&error)
        && wrong.iter().all(|known| known.name != field.name)
    {
        wrong.push(field);
    }
    if wrong.is_empty() { Ok(request) } else { Err(invalid(wrong)) }
}

/// The natural key has another request.
fn conflict(told: String) -> Problem {
    Problem::new(ProblemKind::Conflict, told)
        .with_remedy("give what is new a new `request_id`; to ask again, send what was sent the first time")
}

impl From<SubmitError> for Problem {
    fn from(error: SubmitError) -> Self {
        let kind = match error {
            SubmitError::Accept(error) => return error.into(),
            SubmitError::Key(error) => return error.into(),
            SubmitError::Audit(error) => return error.into(),
            SubmitError::Answer(error) => return error.into(),
            SubmitError::Refused(_) | SubmitError::Unbounded { .. } => ProblemKind::Forbidden,
        };
        Self::new(kind, error.to_string())
            .with_remedy("ask whoever runs this server for the grant; `/api/v1/signers` lists the signers that grant this tenant anything")
    }
}

impl From<AcceptError> for Problem {
    fn from(error: AcceptError) -> Self {
        let told = error.to_string();
        match error {
            AcceptError::Invalid(error) => invalid(vec![field_of(&error)]),
            AcceptError::UnknownSigner { .. } => Self::new(ProblemKind::NotConfigured, told)
                .with_remedy("give a signer of `/api/v1/signers`, on its chain"),
            AcceptError::Conflict { .. } => conflict(told),
            AcceptError::Overloaded | AcceptError::Stopped => Self::new(ProblemKind::Overloaded, told),
            AcceptError::Database(error) => match &*error {
                PublishError::Database(error) => error.into(),
                _ => {
                    tracing::error!(error = told, "a transaction could not be put on record");
                    Self::new(ProblemKind::Internal, "the transaction could not be put on record")
                }
            },
        }
    }
}

//! `POST /chain/tx/prepare`: what a user's wallet is to sign, with the request's id in it. Nothing is kept.

use alloy_primitives::{U256, hex};
use axum::Json;
use axum::extract::State;
use plimsoll_relayer::prepare::{Carried, Draft, PrepareError, Prepared};
use plimsoll_relayer::request::SignerId;
use plimsoll_relayer::users::ForwardRequest;
use plimsoll_types::api::{BlockRef, FieldProblem, RequestIdPlace, SubmittedBy};
use plimsoll_types::{Address, Amount, RequestId, address_text, api, parse_address};
use serde_json::{Value, json};
use time::OffsetDateTime;

use super::authorized::{takers, unknown_chain};
use super::fields::{bytes, invalid, taken};
use super::signed::refuse_managed;
use super::texts::{fee_token, notices};
use crate::gateway::Keyed;
use crate::openapi::SubmitProblems;
use crate::problem::{Problem, ProblemKind};
use crate::state::ApiState;

/// How long an authorisation that is prepared is good.
const AUTHORIZATION_SECONDS: i64 = 30 * 60;
/// What the contract that takes an authorisation uses beside the call that it makes: a signature to recover, a word to keep, a call, a log, and the calldata.
const FORWARDING_GAS: u64 = 90_000;

/// Prepare a transaction for a user's wallet
///
/// The call, with the `request_id` in its function's argument `requestId` where it has one, else behind its arguments; its sender's next nonce, the gas that it needs, and what is offered for it now. Or, for
/// what the platform submits, the authorisation to sign (EIP-712). With what the user is to be shown. Nothing is kept or reserved: hand in what was signed at `/chain/tx/submit`. 409 where it
/// would fail as things stand.
#[utoipa::path(post, operation_id = "prepare_transaction", path = "/chain/tx/prepare", tag = "relayer", request_body = api::NewPreparation,
    responses((status = 200, description = "What the wallet is to sign", body = api::PreparedTransaction), SubmitProblems))]
pub(crate) async fn prepare(
    State(state): State<ApiState>,
    asked: Keyed<api::NewPreparation>,
) -> Result<Json<api::PreparedTransaction>, Problem> {
    let body = &asked.body;
    let submitted_by = body.submitted_by.unwrap_or_default();
    let draft = draft_of(body, submitted_by)?;
    let chain = state.chains().get(body.chain_id).ok_or_else(|| unknown_chain(body.chain_id))?;
    let sender = SignerId { chain_id: body.chain_id, address: draft.from };
    refuse_managed(&state, asked.caller.tenant_id, sender).await?;
    let authorizing = match (submitted_by, &body.forwarder) {
        (SubmittedBy::Wallet, _) => None,
        (SubmittedBy::Platform, forwarder) => {
            let mut wrong = Vec::new();
            let forwarder =
                taken(&mut wrong, "forwarder", forwarder.as_deref(), parse_address).unwrap_or_default();
            let request = forward_request(body.chain_id, forwarder, &draft);
            wrong.extend(takers(&state, asked.caller.tenant_id, &request).into_iter().map(unprefixed));
            if !wrong.is_empty() {
                return Err(invalid(wrong));
            }
            Some(request)
        }
    };
    // The contract makes the call, with the user's address behind it (ERC-2771).
    let asked_of_chain = match &authorizing {
        None => draft.clone(),
        Some(request) => Draft { from: request.forwarder, ..draft.clone() },
    };
    let prepared = chain.prepare(&asked_of_chain).await?;
    let request =
        authorizing.map(|request| ForwardRequest { data: prepared.unsigned.call.data.clone(), ..request });
    Ok(Json(told(&asked.body, &draft, &prepared, request.as_ref())))
}

fn unprefixed(field: FieldProblem) -> FieldProblem {
    let name = field.name.strip_prefix("authorization.").map_or(field.name.clone(), str::to_owned);
    FieldProblem { name, ..field }
}

fn forward_request(chain_id: u64, forwarder: Address, draft: &Draft) -> ForwardRequest {
    let deadline = OffsetDateTime::now_utc().unix_timestamp() + AUTHORIZATION_SECONDS;
    ForwardRequest {
        chain_id,
        forwarder,
        from: draft.from,
        to: draft.to,
        data: draft.data.clone(),
        request_id: draft.request_id,
        deadline: deadline.unsigned_abs(),
    }
}

fn draft_of(body: &api::NewPreparation, submitted_by: SubmittedBy) -> Result<Draft, Problem> {
    let mut wrong = Vec::new();
    let from = taken(&mut wrong, "from", Some(&body.from), parse_address).unwrap_or_default();
    let to = taken(&mut wrong, "to", Some(&body.to), parse_address).unwrap_or_default();
    let value = taken(&mut wrong, "value_wei", body.value_wei.as_deref(), str::parse::<Amount>);
    let data = taken(&mut wrong, "data", body.data.as_deref(), bytes).unwrap_or_default();
    let mut is_not =
        |name: &str, reason: &str| wrong.push(FieldProblem { name: name.into(), reason: reason.into() });
    let value = value.map_or(U256::ZERO, |value| value.0);
    let by_platform = submitted_by == SubmittedBy::Platform;
    if by_platform && value > U256::ZERO {
        is_not("value_wei", "is not 0, and an authorisation carries no value");
    }
    if by_platform != body.forwarder.is_some() {
        is_not("forwarder", "goes together with `submitted_by` = `platform`");
    }
    if body.chain_id == 0 || i64::try_from(body.chain_id).is_err() {
        is_not("chain_id", "is no chain's");
    }
    if body.request_id.is_nil() {
        is_not("request_id", "is nil, which on chain stands for none");
    }
    match wrong.is_empty() {
        true => Ok(Draft { from, to, value, data, request_id: RequestId::from_uuid(body.request_id) }),
        false => Err(invalid(wrong)),
    }
}

fn told(
    body: &api::NewPreparation,
    draft: &Draft,
    prepared: &Prepared,
    authorizing: Option<&ForwardRequest>,
) -> api::PreparedTransaction {
    let Prepared { unsigned, carried, offer, as_of, .. } = prepared;
    let submitted_by = body.submitted_by.unwrap_or_default();
    let extra = authorizing.map_or(0, |_| FORWARDING_GAS);
    let (gas_estimate, gas_limit) = (prepared.gas_estimate + extra, unsigned.gas_limit + extra);
    let most_wei = prepared
        .most_wei
        .saturating_add(U256::from(extra).saturating_mul(U256::from(offer.fees.max_fee_per_gas)));
    api::PreparedTransaction {
        request_id: body.request_id,
        submitted_by,
        chain_id: unsigned.chain_id,
        from: address_text(&draft.from),
        to: address_text(&draft.to),
        value_wei: draft.value.into(),
        data: hex::encode_prefixed(&unsigned.call.data),
        request_id_in: match carried {
            Carried::Argument => RequestIdPlace::Argument,
            Carried::Suffix => RequestIdPlace::Suffix,
        },
        nonce: authorizing.is_none().then_some(unsigned.nonce),
        as_of: BlockRef { number: as_of.0, hash: as_of.1 },
        gas_estimate,
        gas_limit,
        max_fee_per_gas: offer.fees.max_fee_per_gas.into(),
        max_priority_fee_per_gas: offer.fees.max_priority_fee_per_gas.map(Amount::from),
        fee_why: offer.why.clone(),
        most_wei: most_wei.into(),
        fee_token: fee_token(unsigned.chain_id),
        transaction: authorizing.is_none().then(|| for_wallet(draft, prepared)),
        signing_payload: authorizing.is_none().then(|| hex::encode_prefixed(unsigned.payload())),
        typed_data: authorizing.map(ForwardRequest::typed_data),
        notices: notices(submitted_by),
    }
}

/// As `eth_sendTransaction` takes it.
fn for_wallet(draft: &Draft, prepared: &Prepared) -> Value {
    let unsigned = &prepared.unsigned;
    let fees = unsigned.fees;
    let mut transaction = json!({
        "from": address_text(&draft.from),
        "to": address_text(&draft.to),
        "value": format!("{:#x}", draft.value),
        "data": hex::encode_prefixed(&unsigned.call.data),
        "nonce": format!("{:#x}", unsigned.nonce),
        "gas": format!("{:#x}", unsigned.gas_limit),
        "chainId": format!("{:#x}", unsigned.chain_id),
    });
    match fees.max_priority_fee_per_gas {
        Some(tip) => {
            transaction["type"] = json!("0x2");
            transaction["maxFeePerGas"] = json!(format!("{:#x}", fees.max_fee_per_gas));
            transaction["maxPriorityFeePerGas"] = json!(format!("{tip:#x}"));
        }
        None => {
            transaction["type"] = json!("0x0");
            transaction["gasPrice"] = json!(format!("{:#x}", fees.max_fee_per_gas));
        }
    }
    transaction
}

impl From<PrepareError> for Problem {
    fn from(error: PrepareError) -> Self {
        let told = super::shown_whole(&error.to_string());
        match error {
            PrepareError::Data(_) => invalid(vec![FieldProblem { name: "data".into(), reason: told }]),
            PrepareError::WouldFail(_) => Self::new(ProblemKind::Conflict, told)
                .with_remedy("change what it does, or wait until the chain's state allows it"),
            PrepareError::TooDear(_) => Self::new(ProblemKind::Conflict, told),
            PrepareError::Chain(_) => Self::new(ProblemKind::ChainUnavailable, told),
        }
    }
}

//! A call that a user authorised with a signature (EIP-712): a signer of the platform hands it to the contract that takes it, as any other call (spec 2 §2.4).

use plimsoll_relayer::request::{Request, SignerId, Validity};
use plimsoll_relayer::users::{ForwardRequest, takes_authorizations};
use plimsoll_types::api::FieldProblem;
use plimsoll_types::{Context, RequestId, address_text, api, parse_address};
use time::OffsetDateTime;
use uuid::Uuid;

use super::fields::{bytes, field_of, invalid, taken};
use super::signed::refuse_managed;
use crate::problem::{Problem, ProblemKind};
use crate::state::ApiState;

/// What a signer is asked for, if the user's signature authorises it.
pub(super) async fn request_of(
    state: &ApiState,
    context: Context,
    body: &api::NewAuthorizedCall,
) -> Result<Request, Problem> {
    let mut wrong = Vec::new();
    let given = &body.authorization;
    let signer = taken(&mut wrong, "signer", Some(&body.signer), parse_address);
    let forwarder = taken(&mut wrong, "authorization.forwarder", Some(&given.forwarder), parse_address);
    let from = taken(&mut wrong, "authorization.from", Some(&given.from), parse_address);
    let to = taken(&mut wrong, "authorization.to", Some(&given.to), parse_address);
    let data = taken(&mut wrong, "authorization.data", Some(&given.data), bytes);
    let signature = taken(&mut wrong, "authorization.signature", Some(&given.signature), bytes);
    let until = i64::try_from(given.deadline)
        .ok()
        .and_then(|deadline| OffsetDateTime::from_unix_timestamp(deadline).ok());
    match until {
        None => wrong.push(of("deadline", "is no time: give seconds since 1970".into())),
        Some(until) if until <= OffsetDateTime::now_utc() => wrong.push(of("deadline", "is over".into())),
        Some(_) => {}
    }
    let (Some(signer), Some(forwarder), Some(from), Some(to), Some(data), Some(signature), true) =
        (signer, forwarder, from, to, data, signature, wrong.is_empty())
    else {
        return Err(invalid(wrong));
    };
    let tenant_id = context.tenant_id.unwrap_or_default();
    refuse_managed(state, tenant_id, SignerId { chain_id: body.chain_id, address: from }).await?;
    let request = ForwardRequest {
        chain_id: body.chain_id,
        forwarder,
        from,
        to,
        data,
        request_id: RequestId::from_uuid(context.request_id),
        deadline: given.deadline,
    };
    let fields = takers(state, tenant_id, &request);
    if !fields.is_empty() {
        return Err(invalid(fields));
    }
    let call = request.call(&signature).map_err(|error| invalid(vec![of("signature", error.to_string())]))?;
    let request = Request {
        context,
        operation_type: body.operation_type.clone(),
        signer: SignerId { chain_id: body.chain_id, address: signer },
        call,
        gas_limit: body.gas_limit,
        max_fee_limit: None,
        priority: 0,
        validity: Validity { until, ..Validity::default() },
        simulate: None,
    };
    request.check().map_err(|error| invalid(vec![field_of(&error)]))?;
    Ok(request)
}

/// What of it is not the tenant's: whoever takes the authorisation, and whom that calls, are contracts of the tenant's that are known here. Whom a user has called is not in a signer's
/// grant, which speaks of the first alone.
pub(super) fn takers(state: &ApiState, tenant_id: Uuid, request: &ForwardRequest) -> Vec<FieldProblem> {
    let contracts = state.chains().get(request.chain_id).map(|chain| &chain.contracts);
    let is_theirs = |address| {
        contracts.and_then(|all| all.get(address)).is_some_and(|contract| contract.tenant_id == tenant_id)
    };
    let mut wrong = Vec::new();
    let takes = contracts.is_some_and(|all| takes_authorizations(all, &request.forwarder));
    if !takes || !is_theirs(&request.forwarder) {
        let address = address_text(&request.forwarder);
        let why = format!(
            "{address} is no contract of the tenant that takes authorisations, as far as is configured"
        );
        wrong.push(of("forwarder", why));
    }
    if !is_theirs(&request.to) {
        let address = address_text(&request.to);
        wrong.push(of("to", format!("{address} is no contract of the tenant, as far as is configured")));
    }
    if request.request_id.to_chain().is_zero() {
        wrong.push(FieldProblem { name: "request_id".into(), reason: "is nil".into() });
    }
    wrong
}

fn of(field: &str, reason: String) -> FieldProblem {
    FieldProblem { name: format!("authorization.{field}"), reason }
}

/// Nothing of this chain is known here.
pub(super) fn unknown_chain(chain_id: u64) -> Problem {
    Problem::new(ProblemKind::NotConfigured, format!("chain {chain_id} cannot be asked from here"))
        .with_remedy("give a chain of `/api/v1/chains` that this server is configured with")
}

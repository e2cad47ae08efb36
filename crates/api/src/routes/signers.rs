//! `/api/v1/signers`: who signs for a tenant (spec 2 §5.2).

use alloy_primitives::Address;
use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use futures::future::join_all;
use plimsoll_bus::audit::Entry;
use plimsoll_identity::Permission::{RelayerOperate, RelayerRead};
use plimsoll_relayer::grant::SignerPolicy;
use plimsoll_relayer::request::SignerId;
use plimsoll_relayer::rotation::{self, NotTheirs, RotateError};
use plimsoll_relayer::{explain as explaining, read};
use plimsoll_types::api::FieldProblem;
use plimsoll_types::{address_text, api, parse_address};
use serde_json::json;
use sqlx::PgConnection;

use super::paging::Segment;
use super::transactions::{bounded, invalid, no_signers};
use crate::gateway::Access::Needs;
use crate::gateway::{Caller, Declaration, Done, Keyed, Routes, WriteMethod, finish};
use crate::idempotency::{Answered, Execution, Reply};
use crate::openapi::{RotationProblems, SignerProblems};
use crate::problem::{Problem, ProblemKind};
use crate::query::{Fields, NoParameters, Parameters, Query, bigint};
use crate::repo::RepoError;
use crate::state::ApiState;

const ROTATE: &str = "/api/v1/signers/{signer}/rotate";
const NONCE: &str = "/api/v1/signers/{signer}/nonces/{nonce}/explain";

pub(super) fn routes() -> Routes<ApiState> {
    Routes::default()
        .read(Declaration::read("/api/v1/signers", Needs(RelayerRead)), list)
        .read(Declaration::read("/api/v1/signers/{signer}", Needs(RelayerRead)), show)
        .read(Declaration::read(NONCE, Needs(RelayerRead)), explain)
        .write(Declaration::with_optional_key(WriteMethod::Post, ROTATE, Needs(RelayerOperate)), rotate)
}

/// The signers that the tenant may use
///
/// Those that grant it anything, with who works them and how far they are.
#[utoipa::path(get, operation_id = "list_signers", path = "/api/v1/signers", tag = "relayer",
    responses((status = 200, description = "The signers", body = api::Signers), SignerProblems))]
pub(crate) async fn list(
    State(state): State<ApiState>,
    caller: Caller,
    _: Query<NoParameters>,
) -> Result<Json<api::Signers>, Problem> {
    Ok(Json(api::Signers { items: signers(&state, &caller, |_| true).await? }))
}

/// A signer
///
/// By its address, or by its name. Either signs on each chain by itself: those of its chains on which the tenant may use it.
#[utoipa::path(get, operation_id = "show_signer", path = "/api/v1/signers/{signer}", tag = "relayer",
    params(("signer" = String, Path, description = "The signer's address, in any letter case, or its name")),
    responses((status = 200, description = "The signer, on each chain", body = api::Signers), SignerProblems))]
pub(crate) async fn show(
    State(state): State<ApiState>,
    caller: Caller,
    signer: Segment,
    _: Query<NoParameters>,
) -> Result<Json<api::Signers>, Problem> {
    let named = named(&signer.0);
    let items = signers(&state, &caller, named).await?;
    if items.is_empty() { Err(unknown()) } else { Ok(Json(api::Signers { items })) }
}

/// Which chain a nonce is of.
#[derive(Debug, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct NonceQuery {
    /// The chain, where the signer is on several.
    #[param(minimum = 1, maximum = 9_223_372_036_854_775_807_u64)]
    chain_id: Option<i64>,
}

impl Parameters for NonceQuery {
    const KNOWN: &'static [&'static str] = &["chain_id"];

    fn read(mut fields: Fields) -> Result<Self, Problem> {
        let query = Self { chain_id: fields.take("chain_id", bigint) };
        fields.finish()?;
        Ok(query)
    }
}

/// What a nonce waits for
///
/// What has this nonce of a signer, what that waits for, who holds it, what happens next and when. Of another tenant's transaction it is told that it is one, and nothing else.
#[utoipa::path(get, operation_id = "explain_nonce", path = "/api/v1/signers/{signer}/nonces/{nonce}/explain", tag = "relayer",
    params(
        ("signer" = String, Path, description = "The signer's address, in any letter case, or its name"),
        ("nonce" = u64, Path, description = "The nonce", maximum = 9_223_372_036_854_775_807_u64),
        NonceQuery,
    ),
    responses((status = 200, description = "The explanation", body = api::Explanation), SignerProblems))]
pub(crate) async fn explain(
    State(state): State<ApiState>,
    caller: Caller,
    path: Result<Path<(String, String)>, PathRejection>,
    Query(query): Query<NonceQuery>,
) -> Result<Json<api::Explanation>, Problem> {
    let Path((signer, nonce)) = path.map_err(|_| unknown())?;
    let nonce = bigint(&nonce)
        .map_err(|reason| Problem::new(ProblemKind::InvalidParameter, format!("`nonce`: {reason}")))?;
    let intake = state.relayer().ok_or_else(no_signers)?;
    let is_named = named(&signer);
    let of_chain = |policy: &SignerPolicy| {
        query.chain_id.is_none_or(|chain_id| policy.chain_id == chain_id.unsigned_abs())
    };
    let mut granted = intake.granted_to(caller.tenant_id);
    granted.retain(|policy| is_named(policy) && of_chain(policy));
    let policy = match granted[..] {
        [] => return Err(unknown()),
        [only] => only,
        _ => {
            let detail =
                format!("`chain_id`: the signer is on {} chains, and which is not said", granted.len());
            return Err(
                Problem::new(ProblemKind::InvalidParameter, detail).with_remedy("give the `chain_id` too")
            );
        }
    };
    let mut tx = state.db().tenant_tx(&[caller.tenant_id]).await.map_err(RepoError::from)?;
    let told =
        explaining::of_nonce(&mut tx, state.operations(), caller.tenant_id, policy, nonce.unsigned_abs());
    Ok(Json(told.await.map_err(RepoError::from)?))
}

/// Have a signer hand over
///
/// What is asked of it and has no nonce yet is done by its successor from now on, within seconds, and keeps its id and its place; what has a nonce ends where it is. Nobody takes it back. The signer has to be the
/// tenant's alone, and its successor has to grant the tenant the same; any other is the platform's to rotate. 409 where one of the two hands over already.
#[utoipa::path(post, operation_id = "rotate_signer", path = "/api/v1/signers/{signer}/rotate", tag = "relayer", request_body = api::SignerRotationOrder,
    params(("signer" = String, Path, description = "The signer's address, in any letter case, or its name")),
    responses((status = 200, description = "Who does its work", body = api::SignerRotation), RotationProblems))]
pub(crate) async fn rotate(
    execution: Execution,
    (State(state), signer, asked): (State<ApiState>, Segment, Keyed<api::SignerRotationOrder>),
) -> Result<Answered, Problem> {
    let Keyed { body, caller } = &asked;
    bounded(&body.reason)?;
    let successor = parse_address(&body.successor).map_err(|error| wrong_successor(error.to_string()))?;
    let intake = state.relayer().ok_or_else(no_signers)?;
    let granted = intake.granted_to(caller.tenant_id);
    let of_chain = |is_it: &dyn Fn(&SignerPolicy) -> bool| {
        let found = granted.iter().find(|policy| policy.chain_id == body.chain_id && is_it(policy));
        found.copied().ok_or_else(unknown)
    };
    let (old, new) = (of_chain(&named(&signer.0))?, of_chain(&|policy| policy.address == successor)?);
    rotation::is_theirs(caller.tenant_id, old, new)?;
    let mut effect = asked.begin(execution).await?;
    let done = rotate_in(&mut effect, old, new, &body.reason).await;
    let answered = finish(effect, done).await?;
    intake.ring();
    Ok(answered)
}

async fn rotate_in(
    conn: &mut PgConnection,
    old: &SignerPolicy,
    new: &SignerPolicy,
    reason: &str,
) -> Result<Done, Problem> {
    let id = |policy: &SignerPolicy| SignerId { chain_id: policy.chain_id, address: policy.address };
    if !rotation::mark(conn, id(old), id(new)).await? {
        return Err(RotateError::RotatedAlready { old: id(old), to: id(new) }.into());
    }
    let rotated = api::SignerRotation {
        chain_id: old.chain_id,
        address: address_text(&old.address),
        name: old.name.clone(),
        rotated_to: address_text(&new.address),
    };
    let entry = Entry::new("relayer.signer.rotate", "signer", id(old).to_string())
        .with_change(Some(json!({ "rotated_to": null })), Some(json!({ "rotated_to": rotated.rotated_to })))
        .with_reason(reason);
    Ok((entry, Reply::json(StatusCode::OK, &rotated)?))
}

fn wrong_successor(reason: String) -> Problem {
    invalid(vec![FieldProblem { name: "successor".into(), reason }])
}

impl From<NotTheirs> for Problem {
    fn from(error: NotTheirs) -> Self {
        Self::new(ProblemKind::Forbidden, error.to_string())
            .with_remedy("ask whoever runs this server: `plimsoll signers rotate` is for every signer")
    }
}

impl From<RotateError> for Problem {
    fn from(error: RotateError) -> Self {
        let told = error.to_string();
        match error {
            RotateError::UnknownSigner(_) => Self::new(ProblemKind::NotFound, told)
                .with_remedy("`/api/v1/signers` lists those that the tenant may use"),
            RotateError::NotAnother { .. } => wrong_successor(told),
            RotateError::RotatedAlready { .. } | RotateError::SuccessorIsRotated { .. } => {
                Self::new(ProblemKind::Conflict, told)
                    .with_remedy("`/api/v1/signers` shows who does whose work (`rotated_to`)")
            }
            RotateError::Database(error) => RepoError::from(error).into(),
            RotateError::Publish(_) => {
                tracing::error!(error = told, "a signer could not hand over");
                Self::new(ProblemKind::Internal, "the signer could not hand over")
            }
        }
    }
}

/// Whether a signer is the one that is named so.
fn named(name: &str) -> impl Fn(&SignerPolicy) -> bool + use<> {
    let (address, text) = (parse_address(name).ok(), name.to_owned());
    move |policy: &SignerPolicy| match address {
        Some(address) => policy.address == address,
        None => policy.name == text,
    }
}

fn unknown() -> Problem {
    Problem::new(ProblemKind::NotFound, "the tenant may use no such signer")
        .with_remedy("`/api/v1/signers` lists those that it may use")
}

async fn signers(
    state: &ApiState,
    caller: &Caller,
    is_wanted: impl Fn(&SignerPolicy) -> bool,
) -> Result<Vec<api::Signer>, Problem> {
    let intake = state.relayer().ok_or_else(no_signers)?;
    let mut granted = intake.granted_to(caller.tenant_id);
    granted.retain(|policy| is_wanted(policy));
    let mut told = {
        let mut tx = state.db().tenant_tx(&[caller.tenant_id]).await.map_err(RepoError::from)?;
        let told = read::signers(&mut tx, state.operations(), caller.tenant_id, &granted).await;
        told.map_err(RepoError::from)?
    };
    let balances = join_all(told.iter().map(|signer| balance(state, signer))).await;
    for (signer, balance) in told.iter_mut().zip(balances) {
        signer.balance = balance;
    }
    Ok(told)
}

async fn balance(state: &ApiState, signer: &api::Signer) -> Option<api::SignerBalance> {
    let address: Address = parse_address(&signer.address).ok()?;
    let told = state.chains().get(signer.chain_id)?.balance(address).await?;
    Some(api::SignerBalance {
        wei: told.value.into(),
        block_number: told.block_number,
        block_hash: told.block_hash,
    })
}

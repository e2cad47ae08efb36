//! `/chain/tx`: transactions that signers of the platform send (spec 2 §5.2).
//!
//! A submission is handed over with its key ([`plimsoll_relayer::Intake::submit_under`]): key, request, audit entry and answer are committed in one transaction, which others that come
//! at the same time share. So there is nothing to recover: a process that dies anywhere leaves all of it or nothing, and whoever asks again gets the same answer or the first one. Behind
//! the key stands `(tenant_id, request_id, operation_type)`, for when the key has gone. Nothing is sent here: whoever works the signer finds the request.

use alloy_primitives::{Bytes, U256, hex, keccak256};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use plimsoll_bus::PublishError;
use plimsoll_bus::audit::Entry;
use plimsoll_identity::Permission::{RelayerOperate, RelayerRead, RelayerSubmit};
use plimsoll_relayer::request::{Call, Invalid, Request, SignerId, Validity};
use plimsoll_relayer::{AcceptError, Kept, Outcome, SubmitError, call_off_in, read};
use plimsoll_types::api::FieldProblem;
use plimsoll_types::{Address, Amount, Context, TransactionState, api, parse_address, parse_hash};
use serde_json::{Value, json};
use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use super::paging::{Filter, Listing, Paging, Segment, TransactionKey};
use crate::cursor::Fingerprint;
use crate::gateway::Access::Needs;
use crate::gateway::{Caller, Declaration, Done, Keyed, Routes, WriteMethod, finish};
use crate::idempotency::{Answered, Execution, Reply};
use crate::openapi::{ListProblems, RecordProblems, SubmitProblems, WriteProblems};
use crate::problem::{Problem, ProblemKind};
use crate::query::{Fields, NoParameters, Query, bigint, instant, shown, text};
use crate::repo::RepoError;
use crate::state::ApiState;

/// The longest reason.
const REASON_MAX_CHARS: usize = 500;

pub(super) fn routes() -> Routes<ApiState> {
    const ONE: &str = "/chain/tx/{transaction_id}";
    const SUBMIT: &str = "/chain/tx/submit";
    const CANCEL: &str = "/chain/tx/{transaction_id}/cancel";
    let cancelling = Declaration::with_optional_key(WriteMethod::Post, CANCEL, Needs(RelayerOperate));
    Routes::default()
        .read(Declaration::read("/chain/tx", Needs(RelayerRead)), list)
        .write(Declaration::requiring_key(WriteMethod::Post, SUBMIT, Needs(RelayerSubmit)), submit)
        .read(Declaration::read(ONE, Needs(RelayerRead)), show)
        .write(cancelling, cancel)
}

/// Which transactions.
#[derive(Debug, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct TransactionFilter {
    /// Those of this request.
    request_id: Option<Uuid>,
    /// Those of this name.
    #[param(max_length = 255, example = "position.push")]
    operation_type: Option<String>,
    /// Those that stand here.
    state: Option<TransactionState>,
    /// Those on this chain.
    #[param(minimum = 0, maximum = 9_223_372_036_854_775_807_u64)]
    chain_id: Option<i64>,
    /// Those that this address signs.
    #[param(value_type = Option<String>, pattern = "^0x[0-9a-fA-F]{40}$")]
    signer: Option<Address>,
    /// Those that were accepted at or after this time, to the millisecond.
    since: Option<OffsetDateTime>,
}

impl Filter for TransactionFilter {
    const KNOWN: &'static [&'static str] =
        &["request_id", "operation_type", "state", "chain_id", "signer", "since", "limit", "cursor"];

    fn read(fields: &mut Fields) -> Self {
        let id = |text: &str| Uuid::try_parse(text).map_err(|_| format!("`{}` is no UUID", shown(text)));
        Self {
            request_id: fields.take("request_id", id),
            operation_type: fields.take("operation_type", text),
            state: fields.take("state", |text| {
                text.parse::<TransactionState>().map_err(|error| shown_whole(&error.to_string()))
            }),
            chain_id: fields.take("chain_id", bigint),
            signer: fields.take("signer", parse_address),
            since: fields.take("since", instant),
        }
    }

    fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(&[
            self.request_id.map(|id| id.to_string()),
            self.operation_type.clone(),
            self.state.map(|state| state.as_str().to_owned()),
            self.chain_id.map(|id| id.to_string()),
            self.signer.map(|signer| signer.to_string()),
            self.since.map(|since| since.unix_timestamp_nanos().to_string()),
        ])
    }
}

/// The tenant's transactions
///
/// The newest first.
#[utoipa::path(get, operation_id = "list_transactions", path = "/chain/tx", tag = "relayer", params(TransactionFilter, Paging),
    responses((status = 200, description = "A page of transactions", body = api::Transactions), ListProblems))]
pub(crate) async fn list(
    State(state): State<ApiState>,
    caller: Caller,
    Query(listing): Query<Listing<TransactionFilter>>,
) -> Result<Json<api::Transactions>, Problem> {
    let below = listing.after::<TransactionKey>()?.map(|key| key.0);
    let asked = &listing.filter;
    let filter = read::Filter {
        request_id: asked.request_id,
        operation_type: asked.operation_type.clone(),
        state: asked.state,
        chain_id: asked.chain_id,
        signer: asked.signer,
        since: asked.since,
    };
    let mut tx = state.db().tenant_tx(&[caller.tenant_id]).await.map_err(RepoError::from)?;
    let found = read::page(&mut tx, caller.tenant_id, &filter, below, listing.rows()).await;
    let (items, next_cursor) =
        listing.page(found.map_err(RepoError::from)?, |found| TransactionKey(found.transaction_id));
    Ok(Json(api::Transactions { items, next_cursor }))
}

/// A transaction
///
/// By its id, or by the hash of any of its attempts.
#[utoipa::path(get, operation_id = "show_transaction", path = "/chain/tx/{transaction_id}", tag = "relayer",
    params(("transaction_id" = String, Path, description = "The transaction's id, or the hash of an attempt")),
    responses((status = 200, description = "The transaction", body = api::Transaction), RecordProblems))]
pub(crate) async fn show(
    State(state): State<ApiState>,
    caller: Caller,
    name: Segment,
    _: Query<NoParameters>,
) -> Result<Json<api::Transaction>, Problem> {
    let mut tx = state.db().tenant_tx(&[caller.tenant_id]).await.map_err(RepoError::from)?;
    let found = match parse_hash(&name.0) {
        Ok(hash) => read::by_hash(&mut tx, caller.tenant_id, &hash).await,
        Err(_) => read::by_id(&mut tx, caller.tenant_id, name.id()?).await,
    };
    found.map_err(RepoError::from)?.map(Json).ok_or_else(unknown)
}

/// Hand in a transaction
///
/// A signer of the platform makes this call once, whatever dies: it is on record before this is answered, and sent when its turn comes. The same `request_id` and `operation_type`
/// are the same transaction, also under another `Idempotency-Key`; with anything else in the body they are a conflict. What the tenant is not granted by the signer is refused, and not
/// kept under the key: it may be granted later.
#[utoipa::path(post, operation_id = "submit_transaction", path = "/chain/tx/submit", tag = "relayer", request_body = api::NewTransaction,
    responses((status = 202, description = "The transaction", body = api::Transaction), SubmitProblems))]
pub(crate) async fn submit(
    execution: Execution,
    (State(state), asked): (State<ApiState>, Keyed<api::NewTransaction>),
) -> Result<Answered, Problem> {
    let intake = state.relayer().ok_or_else(no_signers)?;
    let context = Context { request_id: asked.body.request_id, ..execution.caller().clone() };
    let request = request_of(context, &asked.body)?;
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

/// Call a transaction off
///
/// What has no nonce yet ends at once, when its signer is worked next. After that something that does nothing competes for its nonce, and the chain decides: the transaction says what came of it.
#[utoipa::path(post, operation_id = "cancel_transaction", path = "/chain/tx/{transaction_id}/cancel", tag = "relayer", request_body = api::Cancellation,
    params(("transaction_id" = Uuid, Path, description = "The transaction's id")),
    responses((status = 202, description = "The transaction", body = api::Transaction), WriteProblems))]
pub(crate) async fn cancel(
    execution: Execution,
    (State(state), id, asked): (State<ApiState>, Segment, Keyed<api::Cancellation>),
) -> Result<Answered, Problem> {
    let id = id.id()?;
    let chars = asked.body.reason.chars().count();
    if !(1..=REASON_MAX_CHARS).contains(&chars) {
        let reason = format!("has {chars} characters, 1 to {REASON_MAX_CHARS} may be");
        return Err(invalid(vec![FieldProblem { name: "reason".into(), reason }]));
    }
    let mut effect = asked.begin(execution).await?;
    let done = cancel_in(&mut effect, asked.caller.tenant_id, id, &asked.body.reason).await;
    let answered = finish(effect, done).await?;
    if let Some(intake) = state.relayer() {
        intake.ring();
    }
    Ok(answered)
}

async fn cancel_in(
    conn: &mut PgConnection,
    tenant_id: Uuid,
    id: Uuid,
    reason: &str,
) -> Result<Done, Problem> {
    let before = of_id(conn, tenant_id, id).await?;
    if !call_off_in(conn, id, reason).await.map_err(RepoError::from)? {
        let now = of_id(conn, tenant_id, id).await?;
        let detail = match now.end_wanted.filter(|_| !now.state.is_end()) {
            Some(end) => format!(
                "the transaction is to be {end} already: {}",
                shown(now.end_why.as_deref().unwrap_or_default())
            ),
            None => format!("the transaction is {} and stays so", now.state),
        };
        return Err(Problem::new(ProblemKind::Conflict, detail)
            .with_remedy("look at the transaction: it says what became of it"));
    }
    let after = of_id(conn, tenant_id, id).await?;
    let wish = |of: &api::Transaction| json!({ "state": of.state, "end_wanted": of.end_wanted });
    let entry = Entry::new("relayer.transaction.cancel", "transaction", id.to_string())
        .with_change(Some(wish(&before)), Some(wish(&after)))
        .with_reason(reason);
    Ok((entry, Reply::json(StatusCode::ACCEPTED, &after)?))
}

async fn of_id(conn: &mut PgConnection, tenant_id: Uuid, id: Uuid) -> Result<api::Transaction, Problem> {
    read::by_id(conn, tenant_id, id).await.map_err(RepoError::from)?.ok_or_else(unknown)
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

fn taken<T, E: ToString>(
    wrong: &mut Vec<FieldProblem>,
    name: &str,
    text: Option<&str>,
    read: impl FnOnce(&str) -> Result<T, E>,
) -> Option<T> {
    let error = match read(text?) {
        Ok(value) => return Some(value),
        Err(error) => error.to_string(),
    };
    wrong.push(FieldProblem { name: name.to_owned(), reason: shown_whole(&error) });
    None
}

fn bytes(text: &str) -> Result<Bytes, String> {
    let digits = text.strip_prefix("0x").filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
    digits
        .and_then(|digits| hex::decode(digits).ok())
        .map(Bytes::from)
        .ok_or_else(|| format!("`{}` is not `0x` and two hexadecimal digits for each byte", shown(text)))
}

fn fee(text: &str) -> Result<u128, String> {
    let amount: Amount = text.parse().map_err(|error: plimsoll_types::AmountError| error.to_string())?;
    u128::try_from(amount.0).map_err(|_| format!("`{}` wei are above 2^128-1", shown(text)))
}

/// An error's text without control characters. Those above bound what they repeat.
fn shown_whole(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).collect()
}

fn field_of(Invalid::Field { field, problem }: &Invalid) -> FieldProblem {
    // As the body names it.
    let name = if *field == "max_fee_limit" { "max_fee_per_gas_limit" } else { field };
    FieldProblem { name: name.to_owned(), reason: problem.clone() }
}

pub(super) fn invalid(fields: Vec<FieldProblem>) -> Problem {
    let told: Vec<_> = fields.iter().map(|field| format!("`{}`: {}", field.name, field.reason)).collect();
    Problem::new(ProblemKind::InvalidBody, told.join("; ")).with_parameters(fields)
}

fn unknown() -> Problem {
    Problem::new(ProblemKind::NotFound, "the tenant has no such transaction")
        .with_remedy("`/chain/tx` lists those that there are")
}

/// Nothing can be signed here.
pub(super) fn no_signers() -> Problem {
    Problem::new(ProblemKind::NotConfigured, "this server has no signers")
        .with_remedy("ask whoever runs this server to configure one, or ask a server that has one")
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

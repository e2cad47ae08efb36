//! `/chain/tx`: transactions that signers of the platform send, and those that users sign (spec 2 §5.2).
//!
//! A submission is one transaction, which others that come at the same time share: key, request, audit entry and answer ([`submit`]). So there is nothing to recover: a process that dies anywhere
//! leaves all of it or nothing, and whoever asks again gets the same answer or the first one. Behind the key stands `(tenant_id, request_id, operation_type)`, for when the key has gone. Nothing is sent here: whoever works the
//! signer, or sends for the chain's users, finds what was put.

mod authorized;
mod fields;
mod prepare;
mod signed;
mod submit;
mod texts;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use plimsoll_bus::audit::Entry;
use plimsoll_identity::Permission::{RelayerOperate, RelayerRead, RelayerSubmit};
use plimsoll_relayer::explain::Known;
use plimsoll_relayer::request::SignerId;
use plimsoll_relayer::speed_up::speed_up_in;
use plimsoll_relayer::{call_off_in, explain as explaining, read};
use plimsoll_types::api::FieldProblem;
use plimsoll_types::{Address, TransactionState, api, parse_address, parse_hash};
use serde_json::json;
use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use self::fields::shown_whole;
pub(super) use self::fields::{invalid, taken};
pub(crate) use self::prepare::{__path_prepare, prepare};
pub(crate) use self::submit::{__path_submit, submit};
use super::paging::{Filter, Listing, Paging, Segment, TransactionKey};
use crate::cursor::Fingerprint;
use crate::gateway::Access::Needs;
use crate::gateway::{Caller, Declaration, Done, Keyed, Routes, WriteMethod, finish};
use crate::idempotency::{Answered, Execution, Reply};
use crate::openapi::{ListProblems, RecordProblems, WriteProblems};
use crate::problem::{Problem, ProblemKind};
use crate::query::{Fields, NoParameters, Query, bigint, instant, shown, text};
use crate::repo::RepoError;
use crate::state::ApiState;

/// The longest reason.
const REASON_MAX_CHARS: usize = 500;

pub(super) fn routes() -> Routes<ApiState> {
    const ONE: &str = "/chain/tx/{transaction_id}";
    const SUBMIT: &str = "/chain/tx/submit";
    const PREPARE: &str = "/chain/tx/prepare";
    const EXPLAIN: &str = "/chain/tx/{transaction_id}/explain";
    const CANCEL: &str = "/chain/tx/{transaction_id}/cancel";
    const SPEED_UP: &str = "/chain/tx/{transaction_id}/speed-up";
    let operating = |path| Declaration::with_optional_key(WriteMethod::Post, path, Needs(RelayerOperate));
    let why = "it changes nothing: what is prepared is kept nowhere";
    let preparing = Declaration::exempt(WriteMethod::Post, PREPARE, Needs(RelayerSubmit), why).costly();
    Routes::default()
        .read(Declaration::read("/chain/tx", Needs(RelayerRead)), list)
        .exempt(preparing, prepare)
        .write(
            Declaration::requiring_key(WriteMethod::Post, SUBMIT, Needs(RelayerSubmit))
                .claiming_with_effects(),
            submit,
        )
        .read(Declaration::read(ONE, Needs(RelayerRead)), show)
        .read(Declaration::read(EXPLAIN, Needs(RelayerRead)), explain)
        .write(operating(CANCEL), cancel)
        .write(operating(SPEED_UP), speed_up)
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
    named(&mut tx, caller.tenant_id, &name).await.map(Json)
}

async fn named(
    conn: &mut PgConnection,
    tenant_id: Uuid,
    name: &Segment,
) -> Result<api::Transaction, Problem> {
    let found = match parse_hash(&name.0) {
        Ok(hash) => read::by_hash(conn, tenant_id, &hash).await,
        Err(_) => read::by_id(conn, tenant_id, name.id()?).await,
    };
    found.map_err(RepoError::from)?.ok_or_else(unknown)
}

/// What a transaction waits for
///
/// By its id, or by the hash of any of its attempts: what it waits for, who holds it, what happens next and when, in words and in fields.
#[utoipa::path(get, operation_id = "explain_transaction", path = "/chain/tx/{transaction_id}/explain", tag = "relayer",
    params(("transaction_id" = String, Path, description = "The transaction's id, or the hash of an attempt")),
    responses((status = 200, description = "The explanation", body = api::Explanation), RecordProblems))]
pub(crate) async fn explain(
    State(state): State<ApiState>,
    caller: Caller,
    name: Segment,
    _: Query<NoParameters>,
) -> Result<Json<api::Explanation>, Problem> {
    let confined = async || state.db().tenant_tx(&[caller.tenant_id]).await.map_err(RepoError::from);
    let found = named(&mut *confined().await?, caller.tenant_id, &name).await?;
    let known = match parse_address(&found.signer) {
        Ok(address) => known(&state, &found, address).await,
        Err(_) => Known::default(),
    };
    let mut tx = confined().await?;
    let told = explaining::of_transaction(&mut tx, state.operations(), caller.tenant_id, &found, known).await;
    Ok(Json(told.map_err(RepoError::from)?))
}

/// What is configured of its signer; of what a user signed and no block has yet, what the chain says of its sender.
async fn known(state: &ApiState, of: &api::Transaction, address: Address) -> Known {
    let signer = SignerId { chain_id: of.chain_id, address };
    let policy = state.relayer().and_then(|intake| intake.policy(signer));
    let waits = of.kind == api::TransactionKind::UserSigned && of.state == TransactionState::Tracking;
    let front = match state.chains().get(of.chain_id).filter(|_| waits && of.inclusion.is_none()) {
        Some(chain) => chain.front(address).await,
        None => None,
    };
    Known { window: policy.map(|policy| policy.window.get()), front }
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
    bounded(&asked.body.reason)?;
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
            _ if is_users(&now) => USERS.to_owned(),
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

/// Offer more for a transaction
///
/// Whoever works its signer signs it again at its next look, with a tenth more at least and as the market asks, within the limits of the request and of the signer; where they leave no room, as
/// soon as they do. Of several attempts one can be included. 409 where there is nothing to offer more for: it has no nonce yet, is in a block, has ended, is being called off, or this is
/// asked for already.
#[utoipa::path(post, operation_id = "speed_up_transaction", path = "/chain/tx/{transaction_id}/speed-up", tag = "relayer", request_body = api::SpeedUp,
    params(("transaction_id" = Uuid, Path, description = "The transaction's id")),
    responses((status = 202, description = "The transaction", body = api::Transaction), WriteProblems))]
pub(crate) async fn speed_up(
    execution: Execution,
    (State(state), id, asked): (State<ApiState>, Segment, Keyed<api::SpeedUp>),
) -> Result<Answered, Problem> {
    let id = id.id()?;
    bounded(&asked.body.reason)?;
    let mut effect = asked.begin(execution).await?;
    let done = speed_up_of(&mut effect, &asked.caller, id, &asked.body.reason).await;
    let answered = finish(effect, done).await?;
    if let Some(intake) = state.relayer() {
        intake.ring();
    }
    Ok(answered)
}

async fn speed_up_of(
    conn: &mut PgConnection,
    caller: &Caller,
    id: Uuid,
    reason: &str,
) -> Result<Done, Problem> {
    let before = of_id(conn, caller.tenant_id, id).await?;
    if !speed_up_in(conn, id, &caller.actor(), reason).await.map_err(RepoError::from)? {
        let now = of_id(conn, caller.tenant_id, id).await?;
        let detail = match (now.state, now.end_wanted, &now.speed_up_wanted, &now.inclusion) {
            _ if is_users(&now) => USERS.to_owned(),
            (TransactionState::Pending, ..) => {
                "the transaction has no nonce yet: nothing of it was offered to anybody".to_owned()
            }
            (TransactionState::Tracking, _, _, Some(_)) => {
                "another transaction has its nonce in a block: no offer helps".to_owned()
            }
            (TransactionState::Tracking, Some(end), ..) => {
                format!("the transaction is to be {end}: what competes with it is sent as it has to be")
            }
            (TransactionState::Tracking, _, Some(why), _) => {
                format!("more is to be offered already: {}", shown(why))
            }
            (state, ..) => format!("the transaction is {state}: there is nothing to offer more for"),
        };
        return Err(Problem::new(ProblemKind::Conflict, detail)
            .with_remedy("look at the transaction, or at what explains it: it says what it waits for"));
    }
    let after = of_id(conn, caller.tenant_id, id).await?;
    let offered = |of: &api::Transaction| {
        let latest = of.attempts.last().map(|latest| latest.max_fee_per_gas);
        json!({ "state": of.state, "max_fee_per_gas": latest, "speed_up_wanted": of.speed_up_wanted })
    };
    let entry = Entry::new("relayer.transaction.speed_up", "transaction", id.to_string())
        .with_change(Some(offered(&before)), Some(offered(&after)))
        .with_reason(reason);
    Ok((entry, Reply::json(StatusCode::ACCEPTED, &after)?))
}

/// What cannot be changed of it is its user's to change.
const USERS: &str = "its user signed the transaction: nobody here can change it; the same wallet can, with another at its nonce";

fn is_users(transaction: &api::Transaction) -> bool {
    transaction.kind == api::TransactionKind::UserSigned
}

pub(super) fn bounded(reason: &str) -> Result<(), Problem> {
    let chars = reason.chars().count();
    if (1..=REASON_MAX_CHARS).contains(&chars) {
        return Ok(());
    }
    let reason = format!("has {chars} characters, 1 to {REASON_MAX_CHARS} may be");
    Err(invalid(vec![FieldProblem { name: "reason".into(), reason }]))
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

async fn of_id(conn: &mut PgConnection, tenant_id: Uuid, id: Uuid) -> Result<api::Transaction, Problem> {
    read::by_id(conn, tenant_id, id).await.map_err(RepoError::from)?.ok_or_else(unknown)
}

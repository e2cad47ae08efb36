//! `POST /api/v1/ledger/post`, and several at once.
//!
//! A request is one transaction, which others that come at the same time share: key, postings, audit and answer. So there is nothing to recover, and whoever asks again gets the same answer or the
//! first one. Behind the key stands each posting's natural key, for when the key has gone.

use axum::extract::State;
use axum::http::StatusCode;
use plimsoll_bus::audit::Entry;
use plimsoll_ledger::{
    Direction, Draft, GROUP_MAX, Invalid, Kept, Line, OnChain, Origin, PostError, Posted, Posting, Refusal,
    SubmitError,
};
use plimsoll_types::api::{FieldProblem, LedgerOutcome, PostedLedgerPosting, PostedLedgerPostings};
use plimsoll_types::{Amount, Context, api, parse_hash};
use serde_json::json;
use uuid::Uuid;

use super::super::transactions::{invalid, taken};
use crate::gateway::ForTenant;
use crate::idempotency::{Answered, Execution, Reply};
use crate::openapi::PostingProblems;
use crate::problem::{Problem, ProblemKind};
use crate::query::instant;
use crate::state::ApiState;

const OPERATION: &str = "ledger.post";
/// As the audit has it.
const ACTION: &str = "ledger.post";
const DOMAIN: &str = "cash";
const ENTRY_TYPE: &str = "POSTING";

/// Post to the books
///
/// Debits and credits are equal in each currency, or nothing is booked. The same `request_id`, `operation_type` and `user_id` are the same posting, also under another `Idempotency-Key`: the first answer
/// comes again; with anything else in the body they are a conflict, which is put on record and names the posting. What the accounts do not allow is refused, and not kept under the key: they may allow it
/// later.
#[utoipa::path(post, operation_id = "post_to_ledger", path = "/api/v1/ledger/post", tag = "ledger", request_body = api::NewLedgerPosting,
    responses((status = 201, description = "That it is on record", body = PostedLedgerPosting), PostingProblems))]
pub(crate) async fn post(
    execution: Execution,
    (State(state), asked): (State<ApiState>, ForTenant<api::NewLedgerPosting>),
) -> Result<Answered, Problem> {
    let context = Context { request_id: asked.body.request_id, ..execution.caller().clone() };
    let posting = posting_of(&context, &asked.body)?;
    hand_in(&state, execution, context, posting, ACTION, None).await
}

/// Hands in one posting in this context, and answers with what came of it; the audit has it under this name.
pub(super) async fn hand_in(
    state: &ApiState,
    execution: Execution,
    context: Context,
    posting: Posting,
    action: &'static str,
    reason: Option<String>,
) -> Result<Answered, Problem> {
    let asked_for = told(&posting);
    let (claim, form) = execution.hand_over();
    let answer = move |outcomes: &[Result<Posted, PostError>]| match outcomes {
        [Ok(posted)] => {
            let made = PostedLedgerPosting { posting_id: posted.posting_id, ..asked_for.clone() };
            let response = form.keep(Reply::json(StatusCode::CREATED, &made)?)?;
            let entry = (!posted.is_replay).then(|| {
                let entry = entry_of(action, &made).in_context(context.clone());
                match &reason {
                    Some(reason) => entry.with_reason(reason),
                    None => entry,
                }
            });
            Ok(Kept { response, entries: entry.into_iter().collect() })
        }
        [Err(error @ PostError::Conflict { .. })] => {
            Ok(Kept { response: form.keep(Problem::from(error.clone()))?, entries: Vec::new() })
        }
        [Err(error)] => Err(error.clone().into()),
        _ => Err(PostError::Stopped.into()),
    };
    Ok(state.ledger().submit(vec![posting], claim, Box::new(answer)).await?.into())
}

/// Post several to the books
///
/// They are booked in one transaction, and each has an outcome of its own: one that is refused fails none of the others. The answer is kept under the key, refusals too: what was refused is asked for anew
/// under another key, where those that are on record are told again.
#[utoipa::path(post, operation_id = "post_batch_to_ledger", path = "/api/v1/ledger/post/batch", tag = "ledger", request_body = api::NewLedgerPostings,
    responses((status = 200, description = "What came of each", body = PostedLedgerPostings), PostingProblems))]
pub(crate) async fn post_batch(
    execution: Execution,
    (State(state), asked): (State<ApiState>, ForTenant<api::NewLedgerPostings>),
) -> Result<Answered, Problem> {
    let bodies = &asked.body.postings;
    if !(1..=GROUP_MAX).contains(&bodies.len()) {
        let reason = format!("has {} postings, 1 to {GROUP_MAX} may be", bodies.len());
        return Err(invalid(vec![FieldProblem { name: "postings".into(), reason }]));
    }
    let caller = Context { request_id: asked.body.request_id, ..execution.caller().clone() };
    let is_foreign = |body: &&api::NewLedgerPosting| {
        body.tenant_id != asked.caller.tenant_id
            || body.created_by.as_ref().is_some_and(|actor| *actor != caller.actor)
    };
    if let Some(place) = bodies.iter().position(|body| is_foreign(&body)) {
        let detail = format!("`postings[{place}]` is of another tenant, or says that another asks");
        return Err(Problem::new(ProblemKind::Forbidden, detail)
            .with_remedy("give your own tenant in each, and leave `created_by` out"));
    }
    // A place in the answer for each; of those that are postings, what is told of them when they are booked.
    let mut items: Vec<Result<PostedLedgerPosting, LedgerOutcome>> = Vec::with_capacity(bodies.len());
    let mut postings = Vec::new();
    for body in bodies {
        let context = Context { request_id: body.request_id, ..caller.clone() };
        items.push(match posting_of(&context, body) {
            Ok(posting) => {
                let asked_for = told(&posting);
                postings.push(posting);
                Ok(asked_for)
            }
            Err(problem) => Err(refused(body.request_id, &problem)),
        });
    }
    if postings.is_empty() {
        let items = items.into_iter().filter_map(Result::err).collect();
        return Ok(execution.answer(Reply::json(StatusCode::OK, &PostedLedgerPostings { items })?).await?);
    }
    let (claim, form) = execution.hand_over();
    let answer = move |outcomes: &[Result<Posted, PostError>]| answer_of(&caller, &form, &items, outcomes);
    Ok(state.ledger().submit(postings, claim, Box::new(answer)).await?.into())
}

fn answer_of(
    caller: &Context,
    form: &crate::idempotency::Form,
    asked_for: &[Result<PostedLedgerPosting, LedgerOutcome>],
    outcomes: &[Result<Posted, PostError>],
) -> Result<Kept, SubmitError> {
    let (mut items, mut entries, mut outcomes) =
        (Vec::with_capacity(asked_for.len()), Vec::new(), outcomes.iter());
    for asked in asked_for {
        let asked = match asked {
            Ok(asked) => asked,
            Err(refused) => {
                items.push(refused.clone());
                continue;
            }
        };
        items.push(match outcomes.next() {
            Some(Ok(posted)) => {
                let made = PostedLedgerPosting { posting_id: posted.posting_id, ..asked.clone() };
                if !posted.is_replay {
                    let context = Context { request_id: asked.request_id, ..caller.clone() };
                    entries.push(entry_of(ACTION, &made).in_context(context));
                }
                let status = StatusCode::CREATED.as_u16();
                LedgerOutcome { request_id: asked.request_id, status, posting: Some(made), detail: None }
            }
            Some(Err(
                error @ (PostError::Conflict { .. } | PostError::Refused(_) | PostError::NoBooks { .. }),
            )) => refused(asked.request_id, &error.clone().into()),
            // Of these nobody knows: that is no answer.
            Some(Err(error)) => return Err(error.clone().into()),
            None => return Err(PostError::Stopped.into()),
        });
    }
    let response = form.keep(Reply::json(StatusCode::OK, &PostedLedgerPostings { items })?)?;
    Ok(Kept { response, entries })
}

fn refused(request_id: Uuid, problem: &Problem) -> LedgerOutcome {
    let (status, detail) = (problem.kind.status().as_u16(), Some(problem.detail.clone()));
    LedgerOutcome { request_id, status, posting: None, detail }
}

/// What is told of a posting, but for its id.
fn told(posting: &Posting) -> PostedLedgerPosting {
    let draft = posting.draft();
    PostedLedgerPosting {
        posting_id: Uuid::nil(),
        request_id: draft.context.request_id,
        user_id: draft.context.user_id,
        operation_type: draft.operation_type.clone(),
        checksum: posting.checksum(),
    }
}

fn entry_of(action: &'static str, made: &PostedLedgerPosting) -> Entry {
    let after =
        json!({ "operation_type": made.operation_type, "user_id": made.user_id, "checksum": made.checksum });
    Entry::new(action, "posting", made.posting_id.to_string()).with_change(None, Some(after))
}

/// What is asked for, or everything that is wrong with it.
fn posting_of(context: &Context, body: &api::NewLedgerPosting) -> Result<Posting, Problem> {
    let mut wrong = Vec::new();
    let effective_at = taken(&mut wrong, "effective_at", body.effective_at.as_deref(), instant);
    let tx_hash = taken(&mut wrong, "chain_tx_hash", body.chain_tx_hash.as_deref(), parse_hash);
    let block_hash = taken(&mut wrong, "chain_block_hash", body.chain_block_hash.as_deref(), parse_hash);
    let mut unfit = Vec::new();
    let mut say =
        |name: &str, reason: &str| unfit.push(FieldProblem { name: name.into(), reason: reason.into() });
    if body.chain_block_number.is_some() != body.chain_block_hash.is_some() {
        say("chain_block_hash", "a block has its number and its hash: give both, or neither");
    }
    if body.chain_id.is_none() && (body.chain_tx_hash.is_some() || body.chain_block_number.is_some()) {
        say("chain_id", "is missing: a transaction and a block are of a chain");
    }
    if body.chain_id.is_some_and(|id| id == 0 || i64::try_from(id).is_err()) {
        say("chain_id", "is none that a chain has");
    }
    let mut lines = Vec::with_capacity(body.entries.len());
    for (place, entry) in body.entries.iter().enumerate() {
        let (direction, amount) = match (entry.debit.unwrap_or_default(), entry.credit.unwrap_or_default()) {
            (debit, Amount::ZERO) => (Direction::Debit, debit),
            (Amount::ZERO, credit) => (Direction::Credit, credit),
            _ => {
                say(&format!("entries[{place}]"), "is a debit or a credit: leave one of them out, or give 0");
                continue;
            }
        };
        lines.push(Line {
            account_id: entry.account_id,
            direction,
            amount,
            currency: entry.currency.clone(),
            entry_type: entry.entry_type.clone().unwrap_or_else(|| ENTRY_TYPE.into()),
        });
    }
    if !wrong.is_empty() {
        return Err(invalid(wrong));
    }
    if !unfit.is_empty() {
        return Err(does_not_fit(unfit));
    }
    let block = body.chain_block_number.zip(block_hash);
    let draft = Draft {
        context: Context { user_id: body.user_id, ..context.clone() },
        operation_type: body.operation_type.clone().unwrap_or_else(|| OPERATION.into()),
        domain: body.domain.clone().unwrap_or_else(|| DOMAIN.into()),
        origin: Origin::Request,
        internal_tx_id: body.internal_tx_id,
        trace_id: body.trace_id,
        effective_at,
        on_chain: body.chain_id.map(|chain_id| OnChain { chain_id, tx_hash, block }),
        correction: None,
        metadata: body.metadata.clone(),
        lines,
    };
    Posting::new(draft).map_err(|error| PostError::from(error).into())
}

/// Each field is as the document has it, and together they are no posting.
fn does_not_fit(fields: Vec<FieldProblem>) -> Problem {
    let problem = Problem { kind: ProblemKind::PostingRefused, ..invalid(fields) };
    problem.with_remedy("correct what `parameters` names, and send it again under the same `request_id`")
}

/// The field of the body that is wrong.
fn field_of(error: &Invalid) -> FieldProblem {
    let name = match error {
        Invalid::NoTenant => "tenant_id".to_owned(),
        Invalid::Nothing { sequence } => format!("entries[{}]", sequence - 1),
        Invalid::Text { field, .. } => field.clone(),
        Invalid::Lines { .. } | Invalid::Unbalanced { .. } => "entries".to_owned(),
        Invalid::Reversal { .. } => "reason".to_owned(),
        Invalid::Unreadable | Invalid::Metadata { .. } => "metadata".to_owned(),
    };
    FieldProblem { name, reason: error.to_string() }
}

impl From<PostError> for Problem {
    fn from(error: PostError) -> Self {
        let said = error.to_string();
        match error {
            PostError::Invalid(
                error @ (Invalid::Nothing { .. } | Invalid::Unbalanced { .. } | Invalid::Reversal { .. }),
            ) => does_not_fit(vec![field_of(&error)]),
            PostError::Invalid(error) => invalid(vec![field_of(&error)]),
            PostError::Refused(Refusal::UnknownPosting { .. }) => Self::new(ProblemKind::NotFound, said)
                .with_remedy("`/api/v1/ledger/entries` lists the postings that there are"),
            PostError::Refused(_) | PostError::NoBooks { .. } => Self::new(ProblemKind::PostingRefused, said),
            PostError::Conflict { .. } => Self::new(ProblemKind::Conflict, said).with_remedy(
                "give what is new a new `request_id`; to ask again, send what was sent the first time",
            ),
            PostError::Overloaded | PostError::Stopped => Self::new(ProblemKind::Overloaded, said),
            PostError::Database(error) => (&*error).into(),
        }
    }
}

impl From<SubmitError> for Problem {
    fn from(error: SubmitError) -> Self {
        match error {
            SubmitError::Post(error) => error.into(),
            SubmitError::Key(error) => error.into(),
            SubmitError::Audit(error) => error.into(),
            SubmitError::Answer(error) => error.into(),
            SubmitError::Group { .. } => Self::new(ProblemKind::InvalidBody, error.to_string()),
        }
    }
}

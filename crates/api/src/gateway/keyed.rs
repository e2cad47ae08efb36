//! Bodies, read strictly: JSON, nothing unknown, nothing that the database could not keep; and the three keys of a write.
//!
//! Every write carries `request_id`, `tenant_id` and `user_id` in its body (spec 2 §5.1, §7). They say nothing that the credential does not say, and that is
//! what they are for: a client that believes to act for another tenant or as another user is stopped here, instead of writing
//! into the wrong books. One that leaves a key out has lost track of who acts; that is refused and counted (`missing_keys_total`, on which the alarm of
//! spec 2 phase 6 stands). `user_id` is null for the platform's own operations, and none of those comes over HTTP.
//!
//! [`Keyed::begin`] and [`finish`] are the way through a write: the transaction of the effects in the request's own name, then what came of it, committed with
//! key, audit entry and answer. That transaction is the app's, confined to the caller's tenant, also where keys and sessions are changed: what the app may do with
//! them is said by column privileges (`migrations/0007_identity_routes.sql`), so nothing here needs a second transaction, or a stronger role.

use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use metrics::counter;
use plimsoll_bus::audit::Entry;
use plimsoll_identity::Denied;
use plimsoll_types::api;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::Caller;
use crate::idempotency::{Answered, Effect, Execution, Reply};
use crate::problem::{Problem, ProblemKind};
use crate::query::shown;

/// The most that is said of a body that cannot be read.
const SAID_CHARS: usize = 400;
const KEYS: [&str; 3] = ["request_id", "tenant_id", "user_id"];

/// A body in JSON.
#[derive(Debug)]
pub(crate) struct JsonBody<T>(pub(crate) T);

/// The body of a write, its keys the caller's own.
#[derive(Debug)]
pub(crate) struct Keyed<T> {
    /// What is asked for.
    pub(crate) body: T,
    /// Who asks.
    pub(crate) caller: Caller,
}

/// The body of a write for a tenant, and perhaps for a user of it who need not be the caller (spec 2 §5.4).
#[derive(Debug)]
pub(crate) struct ForTenant<T> {
    /// What is asked for.
    pub(crate) body: T,
    /// Who asks.
    pub(crate) caller: Caller,
}

/// What a write did: its audit entry, and the answer.
pub(crate) type Done = (Entry, Reply);

impl<T: api::Keyed> Keyed<T> {
    /// Begins the transaction of the effects, under the request's id as the body has it.
    ///
    /// # Errors
    /// As [`Execution::begin_effects`].
    pub(crate) async fn begin(&self, execution: Execution) -> Result<Effect, Problem> {
        Ok(execution.named(self.body.request_id()).begin_effects().await?)
    }
}

/// Commits what was done. What cannot be done as things stand is an answer too, and kept like one; any other refusal was not executed.
///
/// # Errors
/// The refusal, or what kept it from being committed.
pub(crate) async fn finish(effect: Effect, done: Result<Done, Problem>) -> Result<Answered, Problem> {
    match done {
        Ok((entry, reply)) => Ok(effect.commit(entry, reply).await?),
        Err(problem) if matches!(problem.kind, ProblemKind::NotFound | ProblemKind::Conflict) => {
            Ok(effect.refuse(problem).await?)
        }
        Err(problem) => Err(problem),
    }
}

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for JsonBody<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let (bytes, _) = document(request, state).await?;
        typed(&bytes).map(Self)
    }
}

impl<T, S> FromRequest<S> for Keyed<T>
where
    T: DeserializeOwned + api::Keyed,
    S: Send + Sync,
{
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let caller = request.extensions().get::<Caller>().cloned();
        let caller = caller
            .ok_or_else(|| Problem::new(ProblemKind::Unauthenticated, "the request has no credential"))?;
        let (bytes, document) = document(request, state).await?;
        with_keys(&document, &KEYS)?;
        let body: T = typed(&bytes)?;
        if body.tenant_id() != caller.tenant_id {
            return Err(Denied::OtherTenant.into());
        }
        if body.user_id() != caller.user_id {
            return Err(Problem::new(ProblemKind::Forbidden, "the body's `user_id` is not the caller's")
                .with_remedy("give your own, as `/auth/session` gives it: nobody asks in another's name"));
        }
        made_by(body.created_by(), &caller)?;
        Ok(Self { body, caller })
    }
}

impl<T, S> FromRequest<S> for ForTenant<T>
where
    T: DeserializeOwned + api::ForTenant,
    S: Send + Sync,
{
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let caller = request.extensions().get::<Caller>().cloned();
        let caller = caller
            .ok_or_else(|| Problem::new(ProblemKind::Unauthenticated, "the request has no credential"))?;
        let (bytes, document) = document(request, state).await?;
        with_keys(&document, &KEYS[..2])?;
        let body: T = typed(&bytes)?;
        if body.tenant_id() != caller.tenant_id {
            return Err(Denied::OtherTenant.into());
        }
        made_by(body.created_by(), &caller)?;
        Ok(Self { body, caller })
    }
}

fn with_keys(document: &Value, keys: &[&'static str]) -> Result<(), Problem> {
    let is_missing = |key: &&str| document.get(key).is_none_or(Value::is_null);
    lacking("body", keys.iter().copied().filter(is_missing))
}

/// Refuses a write that lacks any of its keys, and counts it.
pub(crate) fn lacking(part: &str, keys: impl Iterator<Item = &'static str>) -> Result<(), Problem> {
    let missing: Vec<&str> = keys
        .inspect(|key| counter!("missing_keys_total", "table" => "request", "key" => *key).increment(1))
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    Err(Problem::new(ProblemKind::MissingKey, format!("the {part} lacks {}", missing.join(", "))))
}

fn made_by(created_by: Option<&str>, caller: &Caller) -> Result<(), Problem> {
    if created_by.is_some_and(|actor| actor != caller.actor()) {
        return Err(Problem::new(ProblemKind::Forbidden, "the body's `created_by` is not the caller")
            .with_remedy("leave it out, or give the `actor` that `/auth/session` gives"));
    }
    Ok(())
}

fn invalid(detail: impl Into<String>) -> Problem {
    Problem::new(ProblemKind::InvalidBody, detail)
}

/// What is wrong is said with the field that it is wrong in.
fn typed<T: DeserializeOwned>(bytes: &Bytes) -> Result<T, Problem> {
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    serde_path_to_error::deserialize(&mut reader).map_err(|error| {
        let said: String = error.to_string().chars().filter(|c| !c.is_control()).take(SAID_CHARS).collect();
        invalid(said)
    })
}

/// The body, and the same as a value in which no text has a NUL, which Postgres does not keep.
async fn document<S: Send + Sync>(request: Request, state: &S) -> Result<(Bytes, Value), Problem> {
    let media_type = request.headers().get(CONTENT_TYPE).map(|value| value.to_str().unwrap_or_default());
    let essence = media_type.unwrap_or_default().split(';').next().unwrap_or_default().trim();
    if !essence.eq_ignore_ascii_case("application/json") {
        let detail = format!("the body's media type is `{}`", shown(essence));
        return Err(Problem::new(ProblemKind::UnsupportedMediaType, detail));
    }
    let bytes = Bytes::from_request(request, state).await.map_err(|rejection| {
        let detail = rejection.body_text();
        match rejection.into_response().status() {
            axum::http::StatusCode::PAYLOAD_TOO_LARGE => Problem::new(ProblemKind::BodyTooLarge, detail),
            _ => invalid(detail),
        }
    })?;
    let document: Value =
        serde_json::from_slice(&bytes).map_err(|error| invalid(format!("it is not JSON: {error}")))?;
    if !document.is_object() {
        return Err(invalid("it is not a JSON object"));
    }
    if has_nul(&document) {
        return Err(invalid("a text in it has a NUL character"));
    }
    Ok((bytes, document))
}

/// The parser bounds how deep this goes.
fn has_nul(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains('\0'),
        Value::Array(items) => items.iter().any(has_nul),
        Value::Object(fields) => fields.iter().any(|(name, value)| name.contains('\0') || has_nul(value)),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

//! `POST /auth/second-factor/webauthn/…`: a security key as a second factor, in two ceremonies of two steps each.
//!
//! A challenge is used up by whatever answers it, so the second step commits a refusal too.

use axum::Json;
use axum::extract::State;
use metrics::counter;
use plimsoll_identity::webauthn::{self, Refusal, Verdict, WebauthnError};
use plimsoll_identity::{directory, session};
use plimsoll_types::api;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::second_factor::given_now;
use super::{record, session_of};
use crate::gateway::{Caller, JsonBody};
use crate::openapi::SecondFactorProblems;
use crate::problem::{Problem, ProblemKind};
use crate::query::shown;
use crate::repo::RepoError;
use crate::state::ApiState;

/// Begin to register a security key
///
/// The answer is what `PublicKeyCredential.parseCreationOptionsFromJSON` takes. Who has a second factor gives it before adding another.
#[utoipa::path(post, operation_id = "begin_key_registration", path = "/auth/second-factor/webauthn/registration/begin", tag = "identity", request_body = api::Nothing,
    responses((status = 200, description = "The challenge, good for five minutes, once", body = Object), SecondFactorProblems))]
pub(crate) async fn begin_registration(
    State(state): State<ApiState>,
    caller: Caller,
    JsonBody(api::Nothing {}): JsonBody<api::Nothing>,
) -> Result<Json<Value>, Problem> {
    let mut tx = state.db().begin_worker().await.map_err(RepoError::from)?;
    let user = directory::user(&mut tx, caller.tenant_id, caller.user_id).await?;
    let party = &state.sign_in().party;
    let options = webauthn::begin_registration(&mut tx, party, &caller, &user.display_name).await?;
    tx.commit().await.map_err(RepoError::from)?;
    Ok(Json(options))
}

/// Register a security key
#[utoipa::path(post, operation_id = "finish_key_registration", path = "/auth/second-factor/webauthn/registration/finish", tag = "identity", request_body = api::NewSecurityKey,
    responses((status = 200, description = "It is registered", body = api::Nothing), SecondFactorProblems))]
pub(crate) async fn finish_registration(
    State(state): State<ApiState>,
    caller: Caller,
    JsonBody(new): JsonBody<api::NewSecurityKey>,
) -> Result<Json<api::Nothing>, Problem> {
    let registration: webauthn::Registration = credential(new.credential)?;
    let party = &state.sign_in().party;
    let mut tx = state.db().begin_worker().await.map_err(RepoError::from)?;
    let verdict = webauthn::finish_registration(&mut tx, party, &caller, &new.label, &registration).await?;
    let what = json!({ "kind": "webauthn", "label": new.label, "outcome": outcome(verdict) });
    record(&mut tx, &caller, "identity.second_factor.confirm", ("user", caller.user_id), what).await?;
    tx.commit().await.map_err(RepoError::from)?;
    judged(verdict)?;
    Ok(Json(api::Nothing {}))
}

/// Begin to give a security key
///
/// The answer is what `PublicKeyCredential.parseRequestOptionsFromJSON` takes.
#[utoipa::path(post, operation_id = "begin_key_assertion", path = "/auth/second-factor/webauthn/assertion/begin", tag = "identity", request_body = api::Nothing,
    responses((status = 200, description = "The challenge, good for five minutes, once", body = Object), SecondFactorProblems))]
pub(crate) async fn begin_assertion(
    State(state): State<ApiState>,
    caller: Caller,
    JsonBody(api::Nothing {}): JsonBody<api::Nothing>,
) -> Result<Json<Value>, Problem> {
    let mut tx = state.db().begin_worker().await.map_err(RepoError::from)?;
    let options = webauthn::begin_assertion(&mut tx, &state.sign_in().party, &caller).await?;
    tx.commit().await.map_err(RepoError::from)?;
    Ok(Json(options))
}

/// Give a security key
///
/// What is sensitive is then allowed for an hour.
#[utoipa::path(post, operation_id = "finish_key_assertion", path = "/auth/second-factor/webauthn/assertion/finish", tag = "identity", request_body = api::GivenSecurityKey,
    responses((status = 200, description = "It is given", body = api::SecondFactorGiven), SecondFactorProblems))]
pub(crate) async fn finish_assertion(
    State(state): State<ApiState>,
    caller: Caller,
    JsonBody(given): JsonBody<api::GivenSecurityKey>,
) -> Result<Json<api::SecondFactorGiven>, Problem> {
    let session_id = session_of(&caller)?;
    let assertion: webauthn::Assertion = credential(given.credential)?;
    let mut tx = state.db().begin_worker().await.map_err(RepoError::from)?;
    let verdict = webauthn::finish_assertion(&mut tx, &state.sign_in().party, &caller, &assertion).await?;
    if verdict == Verdict::Accepted
        && !session::note_second_factor(&mut tx, caller.tenant_id, session_id).await?
    {
        return Err(Problem::new(ProblemKind::SessionOver, "the session has just ended"));
    }
    let what = json!({ "kind": "webauthn", "session_id": session_id, "outcome": outcome(verdict) });
    record(&mut tx, &caller, "identity.second_factor.verify", ("user", caller.user_id), what).await?;
    tx.commit().await.map_err(RepoError::from)?;
    judged(verdict)?;
    Ok(given_now(&state, session_id))
}

/// What a browser's `toJSON` gave.
fn credential<T: DeserializeOwned>(credential: Value) -> Result<T, Problem> {
    serde_json::from_value(credential).map_err(|error| {
        let detail =
            format!("`credential` is not what a browser's `toJSON` gives: {}", shown(&error.to_string()));
        Problem::new(ProblemKind::InvalidBody, detail)
    })
}

fn judged(verdict: Verdict) -> Result<(), Problem> {
    counter!("second_factors_total", "kind" => "webauthn", "outcome" => outcome(verdict)).increment(1);
    match verdict {
        Verdict::Accepted => Ok(()),
        Verdict::Refused(refusal) => Err(Problem::new(ProblemKind::SecondFactorRefused, refusal.to_string())
            .with_remedy("begin again, with a key of yours, on a page of this site")),
    }
}

fn outcome(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Accepted => "accepted",
        Verdict::Refused(Refusal::Cloned) => "cloned",
        Verdict::Refused(Refusal::NoChallenge | Refusal::OtherChallenge) => "stale",
        Verdict::Refused(_) => "refused",
    }
}

impl From<WebauthnError> for Problem {
    fn from(error: WebauthnError) -> Self {
        let kind = match error {
            WebauthnError::Db(error) => return RepoError::from(error).into(),
            WebauthnError::SecondFactor => ProblemKind::SecondFactorRequired,
            WebauthnError::NoSession | WebauthnError::NotEnrolled => ProblemKind::Conflict,
            WebauthnError::Label => ProblemKind::InvalidBody,
        };
        Self::new(kind, error.to_string())
    }
}

//! `POST /auth/second-factor/totp/…`: a second factor from an app.
//!
//! A wrong code has to be counted, so its transaction is committed as a right one's is.

use axum::Json;
use axum::extract::State;
use metrics::counter;
use plimsoll_identity::directory;
use plimsoll_identity::seal::Sealer;
use plimsoll_identity::session::{self, SECOND_FACTOR_TERM};
use plimsoll_identity::totp::{self, Refusal, TotpError, Verdict};
use plimsoll_types::api;
use secrecy::ExposeSecret;
use serde_json::json;
use time::OffsetDateTime;
use uuid::Uuid;

use super::{record, session_of};
use crate::gateway::{Caller, JsonBody};
use crate::openapi::SecondFactorProblems;
use crate::problem::{Problem, ProblemKind};
use crate::repo::RepoError;
use crate::state::ApiState;

/// What the app shows beside the code.
const ISSUER: &str = "Plimsoll";

/// Set up a code app
///
/// The answer has the seed, this once. It counts once it is confirmed with a first code. Who has a second factor already gives it before.
#[utoipa::path(post, operation_id = "enroll_totp", path = "/auth/second-factor/totp/enroll", tag = "identity", request_body = api::Nothing,
    responses((status = 200, description = "The seed, this once", body = api::TotpEnrolment), SecondFactorProblems))]
pub(crate) async fn enroll(
    State(state): State<ApiState>,
    caller: Caller,
    JsonBody(api::Nothing {}): JsonBody<api::Nothing>,
) -> Result<Json<api::TotpEnrolment>, Problem> {
    session_of(&caller)?;
    let sealer = sealer(&state)?;
    let mut tx = state.db().begin_worker().await.map_err(RepoError::from)?;
    let user = directory::user(&mut tx, caller.tenant_id, caller.user_id).await?;
    let enrolment = totp::enrol(&mut tx, sealer, &caller, ISSUER, &user.display_name).await?;
    let target = ("user", caller.user_id);
    record(&mut tx, &caller, "identity.second_factor.enroll", target, json!({ "kind": "totp" })).await?;
    tx.commit().await.map_err(RepoError::from)?;
    Ok(Json(api::TotpEnrolment {
        seed: api::Secret(enrolment.seed.expose_secret().to_owned()),
        uri: api::Secret(enrolment.uri.expose_secret().to_owned()),
    }))
}

/// Put a code app in force
///
/// With its first code, which counts as given.
#[utoipa::path(post, operation_id = "confirm_totp", path = "/auth/second-factor/totp/confirm", tag = "identity", request_body = api::TotpCode,
    responses((status = 200, description = "It is in force, and given", body = api::SecondFactorGiven), SecondFactorProblems))]
pub(crate) async fn confirm(
    State(state): State<ApiState>,
    caller: Caller,
    JsonBody(given): JsonBody<api::TotpCode>,
) -> Result<Json<api::SecondFactorGiven>, Problem> {
    take(&state, &caller, &given, Step::Confirm).await
}

/// Give a code
///
/// What is sensitive is then allowed for an hour. Five wrong codes in a row lock for fifteen minutes.
#[utoipa::path(post, operation_id = "verify_totp", path = "/auth/second-factor/totp/verify", tag = "identity", request_body = api::TotpCode,
    responses((status = 200, description = "It is given", body = api::SecondFactorGiven), SecondFactorProblems))]
pub(crate) async fn verify(
    State(state): State<ApiState>,
    caller: Caller,
    JsonBody(given): JsonBody<api::TotpCode>,
) -> Result<Json<api::SecondFactorGiven>, Problem> {
    take(&state, &caller, &given, Step::Verify).await
}

#[derive(Clone, Copy)]
enum Step {
    Confirm,
    Verify,
}

async fn take(
    state: &ApiState,
    caller: &Caller,
    given: &api::TotpCode,
    step: Step,
) -> Result<Json<api::SecondFactorGiven>, Problem> {
    let session_id = session_of(caller)?;
    let sealer = sealer(state)?;
    let (now, code) = (OffsetDateTime::now_utc(), given.code.0.as_str());
    let mut tx = state.db().begin_worker().await.map_err(RepoError::from)?;
    let (verdict, action) = match step {
        Step::Confirm => {
            (totp::confirm(&mut tx, sealer, caller, code, now).await?, "identity.second_factor.confirm")
        }
        Step::Verify => {
            let verdict = totp::verify(&mut tx, sealer, caller.tenant_id, caller.user_id, code, now).await?;
            (verdict, "identity.second_factor.verify")
        }
    };
    let refusal = match verdict {
        Verdict::Accepted => None,
        Verdict::Refused(refusal) => Some(refusal),
    };
    if refusal.is_none() && !session::note_second_factor(&mut tx, caller.tenant_id, session_id).await? {
        return Err(Problem::new(ProblemKind::SessionOver, "the session has just ended"));
    }
    let outcome = refusal.as_ref().map_or("accepted", outcome);
    let what = json!({ "kind": "totp", "session_id": session_id, "outcome": outcome });
    record(&mut tx, caller, action, ("user", caller.user_id), what).await?;
    tx.commit().await.map_err(RepoError::from)?;
    counter!("second_factors_total", "kind" => "totp", "outcome" => outcome).increment(1);
    match refusal {
        Some(refusal) => Err(refusal.into()),
        None => Ok(given_now(state, session_id)),
    }
}

/// A second factor that counts from now, once that is committed.
pub(super) fn given_now(state: &ApiState, session_id: Uuid) -> Json<api::SecondFactorGiven> {
    state.authenticator().forget_session(session_id);
    Json(api::SecondFactorGiven { counts_for_seconds: SECOND_FACTOR_TERM.as_secs() })
}

fn sealer(state: &ApiState) -> Result<&Sealer, Problem> {
    state.sign_in().sealer.as_ref().ok_or_else(|| {
        Problem::new(ProblemKind::NotConfigured, "this server has no key under which seeds are sealed")
            .with_remedy(
                "ask whoever runs it to set `identity.seal_key_file`: `openssl rand -base64 32` makes a key",
            )
    })
}

fn outcome(refusal: &Refusal) -> &'static str {
    match refusal {
        Refusal::Wrong => "wrong",
        Refusal::Used => "used",
        Refusal::Locked { .. } => "locked",
        Refusal::NotEnrolled => "not_enrolled",
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::NotEnrolled => Self::new(ProblemKind::Conflict, refusal.to_string())
                .with_remedy("set one up at `/auth/second-factor/totp/enroll`, and confirm it"),
            _ => Self::new(ProblemKind::SecondFactorRefused, refusal.to_string()),
        }
    }
}

impl From<TotpError> for Problem {
    fn from(error: TotpError) -> Self {
        match error {
            TotpError::Db(error) => RepoError::from(error).into(),
            TotpError::SecondFactor => Self::new(ProblemKind::SecondFactorRequired, error.to_string()),
            TotpError::AlreadyEnrolled => Self::new(ProblemKind::Conflict, error.to_string()),
            TotpError::Seal(error) => {
                tracing::error!(%error, "a second factor's seed does not open");
                Self::new(ProblemKind::Internal, "the second factor's seed does not open here")
            }
        }
    }
}

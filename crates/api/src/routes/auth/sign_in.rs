//! `POST /auth/nonce`, `POST /auth/login`.

use alloy_primitives::hex;
use axum::Json;
use axum::extract::State;
use metrics::counter;
use plimsoll_bus::Keys;
use plimsoll_bus::audit::{self, Entry};
use plimsoll_identity::bootstrap::{self, BootstrapError};
use plimsoll_identity::directory::{self, User};
use plimsoll_identity::password::PasswordError;
use plimsoll_identity::session::{self, Method};
use plimsoll_identity::sign_in::{self, SignInError};
use plimsoll_identity::siwe::{self, CheckError, MAX_AGE};
use plimsoll_identity::tenant::{self, Tenant, TenantError};
use plimsoll_identity::{UserStatus, second_factor};
use plimsoll_types::{Context, api};
use serde_json::{Value, json};
use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use super::{story, tokens};
use crate::gateway::{JsonBody, NOBODY};
use crate::openapi::SignInProblems;
use crate::problem::{Problem, ProblemKind};
use crate::query::shown;
use crate::repo::RepoError;
use crate::state::ApiState;

/// The version of messages (EIP-4361).
const MESSAGE_VERSION: &str = "1";

/// Ask for a nonce
///
/// With what else a sign-in message (EIP-4361) must say. It is good for ten minutes, for one sign-in, at this tenant.
#[utoipa::path(post, path = "/auth/nonce", tag = "identity", request_body = api::NewNonce,
    responses((status = 200, description = "The nonce", body = api::Nonce), SignInProblems))]
pub(crate) async fn nonce(
    State(state): State<ApiState>,
    JsonBody(asked): JsonBody<api::NewNonce>,
) -> Result<Json<api::Nonce>, Problem> {
    let mut tx = state.db().begin_worker().await.map_err(RepoError::from)?;
    let tenant_id = tenant_named(&mut tx, &asked.tenant).await?.tenant_id;
    let nonce = sign_in::issue_nonce(&mut tx, tenant_id).await.map_err(RepoError::from)?;
    tx.commit().await.map_err(RepoError::from)?;
    let here = state.sign_in();
    Ok(Json(api::Nonce {
        nonce,
        tenant_id,
        domain: here.expectations.domain.clone(),
        uri: here.uri.clone(),
        version: MESSAGE_VERSION.to_owned(),
        chain_ids: here.expectations.chain_ids.clone(),
        expires_at: OffsetDateTime::now_utc() + MAX_AGE,
    }))
}

/// Sign in
///
/// With a message that a wallet signed, a password of the development file, or the first administrator's link. A nonce and a link are good once: if the
/// answer is lost, sign in again.
#[utoipa::path(post, path = "/auth/login", tag = "identity", request_body = api::SignIn,
    responses((status = 200, description = "The session's tokens, this once", body = api::Tokens), SignInProblems))]
pub(crate) async fn login(
    State(state): State<ApiState>,
    JsonBody(asked): JsonBody<api::SignIn>,
) -> Result<Json<api::Tokens>, Problem> {
    let (method, outcome) = match asked {
        api::SignIn::Wallet { tenant, message, signature } => {
            (Method::Wallet, by_wallet(&state, &tenant, &message, &signature).await)
        }
        api::SignIn::Password { login, password } => {
            (Method::Password, by_password(&state, &login, password).await)
        }
        api::SignIn::Bootstrap { token, display_name } => {
            (Method::Bootstrap, by_link(&state, token, &display_name).await)
        }
    };
    let count = |outcome| {
        counter!("sign_ins_total", "method" => method.as_str(), "outcome" => outcome).increment(1);
    };
    match outcome {
        Ok(signed_in) => {
            count("accepted");
            Ok(Json(signed_in))
        }
        Err(Turned { problem, tenant_id }) if problem.kind.status().is_client_error() => {
            count(problem.kind.slug());
            if let Some(tenant_id) = tenant_id {
                note_refusal(&state, tenant_id, method, &problem).await?;
            } else {
                tracing::warn!(method = method.as_str(), why = problem.kind.slug(), "a sign-in was refused");
            }
            Err(problem)
        }
        Err(Turned { problem, .. }) => {
            count("failed");
            Err(problem)
        }
    }
}

/// A sign-in that was turned away, and from which tenant, where that is known.
struct Turned {
    problem: Problem,
    tenant_id: Option<Uuid>,
}

impl<E: Into<Problem>> From<E> for Turned {
    fn from(error: E) -> Self {
        Self { problem: error.into(), tenant_id: None }
    }
}

async fn by_wallet(
    state: &ApiState,
    tenant: &str,
    message: &str,
    signature: &str,
) -> Result<api::Tokens, Turned> {
    let mut tx = state.db().begin_worker().await.map_err(RepoError::from)?;
    let Tenant { tenant_id, .. } = tenant_named(&mut tx, tenant).await?;
    tx.commit().await.map_err(RepoError::from)?;
    from_wallet(state, tenant_id, message, signature)
        .await
        .map_err(|problem| Turned { problem, tenant_id: Some(tenant_id) })
}

async fn from_wallet(
    state: &ApiState,
    tenant_id: Uuid,
    message: &str,
    signature: &str,
) -> Result<api::Tokens, Problem> {
    let signature =
        signature.strip_prefix("0x").and_then(|digits| hex::decode(digits).ok()).ok_or_else(|| {
            Problem::new(ProblemKind::InvalidBody, "`signature` is not `0x` and hexadecimal digits")
        })?;
    let here = state.sign_in();
    let now = OffsetDateTime::now_utc();
    let proven = siwe::check(message, &signature, &here.expectations, now, &&here.wallets).await?;
    let mut tx = state.db().begin_worker().await.map_err(RepoError::from)?;
    let user = sign_in::sign_in(&mut tx, &proven, here.registration).await?;
    if user.tenant_id != tenant_id {
        return Err(SignInError::OtherTenant.into());
    }
    let how =
        json!({ "chain_id": proven.chain_id(), "address": proven.address().to_string().to_lowercase() });
    let opened = open(&mut tx, state, &user, Method::Wallet, how).await?;
    tx.commit().await.map_err(RepoError::from)?;
    Ok(opened)
}

async fn by_password(state: &ApiState, login: &str, password: api::Secret) -> Result<api::Tokens, Turned> {
    let Some(file) = &state.sign_in().passwords else {
        return Err(Problem::new(ProblemKind::NotConfigured, "nobody signs in with a password here")
            .with_remedy("sign in with a wallet; for development, set `identity.password_file`")
            .into());
    };
    let operator = file.verify(login, password.0.into()).await?.ok_or_else(|| {
        Problem::new(ProblemKind::WrongCredentials, "there is no such login, or the password is another")
    })?;
    let opened = async {
        let mut tx = state.db().begin_worker().await.map_err(RepoError::from)?;
        let user = directory::user(&mut tx, operator.tenant_id, operator.user_id).await?;
        if user.status == UserStatus::Suspended {
            return Err(SignInError::Suspended.into());
        }
        let opened = open(&mut tx, state, &user, Method::Password, json!({ "login": shown(login) })).await?;
        tx.commit().await.map_err(RepoError::from)?;
        Ok(opened)
    };
    opened.await.map_err(|problem| Turned { problem, tenant_id: Some(operator.tenant_id) })
}

async fn by_link(state: &ApiState, token: api::Secret, display_name: &str) -> Result<api::Tokens, Turned> {
    let mut tx = state.db().begin_worker().await.map_err(RepoError::from)?;
    let user = bootstrap::redeem(&mut tx, &token.0.into(), display_name).await?;
    let opened =
        open(&mut tx, state, &user, Method::Bootstrap, json!({ "administrator": display_name })).await?;
    tx.commit().await.map_err(RepoError::from)?;
    Ok(opened)
}

/// A session for a user who has proved who they are, on record.
async fn open(
    conn: &mut PgConnection,
    state: &ApiState,
    user: &User,
    method: Method,
    how: Value,
) -> Result<api::Tokens, Problem> {
    let pair = session::open(conn, state.authenticator().tokens(), user, method).await?;
    let is_enrolled =
        second_factor::is_enrolled(conn, user.tenant_id, user.user_id).await.map_err(RepoError::from)?;
    let entry = Entry::new("identity.sign_in", "session", pair.session_id.to_string())
        .with_change(None, Some(json!({ "method": method.as_str(), "by": how })))
        .in_context(story(user.tenant_id, Some(user.user_id))?);
    audit::record(conn, entry).await?;
    Ok(tokens(&pair, is_enrolled))
}

pub(super) async fn note_refusal(
    state: &ApiState,
    tenant_id: Uuid,
    method: Method,
    problem: &Problem,
) -> Result<(), Problem> {
    // Whoever else the credential of the request may be of is none of this tenant's business.
    let context = Context { actor: NOBODY.to_owned(), ..story(tenant_id, None)? };
    let entry = Entry::new("identity.sign_in.refuse", "tenant", tenant_id.to_string())
        .with_change(None, Some(json!({ "method": method.as_str(), "why": problem.kind.slug() })))
        .with_reason(problem.detail.clone())
        .demanding(Keys::Tenant)
        .in_context(context);
    let mut tx = state.db().begin_worker().await.map_err(RepoError::from)?;
    audit::record(&mut tx, entry).await?;
    Ok(tx.commit().await.map_err(RepoError::from)?)
}

async fn tenant_named(conn: &mut PgConnection, text: &str) -> Result<Tenant, Problem> {
    tenant::find(conn, text).await?.ok_or_else(|| {
        Problem::new(ProblemKind::NotFound, format!("there is no tenant `{}`", shown(text)))
            .with_remedy("give the tenant's id, or its name to the letter")
    })
}

impl From<CheckError> for Problem {
    fn from(error: CheckError) -> Self {
        let kind = match error {
            CheckError::Malformed(_) => ProblemKind::MalformedSignIn,
            CheckError::WrongDomain(_) => ProblemKind::WrongDomain,
            CheckError::WrongUri(_) => ProblemKind::WrongUri,
            CheckError::OtherChain(_) => ProblemKind::WrongChain,
            CheckError::TooOld | CheckError::Expired => ProblemKind::MessageExpired,
            CheckError::IssuedInFuture | CheckError::NotYetValid => ProblemKind::MessageNotYetValid,
            CheckError::Signature(_) | CheckError::OtherSigner(_) | CheckError::ContractRefused(_) => {
                ProblemKind::WrongSignature
            }
            CheckError::Unavailable(_) => ProblemKind::WalletUnavailable,
        };
        Self::new(kind, error.to_string())
    }
}

impl From<SignInError> for Problem {
    fn from(error: SignInError) -> Self {
        let kind = match error {
            SignInError::Db(error) => return RepoError::from(error).into(),
            SignInError::Directory(error) => return error.into(),
            SignInError::NonceUnknown => ProblemKind::NonceUnknown,
            SignInError::NonceUsed => ProblemKind::NonceUsed,
            SignInError::NonceExpired => ProblemKind::MessageExpired,
            SignInError::NoUser => ProblemKind::NoSuchUser,
            SignInError::Suspended => ProblemKind::Suspended,
            SignInError::OtherTenant => ProblemKind::OtherTenantsNonce,
        };
        Self::new(kind, error.to_string())
    }
}

impl From<BootstrapError> for Problem {
    fn from(error: BootstrapError) -> Self {
        let kind = match error {
            BootstrapError::Db(error) => return RepoError::from(error).into(),
            BootstrapError::Directory(error) => return error.into(),
            BootstrapError::Unknown | BootstrapError::Used | BootstrapError::Expired => {
                ProblemKind::WrongCredentials
            }
            BootstrapError::NoTenant(_) | BootstrapError::HasAdministrator => ProblemKind::Conflict,
        };
        Self::new(kind, error.to_string())
    }
}

impl From<PasswordError> for Problem {
    fn from(error: PasswordError) -> Self {
        tracing::error!(%error, "a password could not be tried");
        Self::new(ProblemKind::Internal, "the password could not be tried")
    }
}

impl From<TenantError> for Problem {
    fn from(error: TenantError) -> Self {
        match error {
            TenantError::Db(error) => RepoError::from(error).into(),
            TenantError::NoTenant(_) => Self::new(ProblemKind::NotFound, error.to_string()),
            TenantError::IdTaken(_) | TenantError::NameTaken(_) => {
                Self::new(ProblemKind::Conflict, error.to_string())
            }
            TenantError::Name => Self::new(ProblemKind::InvalidBody, error.to_string()),
        }
    }
}

//! `GET /auth/oidc/{provider}/start`, `GET /auth/oidc/callback`: signing in at an OpenID Connect provider. `POST /auth/oidc/{provider}/link`: setting out for the same way in
//! order to link who one is there, which ends at the same callback.
//!
//! The first two are GET because a browser is sent from one to the other, and both note something all the same: that a sign-in is under way, and that it came back. The state
//! of a sign-in is good once, and good only in the browser that has the cookie, so a link that is followed twice does nothing twice. Its use is committed before
//! the provider is asked for the code's worth; nothing that waits for a provider holds a connection.
//!
//! The third is a POST, since a page asks for it with its token; and it answers with the address in the place of a redirect, since a page is what is to go there. The cookie is
//! given to whoever has the token and to nobody else: who follows a link of somebody else's links nothing.

use axum::Json;
use axum::extract::{FromRequestParts, State};
use axum::http::header::{COOKIE, LOCATION, SET_COOKIE};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::IntoResponse;
use metrics::counter;
use plimsoll_bus::audit::{self, Entry};
use plimsoll_identity::oidc::{self, Authorization, Callback, Identity, OidcError, Provider, REQUEST_TERM};
use plimsoll_identity::session::Method;
use plimsoll_identity::{external, second_factor};
use plimsoll_types::api;
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;
use sqlx::PgConnection;
use time::OffsetDateTime;

use super::sign_in::note_refusal;
use super::{session_of, story, tokens};
use crate::gateway::{Caller, JsonBody};
use crate::openapi::{OidcLinkProblems, OidcProblems};
use crate::problem::{Problem, ProblemKind};
use crate::query::{NoParameters, Query, shown};
use crate::repo::RepoError;
use crate::routes::paging::Segment;
use crate::routes::users::identities;
use crate::state::ApiState;

/// Bound to this host and to https, whatever another host of the domain sets (RFC 6265bis §4.1.3.2).
const BROWSER: &str = "__Host-plimsoll-sign-in";

/// Sign in at a provider
///
/// Sends the browser to the provider of a tenant, by the name that it has in the configuration, with a cookie without which it does not come back.
#[utoipa::path(get, operation_id = "start_oidc", path = "/auth/oidc/{provider}/start", tag = "identity",
    params(("provider" = String, Path, description = "The provider's name here", example = "acme")),
    responses((status = 303, description = "To the provider"), OidcProblems))]
pub(crate) async fn start(
    State(state): State<ApiState>,
    name: Segment,
    _: Query<NoParameters>,
) -> Result<impl IntoResponse, Problem> {
    let provider = provider(&state, &name.0)?;
    let authorization = provider.authorize().await?;
    let mut tx = state.db().begin_worker().await.map_err(RepoError::from)?;
    oidc::begin(&mut tx, &authorization).await?;
    tx.commit().await.map_err(RepoError::from)?;
    let cookie = begun(&name.0, &authorization)?;
    let location = HeaderValue::try_from(authorization.url).map_err(|error| {
        tracing::error!(%error, provider = name.0, "the provider's address is no header");
        Problem::new(ProblemKind::NotConfigured, "the provider's address cannot be used")
    })?;
    Ok((StatusCode::SEE_OTHER, [(LOCATION, location), (SET_COOKIE, cookie)]))
}

/// Set out to link who I am at a provider
///
/// Send the browser to the address of the answer, in which the cookie of the answer must be: it comes back to `/auth/oidc/callback`, and whoever it is there signs in as
/// the caller from then on. Who has a second factor gives it before.
#[utoipa::path(post, operation_id = "link_oidc", path = "/auth/oidc/{provider}/link", tag = "identity", request_body = api::Nothing,
    params(("provider" = String, Path, description = "The provider's name here", example = "acme")),
    responses((status = 200, description = "Where to send the browser", body = api::ProviderRedirect), OidcLinkProblems))]
pub(crate) async fn link(
    State(state): State<ApiState>,
    caller: Caller,
    name: Segment,
    JsonBody(api::Nothing {}): JsonBody<api::Nothing>,
) -> Result<impl IntoResponse, Problem> {
    session_of(&caller)?;
    let provider = provider(&state, &name.0)?;
    if provider.config().tenant_id != caller.tenant_id {
        return Err(OidcError::OtherTenant.into());
    }
    let authorization = provider.authorize().await?;
    let mut tx = state.db().begin_worker().await.map_err(RepoError::from)?;
    oidc::begin_link(&mut tx, &authorization, &caller).await?;
    tx.commit().await.map_err(RepoError::from)?;
    let cookie = begun(&name.0, &authorization)?;
    Ok(([(SET_COOKIE, cookie)], Json(api::ProviderRedirect { url: api::Secret(authorization.url) })))
}

/// Come back from a provider
///
/// With the query that the provider gave, and the cookie of the beginning. Good once.
#[utoipa::path(get, operation_id = "finish_oidc", path = "/auth/oidc/callback", tag = "identity",
    params(
        ("state" = String, Query, description = "Which sign-in this is"),
        ("code" = Option<String>, Query, description = "What the provider gave"),
        ("error" = Option<String>, Query, description = "Why it gave none"),
        ("iss" = Option<String>, Query, description = "Who answers (RFC 9207)"),
    ),
    responses((status = 200, description = "The session's tokens, this once; or, after setting out to link, what the user is at providers now", body = api::ProviderOutcome), OidcProblems))]
pub(crate) async fn callback(
    State(state): State<ApiState>,
    headers: HeaderMap,
    Returned(returned): Returned,
) -> Result<impl IntoResponse, Problem> {
    let (name, browser) = browser(&headers).ok_or_else(|| {
        Problem::new(ProblemKind::ProviderSignInRefused, OidcError::OtherBrowser.to_string())
    })?;
    let provider = provider(&state, &name)?;
    let method = Method::Oidc.as_str();
    match came_back(&state, provider, returned, &browser).await {
        Ok(outcome) => {
            let outcome_label =
                if matches!(outcome, api::ProviderOutcome::Linked(_)) { "linked" } else { "accepted" };
            counter!("sign_ins_total", "method" => method, "outcome" => outcome_label).increment(1);
            Ok(([(SET_COOKIE, cookie("", 0)?)], Json(outcome)))
        }
        Err(problem) => {
            let is_refusal = problem.kind.status().is_client_error();
            let outcome = if is_refusal { problem.kind.slug() } else { "failed" };
            counter!("sign_ins_total", "method" => method, "outcome" => outcome).increment(1);
            if is_refusal {
                note_refusal(&state, provider.config().tenant_id, Method::Oidc, &problem).await?;
            }
            Err(problem)
        }
    }
}

async fn came_back(
    state: &ApiState,
    provider: &Provider,
    returned: Callback,
    browser: &SecretString,
) -> Result<api::ProviderOutcome, Problem> {
    let mut tx = state.db().begin_worker().await.map_err(RepoError::from)?;
    let pending = oidc::resume(&mut tx, provider, returned, browser).await?;
    tx.commit().await.map_err(RepoError::from)?;
    let identity = provider.exchange(pending, OffsetDateTime::now_utc()).await?;
    let mut tx = state.db().begin_worker().await.map_err(RepoError::from)?;
    let outcome = if identity.is_to_link() {
        api::ProviderOutcome::Linked(linked(&mut tx, &identity).await?)
    } else {
        api::ProviderOutcome::SignedIn(signed_in(&mut tx, state, provider, &identity).await?)
    };
    tx.commit().await.map_err(RepoError::from)?;
    Ok(outcome)
}

async fn signed_in(
    conn: &mut PgConnection,
    state: &ApiState,
    provider: &Provider,
    identity: &Identity,
) -> Result<api::Tokens, Problem> {
    let issued = state.authenticator().tokens();
    let (user, pair) = oidc::sign_in(conn, provider, issued, identity).await?;
    let is_enrolled =
        second_factor::is_enrolled(conn, user.tenant_id, user.user_id).await.map_err(RepoError::from)?;
    let by = json!({
        "issuer": provider.config().issuer, "subject": identity.subject(), "acr": identity.acr(), "amr": identity.amr(),
    });
    let entry = Entry::new("identity.sign_in", "session", pair.session_id.to_string())
        .with_change(None, Some(json!({ "method": Method::Oidc.as_str(), "by": by })))
        .in_context(story(user.tenant_id, Some(user.user_id))?);
    audit::record(conn, entry).await?;
    Ok(tokens(&pair, is_enrolled && identity.second_factor_at().is_none()))
}

async fn linked(conn: &mut PgConnection, identity: &Identity) -> Result<api::ExternalIdentities, Problem> {
    let linked = oidc::link(conn, identity).await?;
    let (user, before) = (linked.user, linked.before);
    let after = external::list(conn, user.tenant_id, user.user_id).await?;
    let entry = Entry::new("identity.external.link", "user", user.user_id.to_string())
        .with_change(Some(identities::state_of(&before)), Some(identities::state_of(&after)))
        .in_context(story(user.tenant_id, Some(user.user_id))?);
    audit::record(conn, entry).await?;
    Ok(identities::model(after))
}

/// The cookie of what begins at the provider of this name.
fn begun(name: &str, authorization: &Authorization) -> Result<HeaderValue, Problem> {
    cookie(&format!("{name}.{}", authorization.browser_secret.expose_secret()), REQUEST_TERM.as_secs())
}

fn provider<'a>(state: &'a ApiState, name: &str) -> Result<&'a Provider, Problem> {
    state.sign_in().providers.get(name).ok_or_else(|| {
        Problem::new(ProblemKind::NotFound, format!("there is no identity provider `{}`", shown(name)))
            .with_remedy("ask whoever runs this server for the name of your tenant's provider")
    })
}

/// A cookie of this host alone, that no script reads.
fn cookie(value: &str, seconds: u64) -> Result<HeaderValue, Problem> {
    let text = format!("{BROWSER}={value}; Path=/; Max-Age={seconds}; Secure; HttpOnly; SameSite=Lax");
    let mut cookie = HeaderValue::try_from(text).map_err(|error| {
        tracing::error!(%error, "a cookie is no header");
        Problem::new(ProblemKind::Internal, "the browser could not be given its secret")
    })?;
    cookie.set_sensitive(true);
    Ok(cookie)
}

/// At which provider this browser began, and its secret.
fn browser(headers: &HeaderMap) -> Option<(String, SecretString)> {
    let cookies = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
    let (provider, secret) = cookies
        .flat_map(|value| value.split(';'))
        .find_map(|cookie| cookie.trim().strip_prefix(BROWSER)?.strip_prefix('='))?
        .split_once('.')?;
    Some((provider.to_owned(), secret.to_owned().into()))
}

/// What the browser brings back. What else a provider says there is not looked at: Core §3.1.2.5 has it so.
pub(crate) struct Returned(Callback);

impl<S: Send + Sync> FromRequestParts<S> for Returned {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        let (mut state, mut code, mut error, mut iss) = (None, None, None, None);
        for (name, value) in form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes()) {
            let place = match &*name {
                "state" => &mut state,
                "code" => &mut code,
                "error" => &mut error,
                "iss" => &mut iss,
                _ => continue,
            };
            if place.replace(value.into_owned()).is_some() {
                let detail = format!("`{name}`: given more than once");
                return Err(Problem::new(ProblemKind::InvalidParameter, detail));
            }
        }
        let state =
            state.ok_or_else(|| Problem::new(ProblemKind::MissingParameter, "`state` is not given"))?;
        Ok(Self(Callback { state: state.into(), code: code.map(SecretString::from), error, iss }))
    }
}

impl From<OidcError> for Problem {
    fn from(error: OidcError) -> Self {
        let kind = match error {
            OidcError::Db(error) => return RepoError::from(error).into(),
            OidcError::Session(error) => return error.into(),
            OidcError::Directory(error) => return error.into(),
            OidcError::External(error) => return error.into(),
            OidcError::Unavailable { .. } => ProblemKind::ProviderUnavailable,
            OidcError::Configuration { .. } => {
                tracing::error!(%error, "an identity provider does not fit its configuration");
                ProblemKind::NotConfigured
            }
            OidcError::NotLinked { .. } => ProblemKind::NoSuchUser,
            OidcError::OtherTenant => ProblemKind::NotFound,
            OidcError::SessionOver => ProblemKind::SessionOver,
            OidcError::Suspended => ProblemKind::Suspended,
            OidcError::StateUnknown
            | OidcError::StateUsed
            | OidcError::StateExpired
            | OidcError::OtherBrowser
            | OidcError::OtherIssuer
            | OidcError::OtherPurpose
            | OidcError::Declined(_)
            | OidcError::CodeRefused
            | OidcError::IdToken(_) => ProblemKind::ProviderSignInRefused,
        };
        Self::new(kind, error.to_string())
    }
}

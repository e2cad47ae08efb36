//! `/auth`: signing in, staying in, signing out, second factors, and who one is elsewhere.
//!
//! But for what takes away something of one's own ([`own`]), which is a write like any other, these routes look at no idempotency key. What they take is good once by itself (a nonce, a refresh token, a code, a link), and what they give is a secret
//! that is never kept: who lost the answer signs in again. So each commits one transaction of its own, the worker's, since what proves an
//! identity is the worker's alone, with its entry in the audit. A refusal is on record too, in a transaction of its own, as the attempt's was rolled back; where a
//! wrong code has to be counted or a session to end, the refusal is committed with that.
//!
//! A contract wallet is asked before the transaction begins: nothing that waits for a node holds a connection.

mod oidc;
mod own;
mod second_factor;
mod session;
mod sign_in;
mod webauthn;

use axum::Json;
use axum::http::header::CACHE_CONTROL;
use axum::response::IntoResponse;
use plimsoll_bus::audit::{self, Entry};
use plimsoll_bus::context;
use plimsoll_identity::session::TokenPair;
use plimsoll_identity::{Credential, Principal};
use plimsoll_types::{Context, api};
use secrecy::ExposeSecret;
use serde_json::Value;
use sqlx::PgConnection;
use uuid::Uuid;

use axum::extract::State;

pub(crate) use self::oidc::{__path_callback, __path_link, __path_start, callback, link, start};
pub(crate) use self::own::{
    __path_factors, __path_identities, __path_remove_factor, __path_unlink, factors, identities,
    remove_factor, unlink,
};
pub(crate) use self::second_factor::{__path_confirm, __path_enroll, __path_verify, confirm, enroll, verify};
pub(crate) use self::session::{__path_logout, __path_refresh, __path_who, logout, refresh, who};
pub(crate) use self::sign_in::{__path_login, __path_nonce, login, nonce};
pub(crate) use self::webauthn::{
    __path_begin_assertion, __path_begin_registration, __path_finish_assertion, __path_finish_registration,
    begin_assertion, begin_registration, finish_assertion, finish_registration,
};
use crate::gateway::Access::{Anybody, SignedIn};
use crate::gateway::{Access, Caller, Declaration, Routes, WriteMethod};
use crate::problem::{Problem, ProblemKind};
use crate::state::ApiState;

/// How long others may keep our public keys: a tenth of what a rotation waits before an old one goes.
const KEYS_CACHED: &str = "public, max-age=60";

const CHALLENGE: &str = "a challenge is good once";

pub(super) fn routes() -> Routes<ApiState> {
    let post = |path, access: Access, why| Declaration::exempt(WriteMethod::Post, path, access, why);
    let own = |path| Declaration::with_optional_key(WriteMethod::Post, path, SignedIn);
    Routes::default()
        .exempt(post("/auth/nonce", Anybody, "each request wants a nonce of its own"), nonce)
        .exempt(
            post("/auth/login", Anybody, "a nonce and a link are good once, and the answer is a secret"),
            login,
        )
        .exempt(
            post("/auth/refresh", Anybody, "a refresh token is good once, and the answer is a secret"),
            refresh,
        )
        .exempt(post("/auth/logout", SignedIn, "what has ended does not end again"), logout)
        .read(Declaration::read("/auth/session", SignedIn), who)
        .exempt(
            post("/auth/second-factor/totp/enroll", SignedIn, "the answer is a secret; the last seed counts"),
            enroll,
        )
        .exempt(post("/auth/second-factor/totp/confirm", SignedIn, "a code is good once"), confirm)
        .exempt(post("/auth/second-factor/totp/verify", SignedIn, "a code is good once"), verify)
        .exempt(
            post("/auth/second-factor/webauthn/registration/begin", SignedIn, CHALLENGE),
            begin_registration,
        )
        .exempt(
            post("/auth/second-factor/webauthn/registration/finish", SignedIn, CHALLENGE),
            finish_registration,
        )
        .exempt(post("/auth/second-factor/webauthn/assertion/begin", SignedIn, CHALLENGE), begin_assertion)
        .exempt(post("/auth/second-factor/webauthn/assertion/finish", SignedIn, CHALLENGE), finish_assertion)
        .read(Declaration::read("/auth/second-factor", SignedIn), factors)
        .write(own("/auth/second-factor/remove"), remove_factor)
        .read(Declaration::read("/auth/identities", SignedIn), identities)
        .write(own("/auth/identities/remove"), unlink)
        .exempt(
            post(
                "/auth/oidc/{provider}/link",
                SignedIn,
                "each request wants a state of its own, and the cookie is a secret",
            ),
            link,
        )
        .read(Declaration::read("/auth/oidc/{provider}/start", Anybody), start)
        .read(Declaration::read("/auth/oidc/callback", Anybody), callback)
}

/// The keys that verify access tokens
///
/// As a JWK set (RFC 7517). During a rotation there are several.
#[utoipa::path(get, path = "/.well-known/jwks.json", tag = "identity",
    responses((status = 200, description = "The public keys", body = Object,
        example = json!({ "keys": [{ "kty": "OKP", "crv": "Ed25519", "use": "sig", "alg": "EdDSA", "kid": "…", "x": "…" }] }))))]
pub(crate) async fn jwks(State(state): State<ApiState>) -> impl IntoResponse {
    let keys = state.authenticator().tokens().keys().current().jwk_set();
    ([(CACHE_CONTROL, KEYS_CACHED)], Json(keys))
}

/// The story of this request, in the name of whoever has just proved who they are.
fn story(tenant_id: Uuid, user_id: Option<Uuid>) -> Result<Context, Problem> {
    let context = context::current().ok_or_else(|| {
        tracing::error!("a sign-in without a context: no authentication is in front of it");
        Problem::new(ProblemKind::Internal, "nobody is known to ask for this")
    })?;
    let context = context.on_behalf_of(tenant_id, user_id);
    Ok(match user_id {
        Some(user_id) => Context { actor: format!("user:{user_id}"), ..context },
        None => context,
    })
}

/// Puts on record what a session's user did to it or to their second factor.
async fn record(
    conn: &mut PgConnection,
    principal: &Principal,
    action: &str,
    target: (&str, Uuid),
    after: Value,
) -> Result<(), Problem> {
    let entry = Entry::new(action, target.0, target.1.to_string())
        .with_change(None, Some(after))
        .in_context(story(principal.tenant_id, Some(principal.user_id))?);
    Ok(audit::record(conn, entry).await?)
}

/// The caller's session. An API key has none.
fn session_of(caller: &Caller) -> Result<Uuid, Problem> {
    match &caller.credential {
        Credential::Session(session_id) => Ok(*session_id),
        Credential::ApiKey(_) => {
            Err(Problem::new(ProblemKind::Conflict, "the caller has an API key, and no session")
                .with_remedy("sign in at `/auth/login`; a key is revoked at `/api/v1/api-keys`"))
        }
    }
}

fn tokens(pair: &TokenPair, second_factor_wanted: bool) -> api::Tokens {
    api::Tokens {
        access_token: api::Secret(pair.access_token.expose_secret().to_owned()),
        token_type: "Bearer".to_owned(),
        expires_at: pair.access_expires_at,
        refresh_token: api::Secret(pair.refresh_token.expose_secret().to_owned()),
        refresh_expires_at: pair.refresh_expires_at,
        session_id: pair.session_id,
        second_factor_wanted,
    }
}

//! Who asks: found out once a request, before anything of it is done.

use std::ops::Deref;
use std::sync::Arc;

use axum::extract::{FromRequestParts, Request, State};
use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use plimsoll_bus::context;
use plimsoll_identity::{AuthError, Principal};
use plimsoll_types::Context;
use secrecy::{ExposeSecret, SecretString};
use uuid::Uuid;

use super::client;
use super::client::Client;
use super::gate::Gate;
use super::rate::Asked;
use crate::context::RequestId;
use crate::problem::{Problem, ProblemKind};
use crate::repo::RepoError;
use crate::state::ApiState;

/// Who a request without a credential is from.
pub(crate) const NOBODY: &str = "anonymous";
/// Names requests whose id is no UUID (UUIDv5): one text is always one request.
const REQUEST_NAMES: Uuid = Uuid::from_u128(0x6b1f_7c0e_91a4_5d0b_8a5e_2f4e_9d0c_b3a7);

/// Who asks, proved. An extractor: a route that only some may use gets one, any other an `Option` of it.
#[derive(Clone, Debug)]
pub(crate) struct Caller(pub(super) Arc<Principal>);

impl Deref for Caller {
    type Target = Principal;

    fn deref(&self) -> &Principal {
        &self.0
    }
}

/// Request extension: the SHA-256 of the certificate (DER) that the client of this connection proved to have.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ClientCertificate(pub(crate) [u8; 32]);

/// Finds out who asks and whether they ask too often, and does the rest of the request in its own context.
pub(crate) async fn authenticate(
    State(state): State<ApiState>,
    mut request: Request,
    next: Next,
) -> Response {
    let gate = state.gate();
    let client = Client(client::address(&request, &gate.trusted_proxies));
    let mut asked = Asked::default();
    let mut response = match enter(&state, gate, client, &mut request, &mut asked).await {
        Ok(context) => {
            let extensions = request.extensions_mut();
            // A key's scope is its caller: nobody has none.
            if extensions.get::<Caller>().is_some() {
                extensions.insert(context.clone());
            }
            extensions.insert(client);
            extensions.insert(Arc::clone(gate));
            context::scope(context, next.run(request)).await
        }
        Err(refusal) => refusal,
    };
    asked.tell(response.headers_mut());
    response
}

/// The request's context, or why it goes no further.
async fn enter<'a>(
    state: &ApiState,
    gate: &'a Gate,
    client: Client,
    request: &mut Request,
    asked: &mut Asked<'a>,
) -> Result<Context, Response> {
    asked.ask(gate.address.as_ref(), client.key())?;
    let id = request.extensions().get::<RequestId>().map_or_else(Uuid::new_v4, |id| request_uuid(&id.0));
    let certificate = request.extensions().get::<ClientCertificate>().copied();
    let Some(credential) = bearer(request.headers()).map_err(Problem::into_response)? else {
        return Ok(Context::new(id, NOBODY));
    };
    let caller = prove(state, credential, certificate).await.map_err(Problem::into_response)?;
    asked.ask(gate.user.as_ref(), caller.user_id.as_u128())?;
    asked.ask(gate.tenant.as_ref(), caller.tenant_id.as_u128())?;
    let context = Context::new(id, caller.actor()).on_behalf_of(caller.tenant_id, Some(caller.user_id));
    request.extensions_mut().insert(caller);
    Ok(context)
}

async fn prove(
    state: &ApiState,
    credential: SecretString,
    certificate: Option<ClientCertificate>,
) -> Result<Caller, Problem> {
    let hash = certificate.as_ref().map(|certificate| &certificate.0);
    Ok(Caller(state.authenticator().authenticate(credential.expose_secret(), hash).await?))
}

/// The credential of RFC 6750 §2.1: an access token or an API key.
pub(super) fn bearer(headers: &HeaderMap) -> Result<Option<SecretString>, Problem> {
    let wrong = |detail: &str| Problem::new(ProblemKind::Unauthenticated, detail);
    let mut given = headers.get_all(AUTHORIZATION).iter();
    let Some(value) = given.next() else { return Ok(None) };
    if given.next().is_some() {
        return Err(wrong("the request has more than one `Authorization`"));
    }
    let parts = value.to_str().ok().and_then(|text| text.split_once(' '));
    let credential = parts
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .map(|(_, credential)| credential.trim())
        .filter(|credential| !credential.is_empty())
        .ok_or_else(|| wrong("`Authorization` is not of the form `Bearer <credential>`"))?;
    Ok(Some(credential.to_owned().into()))
}

/// A request's id as a UUID: itself, or the UUIDv5 of the text that the client chose.
pub(crate) fn request_uuid(id: &str) -> Uuid {
    id.parse().unwrap_or_else(|_| Uuid::new_v5(&REQUEST_NAMES, id.as_bytes()))
}

impl From<AuthError> for Problem {
    fn from(error: AuthError) -> Self {
        match error {
            AuthError::Db(error) => RepoError::from(error).into(),
            refused => Self::new(ProblemKind::Unauthenticated, refused.to_string()),
        }
    }
}

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        parts
            .extensions
            .get::<Self>()
            .cloned()
            .ok_or_else(|| Problem::new(ProblemKind::Unauthenticated, "the request has no credential"))
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn credential(value: &'static str) -> Result<Option<String>, ProblemKind> {
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, HeaderValue::from_static(value));
        bearer(&headers)
            .map(|found| found.map(|text| text.expose_secret().to_owned()))
            .map_err(|problem| problem.kind())
    }

    #[test]
    fn a_credential_is_read_or_refused_and_never_passed_over() {
        assert_eq!(bearer(&HeaderMap::new()).map(|found| found.is_none()).ok(), Some(true));
        assert_eq!(credential("Bearer plk_1_2"), Ok(Some("plk_1_2".into())));
        assert_eq!(credential("bearer  a.b.c "), Ok(Some("a.b.c".into())));
        for wrong in ["", "Bearer", "Bearer ", "Basic YTpi", "a.b.c"] {
            assert_eq!(credential(wrong), Err(ProblemKind::Unauthenticated), "{wrong:?}");
        }
        let mut twice = HeaderMap::new();
        twice.append(AUTHORIZATION, HeaderValue::from_static("Bearer a"));
        twice.append(AUTHORIZATION, HeaderValue::from_static("Bearer b"));
        assert!(bearer(&twice).is_err());
    }

    #[test]
    fn one_text_names_one_request() {
        let id = Uuid::new_v4();
        assert_eq!(request_uuid(&id.to_string()), id);
        assert_eq!(request_uuid("job-7"), request_uuid("job-7"));
        assert_ne!(request_uuid("job-7"), request_uuid("job-8"));
    }
}

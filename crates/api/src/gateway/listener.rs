//! Who asks for something that lasts, and may have to be asked again.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue};
use plimsoll_identity::{Permission, Principal};
use secrecy::{ExposeSecret, SecretString};

use super::caller::{ClientCertificate, bearer};
use crate::problem::{Problem, ProblemKind};
use crate::state::ApiState;

/// What a request brought along to prove who asks.
#[derive(Debug)]
pub(crate) struct Presented {
    credential: Option<SecretString>,
    certificate: Option<ClientCertificate>,
}

/// Whoever reads something long.
#[derive(Debug)]
pub(crate) struct Listener {
    credential: SecretString,
    certificate: Option<ClientCertificate>,
    permission: Permission,
    principal: Arc<Principal>,
}

impl<S: Sync> FromRequestParts<S> for Presented {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        let certificate = parts.extensions.get::<ClientCertificate>().copied();
        Ok(Self { credential: bearer(&parts.headers)?, certificate })
    }
}

impl Presented {
    pub(crate) fn has_credential(&self) -> bool {
        self.credential.is_some()
    }

    /// With another credential, where the request's head had none.
    pub(crate) fn or_credential(self, credential: Option<SecretString>) -> Self {
        Self { credential: self.credential.or(credential), ..self }
    }

    /// With what a client wrote as it would have written `Authorization`.
    pub(crate) fn or_authorization(self, text: &SecretString) -> Result<Self, Problem> {
        let malformed =
            |_| Problem::new(ProblemKind::Unauthenticated, "`authorization` is not printable ASCII");
        let mut value = HeaderValue::from_str(text.expose_secret()).map_err(malformed)?;
        value.set_sensitive(true);
        let headers = HeaderMap::from_iter([(AUTHORIZATION, value)]);
        let credential = bearer(&headers)?;
        Ok(self.or_credential(credential))
    }

    /// Who that is, if they have the permission.
    pub(crate) async fn admit(self, state: &ApiState, permission: Permission) -> Result<Listener, Problem> {
        let Self { credential, certificate } = self;
        let credential = credential
            .ok_or_else(|| Problem::new(ProblemKind::Unauthenticated, "the request has no credential"))?;
        let principal = prove(state, &credential, certificate, permission).await?;
        Ok(Listener { credential, certificate, permission, principal })
    }
}

impl Listener {
    pub(crate) fn principal(&self) -> &Principal {
        &self.principal
    }

    /// Asks everything again, as if the credential had just been sent.
    pub(crate) async fn check(&self, state: &ApiState) -> Result<(), Problem> {
        let now = prove(state, &self.credential, self.certificate, self.permission).await?;
        match (now.tenant_id, now.user_id) == (self.principal.tenant_id, self.principal.user_id) {
            true => Ok(()),
            false => Err(Problem::new(ProblemKind::Unauthenticated, "the credential is another user's now")),
        }
    }
}

async fn prove(
    state: &ApiState,
    credential: &SecretString,
    certificate: Option<ClientCertificate>,
    permission: Permission,
) -> Result<Arc<Principal>, Problem> {
    let hash = certificate.as_ref().map(|certificate| &certificate.0);
    let principal = state.authenticator().authenticate(credential.expose_secret(), hash).await?;
    principal.require(permission)?;
    Ok(principal)
}

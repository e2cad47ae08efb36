//! A provider: where its endpoints are, its keys, and the exchange of a code for what it says of a person.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use reqwest::{Client, StatusCode, Url};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use time::OffsetDateTime;
use uuid::Uuid;
use zeroize::Zeroizing;

use super::http::{self, Answer};
use super::id_token::{self, Expected, IdTokenError};
use super::keys::{Fetches, KEYS_TERM, ProviderKeys};
use super::metadata::{ClientAuthentication, Metadata};
use super::{OidcError, Pending, ProviderConfig, SecondFactorPolicy};
use crate::secret::{self, Secret};
use crate::session::SECOND_FACTOR_TERM;

/// How long what a provider says of itself is remembered.
const METADATA_TERM: Duration = Duration::from_secs(3600);
const DISCOVERY_PATH: &str = "/.well-known/openid-configuration";
pub(super) const BROWSER_PREFIX: &str = "plo_";
pub(super) const STATE_PREFIX: &str = "pls_";

/// A provider in use. Cheap to clone; the clones share what they remember.
#[derive(Clone, Debug)]
pub struct Provider(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    config: ProviderConfig,
    discovery: Url,
    client: Client,
    metadata: Mutex<Option<(Instant, Arc<Metadata>)>>,
    keys: Mutex<Option<(Instant, Arc<ProviderKeys>)>>,
    fetches: Mutex<Fetches>,
}

/// A sign-in that is to be begun: note it with [`super::begin`], then send the browser there.
#[derive(Debug)]
pub struct Authorization {
    /// Where to send the browser.
    pub url: String,
    /// For the browser to keep in a cookie until it comes back: `plo_…`.
    pub browser_secret: SecretString,
    pub(crate) tenant_id: Uuid,
    pub(crate) issuer: String,
    pub(crate) state_hash: [u8; 32],
    pub(crate) browser_hash: [u8; 32],
    pub(crate) nonce_hash: [u8; 32],
}

/// Who the provider says it is, checked. Good for [`super::sign_in`], or for [`super::link`] where that was begun.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    pub(super) tenant_id: Uuid,
    pub(super) issuer: String,
    pub(super) subject: String,
    pub(super) name: String,
    pub(super) second_factor_at: Option<OffsetDateTime>,
    pub(super) session_id: Option<Uuid>,
    acr: Option<String>,
    amr: Vec<String>,
}

impl Identity {
    /// Whether it is to be linked to the user who asked for that, and nobody signs in.
    #[must_use]
    pub fn is_to_link(&self) -> bool {
        self.session_id.is_some()
    }

    /// What the provider calls the person.
    #[must_use]
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// When they gave a second factor there that counts here.
    #[must_use]
    pub fn second_factor_at(&self) -> Option<OffsetDateTime> {
        self.second_factor_at
    }

    /// The authentication context class that the provider names, for the audit.
    #[must_use]
    pub fn acr(&self) -> Option<&str> {
        self.acr.as_deref()
    }

    /// The authentication methods (RFC 8176) that the provider names, for the audit.
    #[must_use]
    pub fn amr(&self) -> &[String] {
        &self.amr
    }
}

impl Provider {
    /// A provider as configured. Nothing is asked of it yet.
    ///
    /// # Errors
    /// [`OidcError::Configuration`].
    pub fn new(config: ProviderConfig) -> Result<Self, OidcError> {
        let wrong = |reason: String| OidcError::Configuration { issuer: config.issuer.clone(), reason };
        let not_https = || wrong("the issuer is not an https URL without user and fragment".to_owned());
        let issuer =
            http::safe_url(&config.issuer).filter(|url| url.query().is_none()).ok_or_else(not_https)?;
        http::safe_url(&config.redirect_uri).ok_or_else(|| {
            wrong(format!("the redirect_uri {:?} is not an https URL", config.redirect_uri))
        })?;
        let discovery = format!("{}{DISCOVERY_PATH}", config.issuer.trim_end_matches('/'));
        let discovery = Url::parse(&discovery).map_err(|error| wrong(error.to_string()))?;
        let client = http::client(&issuer).map_err(wrong)?;
        Ok(Self(Arc::new(Inner {
            config,
            discovery,
            client,
            metadata: Mutex::default(),
            keys: Mutex::default(),
            fetches: Mutex::new(Fetches::new(now())),
        })))
    }

    /// As it is configured.
    #[must_use]
    pub fn config(&self) -> &ProviderConfig {
        &self.0.config
    }

    /// A new sign-in. Asks the provider where to send the browser, unless that is remembered.
    ///
    /// # Errors
    /// [`OidcError::Unavailable`], [`OidcError::Configuration`].
    pub async fn authorize(&self) -> Result<Authorization, OidcError> {
        let metadata = self.metadata().await?;
        let config = self.config();
        let (browser, state) = (secret::random(), secret::token(STATE_PREFIX, &secret::random()));
        let nonce = URL_SAFE_NO_PAD.encode(secret::random::<32>().as_slice());
        let challenge = URL_SAFE_NO_PAD.encode(secret::sha256(verifier(&browser).as_bytes()));
        let scope =
            std::iter::once("openid").chain(config.scopes.iter().map(String::as_str)).collect::<Vec<_>>();
        let mut url = metadata.authorization_endpoint.clone();
        url.query_pairs_mut()
            .append_pair("response_type", "code")
            .append_pair("client_id", &config.client_id)
            .append_pair("redirect_uri", &config.redirect_uri)
            .append_pair("scope", &scope.join(" "))
            .append_pair("state", state.expose_secret())
            .append_pair("nonce", &nonce)
            .append_pair("code_challenge", &challenge)
            .append_pair("code_challenge_method", "S256");
        if config.second_factor != SecondFactorPolicy::Ours {
            // With it the provider must say when (Core §2, auth_time), and does not lean on an older session of its own.
            url.query_pairs_mut().append_pair("max_age", &SECOND_FACTOR_TERM.as_secs().to_string());
        }
        Ok(Authorization {
            url: url.into(),
            browser_secret: secret::token(BROWSER_PREFIX, &browser),
            tenant_id: config.tenant_id,
            issuer: config.issuer.clone(),
            state_hash: secret::sha256(state.expose_secret().as_bytes()),
            browser_hash: secret::sha256(browser.as_slice()),
            nonce_hash: secret::sha256(nonce.as_bytes()),
        })
    }

    /// Redeems the code of a sign-in that was resumed, and checks what comes of it at `now`. Do it outside of any transaction.
    ///
    /// # Errors
    /// [`OidcError`]: each reason has its own.
    pub async fn exchange(&self, pending: Pending, now: OffsetDateTime) -> Result<Identity, OidcError> {
        let config = self.config();
        if pending.issuer != config.issuer || pending.tenant_id != config.tenant_id {
            return Err(OidcError::StateUnknown);
        }
        let metadata = self.metadata().await?;
        if pending.named_issuer.as_ref().map_or(metadata.names_itself, |named| *named != config.issuer) {
            return Err(OidcError::OtherIssuer);
        }
        let code = pending.answer.as_ref().map_err(|error| OidcError::Declined(error.clone()))?;
        let token = self.redeem(&metadata, code, &pending.browser).await?;
        let header = id_token::header(token.expose_secret())?;
        let key = match self.keys(&metadata, false).await?.find(&header) {
            Some(key) => key,
            None => self.keys(&metadata, true).await?.find(&header).ok_or(IdTokenError::UnknownKey)?,
        };
        let expected = Expected {
            issuer: &config.issuer,
            client_id: &config.client_id,
            nonce_hash: &pending.nonce_hash,
            now,
        };
        let claims = id_token::verify(token.expose_secret(), header.alg, &key, &expected)?;
        let name = [&claims.name, &claims.preferred_username]
            .into_iter()
            .flatten()
            .find(|name| !name.trim().is_empty());
        Ok(Identity {
            tenant_id: config.tenant_id,
            issuer: config.issuer.clone(),
            name: name.unwrap_or(&claims.sub).chars().take(200).collect(),
            second_factor_at: claims.second_factor_at(&config.second_factor, now),
            subject: claims.sub,
            session_id: pending.session_id,
            acr: claims.acr,
            amr: claims.amr.unwrap_or_default(),
        })
    }

    /// The ID token of a code (Core §3.1.3).
    async fn redeem(
        &self,
        metadata: &Metadata,
        code: &SecretString,
        browser: &Secret,
    ) -> Result<SecretString, OidcError> {
        #[derive(Deserialize)]
        struct Tokens {
            id_token: SecretString,
        }
        #[derive(Deserialize)]
        struct Refusal {
            error: String,
        }

        let (request, form) = self.redemption(metadata, code, browser);
        let answer = http::post(request, form).await.map_err(|error| self.unavailable(error.0))?;
        let body = Zeroizing::new(answer.body);
        if answer.status == StatusCode::OK {
            let tokens: Tokens = serde_json::from_slice(&body).map_err(|_| IdTokenError::Malformed)?;
            return Ok(tokens.id_token);
        }
        let refusal = serde_json::from_slice::<Refusal>(&body).ok();
        match refusal {
            Some(refusal) if answer.status.is_client_error() && refusal.error == "invalid_grant" => {
                Err(OidcError::CodeRefused)
            }
            Some(refusal) if is_final(answer.status) => {
                Err(self.misconfigured(format!("its token endpoint says {:?}", shown(&refusal.error))))
            }
            _ => Err(self.status("token endpoint", answer.status)),
        }
    }

    /// The request that redeems a code, and its form. No part of the form is held over an await: its serializer is no thread's but its own.
    fn redemption(
        &self,
        metadata: &Metadata,
        code: &SecretString,
        browser: &Secret,
    ) -> (reqwest::RequestBuilder, String) {
        let config = self.config();
        let client_secret = config.client_secret.expose_secret();
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.append_pair("grant_type", "authorization_code")
            .append_pair("code", code.expose_secret())
            .append_pair("redirect_uri", &config.redirect_uri)
            .append_pair("code_verifier", &verifier(browser));
        let mut request = self.0.client.post(metadata.token_endpoint.clone());
        match metadata.client_authentication {
            ClientAuthentication::Basic => {
                let encode =
                    |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
                request = request.basic_auth(encode(&config.client_id), Some(encode(client_secret)));
            }
            ClientAuthentication::Post => {
                form.append_pair("client_id", &config.client_id).append_pair("client_secret", client_secret);
            }
        }
        (request, form.finish())
    }

    async fn metadata(&self) -> Result<Arc<Metadata>, OidcError> {
        let asked_at = now();
        if let Some(metadata) = remembered(&self.0.metadata, asked_at, METADATA_TERM) {
            return Ok(metadata);
        }
        let answer = self.get("discovery document", self.0.discovery.clone()).await?;
        let metadata = Metadata::parse(&self.config().issuer, &answer.body)
            .map_err(|reason| self.misconfigured(reason))?;
        Ok(remember(&self.0.metadata, asked_at, metadata))
    }

    /// The provider's keys; asked for anew where `is_missing` says that the remembered ones do not do.
    async fn keys(&self, metadata: &Metadata, is_missing: bool) -> Result<Arc<ProviderKeys>, OidcError> {
        let asked_at = now();
        if !is_missing && let Some(keys) = remembered(&self.0.keys, asked_at, KEYS_TERM) {
            return Ok(keys);
        }
        if !self.0.fetches.lock().unwrap_or_else(PoisonError::into_inner).admit(asked_at) {
            return Err(self.unavailable("its keys were asked for too often within a minute".to_owned()));
        }
        let answer = self.get("key set", metadata.jwks_uri.clone()).await?;
        let keys = ProviderKeys::parse(&answer.body)
            .ok_or_else(|| self.misconfigured("its key set cannot be read".to_owned()))?;
        Ok(remember(&self.0.keys, asked_at, keys))
    }

    async fn get(&self, what: &str, url: Url) -> Result<Answer, OidcError> {
        let answer = http::get(&self.0.client, url).await.map_err(|error| self.unavailable(error.0))?;
        if answer.status == StatusCode::OK { Ok(answer) } else { Err(self.status(what, answer.status)) }
    }

    fn status(&self, what: &str, status: StatusCode) -> OidcError {
        let reason = format!("its {what} answers {status}");
        if is_final(status) { self.misconfigured(reason) } else { self.unavailable(reason) }
    }

    fn unavailable(&self, reason: String) -> OidcError {
        OidcError::Unavailable { issuer: self.config().issuer.clone(), reason }
    }

    fn misconfigured(&self, reason: String) -> OidcError {
        OidcError::Configuration { issuer: self.config().issuer.clone(), reason }
    }
}

/// Whether asking again would have the same answer.
fn is_final(status: StatusCode) -> bool {
    !status.is_server_error()
        && status != StatusCode::TOO_MANY_REQUESTS
        && status != StatusCode::REQUEST_TIMEOUT
}

/// An error code of a provider's (RFC 6749 §4.1.2.1), cut to what may be shown and logged.
pub(super) fn shown(code: &str) -> String {
    code.chars().filter(|c| c.is_ascii_lowercase() || *c == '_').take(64).collect()
}

/// The PKCE verifier that follows from the browser's secret: nobody else can redeem the code, and nothing of it is stored.
fn verifier(browser: &Secret) -> Zeroizing<String> {
    let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, browser.as_slice());
    Zeroizing::new(URL_SAFE_NO_PAD.encode(aws_lc_rs::hmac::sign(&key, b"plimsoll pkce verifier")))
}

/// By the runtime's clock, which tests set.
fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

type Memory<T> = Mutex<Option<(Instant, Arc<T>)>>;

fn remembered<T>(memory: &Memory<T>, now: Instant, term: Duration) -> Option<Arc<T>> {
    let memory = memory.lock().unwrap_or_else(PoisonError::into_inner);
    memory
        .as_ref()
        .filter(|(since, _)| now.saturating_duration_since(*since) < term)
        .map(|(_, value)| Arc::clone(value))
}

/// As of when it was asked for; what was asked for later stays.
fn remember<T>(memory: &Memory<T>, asked_at: Instant, value: T) -> Arc<T> {
    let value = Arc::new(value);
    let mut memory = memory.lock().unwrap_or_else(PoisonError::into_inner);
    if memory.as_ref().is_none_or(|(since, _)| *since <= asked_at) {
        *memory = Some((asked_at, Arc::clone(&value)));
    }
    value
}

#[cfg(test)]
#[path = "provider_tests.rs"]
mod tests;

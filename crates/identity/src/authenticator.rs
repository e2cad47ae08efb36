//! From what a request carries to the principal that it speaks for. The way of every request, so it is short: a signature is verified and a
//! memory asked; the database only when the memory is older than [`CACHE_TERM`].
//!
//! The memory bounds how long a revocation takes elsewhere, and nothing else: what this process revokes itself it forgets at once
//! ([`Authenticator::forget_session`], [`Authenticator::forget_key`], [`Authenticator::forget_user`], [`Authenticator::forget_tenant`], after the commit). Refusals are not remembered, so that nobody waits for
//! what was just allowed, with one exception: a second factor given through another process counts here within [`CACHE_TERM`].

use std::sync::Arc;
use std::time::{Duration, Instant};

use plimsoll_store::Db;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::api_key;
use crate::cache::Cache;
use crate::principal::{Credential, Principal, UserStatus};
use crate::repo::{api_keys, sessions};
use crate::secret::{self, Secret};
use crate::token::{TokenError, Tokens};

/// How long a session, a key and their user's standing are remembered.
pub const CACHE_TERM: Duration = Duration::from_secs(5);
/// How many of each are remembered at once.
const CACHE_ENTRIES: usize = 10_000;

/// Tells who a request is from.
#[derive(Debug)]
pub struct Authenticator {
    db: Db,
    tokens: Tokens,
    sessions: Cache<Uuid, Arc<Principal>>,
    keys: Cache<String, Arc<KnownKey>>,
}

/// A key that was in force when it was looked up.
struct KnownKey {
    /// Without, and with, its client certificate: the latter has a second factor.
    alone: Arc<Principal>,
    certified: Arc<Principal>,
    secret_hash: [u8; 32],
    previous_hash: Option<[u8; 32]>,
    certificate_hash: Option<[u8; 32]>,
}

impl std::fmt::Debug for KnownKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KnownKey").field("principal", &self.alone).finish_non_exhaustive()
    }
}

/// Why a request is nobody's. All but [`AuthError::Db`] are a 401; what they say tells no secret.
#[derive(Debug, thiserror::Error)]
pub enum AuthError {
    /// The access token is refused.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// The session is over, or its user is no more.
    #[error("the session is over: sign in again")]
    SessionOver,
    /// The key is not one of ours, or its secret is wrong: which, is not told.
    #[error("this is not an API key of this server")]
    UnknownApiKey,
    /// The key has expired or was revoked. Told only to who has its secret.
    #[error("the API key has expired or was revoked")]
    ApiKeyOver,
    /// The key is bound to a client certificate that did not come with it.
    #[error("the API key is bound to a client certificate: connect with it")]
    Certificate,
    /// The user is suspended.
    #[error("this user is suspended")]
    Suspended,
    /// Nobody can tell who it is now: a 503.
    #[error("it cannot be told now who this is: {0}")]
    Db(#[from] sqlx::Error),
}

impl Authenticator {
    /// With the usual memory.
    #[must_use]
    pub fn new(db: Db, tokens: Tokens) -> Self {
        Self::with_memory(db, tokens, CACHE_TERM)
    }

    /// With a memory of `term`; zero asks the database every time.
    #[must_use]
    pub fn with_memory(db: Db, tokens: Tokens, term: Duration) -> Self {
        Self { db, tokens, sessions: Cache::new(term, CACHE_ENTRIES), keys: Cache::new(term, CACHE_ENTRIES) }
    }

    /// The tokens that it reads.
    #[must_use]
    pub fn tokens(&self) -> &Tokens {
        &self.tokens
    }

    /// Who the bearer of `credential` is: an access token, or an API key with the SHA-256 of the client certificate (DER) of the connection.
    ///
    /// # Errors
    /// [`AuthError`].
    pub async fn authenticate(
        &self,
        credential: &str,
        certificate_hash: Option<&[u8; 32]>,
    ) -> Result<Arc<Principal>, AuthError> {
        if credential.starts_with(api_key::PREFIX) {
            let (key_id, secret) = api_key::parse(credential).ok_or(AuthError::UnknownApiKey)?;
            self.by_key(key_id, &secret, certificate_hash).await
        } else {
            self.by_token(credential).await
        }
    }

    async fn by_token(&self, token: &str) -> Result<Arc<Principal>, AuthError> {
        let claims = self.tokens.verify(token, OffsetDateTime::now_utc())?;
        let asked_at = Instant::now();
        let principal = match self.sessions.get(&claims.sid, asked_at) {
            Some(known) => known,
            None => self.session(claims.sid, asked_at).await?,
        };
        if (principal.tenant_id, principal.user_id) == (claims.tid, claims.sub) {
            Ok(principal)
        } else {
            Err(AuthError::SessionOver)
        }
    }

    async fn session(&self, session_id: Uuid, asked_at: Instant) -> Result<Arc<Principal>, AuthError> {
        let mut conn = self.db.worker().acquire().await?;
        let standing = sessions::standing(&mut conn, session_id).await?.ok_or(AuthError::SessionOver)?;
        if standing.is_revoked || standing.is_expired {
            return Err(AuthError::SessionOver);
        }
        if standing.status == UserStatus::Suspended {
            return Err(AuthError::Suspended);
        }
        let principal = Arc::new(Principal {
            tenant_id: standing.tenant_id,
            user_id: standing.user_id,
            kind: standing.kind,
            status: standing.status,
            permissions: standing.permissions,
            credential: Credential::Session(session_id),
            second_factor: standing.second_factor,
        });
        self.sessions.put(session_id, Arc::clone(&principal), asked_at, Instant::now());
        Ok(principal)
    }

    async fn by_key(
        &self,
        key_id: &str,
        secret: &Secret,
        certificate_hash: Option<&[u8; 32]>,
    ) -> Result<Arc<Principal>, AuthError> {
        let hash = secret::sha256(secret.as_slice());
        let asked_at = Instant::now();
        if let Some(known) = self.keys.get(key_id, asked_at).filter(|known| known.opens(&hash)) {
            return known.principal(certificate_hash);
        }
        let mut conn = self.db.worker().acquire().await?;
        let standing = api_keys::standing(&mut conn, key_id).await?.ok_or(AuthError::UnknownApiKey)?;
        let principal = |second_factor| {
            Arc::new(Principal {
                tenant_id: standing.tenant_id,
                user_id: standing.user_id,
                kind: standing.kind,
                status: standing.status,
                permissions: standing.permissions,
                credential: Credential::ApiKey(key_id.to_owned()),
                second_factor,
            })
        };
        let known = Arc::new(KnownKey {
            alone: principal(false),
            certified: principal(true),
            secret_hash: standing.secret_hash,
            previous_hash: standing.previous_hash,
            certificate_hash: standing.certificate_hash,
        });
        if !known.opens(&hash) {
            return Err(AuthError::UnknownApiKey);
        }
        if !standing.is_in_force {
            return Err(AuthError::ApiKeyOver);
        }
        if standing.status == UserStatus::Suspended {
            return Err(AuthError::Suspended);
        }
        let principal = known.principal(certificate_hash)?;
        if standing.is_last_used_old {
            api_keys::note_use(&mut conn, key_id).await?;
        }
        self.keys.put(key_id.to_owned(), known, asked_at, Instant::now());
        Ok(principal)
    }

    /// Forgets a session that was revoked, or that has a second factor now. Call it after the commit.
    pub fn forget_session(&self, session_id: Uuid) {
        self.sessions.forget(&session_id);
    }

    /// Forgets a key that was revoked or rotated. Call it after the commit.
    pub fn forget_key(&self, key_id: &str) {
        self.keys.forget(key_id);
    }

    /// Forgets the sessions and keys of a user whose status, roles or sessions changed. Call it after the commit.
    pub fn forget_user(&self, tenant_id: Uuid, user_id: Uuid) {
        self.forget_where(|principal| (principal.tenant_id, principal.user_id) == (tenant_id, user_id));
    }

    /// Forgets the sessions and keys of a tenant, one of whose roles changed. Call it after the commit.
    pub fn forget_tenant(&self, tenant_id: Uuid) {
        self.forget_where(|principal| principal.tenant_id == tenant_id);
    }

    fn forget_where(&self, is_so: impl Fn(&Principal) -> bool) {
        self.sessions.forget_where(|principal| is_so(principal));
        self.keys.forget_where(|key| is_so(&key.alone));
    }
}

impl KnownKey {
    /// Both are compared whichever fits.
    fn opens(&self, hash: &[u8; 32]) -> bool {
        let current = secret::equal(&self.secret_hash, hash);
        let previous = self.previous_hash.as_ref().is_some_and(|previous| secret::equal(previous, hash));
        current | previous
    }

    fn principal(&self, certificate_hash: Option<&[u8; 32]>) -> Result<Arc<Principal>, AuthError> {
        match (&self.certificate_hash, certificate_hash) {
            (None, _) => Ok(Arc::clone(&self.alone)),
            (Some(bound), Some(given)) if secret::equal(bound, given) => Ok(Arc::clone(&self.certified)),
            (Some(_), _) => Err(AuthError::Certificate),
        }
    }
}

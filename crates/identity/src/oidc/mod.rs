//! Sign-in at an OpenID Connect provider: the authorization code flow (OpenID Connect Core 1.0 §3.1) with PKCE (RFC 7636), for operators.
//!
//! 1. [`Provider::authorize`], then [`begin`] in a transaction of the worker: a state and a nonce, of which hashes are stored. Send the browser to
//!    the URL, with the browser's secret in a cookie (`__Host-`, `HttpOnly`, `Secure`, `SameSite=Lax`).
//! 2. The provider sends the browser back. [`resume`], in a transaction that is committed before anything else: the state is used up.
//! 3. [`Provider::exchange`], outside of any transaction: the code becomes an ID token, which is checked whole.
//! 4. [`sign_in`], in one transaction of the worker: the user is found, the session opened.
//!
//! Who has signed in already links the provider's subject to themselves in the same way: [`begin_link`] in the place of [`begin`], [`link`] in the place of
//! [`sign_in`].
//!
//! # Why nobody else gets in
//! - **A code is good in the browser that asked for it, and nowhere else.** The PKCE verifier follows from the browser's secret, which is not
//!   stored: whoever has the code, or the state, or a copy of the database, cannot redeem it. And who sends a victim the link of their own
//!   sign-in (RFC 6749 §10.12) finds a browser without the secret.
//! - **A state is used once**, by an UPDATE that says "not yet", and that is committed before the provider is asked. Whatever fails
//!   after it, the user begins anew.
//! - **A token is for this sign-in**: issuer, audience, nonce, time and signature, by the provider's own keys and by an algorithm of ours
//!   ([`id_token`]). That it came from the token endpoint over TLS would do for OpenID; we do not lean on it.
//! - **A user is one whom an administrator linked, or who linked themselves** ([`crate::external`]), unless the configuration says that the provider's people
//!   are the tenant's. An e-mail address makes nobody anyone.
//! - **Who links is who asked for it**: the purpose and the session stand with the state, which is good in the browser that has the cookie. Nobody's subject is
//!   linked by following a link of somebody else's, and nothing that was begun to link opens a session.
//! - **A provider that does not answer is neither yes nor no**: [`OidcError::is_unavailable`] says "try again".
//!
//! # Why this and no library
//! What is particular to OpenID is a page of rules, and `id_token` has them in one place. The crates that offer it bring second implementations
//! of RSA and elliptic curves beside the one that TLS brings already.

mod error;
mod http;
pub mod id_token;
mod keys;
mod metadata;
mod provider;
mod sign_in;

use std::time::Duration;

use secrecy::SecretString;
use uuid::Uuid;

pub use error::OidcError;
pub use http::is_issuer;
pub use provider::{Authorization, Identity, Provider};
pub use sign_in::{Callback, Linked, Pending, begin, begin_link, link, resume, sign_in};

use crate::principal::UserStatus;

/// How long a user may take at the provider.
pub const REQUEST_TERM: Duration = Duration::from_secs(10 * 60);

/// A provider, as configured for a tenant.
#[derive(Clone, Debug)]
pub struct ProviderConfig {
    /// Whose users sign in there.
    pub tenant_id: Uuid,
    /// The issuer, exactly as the provider names itself: `https://login.example.com/realms/acme`. `http` on this machine only.
    pub issuer: String,
    /// What the provider calls us.
    pub client_id: String,
    /// By what the provider knows us.
    pub client_secret: SecretString,
    /// Where it sends the browser back to: as registered there, to the letter.
    pub redirect_uri: String,
    /// Scopes beside `openid`: `profile` gives new users a name.
    pub scopes: Vec<String>,
    /// What the provider says that counts as a second factor.
    pub second_factor: SecondFactorPolicy,
    /// What becomes of a subject that no user has.
    pub provisioning: Provisioning,
}

/// What an ID token must say for the session to begin with a second factor given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecondFactorPolicy {
    /// Nothing does: ours is asked for.
    Ours,
    /// One of these, of an authentication that is not older than a second factor of ours may be. List what the provider gives for two factors
    /// only: `otp` and `hwk` (RFC 8176) may also stand for the only one.
    Trusted {
        /// Authentication methods (RFC 8176): `mfa`.
        amr: Vec<String>,
        /// Authentication context classes, as the provider names them.
        acr: Vec<String>,
    },
}

/// What becomes of a subject that no user of the tenant has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Provisioning {
    /// It is turned away: an administrator links it first.
    Linked,
    /// It becomes a person with this role. Everyone whom the provider lets in becomes a user, so let it be a provider of the tenant's own.
    Create {
        /// The role, or none.
        role: Option<String>,
        /// Where the user stands.
        status: UserStatus,
    },
}

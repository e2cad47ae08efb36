//! Why nobody was signed in.

use super::id_token::IdTokenError;
use crate::directory::DirectoryError;
use crate::external::ExternalError;
use crate::session::SessionError;

/// Why an OpenID Connect sign-in was not begun or not finished.
#[derive(Debug, thiserror::Error)]
pub enum OidcError {
    /// The provider gave no answer: neither yes nor no.
    #[error("the identity provider {issuer} could not be asked: {reason}. Try again")]
    Unavailable {
        /// Which.
        issuer: String,
        /// Why.
        reason: String,
    },
    /// The provider and our configuration of it do not fit.
    #[error("the identity provider {issuer} cannot be used as it is configured: {reason}")]
    Configuration {
        /// Which.
        issuer: String,
        /// Why.
        reason: String,
    },
    /// We did not begin it, or so long ago that it is forgotten; or for another tenant or provider.
    #[error("this sign-in was not begun here: begin again")]
    StateUnknown,
    /// It came back before.
    #[error("this sign-in was finished, or given up, already: begin again")]
    StateUsed,
    /// It came back too late.
    #[error("this sign-in took too long: begin again")]
    StateExpired,
    /// Another browser began it.
    #[error("this sign-in was begun in another browser, or its cookie is gone: begin again here")]
    OtherBrowser,
    /// The answer names another issuer (RFC 9207).
    #[error("the answer comes from another identity provider than the one that was asked: begin again")]
    OtherIssuer,
    /// The provider, or the user there, said no.
    #[error("the identity provider did not sign you in ({0}): begin again, or ask its administrator")]
    Declined(String),
    /// The provider does not take the code: it is used, expired or another client's.
    #[error("the identity provider refuses the code of this sign-in: begin again")]
    CodeRefused,
    /// The ID token proves nothing to us.
    #[error("the identity provider's token is refused: {0}")]
    IdToken(#[from] IdTokenError),
    /// No user has the subject.
    #[error("{subject:?} of {issuer} is no user of this tenant; an administrator can link it to one")]
    NotLinked {
        /// The issuer.
        issuer: String,
        /// Its subject.
        subject: String,
    },
    /// The provider is another tenant's. Told to the caller as "not found".
    #[error("this identity provider is another tenant's")]
    OtherTenant,
    /// It was begun to link, and is used to sign in; or the other way round.
    #[error("this was begun for another purpose: begin again")]
    OtherPurpose,
    /// The session in which a link was begun has ended.
    #[error("the session in which this was begun is over: sign in, and begin again")]
    SessionOver,
    /// The user is suspended.
    #[error("this user is suspended")]
    Suspended,
    /// The new user could not be made.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// Nor be linked.
    #[error(transparent)]
    External(#[from] ExternalError),
    /// The session could not be opened.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// The database's.
    #[error("the sign-in could not be recorded: {0}")]
    Db(#[from] sqlx::Error),
}

impl OidcError {
    /// Whether the same may succeed in a while: an answer of the kind of 503.
    #[must_use]
    pub fn is_unavailable(&self) -> bool {
        matches!(self, Self::Unavailable { .. })
    }
}

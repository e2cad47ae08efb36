//! A second factor that cannot be phished: a security key or a passkey (Web Authentication Level 3), beside `totp`.
//!
//! Registration: [`begin_registration`] gives what `navigator.credentials.create` takes, [`finish_registration`] judges what it returns. To give the
//! factor: [`begin_assertion`] for `navigator.credentials.get`, [`finish_assertion`], and then, as after a code, `session::note_second_factor`.
//!
//! # Why it proves the person is there
//! The authenticator signs our challenge, with a key that it made for our domain, and the browser says under which origin. A challenge has 256 random
//! bits, of which the hash is stored; it belongs to one session and one ceremony, is good for [`CHALLENGE_TERM`], and is gone with the first answer,
//! right or wrong: that must be committed, so a refusal is an answer and not an error. **Commit whichever it is.** The counter
//! of an authenticator that has one only rises: one that went back means a copy of the key, and the credential is not taken again.
//!
//! # What is not asked
//! Which maker's key it is: no attestation, so no list of makers to keep up, and no trace of a person's devices. Nor does a key replace the first
//! factor here, so none needs to be discoverable.
//!
//! Keys are ES256 or EdDSA, verified by the library that TLS brings. Run these on the worker's transactions.

mod data;
mod json;
mod judge;
mod key;

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use sqlx::PgConnection;
use uuid::Uuid;

use self::data::attested_data;
pub use self::json::{Assertion, Registration};
pub(crate) use self::key::{Algorithm, PublicKey};
use crate::principal::{Credential, Principal, text_enum};
use crate::repo::webauthn as repo;
use crate::second_factor;
use crate::secret;

/// How long a person may take to touch the key.
pub const CHALLENGE_TERM: Duration = Duration::from_secs(5 * 60);
/// Keys that a user may have.
pub const MAX_CREDENTIALS: i64 = 20;
/// The longest label of a key, in characters.
pub const MAX_LABEL_CHARS: usize = 200;

/// Who we are to browsers.
#[derive(Clone, Debug)]
pub struct RelyingParty {
    /// The domain that keys are made for: the site's own, or one above it. It cannot be changed without enrolling everyone anew.
    pub id: String,
    /// For people to read.
    pub name: String,
    /// The origins that pages are served under: `https://app.example.com`, to the letter.
    pub origins: Vec<String>,
    /// Whether the authenticator must know the person (by PIN or fingerprint), not just feel a touch.
    pub user_verification: UserVerification,
}

/// Whether the authenticator must verify its user (§5.8.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UserVerification {
    /// It must.
    Required,
    /// It is asked to, if it can.
    Preferred,
    /// A touch will do.
    Discouraged,
}

/// What a challenge is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ceremony {
    Registration,
    Assertion,
}

text_enum!(UserVerification { Required = "required", Preferred = "preferred", Discouraged = "discouraged", });

impl Ceremony {
    /// As it is stored.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Registration => "registration",
            Self::Assertion => "assertion",
        }
    }

    /// What client data calls it (§5.8.1).
    fn client_type(self) -> &'static str {
        match self {
            Self::Registration => "webauthn.create",
            Self::Assertion => "webauthn.get",
        }
    }
}

/// What came of a ceremony. Commit the transaction whichever it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Verdict {
    /// The key is registered, or was given.
    Accepted,
    /// It is not taken. The challenge is used up.
    Refused(Refusal),
}

/// Why a key is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No challenge is open for this session: it was answered, replaced by a later one, or is too old.
    #[error("no challenge is open, or it has expired: begin again")]
    NoChallenge,
    /// It answers something else.
    #[error("the answer is not to the challenge that was given: begin again")]
    OtherChallenge,
    /// The page is not ours.
    #[error("the answer was given on another site: use a page of this one")]
    OtherOrigin,
    /// The key was made for another domain.
    #[error("the key was made for another domain")]
    OtherDomain,
    /// What the browser or the authenticator said cannot be read.
    #[error("the answer is not one of an authenticator")]
    Malformed,
    /// Nobody touched it.
    #[error("the authenticator felt no touch: touch it when it asks")]
    NotPresent,
    /// It must know its user and does not.
    #[error("the authenticator did not verify its user: set a PIN or a fingerprint on it")]
    NotVerified,
    /// It makes keys of another kind.
    #[error("the authenticator's key is of a kind that is not taken here: ES256 and EdDSA are")]
    Algorithm,
    /// It is registered already, or there are too many.
    #[error("the key is registered already, or this user has {MAX_CREDENTIALS} keys: remove one first")]
    NoRoom,
    /// The user has no such key.
    #[error("this user has no such key: register it first")]
    UnknownCredential,
    /// The signature is wrong.
    #[error("the signature of the key is wrong")]
    BadSignature,
    /// Its counter went back, now or earlier.
    #[error(
        "the counter of this key went back, which a copy of it would cause; it is not taken again: remove it and register another"
    )]
    Cloned,
}

/// Why a ceremony was neither begun nor judged.
#[derive(Debug, thiserror::Error)]
pub enum WebauthnError {
    /// The principal is not in a session: a machine's second factor is its certificate.
    #[error("a key is given in a session: sign in first")]
    NoSession,
    /// The user has a second factor, and has not given it lately.
    #[error("this user has a second factor: give it before adding another")]
    SecondFactor,
    /// The user has no key.
    #[error("this user has no second factor of this kind: register a key first")]
    NotEnrolled,
    /// The label is none.
    #[error("a key's label has 1 to {MAX_LABEL_CHARS} characters")]
    Label,
    /// The database's.
    #[error("the second factor could not be read or written: {0}")]
    Db(#[from] sqlx::Error),
}

/// Opens a challenge and returns what `PublicKeyCredential.parseCreationOptionsFromJSON` takes (§5.1.8). `account` names the user to the
/// authenticator's user.
///
/// # Errors
/// [`WebauthnError`].
pub async fn begin_registration(
    conn: &mut PgConnection,
    party: &RelyingParty,
    principal: &Principal,
    account: &str,
) -> Result<Value, WebauthnError> {
    require_may_enrol(conn, principal).await?;
    let known = known(conn, principal).await?;
    let challenge = open(conn, principal, Ceremony::Registration).await?;
    let algorithms =
        Algorithm::OFFERED.map(|algorithm| json!({ "type": "public-key", "alg": algorithm.cose() }));
    Ok(json!({
        "rp": { "id": party.id, "name": party.name },
        "user": { "id": URL_SAFE_NO_PAD.encode(principal.user_id), "name": account, "displayName": account },
        "challenge": challenge,
        "pubKeyCredParams": algorithms,
        "timeout": CHALLENGE_TERM.as_secs() * 1_000,
        "excludeCredentials": known,
        "authenticatorSelection": {
            "residentKey": "discouraged",
            "requireResidentKey": false,
            "userVerification": party.user_verification.as_str(),
        },
        "attestation": "none",
    }))
}

/// Judges a new key (§7.1) and, if it is one, registers it. Commit whatever the answer.
///
/// # Errors
/// [`WebauthnError`]; a refusal is not one.
pub async fn finish_registration(
    conn: &mut PgConnection,
    party: &RelyingParty,
    principal: &Principal,
    label: &str,
    registration: &Registration,
) -> Result<Verdict, WebauthnError> {
    if !(1..=MAX_LABEL_CHARS).contains(&label.chars().count()) || label.contains('\0') {
        return Err(WebauthnError::Label);
    }
    require_may_enrol(conn, principal).await?;
    let expected =
        repo::take_challenge(conn, principal.tenant_id, session(principal)?, Ceremony::Registration).await?;
    let attested = attested_data(&registration.response.attestation_object.0);
    let new = match judge::registration(party, expected, registration, attested.as_deref()) {
        Ok(new) => new,
        Err(refusal) => return Ok(Verdict::Refused(refusal)),
    };
    let Principal { tenant_id, user_id, .. } = *principal;
    let is_new =
        repo::insert(conn, tenant_id, user_id, new.credential_id, &new.key, new.sign_count, label).await?;
    Ok(if is_new { Verdict::Accepted } else { Verdict::Refused(Refusal::NoRoom) })
}

/// Opens a challenge and returns what `PublicKeyCredential.parseRequestOptionsFromJSON` takes (§5.1.9).
///
/// # Errors
/// [`WebauthnError::NotEnrolled`].
pub async fn begin_assertion(
    conn: &mut PgConnection,
    party: &RelyingParty,
    principal: &Principal,
) -> Result<Value, WebauthnError> {
    let known = known(conn, principal).await?;
    if known.is_empty() {
        return Err(WebauthnError::NotEnrolled);
    }
    let challenge = open(conn, principal, Ceremony::Assertion).await?;
    Ok(json!({
        "challenge": challenge,
        "timeout": CHALLENGE_TERM.as_secs() * 1_000,
        "rpId": party.id,
        "allowCredentials": known,
        "userVerification": party.user_verification.as_str(),
    }))
}

/// Judges a key that was given (§7.2). When it is accepted, note it with `session::note_second_factor` in the same transaction. Commit whatever
/// the answer.
///
/// # Errors
/// [`WebauthnError`]; a refusal is not one.
pub async fn finish_assertion(
    conn: &mut PgConnection,
    party: &RelyingParty,
    principal: &Principal,
    assertion: &Assertion,
) -> Result<Verdict, WebauthnError> {
    let Principal { tenant_id, user_id, .. } = *principal;
    let expected = repo::take_challenge(conn, tenant_id, session(principal)?, Ceremony::Assertion).await?;
    let id = &assertion.raw_id.0;
    let Some(credential) = repo::lock(conn, tenant_id, user_id, id).await? else {
        return Ok(Verdict::Refused(if expected.is_some() {
            Refusal::UnknownCredential
        } else {
            Refusal::NoChallenge
        }));
    };
    let sign_count = match judge::assertion(party, expected, principal, assertion, &credential.key) {
        Ok(sign_count) => sign_count,
        Err(refusal) => return Ok(Verdict::Refused(refusal)),
    };
    // §7.2 step 22: authenticators without a counter say zero for ever.
    let went_back = sign_count <= credential.sign_count && (sign_count, credential.sign_count) != (0, 0);
    if credential.is_cloned || went_back {
        if !credential.is_cloned {
            tracing::warn!(%tenant_id, %user_id, "the counter of a security key went back; it is not taken again");
            repo::mark_cloned(conn, tenant_id, id).await?;
        }
        return Ok(Verdict::Refused(Refusal::Cloned));
    }
    repo::note_use(conn, tenant_id, id, sign_count).await?;
    Ok(Verdict::Accepted)
}

/// The user's keys, as the options of both ceremonies name them.
async fn known(conn: &mut PgConnection, principal: &Principal) -> Result<Vec<Value>, WebauthnError> {
    let ids = repo::ids(conn, principal.tenant_id, principal.user_id).await?.into_iter();
    Ok(ids.map(|id| json!({ "type": "public-key", "id": URL_SAFE_NO_PAD.encode(id) })).collect())
}

async fn open(
    conn: &mut PgConnection,
    principal: &Principal,
    ceremony: Ceremony,
) -> Result<String, WebauthnError> {
    let challenge = secret::random::<32>();
    let hash = secret::sha256(challenge.as_slice());
    repo::open_challenge(conn, principal.tenant_id, session(principal)?, ceremony, &hash, CHALLENGE_TERM)
        .await?;
    Ok(URL_SAFE_NO_PAD.encode(challenge.as_slice()))
}

async fn require_may_enrol(conn: &mut PgConnection, principal: &Principal) -> Result<(), WebauthnError> {
    session(principal)?;
    if second_factor::is_given_if_any(conn, principal).await? {
        Ok(())
    } else {
        Err(WebauthnError::SecondFactor)
    }
}

fn session(principal: &Principal) -> Result<Uuid, WebauthnError> {
    match principal.credential {
        Credential::Session(session_id) => Ok(session_id),
        Credential::ApiKey(_) => Err(WebauthnError::NoSession),
    }
}

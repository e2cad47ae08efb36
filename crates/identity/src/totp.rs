//! A second factor from an app: TOTP (RFC 6238) with SHA-1, 6 digits and 30 seconds, which is what every app has.
//!
//! A code is good once: the last step that was used only rises. A step before and one after now are taken too, for clocks that differ and
//! for slow thumbs. After [`MAX_FAILURES`] wrong codes in a row nobody gets in for [`LOCK_TERM`], and the log says so: of a million codes three
//! are good at a time, and who tries 480 a day needs more than a year for an even chance, and the first factor to begin with.
//!
//! A wrong code must be counted, so it is an answer ([`Verdict::Refused`]) and not an error: **commit whichever it is**. Run these on
//! the worker's transactions.

use std::time::Duration;

use aws_lc_rs::hmac;
use secrecy::SecretString;
use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::principal::Principal;
use crate::repo::totp as repo;
use crate::seal::{SealError, Sealer};
use crate::second_factor;
use crate::secret;

/// Wrong codes in a row.
pub const MAX_FAILURES: i32 = 5;
/// How long nobody gets in after that.
pub const LOCK_TERM: Duration = Duration::from_secs(15 * 60);

const STEP_S: i64 = 30;
const STEPS_AROUND: i64 = 1;
const DIGITS: u32 = 6;
/// As long as the digest, which RFC 4226 §4 recommends.
const SEED_BYTES: usize = 20;

/// A second factor to be set up. Shown once; counts once it was confirmed with a code.
#[derive(Debug)]
pub struct Enrolment {
    /// The seed in base32, for typing.
    pub seed: SecretString,
    /// `otpauth://totp/…`, for a QR code.
    pub uri: SecretString,
}

/// What came of a code. Commit the transaction whichever it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Verdict {
    /// It is right, and is used up.
    Accepted,
    /// It is not taken.
    Refused(Refusal),
}

/// Why a code is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It is wrong.
    #[error("the code is wrong")]
    Wrong,
    /// It, or a later one, was used.
    #[error("the code was used already: wait for the next one")]
    Used,
    /// Too many were wrong.
    #[error("too many wrong codes: try again at {until}")]
    Locked {
        /// Until when.
        until: OffsetDateTime,
    },
    /// There is no second factor, or it was not confirmed.
    #[error("this user has no second factor of this kind: enrol first")]
    NotEnrolled,
}

/// Why a second factor was neither set up nor looked at.
#[derive(Debug, thiserror::Error)]
pub enum TotpError {
    /// The user has a second factor of another kind, and has not given it lately.
    #[error("this user has a second factor: give it before adding another")]
    SecondFactor,
    /// There is one in force.
    #[error("this user has a second factor already: it must be removed first")]
    AlreadyEnrolled,
    /// The stored seed cannot be opened.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// The database's.
    #[error("the second factor could not be read or written: {0}")]
    Db(#[from] sqlx::Error),
}

/// Makes a new seed. One that was never confirmed is replaced.
///
/// # Errors
/// [`TotpError::AlreadyEnrolled`], [`TotpError::SecondFactor`].
pub async fn enrol(
    conn: &mut PgConnection,
    sealer: &Sealer,
    principal: &Principal,
    issuer: &str,
    account: &str,
) -> Result<Enrolment, TotpError> {
    let Principal { tenant_id, user_id, .. } = *principal;
    require_may_enrol(conn, principal).await?;
    let seed = secret::random::<SEED_BYTES>();
    let sealed = sealer.seal(tenant_id, user_id, seed.as_slice())?;
    if !repo::enrol(conn, tenant_id, user_id, &sealed).await? {
        return Err(TotpError::AlreadyEnrolled);
    }
    let text = base32(seed.as_slice());
    let (issuer, account) = (percent(issuer), percent(account));
    let uri = format!(
        "otpauth://totp/{issuer}:{account}?secret={}&issuer={issuer}&digits={DIGITS}&period={STEP_S}",
        text.as_str()
    );
    Ok(Enrolment { seed: SecretString::from(text.as_str()), uri: SecretString::from(uri) })
}

/// Puts a new second factor in force, with a first code of it. Commit whatever the answer.
///
/// # Errors
/// [`TotpError`]; a refusal is not one.
pub async fn confirm(
    conn: &mut PgConnection,
    sealer: &Sealer,
    principal: &Principal,
    code: &str,
    now: OffsetDateTime,
) -> Result<Verdict, TotpError> {
    let Principal { tenant_id, user_id, .. } = *principal;
    require_may_enrol(conn, principal).await?;
    judge(conn, sealer, tenant_id, user_id, code, now, false).await
}

/// Looks at a code of a second factor that is in force, and uses it up. Commit whatever the answer.
///
/// # Errors
/// [`TotpError`]; a refusal is not one.
pub async fn verify(
    conn: &mut PgConnection,
    sealer: &Sealer,
    tenant_id: Uuid,
    user_id: Uuid,
    code: &str,
    now: OffsetDateTime,
) -> Result<Verdict, TotpError> {
    judge(conn, sealer, tenant_id, user_id, code, now, true).await
}

async fn require_may_enrol(conn: &mut PgConnection, principal: &Principal) -> Result<(), TotpError> {
    if second_factor::is_given_if_any(conn, principal).await? { Ok(()) } else { Err(TotpError::SecondFactor) }
}

async fn judge(
    conn: &mut PgConnection,
    sealer: &Sealer,
    tenant_id: Uuid,
    user_id: Uuid,
    code: &str,
    now: OffsetDateTime,
    must_be_confirmed: bool,
) -> Result<Verdict, TotpError> {
    let Some(factor) = repo::lock(conn, tenant_id, user_id).await? else {
        return Ok(Verdict::Refused(Refusal::NotEnrolled));
    };
    if must_be_confirmed != factor.is_confirmed {
        if factor.is_confirmed {
            return Err(TotpError::AlreadyEnrolled);
        }
        return Ok(Verdict::Refused(Refusal::NotEnrolled));
    }
    if let Some(until) = factor.locked_until.filter(|until| *until > now) {
        return Ok(Verdict::Refused(Refusal::Locked { until }));
    }
    let seed = sealer.open(tenant_id, user_id, &factor.sealed)?;
    match step_of(&seed, code, now.unix_timestamp()) {
        Some(step) if step > factor.last_step => {
            repo::accept(conn, tenant_id, user_id, step).await?;
            Ok(Verdict::Accepted)
        }
        // Told apart from a wrong one, and not counted as one: who double-clicks is no guesser.
        Some(_) => Ok(Verdict::Refused(Refusal::Used)),
        None => {
            let failures = factor.failures + 1;
            let locked_until = (failures >= MAX_FAILURES).then(|| now + LOCK_TERM);
            let counted = if locked_until.is_some() { 0 } else { failures };
            if locked_until.is_some() {
                tracing::warn!(%tenant_id, %user_id, "a second factor is locked after {MAX_FAILURES} wrong codes in a row");
            }
            repo::count_failure(conn, tenant_id, user_id, counted, locked_until).await?;
            Ok(Verdict::Refused(locked_until.map_or(Refusal::Wrong, |until| Refusal::Locked { until })))
        }
    }
}

/// The step, within reach of now, that has this code. All are computed and compared, whichever fits.
fn step_of(seed: &[u8], given: &str, now_s: i64) -> Option<i64> {
    let step = now_s.div_euclid(STEP_S);
    let mut found = None;
    for step in step - STEPS_AROUND..=step + STEPS_AROUND {
        if secret::equal(code(seed, step, DIGITS).as_bytes(), given.as_bytes()) {
            found = Some(step);
        }
    }
    found
}

/// HOTP of the step (RFC 4226 §5.3).
fn code(seed: &[u8], step: i64, digits: u32) -> Zeroizing<String> {
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, seed);
    let tag = hmac::sign(&key, &step.to_be_bytes());
    let tag = tag.as_ref();
    let at = usize::from(tag[tag.len() - 1] & 0x0f);
    let word = u32::from_be_bytes([tag[at], tag[at + 1], tag[at + 2], tag[at + 3]]) & 0x7fff_ffff;
    Zeroizing::new(format!("{:0width$}", word % 10_u32.pow(digits), width = digits as usize))
}

/// RFC 4648 §6, without padding, as the apps want it.
fn base32(bytes: &[u8]) -> Zeroizing<String> {
    const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let mut text = Zeroizing::new(String::with_capacity(bytes.len().div_ceil(5) * 8));
    let (mut buffer, mut bits) = (0_u32, 0_u32);
    for byte in bytes {
        buffer = (buffer << 8) | u32::from(*byte);
        bits += 8;
        while bits >= 5 {
            bits -= 5;
            text.push(char::from(ALPHABET[(buffer >> bits & 31) as usize]));
        }
        buffer &= (1 << bits) - 1;
    }
    if bits > 0 {
        text.push(char::from(ALPHABET[(buffer << (5 - bits) & 31) as usize]));
    }
    text
}

/// Every byte but the unreserved ones of RFC 3986.
fn percent(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The seed of RFC 6238, appendix B.
    const SEED: &[u8] = b"12345678901234567890";

    #[test]
    fn the_codes_of_rfc_6238_come_out() {
        for (time_s, expected) in [
            (59, "94287082"),
            (1_111_111_109, "07081804"),
            (1_111_111_111, "14050471"),
            (1_234_567_890, "89005924"),
            (2_000_000_000, "69279037"),
            (20_000_000_000, "65353130"),
        ] {
            assert_eq!(*code(SEED, time_s / STEP_S, 8), expected, "at {time_s}");
            assert_eq!(step_of(SEED, &expected[2..], time_s), Some(time_s / STEP_S));
        }
    }

    #[test]
    fn a_code_is_taken_a_step_early_and_a_step_late_and_no_further() {
        let given = code(SEED, 100, DIGITS);
        for (step, taken) in [(98, false), (99, true), (100, true), (101, true), (102, false)] {
            assert_eq!(step_of(SEED, &given, step * STEP_S).is_some(), taken, "at step {step}");
        }
        assert_eq!(step_of(SEED, "", 3000), None);
        assert_eq!(step_of(SEED, &given[1..], 3000), None);
    }

    #[test]
    fn base32_is_that_of_rfc_4648() {
        for (bytes, text) in [
            ("", ""),
            ("f", "MY"),
            ("fo", "MZXQ"),
            ("foo", "MZXW6"),
            ("foob", "MZXW6YQ"),
            ("fooba", "MZXW6YTB"),
            ("foobar", "MZXW6YTBOI"),
        ] {
            assert_eq!(*base32(bytes.as_bytes()), text);
        }
        assert_eq!(percent("Plimsoll: ä"), "Plimsoll%3A%20%C3%A4");
    }
}

//! Random secrets, their hashes, and comparing without telling how far.
//!
//! A secret that we make has 256 random bits. Its SHA-256 is what is stored: nobody finds 256 random bits by trying, so a hash that is slow
//! on purpose (argon2id) would protect nothing and cost tens of milliseconds a request. Passwords, which people choose, are another matter:
//! `password` has those.

use alloy_primitives::hex;
use aws_lc_rs::{constant_time, digest, rand};
use secrecy::SecretString;
use zeroize::Zeroizing;

/// How many bytes a secret has.
pub(crate) const SECRET_BYTES: usize = 32;

/// A secret's bytes, wiped when dropped.
pub(crate) type Secret = Zeroizing<[u8; SECRET_BYTES]>;

/// Random bytes of the system's source.
pub(crate) fn random<const N: usize>() -> Zeroizing<[u8; N]> {
    let mut bytes = Zeroizing::new([0; N]);
    rand::fill(bytes.as_mut_slice())
        .expect("the library's generator is seeded by the operating system and cannot run dry");
    bytes
}

pub(crate) fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest::digest(&digest::SHA256, bytes).as_ref());
    hash
}

/// Whether they are equal, in a time that depends on nothing but their length.
pub(crate) fn equal(a: &[u8], b: &[u8]) -> bool {
    constant_time::verify_slices_are_equal(a, b).is_ok()
}

/// A token to be shown once: `prefix` and the secret in hex.
pub(crate) fn token(prefix: &str, secret: &Secret) -> SecretString {
    let digits = Zeroizing::new(hex::encode(secret.as_slice()));
    let mut text = String::with_capacity(prefix.len() + digits.len());
    text.push_str(prefix);
    text.push_str(&digits);
    SecretString::from(text)
}

/// The secret of a token without its prefix: exactly 64 lower-case hex digits.
pub(crate) fn parse(digits: &str) -> Option<Secret> {
    if !is_lower_hex(digits) {
        return None;
    }
    let mut secret = Secret::default();
    hex::decode_to_slice(digits, secret.as_mut_slice()).ok()?;
    Some(secret)
}

/// One spelling a token: upper-case digits, or a `0x`, would be others.
pub(crate) fn is_lower_hex(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    #[test]
    fn a_token_is_read_back_in_one_spelling_only() {
        let secret = random();
        let token = token("plr_", &secret);
        let digits = token.expose_secret().strip_prefix("plr_").unwrap();
        assert_eq!(parse(digits).unwrap(), secret);
        assert!(parse(&digits[1..]).is_none());
        assert!(parse(&format!("0x{digits}")).is_none());
        assert!(parse(&"A".repeat(64)).is_none());
        assert!(!format!("{token:?}").contains(&digits[..8]));
    }

    #[test]
    fn equality_is_of_all_bytes() {
        assert!(equal(b"abc", b"abc") && !equal(b"abc", b"abd") && !equal(b"abc", b"ab"));
    }
}

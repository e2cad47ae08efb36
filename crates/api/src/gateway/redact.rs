//! What of a text from outside may be repeated, in an answer or a log line.
//!
//! People paste keys where they do not belong: into paths, queries and ids. Repeating one would write it into logs and tickets. So what looks like a
//! credential of ours is blotted out wherever a text from outside is repeated: a key, a refresh token and a link by their prefix, a
//! token by how every JWT begins, and any other long text that is as mixed as random ones are (hexadecimal is not: hashes,
//! addresses and UUIDs are what this API is about).

use std::borrow::Cow;

const BLOT: &str = "[redacted]";
/// Of an API key, a refresh token and a bootstrap link.
const PREFIXES: [&str; 3] = ["plk_", "plr_", "plb_"];
/// `{"` in base64: the beginning of a JWT's header.
const JWT: &str = "eyJ";
/// Random texts of this length are secrets; shorter ones would not keep one.
const MIXED_MIN_CHARS: usize = 32;

/// The text, credentials blotted out.
pub(crate) fn redacted(text: &str) -> Cow<'_, str> {
    if !words(text).any(is_credential) {
        return Cow::Borrowed(text);
    }
    let mut clean = String::with_capacity(text.len());
    let mut rest = text;
    for word in words(text).filter(|word| is_credential(word)) {
        if let Some((before, after)) = rest.split_once(word) {
            clean.push_str(before);
            clean.push_str(BLOT);
            rest = after;
        }
    }
    clean.push_str(rest);
    Cow::Owned(clean)
}

/// The runs of characters that credentials are made of.
fn words(text: &str) -> impl Iterator<Item = &str> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '~' | '+');
    text.split(move |c| !is_part(c)).filter(|word| word.len() > JWT.len())
}

/// Whether it is, or has in it, what looks like a credential.
pub(crate) fn is_credential(word: &str) -> bool {
    word.contains(JWT) || PREFIXES.iter().any(|prefix| word.contains(prefix)) || is_mixed(word)
}

fn is_mixed(word: &str) -> bool {
    let has = |is: fn(&u8) -> bool| word.as_bytes().iter().any(is);
    word.len() >= MIXED_MIN_CHARS
        && has(u8::is_ascii_lowercase)
        && has(u8::is_ascii_uppercase)
        && has(u8::is_ascii_digit)
        && !word
            .strip_prefix("0x")
            .unwrap_or(word)
            .bytes()
            .all(|byte| byte.is_ascii_hexdigit() || byte == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_looks_like_a_credential_is_blotted_out_and_nothing_else() {
        for (text, shown) in [
            ("/api/v1/plk_0011223344556677_abcdefghijklmnop/x", "/api/v1/[redacted]/x"),
            ("`plr_x` and plb_y", "`[redacted]` and [redacted]"),
            ("/eyJhbGciOiJFZERTQSJ9.eyJzdWIi.c2ln?", "/[redacted]?"),
            ("a=Zm9vYmFyYmF6cXV4MTIzNDU2Nzg5MGFiY2RlZg", "a=[redacted]"),
            ("plk_a plk_ab plk_a", "[redacted] [redacted] [redacted]"),
            ("xplk_a", "[redacted]"),
        ] {
            assert_eq!(redacted(text), shown);
        }
        for harmless in [
            "",
            "/api/v1/chains/31337",
            "0x5FbDB2315678afecb367f032d93F642f64180aa3",
            "/x/0198c5a1-7d2e-7c3a-9a55-3f1f0c6d2b10",
            "0xddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef",
            "a-path-of-words-that-is-longer-than-most-of-them-are",
            "plk",
            "日本語",
        ] {
            assert!(matches!(redacted(harmless), Cow::Borrowed(_)), "{harmless}");
        }
    }
}

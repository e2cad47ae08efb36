//! The key as a client writes it: `Idempotency-Key`, or `X-Idempotency-Key` (spec 4 §1); an RFC 8941 string, or bare.

use axum::http::{HeaderMap, HeaderValue};
use plimsoll_store::idempotency::Key;

use crate::problem::{Problem, ProblemKind};

/// The header, and its other name.
const NAMES: [&str; 2] = ["idempotency-key", "x-idempotency-key"];

/// The key that the client chose, if it did. Given several times it must be the same each time.
pub(super) fn key(headers: &HeaderMap) -> Result<Option<Key>, Problem> {
    let mut found: Option<Key> = None;
    for value in NAMES.iter().flat_map(|name| headers.get_all(*name)) {
        let text = text(value).map_err(invalid)?;
        let key = Key::explicit(text).map_err(|error| invalid(&error.to_string()))?;
        if found.as_ref().is_some_and(|found| *found != key) {
            return Err(invalid("the key is given twice, and differently"));
        }
        found = Some(key);
    }
    Ok(found)
}

fn invalid(why: &str) -> Problem {
    Problem::new(ProblemKind::InvalidIdempotencyKey, why)
}

fn text(value: &HeaderValue) -> Result<String, &'static str> {
    let text = value.to_str().map_err(|_| "a key is made of printable ASCII characters alone")?.trim();
    match text.strip_prefix('"') {
        Some(rest) => quoted(rest),
        None if text.contains(|c: char| c == '"' || c == ',' || c.is_whitespace()) => {
            Err("a key with white space, commas or quotes stands in double quotes, as RFC 8941 has it")
        }
        None => Ok(text.to_owned()),
    }
}

/// The rest of an RFC 8941 string (§3.3.3) after its opening quote. Parameters are not part of the draft's header.
fn quoted(rest: &str) -> Result<String, &'static str> {
    let mut text = String::with_capacity(rest.len());
    let mut chars = rest.chars();
    loop {
        match chars.next() {
            None => return Err("the closing quote is missing"),
            Some('"') if chars.as_str().is_empty() => return Ok(text),
            Some('"') => return Err("something stands after the closing quote"),
            Some('\\') => match chars.next() {
                Some(c @ ('"' | '\\')) => text.push(c),
                _ => return Err("a backslash stands only before a quote or a backslash"),
            },
            Some(c) => text.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(values: &[(&'static str, &str)]) -> Result<Option<String>, String> {
        let mut headers = HeaderMap::new();
        for (name, value) in values {
            headers.append(*name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        key(&headers).map(|key| key.map(|key| key.to_string())).map_err(|problem| problem.detail)
    }

    #[test]
    fn a_key_may_be_quoted_or_bare_and_have_either_name() {
        let longest = "x".repeat(255);
        for (value, expected) in [
            ("job-7", "job-7"),
            ("\"job-7\"", "job-7"),
            ("  job-7 ", "job-7"),
            (r#""a \"b\" \\ c, d""#, r#"a "b" \ c, d"#),
            ("user123_create_study_20260112_143000", "user123_create_study_20260112_143000"),
            (&longest, &longest),
        ] {
            for name in NAMES {
                assert_eq!(read(&[(name, value)]), Ok(Some(expected.to_owned())), "{name}: {value}");
            }
        }
        assert_eq!(read(&[]), Ok(None));
        assert_eq!(read(&[(NAMES[0], "a"), (NAMES[1], "\"a\"")]), Ok(Some("a".to_owned())));
    }

    #[test]
    fn a_malformed_key_is_refused() {
        let long = "x".repeat(256);
        for value in
            ["", "\"\"", "\"a", "a\"", "\"a\"b", "\"a\";p=1", "\"a\\n\"", "a b", "a,b", "é", "auto:1", &long]
        {
            assert!(read(&[(NAMES[0], value)]).is_err(), "{value}");
        }
        assert!(read(&[(NAMES[0], "a"), (NAMES[1], "b")]).unwrap_err().contains("twice"));
        assert!(read(&[(NAMES[0], "a"), (NAMES[0], "b")]).is_err());
    }
}

//! The message of EIP-4361, read by its grammar and by nothing looser: what a wallet showed to its owner, and what we read, must be one thing.

use alloy_primitives::Address;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// The longest message that is looked at.
pub const MAX_MESSAGE_BYTES: usize = 8 * 1024;
const MAX_RESOURCES: usize = 64;
const NONCE_MIN_CHARS: usize = 8;
const NONCE_MAX_CHARS: usize = 128;

const HEADER: &str = " wants you to sign in with your Ethereum account:";

/// A sign-in message, with its parts as they were signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    /// The scheme before the domain, where there is one.
    pub scheme: Option<&'a str>,
    /// RFC 3986 authority of whoever asks for the signature.
    pub domain: &'a str,
    /// Who signs.
    pub address: Address,
    /// What the user agreed to.
    pub statement: Option<&'a str>,
    /// What the sign-in is for.
    pub uri: &'a str,
    /// EIP-155 id of the chain that the session is bound to.
    pub chain_id: u64,
    /// Against replays.
    pub nonce: &'a str,
    /// When the message was made.
    pub issued_at: OffsetDateTime,
    /// From when on it is no longer good.
    pub expiration_time: Option<OffsetDateTime>,
    /// Until when it is not good yet.
    pub not_before: Option<OffsetDateTime>,
    /// The asker's own id of this sign-in.
    pub request_id: Option<&'a str>,
    /// What the user wishes to have resolved.
    pub resources: Vec<&'a str>,
}

/// Where a text stops being a message of EIP-4361.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// It is longer than [`MAX_MESSAGE_BYTES`].
    #[error("the message has more than {MAX_MESSAGE_BYTES} bytes")]
    TooLong,
    /// The first line.
    #[error("the first line is not `[scheme://]domain{HEADER}`")]
    Header,
    /// The second line.
    #[error("the second line is not an address with its EIP-55 checksum")]
    Address,
    /// The lines around the statement.
    #[error("the statement is not one line of printable characters between two empty lines")]
    Statement,
    /// A line is missing, or another stands in its place.
    #[error("a line `{0}…` is expected; the order of the lines is fixed")]
    Missing(&'static str),
    /// A line's value is not what it should be.
    #[error("the line `{0}…` has a value that its grammar does not allow")]
    Value(&'static str),
    /// Only version 1 exists.
    #[error("the version is not 1")]
    Version,
    /// More lines than there may be.
    #[error("something stands after the last line")]
    Trailing,
}

impl<'a> Message<'a> {
    /// Reads a message.
    ///
    /// # Errors
    /// [`ParseError`] names the line.
    pub fn parse(text: &'a str) -> Result<Self, ParseError> {
        if text.len() > MAX_MESSAGE_BYTES {
            return Err(ParseError::TooLong);
        }
        let mut lines = Lines(text.split('\n').peekable());
        let (scheme, domain) = header(lines.next().unwrap_or_default()).ok_or(ParseError::Header)?;
        let address = lines
            .next()
            .and_then(|line| Address::parse_checksummed(line, None).ok())
            .ok_or(ParseError::Address)?;
        let statement = statement(&mut lines)?;
        let uri = lines.field("URI: ", is_uri)?;
        if lines.field("Version: ", |_| true)? != "1" {
            return Err(ParseError::Version);
        }
        let chain_id =
            lines.field("Chain ID: ", is_number)?.parse().map_err(|_| ParseError::Value("Chain ID: "))?;
        let nonce = lines.field("Nonce: ", is_nonce)?;
        let issued_at = lines.time("Issued At: ")?.ok_or(ParseError::Missing("Issued At: "))?;
        let expiration_time = lines.time("Expiration Time: ")?;
        let not_before = lines.time("Not Before: ")?;
        let request_id = lines.optional("Request ID: ", |id| id.bytes().all(is_pchar))?;
        let resources = resources(&mut lines)?;
        if lines.next().is_some() {
            return Err(ParseError::Trailing);
        }
        Ok(Self {
            scheme,
            domain,
            address,
            statement,
            uri,
            chain_id,
            nonce,
            issued_at,
            expiration_time,
            not_before,
            request_id,
            resources,
        })
    }
}

struct Lines<'a>(std::iter::Peekable<std::str::Split<'a, char>>);

impl<'a> Lines<'a> {
    fn next(&mut self) -> Option<&'a str> {
        self.0.next()
    }

    fn optional(
        &mut self,
        tag: &'static str,
        is_value: impl Fn(&str) -> bool,
    ) -> Result<Option<&'a str>, ParseError> {
        let Some(value) = self.0.peek().and_then(|line| line.strip_prefix(tag)) else { return Ok(None) };
        self.0.next();
        if is_value(value) { Ok(Some(value)) } else { Err(ParseError::Value(tag)) }
    }

    fn field(&mut self, tag: &'static str, is_value: impl Fn(&str) -> bool) -> Result<&'a str, ParseError> {
        self.optional(tag, is_value)?.ok_or(ParseError::Missing(tag))
    }

    fn time(&mut self, tag: &'static str) -> Result<Option<OffsetDateTime>, ParseError> {
        let Some(value) = self.optional(tag, |_| true)? else { return Ok(None) };
        OffsetDateTime::parse(value, &Rfc3339).map(Some).map_err(|_| ParseError::Value(tag))
    }
}

fn header(line: &str) -> Option<(Option<&str>, &str)> {
    let asker = line.strip_suffix(HEADER)?;
    let (scheme, domain) = match asker.split_once("://") {
        Some((scheme, domain)) if is_scheme(scheme) => (Some(scheme), domain),
        Some(_) => return None,
        None => (None, asker),
    };
    (!domain.is_empty() && domain.bytes().all(is_authority)).then_some((scheme, domain))
}

/// An empty line; the statement and an empty line, or an empty line alone.
fn statement<'a>(lines: &mut Lines<'a>) -> Result<Option<&'a str>, ParseError> {
    if lines.next() != Some("") {
        return Err(ParseError::Statement);
    }
    match lines.next() {
        Some("") => Ok(None),
        Some(text) if text.bytes().all(is_statement) && lines.next() == Some("") => Ok(Some(text)),
        _ => Err(ParseError::Statement),
    }
}

fn resources<'a>(lines: &mut Lines<'a>) -> Result<Vec<&'a str>, ParseError> {
    const TAG: &str = "Resources:";
    let mut found = Vec::new();
    if lines.0.next_if_eq(&TAG).is_none() {
        return Ok(found);
    }
    while let Some(uri) = lines.optional("- ", is_uri)? {
        if found.len() == MAX_RESOURCES {
            return Err(ParseError::Value(TAG));
        }
        found.push(uri);
    }
    Ok(found)
}

fn is_number(text: &str) -> bool {
    !text.is_empty()
        && text.bytes().all(|byte| byte.is_ascii_digit())
        && (text == "0" || !text.starts_with('0'))
}

fn is_nonce(text: &str) -> bool {
    (NONCE_MIN_CHARS..=NONCE_MAX_CHARS).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

fn is_scheme(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphabetic())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.'))
}

/// A scheme, a colon, and only characters that RFC 3986 has.
fn is_uri(text: &str) -> bool {
    text.split_once(':').is_some_and(|(scheme, rest)| {
        is_scheme(scheme) && rest.bytes().all(|byte| byte == b'%' || is_reserved(byte) || is_unreserved(byte))
    })
}

const fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

const fn is_sub_delimiter(byte: u8) -> bool {
    matches!(byte, b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b';' | b'=')
}

const fn is_reserved(byte: u8) -> bool {
    is_sub_delimiter(byte) || matches!(byte, b':' | b'/' | b'?' | b'#' | b'[' | b']' | b'@')
}

const fn is_authority(byte: u8) -> bool {
    is_unreserved(byte) || is_sub_delimiter(byte) || matches!(byte, b'%' | b':' | b'[' | b']' | b'@')
}

const fn is_pchar(byte: u8) -> bool {
    is_unreserved(byte) || is_sub_delimiter(byte) || matches!(byte, b'%' | b':' | b'@')
}

const fn is_statement(byte: u8) -> bool {
    byte == b' ' || is_reserved(byte) || is_unreserved(byte)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use time::macros::datetime;

    use super::*;

    /// The example of EIP-4361.
    const EXAMPLE: &str = "example.com wants you to sign in with your Ethereum account:\n\
        0xC02aaA39b223FE8D0A0e5C4F27eAD9083C756Cc2\n\
        \n\
        I accept the ExampleOrg Terms of Service: https://example.com/tos\n\
        \n\
        URI: https://example.com/login\n\
        Version: 1\n\
        Chain ID: 1\n\
        Nonce: 32891756\n\
        Issued At: 2021-09-30T16:25:24Z\n\
        Resources:\n\
        - ipfs://bafybeiemxf5abjwjbikoz4mc3a3dla6ual3jsgpdr4cjr3oz3evfyavhwq/\n\
        - https://example.com/my-web2-claim.json";

    #[test]
    fn the_examples_of_the_standard_are_read() {
        let message = Message::parse(EXAMPLE).unwrap();
        assert_eq!(message.domain, "example.com");
        assert_eq!(message.scheme, None);
        assert_eq!(
            message.statement,
            Some("I accept the ExampleOrg Terms of Service: https://example.com/tos")
        );
        assert_eq!((message.chain_id, message.nonce), (1, "32891756"));
        assert_eq!(message.issued_at, datetime!(2021-09-30 16:25:24 UTC));
        assert_eq!(message.resources.len(), 2);
        let with_port = EXAMPLE.replacen("example.com", "example.com:3388", 1);
        assert_eq!(Message::parse(&with_port).unwrap().domain, "example.com:3388");
        let with_scheme = EXAMPLE.replacen("example.com", "https://example.com", 1);
        let message = Message::parse(&with_scheme).unwrap();
        assert_eq!((message.scheme, message.domain), (Some("https"), "example.com"));
    }

    #[test]
    fn every_optional_line_may_be_there_and_may_be_missing() {
        let full = EXAMPLE.replace(
            "Resources:",
            "Expiration Time: 2021-10-01T00:00:00Z\nNot Before: 2021-09-30T00:00:00+02:00\nRequest ID: some-id\nResources:",
        );
        let message = Message::parse(&full).unwrap();
        assert_eq!(message.expiration_time, Some(datetime!(2021-10-01 0:00 UTC)));
        assert_eq!(message.not_before, Some(datetime!(2021-09-29 22:00 UTC)));
        assert_eq!(message.request_id, Some("some-id"));
        let (bare, _) = EXAMPLE.split_once("\nResources:").unwrap();
        let bare = bare.replace("I accept the ExampleOrg Terms of Service: https://example.com/tos\n", "");
        let message = Message::parse(&bare).unwrap();
        assert_eq!((message.statement, message.resources.len()), (None, 0));
    }

    #[test]
    fn what_the_grammar_does_not_allow_is_refused_by_line() {
        for (from, to, error) in [
            (" wants you to", " wants  you to", ParseError::Header),
            ("example.com wants", "exa mple.com wants", ParseError::Header),
            ("example.com wants", "://example.com wants", ParseError::Header),
            ("example.com wants", "example.com/path wants", ParseError::Header),
            ("example.com wants", " wants", ParseError::Header),
            ("0xC02aaA", "0xc02aaA", ParseError::Address),
            ("0xC02aaA", "C02aaA", ParseError::Address),
            ("\n\nI accept", "\nI accept", ParseError::Statement),
            ("I accept", "I \u{202e}accept", ParseError::Statement),
            ("I accept", "I\taccept", ParseError::Statement),
            ("\n\nURI", "\nURI", ParseError::Statement),
            ("URI: https", "URI: ht tps", ParseError::Value("URI: ")),
            ("URI: https://example.com/login", "URI: login", ParseError::Value("URI: ")),
            ("URI: https://example.com/login", "URI: https://example.com/lo gin", ParseError::Value("URI: ")),
            ("Version: 1\n", "Version: 2\n", ParseError::Version),
            ("Version: 1\n", "Version: 1\r\n", ParseError::Version),
            ("Version: 1\n", "", ParseError::Missing("Version: ")),
            ("Chain ID: 1\n", "Chain ID: 0x1\n", ParseError::Value("Chain ID: ")),
            ("Chain ID: 1\n", "Chain ID: 01\n", ParseError::Value("Chain ID: ")),
            ("Chain ID: 1\n", "Chain ID: +1\n", ParseError::Value("Chain ID: ")),
            ("Chain ID: 1\n", "Chain ID: 18446744073709551616\n", ParseError::Value("Chain ID: ")),
            ("Nonce: 32891756", "Nonce: 3289175", ParseError::Value("Nonce: ")),
            ("Nonce: 32891756", "Nonce: 3289-1756", ParseError::Value("Nonce: ")),
            ("2021-09-30T16:25:24Z", "2021-09-30 16:25:24", ParseError::Value("Issued At: ")),
            ("2021-09-30T16:25:24Z", "2021-13-30T16:25:24Z", ParseError::Value("Issued At: ")),
            ("\nResources:", "\nRequest ID: a b\nResources:", ParseError::Value("Request ID: ")),
            ("- ipfs:", "ipfs:", ParseError::Trailing),
            ("claim.json", "claim.json\n", ParseError::Trailing),
            ("claim.json", "claim.json\nNonce: 12345678", ParseError::Trailing),
        ] {
            let text = EXAMPLE.replacen(from, to, 1);
            assert_ne!(text, EXAMPLE, "{from}");
            assert_eq!(Message::parse(&text), Err(error), "{from:?} → {to:?}");
        }
        assert_eq!(Message::parse(&"a".repeat(MAX_MESSAGE_BYTES + 1)), Err(ParseError::TooLong));
        assert_eq!(Message::parse(""), Err(ParseError::Header));
    }

    #[test]
    fn a_nonce_and_a_list_of_resources_end_somewhere() {
        let nonce = |chars: usize| EXAMPLE.replace("32891756", &"a".repeat(chars));
        assert!(Message::parse(&nonce(NONCE_MAX_CHARS)).is_ok());
        assert_eq!(Message::parse(&nonce(NONCE_MAX_CHARS + 1)), Err(ParseError::Value("Nonce: ")));
        let (before, _) = EXAMPLE.split_once("- ipfs:").unwrap();
        let resources = |count: usize| format!("{before}{}", vec!["- ipfs://a"; count].join("\n"));
        assert_eq!(Message::parse(&resources(MAX_RESOURCES)).unwrap().resources.len(), MAX_RESOURCES);
        assert_eq!(Message::parse(&resources(MAX_RESOURCES + 1)), Err(ParseError::Value("Resources:")));
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(text in any::<String>()) {
            let _ = Message::parse(&text);
        }

        #[test]
        fn nor_does_a_message_that_was_torn_and_mended(at in 0..EXAMPLE.len(), len in 0usize..40, patch in "\\PC{0,12}|[\\x00-\\x7f]{0,12}") {
            let end = (at + len).min(EXAMPLE.len());
            let mut bytes = EXAMPLE.as_bytes().to_vec();
            bytes.splice(at..end, patch.bytes());
            if let Ok(text) = std::str::from_utf8(&bytes) {
                let _ = Message::parse(text);
            }
        }
    }
}

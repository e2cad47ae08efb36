//! What was asked, in 32 bytes: two requests have the same fingerprint exactly when they ask the same.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

/// JSON that is nested deeper is compared byte by byte: each level is looked at once more on the way down.
const DEPTH_MAX: usize = 64;

/// SHA-256 over everything that makes a request what it is.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint([u8; 32]);

/// What a fingerprint is taken of.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// The HTTP method.
    pub method: &'a str,
    /// The path as it was sent, without the query.
    pub path: &'a str,
    /// Decoded pairs of the query, in the order in which they were sent. Their order counts only among those of one name.
    pub query: &'a [(String, String)],
    /// Whether the body is declared to be JSON.
    pub is_json: bool,
    /// The body.
    pub body: &'a [u8],
    /// The API's version that was asked.
    pub api_version: &'a str,
}

impl Fingerprint {
    /// The fingerprint of a request.
    #[must_use]
    pub fn of(asked: &Asked<'_>) -> Self {
        let mut hash = Sha256::new();
        part(&mut hash, asked.method.as_bytes());
        part(&mut hash, asked.path.as_bytes());
        let mut query: Vec<&(String, String)> = asked.query.iter().collect();
        query.sort_by(|a, b| a.0.cmp(&b.0)); // stable: `a=1&a=2` stays what it is
        hash.update(count(query.len()));
        for (name, value) in query {
            part(&mut hash, name.as_bytes());
            part(&mut hash, value.as_bytes());
        }
        match asked.is_json.then(|| canonical_json(asked.body)).flatten() {
            Some(json) => {
                part(&mut hash, b"json");
                part(&mut hash, &json);
            }
            None => {
                part(&mut hash, b"bytes");
                part(&mut hash, asked.body);
            }
        }
        part(&mut hash, asked.api_version.as_bytes());
        Self(hash.finalize().into())
    }

    /// From the bytes that were kept.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The digest.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fingerprint({self})")
    }
}

/// Each part with its length in front: no two lists of parts run together into the same bytes.
fn part(hash: &mut Sha256, bytes: &[u8]) {
    hash.update(count(bytes.len()));
    hash.update(bytes);
}

fn count(count: usize) -> [u8; 8] {
    (count as u64).to_be_bytes()
}

/// One spelling for everything that is the same JSON: no white space, names sorted, strings escaped in one way (as RFC 8785). Numbers
/// stay as they are written, digit for digit: as doubles, 2^53 and 2^53 + 1 would be the same request.
///
/// `None` when it is no JSON, nested too deeply, or has a name twice in one object, whose meaning nobody can tell.
#[must_use]
pub fn canonical_json(json: &[u8]) -> Option<Vec<u8>> {
    let value: &RawValue = serde_json::from_slice(json).ok()?;
    let mut out = Vec::with_capacity(json.len());
    write(value, &mut out, DEPTH_MAX)?;
    Some(out)
}

fn write(value: &RawValue, out: &mut Vec<u8>, depth_left: usize) -> Option<()> {
    let text = value.get();
    match text.as_bytes().first()? {
        b'{' => {
            let depth_left = depth_left.checked_sub(1)?;
            let Object(members) = serde_json::from_str(text).ok()?;
            out.push(b'{');
            for (at, (name, value)) in members.iter().enumerate() {
                if at > 0 {
                    out.push(b',');
                }
                serde_json::to_writer(&mut *out, name).ok()?;
                out.push(b':');
                write(value, out, depth_left)?;
            }
            out.push(b'}');
        }
        b'[' => {
            let depth_left = depth_left.checked_sub(1)?;
            let items: Vec<&RawValue> = serde_json::from_str(text).ok()?;
            out.push(b'[');
            for (at, item) in items.into_iter().enumerate() {
                if at > 0 {
                    out.push(b',');
                }
                write(item, out, depth_left)?;
            }
            out.push(b']');
        }
        b'"' => {
            let string: String = serde_json::from_str(text).ok()?;
            serde_json::to_writer(out, &string).ok()?;
        }
        _ => out.extend_from_slice(text.as_bytes()),
    }
    Some(())
}

/// An object's members by name, each name once.
struct Object<'a>(BTreeMap<String, &'a RawValue>);

impl<'de> Deserialize<'de> for Object<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Members)
    }
}

struct Members;

impl<'de> Visitor<'de> for Members {
    type Value = Object<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object that has each name once")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = BTreeMap::new();
        while let Some((name, value)) = map.next_entry::<String, &'de RawValue>()? {
            if members.insert(name, value).is_some() {
                return Err(A::Error::custom("a name stands twice"));
            }
        }
        Ok(Object(members))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    fn canonical(json: &str) -> Option<String> {
        canonical_json(json.as_bytes()).map(|bytes| String::from_utf8(bytes).unwrap())
    }

    #[test]
    fn order_and_white_space_do_not_matter_and_every_value_does() {
        for (written, expected) in [
            (
                " { \"b\" : [ 1 , 2 ] ,\n\"a\" : { \"d\":null, \"c\":true } } ",
                r#"{"a":{"c":true,"d":null},"b":[1,2]}"#,
            ),
            (r#""A\/é""#, r#""A/é""#),
            ("[]", "[]"),
            ("{}", "{}"),
            ("9007199254740993", "9007199254740993"),
            ("0.10000000000000000000000000000000000001", "0.10000000000000000000000000000000000001"),
            (
                "115792089237316195423570985008687907853269984665640564039457584007913129639935",
                "115792089237316195423570985008687907853269984665640564039457584007913129639935",
            ),
        ] {
            assert_eq!(canonical(written).as_deref(), Some(expected), "{written}");
        }
        for (one, other) in [
            ("[1,2]", "[2,1]"),
            ("9007199254740992", "9007199254740993"),
            ("1", "1.0"),
            ("\"1\"", "1"),
            (r#"{"a":null}"#, "{}"),
            ("0.1", "0.10000000000000001"),
        ] {
            assert_ne!(canonical(one), canonical(other), "{one} {other}");
        }
    }

    #[test]
    fn what_nobody_can_tell_the_meaning_of_is_not_canonical() {
        let deep = format!("{}{}", "[".repeat(DEPTH_MAX + 1), "]".repeat(DEPTH_MAX + 1));
        let endless = "[".repeat(100_000);
        for json in
            ["", "{", r#"{"a":1,"a":2}"#, r#"[{"a":1,"a":1}]"#, "01", "nul", r#""\ud800""#, &deep, &endless]
        {
            assert_eq!(canonical(json), None, "{json:.40}");
        }
    }

    #[test]
    fn each_part_of_a_request_counts_and_its_spelling_does_not() {
        let pairs = |query: &[(&str, &str)]| -> Vec<(String, String)> {
            query.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
        };
        let query = pairs(&[("a", "1"), ("b", "2"), ("a", "3")]);
        let asked = Asked {
            method: "POST",
            path: "/things",
            query: &query,
            is_json: true,
            body: br#"{"x":1,"y":"2"}"#,
            api_version: "v1",
        };
        let first = Fingerprint::of(&asked);
        let reordered = pairs(&[("b", "2"), ("a", "1"), ("a", "3")]);
        for same in
            [Asked { query: &reordered, ..asked }, Asked { body: b"{ \"y\": \"2\",\r\n \"x\": 1 }", ..asked }]
        {
            assert_eq!(Fingerprint::of(&same), first, "{same:?}");
        }
        let (swapped, fewer) = (pairs(&[("a", "3"), ("b", "2"), ("a", "1")]), pairs(&[("a", "1")]));
        for different in [
            Asked { method: "PUT", ..asked },
            Asked { path: "/thing", ..asked },
            Asked { query: &swapped, ..asked },
            Asked { query: &fewer, ..asked },
            Asked { body: br#"{"x":1,"y":2}"#, ..asked },
            Asked { body: b"", ..asked },
            Asked { is_json: false, ..asked },
            Asked { api_version: "v2", ..asked },
        ] {
            assert_ne!(Fingerprint::of(&different), first, "{different:?}");
        }
    }

    fn json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<String>().prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 6, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                proptest::collection::btree_map(any::<String>(), inner, 0..6)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn canonical_json_means_the_same_and_is_its_own_canonical_form(value in json()) {
            let pretty = serde_json::to_vec_pretty(&value).unwrap();
            let canonical = canonical_json(&pretty).unwrap();
            prop_assert_eq!(&serde_json::from_slice::<Value>(&canonical).unwrap(), &value);
            prop_assert_eq!(canonical_json(&serde_json::to_vec(&value).unwrap()).unwrap(), canonical.clone());
            prop_assert_eq!(canonical_json(&canonical).unwrap(), canonical);
        }
    }
}

//! The trace that a request belongs to: W3C Trace Context (<https://www.w3.org/TR/trace-context/>).
//!
//! A `traceparent` that is not exactly what §3.2 says begins a new trace: a broken one must not tie strangers together. `tracestate` goes
//! along as it came, and only with a `traceparent` that was taken over (§3.3).

use std::fmt;

use axum::http::{HeaderMap, HeaderName, HeaderValue};

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");
/// What a server says of its own span (W3C Trace Context Level 2 draft, §3.4).
const TRACERESPONSE: HeaderName = HeaderName::from_static("traceresponse");

/// The length of a version 00 `traceparent`: four fields of hexadecimal digits with a hyphen between them.
const TRACEPARENT_BYTES: usize = 55;
/// What has to be passed on of a `tracestate` at least (§3.3.1.5); a longer one is dropped whole.
const TRACESTATE_MAX_BYTES: usize = 512;
/// The most members of a `tracestate` (§3.3.1.1).
const TRACESTATE_MAX_MEMBERS: usize = 32;
/// The one flag that version 00 defines.
const SAMPLED: u8 = 0x01;

/// Request extension: a trace, and this request's own span in it. Shown, it is the `traceparent` of whatever the request causes elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Trace {
    id: u128,
    span_id: u64,
    flags: u8,
    state: Option<HeaderValue>,
}

impl Trace {
    /// A new span: in the caller's trace where the request names one, else in a trace of its own.
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        match parent(headers) {
            Some((id, flags)) => Self { id, flags, span_id: span_id(), state: state(headers) },
            None => Self { id: rand::random::<u128>().max(1), flags: 0, span_id: span_id(), state: None },
        }
    }

    /// The trace's id, 32 hexadecimal digits.
    pub(crate) fn id(&self) -> impl fmt::Display + use<> {
        Hex::<32>(self.id)
    }

    /// This request's span, 16 hexadecimal digits.
    pub(crate) fn span_id(&self) -> impl fmt::Display + use<> {
        Hex::<16>(u128::from(self.span_id))
    }

    /// Tells whoever is on the other side: as `traceparent` and `tracestate`, and as the `traceresponse` of an answer.
    pub(crate) fn tell(self, headers: &mut HeaderMap) {
        if let Ok(parent) = HeaderValue::try_from(self.to_string()) {
            headers.insert(TRACERESPONSE, parent.clone());
            headers.insert(TRACEPARENT, parent);
        }
        if let Some(state) = self.state {
            headers.insert(TRACESTATE, state);
        }
    }
}

impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{:032x}-{:016x}-{:02x}", self.id, self.span_id, self.flags)
    }
}

struct Hex<const DIGITS: usize>(u128);

impl<const DIGITS: usize> fmt::Display for Hex<DIGITS> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:0DIGITS$x}", self.0)
    }
}

/// All zeros is no span.
fn span_id() -> u64 {
    rand::random::<u64>().max(1)
}

/// The caller's trace and its flags. Of several `traceparent`s none can be believed.
fn parent(headers: &HeaderMap) -> Option<(u128, u8)> {
    let mut given = headers.get_all(TRACEPARENT).iter();
    let (value, None) = (given.next()?, given.next()) else { return None };
    let bytes = value.as_bytes();
    let (fields, rest) = bytes.split_at_checked(TRACEPARENT_BYTES)?;
    let version = hex(&fields[..2])?;
    let is_whole = match version {
        0x00 => rest.is_empty(),
        0xff => false,
        // A later version may say more, after another hyphen (§4.3).
        _ => rest.first().is_none_or(|byte| *byte == b'-'),
    };
    if !is_whole || [2, 35, 52].iter().any(|at| fields[*at] != b'-') {
        return None;
    }
    let (id, parent_id) = (hex(&fields[3..35])?, hex(&fields[36..52])?);
    let flags = u8::try_from(hex(&fields[53..])?).ok()?;
    (id != 0 && parent_id != 0).then_some((id, flags & SAMPLED))
}

/// Lower case alone (§3.2.2).
fn hex(digits: &[u8]) -> Option<u128> {
    digits.iter().try_fold(0, |number, digit| {
        let value = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some((number << 4) | u128::from(value))
    })
}

/// The vendors' own, several headers as one (RFC 9110 §5.3); dropped whole when it is not well-formed.
fn state(headers: &HeaderMap) -> Option<HeaderValue> {
    let mut given = headers.get_all(TRACESTATE).iter();
    let first = given.next()?;
    let whole = match given.next() {
        None => first.clone(),
        Some(second) => {
            let all: Vec<&[u8]> =
                [first, second].into_iter().chain(given).map(HeaderValue::as_bytes).collect();
            HeaderValue::from_bytes(&all.join(&b","[..])).ok()?
        }
    };
    let text = whole.to_str().ok().filter(|text| (1..=TRACESTATE_MAX_BYTES).contains(&text.len()))?;
    let members = || text.split(',').map(str::trim).filter(|member| !member.is_empty());
    let is_well_formed =
        (1..=TRACESTATE_MAX_MEMBERS).contains(&members().count()) && members().all(is_member);
    is_well_formed.then_some(whole)
}

/// `key=value` (§3.3.1.3).
fn is_member(member: &str) -> bool {
    member.split_once('=').is_some_and(|(key, value)| {
        key.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
            && key
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-*/@".contains(&byte))
            && !value.is_empty()
            && !value.contains('=')
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIVEN: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    const ID: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

    fn trace(headers: &[(&'static str, &str)]) -> Trace {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, HeaderValue::from_str(value).unwrap());
        }
        Trace::of(&map)
    }

    #[test]
    fn a_trace_is_gone_on_with_under_a_span_of_our_own() {
        let trace = trace(&[("traceparent", GIVEN)]);
        assert_eq!((trace.id().to_string().as_str(), trace.flags), (ID, SAMPLED));
        assert_ne!(trace.span_id().to_string(), "00f067aa0ba902b7");
        let mut answer = HeaderMap::new();
        let expected = format!("00-{ID}-{}-01", trace.span_id());
        trace.tell(&mut answer);
        assert_eq!(answer["traceparent"], expected);
        assert_eq!(answer["traceresponse"], expected);
        assert_eq!(answer.get("tracestate"), None);
    }

    #[test]
    fn a_later_version_is_read_as_far_as_it_is_known() {
        for given in [
            format!("01-{ID}-00f067aa0ba902b7-09"),
            format!("cc-{ID}-00f067aa0ba902b7-01-what-the-future-says"),
        ] {
            let trace = trace(&[("traceparent", &given)]);
            assert_eq!((trace.id().to_string().as_str(), trace.flags), (ID, SAMPLED), "{given}");
        }
    }

    #[test]
    fn a_broken_parent_begins_a_new_trace_and_its_state_is_dropped() {
        for broken in [
            "",
            "00",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-011",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e473g-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00_4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01.more",
        ] {
            let trace = trace(&[("traceparent", broken), ("tracestate", "vendor=1")]);
            assert_ne!(trace.id().to_string(), ID, "{broken}");
            assert_eq!((trace.flags, &trace.state), (0, &None), "{broken}");
        }
        let twice = trace(&[("traceparent", GIVEN), ("traceparent", GIVEN)]);
        assert_ne!(twice.id().to_string(), ID, "two parents are none");
    }

    #[test]
    fn a_state_goes_along_as_it_came_or_not_at_all() {
        let state = |values: &[&str]| {
            let mut given = vec![("traceparent", GIVEN)];
            given.extend(values.iter().map(|value| ("tracestate", *value)));
            trace(&given).state.map(|state| state.to_str().unwrap().to_owned())
        };
        assert_eq!(
            state(&["rojo=00f067aa0ba902b7,congo=t61rcWkgMzE"]).as_deref(),
            Some("rojo=00f067aa0ba902b7,congo=t61rcWkgMzE")
        );
        assert_eq!(state(&["a=1", "b@c=2"]).as_deref(), Some("a=1,b@c=2"));
        let many = vec!["a=1"; TRACESTATE_MAX_MEMBERS + 1].join(",");
        let long = format!("a={}", "x".repeat(TRACESTATE_MAX_BYTES));
        for broken in ["", "a", "A=1", "a=", "a=b=c", "=1", &many, &long] {
            assert_eq!(state(&[broken]), None, "{broken}");
        }
    }

    #[test]
    fn no_two_requests_are_one_span() {
        let (one, other) = (trace(&[]), trace(&[]));
        assert_ne!(one.id().to_string(), other.id().to_string());
        assert_ne!(one.span_id().to_string(), other.span_id().to_string());
    }
}

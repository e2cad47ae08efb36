//! The trace that a request belongs to: W3C Trace Context (<https://www.w3.org/TR/trace-context/>).
//!
//! A `traceparent` that is not exactly what §3.2 says begins a new trace: a broken one must not tie strangers together. `tracestate` goes
//! along as it came, and only with a `traceparent` that was taken over (§3.3).

use std::fmt;
use std::num::NonZeroU32;

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
    /// The caller's span, where the trace is one that the caller named.
    parent_id: Option<u64>,
    flags: u8,
    state: Option<HeaderValue>,
}

impl Trace {
    /// A new span: in the caller's trace where the request names one, else in a trace of its own. Whether a caller's trace is sampled is the
    /// caller's to say; of those that begin here one in `sampled_one_in` is, and none without it.
    pub(crate) fn of(headers: &HeaderMap, sampled_one_in: Option<NonZeroU32>) -> Self {
        let span_id = span_id();
        if let Some((id, parent_id, flags)) = parent(headers) {
            return Self { id, span_id, parent_id: Some(parent_id), flags, state: state(headers) };
        }
        let id = rand::random::<u128>().max(1);
        let is_sampled = sampled_one_in.is_some_and(|one_in| id.is_multiple_of(u128::from(one_in.get())));
        Self { id, span_id, parent_id: None, flags: if is_sampled { SAMPLED } else { 0 }, state: None }
    }

    /// Whether the trace is kept by whoever collects spans.
    pub(crate) fn is_sampled(&self) -> bool {
        self.flags & SAMPLED != 0
    }

    /// The trace's id, 32 hexadecimal digits.
    pub(crate) fn id(&self) -> impl fmt::Display + use<> {
        Hex::<32>(self.id)
    }

    /// This request's span, 16 hexadecimal digits.
    pub(crate) fn span_id(&self) -> impl fmt::Display + use<> {
        Hex::<16>(u128::from(self.span_id))
    }

    /// The caller's span, 16 hexadecimal digits, where the request named one.
    pub(crate) fn parent_id(&self) -> Option<impl fmt::Display + use<>> {
        self.parent_id.map(|id| Hex::<16>(u128::from(id)))
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

/// The caller's trace, their span in it, and its flags. Of several `traceparent`s none can be believed.
fn parent(headers: &HeaderMap) -> Option<(u128, u64, u8)> {
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
    let (id, parent_id) = (hex(&fields[3..35])?, u64::try_from(hex(&fields[36..52])?).ok()?);
    let flags = u8::try_from(hex(&fields[53..])?).ok()?;
    (id != 0 && parent_id != 0).then_some((id, parent_id, flags & SAMPLED))
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
        Trace::of(&map, None)
    }

    #[test]
    fn a_trace_is_gone_on_with_under_a_span_of_our_own() {
        let trace = trace(&[("traceparent", GIVEN)]);
        assert_eq!((trace.id().to_string().as_str(), trace.flags), (ID, SAMPLED));
        assert_ne!(trace.span_id().to_string(), "00f067aa0ba902b7");
        assert_eq!(trace.parent_id().map(|id| id.to_string()).as_deref(), Some("00f067aa0ba902b7"));
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
            assert_eq!((trace.flags, trace.parent_id, &trace.state), (0, None, &None), "{broken}");
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
    fn the_caller_decides_what_of_their_trace_is_sampled_and_the_configuration_what_of_ours_is() {
        let of = |given: Option<&str>, one_in| {
            let mut map = HeaderMap::new();
            map.extend(given.map(|value| (TRACEPARENT, HeaderValue::from_str(value).unwrap())));
            Trace::of(&map, NonZeroU32::new(one_in)).is_sampled()
        };
        let unsampled = GIVEN.replace("-01", "-00");
        for one_in in [0, 1, u32::MAX] {
            assert!(of(Some(GIVEN), one_in), "1 in {one_in}");
            assert!(!of(Some(&unsampled), one_in), "1 in {one_in}");
        }
        assert!((0..100).all(|_| of(None, 1) && !of(None, 0)));
        let sampled = (0..10_000).filter(|_| of(None, 10)).count();
        assert!((700..1_300).contains(&sampled), "some 1,000 of 10,000 are: {sampled}");
    }

    #[test]
    fn no_two_requests_are_one_span() {
        let (one, other) = (trace(&[]), trace(&[]));
        assert_ne!(one.id().to_string(), other.id().to_string());
        assert_ne!(one.span_id().to_string(), other.span_id().to_string());
    }
}

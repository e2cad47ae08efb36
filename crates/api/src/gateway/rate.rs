//! How often each address, user and tenant may ask, and how an answer tells it.
//!
//! An address is asked before anybody's credential is looked at, so that guessing costs no more than asking; the user and then the tenant once it
//! is known who asks. A request that one limit refuses is not counted by those after it: one user who asks too much uses up nothing of what
//! the tenant's others have. Where people sign in, an address has a stricter limit besides.
//!
//! Each limit that a request met is told in `RateLimit-Policy` and `RateLimit` (draft-ietf-httpapi-ratelimit-headers), one field line each:
//! `"user";q=100;w=2` is a bucket of 100 requests that is filled in 2 s, `"user";r=99;t=1` that 99 are left and it is full in 1 s.

use axum::http::header::RETRY_AFTER;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::response::{IntoResponse, Response};
use metrics::counter;

use super::quota::{Quota, Rate, Standing};
use crate::problem::{Problem, ProblemKind};

pub(super) const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
pub(super) const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// How often who may ask. Without a limit by default: an operator's configuration has other defaults.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RateLimits {
    /// A client address; of IPv6, a /64.
    pub address: Rate,
    /// A client address, where people sign in.
    pub sign_in: Rate,
    /// A user, whatever credentials are used.
    pub user: Rate,
    /// All users of a tenant together.
    pub tenant: Rate,
}

/// One of the limits: its name in headers and metrics, how it is kept, and what it is, as a header.
#[derive(Debug)]
pub(super) struct Limit {
    name: &'static str,
    who: &'static str,
    rate: Rate,
    quota: Quota,
    policy: HeaderValue,
}

impl Limit {
    /// `who`: as a sentence begins with it.
    pub(super) fn new(name: &'static str, who: &'static str, rate: Rate) -> Option<Self> {
        let quota = Quota::new(rate)?;
        let window = rate.window();
        let window_s = window.as_secs() + u64::from(window.subsec_nanos() > 0);
        let policy = HeaderValue::try_from(format!("\"{name}\";q={};w={window_s}", rate.burst)).ok()?;
        Some(Self { name, who, rate, quota, policy })
    }

    fn refusal(&self, wait_s: u64) -> Response {
        counter!("requests_refused_total", "limit" => self.name).increment(1);
        let Self { who, rate, .. } = self;
        let detail =
            format!("{who} may send {} requests at once, and one more every {:?}", rate.burst, rate.interval);
        let problem = Problem::new(ProblemKind::TooManyRequests, detail).with_remedy(format!(
            "wait {wait_s} s before the next request; `RateLimit` tells how many are left"
        ));
        let mut response = problem.into_response();
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(wait_s));
        response
    }
}

/// What the limits said to a request: at most an address's, a user's and a tenant's.
#[derive(Debug, Default)]
pub(super) struct Asked<'a>([Option<(&'a Limit, Standing)>; 3]);

impl<'a> Asked<'a> {
    /// Counts a request of `key`; the error is the answer to one that may not pass.
    #[allow(clippy::result_large_err)] // it is on its way out
    pub(super) fn ask(&mut self, limit: Option<&'a Limit>, key: u128) -> Result<(), Response> {
        let Some(limit) = limit else { return Ok(()) };
        let standing = limit.quota.ask(key);
        if let Some(place) = self.0.iter_mut().find(|place| place.is_none()) {
            *place = Some((limit, standing));
        }
        standing.retry_after_s.map_or(Ok(()), |wait_s| Err(limit.refusal(wait_s)))
    }

    /// Tells the client where it stands.
    pub(super) fn tell(&self, headers: &mut HeaderMap) {
        for (limit, Standing { remaining, reset_s, .. }) in self.0.iter().flatten() {
            if let Ok(value) = HeaderValue::try_from(format!("\"{}\";r={remaining};t={reset_s}", limit.name))
            {
                headers.append(RATE_LIMIT_POLICY, limit.policy.clone());
                headers.append(RATE_LIMIT, value);
            }
        }
    }
}

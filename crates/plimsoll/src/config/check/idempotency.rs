//! How long an answer is kept, a duplicate waits, and a claim holds: each against how long a request may take.

use std::time::Duration;

use plimsoll_store::idempotency::KeyOptions;

use super::{Check, duration};
use crate::config::read::Group;

const HOUR: Duration = Duration::from_secs(60 * 60);

impl Check<'_> {
    pub(super) fn idempotency(&mut self, group: &Group, api: &Group) -> Option<KeyOptions> {
        let options = KeyOptions {
            ttl: HOUR * u32::try_from(group.integer("ttl_hours")?).ok()?,
            wait: duration(group, "wait_ms")?,
            claim_term: duration(group, "claim_term_ms")?,
        };
        let timeout = duration(api, "request_timeout_ms")?;
        let (is_told, is_safe) = (options.wait < timeout, options.claim_term > timeout);
        if !is_told {
            self.against_timeout(
                (group, "wait_ms", options.wait),
                (api, timeout),
                "a duplicate would be given up before it is told that the first request is still being worked on",
                "lower `wait_ms` to less than that, or raise `request_timeout_ms`",
            );
        }
        if !is_safe {
            self.against_timeout(
                (group, "claim_term_ms", options.claim_term),
                (api, timeout),
                "a request could be taken over while it is still being worked on",
                "raise `claim_term_ms` to more than that, or lower `request_timeout_ms`",
            );
        }
        (is_told && is_safe).then_some(options)
    }

    /// Notes it at the one of the two that was given.
    fn against_timeout(
        &mut self,
        (group, key, value): (&Group, &str, Duration),
        (api, timeout): (&Group, Duration),
        why: &str,
        remedy: &str,
    ) {
        let origin =
            if group.given(key) { group.origin_of(key) } else { api.origin_of("request_timeout_ms") };
        let (value, timeout) = (value.as_millis(), timeout.as_millis());
        let what =
            format!("`idempotency.{key}` is {value}, and `api.request_timeout_ms` is {timeout}: {why}");
        self.problems.add(origin, what, remedy);
    }
}

//! How long to wait before asking again. Pure: the caller brings the dice and does the waiting.
//!
//! The delay doubles from [`Backoff::base`] to [`Backoff::cap`]; half of it is fixed and half is random, so
//! that clients that failed together do not come back together. A server's `Retry-After` is a floor; one
//! beyond [`RETRY_AFTER_LIMIT`] is not waited for, the caller is told instead.

use std::time::Duration;

/// The longest `Retry-After` that is obeyed by waiting inside a request.
pub const RETRY_AFTER_LIMIT: Duration = Duration::from_secs(30);

/// A retry schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// Upper bound of the first delay.
    pub base: Duration,
    /// Upper bound of every delay.
    pub cap: Duration,
    /// Attempts after the first.
    pub max_retries: u32,
}

impl Backoff {
    /// 100 ms doubling to 5 s.
    #[must_use]
    pub const fn new(max_retries: u32) -> Self {
        Self { base: Duration::from_millis(100), cap: Duration::from_secs(5), max_retries }
    }

    /// The wait before retry number `retry` (the first is 0), or `None` to give up. `jitter` is a throw
    /// between 0 and 1.
    #[must_use]
    pub fn delay(&self, retry: u32, retry_after: Option<Duration>, jitter: f64) -> Option<Duration> {
        if retry >= self.max_retries {
            return None;
        }
        let bound = self.base.saturating_mul(1_u32.checked_shl(retry).unwrap_or(u32::MAX)).min(self.cap);
        let delay = bound / 2 + (bound / 2).mul_f64(jitter.clamp(0.0, 1.0));
        match retry_after {
            Some(asked) if asked > RETRY_AFTER_LIMIT => None,
            Some(asked) => Some(delay.max(asked)),
            None => Some(delay),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_to_the_cap_with_half_of_them_random() {
        let backoff =
            Backoff { base: Duration::from_millis(100), cap: Duration::from_millis(700), max_retries: 40 };
        for (retry, jitter, expected_ms) in [
            (0, 0.0, 50),
            (0, 1.0, 100),
            (1, 0.5, 150),
            (2, 1.0, 400),
            (3, 1.0, 700),
            (3, 0.0, 350),
            (39, 1.0, 700),
            (0, 7.0, 100),
        ] {
            let delay = backoff.delay(retry, None, jitter);
            assert_eq!(delay, Some(Duration::from_millis(expected_ms)), "retry {retry}, jitter {jitter}");
        }
    }

    #[test]
    fn attempts_are_bounded() {
        assert_eq!(Backoff::new(0).delay(0, None, 0.5), None);
        assert!(Backoff::new(3).delay(2, None, 0.5).is_some());
        assert_eq!(Backoff::new(3).delay(3, None, 0.5), None);
    }

    #[test]
    fn the_server_may_ask_for_a_longer_wait_but_not_for_an_endless_one() {
        let backoff = Backoff::new(5);
        for (asked_s, expected) in
            [(3, Some(Duration::from_secs(3))), (30, Some(RETRY_AFTER_LIMIT)), (31, None)]
        {
            assert_eq!(
                backoff.delay(0, Some(Duration::from_secs(asked_s)), 1.0),
                expected,
                "asked {asked_s} s"
            );
        }
        assert_eq!(backoff.delay(0, Some(Duration::ZERO), 1.0), Some(Duration::from_millis(100)));
    }
}

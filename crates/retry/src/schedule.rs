//! When an attempt is made, and under which name: both follow from job and attempt alone, so that whoever works it next does the same.

use std::time::Duration;

use uuid::Uuid;

/// How long to wait after failed attempts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// After the first.
    pub base: Duration,
    /// At most.
    pub max: Duration,
}

impl Backoff {
    /// How long to wait after this attempt (from 1) of a job has failed: twice as long after each, up to the limit, and of that between a half and all, so that jobs which failed
    /// together do not come back together.
    #[must_use]
    pub fn after(&self, job_id: Uuid, attempt: u32) -> Duration {
        let doubled = 2_u32.checked_pow(attempt.saturating_sub(1)).unwrap_or(u32::MAX);
        let whole = self.base.saturating_mul(doubled).min(self.max);
        let half = whole / 2;
        half + half.mul_f64(share(job_id, attempt))
    }
}

/// From 0 up to 1, evenly over jobs and attempts.
fn share(job_id: Uuid, attempt: u32) -> f64 {
    let (_, low) = Uuid::new_v5(&job_id, &[b"jitter", &attempt.to_be_bytes()[..]].concat()).as_u64_pair();
    // The lowest 32 bits have nothing of a UUID's version and variant.
    f64::from(u32::try_from(low & u64::from(u32::MAX)).unwrap_or_default()) / (f64::from(u32::MAX) + 1.0)
}

/// The request under which an attempt (from 1) is sent: whoever hands it in again hands in the same.
#[must_use]
pub fn request_id(job_id: Uuid, attempt: u32) -> Uuid {
    Uuid::new_v5(&job_id, &attempt.to_be_bytes())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn jobs() -> impl Strategy<Value = Uuid> {
        any::<u128>().prop_map(Uuid::from_u128)
    }

    proptest! {
        #[test]
        fn waiting_grows_up_to_its_limit_and_is_the_same_whoever_asks(
            job in jobs(), attempt in 1_u32..2_000, base_ms in 1_u64..100_000, times in 1_u64..10_000,
        ) {
            let (base, max) = (Duration::from_millis(base_ms), Duration::from_millis(base_ms * times));
            let backoff = Backoff { base, max };
            let wait = backoff.after(job, attempt);
            prop_assert_eq!(wait, backoff.after(job, attempt));
            prop_assert!(wait <= max, "{wait:?}");
            // The least of an attempt is a half of what it may be, which is the most of the one before.
            let whole = base.saturating_mul(2_u32.checked_pow(attempt - 1).unwrap_or(u32::MAX)).min(max);
            prop_assert!(wait >= whole / 2 && wait <= whole, "{wait:?} of {whole:?}");
            prop_assert!(backoff.after(job, attempt + 1) >= whole.min(max / 2), "less after the next attempt");
        }

        #[test]
        fn each_attempt_of_each_job_has_a_name_of_its_own(one in jobs(), other in jobs(), a in 1_u32.., b in 1_u32..) {
            prop_assert_eq!(request_id(one, a) == request_id(other, b), (one, a) == (other, b));
        }
    }

    #[test]
    fn jobs_that_failed_together_come_back_spread_out() {
        let backoff = Backoff { base: Duration::from_secs(60), max: Duration::from_secs(3_600) };
        let mut quarters = [0_u32; 4];
        for n in 0..4_000 {
            let wait = backoff.after(Uuid::from_u128(n), 1).as_millis() - 30_000;
            quarters[usize::try_from(wait * 4 / 30_001).unwrap()] += 1;
        }
        assert!(quarters.iter().all(|n| (900..1_100).contains(n)), "{quarters:?}");
    }
}

//! What an endpoint's refusals teach of its limit. Pure: what was asked and how long it has been quiet in, requests per second out.
//!
//! A refusal tells least where little was asked: a provider that is busy, or counts something else than requests, says 429 to two of them. So the first
//! one teaches no less than [`FIRST_FLOOR`], and each further one takes at most half of what was kept. What was refused is tried again after
//! [`RECOVERY`]; when that passes, the limit was not what it seemed, and it doubles until it says nothing any more.

use std::time::Duration;

/// What is left of the rate at which the endpoint refused.
const DECREASE: f64 = 0.7;
/// The first refusal teaches no less, requests per second: about what the slowest providers give to anybody.
const FIRST_FLOOR: f64 = 5.0;
/// A further refusal leaves at least so much of the rate that was kept.
const FURTHER_FLOOR: f64 = 0.5;
/// Never less, requests per second.
const MIN_RATE: f64 = 1.0;
/// Without a refusal the rate is after this time what it was when it was refused.
const RECOVERY: Duration = Duration::from_secs(15);
/// From then on it doubles in this time.
const DOUBLING: Duration = Duration::from_secs(10);
/// A rate that has grown this much beyond the refused one says nothing any more.
const FORGET: f64 = 4.0;

/// The rate after a refusal, where so many requests went in a second, and at most `kept` of them were allowed.
pub(super) fn after_refusal(asked: f64, kept: Option<f64>) -> f64 {
    let floor = kept.map_or(FIRST_FLOOR, |kept| kept * FURTHER_FLOOR);
    let refused_at = kept.map_or(asked, |kept| kept.min(asked));
    (refused_at * DECREASE).max(floor).max(MIN_RATE)
}

/// What a rate has become that was learned so long ago, with no refusal since; none when it says nothing any more.
pub(super) fn after_quiet(learned: f64, quiet: Duration) -> Option<f64> {
    let refused_at = learned / DECREASE;
    let grown = match quiet.checked_sub(RECOVERY) {
        None => learned + (refused_at - learned) * quiet.as_secs_f64() / RECOVERY.as_secs_f64(),
        Some(beyond) => refused_at * (beyond.as_secs_f64() / DOUBLING.as_secs_f64()).exp2(),
    };
    (grown < refused_at * FORGET).then_some(grown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_teaches_a_rate_below_the_refused_one_and_little_where_little_was_asked() {
        for (asked, kept, expected) in [
            (100.0, None, 70.0),
            // One or two requests, and a 429: not one a second for minutes.
            (1.0, None, 5.0),
            (6.0, None, 5.0),
            (10.0, None, 7.0),
            // Each further refusal, however little was asked.
            (1.0, Some(5.0), 2.5),
            (1.0, Some(2.5), 1.25),
            (1.0, Some(1.25), 1.0),
            (1.0, Some(1.0), 1.0),
            (100.0, Some(80.0), 56.0),
            (60.0, Some(80.0), 42.0),
            (10.0, Some(80.0), 40.0),
            // Kept by the configuration.
            (1.0, Some(0.2), 1.0),
        ] {
            let taught = after_refusal(asked, kept);
            assert!(
                (taught - expected).abs() < 1e-9,
                "{asked} asked, {kept:?} kept: {taught}, not {expected}"
            );
        }
    }

    #[test]
    fn it_is_back_in_a_quarter_of_a_minute_and_forgotten_in_half_a_one_when_nothing_is_refused() {
        for (quiet_s, expected) in [
            (0, Some(7.0)),
            (5, Some(8.0)),
            (15, Some(10.0)),
            (25, Some(20.0)),
            (34, Some(37.32)),
            (35, None),
            (900, None),
        ] {
            let rate = after_quiet(7.0, Duration::from_secs(quiet_s));
            let is_so = match (rate, expected) {
                (Some(rate), Some(expected)) => f64::abs(rate - expected) < 0.01,
                (rate, expected) => rate == expected,
            };
            assert!(is_so, "after {quiet_s} s: {rate:?}, not {expected:?}");
        }
    }
}

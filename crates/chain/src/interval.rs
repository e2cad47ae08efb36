//! How many blocks to ask for at once. Pure: outcomes in, the next span out.
//!
//! Additive increase while answers stay below the targets of logs and time, proportional decrease when one
//! overshoots, halving when the provider refuses or times out. A refused span becomes a ceiling, which is
//! tried again only after [`CEILING_TRUST`] good answers: a provider with a hard limit is not asked the same
//! refused question over and over. The span never falls below one block, so a scan always moves.

use std::time::Duration;

/// Good answers in a row after which a refused span may be tried again.
pub const CEILING_TRUST: u32 = 128;

/// Bounds and targets of an [`Interval`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IntervalPolicy {
    /// Span of the first request, blocks.
    pub initial_blocks: u64,
    /// Span that is never exceeded, blocks.
    pub max_blocks: u64,
    /// Growth after a good answer, blocks.
    pub increase_blocks: u64,
    /// Logs an answer should hold at most.
    pub target_logs: u64,
    /// How long an answer should take at most.
    pub target_duration: Duration,
}

impl Default for IntervalPolicy {
    fn default() -> Self {
        Self {
            initial_blocks: 100,
            max_blocks: 10_000,
            increase_blocks: 50,
            target_logs: 10_000,
            target_duration: Duration::from_secs(2),
        }
    }
}

/// The span to ask for next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interval {
    policy: IntervalPolicy,
    blocks: u64,
    ceiling_blocks: u64,
    good_answers: u32,
}

impl Interval {
    /// Starts at the policy's initial span.
    #[must_use]
    pub fn new(policy: IntervalPolicy) -> Self {
        let max = policy.max_blocks.max(1);
        Self { policy, blocks: policy.initial_blocks.clamp(1, max), ceiling_blocks: max, good_answers: 0 }
    }

    /// Blocks to ask for next, at least one.
    #[must_use]
    pub fn blocks(&self) -> u64 {
        self.blocks
    }

    /// The request for `span_blocks` was answered with `logs` logs after `elapsed`.
    pub fn on_success(&mut self, span_blocks: u64, logs: u64, elapsed: Duration) {
        self.good_answers = self.good_answers.saturating_add(1);
        if self.good_answers >= CEILING_TRUST {
            self.good_answers = 0;
            self.ceiling_blocks = self.ceiling_blocks.saturating_mul(2).min(self.policy.max_blocks.max(1));
        }

        let load = ratio(logs, self.policy.target_logs)
            .max(elapsed.as_secs_f64() / self.policy.target_duration.as_secs_f64().max(f64::MIN_POSITIVE));
        if load > 1.0 {
            self.set(scaled(span_blocks, 1.0 / load).max(span_blocks / 2).min(self.blocks));
        } else if span_blocks >= self.blocks {
            // What the next span is expected to cost bounds the step, so that growth does not overshoot.
            let affordable = scaled(span_blocks, 1.0 / load.max(f64::MIN_POSITIVE));
            self.set(
                self.blocks
                    .saturating_add(self.policy.increase_blocks.max(1))
                    .min(affordable)
                    .max(self.blocks),
            );
        }
    }

    /// The provider refused `span_blocks` as too much.
    pub fn on_too_large(&mut self, span_blocks: u64) {
        self.good_answers = 0;
        self.ceiling_blocks = self.ceiling_blocks.min(span_blocks.saturating_sub(1)).max(1);
        self.set((span_blocks / 2).min(self.blocks));
    }

    /// The request for `span_blocks` was not answered in time: perhaps because of its size, perhaps not, so
    /// it sets no ceiling.
    pub fn on_timeout(&mut self, span_blocks: u64) {
        self.good_answers = 0;
        self.set((span_blocks / 2).min(self.blocks));
    }

    fn set(&mut self, blocks: u64) {
        self.blocks = blocks.clamp(1, self.ceiling_blocks);
    }
}

/// `a / b` as a load; precision beyond 2^53 logs is of no interest.
#[allow(clippy::cast_precision_loss)]
fn ratio(a: u64, b: u64) -> f64 {
    a as f64 / (b.max(1) as f64)
}

/// `blocks * factor`, saturating.
#[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn scaled(blocks: u64, factor: f64) -> u64 {
    (blocks as f64 * factor) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    const FAST: Duration = Duration::from_millis(10);

    fn policy() -> IntervalPolicy {
        IntervalPolicy {
            initial_blocks: 100,
            max_blocks: 1_000,
            increase_blocks: 50,
            target_logs: 10_000,
            target_duration: Duration::from_secs(2),
        }
    }

    enum Outcome {
        Answer(u64, u64, Duration),
        TooLarge(u64),
        Timeout(u64),
    }
    use Outcome::{Answer, Timeout, TooLarge};

    #[test]
    fn the_span_follows_what_answers_cost() {
        let cases: &[(&str, &[Outcome], u64)] = &[
            ("starts at the initial span", &[], 100),
            ("grows by the step", &[Answer(100, 10, FAST)], 150),
            ("an empty answer grows it too", &[Answer(100, 0, FAST)], 150),
            ("does not grow on a span cut short", &[Answer(30, 10, FAST)], 100),
            ("grows no further than the target allows", &[Answer(100, 8_000, FAST)], 125),
            ("stays when exactly on target", &[Answer(100, 10_000, FAST)], 100),
            ("shrinks in proportion", &[Answer(100, 12_500, FAST)], 80),
            ("shrinks by half at most", &[Answer(100, 90_000, FAST)], 50),
            ("time counts like logs", &[Answer(100, 10, Duration::from_millis(2_500))], 80),
            ("a refusal halves", &[TooLarge(100)], 50),
            ("a timeout halves", &[Timeout(100)], 50),
            ("a refused short span halves that span", &[TooLarge(20)], 10),
            ("never below one", &[TooLarge(1), TooLarge(1), Timeout(1)], 1),
            ("a refused span is a ceiling", &[TooLarge(100), Answer(50, 1, FAST), Answer(99, 1, FAST)], 99),
            ("a timeout is not", &[Timeout(100), Answer(50, 1, FAST), Answer(100, 1, FAST)], 150),
        ];
        for (story, outcomes, expected) in cases {
            let mut interval = Interval::new(policy());
            for outcome in *outcomes {
                match *outcome {
                    Answer(span, logs, elapsed) => interval.on_success(span, logs, elapsed),
                    TooLarge(span) => interval.on_too_large(span),
                    Timeout(span) => interval.on_timeout(span),
                }
            }
            assert_eq!(interval.blocks(), *expected, "{story}");
        }
    }

    #[test]
    fn growth_stops_at_the_bound_and_a_ceiling_is_retried_after_long_success() {
        let mut interval = Interval::new(policy());
        for _ in 0..100 {
            interval.on_success(interval.blocks(), 1, FAST);
        }
        assert_eq!(interval.blocks(), 1_000);

        interval.on_too_large(1_000);
        for _ in 0..CEILING_TRUST - 1 {
            interval.on_success(interval.blocks(), 1, FAST);
        }
        assert_eq!(interval.blocks(), 999);
        interval.on_success(interval.blocks(), 1, FAST);
        assert_eq!(interval.blocks(), 1_000);
    }

    #[test]
    fn a_nonsensical_policy_still_moves() {
        let mut interval = Interval::new(IntervalPolicy {
            initial_blocks: 0,
            max_blocks: 0,
            increase_blocks: 0,
            target_logs: 0,
            target_duration: Duration::ZERO,
        });
        assert_eq!(interval.blocks(), 1);
        interval.on_success(1, 5, FAST);
        interval.on_success(1, 0, Duration::ZERO);
        assert_eq!(interval.blocks(), 1);
    }
}

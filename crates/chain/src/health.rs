//! What is known of an endpoint from how it answered: whether to ask it, how fast it is, how high it is.
//!
//! Health says where a request goes and nothing more: an endpoint that is benched is still asked when there is no other, and
//! is looked at all the while, so that it comes back by itself. What it says is judged elsewhere.

mod limit;
mod pace;

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use self::pace::Pace;
use crate::{error::ErrorClass, metrics};

/// Attempts that fail one after the other before an endpoint is benched.
const FAILURES: u32 = 3;
/// The first time on the bench for not answering; it doubles up to [`MAX_UNREACHABLE`].
const UNREACHABLE: Duration = Duration::from_secs(1);
const MAX_UNREACHABLE: Duration = Duration::from_secs(30);
/// The first time on the bench for saying what cannot be true; it doubles up to [`MAX_UNTRUE`].
const UNTRUE: Duration = Duration::from_secs(60);
const MAX_UNTRUE: Duration = Duration::from_secs(3_600);
/// Weight of the newest latency in the mean.
const NEWEST: f64 = 0.2;

/// Why an endpoint is not asked while there is another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// Its last attempts failed: timeouts, lost connections, 5xx, answers that cannot be read.
    Unreachable,
    /// What it said contradicts what it said itself: logs against the header's bloom or receipts root.
    Contradiction,
    /// Another chain answers at its address.
    WrongChain,
}

impl Reason {
    /// A stable name, used as a metric label.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unreachable => "unreachable",
            Self::Contradiction => "contradiction",
            Self::WrongChain => "wrong_chain",
        }
    }

    const fn term(self, times: u32) -> Duration {
        let (first, longest) = match self {
            Self::Unreachable => (UNREACHABLE, MAX_UNREACHABLE),
            Self::Contradiction | Self::WrongChain => (UNTRUE, MAX_UNTRUE),
        };
        let doubled = first.saturating_mul(1 << if times < 12 { times } else { 12 });
        if doubled.as_millis() < longest.as_millis() { doubled } else { longest }
    }
}

/// An endpoint on the bench.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bench {
    /// Why.
    pub reason: Reason,
    /// Until when, if nothing better is heard of it before.
    pub until: Instant,
    /// How often in a row, this time not counted.
    times: u32,
}

/// What is known of an endpoint at a moment.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Standing {
    /// Mean time of an attempt that was answered; none before the first.
    pub latency: Option<Duration>,
    /// The highest head that it showed.
    pub head: Option<u64>,
    /// The latest time of a head that it showed, in seconds since 1970, by the chain's own clock.
    pub clock: Option<u64>,
    /// When it last showed one.
    pub seen: Option<Instant>,
    /// Set while it is on the bench.
    pub bench: Option<Bench>,
    /// How long it is to be left alone, as it asked or as its limit has it.
    pub rest: Duration,
    failures: u32,
    former: Option<Bench>,
}

/// The health of one endpoint.
#[derive(Debug)]
pub(crate) struct Health {
    endpoint: Arc<str>,
    known: Mutex<(Standing, Pace)>,
}

impl Health {
    pub(crate) fn new(endpoint: Arc<str>, requests_per_second: Option<f64>) -> Self {
        Self { endpoint, known: Mutex::new((Standing::default(), Pace::new(requests_per_second))) }
    }

    fn with<T>(&self, f: impl FnOnce(&mut Standing, &mut Pace, Instant) -> T) -> T {
        let (standing, pace) = &mut *self.known.lock().unwrap_or_else(PoisonError::into_inner);
        f(standing, pace, Instant::now())
    }

    pub(crate) fn standing(&self) -> Standing {
        self.with(|standing, pace, now| Standing {
            bench: standing.bench.filter(|bench| bench.until > now),
            rest: pace.wait(now),
            ..*standing
        })
    }

    /// How long the endpoint asked to be left alone. What waits for its turn by a limit of requests is not meant: that comes.
    pub(crate) fn rest(&self) -> Duration {
        self.with(|_, pace, now| pace.rest(now))
    }

    /// Takes a place among the requests of this second; how long to wait for it.
    pub(crate) fn admit(&self) -> Duration {
        self.with(|_, pace, now| pace.take(now))
    }

    /// An attempt was answered, if only by a refusal.
    pub(crate) fn answered(&self, elapsed: Duration) {
        let returned = self.with(|standing, _, _| {
            standing.failures = 0;
            let mean =
                standing.latency.map_or(elapsed, |mean| mean.mul_f64(1.0 - NEWEST) + elapsed.mul_f64(NEWEST));
            standing.latency = Some(mean);
            // One answer shows that it is reachable, and not that it tells the truth.
            let returned = standing.bench.take_if(|bench| bench.reason == Reason::Unreachable);
            if returned.is_some() {
                standing.former = None;
            }
            returned
        });
        if returned.is_some() {
            tracing::info!(endpoint = &*self.endpoint, "the endpoint answers again");
            metrics::benched(&self.endpoint, None);
        }
    }

    /// An attempt failed.
    pub(crate) fn failed(&self, class: ErrorClass) {
        if let ErrorClass::RateLimited { retry_after } = class {
            return self.with(|_, pace, now| pace.refused(now, retry_after));
        }
        let is_down = self.with(|standing, _, now| {
            standing.failures = standing.failures.saturating_add(1);
            standing.failures >= FAILURES && standing.bench.is_none_or(|bench| bench.until <= now)
        });
        if is_down {
            self.bench(Reason::Unreachable);
        }
    }

    /// Puts the endpoint on the bench, longer each time in a row. What is found while it is there is of the same time.
    pub(crate) fn bench(&self, reason: Reason) {
        let until = self.with(|standing, _, now| {
            if standing.bench.is_some_and(|bench| bench.reason == reason && bench.until > now) {
                return None;
            }
            let last = standing.bench.or(standing.former).filter(|last| last.reason == reason);
            let times = last.map_or(0, |last| last.times + 1);
            let bench = Bench { reason, until: now + reason.term(times), times };
            standing.bench = Some(bench);
            standing.former = Some(bench);
            Some(bench.until - now)
        });
        let Some(until) = until else { return };
        tracing::warn!(
            endpoint = &*self.endpoint,
            reason = reason.as_str(),
            seconds = until.as_secs(),
            "the endpoint is on the bench"
        );
        metrics::benched(&self.endpoint, Some(reason));
    }

    pub(crate) fn saw_head(&self, number: u64, timestamp: u64) {
        self.with(|standing, _, now| {
            standing.head = standing.head.max(Some(number));
            standing.clock = standing.clock.max(Some(timestamp));
            standing.seen = Some(now);
        });
        metrics::head(&self.endpoint, number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn health() -> Health {
        Health::new("node".into(), None)
    }

    fn reason(health: &Health) -> Option<Reason> {
        health.standing().bench.map(|bench| bench.reason)
    }

    #[tokio::test(start_paused = true)]
    async fn an_endpoint_that_does_not_answer_is_benched_longer_each_time_and_back_with_its_first_answer() {
        let health = health();
        for _ in 1..FAILURES {
            health.failed(ErrorClass::Transient);
        }
        assert_eq!(reason(&health), None, "a failure or two are nothing");
        let mut terms = Vec::new();
        for _ in 0..7 {
            health.failed(ErrorClass::Transient);
            let bench = health.standing().bench.expect("three in a row");
            assert_eq!(bench.reason, Reason::Unreachable);
            terms.push((bench.until - Instant::now()).as_secs());
            health.failed(ErrorClass::Transient);
            assert_eq!(health.standing().bench, Some(bench), "failing on the bench makes it no longer");
            tokio::time::sleep_until(bench.until).await;
            assert_eq!(reason(&health), None, "its time is over, it may be asked");
        }
        assert_eq!(terms, [1, 2, 4, 8, 16, 30, 30]);
        health.failed(ErrorClass::Transient);
        health.answered(Duration::from_millis(5));
        assert_eq!(reason(&health), None);
        for _ in 0..FAILURES {
            health.failed(ErrorClass::Protocol);
        }
        let bench = health.standing().bench.unwrap();
        assert_eq!((bench.until - Instant::now()).as_secs(), 1, "it begins anew");
    }

    #[tokio::test(start_paused = true)]
    async fn who_told_an_untruth_does_not_come_back_by_answering() {
        for untrue in [Reason::Contradiction, Reason::WrongChain] {
            let health = health();
            health.bench(untrue);
            health.answered(Duration::from_millis(5));
            assert_eq!(reason(&health), Some(untrue));
            tokio::time::advance(UNTRUE).await;
            assert_eq!(reason(&health), None);
            health.answered(Duration::from_millis(5));
            health.bench(untrue);
            let bench = health.standing().bench.unwrap();
            assert_eq!(bench.until - Instant::now(), 2 * UNTRUE, "the second time is longer");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_endpoint_that_asks_to_be_left_alone_is_not_ill() {
        let health = health();
        for _ in 0..10 {
            health.failed(ErrorClass::RateLimited { retry_after: Some(Duration::from_secs(7)) });
        }
        let standing = health.standing();
        assert_eq!(standing.bench, None);
        assert_eq!(standing.rest, Duration::from_secs(7));
    }

    #[test]
    fn the_highest_head_and_the_mean_latency_are_kept() {
        let health = health();
        health.saw_head(7, 70);
        health.saw_head(5, 71);
        assert_eq!((health.standing().head, health.standing().clock), (Some(7), Some(71)));
        health.answered(Duration::from_millis(100));
        health.answered(Duration::from_millis(200));
        assert_eq!(health.standing().latency, Some(Duration::from_millis(120)));
    }
}

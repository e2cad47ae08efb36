//! How often an endpoint may be asked: as the configuration has it, or as the endpoint's refusals teach.
//!
//! One's own node has no limit, and none is imposed. The first 429 teaches one ([`limit`]). From then on it grows again, and is forgotten when it is far
//! beyond what was refused. A `Retry-After` is obeyed to the letter.

use std::time::Duration;

use tokio::time::Instant;

use super::limit;

#[derive(Debug)]
pub(super) struct Pace {
    /// Requests per second that the configuration allows.
    configured: Option<f64>,
    learned: Option<Learned>,
    /// When the next request may go.
    next: Option<Instant>,
    resting_until: Option<Instant>,
    /// The running second and the requests in it, and those of the second before.
    second: Option<Instant>,
    current: u32,
    previous: u32,
}

#[derive(Debug, Clone, Copy)]
struct Learned {
    rate: f64,
    since: Instant,
}

impl Pace {
    pub(super) fn new(configured: Option<f64>) -> Self {
        let configured = configured.map(|rate| rate.max(0.001));
        Self {
            configured,
            learned: None,
            next: None,
            resting_until: None,
            second: None,
            current: 0,
            previous: 0,
        }
    }

    /// How long the endpoint wants to be left alone.
    pub(super) fn rest(&self, now: Instant) -> Duration {
        self.resting_until.map_or(Duration::ZERO, |until| until.saturating_duration_since(now))
    }

    /// How long whoever comes now would wait.
    pub(super) fn wait(&self, now: Instant) -> Duration {
        let rest = self.rest(now);
        let turn = self.next.map_or(Duration::ZERO, |next| next.saturating_duration_since(now));
        rest.max(turn)
    }

    /// Takes the next place; how long until it comes.
    pub(super) fn take(&mut self, now: Instant) -> Duration {
        self.count(now);
        let wait = self.wait(now);
        if let Some(rate) = self.rate(now) {
            // A burst of one: what providers count are short windows.
            self.next = Some(now + wait + Duration::from_secs_f64(1.0 / rate));
        } else {
            self.next = None;
        }
        wait
    }

    /// The endpoint refused to be asked so often.
    pub(super) fn refused(&mut self, now: Instant, retry_after: Option<Duration>) {
        self.count(now);
        self.current = self.current.saturating_sub(1);
        if let Some(retry_after) = retry_after {
            self.resting_until = self.resting_until.max(Some(now + retry_after));
        }
        let asked = f64::from(self.current.max(self.previous));
        // Those that were on their way already teach nothing new.
        if self.learned.is_some_and(|learned| now - learned.since < Duration::from_secs(1)) {
            return;
        }
        self.learned = Some(Learned { rate: limit::after_refusal(asked, self.rate(now)), since: now });
    }

    /// Requests per second now.
    fn rate(&mut self, now: Instant) -> Option<f64> {
        let learned = self.learned.and_then(|learned| limit::after_quiet(learned.rate, now - learned.since));
        if learned.is_none() {
            self.learned = None;
        }
        match (self.configured, learned) {
            (Some(configured), Some(learned)) => Some(configured.min(learned)),
            (one, other) => one.or(other),
        }
    }

    fn count(&mut self, now: Instant) {
        let second = *self.second.get_or_insert(now);
        let passed = now - second;
        if passed >= Duration::from_secs(1) {
            self.previous = if passed < Duration::from_secs(2) { self.current } else { 0 };
            self.current = 0;
            self.second = Some(now);
        }
        self.current = self.current.saturating_add(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Asks as often as it may for so long; how many requests went.
    fn requests(pace: &mut Pace, now: &mut Instant, seconds: u64) -> u32 {
        let end = *now + Duration::from_secs(seconds);
        let mut count = 0;
        while *now < end {
            *now += pace.take(*now).max(Duration::from_millis(10));
            count += 1;
        }
        count
    }

    #[tokio::test(start_paused = true)]
    async fn ones_own_node_is_not_held_back() {
        let mut pace = Pace::new(None);
        let now = Instant::now();
        assert!((0..10_000).all(|_| pace.take(now) == Duration::ZERO));
    }

    #[tokio::test(start_paused = true)]
    async fn a_configured_rate_is_kept() {
        let (mut pace, mut now) = (Pace::new(Some(5.0)), Instant::now());
        let count = requests(&mut pace, &mut now, 10);
        assert!((49..=52).contains(&count), "{count} requests in 10 s at 5 a second");
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_teaches_a_rate_below_the_one_that_was_refused_and_it_grows_back() {
        let (mut pace, mut now) = (Pace::new(None), Instant::now());
        assert_eq!(requests(&mut pace, &mut now, 2), 200);
        pace.refused(now, None);
        let slow = requests(&mut pace, &mut now, 5);
        assert!((320..=400).contains(&slow), "{slow} in 5 s, after 100 a second were refused");
        for _ in 0..600 {
            requests(&mut pace, &mut now, 1);
        }
        assert_eq!(requests(&mut pace, &mut now, 2), 200, "forgotten");
    }

    #[tokio::test(start_paused = true)]
    async fn refusals_of_what_was_on_its_way_are_one_refusal() {
        let (mut pace, mut now) = (Pace::new(None), Instant::now());
        requests(&mut pace, &mut now, 2);
        for _ in 0..30 {
            pace.refused(now, None);
        }
        assert!(requests(&mut pace, &mut now, 5) > 300);
    }

    #[tokio::test(start_paused = true)]
    async fn one_refusal_at_low_traffic_keeps_nobody_from_following_a_chain() {
        let (mut pace, mut now) = (Pace::new(None), Instant::now());
        pace.take(now);
        pace.refused(now, None);
        let slow = requests(&mut pace, &mut now, 10);
        assert!(slow >= 50, "{slow} in 10 s");
        requests(&mut pace, &mut now, 30);
        assert_eq!(requests(&mut pace, &mut now, 2), 200, "forgotten");
    }

    #[tokio::test(start_paused = true)]
    async fn retry_after_is_obeyed() {
        let (mut pace, now) = (Pace::new(None), Instant::now());
        pace.refused(now, Some(Duration::from_secs(3)));
        assert_eq!(pace.take(now), Duration::from_secs(3));
        assert_eq!(pace.wait(now + Duration::from_secs(10)), Duration::ZERO);
    }
}

//! The heads of all endpoints, each looked at by a task of its own, so that one that is slow keeps nobody waiting.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{sync::Notify, task::JoinSet, time::Instant};

use super::{Look, Pool};
use crate::{Rpc, health::Reason};

/// A chain with fast blocks is not looked at more often than this where heads are not announced.
const MIN_POLL: Duration = Duration::from_millis(20);
/// Looks per block, where heads are not announced.
const LOOKS_PER_BLOCK: f64 = 3.0;
/// Where no block comes any more, the next look is after this part of the time since the last.
const IDLE_PART: u32 = 8;
/// Weight of the newest interval between blocks in the mean.
const NEWEST: f64 = 0.2;
/// How much longer the longest wait is for an endpoint that does not answer.
const MAX_PATIENCE: u32 = 8;

/// The newest look at each endpoint. Dropping it ends the looking.
pub struct HeadWatch {
    seen: Arc<Seen>,
    /// Where the search for the next look begins, so that none is passed over for ever.
    next: usize,
    _tasks: JoinSet<()>,
}

#[derive(Default)]
struct Seen {
    looks: Mutex<Vec<Option<Look>>>,
    news: Notify,
}

impl Pool {
    /// Begins to look at the heads of all endpoints: when one is announced, and otherwise as often as blocks come, at least each `longest`.
    #[must_use]
    pub fn watch_heads(&self, longest: Duration) -> HeadWatch {
        let looks = self.endpoints().iter().map(|_| None).collect();
        let seen = Arc::new(Seen { looks: Mutex::new(looks), news: Notify::new() });
        let mut tasks = JoinSet::new();
        for (place, rpc) in self.endpoints().iter().enumerate() {
            tasks.spawn(look_at(place, rpc.clone(), longest, Arc::clone(&seen)));
        }
        HeadWatch { seen, next: 0, _tasks: tasks }
    }
}

impl HeadWatch {
    /// The next look that was not given yet. Of one endpoint only the newest is kept. Cancel safe.
    pub async fn next_look(&mut self) -> Look {
        loop {
            if let Some(look) = self.take() {
                return look;
            }
            self.seen.news.notified().await;
        }
    }

    fn take(&mut self) -> Option<Look> {
        let mut looks = self.seen.looks.lock().unwrap_or_else(PoisonError::into_inner);
        let count = looks.len();
        let place = (0..count).map(|i| (self.next + i) % count).find(|&place| looks[place].is_some())?;
        self.next = place + 1;
        looks[place].take()
    }
}

async fn look_at(place: usize, rpc: Rpc, longest: Duration, seen: Arc<Seen>) {
    let mut pulse = Pulse::new(longest);
    let mut hints = rpc.heads().poll_every(longest);
    loop {
        hints.next_head_hint().await;
        let is_benched = rpc.standing().bench.is_some_and(|bench| bench.reason != Reason::Unreachable);
        if is_benched {
            // What it says is of no use until its time is over.
            hints = hints.poll_every(longest);
            continue;
        }
        let head = rpc.head().await;
        let at = Instant::now();
        let poll = match &head {
            Ok(head) => pulse.saw(head.number, at),
            Err(_) => pulse.failed(),
        };
        hints = match &head {
            // What is announced need not be guessed.
            Ok(_) if hints.is_announced() => hints.poll_every(longest),
            _ => hints.poll_every(poll),
        };
        seen.looks.lock().unwrap_or_else(PoisonError::into_inner)[place] = Some(Look { place, head, at });
        seen.news.notify_one();
    }
}

/// How often blocks come, and so how often to look.
struct Pulse {
    longest: Duration,
    last: Option<(u64, Instant)>,
    interval: Option<Duration>,
    failures: u32,
}

impl Pulse {
    fn new(longest: Duration) -> Self {
        Self { longest, last: None, interval: None, failures: 0 }
    }

    /// A look showed this head; when to look again.
    fn saw(&mut self, number: u64, at: Instant) -> Duration {
        self.failures = 0;
        let mut idle = Duration::ZERO;
        match self.last {
            Some((last, since)) if number > last => {
                let blocks = u32::try_from(number - last).unwrap_or(u32::MAX);
                let interval = (at - since) / blocks;
                let mean = self
                    .interval
                    .map_or(interval, |mean| mean.mul_f64(1.0 - NEWEST) + interval.mul_f64(NEWEST));
                self.interval = Some(mean);
                self.last = Some((number, at));
            }
            Some((_, since)) => idle = (at - since) / IDLE_PART,
            None => self.last = Some((number, at)),
        }
        let interval = self.interval.map_or(self.longest, |interval| interval.div_f64(LOOKS_PER_BLOCK));
        interval.max(idle).max(MIN_POLL).min(self.longest)
    }

    /// A look failed; when to look again.
    fn failed(&mut self) -> Duration {
        self.failures = (self.failures + 1).min(MAX_PATIENCE);
        self.longest * self.failures
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_fast_chain_is_looked_at_often_and_a_slow_one_seldom() {
        let longest = Duration::from_millis(500);
        for (block_ms, expected_ms) in [(100, 33..=34), (250, 83..=84), (12_000, 500..=500), (10, 20..=20)] {
            let mut pulse = Pulse::new(longest);
            assert_eq!(pulse.saw(0, Instant::now()), longest, "nothing is known yet");
            let mut poll = Duration::ZERO;
            for number in 1..50 {
                tokio::time::advance(Duration::from_millis(block_ms)).await;
                poll = pulse.saw(number, Instant::now());
            }
            assert!(expected_ms.contains(&poll.as_millis()), "{block_ms} ms blocks: each {poll:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_chain_that_pauses_is_looked_at_less_and_less_until_it_goes_on() {
        let longest = Duration::from_millis(500);
        let mut pulse = Pulse::new(longest);
        for number in 0..50 {
            pulse.saw(number, Instant::now());
            tokio::time::advance(Duration::from_millis(100)).await;
        }
        let mut waits = Vec::new();
        for _ in 0..4 {
            waits.push(pulse.saw(49, Instant::now()).as_millis());
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        assert_eq!(waits, [33, 137, 262, 387]);
        assert_eq!(pulse.saw(50, Instant::now()).as_millis(), 300, "a block after so long");
        for number in 51..100 {
            tokio::time::advance(Duration::from_millis(100)).await;
            pulse.saw(number, Instant::now());
        }
        assert_eq!(pulse.saw(99, Instant::now()).as_millis(), 33);
    }

    #[tokio::test(start_paused = true)]
    async fn an_endpoint_that_does_not_answer_is_looked_at_less_and_less() {
        let mut pulse = Pulse::new(Duration::from_millis(500));
        let waits: Vec<_> = (0..10).map(|_| pulse.failed().as_millis()).collect();
        assert_eq!(waits, [500, 1000, 1500, 2000, 2500, 3000, 3500, 4000, 4000, 4000]);
        assert_eq!(pulse.saw(1, Instant::now()).as_millis(), 500);
    }
}

//! How often something may be asked: the generic cell rate algorithm, for many keys in bounded memory.
//!
//! A key's whole state is one number, its *theoretical arrival time*: when its bucket will be full again. A request pushes it on by one
//! interval, and is refused if that would put it further ahead of now than the bucket is deep. A key whose time has passed
//! has a full bucket, which is what a key without a state has: it is forgotten without anybody noticing.
//!
//! **Memory is bounded.** A shard that is full of keys in use takes no new one. All newcomers of that shard then share one more bucket: a flood from
//! ever new addresses slows newcomers down, not those who were there, and costs nothing but that.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

const SHARDS: usize = 16;
/// The most keys that one limit remembers: some 2 MB.
const KEYS_MAX: usize = 65_536;
const SECOND_NS: u64 = 1_000_000_000;
/// How often a shard forgets the keys that are not in use.
const SWEEP_INTERVAL_NS: u64 = 60 * SECOND_NS;
/// How often it does when it is full.
const CROWDED_SWEEP_INTERVAL_NS: u64 = SECOND_NS;

/// How often something may be asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rate {
    /// How long it takes for one request to come back. Zero: there is no limit.
    pub interval: Duration,
    /// Requests at once after a pause; at least 1.
    pub burst: u32,
}

impl Rate {
    /// So many in a `period`; none: there is no limit.
    #[must_use]
    pub fn per(period: Duration, requests: u32, burst: u32) -> Self {
        let interval = period.checked_div(requests).unwrap_or_default();
        Self { interval, burst: burst.max(1) }
    }

    /// How long it takes for all of the burst to come back.
    pub(crate) fn window(self) -> Duration {
        self.interval.saturating_mul(self.burst)
    }
}

/// A rate, kept for each key.
#[derive(Debug)]
pub(super) struct Quota {
    interval_ns: u64,
    depth_ns: u64,
    shards: [Mutex<Shard>; SHARDS],
    keys_max_per_shard: usize,
    began: Instant,
}

#[derive(Debug, Default)]
struct Shard {
    /// When each key's bucket is full again, since `began`.
    full_at_ns: HashMap<u128, u64>,
    /// The same, for all keys together that found no room.
    crowd_full_at_ns: u64,
    swept_at_ns: u64,
}

/// Where a key stands after a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Standing {
    /// How long to wait until a request passes, in seconds; `None` when this one did.
    pub(super) retry_after_s: Option<u64>,
    /// Requests that would pass now.
    pub(super) remaining: u64,
    /// When as many pass as ever do, in seconds.
    pub(super) reset_s: u64,
}

impl Quota {
    /// `None` where there is no limit.
    pub(super) fn new(rate: Rate) -> Option<Self> {
        Self::with_room(rate, KEYS_MAX)
    }

    fn with_room(rate: Rate, keys_max: usize) -> Option<Self> {
        if rate.interval.is_zero() {
            return None;
        }
        let nanoseconds = |duration: Duration| u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX / 4);
        Some(Self {
            interval_ns: nanoseconds(rate.interval),
            depth_ns: nanoseconds(rate.window()),
            shards: Default::default(),
            keys_max_per_shard: keys_max.div_ceil(SHARDS),
            began: Instant::now(),
        })
    }

    /// Counts a request of `key`; one that is refused costs nothing.
    pub(super) fn ask(&self, key: u128) -> Standing {
        self.ask_at(key, u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(u64::MAX))
    }

    fn ask_at(&self, key: u128, now_ns: u64) -> Standing {
        let mut shard = lock(&self.shards[shard_of(key)]);
        let shard = &mut *shard;
        shard.sweep(now_ns, self.keys_max_per_shard);
        let has_room =
            shard.full_at_ns.len() < self.keys_max_per_shard || shard.full_at_ns.contains_key(&key);
        let full_at_ns = match has_room {
            true => shard.full_at_ns.entry(key).or_insert(now_ns),
            false => &mut shard.crowd_full_at_ns,
        };
        let ahead_ns = full_at_ns.saturating_sub(now_ns);
        let asked_ns = ahead_ns + self.interval_ns;
        if asked_ns > self.depth_ns {
            let wait_ns = asked_ns - self.depth_ns;
            return Standing {
                retry_after_s: Some(wait_ns.div_ceil(SECOND_NS)),
                remaining: 0,
                reset_s: ahead_ns.div_ceil(SECOND_NS),
            };
        }
        *full_at_ns = now_ns + asked_ns;
        Standing {
            retry_after_s: None,
            remaining: (self.depth_ns - asked_ns) / self.interval_ns,
            reset_s: asked_ns.div_ceil(SECOND_NS),
        }
    }
}

impl Shard {
    fn sweep(&mut self, now_ns: u64, keys_max: usize) {
        let is_crowded = self.full_at_ns.len() >= keys_max;
        let interval_ns = if is_crowded { CROWDED_SWEEP_INTERVAL_NS } else { SWEEP_INTERVAL_NS };
        if now_ns.saturating_sub(self.swept_at_ns) >= interval_ns {
            self.full_at_ns.retain(|_, full_at_ns| *full_at_ns > now_ns);
            self.swept_at_ns = now_ns;
        }
    }
}

/// A shard is whole between any two statements: a panic elsewhere in its thread is no reason to refuse everybody.
fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Addresses differ in their low or in their high bits: the multiplication (Fibonacci hashing) brings both to the top.
fn shard_of(key: u128) -> usize {
    const GOLDEN: u128 = 0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835;
    usize::try_from((key ^ (key >> 64)).wrapping_mul(GOLDEN) >> (u128::BITS - SHARDS.ilog2()))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn quota(per_second: u32, burst: u32) -> Quota {
        Quota::new(Rate::per(Duration::from_secs(1), per_second, burst)).unwrap()
    }

    fn passes(quota: &Quota, key: u128, now_ns: u64) -> bool {
        quota.ask_at(key, now_ns).retry_after_s.is_none()
    }

    #[test]
    fn a_burst_passes_and_then_the_rate() {
        let quota = quota(2, 3);
        let standings: Vec<Standing> = (0..4).map(|_| quota.ask_at(1, 0)).collect();
        assert_eq!(standings.iter().map(|s| s.remaining).collect::<Vec<_>>(), [2, 1, 0, 0]);
        assert_eq!(standings.iter().map(|s| s.reset_s).collect::<Vec<_>>(), [1, 1, 2, 2]);
        assert_eq!(standings[2].retry_after_s, None);
        assert_eq!(standings[3].retry_after_s, Some(1));
        assert!(passes(&quota, 2, 0), "another key has a bucket of its own");
        assert!(!passes(&quota, 1, SECOND_NS / 2 - 1));
        assert!(passes(&quota, 1, SECOND_NS / 2));
        assert!(!passes(&quota, 1, SECOND_NS / 2));
    }

    #[test]
    fn whoever_waits_as_told_passes() {
        let quota = quota(3, 1);
        assert!(passes(&quota, 1, 0));
        let wait_s = quota.ask_at(1, 0).retry_after_s.unwrap();
        assert!(passes(&quota, 1, wait_s * SECOND_NS));
    }

    #[test]
    fn a_rate_of_nothing_is_no_limit() {
        assert!(Quota::new(Rate::default()).is_none());
        assert!(Quota::new(Rate::per(Duration::from_secs(1), 0, 5)).is_none());
    }

    #[test]
    fn a_flood_of_new_keys_takes_no_more_room_and_harms_nobody_who_was_there() {
        let quota = Quota::with_room(Rate::per(Duration::from_secs(1), 1, 2), 64).unwrap();
        for key in 0..10_000 {
            quota.ask_at(key, 0);
        }
        let kept: Vec<u128> = quota
            .shards
            .iter()
            .flat_map(|s| lock(s).full_at_ns.keys().copied().collect::<Vec<_>>())
            .collect();
        assert!(kept.len() <= 64, "{}", kept.len());
        assert!(kept.iter().all(|key| passes(&quota, *key, 0)), "each has the rest of its own burst");
        assert!(!passes(&quota, 20_000, 0), "newcomers share what the flood has used up");
        assert!(passes(&quota, 20_000, 10 * SECOND_NS), "and there is room once the flood is over");
        let kept: usize = quota.shards.iter().map(|shard| lock(shard).full_at_ns.len()).sum();
        assert!(kept <= 64);
    }

    #[test]
    fn keys_that_are_not_in_use_are_forgotten() {
        let quota = quota(1, 1);
        for key in 0..1_000 {
            quota.ask_at(key, 0);
        }
        for key in 0..1_000 {
            quota.ask_at(1_000_000 + key, SWEEP_INTERVAL_NS);
        }
        let kept: usize = quota.shards.iter().map(|shard| lock(shard).full_at_ns.len()).sum();
        assert_eq!(kept, 1_000);
    }

    proptest! {
        /// However requests come, no window of time lets more pass than the burst and what came back meanwhile.
        #[test]
        fn no_window_lets_more_pass_than_it_should(
            per_second in 1_u32..50,
            burst in 1_u32..20,
            gaps_ns in prop::collection::vec(0_u64..400_000_000, 1..200),
        ) {
            let quota = quota(per_second, burst);
            let mut now_ns = 0;
            let mut passed = Vec::new();
            for gap_ns in gaps_ns {
                now_ns += gap_ns;
                if passes(&quota, 7, now_ns) {
                    passed.push(now_ns);
                }
            }
            for (first, from_ns) in passed.iter().enumerate() {
                for (count, to_ns) in passed[first..].iter().enumerate() {
                    let came_back = (to_ns - from_ns) / (SECOND_NS / u64::from(per_second));
                    prop_assert!((count as u64) < u64::from(burst) + came_back);
                }
            }
        }
    }
}

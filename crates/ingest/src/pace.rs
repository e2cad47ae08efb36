//! How fast a backfill goes, and how much longer it will take.

use std::time::Duration;

use tokio::time::Instant;

/// Told at most so often, over the blocks since it was told last.
const INTERVAL: Duration = Duration::from_secs(5);

/// Measures a backfill.
#[derive(Debug)]
pub(crate) struct Pace {
    last: u64,
    told: Instant,
    at: u64,
}

/// Where a backfill is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Told {
    /// Blocks a second, lately.
    pub(crate) blocks_per_s: f64,
    /// Blocks that are to come.
    pub(crate) remaining_blocks: u64,
    /// How long they will take at this pace.
    pub(crate) remaining: Duration,
}

impl Pace {
    /// Of a backfill from block `first` to block `last` that begins now.
    pub(crate) fn new(first: u64, last: u64) -> Self {
        Self { last, told: Instant::now(), at: first }
    }

    /// All blocks below `next` are in. Tells how it goes when it is time to.
    #[expect(clippy::cast_precision_loss, reason = "block numbers are far below 2^52")]
    pub(crate) fn is_at(&mut self, next: u64) -> Option<Told> {
        let elapsed = self.told.elapsed();
        if elapsed < INTERVAL || next <= self.at {
            return None;
        }
        let blocks_per_s = (next - self.at) as f64 / elapsed.as_secs_f64();
        let remaining_blocks = (self.last + 1).saturating_sub(next);
        let remaining =
            Duration::try_from_secs_f64(remaining_blocks as f64 / blocks_per_s).unwrap_or(Duration::MAX);
        (self.told, self.at) = (Instant::now(), next);
        Some(Told { blocks_per_s, remaining_blocks, remaining })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_pace_is_that_of_the_last_seconds() {
        let mut pace = Pace::new(100, 1_099);
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(pace.is_at(110), None, "not yet");
        tokio::time::advance(INTERVAL - Duration::from_secs(1)).await;
        let told = pace.is_at(200).unwrap();
        assert_eq!(
            told,
            Told { blocks_per_s: 20.0, remaining_blocks: 900, remaining: Duration::from_secs(45) }
        );
        tokio::time::advance(INTERVAL).await;
        assert_eq!(pace.is_at(200), None, "nothing came: nobody knows");
        tokio::time::advance(INTERVAL).await;
        let told = pace.is_at(1_100).unwrap();
        assert_eq!((told.blocks_per_s, told.remaining_blocks, told.remaining), (90.0, 0, Duration::ZERO));
    }
}

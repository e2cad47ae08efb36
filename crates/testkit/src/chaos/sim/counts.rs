//! How often what happened in runs of the follower.

use std::collections::BTreeMap;

use crate::chaos::counts::counts;
use crate::chaos::trace::Tally;

counts! {
    sums {
        /// Simulated time, in seconds.
        simulated_seconds,
        /// Blocks that were made, on whatever branch.
        blocks,
        /// Requests, a batch being one.
        requests,
        /// Commits.
        commits,
        /// Events that were committed, each time that they were.
        events,
        /// Transactions of watched senders that were committed, each time that they were.
        transactions,
        /// Commits that took blocks back.
        reorgs,
        /// Blocks that they took back.
        blocks_taken_back,
        /// Ranges that were backfilled.
        ranges,
        /// Ranges that came late, of contracts and senders that were added.
        late_ranges,
        /// Times that the follower was dropped in the midst of its work.
        crashes,
        /// Times that it ended with an error and was started again.
        restarts,
        /// Times that the chain halted, rightly.
        halts,
    }
    most {}
    parts {}
    kinds {
        /// What was done to requests, commits and endpoints, by kind.
        faults,
    }
}

impl Tally for Counts {
    fn faults(&mut self) -> &mut BTreeMap<&'static str, u64> {
        &mut self.faults
    }

    fn lasted(&mut self, seconds: u64) {
        self.simulated_seconds += seconds;
    }
}

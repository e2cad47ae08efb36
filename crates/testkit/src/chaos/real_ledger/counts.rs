//! How often what happened.

use crate::chaos::counts::counts;
use crate::chaos::house::Blows;

counts! {
    sums {
        /// Postings that clients offered, each on record once, or not at all if its client gave up.
        offered,
        /// Those of them whose client was told that they are on record.
        answered,
        /// Of the offered ones, such as take another back.
        reversals,
        /// Those whose client gave up after the first call that was not answered.
        given_up,
        /// Of these, such as are on record all the same.
        given_up_and_booked,
        /// Calls of the API that were made again because nothing certain was heard of them.
        retries,
        /// Postings that were offered again after they were answered: each was answered with the same posting.
        repeats,
        /// Postings that were offered again with another amount: each was refused.
        conflicts,
        /// Postings that were booked from the chain.
        booked,
        /// Those of them that a reorganisation took back.
        taken_back,
        /// Entries of all logs at the end.
        sealed,
        /// Signed checkpoints.
        checkpoints,
        /// Balances that are the chain's, to the last unit.
        balances_equal,
        /// Blocks of the chain at the end.
        blocks,
        /// Reorganisations that were made.
        reorgs,
        /// Blocks that they replaced.
        blocks_orphaned,
    }
    most {
        /// The longest time from the last fault to rest, ms.
        rest_ms_max,
    }
    parts {
        /// What was done to processes and database.
        blows: Blows,
    }
    kinds {}
}

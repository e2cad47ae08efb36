//! How often what happened.

use crate::chaos::counts::counts;
use crate::chaos::house::Blows;

counts! {
    sums {
        /// Blocks of the chains at the end, from block 0.
        blocks,
        /// Events on them.
        events,
        /// Transactions of watched senders on them.
        transactions,
        /// Records of the journals.
        journal_records,
        /// Records that take another back.
        retractions,
        /// Final blocks that were proven anew at the end.
        blocks_proven,
        /// Mirror rows that were compared with the contracts at the end.
        mirror_rows,
        /// Reorganisations that were made.
        reorgs,
        /// Blocks that they replaced.
        blocks_orphaned,
        /// Times that the lease of the ingest changed hands.
        takeovers,
        /// Questions to the endpoints, a batch being one.
        requests,
        /// Answers with a hidden or altered log.
        lies,
        /// Endpoints that lied; each was named.
        liars_named,
    }
    most {
        /// The most kinds of events (topic0) that a chain had.
        event_kinds_max,
        /// The longest time from the last fault to rest, ms.
        rest_ms_max,
    }
    parts {
        /// What was done to processes and database.
        blows: Blows,
    }
    kinds {
        /// What was done to questions and answers, by kind.
        faults,
    }
}

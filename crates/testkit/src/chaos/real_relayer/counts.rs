//! How often what happened.

use crate::chaos::counts::counts;
use crate::chaos::house::Blows;

counts! {
    sums {
        /// Requests that were handed in, each once in the contract's eyes or not at all.
        requests,
        /// Calls of the API that were made again because nothing certain was heard of them.
        retries,
        /// Requests that were handed in again after they were answered: each was answered with the same transaction.
        repeats,
        /// Requests that were handed in with something else in them: each was refused.
        conflicts,
        /// Requests that were called off before they had ended.
        called_off,
        /// Effects, as the contract counts them.
        effects,
        /// Requests that ended as confirmed.
        confirmed,
        /// As failed: the contract refused them.
        reverted,
        /// Those that were called off in time.
        cancelled,
        /// Those that were too late.
        expired,
        /// Those whose nonce a stranger used, by a signer that does not requeue.
        replaced,
        /// Attempts that were committed.
        attempts,
        /// Of these, such as offered more.
        bumps,
        /// Of these, such as took a nonce from a request that was called off.
        cancels,
        /// Nonces that nothing had, and that were filled.
        fills,
        /// Requests that were given more than one nonce, one after the other.
        requeued,
        /// Transactions that were sent to an endpoint, each counted once.
        broadcasts,
        /// Transactions that somebody else sent with a signer's key.
        strangers,
        /// Those of them that are on the chain at the end.
        strangers_on_chain,
        /// Transactions that the node was made to lose.
        dropped_from_pool,
        /// Blocks of the chains at the end.
        blocks,
        /// Reorganisations that were made.
        reorgs,
        /// Blocks that they replaced.
        blocks_orphaned,
        /// Times that a signer's lease changed hands.
        takeovers,
        /// Questions to the endpoints, a batch being one.
        rpc_requests,
    }
    most {
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

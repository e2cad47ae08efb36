//! How often what happened in runs of the relayer.

use std::collections::BTreeMap;

use crate::chaos::counts::counts;
use crate::chaos::trace::Tally;

counts! {
    sums {
        /// Simulated time, in seconds.
        simulated_seconds,
        /// Requests that were handed in and are on record.
        accepted,
        /// Times that one of them was handed in again.
        repeated,
        /// Times that something else was handed in under the key of one of them.
        conflicts,
        /// Ends that were asked for.
        called_off,
        /// Effects that the contract counted at the end.
        effects,
        /// Requests to nodes, a batch being one.
        requests,
        /// Transactions that nodes were given by the relayer.
        sends,
        /// Attempts that were committed.
        attempts,
        /// Nonces that were filled.
        fills,
        /// Requests that waited again, since a stranger had their nonce.
        requeued,
        /// Times that success was told and taken back.
        revised,
        /// Blocks, on whatever branch.
        blocks,
        /// Reorganisations.
        reorgs,
        /// Transactions that strangers sent with a signer's key.
        strangers,
        /// Times that a process was dropped in the midst of its work.
        crashes,
        /// Times that a process was frozen.
        freezes,
        /// Times that a signer changed hands.
        takeovers,
        /// Times that a node handed a signer over to the one to which it is routed.
        hand_overs,
        /// Signers that were told to hand over to another.
        rotations,
        /// Requests that were moved from one signer to another.
        moved,
        /// Times that the holder of a signer was asked to look again.
        looks,
    }
    most {
        /// The longest time from the end of all trouble until all was at rest, in simulated seconds.
        rest_seconds_max,
    }
    parts {}
    kinds {
        /// Changes of a request's state, by the new one.
        states,
        /// What was done to questions, transactions, the database and processes, by kind.
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

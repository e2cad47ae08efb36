//! How often what happened in runs of the relayer.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::chaos::trace::Tally;

/// How often what happened.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Simulated time, in seconds.
    pub simulated_seconds: u64,
    /// Requests that were handed in and are on record.
    pub accepted: u64,
    /// Times that one of them was handed in again.
    pub repeated: u64,
    /// Times that something else was handed in under the key of one of them.
    pub conflicts: u64,
    /// Ends that were asked for.
    pub called_off: u64,
    /// Effects that the contract counted at the end.
    pub effects: u64,
    /// Requests to nodes, a batch being one.
    pub requests: u64,
    /// Transactions that nodes were given by the relayer.
    pub sends: u64,
    /// Attempts that were committed.
    pub attempts: u64,
    /// Nonces that were filled.
    pub fills: u64,
    /// Requests that waited again, since a stranger had their nonce.
    pub requeued: u64,
    /// Times that success was told and taken back.
    pub revised: u64,
    /// Blocks, on whatever branch.
    pub blocks: u64,
    /// Reorganisations.
    pub reorgs: u64,
    /// Transactions that strangers sent with a signer's key.
    pub strangers: u64,
    /// Times that a process was dropped in the midst of its work.
    pub crashes: u64,
    /// Times that a process was frozen.
    pub freezes: u64,
    /// Times that a signer changed hands.
    pub takeovers: u64,
    /// Times that a node handed a signer over to the one to which it is routed.
    pub hand_overs: u64,
    /// Signers that were told to hand over to another.
    pub rotations: u64,
    /// Requests that were moved from one signer to another.
    pub moved: u64,
    /// Times that the holder of a signer was asked to look again.
    pub looks: u64,
    /// The longest time from the end of all trouble until all was at rest, in simulated seconds.
    pub rest_seconds_max: u64,
    /// Changes of a request's state, by the new one.
    pub states: BTreeMap<&'static str, u64>,
    /// What was done to questions, transactions, the database and processes, by kind.
    pub faults: BTreeMap<&'static str, u64>,
}

impl Tally for Counts {
    fn faults(&mut self) -> &mut BTreeMap<&'static str, u64> {
        &mut self.faults
    }

    fn lasted(&mut self, seconds: u64) {
        self.simulated_seconds += seconds;
    }

    fn add(&mut self, other: &Self) {
        let Self {
            simulated_seconds,
            accepted,
            repeated,
            conflicts,
            called_off,
            effects,
            requests,
            sends,
            attempts,
            fills,
            requeued,
            revised,
            blocks,
            reorgs,
            strangers,
            crashes,
            freezes,
            takeovers,
            hand_overs,
            rotations,
            moved,
            looks,
            rest_seconds_max,
            states,
            faults,
        } = other;
        for (sum, more) in [
            (&mut self.simulated_seconds, simulated_seconds),
            (&mut self.accepted, accepted),
            (&mut self.repeated, repeated),
            (&mut self.conflicts, conflicts),
            (&mut self.called_off, called_off),
            (&mut self.effects, effects),
            (&mut self.requests, requests),
            (&mut self.sends, sends),
            (&mut self.attempts, attempts),
            (&mut self.fills, fills),
            (&mut self.requeued, requeued),
            (&mut self.revised, revised),
            (&mut self.blocks, blocks),
            (&mut self.reorgs, reorgs),
            (&mut self.strangers, strangers),
            (&mut self.crashes, crashes),
            (&mut self.freezes, freezes),
            (&mut self.takeovers, takeovers),
            (&mut self.hand_overs, hand_overs),
            (&mut self.rotations, rotations),
            (&mut self.moved, moved),
            (&mut self.looks, looks),
        ] {
            *sum += more;
        }
        self.rest_seconds_max = self.rest_seconds_max.max(*rest_seconds_max);
        for (sum, more) in [(&mut self.states, states), (&mut self.faults, faults)] {
            for (kind, count) in more {
                *sum.entry(kind).or_default() += count;
            }
        }
    }
}

//! The next nonce: `max(chain, cache, db + 1)`, where *chain* is what most endpoints call `latest`.
//!
//! The database's next nonce lies above everything that we ever committed. So a `latest` above it says that somebody else sent with this key, or that the database is
//! older than the chain: the nonces in between are gone, and the next one is the chain's. One endpoint's word for that is not enough: a lie would leave a gap that
//! only a filling closes. Of a signer that is new to us nothing is known that a `latest` that is too low could be held against, and a nonce from before it was ours
//! would never come back to us from the journal. So until that has seen something of it, the chain's part is what a block of the journal proves by its state root, which one endpoint is enough for
//! (`eth_getProof`); and where none does for long, nonces are given, and filled, when most endpoints answer and all who do say the same. A `pending` above it says that somebody else's transaction waits: giving nonces pauses until that one is in a block, or gone, or has waited too long.

use std::time::Duration;

use plimsoll_chain::TransactionCounts;

/// A stranger's transaction that waits keeps us waiting for so long, and no longer: what we send then competes with it, and only one of the two can be included.
pub(crate) const STRANGER_PATIENCE: Duration = Duration::from_secs(60);
/// With one endpoint alone, a `latest` above our own next nonce is believed when it has said so for so long.
pub(crate) const ALONE_PATIENCE: Duration = Duration::from_secs(3);

/// And if it is so far above at most: a lie that is believed leaves nonces that must be filled one by one.
pub(crate) const ALONE_MOST: u64 = 10_000;

/// Who could prove what a new signer has sent, and does not, is waited for so long.
pub(crate) const PROOF_PATIENCE: Duration = Duration::from_secs(60);

/// How many transactions a signer has sent up to the journal's newest block, shown under that block's state root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Proof {
    /// So many.
    Proven(u64),
    /// Nobody has shown it yet, for so long, and somebody may.
    Awaited(Duration),
    /// Nobody who answers can show it.
    Lacking,
}

/// What the endpoints said, and since when they say what is strange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Readings<'a> {
    /// What each endpoint answered that answered.
    pub(crate) counts: &'a [TransactionCounts],
    /// How many endpoints there are.
    pub(crate) endpoints: usize,
    /// The journal has seen nothing of the signer yet.
    pub(crate) is_new: bool,
    /// What is proven; asked for while it is new.
    pub(crate) proof: Proof,
    /// For how long the majority's `latest` has been above our next nonce.
    pub(crate) ahead_for: Duration,
    /// For how long the majority's `pending` has been above our next nonce and its `latest`.
    pub(crate) stranger_for: Duration,
}

/// What follows for giving nonces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ruling {
    /// Nonces are given from the higher of this and our own next one on.
    Give {
        /// What is proven, or the majority's `latest`.
        floor: u64,
    },
    /// None are given until the next reading.
    Pause(Pause),
}

/// Why no nonces are given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pause {
    /// Too few endpoints answered to tell.
    Unheard,
    /// The chain is ahead of us by one endpoint's word, for too short a time.
    Ahead {
        /// Its `latest`.
        latest: u64,
    },
    /// The chain is farther ahead of us than one endpoint is believed.
    TooFarAhead {
        /// Its `latest`.
        latest: u64,
    },
    /// Of a signer that is new to us nothing is proven yet.
    Unproven,
    /// Of a signer that is new to us nothing is proven, and endpoints say different things, or too few say anything.
    Disagreed {
        /// The lowest `latest`.
        lowest: u64,
        /// The highest.
        highest: u64,
    },
    /// A transaction that is none of ours waits at our next nonce.
    Stranger {
        /// The majority's `pending`.
        pending: u64,
    },
}

/// The value that most of `endpoints` reach: the highest that is reached by more than half of them.
pub(crate) fn reached_by_most(values: impl Iterator<Item = u64>, endpoints: usize) -> Option<u64> {
    let mut values: Vec<_> = values.collect();
    values.sort_unstable_by(|one, other| other.cmp(one));
    values.get(endpoints / 2).copied()
}

/// What most endpoints say; or, where too few answered to tell, the highest that any of them says.
pub(crate) fn heard(counts: &[TransactionCounts], endpoints: usize) -> Option<TransactionCounts> {
    let of = |of: fn(&TransactionCounts) -> u64| {
        let values = || counts.iter().map(of);
        reached_by_most(values(), endpoints).or(values().max())
    };
    Some(TransactionCounts { latest: of(|counts| counts.latest)?, pending: of(|counts| counts.pending)? })
}

impl std::fmt::Display for Pause {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unheard => write!(f, "too few endpoints tell what it is"),
            Self::Ahead { latest } => {
                write!(
                    f,
                    "the only endpoint says that {latest} are used up, more than were sent from here; it is asked once more"
                )
            }
            Self::TooFarAhead { latest } => {
                write!(
                    f,
                    "the only endpoint says that {latest} are used up, more than {ALONE_MOST} above what was sent from here: it is believed once the journal has seen them, or another endpoint says so"
                )
            }
            Self::Unproven => {
                write!(
                    f,
                    "the signer is new here, and no endpoint has proven yet how many it has sent (eth_getProof)"
                )
            }
            Self::Disagreed { lowest, highest } => {
                write!(
                    f,
                    "the signer is new here, and the endpoints that answer say from {lowest} to {highest} of how many it has sent: until most of them answer and all agree, or one proves it (eth_getProof)"
                )
            }
            Self::Stranger { pending } => {
                write!(
                    f,
                    "a transaction that is none of ours waits, up to nonce {pending}: until it is in a block, or gone"
                )
            }
        }
    }
}

/// Why what most endpoints say, or the highest of what few do, cannot be relied on.
fn doubt(next: u64, latest: u64, readings: Readings<'_>) -> Option<Pause> {
    let Readings { counts, endpoints, is_new, ahead_for, .. } = readings;
    let is_heard_of_few = counts.len() <= endpoints / 2;
    let said = || counts.iter().map(|counts| counts.latest);
    let (lowest, highest) = (said().min().unwrap_or(latest), said().max().unwrap_or(latest));
    if is_new && (is_heard_of_few || lowest != highest) {
        return Some(Pause::Disagreed { lowest, highest });
    }
    if latest <= next {
        return None;
    }
    // Too few of them cannot add to what we know, and they need not.
    if is_heard_of_few {
        return Some(Pause::Unheard);
    }
    if endpoints == 1 && next > 0 && latest - next > ALONE_MOST {
        return Some(Pause::TooFarAhead { latest });
    }
    (endpoints == 1 && ahead_for < ALONE_PATIENCE).then_some(Pause::Ahead { latest })
}

/// Whether nonces may be given, `next` being our own next one, or what the journal has proven to be consumed.
pub(crate) fn rule(next: u64, readings: Readings<'_>) -> Ruling {
    let Readings { counts, endpoints, is_new, proof, stranger_for, .. } = readings;
    let Some(TransactionCounts { latest: said, pending }) = heard(counts, endpoints) else {
        return Ruling::Pause(Pause::Unheard);
    };
    let latest = match proof {
        Proof::Proven(proven) if is_new => proven,
        Proof::Awaited(time) if is_new && time < PROOF_PATIENCE => return Ruling::Pause(Pause::Unproven),
        _ => match doubt(next, said, readings) {
            Some(doubt) => return Ruling::Pause(doubt),
            None => said,
        },
    };
    if pending > next.max(latest) && stranger_for < STRANGER_PATIENCE {
        return Ruling::Pause(Pause::Stranger { pending });
    }
    Ruling::Give { floor: latest }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ruling(next: u64, counts: &[(u64, u64)], endpoints: usize) -> Ruling {
        let counts: Vec<_> =
            counts.iter().map(|&(latest, pending)| TransactionCounts { latest, pending }).collect();
        let readings = Readings {
            counts: &counts,
            endpoints,
            is_new: next == 0,
            proof: Proof::Lacking,
            ahead_for: Duration::ZERO,
            stranger_for: Duration::ZERO,
        };
        rule(next, readings)
    }

    #[test]
    fn the_chain_is_what_most_endpoints_say() {
        let give = |floor| Ruling::Give { floor };
        let unheard = Ruling::Pause(Pause::Unheard);
        for (next, counts, endpoints, expected) in [
            (5, &[(5, 5)][..], 1, give(5)),
            (5, &[(2, 5)], 1, give(2)),
            (5, &[], 1, unheard),
            // One lies high, one lags: the one in the middle is believed.
            (5, &[(5, 5), (900, 900), (3, 5)], 3, give(5)),
            // Two of three are ahead of us: so is the chain.
            (5, &[(7, 7), (8, 8), (3, 5)], 3, give(7)),
            // One of three answered, or two of four: not most of them.
            (5, &[(7, 7)], 3, unheard),
            (5, &[(7, 7), (7, 7)], 4, unheard),
            (5, &[(7, 7), (5, 5)], 2, give(5)),
            // Nor need they be, where they say no more than we know.
            (5, &[(5, 5)], 2, give(5)),
            (5, &[(3, 5)], 3, give(3)),
            (5, &[(7, 7)], 2, unheard),
        ] {
            assert_eq!(ruling(next, counts, endpoints), expected, "{next} {counts:?} of {endpoints}");
        }
    }

    #[test]
    fn one_endpoint_alone_is_believed_ahead_only_after_a_while() {
        assert_eq!(ruling(5, &[(7, 7)], 1), Ruling::Pause(Pause::Ahead { latest: 7 }));
        let counts = [TransactionCounts { latest: 7, pending: 7 }];
        let later = Readings {
            counts: &counts,
            endpoints: 1,
            is_new: false,
            proof: Proof::Lacking,
            ahead_for: ALONE_PATIENCE,
            stranger_for: Duration::ZERO,
        };
        assert_eq!(rule(5, later), Ruling::Give { floor: 7 });
    }

    #[test]
    fn one_endpoint_alone_is_never_believed_to_be_far_ahead_of_what_was_sent_from_here() {
        let later = |next, latest| {
            let counts = [TransactionCounts { latest, pending: latest }];
            let readings = Readings {
                counts: &counts,
                endpoints: 1,
                is_new: next == 0,
                proof: Proof::Lacking,
                ahead_for: ALONE_PATIENCE,
                stranger_for: Duration::ZERO,
            };
            rule(next, readings)
        };
        assert_eq!(later(5, 10_005), Ruling::Give { floor: 10_005 });
        assert_eq!(later(5, 10_006), Ruling::Pause(Pause::TooFarAhead { latest: 10_006 }));
        // A signer that is new to us may have sent any number.
        assert_eq!(later(0, 1_000_000), Ruling::Give { floor: 1_000_000 });
    }

    #[test]
    fn of_a_signer_that_is_new_all_who_answer_say_the_same() {
        let unsure = |lowest, highest| Ruling::Pause(Pause::Disagreed { lowest, highest });
        for (counts, endpoints, expected) in [
            (&[(0, 0), (0, 0)][..], 2, Ruling::Give { floor: 0 }),
            (&[(3, 3), (3, 3)], 3, Ruling::Give { floor: 3 }),
            // One is still syncing: its zero is what most of two reach, and was used before the signer was ours.
            (&[(3, 3), (0, 0)], 2, unsure(0, 3)),
            (&[(3, 3), (3, 3), (0, 0)], 3, unsure(0, 3)),
            // Nor is one of two believed alone.
            (&[(0, 0)], 2, unsure(0, 0)),
        ] {
            assert_eq!(ruling(0, counts, endpoints), expected, "{counts:?} of {endpoints}");
        }
        assert_eq!(ruling(1, &[(3, 3), (0, 0)], 2), Ruling::Give { floor: 0 });
    }

    #[test]
    fn of_a_signer_that_is_new_what_is_proven_needs_nobody_else() {
        let ruling = |is_new, proof, counts: &[(u64, u64)], endpoints| {
            let counts: Vec<_> =
                counts.iter().map(|&(latest, pending)| TransactionCounts { latest, pending }).collect();
            let (ahead_for, stranger_for) = (Duration::ZERO, Duration::ZERO);
            let readings = Readings { counts: &counts, endpoints, is_new, proof, ahead_for, stranger_for };
            rule(0, readings)
        };
        // Of two, one is dead; one of two lags, or lies; one alone is behind.
        for (counts, endpoints) in
            [(&[(3, 3)][..], 2), (&[(0, 0), (3, 3)], 2), (&[(900, 900), (3, 3)], 2), (&[(0, 0)], 1)]
        {
            let given = ruling(true, Proof::Proven(3), counts, endpoints);
            assert_eq!(given, Ruling::Give { floor: 3 }, "{counts:?} of {endpoints}");
        }
        // What the journal has seen counts for more than a proof from before it.
        let ahead = Ruling::Pause(Pause::Ahead { latest: 5 });
        assert_eq!(ruling(false, Proof::Proven(3), &[(5, 5)], 1), ahead);
        // Who may still prove it is waited for, but not for ever.
        let awaited = |time| ruling(true, Proof::Awaited(time), &[(0, 0)], 1);
        assert_eq!(awaited(Duration::ZERO), Ruling::Pause(Pause::Unproven));
        assert_eq!(awaited(PROOF_PATIENCE), Ruling::Give { floor: 0 });
    }

    #[test]
    fn a_strangers_transaction_is_waited_for_but_not_for_ever() {
        assert_eq!(ruling(5, &[(5, 6)], 1), Ruling::Pause(Pause::Stranger { pending: 6 }));
        // One endpoint's pool alone does not stop us.
        assert_eq!(ruling(5, &[(5, 9), (5, 5), (5, 5)], 3), Ruling::Give { floor: 5 });
        let counts = [TransactionCounts { latest: 5, pending: 6 }];
        let later = Readings {
            counts: &counts,
            endpoints: 1,
            is_new: false,
            proof: Proof::Lacking,
            ahead_for: Duration::ZERO,
            stranger_for: STRANGER_PATIENCE,
        };
        assert_eq!(rule(5, later), Ruling::Give { floor: 5 });
    }
}

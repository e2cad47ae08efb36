//! What an entry means for whoever comes with its key. Pure: the state in, the next step out.

use super::fingerprint::Fingerprint;

/// How far an entry got.
#[derive(Clone, Copy, Debug, PartialEq, Eq, sqlx::Type)]
#[sqlx(type_name = "idempotency_state", rename_all = "snake_case")]
pub enum State {
    /// Somebody works on it.
    InFlight,
    /// Nobody does; whoever comes next goes on from the recovery point.
    Recoverable,
    /// There is an answer.
    Done,
}

/// An entry as it was found, by the database's clock.
#[derive(Clone, Copy, Debug)]
pub(super) struct Found {
    pub(super) state: State,
    pub(super) fingerprint: Fingerprint,
    /// Its claim is to be had: its term is over, or its holder is gone.
    pub(super) is_claim_free: bool,
    /// Its time to live is over.
    pub(super) is_expired: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// The key is free again: take it as a new one.
    Renew,
    /// Take it over, and go on where it stands.
    Resume,
    Replay,
    Mismatch,
    Wait,
}

/// `is_waiting`: the caller has seen this key in flight before, so the answer that is there now is the one it waits for. A derived
/// key guards only that: whoever finds it answered on arrival comes with a request of its own.
pub(super) fn decide(found: &Found, asked: &Fingerprint, is_automatic: bool, is_waiting: bool) -> Next {
    let is_held = found.state == State::InFlight && !found.is_claim_free;
    if found.is_expired && !is_held {
        return Next::Renew;
    }
    if found.fingerprint != *asked {
        return Next::Mismatch;
    }
    match found.state {
        State::Done if is_automatic && !is_waiting => Next::Renew,
        State::Done => Next::Replay,
        State::Recoverable => Next::Resume,
        State::InFlight if is_held => Next::Wait,
        State::InFlight => Next::Resume,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_that_an_entry_can_be_found() {
        const OURS: Fingerprint = Fingerprint::from_bytes([1; 32]);
        const OTHER: Fingerprint = Fingerprint::from_bytes([2; 32]);
        let found =
            |state, is_claim_free, is_expired| Found { state, fingerprint: OURS, is_claim_free, is_expired };
        // The entry; what the same request does, what another does.
        for (entry, same, other) in [
            (found(State::InFlight, false, false), Next::Wait, Next::Mismatch),
            (found(State::InFlight, true, false), Next::Resume, Next::Mismatch),
            (found(State::InFlight, false, true), Next::Wait, Next::Mismatch),
            (found(State::InFlight, true, true), Next::Renew, Next::Renew),
            (found(State::Recoverable, true, false), Next::Resume, Next::Mismatch),
            (found(State::Recoverable, true, true), Next::Renew, Next::Renew),
            (found(State::Done, true, false), Next::Replay, Next::Mismatch),
            (found(State::Done, false, true), Next::Renew, Next::Renew),
        ] {
            assert_eq!(decide(&entry, &OURS, false, false), same, "{entry:?}");
            assert_eq!(decide(&entry, &OTHER, false, true), other, "{entry:?}");
        }
        let done = found(State::Done, true, false);
        assert_eq!(decide(&done, &OURS, true, true), Next::Replay, "it waited for this answer");
        assert_eq!(
            decide(&done, &OURS, true, false),
            Next::Renew,
            "a derived key guards only what is in flight"
        );
    }
}

//! How long requests take to each stage, from their acceptance on.
//!
//! A transaction's id has the time at which it was accepted, so no stage needs to be handed the one before it. The clocks are those of the process that accepted and of the one that measures.

use std::time::Duration;

use time::OffsetDateTime;
use uuid::Uuid;

use crate::answer::Reading;
use crate::attempt::Attempt;
use crate::desk::Live;
use crate::request::SignerId;

/// A stage that a request has reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// It has a nonce, and its first attempt is committed: it entered the window.
    Committed,
    /// A node has the bytes.
    Sent,
    /// An attempt is in a block, as the journal says.
    Included,
    /// That block has the chain's confirmations.
    Confirmed,
}

impl Stage {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Committed => "committed",
            Self::Sent => "sent",
            Self::Included => "included",
            Self::Confirmed => "confirmed",
        }
    }
}

/// How long ago a transaction was accepted; none: its id does not tell.
pub(crate) fn age(id: Uuid) -> Option<Duration> {
    let (seconds, nanos) = id.get_timestamp()?.to_unix();
    let accepted = Duration::new(seconds, nanos);
    let now = OffsetDateTime::now_utc().unix_timestamp_nanos();
    let now = Duration::from_nanos(u64::try_from(now).ok()?);
    // Clocks differ: what was accepted in the future was accepted now.
    Some(now.saturating_sub(accepted))
}

/// Notes that a request came to a stage so long after it was accepted.
pub(crate) fn reached(chain_id: u64, stage: Stage, after: Duration) {
    metrics::histogram!("relayer_reached_seconds", "chain" => chain_id.to_string(), "stage" => stage.as_str()).record(after);
}

/// Notes that these first attempts were committed.
pub(crate) fn committed(signer: SignerId, attempts: &[Attempt]) {
    metrics::histogram!("relayer_window_batch_requests").record(attempts.len() as f64);
    for after in attempts.iter().filter_map(|attempt| age(attempt.transaction_id)) {
        reached(signer.chain_id, Stage::Committed, after);
    }
}

/// Notes, of the first answer to the first attempt, that a node has it.
pub(crate) fn answered(signer: SignerId, live: &Live, reading: &Reading) {
    let is_first = live.answer.is_none() && live.sends == 1 && live.flight.latest.number == 1;
    if is_first
        && reading.answer.is_taken()
        && let Some(after) = age(live.flight.latest.transaction_id)
    {
        reached(signer.chain_id, Stage::Sent, after);
    }
}

/// Notes how many of a signer's may be under way.
pub(crate) fn window(signer: SignerId, size: usize) {
    metrics::gauge!("relayer_window_requests", "signer" => signer.to_string()).set(size as f64);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_tells_when_its_request_was_accepted() {
        let an_hour_ago = OffsetDateTime::now_utc() - Duration::from_secs(3_600);
        let seconds = u64::try_from(an_hour_ago.unix_timestamp()).unwrap();
        let at = |seconds| Uuid::new_v7(uuid::Timestamp::from_unix(uuid::NoContext, seconds, 0));
        let told = age(at(seconds)).unwrap().as_secs();
        assert!((3_600..3_660).contains(&told), "{told}");
        assert_eq!(age(at(seconds + 7_200)), Some(Duration::ZERO), "another clock is ahead");
        assert_eq!(age(Uuid::nil()), None);
    }
}

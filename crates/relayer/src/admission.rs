//! Admission: what is asked of others before a request gets a nonce.
//!
//! After that it is too late: a nonce that was given has to be consumed, whatever anybody finds out. So whoever may object, as to the data that a decision was made on, is asked for each request when it
//! is about to enter its signer's window, each time that it is looked at. The relayer owns the question, and the binary wires who answers it. Where nobody answers in time, nothing enters.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use plimsoll_chain::Reverts;
use plimsoll_types::TransactionState;

use crate::book::{DecidedOn, Queued};
use crate::request::SignerId;

/// Whoever is asked whether requests may enter is waited for no longer than this: then none of them does.
pub const PATIENCE: Duration = Duration::from_secs(1);

/// What comes before a request enters its signer's window.
#[derive(Clone, Debug, Default)]
pub struct Entry {
    /// Whether what says nothing of it is run before it enters.
    pub simulates: bool,
    /// The errors that are known, to tell why something reverts.
    pub reverts: Arc<Reverts>,
    /// Who is asked.
    pub gates: Gates,
}

/// An end that needs no block, and that whoever is asked may bring about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefusedAs {
    /// It must not be done.
    Failed,
    /// It is too late for it.
    Expired,
}

impl RefusedAs {
    pub(crate) fn state(self) -> TransactionState {
        match self {
            Self::Failed => TransactionState::Failed,
            Self::Expired => TransactionState::Expired,
        }
    }
}

/// What comes of asking about a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Admitted {
    /// It may enter.
    Yes,
    /// It ends here, without a nonce.
    Refused {
        /// As what.
        end: RefusedAs,
        /// Why, for people.
        why: String,
    },
    /// Not now: it is asked again.
    Held {
        /// Why, for people.
        why: String,
    },
}

/// Who is asked.
pub trait Admission: Send + Sync + Debug {
    /// Whether these requests may enter the window of this signer: as many answers, in their order. `head`: the chain's newest block, as its nodes tell.
    ///
    /// It is asked within a signer's work, which waits for it: a moment, and no longer than [`PATIENCE`].
    fn admit<'a>(
        &'a self,
        signer: SignerId,
        head: u64,
        requests: &'a [&'a Queued],
    ) -> BoxFuture<'a, Vec<Admitted>>;
}

/// Asks each in turn: the first who objects decides.
#[derive(Clone, Debug, Default)]
pub struct Gates(Arc<[Arc<dyn Admission>]>);

impl Gates {
    /// These. Without any, everything is admitted.
    #[must_use]
    pub fn new(gates: Vec<Arc<dyn Admission>>) -> Self {
        Self(gates.into())
    }

    /// Asks, and waits no longer than [`PATIENCE`]: as many answers as requests.
    pub(crate) async fn ask(&self, signer: SignerId, head: u64, requests: &[&Queued]) -> Vec<Admitted> {
        if self.0.is_empty() || requests.is_empty() {
            return vec![Admitted::Yes; requests.len()];
        }
        tokio::time::timeout(PATIENCE, self.admit(signer, head, requests)).await.unwrap_or_else(|_| {
            let why = format!("{self:?} did not say within {PATIENCE:?} whether it may enter");
            vec![Admitted::Held { why }; requests.len()]
        })
    }
}

impl Admission for Gates {
    fn admit<'a>(
        &'a self,
        signer: SignerId,
        head: u64,
        requests: &'a [&'a Queued],
    ) -> BoxFuture<'a, Vec<Admitted>> {
        Box::pin(async move {
            let mut answers = vec![Admitted::Yes; requests.len()];
            for gate in self.0.iter() {
                let open: Vec<_> =
                    (0..requests.len()).filter(|place| answers[*place] == Admitted::Yes).collect();
                if open.is_empty() {
                    break;
                }
                let asked: Vec<_> = open.iter().map(|place| requests[*place]).collect();
                let told = gate.admit(signer, head, &asked).await;
                if told.len() != open.len() {
                    // Which answer is whose is not known: nobody has a yes.
                    let why = format!("{gate:?} gave {} answers about {}", told.len(), open.len());
                    answers = vec![Admitted::Held { why }; requests.len()];
                    break;
                }
                for (place, answer) in open.into_iter().zip(told) {
                    answers[place] = answer;
                }
            }
            answers
        })
    }
}

/// Whether the block that it was decided on lets a request enter. It is looked at behind everybody who is asked: a journal that lags has not come to the block, and who knows that holds the request.
pub(crate) fn by_its_block(decided_on: DecidedOn) -> Admitted {
    match decided_on {
        // What left the chain ended before.
        DecidedOn::Stands | DecidedOn::Left => Admitted::Yes,
        DecidedOn::Awaited => Admitted::Held {
            why: "the journal does not have the block that it was decided on yet".to_owned(),
        },
        DecidedOn::Unknown => Admitted::Refused {
            end: RefusedAs::Expired,
            why: "the journal never had the block that it was decided on in this chain".to_owned(),
        },
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use alloy_primitives::{Address, Bytes, U256};
    use uuid::Uuid;

    use super::*;
    use crate::request::Call;

    /// Answers what it was made with, and notes how many it was asked about.
    #[derive(Debug)]
    struct Told(Vec<Admitted>, Mutex<Vec<usize>>);

    impl Admission for Told {
        fn admit<'a>(
            &'a self,
            _: SignerId,
            _: u64,
            requests: &'a [&'a Queued],
        ) -> BoxFuture<'a, Vec<Admitted>> {
            self.1.lock().unwrap().push(requests.len());
            Box::pin(async { self.0.clone() })
        }
    }

    fn queued() -> Queued {
        Queued {
            id: Uuid::now_v7(),
            tenant_id: None,
            call: Call { to: Some(Address::ZERO), value: U256::ZERO, data: Bytes::new() },
            gas_limit: None,
            max_fee_limit: None,
            priority: 0,
            valid_until_block: None,
            as_of_block_hash: None,
            is_late: false,
            decided_on: DecidedOn::Stands,
            called_off: None,
            simulate: None,
        }
    }

    async fn ask(gates: &[Arc<Told>], requests: usize) -> Vec<Admitted> {
        let signer = SignerId { chain_id: 1, address: Address::ZERO };
        let queued: Vec<_> = (0..requests).map(|_| queued()).collect();
        let gates = gates.iter().map(|gate| Arc::clone(gate) as Arc<dyn Admission>).collect();
        Gates::new(gates).admit(signer, 7, &queued.iter().collect::<Vec<_>>()).await
    }

    #[tokio::test]
    async fn the_first_who_objects_decides_and_nobody_else_is_asked_about_that() {
        let held = || Admitted::Held { why: "first".into() };
        let refused = || Admitted::Refused { end: RefusedAs::Failed, why: "second".into() };
        let first = Arc::new(Told(vec![Admitted::Yes, held(), Admitted::Yes], Mutex::default()));
        let second = Arc::new(Told(vec![refused(), Admitted::Yes], Mutex::default()));
        assert_eq!(ask(&[first, Arc::clone(&second)], 3).await, [refused(), held(), Admitted::Yes]);
        assert_eq!(*second.1.lock().unwrap(), [2]);
        assert_eq!(ask(&[], 2).await, [Admitted::Yes, Admitted::Yes]);
    }

    #[tokio::test]
    async fn answers_that_cannot_be_told_apart_admit_nothing() {
        let short = Arc::new(Told(vec![Admitted::Yes], Mutex::default()));
        let answers = ask(&[short], 2).await;
        assert!(answers.iter().all(|answer| matches!(answer, Admitted::Held { .. })), "{answers:?}");
    }
}

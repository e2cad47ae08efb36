//! Those of this process who wait for an answer that this process is working out: they are told, and need not ask the database.
//!
//! Only a hint. Who is not told (another process works on it, or the news came between two looks) asks the database again.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;
use uuid::Uuid;

use super::response::Replay;

/// How a claim ended.
#[derive(Clone, Debug)]
pub(crate) enum Landing {
    /// Committed, with this answer.
    Done(Arc<Replay>),
    /// Given up: the key is for the next one to take.
    Released,
}

/// By claim. As many as there are claims at work in this process. A claim of this process's that is not among them is nobody's.
#[derive(Debug, Default)]
pub(crate) struct Flights {
    by_claim: Mutex<HashMap<Uuid, watch::Sender<Option<Landing>>>>,
}

impl Flights {
    pub(super) fn take_off(&self, claim: Uuid) {
        self.locked().insert(claim, watch::Sender::new(None));
    }

    pub(super) fn land(&self, claim: Uuid, landing: Landing) {
        let waiting = self.locked().remove(&claim);
        if let Some(waiting) = waiting {
            waiting.send_replace(Some(landing));
        }
    }

    pub(super) fn has(&self, claim: Uuid) -> bool {
        self.locked().contains_key(&claim)
    }

    pub(super) fn expect(&self, claim: Uuid) -> Option<watch::Receiver<Option<Landing>>> {
        self.locked().get(&claim).map(watch::Sender::subscribe)
    }

    /// Each critical section is one call of the map: a panic leaves nothing half done.
    fn locked(&self) -> std::sync::MutexGuard<'_, HashMap<Uuid, watch::Sender<Option<Landing>>>> {
        self.by_claim.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

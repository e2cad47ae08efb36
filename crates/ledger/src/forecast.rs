//! What accounts will hold once what this process is writing is on record, and whose turn it is to write.
//!
//! Batches of one process follow each other on much the same accounts. With what the batch before it leaves on them, the next one is worked out and put into words while that one is still being written, and has only to be sent
//! once the accounts are its own. Nothing rests on it: what was foreseen is held against what is read under the locks, and where that is otherwise (another process booked there, a limit was moved, the batch before was rolled
//! back) the batch is worked out anew from that.
//!
//! A turn is waited for before the accounts are. Who waits for rows that somebody changes meanwhile gets each of them looked up and judged anew; who waits for the turn reads them as they are.

use std::collections::HashMap;

use tokio::sync::{Mutex, MutexGuard};
use uuid::Uuid;

use crate::batch::Worked;
use crate::book::Standing;

/// Of so many accounts it is known; with more, all are forgotten.
const ACCOUNTS_MAX: usize = 65_536;

/// What each account will hold, as far as this process knows.
#[derive(Debug, Default)]
pub(crate) struct Forecast {
    standings: Mutex<HashMap<Uuid, Standing>>,
    turn: Mutex<()>,
}

/// One transaction's part in it. Dropped once that has ended, it is the next one's turn.
#[derive(Debug)]
pub(crate) struct Turn<'a> {
    forecast: &'a Forecast,
    held: Option<MutexGuard<'a, ()>>,
}

impl Forecast {
    /// For the next transaction, whose turn it is not yet.
    pub(crate) fn turn(&self) -> Turn<'_> {
        Turn { forecast: self, held: None }
    }
}

impl Turn<'_> {
    /// Waits for it.
    pub(crate) async fn take(&mut self) {
        self.held = Some(self.forecast.turn.lock().await);
    }

    /// Works out the next batch on these accounts, one batch after the other: on what they are expected to hold, and what comes of it. None where one of them is not known.
    pub(crate) async fn next(
        &self,
        accounts: &[Uuid],
        work: impl FnOnce(HashMap<Uuid, Standing>) -> Worked,
    ) -> Option<(HashMap<Uuid, Standing>, Worked)> {
        let mut known = self.forecast.standings.lock().await;
        let expected: Option<HashMap<_, _>> = accounts
            .iter()
            .map(|account| known.get_key_value(account).map(|(id, it)| (*id, it.clone())))
            .collect();
        let expected = expected?;
        let worked = work(expected.clone());
        note(&mut known, &worked.standings);
        Some((expected, worked))
    }

    /// Takes note of what was worked out on what was read.
    pub(crate) async fn correct(&self, standings: &HashMap<Uuid, Standing>) {
        note(&mut *self.forecast.standings.lock().await, standings);
    }
}

fn note(known: &mut HashMap<Uuid, Standing>, standings: &HashMap<Uuid, Standing>) {
    if known.len() + standings.len() > ACCOUNTS_MAX {
        known.clear();
    }
    known.extend(standings.iter().map(|(account, standing)| (*account, standing.clone())));
}

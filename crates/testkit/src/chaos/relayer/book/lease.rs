//! A lease in memory, while somebody has it.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::Tables;
use crate::chaos::relayer::life::Life;

/// A lease, renewed as long as it is held.
#[derive(Debug)]
pub(super) struct Lease {
    name: String,
    token: i64,
    lost: CancellationToken,
    tables: Arc<Tables>,
    life: Arc<Life>,
    _keeper: AbortOnDropHandle<()>,
}

impl Lease {
    /// Of this name, held under this token, and renewed from now on.
    pub(super) fn kept(
        (name, token): (String, i64),
        tables: &Arc<Tables>,
        life: &Arc<Life>,
        term: Duration,
    ) -> Self {
        let lost = CancellationToken::new();
        let keeper = keep(Arc::clone(tables), Arc::clone(life), lost.clone(), (name.clone(), token), term);
        let _keeper = AbortOnDropHandle::new(tokio::spawn(keeper));
        Self { name, token, lost, tables: Arc::clone(tables), life: Arc::clone(life), _keeper }
    }

    /// Its token.
    pub(super) fn token(&self) -> i64 {
        self.token
    }

    /// Cancelled when it is known to be lost.
    pub(super) fn lost(&self) -> &CancellationToken {
        &self.lost
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        // Who dies gives nothing back.
        if !self.life.is_over() && self.tables.is_up() {
            let now = self.tables.now();
            self.tables.store().free_lease(&self.name, self.token, now);
        }
    }
}

/// Renews a lease as long as it can be.
async fn keep(
    tables: Arc<Tables>,
    life: Arc<Life>,
    lost: CancellationToken,
    (name, token): (String, i64),
    term: Duration,
) {
    let mut renewed = Instant::now();
    loop {
        sleep(term / 3).await;
        life.goes_on().await;
        let asked = Instant::now();
        let fate = tables.fate();
        sleep(fate.there).await;
        let is_renewed =
            !fate.is_lost && tables.store().renew_lease(&name, token, tables.now(), stretch(term));
        sleep(fate.back).await;
        life.goes_on().await;
        match (fate.is_lost || fate.is_unanswered, is_renewed) {
            (false, true) => renewed = asked,
            (false, false) => return lost.cancel(),
            (true, _) if renewed.elapsed() >= term => return lost.cancel(),
            (true, _) => {}
        }
    }
}

pub(super) fn stretch(term: Duration) -> time::Duration {
    time::Duration::try_from(term).unwrap_or(time::Duration::MAX)
}

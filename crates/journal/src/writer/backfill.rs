//! Working off the backfills that were asked for.

use plimsoll_types::BackfillState;
use uuid::Uuid;

use super::{WriteError, Writer};
use crate::backfills::Backfill;
use crate::repo::backfill as repo;

impl Writer {
    /// The request that is to be worked on now, marked as running; none while there is none.
    ///
    /// # Errors
    /// The authority to write is gone, or the database failed.
    pub async fn take_backfill(&self) -> Result<Option<Backfill>, WriteError> {
        // A look costs no lock: most of the time there is nothing to do.
        let next = repo::next(&mut *self.db.worker().acquire().await?, self.chain_id).await?;
        let next = match next {
            Some(next) if next.state == BackfillState::Queued => next,
            running_or_none => return Ok(running_or_none),
        };
        let mut tx = self.db.begin_worker().await?;
        self.lease.guard(&mut tx).await?;
        let is_open = repo::start(&mut tx, next.order.request_id).await?;
        tx.commit().await?;
        Ok(is_open.then_some(Backfill { state: BackfillState::Running, ..next }))
    }

    /// The request cannot go on as things are, and says why. One that was ended meanwhile stays as it is.
    ///
    /// # Errors
    /// As [`Writer::take_backfill`].
    pub async fn fail_backfill(&self, request_id: Uuid, why: &str) -> Result<(), WriteError> {
        let mut tx = self.db.begin_worker().await?;
        self.lease.guard(&mut tx).await?;
        repo::fail(&mut tx, request_id, why).await?;
        Ok(tx.commit().await?)
    }

    /// The request does not come on, and shows why; its next step takes that away.
    ///
    /// # Errors
    /// As [`Writer::take_backfill`].
    pub async fn note_backfill_trouble(&self, request_id: Uuid, why: &str) -> Result<(), WriteError> {
        let mut tx = self.db.begin_worker().await?;
        self.lease.guard(&mut tx).await?;
        repo::note_trouble(&mut tx, request_id, why).await?;
        Ok(tx.commit().await?)
    }
}

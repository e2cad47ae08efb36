//! What a node runs: an ingest or a fold as a task that can be told to end, or be dropped at one of its `await`s.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::task::Poll;

use plimsoll_journal::{Fold, FoldError, Record, Unconfirmed, Undone};
use serde_json::Value;
use sqlx::PgConnection;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

/// A fold that tells when it has committed.
pub struct Told<F> {
    pub fold: F,
    pub committed: watch::Sender<()>,
}

impl<F: Fold> Fold for Told<F> {
    fn name(&self) -> &'static str {
        self.fold.name()
    }

    fn partitioned_tables(&self) -> &'static [&'static str] {
        self.fold.partitioned_tables()
    }

    async fn apply(
        &mut self,
        conn: &mut PgConnection,
        final_number: Option<u64>,
        records: &[Record],
    ) -> Result<Vec<Option<Value>>, FoldError> {
        self.fold.apply(conn, final_number, records).await
    }

    async fn undo(&mut self, conn: &mut PgConnection, undone: Vec<Undone>) -> Result<(), FoldError> {
        self.fold.undo(conn, undone).await
    }

    async fn unconfirm(
        &mut self,
        conn: &mut PgConnection,
        blocks: Vec<Unconfirmed>,
    ) -> Result<(), FoldError> {
        self.fold.unconfirm(conn, blocks).await
    }

    async fn skip(&mut self, conn: &mut PgConnection, record: &Record, why: &str) -> Result<(), FoldError> {
        self.fold.skip(conn, record, why).await
    }

    fn committed(&mut self) {
        self.fold.committed();
        self.committed.send_replace(());
    }

    fn rolled_back(&mut self) {
        self.fold.rolled_back();
    }
}

pub struct Running {
    pub task: AbortOnDropHandle<()>,
    cancel: CancellationToken,
    pub fuse: Arc<Fuse>,
}

/// Once lit, it burns down by one with each poll of its task, which is dropped where it then stands.
pub struct Fuse(AtomicI64);

impl Fuse {
    const NOT_LIT: i64 = i64::MAX;

    pub fn light(&self, polls: u8) {
        self.0.store(polls.into(), Ordering::Relaxed);
    }

    fn is_burnt_down(&self) -> bool {
        let burn = |left| (left != Self::NOT_LIT).then_some(left - 1);
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, burn).is_ok_and(|left| left <= 0)
    }
}

impl Running {
    pub fn start(work: impl Future<Output = ()> + Send + 'static, cancel: CancellationToken) -> Self {
        let fuse = Arc::new(Fuse(AtomicI64::new(Fuse::NOT_LIT)));
        let burning = fuse.clone();
        let mut work = Box::pin(work);
        let work = poll_fn(move |context| match work.as_mut().poll(context) {
            Poll::Pending if burning.is_burnt_down() => Poll::Ready(()),
            polled => polled,
        });
        Self { task: AbortOnDropHandle::new(tokio::spawn(work)), cancel, fuse }
    }

    /// Ends it, in order.
    pub async fn end(self) {
        self.cancel.cancel();
        self.task.await.unwrap();
    }
}

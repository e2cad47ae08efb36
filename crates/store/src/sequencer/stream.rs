//! What a stream is: its tables, and who is woken when something happens to it.

use std::sync::OnceLock;

use sqlx::postgres::PgRow;
use sqlx::{FromRow, PgConnection};
use tokio::sync::watch;

use super::SequencerError;
use super::link::Hash;
use crate::repo::sequencer as repo;

/// A stream, as its owner declares it, once, in a `static`. All names are of objects that a migration makes: the stream's table, partitioned by
/// `sequence` with a policy of that unit; a row in `sequences`; and the staging table with `staging_id` (an identity without a cache),
/// `recorded_at`, and for a linked stream `digest`.
#[derive(Debug)]
pub struct Stream {
    name: &'static str,
    staging: &'static str,
    columns: &'static [&'static str],
    is_linked: bool,
    staged: Signal,
    numbered: Signal,
}

impl Stream {
    /// A stream in the table `name`, fed from the table `staging`. `columns` are those that both have: all but `sequence` here, `staging_id` there,
    /// and `prev_hash` and `hash` of a linked stream.
    #[must_use]
    pub const fn new(name: &'static str, staging: &'static str, columns: &'static [&'static str]) -> Self {
        Self { name, staging, columns, is_linked: false, staged: Signal::new(), numbered: Signal::new() }
    }

    /// The same, hash-linked: among the columns is `digest`, and the stream also has `prev_hash` and `hash`.
    #[must_use]
    pub const fn linked(mut self) -> Self {
        self.is_linked = true;
        self
    }

    /// The stream's name, which is its table's.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// The table that writers insert into.
    #[must_use]
    pub const fn staging(&self) -> &'static str {
        self.staging
    }

    /// The columns that go from the one to the other.
    #[must_use]
    pub const fn columns(&self) -> &'static [&'static str] {
        self.columns
    }

    /// Whether its rows are hash-linked.
    #[must_use]
    pub const fn is_linked(&self) -> bool {
        self.is_linked
    }

    /// Wakes a sequencer of this process: a row was staged, in a transaction that will soon commit. A writer that does not call it only waits longer.
    pub fn announce_staged(&self) {
        self.staged.ring();
    }

    /// Changes whenever a sequencer of *this process* has numbered something. Readers also look by themselves now and then: it may be another
    /// process that numbers.
    #[must_use]
    pub fn subscribe_numbered(&self) -> watch::Receiver<u64> {
        self.numbered.subscribe()
    }

    pub(super) fn subscribe_staged(&self) -> watch::Receiver<u64> {
        self.staged.subscribe()
    }

    pub(super) fn announce_numbered(&self) {
        self.numbered.ring();
    }
}

/// Wakes whoever has subscribed, each once for any number of rings.
#[derive(Debug)]
struct Signal(OnceLock<watch::Sender<u64>>);

impl Signal {
    const fn new() -> Self {
        Self(OnceLock::new())
    }

    fn sender(&self) -> &watch::Sender<u64> {
        self.0.get_or_init(|| watch::Sender::new(0))
    }

    fn ring(&self) {
        self.sender().send_modify(|rings| *rings = rings.wrapping_add(1));
    }

    fn subscribe(&self) -> watch::Receiver<u64> {
        self.sender().subscribe()
    }
}

/// Where a stream ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// The last number given; 0 when there is none.
    pub sequence: i64,
    /// Its row's hash; zeros where nothing is linked.
    pub hash: Hash,
}

/// Where `stream` ends now. Wants the worker's rights.
///
/// # Errors
/// [`SequencerError::UnknownStream`], or the database's.
pub async fn head(conn: &mut PgConnection, stream: &Stream) -> Result<Head, SequencerError> {
    let at =
        repo::read(conn, stream.name).await?.ok_or(SequencerError::UnknownStream { stream: stream.name })?;
    Ok(Head { sequence: at.next - 1, hash: at.head_hash })
}

/// Up to `limit` rows whose number is above `sequence`, in order: all columns of the stream's table that the connection's role may see. What is
/// missing between two numbers is another tenant's, or past its retention.
///
/// # Errors
/// The database's.
pub async fn read_after<T>(
    conn: &mut PgConnection,
    stream: &Stream,
    sequence: i64,
    limit: i64,
) -> Result<Vec<T>, sqlx::Error>
where
    T: for<'row> FromRow<'row, PgRow> + Send + Unpin,
{
    repo::read_after(conn, stream, sequence, limit).await
}

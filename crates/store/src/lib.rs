//! Postgres, and everything that has to be true of it.
//!
//! # What it promises
//! - **A database is there.** By URL, or as a private cluster of our own ([`cluster`]) that survives being killed at any moment.
//! - **It is the right one.** [`migrate`] brings it to this program's version; a newer one is refused and not touched. [`Db::connect`]
//!   opens no pool before version, roles and row-level security are as they must be, and says with SQL how to put right what is not.
//! - **Tenants are kept apart by the database.** The app's role cannot read a row of a tenant that its transaction did not name
//!   ([`Db::tenant_tx`]), nor write what the chain says, whatever the program above it does. Every table has row-level security
//!   enabled and forced, partitions included.
//! - **Authority is a token.** A transaction under a [`Lease`] proves its token with a locking read of the lease's row, and commits
//!   only while the token is in force. The argument is in [`lease`].
//! - **A process that is gone is known to be.** Each session says whose it is; the argument is in [`presence`].
//! - **A dropped future harms nobody.** A [`Tx`] that is given up at any point never hands its connection back with a transaction open or an
//!   answer unread; what it wrote is gone.
//! - **Bulk is cheap.** [`CopyBuffer`] encodes rows for binary COPY as they are produced; [`Partitions`] has their partitions made ahead.
//! - **What many write gets one order.** A [`sequencer`] numbers what their transactions have left in a queue: dense, nothing skipped, nothing twice.
//! - **A restored database holds still.** [`restore`] puts up a fence that only an operator lifts, and raises every token.
//!
//! # Why three roles
//! The *owner* may change everything and is used for migrations and retention alone. The *app* answers requests, and is bound by row-level
//! security. The *worker* runs folds and sequencers that span tenants: it bypasses the policies, and owns nothing, so that it can
//! neither alter a table nor switch its protection off. A fault in a request handler is then a missing row, not a leak.
//!
//! # Traps
//! - `statement_timeout` (10 s) and `idle_in_transaction_session_timeout` (5 s) hold on both pools: work in batches, and do not wait for
//!   the network inside a transaction.
//! - `begin` of a pool or of a pooled connection is not cancel-safe, COPY still less: only a [`Tx`] begins a transaction
//!   (the architecture lane looks), and [`CopyBuffer`] writes only within one.
//! - Migrations are compiled in. A file that was applied is never edited.
//! - Connect directly, or through a pooler that keeps sessions: leases and the presence of a process are advisory locks of sessions, and settings are sent at log-in.
//!
//! Nothing here knows what a journal, a fold or a contract is.

mod assertions;
pub mod backup;
pub mod cluster;
mod copy;
mod db;
pub mod feed;
mod fence;
pub mod idempotency;
pub mod lease;
mod migrate;
pub mod partitions;
pub mod presence;
mod repo;
mod roles;
pub mod sequencer;
mod tenant;
#[cfg(feature = "testing")]
pub mod testing;
mod tx;
mod urls;

pub use assertions::{Finding, Findings};
pub use backup::{BackupError, Manifest, backup, restore};
pub use cluster::{Cluster, ClusterError};
pub use copy::CopyBuffer;
pub use db::{ConnectError, Db, PoolSizes};
pub use fence::{Fence, FenceError, fence_status, lift_fence};
pub use lease::{DEFAULT_TERM, Lease, LeaseError, Leases};
pub use migrate::{MigrateError, MigrationReport, latest_version, migrate};
pub use partitions::{Partitions, RetentionError, drop_expired, set_retention};
pub use roles::{APP, OWNER, RolePasswords, RolesError, WORKER, administrator_sql, prepare_roles};
pub use sequencer::{Sequencer, SequencerError, Stream};
pub use tx::Tx;
pub use urls::{DatabaseUrls, IDLE_IN_TRANSACTION_TIMEOUT_MS, SCHEMA, STATEMENT_TIMEOUT_MS, UrlError};

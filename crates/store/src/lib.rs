//! Postgres, and everything that has to be true of it.
mod assertions;
pub mod backup;
pub mod cluster;
mod copy;
mod db;
mod fence;
pub mod lease;
mod migrate;
pub mod partitions;
mod repo;
mod roles;
mod tenant;
#[cfg(feature = "testing")]
pub mod testing;
mod urls;

pub use assertions::{Finding, Findings};
pub use backup::{BackupError, Manifest, backup, restore};
pub use cluster::{Cluster, ClusterError};
pub use copy::CopyBuffer;
pub use db::{ConnectError, Db, PoolSizes};
pub use fence::{Fence, FenceError, fence_status, lift_fence};
pub use lease::{DEFAULT_TERM, Lease, LeaseError, Leases};
pub use migrate::{MigrateError, MigrationReport, latest_version, migrate};
pub use partitions::{Partitions, RetentionError, drop_expired};
pub use roles::{APP, OWNER, RolePasswords, RolesError, WORKER, administrator_sql, prepare_roles};
pub use urls::{DatabaseUrls, IDLE_IN_TRANSACTION_TIMEOUT_MS, SCHEMA, STATEMENT_TIMEOUT_MS, UrlError};

//! Postgres, and everything that has to be true of it.
mod assertions;
mod copy;
mod db;
pub mod lease;
mod migrate;
mod repo;
mod roles;
mod tenant;
mod urls;

pub use assertions::{Finding, Findings};
pub use copy::CopyBuffer;
pub use db::{ConnectError, Db, PoolSizes};
pub use lease::{DEFAULT_TERM, Lease, LeaseError, Leases};
pub use migrate::{MigrateError, MigrationReport, latest_version, migrate};
pub use roles::{APP, OWNER, RolePasswords, RolesError, WORKER, administrator_sql, prepare_roles};
pub use urls::{DatabaseUrls, IDLE_IN_TRANSACTION_TIMEOUT_MS, SCHEMA, STATEMENT_TIMEOUT_MS, UrlError};

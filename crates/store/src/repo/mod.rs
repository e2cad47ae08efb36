//! Every SQL statement of this crate.
//!
//! The leases' (their argument is in [`crate::lease`]), the catalogue's (who may do what, asked of Postgres itself), the roles', the
//! partitions', the sequencer's, those of a restore, and what a session is asked about itself. Statements that are fixed are checked against the schema at compile time; those that name
//! objects that may not exist yet (roles, the migrations' own table) cannot be, and are built from constants and quoted names only.

pub(crate) mod catalog;
pub(crate) mod idempotency;
pub(crate) mod leases;
pub(crate) mod partitions;
pub(crate) mod restore;
pub(crate) mod roles;
pub(crate) mod sequencer;
pub(crate) mod session;
pub(crate) mod tenants;

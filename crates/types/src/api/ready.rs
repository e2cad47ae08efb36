use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use super::{ChainState, FoldState, Reason};

/// Whether this process can do its work now.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Readiness {
    /// All of it: the status is 200 when true and 503 when not.
    pub ready: bool,
    /// Every reason against it, those of chains, folds and roles included.
    pub why: Vec<Reason>,
    /// The database.
    pub database: DatabaseReadiness,
    /// The roles of this process.
    pub roles: Vec<Role>,
    /// The chains and their folds.
    pub chains: Vec<ChainReadiness>,
}

/// The database, as the readiness check met it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct DatabaseReadiness {
    /// Whether it answered, with the tables that this version knows.
    pub ready: bool,
    /// Why not.
    pub why: Vec<Reason>,
    /// The fence of a private database that was restored from a backup; null when there is none. It does not make the process
    /// unready: the chain is followed and the API answers, but nothing may be sent until an operator lifts it.
    #[cfg_attr(feature = "openapi", schema(required = true))]
    pub fence: Option<Fence>,
}

/// Why a restored database is fenced.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Fence {
    /// Since when; null when the fence cannot be read, which counts as fenced.
    #[serde(with = "time::serde::rfc3339::option")]
    #[cfg_attr(feature = "openapi", schema(required = true, value_type = Option<String>, format = DateTime))]
    pub since: Option<OffsetDateTime>,
    /// When the backup was made: nothing that happened later is in the database.
    #[serde(with = "time::serde::rfc3339::option")]
    #[cfg_attr(feature = "openapi", schema(required = true, value_type = Option<String>, format = DateTime))]
    pub backup_made_at: Option<OffsetDateTime>,
    /// Why, for people.
    pub reason: String,
    /// What to do.
    pub remedy: String,
}

/// A role of this process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Role {
    /// Its name.
    #[cfg_attr(feature = "openapi", schema(example = "ingest"))]
    pub role: String,
    /// The chain that it works on; null when on all.
    #[cfg_attr(feature = "openapi", schema(required = true))]
    pub chain_id: Option<u64>,
    /// What it does now.
    pub state: RoleState,
    /// Why, where the state alone does not say it.
    #[cfg_attr(feature = "openapi", schema(required = true))]
    pub detail: Option<String>,
}

/// What a role does now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum RoleState {
    /// It has not begun: not ready.
    Starting,
    /// It works.
    Running,
    /// Another process holds its lease and does the work: ready, as this one may take over.
    Standby,
    /// It failed and will be tried again: not ready.
    Retrying,
    /// It ended and will not be tried again: not ready.
    Stopped,
}

/// A chain in a readiness check.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ChainReadiness {
    /// The chain.
    pub chain_id: u64,
    /// Whether its raw store keeps up.
    pub ready: bool,
    /// Why not.
    pub why: Vec<Reason>,
    /// Whether it is followed; null when it never was.
    #[cfg_attr(feature = "openapi", schema(required = true))]
    pub state: Option<ChainState>,
    /// The last block that the journal covers.
    #[cfg_attr(feature = "openapi", schema(required = true))]
    pub head_number: Option<u64>,
    /// The node's head when last seen.
    #[cfg_attr(feature = "openapi", schema(required = true))]
    pub node_head_number: Option<u64>,
    /// Blocks between the two.
    #[cfg_attr(feature = "openapi", schema(required = true))]
    pub lag_blocks: Option<u64>,
    /// Seconds since a head was last seen.
    #[cfg_attr(feature = "openapi", schema(required = true))]
    pub head_age_seconds: Option<f64>,
    /// Its folds.
    pub folds: Vec<FoldReadiness>,
}

/// A fold in a readiness check.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct FoldReadiness {
    /// Its name.
    pub fold: String,
    /// Whether it keeps up with the journal.
    pub ready: bool,
    /// Why not.
    pub why: Vec<Reason>,
    /// Whether it runs.
    pub state: FoldState,
    /// Blocks of the journal that it has not covered.
    pub lag_blocks: u64,
    /// Journal records that it has not applied.
    pub lag_records: u64,
    /// Seconds since the oldest of those records was written; 0 when there is none.
    #[cfg_attr(feature = "openapi", schema(required = true))]
    pub lag_seconds: Option<f64>,
}

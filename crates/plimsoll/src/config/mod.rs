//! The configuration: one TOML file, the environment over it, everything checked before anything starts.
//!
//! It is read in three passes, and each notes every problem that it finds instead of stopping at the first: [`source`]
//! makes one tree of file and environment and remembers where each value stands, [`read`] holds the tree against the
//! [`schema`], and [`check`] looks at what a schema cannot say (duplicates, checksums, files, ABIs). Only a
//! configuration without a single problem becomes a [`Config`], so the rest of the program never meets a bad one.

mod abi;
mod check;
mod load;
mod problem;
mod read;
mod schema;
mod settings;
mod show;
mod source;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::fmt;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use alloy_json_abi::JsonAbi;
use alloy_primitives::{Address, B256};
use ipnet::IpNet;
use plimsoll_api::{RateLimits, TlsFiles};
use plimsoll_identity::sign_in::Registration;
use plimsoll_identity::webauthn::UserVerification;
use plimsoll_ingest::Finality;
use plimsoll_proof::ledger::checkpoint::NoteSigner;
use plimsoll_relayer::fees::Pricing;
use plimsoll_relayer::grant::SignerPolicy;
use plimsoll_store::idempotency::KeyOptions;
use plimsoll_types::Completeness;
use reqwest::header::HeaderMap;
use uuid::Uuid;

pub(crate) use load::{Environment, Loaded, load};
pub(crate) use problem::Problems;
pub(crate) use schema::did_you_mean;
pub(crate) use show::redacted_url;
pub(crate) use source::Origin;

/// The commented example, which `plimsoll config example` prints.
pub(crate) const EXAMPLE: &str = include_str!("../../../../plimsoll.example.toml");

/// A text that is never printed.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Secret(String);

/// A configuration in which no problem was found.
#[derive(Debug)]
pub(crate) struct Config {
    pub(crate) database: Database,
    pub(crate) tenants: Vec<Tenant>,
    pub(crate) chains: Vec<Chain>,
    pub(crate) signers: Vec<Signer>,
    pub(crate) retry: Retry,
    pub(crate) api: Api,
    pub(crate) identity: Identity,
    /// `None`: nothing is sealed here.
    pub(crate) ledger: Option<Ledger>,
    pub(crate) idempotency: KeyOptions,
    pub(crate) logging: Logging,
    pub(crate) telemetry: Telemetry,
    pub(crate) verify_rows_per_second: u32,
    pub(crate) audit_retention_days: u32,
    pub(crate) lease_term: Duration,
}

#[derive(Debug)]
pub(crate) struct Database {
    pub(crate) source: DatabaseSource,
    pub(crate) app_password: Option<Secret>,
    pub(crate) worker_password: Option<Secret>,
    pub(crate) app_connections: u32,
    pub(crate) worker_connections: u32,
    pub(crate) origin: Origin,
}

#[derive(Debug)]
pub(crate) enum DatabaseSource {
    /// A Postgres of the user's own.
    Url(Secret),
    /// The private cluster, in this directory.
    Private(PathBuf),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Tenant {
    pub(crate) id: Uuid,
    pub(crate) name: String,
}

#[derive(Debug)]
pub(crate) struct Chain {
    pub(crate) chain_id: u64,
    pub(crate) name: String,
    /// At least one.
    pub(crate) endpoints: Vec<Endpoint>,
    pub(crate) confirmations: u64,
    pub(crate) finality: Finality,
    pub(crate) head_completeness: Completeness,
    pub(crate) backfill_completeness: Completeness,
    pub(crate) poll_interval: Duration,
    pub(crate) request_timeout: Duration,
    pub(crate) max_concurrent_requests: usize,
    pub(crate) backfill_initial_blocks: u64,
    pub(crate) backfill_max_blocks: u64,
    pub(crate) backfill_in_flight: usize,
    pub(crate) max_lag_blocks: u64,
    pub(crate) max_lag: Duration,
    pub(crate) max_head_age: Duration,
    pub(crate) watched_senders: Vec<Address>,
    /// Whose books are kept from it.
    pub(crate) books: Option<Uuid>,
    pub(crate) contracts: Vec<Contract>,
    pub(crate) relayer: Relayer,
    /// Where `chain_id` stands, for problems that only the node can show.
    pub(crate) origin: Origin,
}

/// A node of a chain.
#[derive(Debug)]
pub(crate) struct Endpoint {
    /// `None`: host and port.
    pub(crate) name: Option<String>,
    pub(crate) rpc: Secret,
    pub(crate) requests_per_second: Option<u32>,
    /// Where the URL stands.
    pub(crate) origin: Origin,
}

#[derive(Debug)]
pub(crate) struct Contract {
    pub(crate) name: String,
    pub(crate) address: Address,
    pub(crate) abi: Arc<JsonAbi>,
    /// Keccak-256 of the ABI's canonical JSON: a change of the file is noticed, one of its white space is not.
    pub(crate) abi_digest: B256,
    pub(crate) start_block: u64,
    pub(crate) tenant_id: Uuid,
    /// Where the address stands.
    pub(crate) origin: Origin,
}

/// Who signs, and what it may be used for.
#[derive(Debug)]
pub(crate) struct Signer {
    pub(crate) policy: SignerPolicy,
    pub(crate) key: SignerKey,
    /// Whether what says nothing of it is run before it gets a nonce.
    pub(crate) simulates: bool,
    /// Where it begins.
    pub(crate) origin: Origin,
}

/// Where a signer's key is.
#[derive(Debug)]
pub(crate) enum SignerKey {
    /// In this file, under this password.
    Keystore { path: PathBuf, password: Secret, origin: Origin },
    /// With a remote signer.
    Remote(Box<RemoteSigner>),
}

/// A remote signer, its files not yet read.
#[derive(Debug)]
pub(crate) struct RemoteSigner {
    pub(crate) url: Secret,
    pub(crate) identifier: Option<String>,
    pub(crate) token: Option<Secret>,
    pub(crate) ca_file: Option<PathBuf>,
    /// Our certificate, and its private key.
    pub(crate) identity: Option<(PathBuf, PathBuf)>,
    pub(crate) request_timeout: Duration,
    pub(crate) max_concurrent_requests: usize,
    /// Where the URL stands.
    pub(crate) origin: Origin,
}

/// How the relayer drives a chain's transactions home.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Relayer {
    pub(crate) policy_interval: Duration,
    pub(crate) resend_after_blocks: u64,
    pub(crate) bump_after_blocks: u64,
    pub(crate) resend_after: Duration,
    pub(crate) max_fee_per_gas_wei: u128,
    pub(crate) min_priority_fee_per_gas_wei: u128,
    /// `None`: as the chain's id and its blocks say.
    pub(crate) pricing: Option<Pricing>,
    pub(crate) on_stale_data: OnStaleData,
}

/// What becomes of requests without a nonce while the chain's data are stale.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OnStaleData {
    /// Those that name the block that they were decided on are held.
    HoldDecided,
    /// All are.
    HoldAll,
    /// All are sent.
    Send,
}

/// How what views failed to take is tried again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Retry {
    /// Who signs, by chain.
    pub(crate) signers: HashMap<u64, Address>,
    /// The reasons whose failures are retried unasked.
    pub(crate) automatic: Vec<String>,
    pub(crate) automatic_per_hour: u32,
    pub(crate) max_attempts: u32,
    pub(crate) cool_down: Duration,
    pub(crate) backoff: Duration,
    pub(crate) max_backoff: Duration,
    pub(crate) interval: Duration,
}

#[derive(Debug)]
pub(crate) struct Api {
    pub(crate) listen: SocketAddr,
    pub(crate) listen_origin: Origin,
    /// Without a `/` at its end.
    pub(crate) public_url: String,
    /// Where this process alone is reached, without a `/` at its end.
    pub(crate) node_url: Option<String>,
    /// `None`: plain HTTP.
    pub(crate) tls: Option<TlsFiles>,
    pub(crate) internal: Option<Internal>,
    pub(crate) trusted_proxies: Vec<IpNet>,
    pub(crate) cors_origins: Vec<String>,
    pub(crate) open_reads: bool,
    pub(crate) request_timeout: Duration,
    pub(crate) body_timeout: Duration,
    pub(crate) write_timeout: Duration,
    pub(crate) max_concurrent_requests: usize,
    pub(crate) max_costly_requests: usize,
    pub(crate) max_connections: usize,
    pub(crate) max_streams: usize,
    pub(crate) max_streams_per_tenant: usize,
    pub(crate) rate_limits: RateLimits,
}

/// The internal listener.
#[derive(Debug)]
pub(crate) struct Internal {
    pub(crate) listen: SocketAddr,
    pub(crate) origin: Origin,
    /// `None`: nobody but this machine reaches it.
    pub(crate) tls: Option<TlsFiles>,
}

#[derive(Debug)]
pub(crate) struct Identity {
    pub(crate) keys_dir: PathBuf,
    pub(crate) keys_origin: Origin,
    pub(crate) registration: Registration,
    pub(crate) seal_key: Option<(Secret, Origin)>,
    pub(crate) former_seal_key: Option<(Secret, Origin)>,
    pub(crate) password_file: Option<(PathBuf, Origin)>,
    pub(crate) webauthn_domain: Option<String>,
    pub(crate) webauthn_user_verification: UserVerification,
    pub(crate) providers: Vec<Provider>,
}

/// How the ledger's logs are signed.
#[derive(Debug)]
pub(crate) struct Ledger {
    /// What they are called, before `/<tenant_id>`.
    pub(crate) log_name: String,
    pub(crate) signer: Arc<NoteSigner>,
}

/// An OpenID Connect provider of a tenant.
#[derive(Debug)]
pub(crate) struct Provider {
    pub(crate) name: String,
    pub(crate) tenant_id: Uuid,
    pub(crate) issuer: String,
    pub(crate) client_id: String,
    pub(crate) client_secret: Secret,
    pub(crate) scopes: Vec<String>,
    pub(crate) second_factor_amr: Vec<String>,
    pub(crate) second_factor_acr: Vec<String>,
    /// Whether a subject that no user has becomes one.
    pub(crate) creates: bool,
    pub(crate) role: Option<String>,
    pub(crate) origin: Origin,
}

#[derive(Clone, Debug)]
pub(crate) struct Logging {
    pub(crate) format: LogFormat,
    pub(crate) level: String,
}

/// How log lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// What is told to an OpenTelemetry collector.
#[derive(Debug)]
pub(crate) struct Telemetry {
    /// `None`: nothing is.
    pub(crate) collector: Option<Collector>,
    /// Of how many traces that begin here one is told.
    pub(crate) sample_one_in: NonZeroU32,
    pub(crate) service_name: String,
}

#[derive(Debug)]
pub(crate) struct Collector {
    /// Where spans are posted to. It may have a key in it.
    pub(crate) url: Secret,
    /// Each marked as sensitive.
    pub(crate) headers: HeaderMap,
}

impl Secret {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself: for the one who needs it, never for a log or a message.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

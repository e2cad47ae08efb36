//! From the configuration to the capabilities: the one place that knows them all.

use std::collections::HashMap;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use plimsoll_api::{ApiOptions, FreshLimits, FreshnessLimits};
use plimsoll_chain::abi::{self, Contracts};
use plimsoll_chain::interval::IntervalPolicy;
use plimsoll_chain::{EndpointConfig, Rpc, transport};
use plimsoll_identity::Authenticator;
use plimsoll_identity::keys::{KeyDirectory, Keys, SIGNING_FILE, generate_pem};
use plimsoll_identity::token::Tokens;
use plimsoll_ingest::IngestConfig;
use plimsoll_store::Db;
use secrecy::ExposeSecret;

use crate::config::{Chain, Config, DatabaseSource, Loaded};
use crate::failure::{Failure, chain_of};
use crate::repo;

/// Requests in flight when the process ends get this long.
const API_DRAIN: Duration = Duration::from_millis(1_500);

/// The chain's node. Nothing is asked yet: a node that is away is waited for by whoever needs it.
pub(crate) fn rpc(loaded: &Loaded, chain: &Chain) -> Result<Rpc, Failure> {
    let endpoint = EndpointConfig {
        request_timeout: chain.request_timeout,
        max_concurrent: chain.max_concurrent_requests,
        ..EndpointConfig::new(chain.rpc.expose())
    };
    let transport = transport::open(&endpoint)
        .map_err(|error| Failure::usage(chain_of(&error)).at(loaded, &chain.rpc_origin))?;
    Ok(Rpc::over(transport, &endpoint))
}

/// The chain's contracts, their ABIs prepared.
pub(crate) fn contracts(chain: &Chain) -> Contracts {
    Contracts::new(
        chain
            .contracts
            .iter()
            .map(|c| abi::Contract::new(&c.name, c.address, c.tenant_id, c.start_block, Arc::clone(&c.abi))),
    )
}

/// How the chain is followed.
pub(crate) fn ingest(chain: &Chain) -> IngestConfig {
    IngestConfig {
        chain_id: chain.chain_id,
        name: chain.name.clone(),
        confirmations: chain.confirmations,
        finality_depth: chain.finality_depth,
        poll_interval: chain.poll_interval,
        watched_senders: chain.watched_senders.clone(),
        ranges_in_flight: chain.backfill_in_flight,
        range: IntervalPolicy {
            initial_blocks: chain.backfill_initial_blocks,
            max_blocks: chain.backfill_max_blocks,
            increase_blocks: (chain.backfill_initial_blocks / 2).max(1),
            ..IntervalPolicy::default()
        },
    }
}

/// How the API serves.
pub(crate) fn api(config: &Config) -> ApiOptions {
    let limits = |chain: &Chain| FreshLimits {
        max_lag_blocks: Some(chain.max_lag_blocks),
        max_lag_seconds: Some(chain.max_lag.as_secs_f64()),
        max_head_age_seconds: Some(chain.max_head_age.as_secs_f64()),
    };
    let chains: HashMap<_, _> = config.chains.iter().map(|chain| (chain.chain_id, limits(chain))).collect();
    ApiOptions {
        freshness: FreshnessLimits { default: FreshLimits::default(), chains },
        chains: config.chains.iter().map(|chain| chain.chain_id).collect(),
        data_dir: match &config.database.source {
            DatabaseSource::Private(directory) => Some(directory.clone()),
            DatabaseSource::Url(_) => None,
        },
        request_timeout_ms: millis(config.api.request_timeout),
        max_concurrent_requests: config.api.max_concurrent_requests,
        max_connections: config.api.max_connections,
        open_reads: config.api.open_reads,
        drain_ms: millis(API_DRAIN),
    }
}

/// What proves who a request is from. Makes a key where there is none.
pub(crate) fn authenticator(loaded: &Loaded, config: &Config, db: &Db) -> Result<Authenticator, Failure> {
    let directory = &config.identity.keys_dir;
    let misplaced = |failure: Failure| failure.at(loaded, &config.identity.keys_origin);
    if make_key(directory).map_err(|error| misplaced(unwritable(directory, &error)))? {
        tracing::info!(directory = %directory.display(), "made a key that signs access tokens: keep it, and give the same to every process that serves the API");
    }
    let keys = Keys::load(&KeyDirectory(directory.clone()))
        .map_err(|error| misplaced(Failure::usage(chain_of(&error))))?;
    Ok(Authenticator::new(db.clone(), Tokens::new(keys, &config.api.public_url, &config.api.public_url)))
}

/// Whether a signing key had to be made. A directory that has other keys but none that signs is left alone: loading it says what is missing.
fn make_key(directory: &Path) -> std::io::Result<bool> {
    use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
    if directory.exists() {
        return Ok(false);
    }
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(directory.join(SIGNING_FILE))?;
    file.write_all(generate_pem().expose_secret().as_bytes())?;
    file.sync_all()?;
    Ok(true)
}

fn unwritable(directory: &Path, error: &std::io::Error) -> Failure {
    Failure::usage(format!("no key that signs access tokens can be made in {}: {error}", directory.display()))
        .remedy("let this user write there, or set `identity.keys_dir` to a directory with a `signing.pem`")
}

/// Writes what the configuration says about tenants and their contracts, whole or not at all.
pub(crate) async fn put_tenants(db: &Db, config: &Config) -> Result<(), Failure> {
    let mut tenants = config.tenants.clone();
    tenants.sort_by_key(|tenant| tenant.id);
    let mut owners: Vec<_> = config.chains.iter().flat_map(|c| &c.contracts).map(|c| c.tenant_id).collect();
    owners.sort_unstable();
    owners.dedup();
    let mut chains: Vec<_> = config.chains.iter().collect();
    chains.sort_by_key(|chain| chain.chain_id);
    let mut tx = db.begin_worker().await?;
    for tenant in &tenants {
        repo::put_tenant(&mut tx, tenant.id, &tenant.name)
            .await
            .map_err(|error| taken(error, &tenant.name))?;
    }
    for owner in owners {
        repo::ensure_tenant(&mut tx, owner).await?;
    }
    for chain in chains {
        repo::put_contracts(&mut tx, chain).await?;
    }
    Ok(tx.commit().await?)
}

fn taken(error: sqlx::Error, name: &str) -> Failure {
    match &error {
        sqlx::Error::Database(database) if database.is_unique_violation() => {
            Failure::usage(format!("the database knows the tenant \"{name}\" under another id"))
                .remedy("give it the id that it had, or another name; an id is never changed")
        }
        _ => error.into(),
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

//! From the configuration to the capabilities: the one place that knows them all.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use plimsoll_api::{
    ApiOptions, BindError, FreshLimits, FreshnessLimits, Listeners, SignInOptions, StreamOptions, Tls,
    TlsFiles, Wallets,
};
use plimsoll_chain::abi::{self, Contracts};
use plimsoll_chain::interval::IntervalPolicy;
use plimsoll_chain::{EndpointConfig, Pool, Rpc, transport};
use plimsoll_identity::keys::{KeyDirectory, Keys};
use plimsoll_identity::oidc::{self, ProviderConfig, Provisioning, SecondFactorPolicy};
use plimsoll_identity::password::PasswordFile;
use plimsoll_identity::seal::Sealer;
use plimsoll_identity::siwe::Expectations;
use plimsoll_identity::token::Tokens;
use plimsoll_identity::webauthn::RelyingParty;
use plimsoll_identity::{Authenticator, UserStatus};
use plimsoll_ingest::IngestConfig;
use plimsoll_ledger::Sealer as LogSealer;
use plimsoll_ledger::chain::Books;
use plimsoll_relayer::chains::{Chain as Asked, Chains};
use plimsoll_relayer::desk::Market;
use plimsoll_relayer::{Bell, Intake};
use plimsoll_store::{Db, Leases};
use secrecy::SecretString;

use crate::config::{self, Chain, Config, DatabaseSource, Endpoint, Identity, Loaded};
use crate::failure::{Failure, chain_of};
use crate::first_key::make_key;
use crate::repo;
use crate::sending;
use crate::wallet::ContractWallets;

/// Requests in flight when the process ends get this long.
const API_DRAIN: Duration = Duration::from_millis(1_500);

/// With another endpoint to go to, one is asked again only so often.
const RETRIES_BESIDE_ANOTHER: u32 = 1;

/// The chain's nodes. Nothing is asked yet: a node that is away is waited for by whoever needs it.
pub(crate) fn pool(loaded: &Loaded, chain: &Chain) -> Result<Pool, Failure> {
    let endpoints = chain.endpoints.iter().map(|endpoint| rpc(loaded, chain, endpoint));
    let pool = Pool::new(endpoints.collect::<Result<_, _>>()?);
    pool.ok_or_else(|| {
        Failure::usage(format!("chain {} has no node", chain.chain_id)).at(loaded, &chain.origin)
    })
}

/// One of the chain's nodes.
pub(crate) fn rpc(loaded: &Loaded, chain: &Chain, endpoint: &Endpoint) -> Result<Rpc, Failure> {
    let mut config = EndpointConfig {
        name: endpoint.name.clone(),
        request_timeout: chain.request_timeout,
        max_concurrent: chain.max_concurrent_requests,
        requests_per_second: endpoint.requests_per_second.map(f64::from),
        ..EndpointConfig::new(endpoint.rpc.expose())
    };
    if chain.endpoints.len() > 1 {
        config.max_retries = RETRIES_BESIDE_ANOTHER;
    }
    let transport = transport::open(&config)
        .map_err(|error| Failure::usage(chain_of(&error)).at(loaded, &endpoint.origin))?;
    Ok(Rpc::over(transport, &config))
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

/// Whose books are kept from the chain, if anybody's. They pay the gas of the senders that are ours: those that are watched by configuration, and those whose keys we have.
pub(crate) fn books(config: &Config, chain: &Chain) -> Option<Books> {
    let signers = config.signers.iter().filter(|signer| signer.policy.chain_id == chain.chain_id);
    let gas_payers =
        chain.watched_senders.iter().copied().chain(signers.map(|signer| signer.policy.address)).collect();
    chain.books.map(|tenant_id| Books { chain_id: chain.chain_id, tenant_id, gas_payers })
}

/// How the chain is followed.
pub(crate) fn ingest(chain: &Chain) -> IngestConfig {
    let first = chain.contracts.iter().map(|contract| contract.start_block).min().unwrap_or(0);
    IngestConfig {
        chain_id: chain.chain_id,
        name: chain.name.clone(),
        confirmations: chain.confirmations,
        finality: chain.finality,
        head_completeness: chain.head_completeness,
        backfill_completeness: chain.backfill_completeness,
        poll_interval: chain.poll_interval,
        watched_senders: chain.watched_senders.iter().map(|sender| (*sender, first)).collect(),
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
        streams: StreamOptions {
            max: config.api.max_streams,
            max_per_tenant: config.api.max_streams_per_tenant,
            ..StreamOptions::default()
        },
        rate_limits: config.api.rate_limits,
        trusted_proxies: config.api.trusted_proxies.clone(),
        max_costly_requests: config.api.max_costly_requests,
        body_timeout_ms: millis(config.api.body_timeout),
        write_timeout_ms: millis(config.api.write_timeout),
        // Each was found to be made of visible ASCII.
        cors_origins: config.api.cors_origins.iter().filter_map(|origin| origin.parse().ok()).collect(),
        is_https: config.api.tls.is_some() || config.api.public_url.starts_with("https://"),
        open_reads: config.api.open_reads,
        sampled_traces_one_in: config.telemetry.collector.as_ref().map(|_| config.telemetry.sample_one_in),
        drain_ms: millis(API_DRAIN),
    }
}

/// Where the API listens, its certificates read.
#[derive(Clone)]
pub(crate) struct Addresses {
    public: SocketAddr,
    tls: Option<Tls>,
    internal: Option<(SocketAddr, Option<Tls>)>,
}

impl Addresses {
    pub(crate) fn of(loaded: &Loaded, config: &Config) -> Result<Self, Failure> {
        let api = &config.api;
        let tls = |files: &Option<TlsFiles>| {
            let read = files.clone().map(Tls::load).transpose();
            read.map_err(|error| {
                Failure::usage(chain_of(&error)).at(loaded, &loaded.origin_of(error.setting()))
            })
        };
        let internal = match &api.internal {
            None => None,
            Some(internal) => Some((internal.listen, tls(&internal.tls)?)),
        };
        Ok(Self { public: api.listen, tls: tls(&api.tls)?, internal })
    }

    /// Takes them, as they are taken again when the API fails and is started again.
    pub(crate) async fn take(&self) -> Result<Listeners, BindError> {
        let public = plimsoll_api::bind(self.public).await?;
        let internal = match &self.internal {
            None => None,
            Some((address, tls)) => Some((plimsoll_api::bind_internal(*address).await?, tls.clone())),
        };
        Ok(Listeners { public, tls: self.tls.clone(), internal })
    }
}

/// Where the setting stands that names an address which cannot be had.
pub(crate) fn unavailable(error: BindError, loaded: &Loaded, config: &Config) -> Failure {
    let internal = config.api.internal.as_ref().filter(|_| error.setting() == "api.internal_listen");
    let origin = internal.map_or(&config.api.listen_origin, |internal| &internal.origin);
    Failure::from(error).at(loaded, origin)
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

/// Where the API's transactions are handed in, if there are signers; `bell` wakes those who work them here.
pub(crate) fn intake(config: &Config, db: &Db, node: &str, bell: &Bell) -> Option<Intake> {
    let policies = config.signers.iter().map(|signer| signer.policy.clone());
    (!config.signers.is_empty()).then(|| Intake::start(db.clone(), node, policies, bell.clone()))
}

/// What seals the ledger, if it is configured with what signs.
pub(crate) fn log_sealer(config: &Config, db: &Db, leases: &Leases) -> Option<LogSealer> {
    let ledger = config.ledger.as_ref()?;
    Some(LogSealer::new(db.clone(), leases.clone(), &ledger.log_name, Arc::clone(&ledger.signer)))
}

/// The chains that the API asks for nonces, fees and balances.
pub(crate) fn chains(loaded: &Loaded, config: &Config) -> Result<Chains, Failure> {
    let asked = config.chains.iter().map(|chain| {
        Ok(Asked {
            chain_id: chain.chain_id,
            market: Market::new(pool(loaded, chain)?),
            pricing: sending::pricing(chain),
            contracts: contracts(chain),
        })
    });
    Ok(Chains::new(asked.collect::<Result<Vec<_>, Failure>>()?))
}

/// How people sign in.
pub(crate) fn sign_in(loaded: &Loaded, config: &Config) -> Result<SignInOptions, Failure> {
    let Config { identity, api, chains, .. } = config;
    let (scheme, domain) = api.public_url.split_once("://").unwrap_or(("https", &api.public_url));
    let nodes = chains.iter().map(|chain| Ok((chain.chain_id, pool(loaded, chain)?)));
    let passwords = match &identity.password_file {
        None => None,
        Some((path, origin)) => {
            tracing::warn!("operators sign in with passwords: that is for development");
            let file = PasswordFile::load(path);
            Some(file.map_err(|error| Failure::usage(chain_of(&error)).at(loaded, origin))?)
        }
    };
    let host = domain
        .rsplit_once(':')
        .filter(|(_, port)| port.parse::<u16>().is_ok())
        .map_or(domain, |(host, _)| host);
    Ok(SignInOptions {
        expectations: Expectations {
            domain: domain.to_owned(),
            scheme: scheme.to_owned(),
            chain_ids: chains.iter().map(|chain| chain.chain_id).collect(),
        },
        uri: api.public_url.clone(),
        registration: identity.registration,
        wallets: Wallets::new(ContractWallets::new(nodes.collect::<Result<_, Failure>>()?)),
        passwords,
        sealer: sealer(loaded, identity)?,
        party: RelyingParty {
            id: identity.webauthn_domain.clone().unwrap_or_else(|| host.to_owned()),
            name: "Plimsoll".to_owned(),
            origins: vec![api.public_url.clone()],
            user_verification: identity.webauthn_user_verification,
        },
        providers: identity
            .providers
            .iter()
            .map(|provider| Ok((provider.name.clone(), open_provider(loaded, config, provider)?)))
            .collect::<Result<_, Failure>>()?,
    })
}

fn sealer(loaded: &Loaded, identity: &Identity) -> Result<Option<Sealer>, Failure> {
    let Some((key, origin)) = &identity.seal_key else { return Ok(None) };
    let former: Vec<SecretString> =
        identity.former_seal_key.iter().map(|(key, _)| key.expose().to_owned().into()).collect();
    let sealer = Sealer::new(&key.expose().to_owned().into(), &former);
    Ok(Some(sealer.map_err(|error| Failure::usage(chain_of(&error)).at(loaded, origin))?))
}

fn open_provider(
    loaded: &Loaded,
    config: &Config,
    provider: &config::Provider,
) -> Result<oidc::Provider, Failure> {
    let second_factor = if provider.second_factor_amr.is_empty() && provider.second_factor_acr.is_empty() {
        SecondFactorPolicy::Ours
    } else {
        SecondFactorPolicy::Trusted {
            amr: provider.second_factor_amr.clone(),
            acr: provider.second_factor_acr.clone(),
        }
    };
    let provisioning = if provider.creates {
        Provisioning::Create { role: provider.role.clone(), status: UserStatus::Active }
    } else {
        Provisioning::Linked
    };
    oidc::Provider::new(ProviderConfig {
        tenant_id: provider.tenant_id,
        issuer: provider.issuer.clone(),
        client_id: provider.client_id.clone(),
        client_secret: provider.client_secret.expose().to_owned().into(),
        redirect_uri: format!("{}/auth/oidc/callback", config.api.public_url),
        scopes: provider.scopes.clone(),
        second_factor,
        provisioning,
    })
    .map_err(|error| Failure::usage(chain_of(&error)).at(loaded, &provider.origin))
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
    let mut tx = repo::begin_alone(db).await?;
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

use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::Arc;

use axum::extract::FromRef;
use axum::http::HeaderValue;
use ipnet::IpNet;
use metrics_exporter_prometheus::PrometheusHandle;
use plimsoll_bus::{Events, Feed};
use plimsoll_identity::Authenticator;
use plimsoll_journal::Marks;
use plimsoll_ledger::KeyedIntake;
use plimsoll_relayer::Intake;
use plimsoll_relayer::chains::Chains;
use plimsoll_store::Db;
use plimsoll_store::idempotency::Keys;
use sqlx::PgPool;
use tokio::sync::Semaphore;

use crate::fresh::FreshnessLimits;
use crate::gateway::{Gate, RateLimits};
use crate::metrics::Collector;
use crate::roles::Roles;
use crate::routes::{StreamOptions, Streams};
use crate::sign_in::SignInOptions;

/// What an operator may set.
#[derive(Clone, Debug)]
pub struct ApiOptions {
    /// When data counts as stale, and the process as not ready.
    pub freshness: FreshnessLimits,
    /// The chains that are configured. Readiness asks for these alone; empty: for every chain that the database knows.
    pub chains: Vec<u64>,
    /// The private database's directory, where this process runs one: a restored one has its fence there.
    pub data_dir: Option<PathBuf>,
    /// The longest that a request may take, in milliseconds. Keep the app role's statement timeout below it.
    pub request_timeout_ms: u64,
    /// Requests that are worked on at a time; one more is told to come back.
    pub max_concurrent_requests: usize,
    /// Connections that are open at a time; one more waits in the listener's queue.
    pub max_connections: usize,
    /// How often each address, user and tenant may ask.
    pub rate_limits: RateLimits,
    /// The operator's own proxies, whose `Forwarded` and `X-Forwarded-For` are believed.
    pub trusted_proxies: Vec<IpNet>,
    /// Requests to costly routes that are worked on at a time.
    pub max_costly_requests: usize,
    /// The longest that the body of a request may take to arrive, in milliseconds.
    pub body_timeout_ms: u64,
    /// The longest that a client may take nothing of what it is sent, in milliseconds; then its connection is cut off.
    pub write_timeout_ms: u64,
    /// The origins whose pages may call the API from a browser.
    pub cors_origins: Vec<HeaderValue>,
    /// Whether clients reach the API by https, so that browsers are told to use nothing else.
    pub is_https: bool,
    /// How many streams there may be.
    pub streams: StreamOptions,
    /// Whether public data (what the chain said, and what follows from it) is open to callers without a credential.
    pub open_reads: bool,
    /// Of how many traces that begin with a request here one is sampled; `None`: spans are not exported. A caller's trace is as sampled as they say.
    pub sampled_traces_one_in: Option<NonZeroU32>,
    /// How long requests in flight may take to end once shutdown begins, in milliseconds.
    pub drain_ms: u64,
}

impl Default for ApiOptions {
    fn default() -> Self {
        Self {
            freshness: FreshnessLimits::default(),
            chains: Vec::new(),
            data_dir: None,
            request_timeout_ms: 15_000,
            max_concurrent_requests: 256,
            max_connections: 1_024,
            rate_limits: RateLimits::default(),
            trusted_proxies: Vec::new(),
            max_costly_requests: 8,
            body_timeout_ms: 10_000,
            write_timeout_ms: 30_000,
            cors_origins: Vec::new(),
            is_https: false,
            streams: StreamOptions::default(),
            open_reads: true,
            sampled_traces_one_in: None,
            drain_ms: 4_000,
        }
    }
}

/// What the routes work with.
#[derive(Debug)]
pub struct Services {
    /// Both pools. Handlers see the app role's but where an identity is proved (`plimsoll_identity` says which role does what).
    pub db: Db,
    /// Who a request is from.
    pub authenticator: Authenticator,
    /// How people sign in.
    pub sign_in: SignInOptions,
    /// The keys under which requests are executed once.
    pub keys: Keys,
    /// The chains' confirmed blocks.
    pub marks: Marks,
    /// Where transactions are handed in; `None` where no signer is configured.
    pub relayer: Option<Intake>,
    /// Where postings are handed in.
    pub ledger: KeyedIntake,
    /// The chains that can be asked for nonces, fees and balances.
    pub chains: Chains,
    /// What this process measures.
    pub prometheus: PrometheusHandle,
    /// What its roles do.
    pub roles: Roles,
}

/// What the routes share. Cheap to clone.
#[derive(Clone, Debug)]
pub struct ApiState {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    services: Services,
    collector: Collector,
    options: ApiOptions,
    requests: Semaphore,
    gate: Arc<Gate>,
    feed: Feed,
    streams: Streams,
}

impl ApiState {
    /// Over these services.
    #[must_use]
    pub fn new(services: Services, options: ApiOptions) -> Self {
        let collector = Collector::new(services.db.app().clone(), services.db.worker().clone());
        let requests = Semaphore::new(options.max_concurrent_requests);
        let gate = Gate::new(&options);
        let (feed, streams) = (Feed::new(Events::new(services.db.clone())), Streams::new(options.streams));
        let inner = Inner { services, collector, options, requests, gate, feed, streams };
        Self { inner: Arc::new(inner) }
    }

    pub(crate) fn db(&self) -> &Db {
        &self.inner.services.db
    }

    /// For what is declared public: anything of a tenant's is read in `Db::tenant_tx`.
    pub(crate) fn app(&self) -> &PgPool {
        self.db().app()
    }

    /// For what is the operators': leases and anomalies.
    pub(crate) fn operations(&self) -> &PgPool {
        self.db().worker()
    }

    pub(crate) fn authenticator(&self) -> &Authenticator {
        &self.inner.services.authenticator
    }

    pub(crate) fn sign_in(&self) -> &SignInOptions {
        &self.inner.services.sign_in
    }

    /// Where transactions are handed in, if this server has signers.
    pub(crate) fn relayer(&self) -> Option<&Intake> {
        self.inner.services.relayer.as_ref()
    }

    /// Where postings are handed in.
    pub(crate) fn ledger(&self) -> &KeyedIntake {
        &self.inner.services.ledger
    }

    /// The chains that can be asked.
    pub(crate) fn chains(&self) -> &Chains {
        &self.inner.services.chains
    }

    pub(crate) fn collector(&self) -> &Collector {
        &self.inner.collector
    }

    pub(crate) fn prometheus(&self) -> &PrometheusHandle {
        &self.inner.services.prometheus
    }

    pub(crate) fn roles(&self) -> &Roles {
        &self.inner.services.roles
    }

    pub(crate) fn options(&self) -> &ApiOptions {
        &self.inner.options
    }

    /// The newest events, once the API is served.
    pub(crate) fn feed(&self) -> &Feed {
        &self.inner.feed
    }

    pub(crate) fn marks(&self) -> &Marks {
        &self.inner.services.marks
    }

    pub(crate) fn streams(&self) -> &Streams {
        &self.inner.streams
    }

    pub(crate) fn gate(&self) -> &Arc<Gate> {
        &self.inner.gate
    }

    pub(crate) fn requests(&self) -> &Semaphore {
        &self.inner.requests
    }
}

impl FromRef<ApiState> for Keys {
    fn from_ref(state: &ApiState) -> Self {
        state.inner.services.keys.clone()
    }
}

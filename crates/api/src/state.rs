use std::path::PathBuf;
use std::sync::Arc;

use metrics_exporter_prometheus::PrometheusHandle;
use sqlx::PgPool;
use tokio::sync::Semaphore;

use crate::fresh::FreshnessLimits;
use crate::metrics::Collector;
use crate::roles::Roles;

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
            drain_ms: 4_000,
        }
    }
}

/// What the routes share. Cheap to clone.
#[derive(Clone, Debug)]
pub struct ApiState {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    app: PgPool,
    operations: Option<PgPool>,
    collector: Collector,
    prometheus: PrometheusHandle,
    roles: Roles,
    options: ApiOptions,
    requests: Semaphore,
}

impl ApiState {
    /// `app` is the pool of `plimsoll_app`, the only one that routes see. `operations` is the pool of `plimsoll_worker`, where this
    /// process has one: the metrics of anomalies and leases come through it, and which roles stand by.
    #[must_use]
    pub fn new(
        app: PgPool,
        operations: Option<PgPool>,
        prometheus: PrometheusHandle,
        roles: Roles,
        options: ApiOptions,
    ) -> Self {
        let collector = Collector::new(app.clone(), operations.clone());
        let requests = Semaphore::new(options.max_concurrent_requests);
        Self { inner: Arc::new(Inner { app, operations, collector, prometheus, roles, options, requests }) }
    }

    pub(crate) fn app(&self) -> &PgPool {
        &self.inner.app
    }

    pub(crate) fn operations(&self) -> Option<&PgPool> {
        self.inner.operations.as_ref()
    }

    pub(crate) fn collector(&self) -> &Collector {
        &self.inner.collector
    }

    pub(crate) fn prometheus(&self) -> &PrometheusHandle {
        &self.inner.prometheus
    }

    pub(crate) fn roles(&self) -> &Roles {
        &self.inner.roles
    }

    pub(crate) fn options(&self) -> &ApiOptions {
        &self.inner.options
    }

    pub(crate) fn requests(&self) -> &Semaphore {
        &self.inner.requests
    }
}

//! The pools, and what is checked before anyone gets one.

use std::sync::Arc;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{AssertSqlSafe, PgPool, SqlSafeStr};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::assertions::{Findings, judge};
use crate::idempotency::Flights;
use crate::migrate::latest_version;
use crate::presence::Presence;
use crate::repo::catalog;
use crate::repo::tenants::BY_KEYS;
use crate::roles::{APP, OWNER, WORKER};
use crate::tx::Tx;
use crate::urls::DatabaseUrls;

/// How long a caller waits for a free connection before it is told that there is none.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(10);
/// Connections are renewed now and then, so that a server-side change (a role's settings, a fail-over) reaches every one.
const MAX_CONNECTION_LIFETIME: Duration = Duration::from_secs(30 * 60);
const METRICS_PERIOD: Duration = Duration::from_secs(5);

/// The most connections that each pool opens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolSizes {
    /// Of the app role.
    pub app: u32,
    /// Of the worker role.
    pub worker: u32,
}

impl Default for PoolSizes {
    fn default() -> Self {
        Self { app: 10, worker: 16 }
    }
}

/// The database, reached by two pools. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Db {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    app: PgPool,
    worker: PgPool,
    urls: DatabaseUrls,
    presence: Presence,
    flights: Flights,
    _metrics: DropGuard,
}

/// Why the database is not used.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// A role could not log in, or the server was not reached.
    #[error(
        "cannot connect to the database {database} at {server} as {user}: {source}. Check that the server runs and that the role may log in (`plimsoll migrate` creates it; its password is the configured one)"
    )]
    Connect {
        /// The server.
        server: String,
        /// Which database.
        database: String,
        /// Who tried.
        user: String,
        /// What happened.
        source: sqlx::Error,
    },
    /// No migration, or not all of them, were applied.
    #[error(
        "the database {database} has schema version {found}, this program needs {needed}: run `plimsoll migrate`"
    )]
    Older {
        /// Which database.
        database: String,
        /// Its version; 0 when it is empty.
        found: i64,
        /// Ours.
        needed: i64,
    },
    /// The database is ahead of the program.
    #[error(
        "the database {database} has schema version {found}, this program knows versions up to {known}: use the newer program; nothing was changed"
    )]
    Newer {
        /// Which database.
        database: String,
        /// Its version.
        found: i64,
        /// Ours.
        known: i64,
    },
    /// A role has too much or too little power, or a table is not protected.
    #[error("the database {database} does not keep tenants apart as it must:{findings}")]
    Unsafe {
        /// Which database.
        database: String,
        /// Everything that was found.
        findings: Findings,
    },
    /// Anything else that the database said.
    #[error("checking the database failed: {0}")]
    Database(#[from] sqlx::Error),
}

impl Db {
    /// Opens both pools once the schema's version and the roles are as this program needs them.
    ///
    /// # Errors
    /// [`ConnectError`]: each says what is wrong, where, and what to do.
    pub async fn connect(urls: &DatabaseUrls) -> Result<Self, ConnectError> {
        Self::connect_with(urls, PoolSizes::default()).await
    }

    /// As [`Db::connect`], with pools of the given sizes.
    ///
    /// # Errors
    /// As [`Db::connect`].
    pub async fn connect_with(urls: &DatabaseUrls, sizes: PoolSizes) -> Result<Self, ConnectError> {
        let presence = Presence::new();
        let app = pool(urls, &urls.app, sizes.app, presence).await?;
        let worker = pool(urls, &urls.worker, sizes.worker, presence).await?;
        check(urls, &app, &worker).await?;
        let metrics = CancellationToken::new();
        tokio::spawn(report_usage(metrics.clone(), [("app", app.clone()), ("worker", worker.clone())]));
        let (flights, _metrics) = (Flights::default(), metrics.drop_guard());
        Ok(Self { inner: Arc::new(Inner { app, worker, urls: urls.clone(), presence, flights, _metrics }) })
    }

    /// The pool for requests: row-level security applies. Prefer [`Db::tenant_tx`] for anything that belongs to a tenant.
    #[must_use]
    pub fn app(&self) -> &PgPool {
        &self.inner.app
    }

    /// The pool for folds, ingest and sequencers: sees every tenant.
    #[must_use]
    pub fn worker(&self) -> &PgPool {
        &self.inner.worker
    }

    /// Begins a transaction as the worker role.
    ///
    /// # Errors
    /// The database's, when no connection is to be had.
    pub async fn begin_worker(&self) -> Result<Tx, sqlx::Error> {
        Tx::begin(self.worker()).await
    }

    /// As [`Db::begin_worker`], for statements that look by keys: no plan that is made in it reads a whole table, however small that is.
    ///
    /// # Errors
    /// As [`Db::begin_worker`].
    pub async fn begin_worker_by_keys(&self) -> Result<Tx, sqlx::Error> {
        Tx::by(self.worker(), AssertSqlSafe(format!("BEGIN{BY_KEYS}")).into_sql_str()).await
    }

    /// Where it is.
    #[must_use]
    pub fn urls(&self) -> &DatabaseUrls {
        &self.inner.urls
    }

    /// By what the database knows that this process is there.
    pub(crate) fn presence(&self) -> Presence {
        self.inner.presence
    }

    /// The idempotency claims at work in this process.
    pub(crate) fn flights(&self) -> &Flights {
        &self.inner.flights
    }

    /// Closes both pools and waits for their connections.
    pub async fn close(&self) {
        tokio::join!(self.inner.app.close(), self.inner.worker.close());
    }
}

async fn pool(
    urls: &DatabaseUrls,
    options: &PgConnectOptions,
    max_connections: u32,
    presence: Presence,
) -> Result<PgPool, ConnectError> {
    PgPoolOptions::new()
        .max_connections(max_connections)
        .min_connections(1)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .max_lifetime(MAX_CONNECTION_LIFETIME)
        .after_connect(move |conn, _| Box::pin(presence.announce(conn)))
        .connect_with(options.clone())
        .await
        .map_err(|source| ConnectError::Connect {
            server: urls.server(),
            database: urls.database().to_owned(),
            user: options.get_username().to_owned(),
            source,
        })
}

async fn check(urls: &DatabaseUrls, app: &PgPool, worker: &PgPool) -> Result<(), ConnectError> {
    let database = urls.database().to_owned();
    let mut worker = worker.acquire().await?;
    let found = applied_version(&mut worker).await?;
    let known = latest_version();
    if found < known {
        return Err(ConnectError::Older { database, found, needed: known });
    }
    if found > known {
        return Err(ConnectError::Newer { database, found, known });
    }
    let app_powers = catalog::session_powers(&mut *app.acquire().await?, &[OWNER, WORKER]).await?;
    let worker_powers = catalog::session_powers(&mut worker, &[OWNER]).await?;
    let relations = catalog::relations(&mut worker, APP, WORKER).await?;
    let findings = judge(&app_powers, &worker_powers, &relations);
    if findings.0.is_empty() { Ok(()) } else { Err(ConnectError::Unsafe { database, findings }) }
}

/// 0 where nothing was migrated yet: then the worker may not even look into the schema.
async fn applied_version(worker: &mut sqlx::PgConnection) -> Result<i64, ConnectError> {
    const INSUFFICIENT_PRIVILEGE: &str = "42501";
    match catalog::applied_versions(worker).await {
        Ok(versions) => Ok(versions.into_iter().max().unwrap_or(0)),
        Err(error) if crate::roles::sql_state(&error).as_deref() == Some(INSUFFICIENT_PRIVILEGE) => Ok(0),
        Err(error) => Err(error.into()),
    }
}

async fn report_usage(stop: CancellationToken, pools: [(&'static str, PgPool); 2]) {
    let mut tick = tokio::time::interval(METRICS_PERIOD);
    while stop.run_until_cancelled(tick.tick()).await.is_some() {
        for (name, pool) in &pools {
            let idle = u32::try_from(pool.num_idle()).unwrap_or(u32::MAX);
            let size = pool.size();
            metrics::gauge!("db_pool_connections", "pool" => *name, "state" => "idle").set(f64::from(idle));
            metrics::gauge!("db_pool_connections", "pool" => *name, "state" => "used")
                .set(f64::from(size.saturating_sub(idle)));
        }
    }
}

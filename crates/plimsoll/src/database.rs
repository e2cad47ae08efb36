//! The database that the configuration names: a Postgres of the user's own, or the private cluster.
//!
//! A Postgres of the user's own is never migrated behind its owner's back: an older schema is refused. The private cluster
//! belongs to this program alone, so it is brought up to date at each start.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use plimsoll_store::{
    Cluster, ClusterError, ConnectError, DatabaseUrls, Db, MigrationReport, PoolSizes, RolePasswords,
    migrate, prepare_roles,
};
use sqlx::{ConnectOptions as _, Connection as _};
use tokio::time::Instant;

use crate::config::{Config, DatabaseSource, Loaded, Secret};
use crate::failure::{Failure, chain_of};

/// How long a start waits for a server that is not there yet: under an orchestrator both start at once.
const START_PATIENCE: Duration = Duration::from_secs(30);
const RETRY_PAUSE: Duration = Duration::from_secs(2);
/// A server that has not opened a session by then is not reachable.
const REACH_LIMIT: Duration = Duration::from_secs(10);
/// SQLSTATE `cannot_connect_now`.
const STARTING_UP: &str = "57P03";
/// SQLSTATE `too_many_connections`.
const TOO_MANY_SESSIONS: &str = "53300";
/// Sessions that do not end within this are left to the server.
const CLOSE_LIMIT: Duration = Duration::from_millis(300);

/// An open database, and the cluster if it is ours.
#[derive(Debug)]
pub(crate) struct Database {
    pub(crate) db: Db,
    cluster: Option<Cluster>,
}

/// What a command wants of the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// To run roles on it: the private cluster is made if there is none, and nobody else may run it.
    Serve,
    /// To look at it, or to say one thing: beside a process that serves, too.
    Visit,
    /// To begin with it: as a visit, and the private cluster is made if there is none.
    Begin,
}

impl Database {
    /// Opens it, ready for use.
    pub(crate) async fn open(loaded: &Loaded, config: &Config, purpose: Purpose) -> Result<Self, Failure> {
        let sizes =
            PoolSizes { app: config.database.app_connections, worker: config.database.worker_connections };
        let (urls, cluster) = match &config.database.source {
            DatabaseSource::Url(url) => (urls(config, url)?, None),
            DatabaseSource::Private(directory) => open_private(directory, purpose)
                .await
                .map_err(|failure| failure.at(loaded, &config.database.origin))?,
        };
        match connect(&urls, sizes, purpose).await {
            Ok(db) => Ok(Self { db, cluster }),
            Err(error) => {
                if let Some(cluster) = cluster {
                    cluster.stop().await?;
                }
                Err(Failure::from(error).at(loaded, &config.database.origin))
            }
        }
    }

    /// The private cluster, if it is one and runs in this process.
    pub(crate) fn cluster(&self) -> Option<&Cluster> {
        self.cluster.as_ref()
    }

    /// Ends the sessions, then the private server.
    pub(crate) async fn close(self) -> Result<(), Failure> {
        if tokio::time::timeout(CLOSE_LIMIT, self.db.close()).await.is_err() {
            tracing::debug!("some database sessions did not end in time; the server ends them");
        }
        match self.cluster {
            Some(cluster) => Ok(cluster.stop().await?),
            None => Ok(()),
        }
    }
}

fn urls(config: &Config, url: &Secret) -> Result<DatabaseUrls, Failure> {
    let password = |secret: &Option<Secret>| secret.as_ref().map(|s| s.expose().to_owned());
    let (app, worker) = (password(&config.database.app_password), password(&config.database.worker_password));
    Ok(DatabaseUrls::from_url(url.expose(), app.as_deref(), worker.as_deref())?)
}

async fn open_private(
    directory: &Path,
    purpose: Purpose,
) -> Result<(DatabaseUrls, Option<Cluster>), Failure> {
    if purpose == Purpose::Visit {
        Cluster::urls_of(directory)?; // says so when there is none; a look must not make one
    }
    let cluster = match Cluster::start(directory).await {
        Err(ClusterError::InUse { .. }) if purpose != Purpose::Serve => {
            return Ok((Cluster::urls_of(directory)?, None));
        }
        other => other?,
    };
    let urls = cluster.urls();
    match prepare(&urls, &RolePasswords::default()).await {
        Ok(report) => {
            for (version, description) in &report.applied {
                tracing::info!(version, description, "applied a migration to the private database");
            }
            Ok((urls, Some(cluster)))
        }
        Err(failure) => {
            cluster.stop().await?;
            Err(failure)
        }
    }
}

async fn prepare(urls: &DatabaseUrls, passwords: &RolePasswords) -> Result<MigrationReport, Failure> {
    prepare_roles(&urls.owner, passwords).await?;
    Ok(migrate(urls).await?)
}

/// Connects; while serving starts, a server that is not there yet is waited for.
async fn connect(urls: &DatabaseUrls, sizes: PoolSizes, purpose: Purpose) -> Result<Db, ConnectError> {
    let give_up = Instant::now() + START_PATIENCE;
    loop {
        let connected = match reach(urls).await {
            Ok(()) => Db::connect_with(urls, sizes).await,
            Err(error) => Err(error),
        };
        match connected {
            Err(error) if purpose == Purpose::Serve && may_pass(&error) && Instant::now() < give_up => {
                tracing::warn!(error = chain_of(&error), "the database is not reachable yet; trying again");
                tokio::time::sleep(RETRY_PAUSE).await;
            }
            other => return other,
        }
    }
}

/// One session, opened and closed: a pool would try on and say at last only that it took too long, not why.
async fn reach(urls: &DatabaseUrls) -> Result<(), ConnectError> {
    let attempt = async { urls.app.connect().await?.close().await };
    let late = || sqlx::Error::Io(std::io::Error::new(std::io::ErrorKind::TimedOut, "no answer in time"));
    let reached = tokio::time::timeout(REACH_LIMIT, attempt).await.unwrap_or_else(|_| Err(late()));
    reached.map_err(|source| ConnectError::Connect {
        server: urls.server(),
        database: urls.database().to_owned(),
        user: urls.app.get_username().to_owned(),
        source,
    })
}

fn may_pass(error: &ConnectError) -> bool {
    match error {
        ConnectError::Connect { source, .. } | ConnectError::Database(source) => match source {
            sqlx::Error::Io(_) | sqlx::Error::PoolTimedOut => true,
            sqlx::Error::Database(answer) => {
                answer.code().is_some_and(|code| code == STARTING_UP || code == TOO_MANY_SESSIONS)
            }
            _ => false,
        },
        _ => false,
    }
}

/// Makes the roles where they are missing, and brings the schema up to this version's.
pub(crate) async fn migrate_database(loaded: &Loaded, config: &Config) -> Result<MigrationReport, Failure> {
    let migrated = match &config.database.source {
        DatabaseSource::Url(url) => {
            let plain = |secret: &Option<Secret>| secret.as_ref().map(|s| s.expose().to_owned());
            let passwords = RolePasswords {
                app: plain(&config.database.app_password),
                worker: plain(&config.database.worker_password),
            };
            prepare(&urls(config, url)?, &passwords).await
        }
        DatabaseSource::Private(directory) => match Cluster::start(directory).await {
            Ok(cluster) => {
                let report = prepare(&cluster.urls(), &RolePasswords::default()).await;
                cluster.stop().await?;
                report
            }
            Err(ClusterError::InUse { .. }) => Ok(migrate(&Cluster::urls_of(directory)?).await?),
            Err(error) => Err(error.into()),
        },
    };
    migrated.map_err(|failure| failure.at(loaded, &config.database.origin))
}

/// Whether a database of the user's own could be served from now, without changing anything in it.
pub(crate) async fn reachable(config: &Config) -> Result<(), Failure> {
    let sizes = PoolSizes { app: 1, worker: 1 };
    match &config.database.source {
        DatabaseSource::Url(url) => connect(&urls(config, url)?, sizes, Purpose::Visit).await?.close().await,
        // One that was never started has nothing to be wrong; one that is stopped is migrated when it starts.
        DatabaseSource::Private(directory) => match plimsoll_store::fence_status(directory) {
            Ok(_) => {}
            Err(error) => return Err(error.into()),
        },
    }
    Ok(())
}

/// What was connected to, for people.
pub(crate) fn named(source: &DatabaseSource) -> impl fmt::Display {
    match source {
        DatabaseSource::Private(directory) => format!("the private Postgres in {}", directory.display()),
        DatabaseSource::Url(url) => match DatabaseUrls::from_url(url.expose(), None, None) {
            Ok(urls) => format!("the database {} at {}", urls.database(), urls.server()),
            Err(error) => error.to_string(),
        },
    }
}

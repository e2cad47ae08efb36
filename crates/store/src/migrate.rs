//! The schema, brought up to the version that this program was built with.
//!
//! One connection does it all: it becomes `plimsoll_owner`, takes sqlx's advisory lock (of the session, so that it dies with the
//! connection: a killed migrator blocks nobody), and runs each missing file in a transaction of its own. A database that has
//! migrations which this program does not know belongs to a newer program, and is left alone.

use sqlx::migrate::Migrator;
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, Connection, PgConnection};

use crate::repo::{catalog, roles as repo};
use crate::roles::{OWNER, RolesError, connect_owner};
use crate::urls::{DatabaseUrls, SCHEMA};

static MIGRATIONS: Migrator = sqlx::migrate!("../../migrations");

/// What a migration run did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MigrationReport {
    /// The version found, `None` in an empty database.
    pub from_version: Option<i64>,
    /// The version now.
    pub to_version: i64,
    /// What was applied: version and description.
    pub applied: Vec<(i64, String)>,
}

/// Why the schema could not be brought up to date. Nothing is left half applied: each file is one transaction.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    /// The database was not reached.
    #[error(transparent)]
    Connect(RolesError),
    /// The roles or the schema are missing.
    #[error(
        "the user {user} cannot become {OWNER}, who owns the schema {SCHEMA} ({source}). Run `plimsoll migrate` as a user that may create roles, or let an administrator run:\n\n{sql}\n"
    )]
    NoOwner {
        /// Who tried.
        user: String,
        /// What to run.
        sql: String,
        /// What the server said.
        source: sqlx::Error,
    },
    /// The database is ahead of the program.
    #[error(
        "the database {database} has schema version {found}, this program knows versions up to {known}. Use the newer program, or a database of its own; nothing was changed"
    )]
    Newer {
        /// Which database.
        database: String,
        /// Its version.
        found: i64,
        /// Ours.
        known: i64,
    },
    /// A file was edited after it had been applied.
    #[error(
        "migration {version} was applied to {database} with other contents than this program has. The two were built from different sources; use the program that made the database, nothing was changed"
    )]
    Changed {
        /// Which database.
        database: String,
        /// Which file.
        version: i64,
    },
    /// A migration failed.
    #[error("migrating {database} failed and was rolled back: {source}")]
    Failed {
        /// Which database.
        database: String,
        /// Why.
        source: sqlx::migrate::MigrateError,
    },
    /// Anything else that the database said.
    #[error("migrating failed: {0}")]
    Database(#[from] sqlx::Error),
}

/// The schema version that this program was built with.
#[must_use]
pub fn latest_version() -> i64 {
    MIGRATIONS.iter().map(|migration| migration.version).max().unwrap_or(0)
}

/// Applies what is missing. Safe to run from several processes at once: one migrates, the others wait and find nothing to do.
///
/// # Errors
/// See [`MigrateError`]; each says what to do.
pub async fn migrate(urls: &DatabaseUrls) -> Result<MigrationReport, MigrateError> {
    let mut conn = connect_as_owner(&urls.owner).await?;
    let before = catalog::applied_versions(&mut conn).await?;
    let known = latest_version();
    let newer = |found: i64| MigrateError::Newer { database: urls.database().to_owned(), found, known };
    if let Some(found) = before.iter().copied().max().filter(|found| *found > known) {
        return Err(newer(found));
    }
    let result = MIGRATIONS.run_direct(None, &mut conn, false).await;
    result.map_err(|error| match error {
        sqlx::migrate::MigrateError::VersionMissing(found) => newer(found),
        sqlx::migrate::MigrateError::VersionMismatch(version) => {
            MigrateError::Changed { database: urls.database().to_owned(), version }
        }
        source => MigrateError::Failed { database: urls.database().to_owned(), source },
    })?;
    let after = catalog::applied_versions(&mut conn).await?;
    conn.close().await?;
    Ok(MigrationReport {
        from_version: before.iter().copied().max(),
        to_version: after.into_iter().max().unwrap_or(0),
        applied: MIGRATIONS
            .iter()
            .filter(|migration| !before.contains(&migration.version))
            .map(|migration| (migration.version, migration.description.to_string()))
            .collect(),
    })
}

/// A connection that acts as the owner of the schema, with the schema's search path whatever the role's defaults are.
pub(crate) async fn connect_as_owner(owner: &PgConnectOptions) -> Result<PgConnection, MigrateError> {
    // A migration takes as long as it takes: that it does is no news, and its whole text no line of a log.
    let mut conn =
        connect_owner(&owner.clone().disable_statement_logging()).await.map_err(MigrateError::Connect)?;
    repo::execute(&mut conn, &format!("SET ROLE {OWNER}; SET search_path = {SCHEMA}")).await.map_err(
        |source| MigrateError::NoOwner {
            user: owner.get_username().to_owned(),
            sql: crate::roles::administrator_sql(owner.get_username()),
            source,
        },
    )?;
    Ok(conn)
}

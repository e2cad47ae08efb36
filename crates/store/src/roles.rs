//! The three roles, and making them where we are allowed to.
//!
//! - **owner** holds every table and runs migrations; nobody logs in as it, the owner connection becomes it (`SET ROLE`);
//! - **app** answers requests under row-level security;
//! - **worker** bypasses row-level security, with narrow grants and no ownership: it cannot switch the security off.
//!
//! A role that exists is left as it is: a DBA may have given it a password, a connection limit, a `VALID UNTIL`. Whether it has too
//! much power is for [`crate::Db::connect`] to say, every time.

use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, PgConnection};

use crate::repo::roles as repo;
use crate::urls::SCHEMA;

/// Owns the schema. No login.
pub const OWNER: &str = "plimsoll_owner";
/// Requests.
pub const APP: &str = "plimsoll_app";
/// Folds and sequencers.
pub const WORKER: &str = "plimsoll_worker";

const OWNER_ATTRIBUTES: &str = "NOLOGIN";
const APP_ATTRIBUTES: &str = "LOGIN";
const WORKER_ATTRIBUTES: &str = "LOGIN BYPASSRLS";

/// Another process may be creating the same roles: this often we look again.
const MAX_ATTEMPTS: u32 = 5;

/// The passwords of roles that have to be created. `None`: the role gets none, which is right for a private cluster.
#[derive(Clone, Debug, Default)]
pub struct RolePasswords {
    /// Of `plimsoll_app`.
    pub app: Option<String>,
    /// Of `plimsoll_worker`.
    pub worker: Option<String>,
}

/// Why the roles or the schema could not be prepared.
#[derive(Debug, thiserror::Error)]
pub enum RolesError {
    /// The database was not reached.
    #[error("cannot connect to {server} as the owner user {user}: {source}")]
    Connect {
        /// The server.
        server: String,
        /// Who tried.
        user: String,
        /// What happened.
        source: sqlx::Error,
    },
    /// The user has too little power, and a DBA must do it once.
    #[error(
        "the database user {user} may not create Plimsoll's roles or schema ({reason}). Let an administrator run this once in the database {database}, with passwords of your own:\n\n{sql}\n"
    )]
    NotPermitted {
        /// Who tried.
        user: String,
        /// In which database.
        database: String,
        /// The server's own words.
        reason: String,
        /// What to run.
        sql: String,
    },
    /// Anything else that the database said.
    #[error("preparing Plimsoll's roles failed: {0}")]
    Database(#[from] sqlx::Error),
}

/// Creates `plimsoll_owner`, `plimsoll_app`, `plimsoll_worker` and the schema `plimsoll` where they are missing.
///
/// # Errors
/// [`RolesError::NotPermitted`] names the SQL that an administrator must run when the owner user may not.
pub async fn prepare_roles(owner: &PgConnectOptions, passwords: &RolePasswords) -> Result<(), RolesError> {
    let mut conn = connect_owner(owner).await?;
    create_roles(&mut conn, owner, passwords).await?;
    create_schema(&mut conn, owner).await
}

pub(crate) async fn connect_owner(owner: &PgConnectOptions) -> Result<PgConnection, RolesError> {
    owner.connect().await.map_err(|source| RolesError::Connect {
        server: owner.get_socket().map_or_else(
            || format!("{}:{}", owner.get_host(), owner.get_port()),
            |dir| dir.display().to_string(),
        ),
        user: owner.get_username().to_owned(),
        source,
    })
}

pub(crate) async fn create_roles(
    conn: &mut PgConnection,
    owner: &PgConnectOptions,
    passwords: &RolePasswords,
) -> Result<(), RolesError> {
    for attempt in 1.. {
        let missing: Vec<String> = repo::existing(conn)
            .await?
            .into_iter()
            .filter(|(_, exists)| !exists)
            .map(|(name, _)| name)
            .collect();
        if missing.is_empty() {
            return Ok(());
        }
        for name in missing {
            let (attributes, password) = match name.as_str() {
                OWNER => (OWNER_ATTRIBUTES, None),
                APP => (APP_ATTRIBUTES, passwords.app.as_deref()),
                _ => (WORKER_ATTRIBUTES, passwords.worker.as_deref()),
            };
            let statement = repo::create_role_statement(conn, &name, attributes, password).await?;
            match repo::execute(conn, &statement).await {
                Ok(()) => tracing::info!(role = name, "created the database role"),
                Err(error) if is_made_by_another(&error) && attempt < MAX_ATTEMPTS => {}
                Err(error) => return Err(refused(owner, error)),
            }
        }
    }
    Ok(())
}

async fn create_schema(conn: &mut PgConnection, owner: &PgConnectOptions) -> Result<(), RolesError> {
    for attempt in 1.. {
        let statement = match repo::owner_and_schema(conn, SCHEMA).await? {
            (false, _) => format!("GRANT {OWNER} TO CURRENT_USER"),
            (true, false) => format!("CREATE SCHEMA {SCHEMA} AUTHORIZATION {OWNER}"),
            (true, true) => break,
        };
        match repo::execute(conn, &statement).await {
            Err(error) if is_made_by_another(&error) && attempt < MAX_ATTEMPTS => {}
            result => result.map_err(|error| refused(owner, error))?,
        }
    }
    Ok(())
}

/// `duplicate_object`, `unique_violation` on a catalogue, "tuple concurrently updated".
fn is_made_by_another(error: &sqlx::Error) -> bool {
    sql_state(error).is_some_and(|code| matches!(code.as_str(), "42710" | "23505" | "XX000" | "42P06"))
}

fn refused(owner: &PgConnectOptions, error: sqlx::Error) -> RolesError {
    match sql_state(&error).as_deref() {
        Some("42501") => RolesError::NotPermitted {
            user: owner.get_username().to_owned(),
            database: owner.get_database().unwrap_or_else(|| owner.get_username()).to_owned(),
            reason: error.as_database_error().map_or_else(String::new, |error| error.message().to_owned()),
            sql: administrator_sql(owner.get_username()),
        },
        _ => RolesError::Database(error),
    }
}

/// What an administrator runs once when the owner user may not do it.
#[must_use]
pub fn administrator_sql(owner_user: &str) -> String {
    let user = owner_user.replace('"', "\"\"");
    format!(
        "CREATE ROLE {OWNER} {OWNER_ATTRIBUTES};\n\
         CREATE ROLE {APP} {APP_ATTRIBUTES} PASSWORD '…';\n\
         CREATE ROLE {WORKER} {WORKER_ATTRIBUTES} PASSWORD '…';\n\
         GRANT {OWNER} TO \"{user}\";\n\
         CREATE SCHEMA {SCHEMA} AUTHORIZATION {OWNER};"
    )
}

pub(crate) fn sql_state(error: &sqlx::Error) -> Option<String> {
    error.as_database_error().and_then(sqlx::error::DatabaseError::code).map(std::borrow::Cow::into_owned)
}

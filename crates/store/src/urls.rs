//! Where the database is, once for each role.

use std::fmt;
use std::str::FromStr;

use sqlx::postgres::PgConnectOptions;

use crate::presence::CLIENT_CHECK_MS;
use crate::roles::{APP, WORKER};

/// The schema that holds everything.
pub const SCHEMA: &str = "plimsoll";

/// No statement of the app or the worker runs longer. Below the default lease term, so that nothing outlives its authority by much.
pub const STATEMENT_TIMEOUT_MS: u64 = 10_000;
/// No transaction of the app or the worker sits idle longer: a holder that stalls inside its transaction is disconnected.
pub const IDLE_IN_TRANSACTION_TIMEOUT_MS: u64 = 5_000;
/// A migration that cannot get its table lock gives up instead of queueing every reader behind itself.
const OWNER_LOCK_TIMEOUT_MS: u64 = 30_000;

/// No database's scheme is longer (`postgresql+asyncpg` has 18); what is may be a secret.
const MAX_SCHEME_BYTES: usize = 20;

/// How to reach one database as each of the three roles.
#[derive(Clone)]
pub struct DatabaseUrls {
    /// Migrations, role checks, partitions' retention. May become `plimsoll_owner`.
    pub owner: PgConnectOptions,
    /// Requests: row-level security applies.
    pub app: PgConnectOptions,
    /// Folds, ingest, sequencers: bypasses row-level security, with narrow grants.
    pub worker: PgConnectOptions,
}

/// A database URL that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum UrlError {
    /// The text is no Postgres URL. The text itself is not repeated: it may hold a password.
    #[error("the database URL is not valid ({0}); it looks like postgres://user:password@host:5432/database")]
    Malformed(String),
    /// Another database system's URL.
    #[error("the database URL begins with {0}://; only postgres:// and postgresql:// are understood")]
    Scheme(String),
    /// Text that begins with no scheme. None of it is repeated: it may be a password.
    #[error("the database URL has no scheme; it looks like postgres://user:password@host:5432/database")]
    NoScheme,
}

/// What stands before `://`, when it can only be a scheme (RFC 3986 §3.1, in lower case).
fn scheme(url: &str) -> Option<&str> {
    let (scheme, _) = url.split_once("://")?;
    let is_scheme = scheme.len() <= MAX_SCHEME_BYTES
        && scheme.starts_with(|c: char| c.is_ascii_lowercase())
        && scheme.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "+.-".contains(c));
    is_scheme.then_some(scheme)
}

impl DatabaseUrls {
    /// From the owner's URL. App and worker are on the same server and database, as `plimsoll_app` and `plimsoll_worker`; a
    /// password that is not given is the URL's own.
    ///
    /// # Errors
    /// [`UrlError`] when `url` cannot be read.
    pub fn from_url(
        url: &str,
        app_password: Option<&str>,
        worker_password: Option<&str>,
    ) -> Result<Self, UrlError> {
        let scheme = scheme(url).ok_or(UrlError::NoScheme)?;
        if !matches!(scheme, "postgres" | "postgresql") {
            return Err(UrlError::Scheme(scheme.to_owned()));
        }
        let owner =
            PgConnectOptions::from_str(url).map_err(|error| UrlError::Malformed(error.to_string()))?;
        Ok(Self::from_options(&owner, app_password, worker_password))
    }

    /// As [`DatabaseUrls::from_url`], from options that are already read.
    #[must_use]
    pub fn from_options(
        owner: &PgConnectOptions,
        app_password: Option<&str>,
        worker_password: Option<&str>,
    ) -> Self {
        let role = |name: &str, password: Option<&str>| {
            let options = owner.clone().username(name);
            limited(password.into_iter().fold(options, PgConnectOptions::password))
        };
        Self {
            app: role(APP, app_password).application_name("plimsoll app"),
            worker: role(WORKER, worker_password).application_name("plimsoll worker"),
            owner: common(owner.clone())
                .options([("lock_timeout", OWNER_LOCK_TIMEOUT_MS), ("statement_timeout", 0)])
                .application_name("plimsoll owner"),
        }
    }

    /// The database's name, for messages.
    #[must_use]
    pub fn database(&self) -> &str {
        self.owner.get_database().unwrap_or_else(|| self.owner.get_username())
    }

    /// The server, for messages: never with a password.
    #[must_use]
    pub fn server(&self) -> String {
        match self.owner.get_socket() {
            Some(socket) => socket.display().to_string(),
            None => format!("{}:{}", self.owner.get_host(), self.owner.get_port()),
        }
    }
}

/// The options hold passwords, and would print them.
impl fmt::Debug for DatabaseUrls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DatabaseUrls")
            .field("server", &self.server())
            .field("database", &self.database())
            .finish_non_exhaustive()
    }
}

/// A dead peer is noticed in some 25 s even when it never says goodbye: its locks go with it. (Ignored on a Unix socket.)
fn common(options: PgConnectOptions) -> PgConnectOptions {
    options.options([
        ("search_path", SCHEMA),
        ("default_transaction_isolation", "read committed"),
        ("tcp_keepalives_idle", "10"),
        ("tcp_keepalives_interval", "5"),
        ("tcp_keepalives_count", "3"),
        ("jit", "off"),
    ])
}

fn limited(options: PgConnectOptions) -> PgConnectOptions {
    common(options).options([
        ("statement_timeout", STATEMENT_TIMEOUT_MS),
        ("idle_in_transaction_session_timeout", IDLE_IN_TRANSACTION_TIMEOUT_MS),
        ("client_connection_check_interval", CLIENT_CHECK_MS),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn app_and_worker_share_the_server_and_have_their_own_names() {
        let urls =
            DatabaseUrls::from_url("postgres://boss:secret@db.example:6543/books", Some("a"), None).unwrap();
        assert_eq!(urls.app.get_username(), "plimsoll_app");
        assert_eq!(urls.worker.get_username(), "plimsoll_worker");
        assert_eq!(urls.owner.get_username(), "boss");
        for options in [&urls.owner, &urls.app, &urls.worker] {
            assert_eq!(
                (options.get_host(), options.get_port(), options.get_database()),
                ("db.example", 6543, Some("books"))
            );
            assert!(options.get_options().unwrap().contains("search_path=plimsoll"));
        }
        assert_eq!(urls.server(), "db.example:6543");
        assert!(!format!("{urls:?}").contains("secret"));
    }

    #[test]
    fn another_system_is_refused_and_only_its_scheme_is_repeated() {
        let refused = |url: &str| DatabaseUrls::from_url(url, None, None).unwrap_err().to_string();
        for (url, said) in [
            ("mysql://root:hunter2@db/x", "begins with mysql://"),
            ("postgresql+asyncpg://root:hunter2@db/x", "begins with postgresql+asyncpg://"),
            ("hunter2", "has no scheme"),
            ("root:hunter2@db/x", "has no scheme"),
            ("", "has no scheme"),
            ("://hunter2", "has no scheme"),
            ("Hunter2hunter2://db", "has no scheme"),
            ("hunter2@db/x?next=http://a", "has no scheme"),
            ("hunter2hunter2hunter2://db", "has no scheme"),
        ] {
            let error = refused(url);
            assert!(error.contains(said) && !error.to_lowercase().contains("hunter2"), "{url}: {error}");
        }
    }
}

//! Transactions on pooled connections that may be dropped at any point.
//!
//! A future can be dropped at every `await`: a request's client goes away, a task is aborted, a `select!` has another winner. What the
//! server was told until then, it does or has done, and its answer is still to come. The driver counts the answers that it has not
//! read, but not those of a COPY; and a BEGIN that was sent and not answered is in no transaction that the driver would roll back.
//! A connection that goes back to its pool like that carries the fault to a stranger: answers that belong to other statements, or
//! a transaction that is open unknown to anyone, in which later statements succeed and are never committed.
//!
//! A [`Tx`] therefore has its connection before BEGIN is sent and keeps it until the end is answered. One that is dropped before hands the
//! connection to a task that rolls back and has the server repeat a value that was never used before: answers come in the
//! order of the statements, so whoever reads that value has read all that was owed. Where anything else comes, or nothing in time,
//! the connection is closed, and the pool opens another.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::time::Duration;

use sqlx::pool::PoolConnection;
use sqlx::postgres::PgTransactionManager;
use sqlx::{Connection, PgConnection, PgPool, Postgres, SqlSafeStr, SqlStr};
use sqlx_core::transaction::TransactionManager;
use tokio::runtime::Handle;

use crate::repo::session;

/// Reads see one moment of the database, and nothing is written.
const SNAPSHOT: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
/// A connection that was left within a transaction is given this long to come back into step: a statement may still run on it.
const CLEAN_UP_TIMEOUT: Duration = Duration::from_secs(5);

/// A transaction, rolled back unless [`Tx::commit`] says otherwise. Dereferences to the connection.
///
/// To drop it, or a future that holds it, is safe at any point. To drop a future that only borrows it and then to *go on* with the
/// transaction is not: the answer to what that future sent is still to come.
#[must_use = "a transaction that is dropped is rolled back"]
pub struct Tx {
    /// `None` only once the transaction has ended.
    conn: Option<PoolConnection<Postgres>>,
    /// Where the clean-up runs, wherever the transaction is dropped.
    runtime: Handle,
}

impl Tx {
    /// Begins a transaction on a connection of `pool`.
    ///
    /// # Errors
    /// The database's, when no connection is to be had.
    pub async fn begin(pool: &PgPool) -> Result<Self, sqlx::Error> {
        Self::open(pool, None).await
    }

    /// Begins a read-only transaction whose statements all see one moment of the database.
    ///
    /// # Errors
    /// As [`Tx::begin`].
    pub async fn snapshot(pool: &PgPool) -> Result<Self, sqlx::Error> {
        Self::by(pool, SNAPSHOT.into_sql_str()).await
    }

    /// Begins a transaction with `statement`: a BEGIN, and what is to follow it in the same round trip.
    pub(crate) async fn by(pool: &PgPool, statement: SqlStr) -> Result<Self, sqlx::Error> {
        Self::open(pool, Some(statement)).await
    }

    async fn open(pool: &PgPool, statement: Option<SqlStr>) -> Result<Self, sqlx::Error> {
        let mut tx = Self { conn: Some(pool.acquire().await?), runtime: Handle::current() };
        PgTransactionManager::begin(&mut tx, statement).await?;
        Ok(tx)
    }

    /// Commits.
    ///
    /// # Errors
    /// The database's. When the connection is lost meanwhile, nobody knows whether it was committed.
    pub async fn commit(mut self) -> Result<(), sqlx::Error> {
        PgTransactionManager::commit(&mut self).await?;
        // The end was answered: the connection goes back as any other.
        self.conn = None;
        Ok(())
    }

    /// Rolls back, and waits until it is done: the locks are free then.
    ///
    /// # Errors
    /// The database's. The transaction has no effect in any case.
    pub async fn rollback(mut self) -> Result<(), sqlx::Error> {
        PgTransactionManager::rollback(&mut self).await?;
        self.conn = None;
        Ok(())
    }
}

impl Deref for Tx {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        self.conn.as_ref().expect("only an ended transaction has no connection")
    }
}

impl DerefMut for Tx {
    fn deref_mut(&mut self) -> &mut PgConnection {
        self.conn.as_mut().expect("only an ended transaction has no connection")
    }
}

impl fmt::Debug for Tx {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tx").finish_non_exhaustive()
    }
}

impl Drop for Tx {
    fn drop(&mut self) {
        if let Some(conn) = self.conn.take() {
            // The pool's own clean-up starts tasks too, and wants to be in a runtime for it.
            let _entered = self.runtime.enter();
            self.runtime.spawn(Suspect(Some(conn)).clear());
        }
    }
}

/// A connection of which nobody knows what it was last told. Dropped, it is closed, not handed back.
struct Suspect(Option<PoolConnection<Postgres>>);

impl Suspect {
    async fn clear(mut self) {
        let Some(conn) = self.0.as_mut() else { return };
        match tokio::time::timeout(CLEAN_UP_TIMEOUT, end(conn)).await {
            Ok(Ok(true)) => {
                // Proved: it goes back to the pool.
                self.0 = None;
                return;
            }
            Ok(Ok(false)) => tracing::debug!("a connection answered another statement; it is closed"),
            Ok(Err(error)) => tracing::debug!(%error, "a connection could not be rolled back; it is closed"),
            Err(_) => tracing::warn!(
                timeout_ms = CLEAN_UP_TIMEOUT.as_millis(),
                "a connection did not come back from a transaction that was given up; it is closed"
            ),
        }
        metrics::counter!("db_connections_discarded_total").increment(1);
        if let Some(conn) = self.0.take() {
            // Without a word: what is still in its buffer must not be sent.
            if let Err(error) = conn.detach().close_hard().await {
                tracing::debug!(%error, "closing a connection");
            }
        }
    }
}

impl Drop for Suspect {
    fn drop(&mut self) {
        if let Some(conn) = self.0.take() {
            drop(conn.detach());
        }
    }
}

/// Rolls back whatever is open, and says whether the session is proved to be in step and idle.
async fn end(conn: &mut PgConnection) -> Result<bool, sqlx::Error> {
    if PgTransactionManager::get_transaction_depth(conn) == 0 {
        // BEGIN was not answered; if it was heard, the driver does not know of the transaction.
        session::roll_back(conn).await?;
    }
    while PgTransactionManager::get_transaction_depth(conn) > 0 {
        PgTransactionManager::rollback(conn).await?;
    }
    session::is_in_step(conn).await
}

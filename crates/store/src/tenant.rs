//! Transactions that see only what belongs to the caller's tenants.
//!
//! The set of tenants is a setting of the transaction (`SET LOCAL`), never of the session: a pooled connection that goes back
//! cannot carry one caller's tenants to the next. With no tenant set the policies compare with NULL, and no row passes.

use uuid::Uuid;

use crate::db::Db;
use crate::repo::tenants::{BY_KEYS, begin, begin_and};
use crate::tx::Tx;

impl Db {
    /// Begins a transaction as the app role, confined to `tenants`. With an empty slice it sees public tables only.
    ///
    /// # Errors
    /// The database's, when no connection is to be had.
    pub async fn tenant_tx(&self, tenants: &[Uuid]) -> Result<Tx, sqlx::Error> {
        Tx::by(self.app(), begin(tenants)).await
    }

    /// As [`Db::tenant_tx`], for statements that look by keys: no plan that is made in it reads a whole table, however small that is.
    ///
    /// # Errors
    /// As [`Db::tenant_tx`].
    pub async fn tenant_tx_by_keys(&self, tenants: &[Uuid]) -> Result<Tx, sqlx::Error> {
        Tx::by(self.app(), begin_and(tenants, BY_KEYS)).await
    }

    /// As [`Db::tenant_tx`], to read: all statements see one moment of the database, and nothing is written.
    ///
    /// # Errors
    /// As [`Db::tenant_tx`].
    pub async fn tenant_snapshot(&self, tenants: &[Uuid]) -> Result<Tx, sqlx::Error> {
        const SNAPSHOT: &str = "; SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY";
        Tx::by(self.app(), begin_and(tenants, SNAPSHOT)).await
    }
}

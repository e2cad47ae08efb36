//! Who acts, and what they may do, as a client sees it: real wallets, real tokens, a real Postgres.

mod agents;
mod approvals;
mod bodies;
mod directory;
mod keys;
mod second_factor;
mod sessions;
mod sign_in;
mod tenancy;

use sqlx::AssertSqlSafe;

use super::Api;

impl Api {
    /// What was put on record so far of this action, as text.
    async fn recorded(&self, action: &str) -> Vec<String> {
        let rows = "FROM audit_staging WHERE action = $1 ORDER BY staging_id";
        let sql = format!("SELECT audit_staging::text {rows}");
        sqlx::query_scalar(AssertSqlSafe(sql)).bind(action).fetch_all(self.db.worker()).await.unwrap()
    }

    /// Everything that a table holds, as text.
    async fn held(&self, table: &str) -> String {
        let mut owner = sqlx::ConnectOptions::connect(&self.db.urls().owner).await.unwrap();
        let sql = format!("SELECT COALESCE(string_agg(t::text, E'\\n'), '') FROM {table} t");
        sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(&mut owner).await.unwrap()
    }
}

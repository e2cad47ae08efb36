//! Who acts, and what they may do, as a client sees it: real wallets, real tokens, a real Postgres.

mod agents;
mod approvals;
mod bodies;
mod directory;
mod factors;
mod keys;
mod oidc;
mod oidc_link;
#[path = "../../../../identity/tests/identity/provider.rs"]
#[allow(dead_code, reason = "these tests ask less of the provider")]
mod provider;
mod second_factor;
mod sessions;
mod sign_in;
mod tenancy;
mod webauthn;

use sqlx::AssertSqlSafe;

use axum::Router;
use plimsoll_store::Db;
use plimsoll_store::idempotency::{KeyOptions, Keys};

use super::{Api, services};
use crate::routes::router_with;
use crate::{ApiOptions, ApiState, Roles, Services, SignInOptions};

impl Api {
    /// Where people sign in like this.
    fn signing_in(db: Db, sign_in: SignInOptions) -> Self {
        let (roles, keys) = (Roles::of("here:1"), Keys::new(db.clone(), "here:1", KeyOptions::default()));
        let services = Services { sign_in, ..services(&db, keys, roles.clone()) };
        let state = ApiState::new(services, ApiOptions::default());
        let tail = plimsoll_journal::Tail::default();
        Self { router: router_with(state.clone(), Router::new()), db, tail, state, roles }
    }

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

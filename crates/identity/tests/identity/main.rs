//! What identity promises, asked of a real database. All tests share one private cluster and have a database each.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod api_keys;
mod approvals;
mod authentication;
mod bootstrap;
mod desk;
mod directory;
mod external;
mod listing;
mod oidc;
mod oidc_link;
mod provider;
mod second_factors;
mod security_key;
mod sessions;
mod sign_in;
mod site;
mod totp;
mod webauthn;

use plimsoll_identity::keys::{KeyTexts, Keys, generate_pem};
use plimsoll_identity::token::Tokens;
use plimsoll_identity::{Authenticator, Credential, Principal, UserKind, UserStatus, directory as people};
use plimsoll_store::{Db, Tx, testing};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection};
use uuid::Uuid;

/// A database with two tenants.
struct House {
    db: Db,
    tenant_id: Uuid,
    other_tenant_id: Uuid,
}

impl House {
    async fn new() -> Self {
        let db = testing::db().await;
        let (tenant_id, other_tenant_id) = (Uuid::now_v7(), Uuid::now_v7());
        for (id, name) in [(tenant_id, "acme"), (other_tenant_id, "globex")] {
            sqlx::query("INSERT INTO tenants (tenant_id, name) VALUES ($1, $2)")
                .bind(id)
                .bind(name)
                .execute(db.worker())
                .await
                .unwrap();
        }
        Self { db, tenant_id, other_tenant_id }
    }

    /// A transaction of the app, confined to the first tenant.
    async fn app(&self) -> Tx {
        self.db.tenant_tx(&[self.tenant_id]).await.unwrap()
    }

    async fn worker(&self) -> Tx {
        self.db.begin_worker().await.unwrap()
    }

    /// What only the owner may: to turn back clocks, and to try what the program would not.
    async fn owner(&self, sql: &str) -> Result<u64, sqlx::Error> {
        let mut conn = self.db.urls().owner.connect().await.unwrap();
        let result = sqlx::query(AssertSqlSafe(sql.to_owned())).execute(&mut conn).await;
        conn.close().await.unwrap();
        result.map(|done| done.rows_affected())
    }

    /// Waits until some statement waits for another's transaction.
    async fn somebody_waits(&self) {
        let mut conn = self.db.urls().owner.connect().await.unwrap();
        let waits = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
        while sqlx::query_scalar::<_, i64>(waits).fetch_one(&mut conn).await.unwrap() == 0 {}
    }

    async fn user(&self, kind: UserKind, roles: &[&str]) -> people::User {
        let mut tx = self.app().await;
        let user =
            people::create_user(&mut tx, self.tenant_id, kind, UserStatus::Active, "somebody").await.unwrap();
        for role in roles {
            people::assign_role(&mut tx, self.tenant_id, user.user_id, role).await.unwrap();
        }
        tx.commit().await.unwrap();
        user
    }

    /// A user as they are after signing in with two factors.
    async fn principal(&self, kind: UserKind, roles: &[&str]) -> Principal {
        let user = self.user(kind, roles).await;
        let permissions =
            people::permissions_of(&mut *self.app().await, self.tenant_id, user.user_id).await.unwrap();
        Principal {
            tenant_id: user.tenant_id,
            user_id: user.user_id,
            kind,
            status: user.status,
            permissions,
            credential: Credential::Session(Uuid::now_v7()),
            second_factor: true,
        }
    }

    async fn set_status(&self, user_id: Uuid, status: UserStatus) {
        let mut tx = self.app().await;
        people::set_status(&mut tx, self.tenant_id, user_id, status).await.unwrap();
        tx.commit().await.unwrap();
    }

    /// One that remembers nothing, as any other process is to what this one changes.
    fn authenticator(&self, tokens: &Tokens) -> Authenticator {
        Authenticator::with_memory(self.db.clone(), tokens.clone(), std::time::Duration::ZERO)
    }
}

fn tokens() -> Tokens {
    let keys = KeyTexts { signing: generate_pem(), verifying: vec![] };
    Tokens::new(Keys::load(&keys).unwrap(), "https://plimsoll.example", "plimsoll")
}

/// The constraint that a statement broke.
fn constraint(error: &sqlx::Error) -> Option<&str> {
    error.as_database_error()?.constraint()
}

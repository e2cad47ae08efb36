//! A database with two tenants and one of everything, and what differs in it afterwards.

use std::collections::BTreeMap;
use std::time::Duration;

use alloy_primitives::Address;
use plimsoll_identity::api_key::{self, NewApiKey};
use plimsoll_identity::directory::{self, NewRole};
use plimsoll_identity::{Permission, UserKind, UserStatus, external, tenant};
use plimsoll_store::idempotency::{
    Entered, EntryFilter, Fingerprint, Key, KeyOptions, Keys, Request, Scope, entries,
};
use plimsoll_store::{Db, PoolSizes, testing};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, PgConnection};
use uuid::Uuid;

use crate::common::{CHAIN_ID, Place, configuration, node_of_chain};

pub(crate) const REASON: &str = "ticket 42";
pub(crate) const REQUEST: &str = "0190b0a4-0000-7000-8000-000000000042";
const ADDRESS: Address = Address::repeat_byte(7);

pub(crate) const ISSUER: &str = "https://login.example.com/realms/acme";
/// A security key of ada's.
const FACTOR: &str = "webauthn:kFb1ZcNLrDYe7xYV6Wc5Xg";

/// Where the program runs, and what it finds there.
pub(crate) struct House {
    pub(crate) place: Place,
    pub(crate) db: Db,
    pub(crate) acme: Uuid,
    /// An operator, with an address, a subject of a provider, a security key, an API key and a session.
    pub(crate) ada: Uuid,
    /// Suspended, without roles.
    pub(crate) bob: Uuid,
    pub(crate) agent: Uuid,
    pub(crate) key_id: String,
    pub(crate) session_id: Uuid,
    /// An idempotency entry of acme's, and one of the platform's.
    pub(crate) entries: [i64; 2],
}

/// An audit entry, as far as the tests look at it.
#[derive(Debug, sqlx::FromRow)]
pub(crate) struct Entry {
    pub(crate) tenant_id: Option<Uuid>,
    pub(crate) request_id: Uuid,
    pub(crate) actor: String,
    pub(crate) reason: Option<String>,
}

impl House {
    pub(crate) async fn new() -> Self {
        let urls = testing::database().await;
        let place = Place::new();
        let url = urls.owner.to_url_lossy();
        place.write("plimsoll.toml", &configuration(node_of_chain(CHAIN_ID), &format!("url = \"{url}\"")));
        let db = Db::connect_with(&urls, PoolSizes { app: 2, worker: 2 }).await.unwrap();
        let mut tx = db.begin_worker().await.unwrap();
        let acme = tenant::create(&mut tx, Uuid::now_v7(), "acme").await.unwrap().tenant_id;
        tenant::create(&mut tx, Uuid::now_v7(), "globex").await.unwrap();
        tx.commit().await.unwrap();

        let mut tx = db.tenant_tx(&[acme]).await.unwrap();
        let mut user = async |kind, status, name| {
            directory::create_user(&mut tx, acme, kind, status, name).await.unwrap().user_id
        };
        let ada = user(UserKind::Person, UserStatus::Active, "ada").await;
        let bob = user(UserKind::Person, UserStatus::Suspended, "bob").await;
        let agent = user(UserKind::Agent, UserStatus::Active, "agent").await;
        directory::assign_role(&mut tx, acme, ada, "operator").await.unwrap();
        directory::link_address(&mut tx, acme, ada, CHAIN_ID, ADDRESS).await.unwrap();
        external::link(&mut tx, acme, ada, ISSUER, "ada").await.unwrap();
        directory::create_role(&mut tx, acme, "clerk", NewRole::Ordinary(&[Permission::LedgerRead]))
            .await
            .unwrap();
        tx.commit().await.unwrap();

        let mut tx = db.begin_worker().await.unwrap();
        let new = NewApiKey {
            tenant_id: acme,
            user_id: ada,
            label: "ci",
            scopes: [Permission::LedgerRead].into_iter().collect(),
            lifetime: Duration::from_secs(3_600),
            certificate_hash: None,
        };
        let key_id = api_key::issue(&mut tx, &new).await.unwrap().key_id;
        let session_id = Uuid::now_v7();
        sqlx::query(
            "INSERT INTO sessions (session_id, tenant_id, user_id, method, expires_at) VALUES ($1, $2, $3, 'wallet', now() + interval '1 day')",
        )
        .bind(session_id)
        .bind(acme)
        .bind(ada)
        .execute(&mut *tx)
        .await
        .unwrap();
        sqlx::query(
            "INSERT INTO webauthn_credentials (tenant_id, user_id, credential_id, algorithm, public_key, sign_count, label)
             VALUES ($1, $2, decode('9056f565c34bac361eef1615e967395e', 'hex'), -8, decode(repeat('07', 32), 'hex'), 0, 'the blue one')",
        )
        .bind(acme)
        .bind(ada)
        .execute(&mut *tx)
        .await
        .unwrap();
        tx.commit().await.unwrap();
        let entries = [entry(&db, Some(acme)).await, entry(&db, None).await];
        Self { place, db, acme, ada, bob, agent, key_id, session_id, entries }
    }

    /// Arguments with which the leaf does what it is for.
    pub(crate) fn sample(&self, leaf: &str) -> Option<Vec<String>> {
        let (ada, bob, key) = (self.ada.to_string(), self.bob.to_string(), self.key_id.clone());
        let (session, [entry, of_platform]) =
            (self.session_id.to_string(), self.entries.map(|id| id.to_string()));
        let chain = CHAIN_ID.to_string();
        let (address, other_address) = (format!("{ADDRESS:#x}"), format!("{:#x}", Address::repeat_byte(9)));
        let out = self.place.path("audit.jsonl").display().to_string();
        let words = match leaf {
            "init" => of_acme(&["--url", "https://p.example"]),
            "tenants list" | "roles permissions" => Some(vec![]),
            "tenants show" | "users list" | "keys list" | "roles list" | "sessions list" => of_acme(&[]),
            "tenants create" => Some(vec!["initech"]),
            "tenants rename" => of_acme(&["acme-lending"]),
            "users show" => of_acme(&[&ada]),
            "users create" => {
                of_acme(&["--name", "eve", "--kind", "machine", "--role", "viewer", "--role", "accountant"])
            }
            "users suspend" => of_acme(&[&ada]),
            "users activate" => of_acme(&[&bob]),
            "users link" => of_acme(&[&ada, "--chain", &chain, "--address", &other_address]),
            "users unlink" => of_acme(&[&ada, "--chain", &chain, "--address", &address]),
            "users assign" => of_acme(&[&ada, "approver"]),
            "users unassign" => of_acme(&[&ada, "operator"]),
            "users factors list" | "users identities list" => of_acme(&[&ada]),
            "users factors remove" => of_acme(&[&ada, FACTOR]),
            "users identities link" => of_acme(&[&bob, "--issuer", ISSUER, "--subject", "bob"]),
            "users identities unlink" => of_acme(&[&ada, "--issuer", ISSUER, "--subject", "ada"]),
            "keys issue" => {
                of_acme(&["--user", &ada, "--label", "x", "--scopes", "ledger:read,positions:read"])
            }
            "keys rotate" | "keys revoke" => of_acme(&[&key]),
            "roles show" => of_acme(&["viewer"]),
            "roles create" => of_acme(&["risk", "--permissions", "ledger:read,recon:propose"]),
            "roles grant" => of_acme(&["clerk", "ledger:post"]),
            "roles revoke" => of_acme(&["clerk", "ledger:read"]),
            "sessions revoke" => of_acme(&[&session]),
            "audit list" | "audit tail" => of_acme(&[]),
            "audit export" => Some(vec!["--out", &out]),
            "audit show" => Some(vec!["--help"]), // there is no entry yet to be shown; `audit.rs` shows some
            "idempotency list" => of_acme(&[]),
            "idempotency show" => Some(vec![&*of_platform]),
            "idempotency invalidate" => Some(vec![&*entry]),
            _ => None,
        };
        words.map(|words| words.into_iter().map(str::to_owned).collect())
    }

    /// Whether the sample is about the platform's own entry.
    pub(crate) fn is_platform(&self, sample: &[String]) -> bool {
        sample.contains(&self.entries[1].to_string())
    }

    /// One that ends gives its connections back: the server has a hundred.
    pub(crate) async fn close(self) {
        self.db.close().await;
    }

    async fn superuser(&self) -> PgConnection {
        self.db.urls().owner.connect().await.unwrap()
    }

    /// What only the owner may.
    pub(crate) async fn owner(&self, sql: &str) {
        let mut conn = self.superuser().await;
        sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&mut conn).await.unwrap();
        conn.close().await.unwrap();
    }

    /// The rows of every table that there is, as text.
    pub(crate) async fn state(&self) -> BTreeMap<String, String> {
        let mut conn = self.superuser().await;
        let names: Vec<String> = sqlx::query_scalar(
            "SELECT relname::text FROM pg_class
             WHERE relnamespace = 'plimsoll'::regnamespace AND relkind IN ('r', 'p') AND NOT relispartition",
        )
        .fetch_all(&mut conn)
        .await
        .unwrap();
        assert!(names.len() > 20, "{names:?}");
        let mut tables = BTreeMap::new();
        for name in names {
            let sql = format!(
                "SELECT COALESCE(string_agg(t::text, E'\\n' ORDER BY t::text), '') FROM plimsoll.{name} AS t"
            );
            let rows: String = sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(&mut conn).await.unwrap();
            tables.insert(name, rows);
        }
        conn.close().await.unwrap();
        tables
    }

    /// The tables that are not as they were.
    pub(crate) async fn changed(&self, before: &BTreeMap<String, String>) -> Vec<String> {
        let now = self.state().await;
        assert_eq!(now.len(), before.len());
        now.into_iter().filter(|(name, rows)| before.get(name) != Some(rows)).map(|(name, _)| name).collect()
    }

    /// Everything that is stored.
    pub(crate) async fn dump(&self) -> String {
        self.state().await.into_values().collect::<Vec<_>>().join("\n")
    }

    /// The audit entries, none of which has its number yet.
    pub(crate) async fn entries(&self) -> Vec<Entry> {
        sqlx::query_as("SELECT tenant_id, request_id, actor, reason FROM audit_staging ORDER BY staging_id")
            .fetch_all(self.db.worker())
            .await
            .unwrap()
    }
}

fn of_acme<'a>(words: &[&'a str]) -> Option<Vec<&'a str>> {
    Some([words, &["--tenant", "acme"]].concat())
}

/// Claims a key and forgets it, as a process that dies.
async fn entry(db: &Db, tenant_id: Option<Uuid>) -> i64 {
    let keys = Keys::new(db.clone(), "test", KeyOptions::default());
    let scope = Scope { tenant_id, principal: "user:ada".into(), method: "POST".into(), route: "/r".into() };
    let request =
        Request { scope, key: Key::explicit("k").unwrap(), fingerprint: Fingerprint::from_bytes([1; 32]) };
    let Entered::Claimed(claim) = keys.enter(request).await.unwrap() else { panic!("the key is free") };
    std::mem::forget(claim);
    let filter = EntryFilter { tenant_id, ..EntryFilter::default() };
    entries(&mut db.begin_worker().await.unwrap(), &filter, 1).await.unwrap().remove(0).entry_id
}

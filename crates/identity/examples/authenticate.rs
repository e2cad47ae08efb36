//! How long an authentication takes: from memory, and with the database asked each time. Prints JSON, times in microseconds.
//!
//! `cargo run --release -p plimsoll-identity --example authenticate`

#![allow(clippy::unwrap_used, reason = "a measurement that cannot go on says where")]

use std::time::{Duration, Instant};

use plimsoll_identity::api_key::{self, NewApiKey};
use plimsoll_identity::keys::{KeyTexts, Keys, generate_pem};
use plimsoll_identity::session::{self, Method};
use plimsoll_identity::token::Tokens;
use plimsoll_identity::{Authenticator, UserKind, UserStatus, directory as people};
use plimsoll_store::testing;
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use uuid::Uuid;

const FROM_MEMORY: usize = 20_000;
const FROM_DATABASE: usize = 2_000;

#[tokio::main]
async fn main() {
    let db = testing::db().await;
    let tenant_id = Uuid::now_v7();
    sqlx::query("INSERT INTO tenants (tenant_id, name) VALUES ($1, 'acme')")
        .bind(tenant_id)
        .execute(db.worker())
        .await
        .unwrap();
    let keys = KeyTexts { signing: generate_pem(), verifying: vec![] };
    let tokens = Tokens::new(Keys::load(&keys).unwrap(), "https://plimsoll.example", "plimsoll");
    let mut tx = db.begin_worker().await.unwrap();
    let user = people::create_user(&mut tx, tenant_id, UserKind::Machine, UserStatus::Active, "bench")
        .await
        .unwrap();
    people::assign_role(&mut tx, tenant_id, user.user_id, people::builtin::ADMIN).await.unwrap();
    let scopes = people::permissions_of(&mut tx, tenant_id, user.user_id).await.unwrap();
    let pair = session::open(&mut tx, &tokens, &user, Method::Wallet).await.unwrap();
    let new = NewApiKey {
        tenant_id,
        user_id: user.user_id,
        label: "bench",
        scopes,
        lifetime: Duration::from_secs(3600),
        certificate_hash: None,
    };
    let key = api_key::issue(&mut tx, &new).await.unwrap();
    tx.commit().await.unwrap();
    let remembering = Authenticator::new(db.clone(), tokens.clone());
    let asking = Authenticator::with_memory(db.clone(), tokens, Duration::ZERO);
    let (token, key) = (pair.access_token.expose_secret(), key.token.expose_secret());
    let report = json!({
        "token_from_memory": measure(&remembering, token, FROM_MEMORY).await,
        "token_from_database": measure(&asking, token, FROM_DATABASE).await,
        "key_from_memory": measure(&remembering, key, FROM_MEMORY).await,
        "key_from_database": measure(&asking, key, FROM_DATABASE).await,
        "is_optimised": !cfg!(debug_assertions),
    });
    println!("{report:#}");
}

async fn measure(auth: &Authenticator, credential: &str, times: usize) -> Value {
    auth.authenticate(credential, None).await.unwrap();
    let mut took = Vec::with_capacity(times);
    for _ in 0..times {
        let start = Instant::now();
        auth.authenticate(credential, None).await.unwrap();
        took.push(start.elapsed());
    }
    took.sort_unstable();
    let at = |percent: usize| took[(times - 1) * percent / 100].as_nanos() / 1_000;
    json!({ "p50_us": u64::try_from(at(50)).unwrap(), "p99_us": u64::try_from(at(99)).unwrap(), "samples": times })
}

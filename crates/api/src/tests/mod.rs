//! The API against a real Postgres with all migrations applied. Rows are written as the worker role, read as the app role.

mod audit;
mod chains;
mod events;
mod gateway;
mod idempotency;
mod identity;
mod ledger;
mod operations;
mod people;
mod positions;
mod problems;
mod seed;
mod served;
mod story;
mod streams;
mod tenancy;
mod transactions;

use std::sync::OnceLock;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Request, StatusCode};
use metrics_exporter_prometheus::PrometheusHandle;
use plimsoll_identity::Authenticator;
use plimsoll_identity::keys::{KeyTexts, generate_pem};
use plimsoll_identity::token::Tokens;
use plimsoll_journal::{Marks, Tail};
use plimsoll_store::Db;
use plimsoll_store::idempotency::{KeyOptions, Keys};
use serde_json::Value;
use tower::ServiceExt;

use crate::routes::router_with;
use crate::{ApiOptions, ApiState, Roles, Services};
use seed::Seed;

/// A chain that nobody else in these tests has.
const CHAIN: u64 = 31_337;
const REQUEST_ID: &str = "the-request";

fn recorder() -> PrometheusHandle {
    static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();
    HANDLE.get_or_init(|| crate::metrics::install().unwrap()).clone()
}

/// Tokens that this process alone signs.
fn tokens() -> Tokens {
    let keys = KeyTexts { signing: generate_pem(), verifying: Vec::new() };
    Tokens::new(plimsoll_identity::keys::Keys::load(&keys).unwrap(), "https://plimsoll.example", "plimsoll")
}

fn services(db: &Db, keys: Keys, roles: Roles) -> Services {
    services_on(db, keys, roles, Tail::default())
}

fn services_on(db: &Db, keys: Keys, roles: Roles, tail: Tail) -> Services {
    let authenticator = Authenticator::new(db.clone(), tokens());
    Services {
        db: db.clone(),
        authenticator,
        sign_in: people::sign_in(),
        keys,
        marks: Marks::new(db.clone(), tail),
        relayer: Some(transactions::intake(db)),
        ledger: plimsoll_ledger::KeyedIntake::start(db.clone()),
        chains: plimsoll_relayer::chains::Chains::default(),
        prometheus: recorder(),
        roles,
    }
}

/// The API over a database of its own.
struct Api {
    db: Db,
    tail: Tail,
    state: ApiState,
    roles: Roles,
    router: Router,
}

/// An answer of the API.
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: String,
}

impl Api {
    async fn start() -> Self {
        Self::start_with(ApiOptions::default(), Router::new()).await
    }

    async fn start_with(options: ApiOptions, more: Router<ApiState>) -> Self {
        let (db, roles) = (plimsoll_store::testing::db().await, Roles::of("here:1"));
        let keys = Keys::new(db.clone(), "here:1", KeyOptions::default());
        let tail = Tail::default();
        let state = ApiState::new(services_on(&db, keys, roles.clone(), tail.clone()), options);
        Self { router: router_with(state.clone(), more), db, tail, state, roles }
    }

    /// With a chain that is followed up to block 100 (confirmed 95, final 90), its fold in step.
    async fn followed() -> Self {
        let api = Self::start().await;
        api.seed(CHAIN).chain(100, 95, 90).await;
        api.seed(CHAIN).fold("views", 100).await;
        api
    }

    fn seed(&self, chain_id: u64) -> Seed<'_> {
        Seed { pool: self.db.worker(), chain_id: i64::try_from(chain_id).unwrap() }
    }

    async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (status, headers) = (response.status(), response.headers().clone());
        let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
        Answer { status, headers, body: String::from_utf8(body.to_vec()).unwrap() }
    }

    async fn get(&self, path: &str) -> Answer {
        self.send(Request::get(path).header("x-request-id", REQUEST_ID).body(Body::empty()).unwrap()).await
    }

    /// The body of an answer that must be a 200.
    async fn ok(&self, path: &str) -> Value {
        let answer = self.get(path).await;
        assert_eq!(answer.status, StatusCode::OK, "{path}: {}", answer.body);
        answer.json()
    }

    /// The body of an answer that must be a problem of this kind.
    async fn problem(&self, path: &str, status: u16, slug: &str) -> Value {
        let answer = self.get(path).await;
        assert_eq!(answer.status.as_u16(), status, "{path}: {}", answer.body);
        assert_eq!(answer.headers["content-type"], "application/problem+json", "{path}");
        let body = answer.json();
        assert_eq!(body["type"], format!("urn:plimsoll:problem:{slug}"), "{path}: {body}");
        body
    }

    /// Every item of every page, and how many pages there were.
    async fn walk(&self, path: &str) -> (Vec<Value>, usize) {
        let (mut items, mut pages, mut cursor) = (Vec::new(), 0, None::<String>);
        loop {
            let page = self
                .ok(&cursor.map_or_else(|| path.to_owned(), |cursor| format!("{path}&cursor={cursor}")))
                .await;
            items.extend(page["items"].as_array().unwrap().iter().cloned());
            pages += 1;
            assert!(pages < 1_000, "a walk must end");
            match page["next_cursor"].as_str() {
                Some(next) => cursor = Some(next.to_owned()),
                None => return (items, pages),
            }
        }
    }
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }
}

fn codes(why: &Value) -> Vec<&str> {
    why.as_array().unwrap().iter().map(|reason| reason["code"].as_str().unwrap()).collect()
}

//! Small routes that write, on the real middleware and a real Postgres. There is a test for each line of what is promised.

mod batches;
mod deferred;
mod kills;
mod promises;
mod time;
mod walk;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::Json;
use axum::http::{HeaderMap, Request, StatusCode};
use axum::middleware::map_request;
use plimsoll_bus::Keys as Demanded;
use plimsoll_bus::audit::Entry;
use plimsoll_store::idempotency::{KeyOptions, Keys};
use plimsoll_store::{DatabaseUrls, Db, PoolSizes, testing};
use plimsoll_types::Context;
use serde_json::{Value, json};
use sqlx::{ConnectOptions, PgConnection};
use tokio::sync::Semaphore;
use tower::ServiceExt;
use uuid::Uuid;

use super::services;
use crate::gateway::{Access, Declaration, Routes, WriteMethod};
use crate::idempotency::{Answered, ContentHeader, Effect, Execution, Reply};
use crate::problem::{Problem, ProblemKind};
use crate::repo::RepoError;
use crate::routes::router_with;
use crate::{ApiOptions, ApiState, Roles};

const THINGS: &str = "/api/v1/things";
const NOTES: &str = "/api/v1/notes";
const TOKENS: &str = "/api/v1/tokens";
const ORDERS: &str = "/api/v1/orders";
const TENANT: Uuid = Uuid::from_u128(1);

/// What the handlers of these tests did, and where they wait.
#[derive(Debug)]
struct Probe {
    executions: AtomicUsize,
    /// A handler gives one when it begins, and needs one to go on.
    entered: Semaphore,
    gate: Semaphore,
    /// Sends outside the database, by id.
    sent: Mutex<BTreeMap<String, usize>>,
}

impl Probe {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            executions: AtomicUsize::new(0),
            entered: Semaphore::new(0),
            gate: Semaphore::new(Semaphore::MAX_PERMITS),
            sent: Mutex::default(),
        })
    }

    fn executions(&self) -> usize {
        self.executions.load(Ordering::SeqCst)
    }

    /// From now on handlers wait. They are let through one by one with `gate.add_permits`.
    fn close(&self) {
        self.gate.forget_permits(Semaphore::MAX_PERMITS);
    }

    async fn pass(&self) {
        self.executions.fetch_add(1, Ordering::SeqCst);
        self.entered.add_permits(1);
        if self.gate.available_permits() < Semaphore::MAX_PERMITS / 2 {
            self.gate.acquire().await.unwrap().forget();
        }
    }

    async fn one_entered(&self) {
        self.entered.acquire().await.unwrap().forget();
    }
}

/// One process: its pools, its keys and its routes.
struct House {
    urls: DatabaseUrls,
    db: Db,
    keys: Keys,
    probe: Arc<Probe>,
    state: ApiState,
    router: Router,
}

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    fn is_replayed(&self) -> bool {
        self.headers.get("idempotent-replayed").is_some_and(|value| value == "true")
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    #[track_caller]
    fn is_problem(&self, status: u16, slug: &str) {
        assert_eq!(self.status.as_u16(), status, "{}", String::from_utf8_lossy(&self.body));
        assert_eq!(self.json()["type"], format!("urn:plimsoll:problem:{slug}"));
    }
}

/// A database with a table for effects.
async fn database() -> DatabaseUrls {
    let urls = testing::database().await;
    let mut owner = urls.owner.connect().await.unwrap();
    sqlx::raw_sql(
        "CREATE TABLE effects (at bigint GENERATED ALWAYS AS IDENTITY, tenant_id uuid, what text NOT NULL);
         ALTER TABLE effects ENABLE ROW LEVEL SECURITY;
         ALTER TABLE effects FORCE ROW LEVEL SECURITY;
         CREATE POLICY own_tenant ON effects TO plimsoll_app
             USING (COALESCE(tenant_id, '00000000-0000-0000-0000-000000000000') = ANY (current_tenants()));
         GRANT SELECT, INSERT ON effects TO plimsoll_app;
         GRANT SELECT ON effects TO plimsoll_worker",
    )
    .execute(&mut owner)
    .await
    .unwrap();
    urls
}

impl House {
    async fn start() -> Self {
        Self::start_with(KeyOptions::default()).await
    }

    async fn start_with(options: KeyOptions) -> Self {
        Self::on(&database().await, options, PoolSizes { app: 5, worker: 2 }, Probe::new()).await
    }

    async fn on(urls: &DatabaseUrls, options: KeyOptions, pools: PoolSizes, probe: Arc<Probe>) -> Self {
        let db = Db::connect_with(urls, pools).await.unwrap();
        let keys = Keys::new(db.clone(), "here:1", options);
        let api = ApiOptions {
            request_timeout_ms: 120_000,
            max_concurrent_requests: 1_024,
            ..ApiOptions::default()
        };
        let state = ApiState::new(services(&db, keys.clone(), Roles::of("here:1")), api);
        let router = router_with(state.clone(), behind(routes(&probe)));
        Self { urls: urls.clone(), db, keys, probe, state, router }
    }

    async fn send(&self, request: Request<Body>) -> Answer {
        answer(self.router.clone(), request).await
    }

    async fn post(&self, path: &str, key: &str, body: &Value) -> Answer {
        self.send(post(path, key, body)).await
    }

    /// Until so many duplicates wait.
    async fn waiting(&self, count: usize) {
        while self.keys.waiting() < count {
            tokio::task::yield_now().await;
        }
    }

    /// How many effects are committed.
    async fn effects(&self) -> i64 {
        sqlx::query_scalar("SELECT count(*) FROM effects").fetch_one(self.db.worker()).await.unwrap()
    }

    async fn entries(&self) -> i64 {
        sqlx::query_scalar("SELECT count(*) FROM idempotency_cache")
            .fetch_one(self.db.worker())
            .await
            .unwrap()
    }
}

async fn answer(router: Router, request: Request<Body>) -> Answer {
    let response = router.oneshot(request).await.unwrap();
    let (status, headers) = (response.status(), response.headers().clone());
    let body = to_bytes(response.into_body(), usize::MAX).await.unwrap().to_vec();
    Answer { status, headers, body }
}

fn caller(tenant_id: Option<Uuid>, actor: &str) -> Context {
    Context { tenant_id, ..Context::new(Uuid::new_v4(), actor) }
}

/// Who asks, in the place of a credential: what is proved here is not who it is.
#[derive(Clone)]
struct Asks(Context);

/// These routes, where who asks is taken from [`Asks`].
fn behind(routes: Routes<ApiState>) -> Router<ApiState> {
    routes.into_router().layer(map_request(async |mut request: Request<Body>| {
        let asks = request.extensions_mut().remove::<Asks>();
        if let Some(Asks(context)) = asks {
            request.extensions_mut().insert(context);
        }
        request
    }))
}

/// What the audit is to say of an effect.
fn entry(what: &str) -> Entry {
    Entry::new("test.effect.create", "effect", what).demanding(Demanded::Platform)
}

/// A request as authentication hands it on.
fn post(path: &str, key: &str, body: &Value) -> Request<Body> {
    let request = Request::post(path)
        .header("content-type", "application/json")
        .extension(Asks(caller(Some(TENANT), "user:ada")));
    let request = if key.is_empty() { request } else { request.header("idempotency-key", key) };
    request.body(Body::from(body.to_string())).unwrap()
}

async fn write(conn: &mut PgConnection, tenant_id: Option<Uuid>, what: &str) -> Result<i64, Problem> {
    sqlx::query_scalar("INSERT INTO effects (tenant_id, what) VALUES ($1, $2) RETURNING at")
        .bind(tenant_id)
        .bind(what)
        .fetch_one(conn)
        .await
        .map_err(|error| RepoError::from(error).into())
}

async fn effect(execution: Execution, what: &str) -> Result<(Effect, i64), Problem> {
    let tenant_id = execution.scope().tenant_id;
    let mut effect = execution.begin_effects().await?;
    let at = write(&mut effect, tenant_id, what).await?;
    Ok((effect, at))
}

/// Does what the body's `outcome` says.
async fn thing(probe: Arc<Probe>, execution: Execution, body: Value) -> Result<Answered, Problem> {
    probe.pass().await;
    match body["outcome"].as_str().unwrap_or("created") {
        "refused" => Err(Problem::new(ProblemKind::InvalidParameter, "this is not a thing")),
        "closing" if probe.executions() > 1 => {
            Err(Problem::new(ProblemKind::InvalidParameter, "it is closed"))
        }
        "rejected" => {
            let (effect, _) = effect(execution, "rejected").await?;
            Ok(effect.refuse(Problem::unknown_chain(5)).await?)
        }
        "broken" if probe.executions() == 1 => {
            let (_effect, _) = effect(execution, "broken").await?;
            Err(Problem::new(ProblemKind::Internal, "this time it broke"))
        }
        "frozen" => {
            let (effect, _) = effect(execution, "frozen").await?;
            Ok(effect.commit(entry("frozen"), Reply::empty(StatusCode::BAD_GATEWAY)).await?)
        }
        "panic" if probe.executions() == 1 => {
            let (_effect, _) = effect(execution, "panic").await?;
            panic!("this time it panicked")
        }
        _ => {
            let (effect, at) = effect(execution, "created").await?;
            let reply = Reply::json(StatusCode::CREATED, &json!({"at": at, "name": body["name"]}))?
                .with_header(ContentHeader::Location, format!("{THINGS}/{at}"))
                .with_header(ContentHeader::ETag, format!("\"{at}\""));
            Ok(effect.commit(entry("created"), reply).await?)
        }
    }
}

fn routes(probe: &Arc<Probe>) -> Routes<ApiState> {
    let handler = |probe: &Arc<Probe>| {
        let probe = probe.clone();
        move |execution: Execution, Json(body): Json<Value>| thing(probe.clone(), execution, body)
    };
    let moving = |method, path| Declaration::requiring_key(method, path, Access::Anybody);
    Routes::default()
        .write(moving(WriteMethod::Post, THINGS), handler(probe))
        .write(moving(WriteMethod::Put, THINGS), handler(probe))
        .write(Declaration::with_optional_key(WriteMethod::Post, NOTES, Access::Anybody), handler(probe))
        .write(moving(WriteMethod::Post, "/api/v1/metered"), handler(probe))
        .write(moving(WriteMethod::Post, ORDERS).claiming_with_effects(), handler(probe))
        .write(moving(WriteMethod::Post, TOKENS).with_secret_answers(), handler(probe))
}

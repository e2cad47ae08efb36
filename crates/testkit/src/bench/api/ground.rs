//! The ground under every request, measured one call after the other in this process.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use plimsoll_bus::audit::{self, Entry};
use plimsoll_bus::{Context, EVENTS};
use plimsoll_identity::keys::{KeyTexts, Keys as TokenKeys, generate_pem};
use plimsoll_identity::session::{self, Method};
use plimsoll_identity::token::Tokens;
use plimsoll_identity::{Authenticator, UserKind, UserStatus, directory};
use plimsoll_store::idempotency::{
    Asked, Entered, Fingerprint, Key, KeyOptions, Keys, Request, Response, Scope,
};
use plimsoll_store::{DEFAULT_TERM, Leases, Sequencer};
use secrecy::ExposeSecret;
use sqlx::{ConnectOptions as _, Executor as _, PgConnection};
use uuid::Uuid;

use super::super::pipeline::Store;
use super::super::usage::cpu_ms_of;

const TENANT: Uuid = Uuid::from_u128(0x0198_c5a1_7d2e_7c3a_9a55_3f1f_0c6d_2b11);
const READS: usize = 20_000;
const WRITES: usize = 2_000;
const AUTHENTICATIONS: usize = 20_000;
const AUTHENTICATIONS_ASKED: usize = 2_000;

/// CPU of the plainest statement that gives a position and where it stands, ms each.
#[allow(clippy::cast_precision_loss)]
pub(super) async fn read_floor(store: &Store, users: &[String]) -> Result<f64> {
    let mut conn = store.db.app().acquire().await?;
    let postgres = store.cluster.pid();
    let before = cpu_ms_of(None, postgres);
    for user in users.iter().cycle().take(READS) {
        let row = sqlx::query!(
            r#"SELECT p.version::text AS "version!", p.collateral::text AS "collateral!", p.debt::text AS "debt!", c.head_number, f.block_number
               FROM position_cache_mirror p JOIN chains c USING (chain_id) JOIN fold_cursors f USING (chain_id) WHERE p."user" = $1"#,
            user
        )
        .fetch_one(&mut *conn)
        .await?;
        ensure!(!row.version.is_empty(), "a position has a version");
    }
    Ok((cpu_ms_of(None, postgres) - before) as f64 / READS as f64)
}

async fn user(store: &Store) -> Result<(Uuid, Tokens, session::TokenPair)> {
    let keys = KeyTexts { signing: generate_pem(), verifying: vec![] };
    let tokens = Tokens::new(TokenKeys::load(&keys)?, "https://plimsoll.example", "https://plimsoll.example");
    let mut tx = store.db.begin_worker().await?;
    let user = directory::create_user(&mut tx, TENANT, UserKind::Person, UserStatus::Active, "bench").await?;
    directory::assign_role(&mut tx, TENANT, user.user_id, directory::builtin::ADMIN).await?;
    let pair = session::open(&mut tx, &tokens, &user, Method::Wallet).await?;
    tx.commit().await?;
    Ok((user.user_id, tokens, pair))
}

/// A write of one audit row with its commit, and the same under an idempotency key, in turn.
pub(super) async fn writes(store: &Store) -> Result<(Vec<Duration>, Vec<Duration>)> {
    let (user_id, _, _) = user(store).await?;
    let keys = Keys::new(store.db.clone(), "bench", KeyOptions::default());
    let context = Context::new(Uuid::new_v4(), "user:bench").on_behalf_of(TENANT, Some(user_id));
    let (mut bare, mut keyed) = (Vec::with_capacity(WRITES), Vec::with_capacity(WRITES));
    for number in 0..WRITES {
        let began = Instant::now();
        let mut tx = store.db.tenant_tx(&[TENANT]).await?;
        effect(&mut tx, &context, number).await?;
        tx.commit().await?;
        bare.push(began.elapsed());

        let request = Request {
            scope: Scope {
                tenant_id: Some(TENANT),
                principal: context.actor.clone(),
                method: "POST".into(),
                route: "/api/v1/things".into(),
            },
            key: Key::explicit(format!("bench-{number}"))?,
            fingerprint: Fingerprint::of(&Asked {
                method: "POST",
                path: "/api/v1/things",
                query: &[],
                is_json: true,
                body: b"{\"name\":\"a thing\",\"amount\":\"1000000000000000000\"}",
                api_version: "v1",
            }),
        };
        let began = Instant::now();
        let Entered::Claimed(claim) = keys.enter(request).await? else {
            anyhow::bail!("the key {number} is not new")
        };
        let mut tx = claim.begin_effects().await?;
        effect(&mut tx, &context, number).await?;
        let response = Response::new(201, Vec::new(), b"{\"id\":1}".to_vec())?;
        claim.write(&mut tx, &response).await?;
        tx.commit().await?;
        claim.committed(response);
        keyed.push(began.elapsed());
    }
    Ok((bare, keyed))
}

async fn effect(conn: &mut PgConnection, context: &Context, number: usize) -> Result<()> {
    let entry = Entry::new("bench.thing.create", "thing", number.to_string()).in_context(context.clone());
    Ok(audit::record(conn, entry).await?)
}

/// Authentications as they come, and with the database asked each time.
pub(super) async fn authentications(store: &Store) -> Result<(Vec<Duration>, Vec<Duration>)> {
    let (_, tokens, pair) = user(store).await?;
    let token = pair.access_token.expose_secret();
    let remembering = Authenticator::new(store.db.clone(), tokens.clone());
    let asking = Authenticator::with_memory(store.db.clone(), tokens, Duration::ZERO);
    let mut taken = Vec::new();
    for (authenticator, times) in [(remembering, AUTHENTICATIONS), (asking, AUTHENTICATIONS_ASKED)] {
        let mut took = Vec::with_capacity(times);
        for _ in 0..times {
            let began = Instant::now();
            authenticator.authenticate(token, None).await?;
            took.push(began.elapsed());
        }
        taken.push(took);
    }
    let asked = taken.pop().context("two series")?;
    Ok((taken.pop().context("two series")?, asked))
}

/// How long it takes to number `rows` staged events.
pub(super) async fn numbering(store: &Store, rows: i64) -> Result<Duration> {
    let leases = Leases::connect(&store.db, "bench", DEFAULT_TERM).await?;
    let lease = leases.acquire_wait(&Sequencer::lease_name(&EVENTS), &Default::default()).await?;
    let mut sequencer = Sequencer::new(&EVENTS, store.db.clone(), leases);
    while sequencer.drain(&lease).await?.rows > 0 {}
    stage(store, rows).await?;
    let (began, mut numbered) = (Instant::now(), 0);
    while numbered < rows {
        numbered += i64::try_from(sequencer.drain(&lease).await?.rows)?;
    }
    let took = began.elapsed();
    lease.release().await?;
    Ok(took)
}

async fn stage(store: &Store, rows: i64) -> Result<()> {
    let mut tx = store.db.begin_worker().await?;
    sqlx::query!(
        r#"INSERT INTO events_staging (event_id, tenant_id, source, event_type, timestamp, actor_id, target_id, target_type, payload, request_id, correlation_id)
           SELECT gen_random_uuid()::text, $1, '/bench', 'bench.thing.created', now(), 'user:bench', n::text, 'thing', '{"amount": "1000000000000000000"}',
                  gen_random_uuid(), 'bench'
           FROM generate_series(1, $2::bigint) AS n"#,
        TENANT,
        rows
    )
    .execute(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok(())
}

/// How long one plain statement takes to move as many rows, numbered, from one table to another: both made like the stream's own, indexes and all.
pub(super) async fn numbering_floor(store: &Store, rows: i64) -> Result<Duration> {
    let mut owner = store.db.urls().owner.connect().await?;
    stage(store, rows).await?;
    for statement in [
        "SET search_path = plimsoll",
        "CREATE TABLE floor (LIKE events INCLUDING ALL)",
        "CREATE TABLE floor_staging (LIKE events_staging INCLUDING ALL)",
        "INSERT INTO floor_staging OVERRIDING SYSTEM VALUE SELECT * FROM events_staging",
    ] {
        owner.execute(statement).await?;
    }
    let began = Instant::now();
    let moved = owner
        .execute(
            "WITH moved AS (DELETE FROM floor_staging RETURNING *)
             INSERT INTO floor (sequence, event_id, tenant_id, source, event_type, subject, timestamp, actor_id, target_id, target_type, version,
                                payload, request_id, user_id, correlation_id, causation_id, recorded_at)
             SELECT row_number() OVER (ORDER BY staging_id), event_id, tenant_id, source, event_type, subject, timestamp, actor_id, target_id,
                    target_type, version, payload, request_id, user_id, correlation_id, causation_id, recorded_at
             FROM moved",
        )
        .await?
        .rows_affected();
    ensure!(i64::try_from(moved)? == rows, "{moved} rows were moved, not {rows}");
    Ok(began.elapsed())
}

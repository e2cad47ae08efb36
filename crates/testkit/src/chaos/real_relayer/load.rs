//! Requests at a steady rate over HTTP, handed in where the API says that their signer is worked.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use time::OffsetDateTime;
use tokio::task::JoinSet;
use tokio::time::Instant;
use uuid::Uuid;

use super::asked::{Asked, Told};
use super::keys::KEYS;
use super::measure::{self, HANGS_AFTER};
use super::repo;
use super::stage::Stage;
use super::story::Settings;
use crate::chaos::client::{Call, Heard, ask};

/// Connections of the client: enough that a request that is due finds one free, however long those before it take. With few, the client would offer less, and measure its own queue.
const CLIENTS: usize = 512;
/// What is waited for and not measured is looked at so rarely that looking takes nothing from what is measured.
const LOOK: Duration = Duration::from_millis(50);

/// What came of requests at a steady rate.
#[derive(Debug, Default)]
pub(crate) struct Served {
    /// How long each took to be answered, from when it was due.
    pub(crate) answered: Vec<Duration>,
    /// How long it took until a node had it, from when it was due.
    pub(crate) sent: Vec<Duration>,
    /// How many were worked where they were handed in.
    pub(crate) hits: usize,
}

/// So many requests a second for a time, through the process that the API names; all of them take effect.
///
/// # Errors
/// Something could not be run, or did not take effect.
pub(crate) async fn served(program: &Path, rate: u32, time: Duration) -> Result<Served> {
    let settings = Settings { window: 1_024, ..measure::settings(1, 250) };
    let mut stage = Stage::set(1, &settings, program).await?;
    // Somebody works it from here on, and after a while whoever is to.
    stage.until_counted(measure::ask()).await?;
    let base = stage.settled_route().await?;
    let period = Duration::from_secs(1) / rate;
    let count = usize::try_from(time.as_millis() / period.as_millis().max(1))?;
    let person = stage.people[0].clone();
    let head = stage.house.node.block_number().await?;
    let calls: Arc<[(Uuid, Call)]> = (0..count)
        .map(|_| {
            let asked = Asked::new(measure::ask(), &person, stage.chain_id, stage.counter, head);
            (asked.ask.request_id, asked.submission(&person))
        })
        .collect();

    let (began, began_at) = (Instant::now(), OffsetDateTime::now_utc());
    let next = Arc::new(AtomicUsize::new(0));
    let mut clients = JoinSet::new();
    for _ in 0..CLIENTS {
        let (calls, next, http, base) =
            (Arc::clone(&calls), Arc::clone(&next), stage.http.clone(), base.clone());
        clients.spawn(async move {
            let mut answered = Vec::new();
            loop {
                let place = next.fetch_add(1, Ordering::Relaxed);
                let Some((_, call)) = calls.get(place) else { return Ok::<_, anyhow::Error>(answered) };
                let due = began + period * u32::try_from(place)?;
                tokio::time::sleep_until(due).await;
                let told: Told = ask(http.clone(), vec![base.clone()], call.clone()).await?;
                ensure!(matches!(told.heard, Heard::Accepted(_)), "a request was refused: {:?}", told.heard);
                answered.push(due.elapsed());
            }
        });
    }
    let mut served = Served::default();
    while !clients.is_empty() {
        stage.attend().await?;
        while let Some(client) = clients.try_join_next() {
            served.answered.extend(client??);
        }
        tokio::time::sleep(LOOK).await;
    }
    let ids: Vec<_> = calls.iter().map(|(id, _)| *id).collect();
    let mut conn = stage.house.connect().await?;
    let until = Instant::now() + HANGS_AFTER;
    while repo::confirmed(&mut conn, &ids).await? < ids.len() {
        ensure!(Instant::now() < until, "not all that was handed in is confirmed");
        stage.attend().await?;
        tokio::time::sleep(LOOK).await;
    }
    let places: HashMap<Uuid, u32> = ids.iter().copied().zip(0..).collect();
    for sent in repo::sent(&mut conn, &ids).await? {
        let due = began_at + period * places.get(&sent.request_id).copied().context("a request of ours")?;
        served.sent.push((sent.at - due).unsigned_abs());
        served.hits += usize::from(sent.is_worked_where_accepted);
    }
    drop(conn);
    stage.end().await?;
    Ok(served)
}

impl Stage {
    /// Where the API says that the only signer is worked, once it is so: whoever came first works it until it has seen some times that it is another's.
    async fn settled_route(&mut self) -> Result<String> {
        let until = Instant::now() + HANGS_AFTER;
        loop {
            let route = self.route().await?;
            if self.house.processes[self.working().await?].url() == route {
                return Ok(route);
            }
            ensure!(Instant::now() < until, "the signer is not worked where the API says, at {route}");
            self.attend().await?;
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Where the API says that the only signer is worked.
    async fn route(&self) -> Result<String> {
        let base = self.house.processes.last().context("a process that serves")?.url();
        let signers = self
            .http
            .get(format!("{base}/api/v1/signers/{}", KEYS[0].address))
            .bearer_auth(&self.people[0].token)
            .send()
            .await?
            .error_for_status()?
            .bytes()
            .await?;
        let signers: Value = serde_json::from_slice(&signers)?;
        Ok(signers["items"][0]["route"].as_str().context("nobody stands by for the signer")?.to_owned())
    }
}

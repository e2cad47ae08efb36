//! A client of the API that does not give up: what it does not hear of for certain it asks for again, under the same key.

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use reqwest::StatusCode;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::time::Instant;
use uuid::Uuid;

/// Nothing is waited for longer: the database may be away, the process down.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Before it is asked for again.
const PAUSE: Duration = Duration::from_millis(100);
/// Whoever is not answered for certain by then never will be.
const PATIENCE: Duration = Duration::from_secs(120);

/// A call of the API.
#[derive(Clone, Debug)]
pub(super) struct Call {
    pub(super) path: String,
    pub(super) key: String,
    pub(super) token: String,
    pub(super) body: Value,
}

/// What was heard for certain.
#[derive(Clone, Debug)]
pub(super) enum Heard<T> {
    /// It is on record.
    Accepted(T),
    /// Something else is on record in its place.
    Refused(String),
}

/// What was heard, and how often it was asked for again.
#[derive(Clone, Debug)]
pub(super) struct Told<T> {
    pub(super) heard: Heard<T>,
    pub(super) retries: u64,
}

/// Asks until there is an answer that is one: each time the next of these.
pub(super) async fn ask<T: DeserializeOwned>(
    http: reqwest::Client,
    bases: Vec<String>,
    call: Call,
) -> Result<Told<T>> {
    let mut turn = bases.iter().cycle();
    let until = Instant::now() + PATIENCE;
    let mut retries = 0;
    loop {
        let base = turn.next().context("somebody to ask")?;
        match once(&http, base, &call).await {
            Ok(Some(heard)) => return Ok(Told { heard, retries }),
            Ok(None) => {}
            Err(error) if error.downcast_ref::<reqwest::Error>().is_some() => {
                if Instant::now() > until {
                    return Err(error).with_context(|| format!("{} was not answered", call.path));
                }
            }
            Err(error) => return Err(error),
        }
        if Instant::now() > until {
            bail!("{} was not answered within {PATIENCE:?}", call.path);
        }
        retries += 1;
        tokio::time::sleep(PAUSE).await;
    }
}

/// An answer that is one; none: nothing certain.
pub(super) async fn once<T: DeserializeOwned>(
    http: &reqwest::Client,
    base: &str,
    call: &Call,
) -> Result<Option<Heard<T>>> {
    let request = http
        .post(format!("{base}{}", call.path))
        .timeout(TIMEOUT)
        .bearer_auth(&call.token)
        .header("idempotency-key", &call.key)
        .header("content-type", "application/json")
        .body(call.body.to_string());
    let response = request.send().await?;
    let (status, body) = (response.status(), response.bytes().await?);
    if status.is_success() {
        let found = serde_json::from_slice(&body).context("an answer that is not what was asked for")?;
        return Ok(Some(Heard::Accepted(found)));
    }
    let problem: Value = serde_json::from_slice(&body).unwrap_or_default();
    let kind = problem["type"].as_str().unwrap_or_default();
    let passes = status.is_server_error()
        || status == StatusCode::TOO_MANY_REQUESTS
        || status == StatusCode::REQUEST_TIMEOUT
        || kind.ends_with("request-in-flight");
    if passes {
        return Ok(None);
    }
    if kind.ends_with(":conflict") || kind.ends_with("idempotency-key-reused") {
        return Ok(Some(Heard::Refused(problem["detail"].as_str().unwrap_or_default().to_owned())));
    }
    bail!("{} is answered with {status}: {problem}", call.path)
}

/// A key that nobody has.
pub(super) fn key(purpose: &str, of: Uuid) -> String {
    format!("{purpose}-{of}")
}

//! Somebody's endpoint: an address of its own before the node, at which everything goes wrong that can.
//!
//! A question is a JSON-RPC request or a batch of them; it is passed on whole, and its answer is passed back as the node gave it, unless the
//! trouble of the moment makes something else of it. Chance comes from dice of the endpoint's own, thrown in the order of requests, which real time
//! decides. A head that stands still is made by answering the very same question as before, whole batches at a time: what is told in one answer was true in
//! one moment, as behind a cache.

mod http;
mod lies;
mod sends;
#[cfg(test)]
mod tests;
mod trouble;

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use alloy_primitives::B256;
use anyhow::{Context as _, Result};
use serde_json::Value;
use time::OffsetDateTime;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{RwLock, watch};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::Instant;

use self::http::{Answer, Connection};
use self::trouble::Fault;
pub(crate) use self::trouble::Trouble;
use crate::chaos::dice::Dice;

/// The node answers within this, or something is wrong with the machine.
const NODE_TIMEOUT: Duration = Duration::from_secs(60);
/// Questions whose last answer is remembered, at most.
const REMEMBERED: usize = 2_000;
/// What the endpoint's own dice are for.
const PURPOSE: u64 = 16;

/// How the endpoint behaves at the moment.
#[derive(Clone, Copy, Debug, Default)]
struct Conduct {
    /// The trouble that it is in, and to how many of a thousand requests.
    trouble: Option<(Trouble, u32)>,
    /// Of a thousand logs it hides or alters so many.
    lies_permille: u32,
    /// Logs and receipts are refused.
    is_reserved: bool,
}

/// How often what was done, by kind.
pub(crate) type Faults = BTreeMap<&'static str, u64>;

/// A running endpoint. Dropped, it is gone.
#[derive(Debug)]
pub(crate) struct Proxy {
    address: SocketAddr,
    desk: Arc<Desk>,
    listener: AbortHandle,
}

/// What all connections of an endpoint share.
#[derive(Debug)]
struct Desk {
    node: String,
    /// Held while a contract is called, during which no block is made.
    calls: Arc<RwLock<()>>,
    client: reqwest::Client,
    conduct: watch::Sender<Conduct>,
    dice: Mutex<Dice>,
    /// Since when, and how often, it was asked in the running second of trouble.
    second: Mutex<(Instant, u32)>,
    /// By question without ids: what was answered, in the order of the requests.
    remembered: Mutex<HashMap<String, Vec<Value>>>,
    seed: u64,
    tally: Mutex<Tally>,
    /// When each transaction was sent here first, by its hash, whether the node has seen it or not.
    broadcasts: Mutex<HashMap<B256, OffsetDateTime>>,
}

/// What it did so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    /// Questions.
    pub(crate) requests: u64,
    /// Answers with a lie in them that were sent whole.
    pub(crate) lies: u64,
    /// By kind.
    pub(crate) faults: Faults,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Proxy {
    /// Before this node, for the endpoint of this place.
    pub(crate) async fn start(seed: u64, place: u64, node: &str, calls: Arc<RwLock<()>>) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.context("no free port for an endpoint")?;
        let address = listener.local_addr()?;
        let desk = Arc::new(Desk {
            node: node.to_owned(),
            calls,
            client: reqwest::Client::builder().timeout(NODE_TIMEOUT).no_proxy().build()?,
            conduct: watch::Sender::default(),
            dice: Mutex::new(Dice::new(seed, PURPOSE + place)),
            second: Mutex::new((Instant::now(), 0)),
            remembered: Mutex::default(),
            seed: seed.wrapping_add(place),
            tally: Mutex::default(),
            broadcasts: Mutex::default(),
        });
        let listener = tokio::spawn(listen(listener, Arc::clone(&desk))).abort_handle();
        Ok(Self { address, desk, listener })
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What an operator who gives it no name sees.
    pub(crate) fn name(&self) -> String {
        self.address.to_string()
    }

    /// From now on so many of a thousand requests meet this.
    pub(crate) fn trouble(&self, trouble: Trouble, permille: u32) {
        self.desk.conduct.send_modify(|conduct| conduct.trouble = Some((trouble, permille)));
    }

    /// From now on so many of a thousand logs are hidden or altered.
    pub(crate) fn lie(&self, permille: u32) {
        self.desk.conduct.send_modify(|conduct| conduct.lies_permille = permille);
    }

    /// From now on it answers no question about logs or receipts.
    pub(crate) fn reserve(&self) {
        self.desk.conduct.send_modify(|conduct| conduct.is_reserved = true);
    }

    /// No trouble any more; a liar stays one.
    pub(crate) fn calm(&self) {
        self.desk.conduct.send_modify(|conduct| {
            *conduct = Conduct { lies_permille: conduct.lies_permille, ..Conduct::default() };
        });
    }

    pub(crate) fn tally(&self) -> Tally {
        locked(&self.desk.tally).clone()
    }

    /// When each transaction was sent here first, by its hash, whether the node has seen it or not.
    pub(crate) fn broadcasts(&self) -> HashMap<B256, OffsetDateTime> {
        locked(&self.desk.broadcasts).clone()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.listener.abort();
    }
}

/// Until it is aborted; the connections end with it.
async fn listen(listener: TcpListener, desk: Arc<Desk>) {
    let mut connections = JoinSet::new();
    loop {
        match listener.accept().await {
            Ok((stream, _)) => _ = connections.spawn(serve(stream, Arc::clone(&desk))),
            Err(error) => tracing::warn!(%error, "an endpoint takes no connection"),
        }
        while let Some(ended) = connections.try_join_next() {
            if let Err(error) = ended {
                tracing::error!(%error, "a connection of an endpoint panicked");
            }
        }
    }
}

async fn serve(stream: TcpStream, desk: Arc<Desk>) {
    if let Err(error) = desk.serve(Connection::new(stream)).await {
        // As when its client was killed.
        tracing::debug!(%error, "a connection of an endpoint ended");
    }
}

impl Desk {
    async fn serve(&self, mut connection: Connection) -> io::Result<()> {
        connection.get_ref().set_nodelay(true)?;
        while let Some(question) = http::read(&mut connection).await? {
            let mut conduct = self.conduct.subscribe();
            let Conduct { trouble, lies_permille, is_reserved } = *conduct.borrow_and_update();
            locked(&self.tally).requests += 1;
            let question: Value = serde_json::from_slice(&question)?;
            let sent = sends::hashes(&question);
            let fault = self.draw(trouble).filter(|fault| !fault.is_about_sends() || !sent.is_empty());
            self.note(sent);
            if let Some(fault) = fault {
                *locked(&self.tally).faults.entry(fault.name()).or_default() += 1;
            }
            let is_about_logs =
                parts(&question).any(|part| lies::METHODS.iter().any(|method| part["method"] == *method));
            let refusal = match fault {
                Some(Fault::Html(status)) => Some(Answer::html(status)),
                Some(Fault::TooMany(retry_after_s)) => Some(Answer::too_many(retry_after_s)),
                _ if is_reserved && is_about_logs => Some(Answer::html(500)),
                _ => None,
            };
            if let Some(refusal) = refusal {
                http::write(&mut connection, &refusal, usize::MAX).await?;
                continue;
            }
            match fault {
                Some(Fault::Lost) => return Ok(()),
                Some(Fault::Silent) => {
                    tokio::select! {
                        // However that ends, it is over.
                        _ = conduct.changed() => {}
                        () = http::left(&mut connection) => {}
                    }
                    return Ok(());
                }
                Some(Fault::Slow(time)) => tokio::time::sleep(time).await,
                _ => {}
            }
            let Some(mut answer) = self.answer(&question, fault).await else {
                // The node gave none.
                return Ok(());
            };
            let lied = lies_permille > 0 && self.twist(&question, &mut answer, lies_permille);
            let mut body = serde_json::to_vec(&answer)?;
            if fault == Some(Fault::Halved) {
                body.truncate(body.len() / 2);
            }
            let sent = match fault {
                Some(Fault::AnswerLost) => return Ok(()),
                Some(Fault::Withheld) => {
                    tokio::select! {
                        _ = conduct.changed() => {}
                        () = http::left(&mut connection) => {}
                    }
                    return Ok(());
                }
                Some(Fault::Truncated) => body.len() / 2,
                _ => body.len(),
            };
            let is_whole = !matches!(fault, Some(Fault::Truncated | Fault::Halved));
            http::write(&mut connection, &Answer::json(body), sent).await?;
            if !is_whole {
                return Ok(());
            }
            locked(&self.tally).lies += u64::from(lied);
        }
        Ok(())
    }

    fn note(&self, sent: Vec<B256>) {
        let (now, mut broadcasts) = (OffsetDateTime::now_utc(), locked(&self.broadcasts));
        for hash in sent {
            broadcasts.entry(hash).or_insert(now);
        }
    }

    fn draw(&self, trouble: Option<(Trouble, u32)>) -> Option<Fault> {
        let (trouble, permille) = trouble?;
        let asked = {
            let mut second = locked(&self.second);
            if second.0.elapsed() >= Duration::from_secs(1) {
                *second = (Instant::now(), 0);
            }
            second.1 += 1;
            second.1
        };
        let mut dice = locked(&self.dice);
        if dice.permille(permille) { trouble.fault(asked, &mut dice) } else { None }
    }

    /// The node's answer, or the one that was given before.
    async fn answer(&self, question: &Value, fault: Option<Fault>) -> Option<Value> {
        match fault {
            Some(fault @ (Fault::Dropped | Fault::Known | Fault::Low)) => {
                if let Some(answer) = sends::forged(question, fault) {
                    return Some(answer);
                }
            }
            Some(Fault::Reversed) => return self.ask(&sends::reversed(question), false).await,
            _ => {}
        }
        self.ask(question, fault == Some(Fault::Repeated)).await
    }

    async fn ask(&self, question: &Value, is_repeated: bool) -> Option<Value> {
        let key = without_ids(question);
        // Whoever repeats himself learns nothing new, or his head would not stand still.
        if is_repeated && let Some(answers) = locked(&self.remembered).get(&key) {
            let mut answers = answers.clone();
            for (part, answer) in parts(question).zip(&mut answers) {
                answer["id"] = part["id"].clone();
            }
            return Some(if question.is_array() { Value::Array(answers) } else { answers.pop()? });
        }
        let calls_a_contract = parts(question).any(|part| part["method"] == "eth_call");
        let _no_blocks = if calls_a_contract { Some(self.calls.read().await) } else { None };
        let asked = self.client.post(&self.node).header("Content-Type", "application/json");
        let asked = asked.body(serde_json::to_vec(question).ok()?).send().await;
        let answer = match asked {
            Ok(response) => response.bytes().await,
            Err(error) => Err(error),
        };
        let answer = match answer {
            Ok(answer) => serde_json::from_slice::<Value>(&answer).ok()?,
            Err(error) => {
                tracing::warn!(%error, "the node behind an endpoint does not answer");
                return None;
            }
        };
        let told: HashMap<String, &Value> =
            parts(&answer).map(|answer| (answer["id"].to_string(), answer)).collect();
        let in_order: Option<Vec<Value>> = parts(question)
            .map(|part| told.get(&part["id"].to_string()).map(|answer| (*answer).clone()))
            .collect();
        if let Some(in_order) = in_order {
            let mut remembered = locked(&self.remembered);
            if remembered.len() >= REMEMBERED {
                remembered.clear();
            }
            remembered.insert(key, in_order);
        }
        Some(answer)
    }

    /// Whether it made something else of the answer.
    fn twist(&self, question: &Value, answer: &mut Value, permille: u32) -> bool {
        let methods: HashMap<String, &str> = parts(question)
            .filter_map(|part| Some((part["id"].to_string(), part["method"].as_str()?)))
            .collect();
        let mut lied = false;
        let answers = match answer {
            Value::Array(answers) => answers.iter_mut().collect(),
            answer => vec![answer],
        };
        for answer in answers {
            let method = methods.get(&answer["id"].to_string());
            if let (Some(method), Some(result)) = (method, answer.get_mut("result")) {
                lied |= lies::twist(method, result, self.seed, permille);
            }
        }
        lied
    }
}

/// A batch's members, or the one request.
fn parts(value: &Value) -> impl Iterator<Item = &Value> {
    match value {
        Value::Array(parts) => parts.as_slice(),
        part => std::slice::from_ref(part),
    }
    .iter()
}

/// What is asked, whoever asks.
fn without_ids(question: &Value) -> String {
    parts(question).map(|part| format!("{} {}\n", part["method"], part["params"])).collect()
}

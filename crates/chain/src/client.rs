//! Sending: one attempt with its timeout and permit, retries by class, batches, decoding.
//!
//! Both retry loops end: every round but the first takes one of `Backoff`'s `max_retries` delays, and without
//! a delay the error goes to the caller.

mod answer;
mod explain;
mod once;
mod turn;

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use alloy_json_rpc::{ErrorPayload, Id, Request, RequestPacket, SerializedRequest};
use alloy_transport::BoxTransport;
use rand::{RngExt, SeedableRng, rngs::SmallRng};
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};
use tokio::{sync::Semaphore, time::Instant};
use tower::ServiceExt;

use crate::{
    backoff::Backoff,
    endpoint::EndpointConfig,
    error::{Cause, ErrorClass, Method, RpcError},
    health::Health,
    metrics,
    transport::{WsLink, WsTransport},
};

/// Requests in one JSON-RPC batch; hosted providers refuse more.
pub const BATCH_REQUESTS: usize = 100;

/// alloy's pub/sub sends `eth_unsubscribe` with the id 1, so ours start beyond. One counter for the process:
/// two clients may share a transport.
static NEXT_ID: AtomicU64 = AtomicU64::new(1_000);

/// A member of a batch that the node refused.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) class: ErrorClass,
    pub(crate) error: ErrorPayload,
}

type Member = Result<Box<RawValue>, Refusal>;

/// Whether a timeout is asked again, or left to the caller, who can ask for less.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OnTimeout {
    Retry,
    Return,
}

pub(crate) struct Client {
    transport: BoxTransport,
    link: Option<Arc<WsLink>>,
    endpoint: Arc<str>,
    request_timeout: Duration,
    permits: Semaphore,
    max_concurrent: usize,
    /// Requests that are going to be made.
    reserved: AtomicUsize,
    backoff: Backoff,
    dice: Mutex<SmallRng>,
    health: Health,
}

impl Client {
    pub(crate) fn new(transport: BoxTransport, config: &EndpointConfig) -> Self {
        let link = transport.as_any().downcast_ref::<WsTransport>().map(WsTransport::link);
        let endpoint: Arc<str> = config.display_name().into();
        let max_concurrent = config.max_concurrent.clamp(1, Semaphore::MAX_PERMITS);
        Self {
            transport,
            link,
            health: Health::new(Arc::clone(&endpoint), config.requests_per_second),
            endpoint,
            request_timeout: config.request_timeout,
            permits: Semaphore::new(max_concurrent),
            max_concurrent,
            reserved: AtomicUsize::new(0),
            backoff: Backoff::new(config.max_retries),
            dice: Mutex::new(SmallRng::seed_from_u64(config.seed.unwrap_or_else(rand::random))),
        }
    }

    pub(crate) fn link(&self) -> Option<&Arc<WsLink>> {
        self.link.as_ref()
    }

    pub(crate) fn endpoint(&self) -> &str {
        &self.endpoint
    }

    pub(crate) fn health(&self) -> &Health {
        &self.health
    }

    /// Requests (a batch is one) that are on their way, or going to be made.
    pub(crate) fn in_flight(&self) -> usize {
        let on_their_way = self.max_concurrent.saturating_sub(self.permits.available_permits());
        on_their_way.max(self.reserved.load(Ordering::Relaxed))
    }

    pub(crate) fn reserve(&self) {
        self.reserved.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn release(&self) {
        self.reserved.fetch_sub(1, Ordering::Relaxed);
    }

    pub(crate) fn request_timeout(&self) -> Duration {
        self.request_timeout
    }

    /// Asks one question.
    pub(crate) async fn ask(
        &self,
        method: &Method,
        params: &impl Serialize,
        on_timeout: OnTimeout,
    ) -> Result<Box<RawValue>, RpcError> {
        let params = self.params(method, params)?;
        let mut retry = 0;
        loop {
            let request = self.request(method, &params)?;
            let error = match self.attempt(method, vec![request]).await {
                Ok(mut members) => match members.pop().expect("one answer for one request") {
                    Ok(result) => return Ok(result),
                    Err(refusal) => self.refused(method, &refusal),
                },
                Err(error) => error,
            };
            let give_up = on_timeout == OnTimeout::Return && error.is_timeout();
            match self.delay(error.class(), retry) {
                Some(delay) if !give_up => self.pause(&error, delay).await,
                _ => return Err(error.after_attempts(retry + 1)),
            }
            retry += 1;
        }
    }

    /// Asks many questions of one method, at most [`BATCH_REQUESTS`] of them, in one batch. Only members whose
    /// error may pass are asked again.
    pub(crate) async fn ask_batch(
        &self,
        method: &Method,
        params: Vec<Box<RawValue>>,
        on_timeout: OnTimeout,
    ) -> Result<Vec<Member>, RpcError> {
        debug_assert!(params.len() <= BATCH_REQUESTS, "the caller makes chunks");
        let mut answers: Vec<Option<Member>> = params.iter().map(|_| None).collect();
        let mut open: Vec<usize> = (0..params.len()).collect();
        let mut asked = params.clone();
        let mut retry = 0;
        while !open.is_empty() {
            let requests =
                asked.iter().map(|params| self.request(method, params)).collect::<Result<Vec<_>, _>>()?;
            let (error, whole) = match self.attempt(method, requests).await {
                Ok(members) => {
                    for (&place, member) in open.iter().zip(members) {
                        answers[place] = Some(member);
                    }
                    open.retain(
                        |&place| matches!(&answers[place], Some(Err(refusal)) if passes(refusal.class)),
                    );
                    let Some(Some(Err(refusal))) = open.first().map(|&place| &answers[place]) else { break };
                    (self.refused(method, refusal), false)
                }
                Err(error) => (error, true),
            };
            let give_up = on_timeout == OnTimeout::Return && error.is_timeout();
            match self.delay(error.class(), retry) {
                Some(delay) if !give_up => self.pause(&error, delay).await,
                _ if whole => return Err(error.after_attempts(retry + 1)),
                _ => break,
            }
            retry += 1;
            asked = open.iter().map(|&place| params[place].clone()).collect();
        }
        Ok(answers.into_iter().map(|answer| answer.expect("every member was answered")).collect())
    }

    /// Asks several questions in one batch, in this order: behind an address with several nodes they go to one of them. `purpose` is what the
    /// batch is for: errors and figures are its. If one may pass, all are asked again, since they belong to one moment.
    pub(crate) async fn ask_together<const N: usize>(
        &self,
        purpose: &Method,
        questions: [(&Method, Box<RawValue>); N],
        on_timeout: OnTimeout,
    ) -> Result<[Box<RawValue>; N], RpcError> {
        let mut retry = 0;
        loop {
            let requests = questions.iter().map(|(method, params)| self.request(method, params));
            let requests = requests.collect::<Result<Vec<_>, _>>()?;
            let error = match self.attempt(purpose, requests).await {
                Ok(members) => {
                    let refusal = questions
                        .iter()
                        .zip(&members)
                        .filter_map(|((method, _), member)| Some((method, member.as_ref().err()?)))
                        .next_back();
                    match refusal {
                        Some((method, refusal)) => self.refused(method, refusal),
                        None => {
                            let answers: Vec<_> = members.into_iter().flatten().collect();
                            return Ok(answers.try_into().expect("one answer for one request"));
                        }
                    }
                }
                Err(error) => error,
            };
            let give_up = on_timeout == OnTimeout::Return && error.is_timeout();
            match self.delay(error.class(), retry) {
                Some(delay) if !give_up => self.pause(&error, delay).await,
                _ => return Err(error.after_attempts(retry + 1)),
            }
            retry += 1;
        }
    }

    pub(crate) fn params(&self, method: &Method, params: &impl Serialize) -> Result<Box<RawValue>, RpcError> {
        to_raw_value(params).map_err(|error| {
            self.error(
                method,
                ErrorClass::Rejected,
                Cause::Local(format!("the parameters cannot be written: {error}")),
            )
        })
    }

    pub(crate) fn request(&self, method: &Method, params: &RawValue) -> Result<SerializedRequest, RpcError> {
        let id = Id::Number(NEXT_ID.fetch_add(1, Ordering::Relaxed));
        Request::new(method.clone(), id, params).serialize().map_err(|error| {
            self.error(
                method,
                ErrorClass::Rejected,
                Cause::Local(format!("the request cannot be written: {error}")),
            )
        })
    }

    /// One attempt. The members are in the order of the requests, one for each.
    async fn attempt(
        &self,
        method: &Method,
        mut requests: Vec<SerializedRequest>,
    ) -> Result<Vec<Member>, RpcError> {
        let _permit = self.permits.acquire().await.expect("the semaphore is never closed");
        self.await_turn(method).await?;
        let ids: Vec<Id> = requests.iter().map(|request| request.id().clone()).collect();
        let packet = match requests.pop() {
            Some(only) if requests.is_empty() => RequestPacket::Single(only),
            Some(last) => {
                requests.push(last);
                RequestPacket::Batch(requests)
            }
            None => return Ok(Vec::new()),
        };

        let generation = self.link.as_ref().map(|link| link.generation());
        let started = Instant::now();
        let answer = tokio::time::timeout(self.request_timeout, self.transport.clone().oneshot(packet)).await;
        let elapsed = started.elapsed();

        let members = match answer {
            Ok(answer) => answer
                .map_err(|error| self.explain(method, error))
                .and_then(|packet| self.match_answers(method, &ids, packet)),
            Err(_) => {
                if let (Some(link), Some(generation)) = (&self.link, generation) {
                    link.retire(generation);
                }
                Err(self.error(method, ErrorClass::Transient, Cause::Timeout { after: self.request_timeout }))
            }
        };
        let (class, bytes) = match &members {
            Ok(members) => (
                members
                    .iter()
                    .find_map(|member| member.as_ref().err())
                    .map_or("ok", |refusal| refusal.class.as_str()),
                members.iter().flatten().map(|result| result.get().len()).sum(),
            ),
            Err(error) if error.is_timeout() => ("timeout", 0),
            Err(error) => (error.class().as_str(), 0),
        };
        metrics::attempt(&self.endpoint, method, class, elapsed, bytes);
        self.note(&members, elapsed);
        members
    }

    /// What an attempt says of the endpoint's health: a refusal is an answer, unless it asks to be left alone.
    fn note(&self, members: &Result<Vec<Member>, RpcError>, elapsed: Duration) {
        let refusal = |members: &[Member]| members.iter().find_map(|m| m.as_ref().err().map(|r| r.class));
        let class = match members {
            Ok(members) => refusal(members),
            // A whole request that an HTTP status refuses: credentials, a proxy, a URL.
            Err(error)
                if matches!(error.cause(), Cause::Http { .. }) && error.class() == ErrorClass::Rejected =>
            {
                Some(ErrorClass::Transient)
            }
            Err(error) => Some(error.class()),
        };
        match class {
            Some(class @ (ErrorClass::Transient | ErrorClass::RateLimited { .. } | ErrorClass::Protocol)) => {
                self.health.failed(class);
            }
            _ => self.health.answered(elapsed),
        }
    }

    fn delay(&self, class: ErrorClass, retry: u32) -> Option<Duration> {
        let retry_after = match class {
            ErrorClass::RateLimited { retry_after } => retry_after,
            ErrorClass::Transient => None,
            _ => return None,
        };
        let throw = self.dice.lock().unwrap_or_else(PoisonError::into_inner).random();
        self.backoff.delay(retry, retry_after, throw)
    }

    async fn pause(&self, error: &RpcError, delay: Duration) {
        tracing::debug!(%error, delay_ms = delay.as_millis(), "asking again after a pause");
        tokio::time::sleep(delay).await;
    }
}

fn passes(class: ErrorClass) -> bool {
    matches!(class, ErrorClass::Transient | ErrorClass::RateLimited { .. })
}

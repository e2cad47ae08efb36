//! A chain's endpoints, and which of them to ask.
//!
//! An [`Rpc`] is one endpoint. Most questions name a block by its hash or come with a proof of the node that answers, so it does not
//! matter who answers them: [`Pool::ask`] takes the fittest and goes on to the next. Where it does matter, because several answers
//! must be of one node, or because the endpoints are to be compared, the caller takes them one by one.

mod watch;

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

pub use self::watch::HeadWatch;
use crate::{
    Header, Rpc,
    error::{ErrorClass, RpcError},
    health::Standing,
};

/// The latency that is expected of an endpoint which was never asked.
const UNKNOWN_LATENCY: Duration = Duration::from_millis(50);

/// An endpoint that has not shown its head for so long is not heard of.
const HEARD_WITHIN: Duration = Duration::from_secs(30);

/// The endpoints of one chain; at least one. Clones share them.
#[derive(Clone)]
pub struct Pool {
    endpoints: Arc<[Rpc]>,
}

impl From<Rpc> for Pool {
    fn from(only: Rpc) -> Self {
        Self { endpoints: [only].into() }
    }
}

impl Pool {
    /// The endpoints, in the order in which they are configured; none if there are none.
    #[must_use]
    pub fn new(endpoints: Vec<Rpc>) -> Option<Self> {
        (!endpoints.is_empty()).then(|| Self { endpoints: endpoints.into() })
    }

    /// The endpoints, in the order in which they are configured.
    #[must_use]
    pub fn endpoints(&self) -> &[Rpc] {
        &self.endpoints
    }

    /// Places of the endpoints, the fittest first, to answer about a block at this height.
    #[must_use]
    pub fn fittest(&self, height: Option<u64>) -> Vec<usize> {
        let mut places: Vec<_> = (0..self.endpoints.len()).collect();
        places.sort_by_cached_key(|&place| rank(&self.endpoints[place], height));
        places
    }

    /// Chooses the fittest endpoint for a request to come, of several that are chosen before the first of them is made.
    #[must_use]
    pub fn reserve(&self, height: Option<u64>) -> Reservation {
        let place = self.fittest(height)[0];
        let rpc = self.endpoints[place].clone();
        rpc.client().reserve();
        Reservation { place, rpc }
    }

    /// Whether there is an endpoint beside this one that is fit to be asked.
    #[must_use]
    pub fn has_another_than(&self, place: usize) -> bool {
        self.endpoints.iter().enumerate().any(|(other, rpc)| other != place && rpc.standing().bench.is_none())
    }

    /// How far the majority of the endpoints is, as far as they are heard of; none while too few of them are.
    #[must_use]
    pub fn reach(&self) -> Option<Reach> {
        let is_heard = |standing: &Standing| {
            standing.bench.is_none() && standing.seen.is_some_and(|seen| seen.elapsed() < HEARD_WITHIN)
        };
        let heard = self.endpoints.iter().map(Rpc::standing).filter(is_heard);
        let (heads, clocks): (Vec<_>, Vec<_>) =
            heard.filter_map(|standing| standing.head.zip(standing.clock)).unzip();
        Some(Reach { height: self.majority_of(heads)?, time: self.majority_of(clocks)? })
    }

    /// The highest number that more than half of all endpoints have passed.
    fn majority_of(&self, mut numbers: Vec<u64>) -> Option<u64> {
        numbers.sort_unstable_by(|a, b| b.cmp(a));
        numbers.get(self.endpoints.len() / 2).copied()
    }

    /// Asks the fittest endpoint, and the next where one fails or does not have what is asked for. `height`: the block that it is about, which an
    /// endpoint that is lower cannot have.
    ///
    /// # Errors
    /// All failed: what the fittest said.
    pub async fn ask<T, F>(&self, height: Option<u64>, question: impl Fn(Rpc) -> F) -> Result<T, RpcError>
    where
        F: Future<Output = Result<T, RpcError>>,
    {
        let mut first = None;
        for place in self.fittest(height) {
            match question(self.endpoints[place].clone()).await {
                Ok(answer) => return Ok(answer),
                Err(error) => {
                    let is_over = !another_may_answer(&error);
                    let error = first.get_or_insert(error);
                    if is_over {
                        return Err(error.clone());
                    }
                }
            }
        }
        Err(first.expect("a pool has an endpoint"))
    }
}

/// How far more than half of a chain's endpoints are at least. No single one of them can make it out to be farther.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reach {
    /// The height of their heads.
    pub height: u64,
    /// The time of their heads, in seconds since 1970, by the chain's own clock.
    pub time: u64,
}

/// A request to be made to an endpoint, which counts for others as if it were on its way. Gives its place back when it is dropped.
#[derive(Debug)]
pub struct Reservation {
    place: usize,
    rpc: Rpc,
}

impl Reservation {
    /// The endpoint's place in the pool.
    #[must_use]
    pub fn place(&self) -> usize {
        self.place
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.rpc.client().release();
    }
}

/// Whether the error is one endpoint's, rather than the question's.
fn another_may_answer(error: &RpcError) -> bool {
    match error.class() {
        ErrorClass::Transient
        | ErrorClass::RateLimited { .. }
        | ErrorClass::BlockUnknown
        | ErrorClass::StateUnavailable
        | ErrorClass::Protocol
        | ErrorClass::Rejected => true,
        ErrorClass::RangeTooLarge => false,
    }
}

/// Lower is fitter.
fn rank(rpc: &Rpc, height: Option<u64>) -> (bool, bool, Duration) {
    let Standing { latency, head, bench, rest, .. } = rpc.standing();
    let is_lower = matches!((head, height), (Some(head), Some(height)) if head < height);
    let waiting = u32::try_from(rpc.in_flight()).unwrap_or(u32::MAX).saturating_add(1);
    let wait = latency.unwrap_or(UNKNOWN_LATENCY).saturating_mul(waiting);
    (bench.is_some(), is_lower, rest + wait)
}

/// An endpoint's head, as it was asked for.
#[derive(Debug)]
pub struct Look {
    /// The endpoint's place in the pool.
    pub place: usize,
    /// Its newest block, or why it is not known.
    pub head: Result<Header, RpcError>,
    /// When it was known.
    pub at: Instant,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{EndpointConfig, health::Reason, transport};
    use alloy_json_rpc::{RequestPacket, Response, ResponsePacket, ResponsePayload};
    use alloy_transport::TransportErrorKind;
    use serde_json::{json, value::to_raw_value};

    /// An endpoint that answers everything with this number, or does not answer.
    fn endpoint(name: &str, answer: Option<u64>) -> Rpc {
        let transport = transport::answering(move |packet| {
            let answer = match (packet, answer) {
                (RequestPacket::Single(request), Some(number)) => {
                    let result = to_raw_value(&json!(format!("{number:#x}"))).unwrap();
                    let payload = ResponsePayload::Success(result);
                    Ok(ResponsePacket::Single(Response { id: request.id().clone(), payload }))
                }
                _ => Err(TransportErrorKind::backend_gone()),
            };
            std::future::ready(answer)
        });
        let config = EndpointConfig { max_retries: 0, ..EndpointConfig::new(format!("http://{name}")) };
        Rpc::over(transport, &config)
    }

    async fn chain_id(pool: &Pool, height: Option<u64>) -> Result<u64, RpcError> {
        pool.ask(height, |rpc| async move { rpc.chain_id().await }).await
    }

    #[tokio::test]
    async fn the_next_is_asked_when_one_fails_and_the_first_error_is_told_when_all_do() {
        let pool = Pool::new(vec![endpoint("dead", None), endpoint("alive", Some(7))]).unwrap();
        assert_eq!(chain_id(&pool, None).await.unwrap(), 7);
        let pool = Pool::new(vec![endpoint("one", None), endpoint("other", None)]).unwrap();
        let error = chain_id(&pool, None).await.unwrap_err().to_string();
        assert!(error.contains("at one:"), "{error}");
    }

    #[tokio::test]
    async fn who_is_benched_or_too_low_comes_last() {
        let endpoints = vec![endpoint("a", Some(1)), endpoint("b", Some(2)), endpoint("c", Some(3))];
        let pool = Pool::new(endpoints).unwrap();
        pool.endpoints()[0].bench(Reason::Contradiction);
        pool.endpoints()[1].client().health().saw_head(10, 100);
        pool.endpoints()[2].client().health().saw_head(20, 200);
        assert_eq!(pool.fittest(Some(15)), [2, 1, 0]);
        assert_eq!(pool.fittest(None), [1, 2, 0]);
        assert_eq!(chain_id(&pool, Some(15)).await.unwrap(), 3);
        assert!(pool.has_another_than(1) && pool.has_another_than(2));
        pool.endpoints()[1].bench(Reason::WrongChain);
        assert!(!pool.has_another_than(2) && pool.has_another_than(1));
    }

    #[tokio::test(start_paused = true)]
    async fn the_majority_is_where_more_than_half_of_all_endpoints_are_that_are_heard_of() {
        let pool = Pool::new((0..4).map(|n| endpoint(&n.to_string(), None)).collect()).unwrap();
        let saw =
            |place: usize, number, time| pool.endpoints()[place].client().health().saw_head(number, time);
        assert_eq!(pool.reach(), None, "nobody is heard of");
        saw(0, 1_000_000, 10);
        saw(1, 30, 1_000);
        assert_eq!(pool.reach(), None, "two of four are no majority");
        saw(2, 20, 200);
        assert_eq!(pool.reach(), Some(Reach { height: 20, time: 10 }));
        saw(3, 10, 100);
        assert_eq!(pool.reach(), Some(Reach { height: 20, time: 100 }), "one that is low keeps nobody back");
        pool.endpoints()[0].bench(Reason::Contradiction);
        assert_eq!(pool.reach(), Some(Reach { height: 10, time: 100 }), "who is benched is not heard");
        tokio::time::advance(HEARD_WITHIN).await;
        (1..3).for_each(|place| saw(place, 40, 300));
        assert_eq!(pool.reach(), None, "who is silent is not heard");
    }

    #[test]
    fn a_pool_has_an_endpoint() {
        assert!(Pool::new(Vec::new()).is_none());
    }
}

//! Addresses with more than one node behind them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use alloy_json_rpc::{RequestPacket, ResponsePacket, SerializedRequest};
use alloy_transport::{TransportError, TransportFut};
use plimsoll_testkit::model::ModelChain;
use serde_json::Value;
use tower::Service;

/// One address with two nodes behind it, of which one is behind. What is asked in one batch goes to one of them.
#[derive(Clone)]
pub struct TwoNodes {
    chain: ModelChain,
    lag_blocks: u64,
    turn: Arc<tokio::sync::Mutex<u64>>,
}

impl TwoNodes {
    pub fn new(chain: &ModelChain, lag_blocks: u64, seed: u64) -> Self {
        Self { chain: chain.clone(), lag_blocks, turn: Arc::new(tokio::sync::Mutex::new(seed)) }
    }
}

impl Service<RequestPacket> for TwoNodes {
    type Response = ResponsePacket;
    type Error = TransportError;
    type Future = TransportFut<'static>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), TransportError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, packet: RequestPacket) -> Self::Future {
        let mut nodes = self.clone();
        Box::pin(async move {
            let mut turn = nodes.turn.lock().await;
            // As if by chance (Knuth's MMIX generator), or the same questions would go to the same node each time.
            *turn = turn.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            nodes.chain.lag(if *turn >> 40 & 1 == 0 { nodes.lag_blocks } else { 0 });
            nodes.chain.call(packet).await
        })
    }
}

/// One address whose node is replaced by another after so many requests.
#[derive(Clone)]
pub struct Replaced {
    left: Arc<AtomicU64>,
    first: ModelChain,
    then: ModelChain,
}

impl Replaced {
    pub fn new(requests: u64, first: &ModelChain, then: &ModelChain) -> Self {
        Self { left: Arc::new(AtomicU64::new(requests)), first: first.clone(), then: then.clone() }
    }
}

impl Service<RequestPacket> for Replaced {
    type Response = ResponsePacket;
    type Error = TransportError;
    type Future = TransportFut<'static>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), TransportError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, packet: RequestPacket) -> Self::Future {
        let is_first =
            self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok();
        if is_first { self.first.call(packet) } else { self.then.call(packet) }
    }
}

/// A node of the chain that makes up what was below a block: whole blocks, whose headers have their hashes and prove what is in them.
#[derive(Clone)]
pub struct Forger {
    chain: ModelChain,
    made_up: ModelChain,
    below: u64,
}

impl Forger {
    /// `made_up`: has another branch as its canonical one.
    pub fn new(chain: &ModelChain, made_up: &ModelChain, below: u64) -> Self {
        Self { chain: chain.clone(), made_up: made_up.clone(), below }
    }

    /// Whether this is asked about what it makes up.
    fn is_below(&self, request: &SerializedRequest) -> bool {
        let params: Value =
            request.params().and_then(|it| serde_json::from_str(it.get()).ok()).unwrap_or_default();
        let number = match request.method() {
            "eth_getBlockByNumber" => &params[0],
            "eth_getLogs" => &params[0]["toBlock"],
            _ => &Value::Null,
        };
        let number = number.as_str().and_then(|text| u64::from_str_radix(text.strip_prefix("0x")?, 16).ok());
        number.is_some_and(|number| (1..self.below).contains(&number))
    }
}

impl Service<RequestPacket> for Forger {
    type Response = ResponsePacket;
    type Error = TransportError;
    type Future = TransportFut<'static>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), TransportError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, packet: RequestPacket) -> Self::Future {
        let mut nodes = self.clone();
        Box::pin(async move {
            let requests: Vec<SerializedRequest> = packet.requests().to_vec();
            let mut answers = Vec::with_capacity(requests.len());
            for request in requests {
                let (asked, is_below) = (RequestPacket::Single(request.clone()), nodes.is_below(&request));
                let answer =
                    if is_below { nodes.made_up.call(asked).await? } else { nodes.chain.call(asked).await? };
                let ResponsePacket::Single(mut answer) = answer else { unreachable!("one was asked") };
                let is_unknown = answer.payload.as_success().is_none_or(|payload| payload.get() == "null");
                // By its hash it is asked for what it made up.
                if is_unknown
                    && let ResponsePacket::Single(made_up) =
                        nodes.made_up.call(RequestPacket::Single(request)).await?
                {
                    answer = made_up;
                }
                answers.push(answer);
            }
            Ok(match packet {
                RequestPacket::Single(_) => ResponsePacket::Single(answers.remove(0)),
                RequestPacket::Batch(_) => ResponsePacket::Batch(answers),
            })
        })
    }
}

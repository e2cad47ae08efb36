//! Addresses with more than one node behind them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use alloy_json_rpc::{RequestPacket, ResponsePacket};
use alloy_transport::{TransportError, TransportFut};
use plimsoll_testkit::model::ModelChain;
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

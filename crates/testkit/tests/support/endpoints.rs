//! Addresses with more than one node behind them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use alloy_json_rpc::{Response, SerializedRequest};
use alloy_transport::BoxTransport;
use plimsoll_chain::transport::answering;
use plimsoll_testkit::model::{ModelChain, answer_each};
use serde_json::Value;
use tokio::sync::Mutex;

/// One address with two nodes behind it, of which one is behind. What is asked in one batch goes to one of them.
pub fn two_nodes(chain: &ModelChain, lag_blocks: u64, seed: u64) -> BoxTransport {
    let (chain, turn) = (chain.clone(), Arc::new(Mutex::new(seed)));
    answering(move |packet| {
        let (chain, turn) = (chain.clone(), Arc::clone(&turn));
        async move {
            let mut turn = turn.lock().await;
            // As if by chance (Knuth's MMIX generator), or the same questions would go to the same node each time.
            *turn = turn.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            chain.lag(if *turn >> 40 & 1 == 0 { lag_blocks } else { 0 });
            chain.answers(packet).await
        }
    })
}

/// One address whose node is replaced by another after so many requests.
pub fn replaced(requests: u64, first: &ModelChain, then: &ModelChain) -> BoxTransport {
    let (left, first, then) = (Arc::new(AtomicU64::new(requests)), first.clone(), then.clone());
    answering(move |packet| {
        let is_first =
            left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok();
        let node = if is_first { &first } else { &then };
        node.answers(packet)
    })
}

/// A node of the chain that makes up what was below a block: whole blocks, whose headers have their hashes and prove what is in them. `made_up`: has
/// another branch as its canonical one.
pub fn forger(chain: &ModelChain, made_up: &ModelChain, below: u64) -> BoxTransport {
    let (chain, made_up) = (chain.clone(), made_up.clone());
    let is_known = |answer: &Response| answer.payload.as_success().is_some_and(|it| it.get() != "null");
    answering(move |packet| {
        let told = answer_each(&packet, |request| {
            let node = if asks_below(request, below) { &made_up } else { &chain };
            // By its hash it is asked for what it made up.
            node.answer(request)
                .and_then(|answer| if is_known(&answer) { Ok(answer) } else { made_up.answer(request) })
        });
        async {
            tokio::task::yield_now().await;
            told
        }
    })
}

/// Whether this is asked about what is below a block.
fn asks_below(request: &SerializedRequest, below: u64) -> bool {
    let params: Value =
        request.params().and_then(|it| serde_json::from_str(it.get()).ok()).unwrap_or_default();
    let number = match request.method() {
        "eth_getBlockByNumber" => &params[0],
        "eth_getLogs" => &params[0]["toBlock"],
        _ => &Value::Null,
    };
    let number = number.as_str().and_then(|text| u64::from_str_radix(text.strip_prefix("0x")?, 16).ok());
    number.is_some_and(|number| (1..below).contains(&number))
}

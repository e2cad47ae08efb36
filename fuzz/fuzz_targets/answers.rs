//! What a node answers, from the envelope to the last field: nothing panics, and an answer is believable or an error.
//!
//! The first byte is the question, the rest is the answer's text. Ids are put right, so that an answer is not turned away at the door; the block that is asked for is the one
//! that the answer names first.

#![no_main]

use std::sync::LazyLock;

use alloy_json_rpc::{Id, ResponsePacket};
use alloy_primitives::{Address, B256, Bytes};
use alloy_transport::{BoxTransport, TransportError};
use libfuzzer_sys::fuzz_target;
use plimsoll_chain::{EndpointConfig, Log, LogFilter, Rpc, transport};
use tokio::runtime::{Builder, Runtime};

static RUNTIME: LazyLock<Runtime> =
    LazyLock::new(|| Builder::new_current_thread().enable_time().build().expect("a runtime"));

/// A node that gives one answer to everything.
fn node(text: Bytes) -> BoxTransport {
    transport::answering(move |packet| {
        let asked: Vec<Id> = packet.requests().iter().map(|request| request.id().clone()).collect();
        let answer = serde_json::from_slice::<ResponsePacket>(&text);
        std::future::ready(answer.map_err(|error| TransportError::deser_err(error, "")).map(|mut answer| {
            let given = match &mut answer {
                ResponsePacket::Single(one) => std::slice::from_mut(one),
                ResponsePacket::Batch(many) => many,
            };
            for response in given {
                if let Id::Number(number) = response.id {
                    let place = usize::try_from(number).unwrap_or_default();
                    response.id = asked[place % asked.len()].clone();
                }
            }
            answer
        }))
    })
}

/// The first hash that the answer gives a block.
fn block_named(text: &[u8]) -> B256 {
    let text = String::from_utf8_lossy(text);
    let after = |name: &str| text.find(name).and_then(|at| text.get(at + name.len()..at + name.len() + 66));
    let found = after("\"blockHash\":\"").or_else(|| after("\"hash\":\""));
    found.and_then(|hash| hash.parse().ok()).unwrap_or_default()
}

fn believable(logs: &[Log]) {
    assert!(logs.iter().all(|log| !log.removed));
    let mut places: Vec<_> = logs.iter().map(|log| (log.block_hash, log.log_index)).collect();
    places.sort_unstable();
    assert!(places.is_sorted_by(|one, other| one < other), "a log is there twice");
}

fuzz_target!(|data: &[u8]| {
    let [question, answer @ ..] = data else { return };
    let config = EndpointConfig { max_retries: 0, seed: Some(1), ..EndpointConfig::new("http://node") };
    let rpc = Rpc::over(node(answer.to_vec().into()), &config);
    RUNTIME.block_on(ask(&rpc, *question, block_named(answer)));
});

async fn ask(rpc: &Rpc, question: u8, hash: B256) {
    let filter = LogFilter::default();
    match question % 12 {
        0 => drop(rpc.chain_id().await),
        1 => drop(rpc.head().await),
        2 => {
            if let Ok(Some(header)) = rpc.header_by_number(7).await {
                assert_eq!(header.number, 7);
            }
        }
        3 => {
            if let Ok(Some(header)) = rpc.header_by_hash(hash).await {
                assert_eq!(header.hash, hash);
            }
        }
        4 => {
            if let Ok(Some(block)) = rpc.block_with_transactions(hash).await {
                assert_eq!(block.header.hash, hash);
                assert!((0..).zip(&block.transactions).all(|(i, transaction)| transaction.index == i));
            }
        }
        5 => {
            if let Ok(Some(receipts)) = rpc.receipts_of_block(hash).await {
                assert!(receipts.iter().all(|receipt| receipt.block_hash == hash));
            }
        }
        6 => {
            if let Ok(logs) = rpc.logs_in_range(0, 64, &filter).await {
                believable(&logs);
                assert!(logs.iter().all(|log| log.block_number <= 64));
            }
        }
        7 => {
            if let Ok(logs) = rpc.logs_of_block(hash, &filter).await {
                believable(&logs);
                assert!(logs.iter().all(|log| log.block_hash == hash));
            }
        }
        8 => {
            if let Ok(headers) = rpc.headers_by_number(0, 1).await {
                assert!(headers.iter().zip(0..).all(|(header, number)| {
                    header.as_ref().is_none_or(|header| header.number == number)
                }));
            }
        }
        9 => {
            let calls = [(); 2].map(|()| (Address::ZERO, Bytes::new()));
            if let Ok(results) = rpc.call_many_at(hash, &calls).await {
                assert_eq!(results.len(), calls.len());
            }
        }
        10 => drop(rpc.reported_receipts(hash).await),
        _ => drop(rpc.reported_transactions(hash).await),
    }
}

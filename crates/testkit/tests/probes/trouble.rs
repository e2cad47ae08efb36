//! Endpoints that answer too little, too late, or about another block.

use std::time::Duration;

use alloy_json_rpc::{Request, RequestPacket, SerializedRequest};
use alloy_primitives::{Address, B256};
use alloy_transport::BoxTransport;
use plimsoll_chain::probe::{Probe, ProbeError, ProbeOptions, probes_at};
use plimsoll_chain::transport::{self, Fault};
use plimsoll_chain::{EndpointConfig, ErrorClass, Pool, Rpc};
use plimsoll_testkit::model::{Answer, ModelChain, Orphans, TxDraft};
use serde_json::{Value, json};
use tower::ServiceExt;

use crate::stage::{POOR, RICH, Stage, unsigned};
use crate::{answers, usual};

/// A token on the model chain.
const TOKEN: Address = Address::repeat_byte(0xcc);

#[tokio::test]
async fn where_one_endpoint_has_pruned_the_state_another_is_asked_and_where_all_have_there_is_no_number() {
    let stage = Stage::with_multicall().await;
    let at = stage.head().await;
    let probes = usual(&stage, &[RICH, POOR]);
    let (pruned, of_pruned) = stage.endpoint("pruned", 3, Duration::from_secs(60));
    let (archive, of_archive) = stage.endpoint("archive", 3, Duration::from_secs(60));
    of_pruned.next("eth_call", u64::MAX, Fault::Fail(ErrorClass::StateUnavailable));
    let pool = Pool::new(vec![pruned, archive]).unwrap();
    let expected = answers(&pool, &stage.options(), at, &probes).await;
    assert!(expected.iter().all(Result::is_ok), "{expected:?}");

    of_archive.next("eth_call", u64::MAX, Fault::Fail(ErrorClass::StateUnavailable));
    for options in [stage.options(), ProbeOptions { multicall: None, ..stage.options() }] {
        let error = probes_at(&pool, &options, at, &probes).await.unwrap_err();
        assert_eq!(error.class(), ErrorClass::StateUnavailable, "{error}");
    }
}

#[tokio::test]
async fn what_is_too_large_is_asked_in_halves_and_alone_it_is_unknown() {
    let stage = Stage::with_multicall().await;
    let at = stage.head().await;
    let (pool, faults) = stage.pool();
    let probes = vec![Probe::erc20(stage.token, RICH); 8];
    for failures in [1, 3] {
        faults.next("eth_call", failures, Fault::Fail(ErrorClass::RangeTooLarge));
        let before = faults.requests("eth_call");
        assert_eq!(answers(&pool, &stage.options(), at, &probes).await, vec![Ok(unsigned(50)); 8]);
        assert!(faults.requests("eth_call") - before > failures);
    }
    // As a node says it of one answer, which is that answer's alone.
    let large = Fault::AnswerMember { place: 1, code: -32_008, message: "Response is too big".into() };
    let without = ProbeOptions { multicall: None, ..stage.options() };
    faults.next("eth_call", 1, large);
    let found = answers(&pool, &without, at, &probes).await;
    assert_eq!(found.iter().filter(|answer| **answer == Ok(unsigned(50))).count(), 7);
    assert_eq!(found[1].as_ref().map_err(ProbeError::as_str), Err("failed"));

    faults.next("eth_call", u64::MAX, Fault::Fail(ErrorClass::RangeTooLarge));
    let mut probes = vec![Probe::erc20(stage.token, RICH); 3];
    probes.push(Probe::native(RICH));
    let found = answers(&pool, &stage.options(), at, &probes).await;
    assert!(found[..3].iter().all(|answer| matches!(answer, Err(ProbeError::TooLarge(_)))), "{found:?}");
    assert_eq!(found[3], Ok(unsigned(5)), "a balance that is asked for alone needs no call");
}

#[tokio::test]
async fn what_is_not_answered_in_time_is_unknown_after_few_attempts() {
    let stage = Stage::with_multicall().await;
    let at = stage.head().await;
    let (rpc, faults) = stage.endpoint("slow", 20, Duration::from_millis(500));
    let mut probes = vec![Probe::erc20(stage.token, RICH); 16];
    probes.push(Probe::native(RICH));
    faults.next("eth_call", u64::MAX, Fault::Stall);
    let found = answers(&Pool::from(rpc), &stage.options(), at, &probes).await;
    assert!(found[..16].iter().all(|answer| matches!(answer, Err(ProbeError::TimedOut(_)))), "{found:?}");
    assert_eq!(found[16], Ok(unsigned(5)));
    assert_eq!(faults.requests("eth_call"), 1 + 2 + 4, "sixteen, eight, four at once, and no further");
}

#[tokio::test]
async fn a_node_that_answers_from_its_head_whatever_block_it_is_asked_about_is_not_believed() {
    let stage = Stage::with_multicall().await;
    let at = stage.head().await;
    stage.mint(POOR, 8).await;
    let config = EndpointConfig { name: Some("careless".into()), ..EndpointConfig::new(stage.anvil.url()) };
    let inner = transport::open(&config).unwrap();
    let careless = transport::answering(move |packet| inner.clone().oneshot(of_head(packet)));
    let careless = Rpc::over(careless, &config);
    let probes = [Probe::erc20(stage.token, RICH), Probe::erc20(stage.token, POOR)];
    let error = probes_at(&Pool::from(careless.clone()), &stage.options(), at, &probes).await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::Protocol, "{error}");
    assert!(error.to_string().contains("the calls ran in another block"), "{error}");

    // The careless one is the first to be asked.
    let (careful, _) = stage.endpoint("careful", 3, Duration::from_secs(60));
    let pool = Pool::new(vec![careless, careful]).unwrap();
    assert_eq!(answers(&pool, &stage.options(), at, &probes).await, [Ok(unsigned(50)), Ok(unsigned(0))]);
}

/// The same requests, with calls about the newest block.
fn of_head(packet: RequestPacket) -> RequestPacket {
    let edit = |request: SerializedRequest| {
        if request.method() != "eth_call" {
            return request;
        }
        let params: Vec<Value> = serde_json::from_str(request.params().unwrap().get()).unwrap();
        Request::new("eth_call", request.id().clone(), json!([params[0], "latest"])).serialize().unwrap()
    };
    match packet {
        RequestPacket::Single(request) => RequestPacket::Single(edit(request)),
        RequestPacket::Batch(requests) => RequestPacket::Batch(requests.into_iter().map(edit).collect()),
    }
}

#[tokio::test]
async fn a_node_that_answers_for_blocks_that_left_its_chain_gives_no_number_of_them() {
    let chain = ModelChain::new(1, 64);
    chain.set_orphans(Orphans::Served);
    let probe = Probe::erc20(TOKEN, RICH);
    let calldata = [&[0x70, 0xa0, 0x82, 0x31][..], &RICH.into_word()[..]].concat();
    let mut mint = TxDraft::with_logs(RICH, TOKEN, 0, Vec::new());
    let word = B256::with_last_byte(8).to_vec().into();
    mint.answers.push(Answer { to: TOKEN, calldata: calldata.into(), result: word });
    chain.push(vec![mint]);
    let fork = chain.tip();
    let gone = chain.push(Vec::new());
    let options = ProbeOptions::of_chain(1);
    let config = EndpointConfig::new("http://model");
    let pool = Pool::from(Rpc::over(BoxTransport::new(chain.clone()), &config));
    assert_eq!(answers(&pool, &options, gone, std::slice::from_ref(&probe)).await, [Ok(unsigned(8))]);

    let other = chain.add(fork, Vec::new(), 7);
    chain.switch_to(other);
    let error = probes_at(&pool, &options, gone, std::slice::from_ref(&probe)).await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::BlockUnknown, "{error}");
    assert!(error.to_string().contains(&other.to_string()), "{error}");
    assert_eq!(answers(&pool, &options, other, &[probe]).await, [Ok(unsigned(8))]);
}

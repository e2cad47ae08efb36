//! What the client makes of trouble: what it retries, what it refuses to believe, what it calls things.

use std::{sync::Arc, time::Duration};

use alloy_primitives::{Address, B256, Bytes};
use alloy_transport::BoxTransport;
use plimsoll_chain::{
    CallError, Cause, EndpointConfig, ErrorClass, LogFilter, Rpc,
    transport::{self, Fault, FaultHandle, Faulty},
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use crate::support::{Anvil, Store, TOPIC, word};

/// A client whose transport can be troubled.
fn faulty(config: &EndpointConfig) -> (Rpc, FaultHandle) {
    let (transport, faults) = Faulty::new(transport::open(config).expect("the URL is good"));
    (Rpc::over(BoxTransport::new(transport), config), faults)
}

#[tokio::test]
async fn only_what_may_pass_is_asked_again_and_only_so_often() {
    let anvil = Anvil::start().await;
    let limited = ErrorClass::RateLimited { retry_after: Some(Duration::ZERO) };
    let cases = [
        (ErrorClass::Transient, 2, 3, true),
        (limited, 1, 2, true),
        (ErrorClass::Transient, 9, 4, false),
        (ErrorClass::RateLimited { retry_after: Some(Duration::from_secs(3_600)) }, 1, 1, false),
        (ErrorClass::RangeTooLarge, 1, 1, false),
        (ErrorClass::BlockUnknown, 1, 1, false),
        (ErrorClass::StateUnavailable, 1, 1, false),
        (ErrorClass::Protocol, 1, 1, false),
        (ErrorClass::Rejected, 1, 1, false),
    ];
    for (class, failures, attempts, succeeds) in cases {
        let (rpc, faults) = faulty(&anvil.http());
        faults.next("eth_chainId", failures, Fault::Fail(class));
        match rpc.chain_id().await {
            Ok(id) => assert!(succeeds && id == 31_337, "{class}"),
            Err(error) => assert!(!succeeds && error.class() == class, "{class}: {error}"),
        }
        assert_eq!(faults.requests("eth_chainId"), attempts, "{class}");
    }
}

#[tokio::test]
async fn an_endpoint_that_asks_to_be_left_alone_is_left_alone() {
    let anvil = Anvil::start().await;
    let (rpc, faults) = faulty(&anvil.http());
    let limited = ErrorClass::RateLimited { retry_after: Some(Duration::from_secs(3_600)) };
    faults.next("eth_chainId", 1, Fault::Fail(limited));
    rpc.chain_id().await.unwrap_err();
    let error = rpc.head().await.unwrap_err();
    assert!(matches!(error.class(), ErrorClass::RateLimited { retry_after: Some(_) }), "{error}");
    assert!(error.to_string().contains("asked to be left alone"), "{error}");
    assert_eq!(faults.requests("eth_getBlockByNumber"), 0, "it is not asked");
    assert!(rpc.standing().rest > Duration::from_secs(3_500));
}

#[tokio::test]
async fn a_batch_survives_a_lost_connection() {
    let anvil = Anvil::start().await;
    let (rpc, faults) = faulty(&anvil.http());
    faults.next("eth_getBlockByNumber", 1, Fault::Disconnect);
    let headers = rpc.headers_by_number(0, 1).await.unwrap();
    assert_eq!(headers[0].as_ref().unwrap().number, 0);
    assert_eq!(headers[1], None);
    assert_eq!(faults.requests("eth_getBlockByNumber"), 4, "two members, asked twice");
}

#[tokio::test]
async fn of_a_batch_only_the_members_that_may_pass_are_asked_again() {
    let anvil = Anvil::start().await;
    let (rpc, faults) = faulty(&anvil.http());
    rpc.raw_request("anvil_mine", json!(["0x9"])).await.unwrap();
    const HEADERS: &str = "eth_getBlockByNumber";
    let busy = |place| Fault::AnswerMember {
        place,
        code: -32_005,
        message: "rate limit exceeded, try again".into(),
    };
    for place in 0..=4 {
        let before = faults.requests(HEADERS);
        faults.next(HEADERS, 1, busy(place));
        let numbers: Vec<_> = rpc.headers_by_number(3, 7).await.unwrap().into_iter().flatten().collect();
        let numbers: Vec<_> = numbers.iter().map(|header| header.number).collect();
        assert_eq!(numbers, [3, 4, 5, 6, 7], "member {place} was refused at first");
        assert_eq!(faults.requests(HEADERS) - before, 6, "five members, and the refused one once more");
    }

    // A member that is refused for good disturbs no other, and one that stays busy is no answer.
    let store = Store::deploy(&rpc).await;
    let at = store.block_of(&[11]).await;
    let calls = vec![(store.address, Bytes::new()); 3];
    faults.next(
        "eth_call",
        1,
        Fault::AnswerMember { place: 1, code: 3, message: "execution reverted".into() },
    );
    let results = rpc.call_many_at(at, &calls).await.unwrap();
    assert_eq!((&results[0], &results[2]), (&Ok(word(11)), &Ok(word(11))));
    assert!(matches!(results[1], Err(CallError::Reverted { .. })), "{results:?}");
    assert_eq!(faults.requests("eth_call"), 3);
    faults.next("eth_call", u64::MAX, busy(0));
    let error = rpc.call_many_at(at, &calls).await.unwrap_err();
    assert!(matches!(error.class(), ErrorClass::RateLimited { .. }), "{error}");
    assert_eq!(faults.requests("eth_call"), 3 + 3 + 3, "three members, and the busy one three times more");
}

#[tokio::test]
async fn what_belongs_to_one_moment_is_asked_again_together() {
    let anvil = Anvil::start().await;
    let (rpc, faults) = faulty(&anvil.http());
    let store = Store::deploy(&rpc).await;
    store.block_of(&[1, 2]).await;
    let head = rpc.head().await.unwrap();
    for place in 0..4 {
        let before = (faults.requests("eth_getBlockByNumber"), faults.requests("eth_getLogs"));
        let message = "the server is overloaded, try again later".to_owned();
        faults.next("eth_getLogs", 1, Fault::AnswerMember { place, code: -32_603, message });
        let range = rpc.range(1, head.number, (head.number, head.hash), &store.filter()).await.unwrap();
        let (logs, end) = range.unwrap();
        assert_eq!((logs.len(), &end), (2, &head), "member {place} was refused at first");
        let after = (faults.requests("eth_getBlockByNumber"), faults.requests("eth_getLogs"));
        assert_eq!((after.0 - before.0, after.1 - before.1), (6, 2));
    }
}

#[tokio::test]
async fn answers_belong_to_the_requests_whose_ids_they_carry_and_not_to_their_places() {
    let anvil = Anvil::start().await;
    let (rpc, faults) = faulty(&anvil.http());
    let store = Store::deploy(&rpc).await;
    let blocks = [store.block_of(&[11]).await, store.block_of(&[22]).await];
    let head = rpc.head().await.unwrap();

    faults.next_of_any(u64::MAX, Fault::Reverse);
    let headers = rpc.headers_by_number(0, head.number + 1).await.unwrap();
    let numbers: Vec<_> = headers.iter().map(|header| header.as_ref().map(|header| header.number)).collect();
    assert_eq!(numbers, (0..=head.number).map(Some).chain([None]).collect::<Vec<_>>());
    let (logs, end) =
        rpc.range(1, head.number, (head.number, head.hash), &store.filter()).await.unwrap().unwrap();
    assert_eq!((logs.len(), end), (2, head));
    // Calls have nothing else to tell them apart.
    let deployer = (store.address, Bytes::new());
    let results = rpc.call_many_at(blocks[1], &[deployer, (Address::ZERO, Bytes::new())]).await.unwrap();
    assert_eq!(results, [Ok(word(22)), Ok(Bytes::new())]);
}

#[tokio::test]
async fn a_stalled_node_is_a_timeout_and_a_large_range_is_returned_at_once() {
    let anvil = Anvil::start().await;
    let config = EndpointConfig { request_timeout: Duration::from_millis(50), ..anvil.http() };
    let (rpc, faults) = faulty(&config);
    faults.next("eth_getLogs", 1, Fault::Stall);
    let error = rpc.logs_in_range(0, 5, &Default::default()).await.unwrap_err();
    assert!(error.is_timeout() && error.class() == ErrorClass::Transient, "{error}");
    assert_eq!(faults.requests("eth_getLogs"), 1, "the caller can halve the range");

    faults.next("eth_chainId", u64::MAX, Fault::Stall);
    let error = rpc.chain_id().await.unwrap_err();
    assert!(error.is_timeout(), "{error}");
    assert_eq!(faults.requests("eth_chainId"), 4);
}

#[tokio::test]
async fn a_stall_ends_when_it_is_released() {
    let anvil = Anvil::start().await;
    let (rpc, faults) = faulty(&anvil.http());
    faults.next("eth_chainId", 1, Fault::Stall);
    let asking = tokio::spawn(async move { rpc.chain_id().await });
    faults.wait_for_requests("eth_chainId", 1).await;
    faults.release();
    assert_eq!(asking.await.unwrap().unwrap(), 31_337);
    assert_eq!(faults.requests("eth_chainId"), 1);
}

#[tokio::test]
async fn a_lying_or_broken_answer_is_refused() {
    let anvil = Anvil::start().await;
    let (rpc, faults) = faulty(&anvil.http());
    let store = Store::deploy(&rpc).await;
    let hash = store.block_of(&[1, 2]).await;
    let number = rpc.head().await.unwrap().number;

    let other_block = json!(format!("0x{}", "77".repeat(32)));
    let lies: Vec<(&str, Fault)> = vec![
        ("a log that was not asked for", edit(move |logs| logs[1]["blockHash"] = other_block.clone())),
        ("a log that was not asked for", edit(|logs| logs[0]["blockNumber"] = json!("0x7777"))),
        (
            "a log that was not asked for",
            edit(|logs| logs[0]["address"] = json!(format!("0x{}", "11".repeat(20)))),
        ),
        (
            "a log that was not asked for",
            edit(|logs| logs[0]["topics"][0] = json!(format!("0x{}", "22".repeat(32)))),
        ),
        ("a log that was not asked for", edit(|logs| logs[0]["topics"] = json!([]))),
        ("twice", edit(|logs| logs[1] = logs[0].clone())),
        ("pending log", edit(|logs| logs[0]["blockNumber"] = Value::Null)),
        ("removed log", edit(|logs| logs[0]["removed"] = json!(true))),
        ("whole bytes", edit(|logs| logs[0]["data"] = json!("0x123"))),
        ("EOF", Fault::Truncate(300)),
        ("expected", edit(|logs| *logs = json!({"not": "a list"}))),
    ];
    let filter = LogFilter { topic0: vec![TOPIC], ..store.filter() };
    for (what, lie) in lies {
        faults.next("eth_getLogs", 1, lie.clone());
        let by_range = rpc.logs_in_range(number, number, &filter).await;
        faults.clear();
        faults.next("eth_getLogs", 1, lie);
        let by_hash = rpc.logs_of_block(hash, &filter).await;
        faults.clear();
        let errors: Vec<_> = [by_range, by_hash].into_iter().filter_map(Result::err).collect();
        assert!(errors.iter().any(|error| error.to_string().contains(what)), "{what}: {errors:?}");
        for error in errors {
            assert_eq!(error.class(), ErrorClass::Protocol, "{error}");
            assert!(
                matches!(error.cause(), Cause::Malformed { excerpt, .. } if excerpt.len() <= 200),
                "{error}"
            );
        }
    }
    assert_eq!(rpc.logs_of_block(hash, &store.filter()).await.unwrap().len(), 2);

    faults.next("eth_getLogs", 1, edit(|logs| logs.as_array_mut().expect("a list").reverse()));
    let sorted = rpc.logs_of_block(hash, &store.filter()).await.unwrap();
    assert_eq!(sorted.iter().map(|log| log.log_index).collect::<Vec<_>>(), [0, 1]);

    // An empty list is a lie too where the node does not have the block.
    faults.next("eth_getLogs", u64::MAX, edit(|logs| *logs = json!([])));
    let unknown = rpc.logs_of_block(B256::repeat_byte(7), &filter).await;
    assert_eq!(unknown.unwrap_err().class(), ErrorClass::BlockUnknown);
    faults.clear();

    faults.next(
        "eth_getBlockByHash",
        1,
        edit(|header| header["hash"] = json!(format!("0x{}", "77".repeat(32)))),
    );
    assert_eq!(rpc.header_by_hash(hash).await.unwrap_err().class(), ErrorClass::Protocol);
    faults.next("eth_getBlockByNumber", 1, edit(|header| header["number"] = json!("0x7777")));
    assert_eq!(rpc.header_by_number(number).await.unwrap_err().class(), ErrorClass::Protocol);
}

#[tokio::test]
async fn http_statuses_broken_bodies_and_refused_connections_have_their_class() {
    let cases = [
        ("413 Payload Too Large", "Content-Length: 0\r\n", "", ErrorClass::RangeTooLarge),
        (
            "429 Too Many Requests",
            "Retry-After: 7\r\nContent-Length: 2\r\n",
            "{}",
            ErrorClass::RateLimited { retry_after: Some(Duration::from_secs(7)) },
        ),
        ("502 Bad Gateway", "Content-Length: 4\r\n", "oops", ErrorClass::Transient),
        ("401 Unauthorized", "Content-Length: 0\r\n", "", ErrorClass::Rejected),
        ("200 OK", "Content-Length: 4\r\n", "oops", ErrorClass::Protocol),
        ("200 OK", "Content-Length: 4000\r\n", r#"{"jsonrpc""#, ErrorClass::Transient),
        ("200 OK", "Content-Length: 999999999999\r\n", "", ErrorClass::RangeTooLarge),
        (
            "400 Bad Request",
            "Content-Length: 80\r\n",
            r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32000,"message":"header not found"}}"#,
            ErrorClass::BlockUnknown,
        ),
    ];
    for (status, headers, body, class) in cases {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let answer = format!("HTTP/1.1 {status}\r\n{headers}Connection: close\r\n\r\n{body}");
        tokio::spawn(async move {
            let (mut socket, _) = listener.accept().await.expect("the client connects");
            let mut request = [0; 4096];
            let _ = socket.read(&mut request).await;
            let _ = socket.write_all(answer.as_bytes()).await;
        });
        let config = EndpointConfig {
            max_retries: 0,
            ..EndpointConfig::new(format!("http://user:pw@127.0.0.1:{port}/key"))
        };
        let error = Rpc::connect(&config).await.expect_err(status);
        assert_eq!(error.class(), class, "{error}");
        let text = format!("{error} {error:?}");
        assert!(text.contains(&format!("127.0.0.1:{port}")), "{text}");
        assert!(!text.contains("pw@") && !text.contains("/key"), "{text}");

        // The listener is gone with its only connection.
        let error = Rpc::connect(&config).await.expect_err("nobody listens");
        assert_eq!(error.class(), ErrorClass::Transient, "{error}");
        assert!(!error.to_string().contains("/key"), "{error}");
    }
}

#[tokio::test]
async fn an_unusable_url_is_refused_without_being_shown() {
    for url in ["ftp://host/s3cret", "s3cret", ""] {
        let error = Rpc::connect(&EndpointConfig::new(url)).await.expect_err(url);
        assert_eq!(error.class(), ErrorClass::Rejected, "{error}");
        assert!(!error.to_string().contains("s3cret"), "{error}");
    }
}

/// Changes the `result` in place.
fn edit(change: impl Fn(&mut Value) + Send + Sync + 'static) -> Fault {
    Fault::Rewrite(Arc::new(move |mut result| {
        change(&mut result);
        result
    }))
}

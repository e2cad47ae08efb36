//! Every question, answered by a real node.

use std::collections::HashSet;

use alloy_primitives::{Address, B256, Bytes};
use plimsoll_chain::{CallError, ErrorClass, LogFilter};
use serde_json::json;

use crate::support::{Anvil, Store, TOPIC, word};

#[tokio::test]
async fn a_header_is_the_same_by_number_by_hash_and_as_head() {
    let anvil = Anvil::start().await;
    let rpc = anvil.rpc().await;
    assert_eq!(rpc.chain_id().await.unwrap(), 31_337);
    let store = Store::deploy(&rpc).await;
    let hash = store.block_of(&[1]).await;

    let head = rpc.head().await.unwrap();
    assert_eq!(head.hash, hash);
    assert_eq!(rpc.header_by_hash(hash).await.unwrap().as_ref(), Some(&head));
    assert_eq!(rpc.header_by_number(head.number).await.unwrap().as_ref(), Some(&head));
    assert_eq!(rpc.header_by_number(head.number + 1).await.unwrap(), None);
    assert_eq!(rpc.header_by_hash(B256::repeat_byte(1)).await.unwrap(), None);
    let finalized = rpc
        .final_head(plimsoll_chain::FinalityTag::Finalized)
        .await
        .unwrap()
        .expect("anvil calls the genesis final at least");
    assert!(finalized.number <= head.number);
}

#[tokio::test]
async fn headers_of_a_range_come_in_batches_and_link() {
    let anvil = Anvil::start().await;
    let rpc = anvil.rpc().await;
    rpc.raw_request("anvil_mine", json!(["0x103"])).await.unwrap();

    let headers = rpc.headers_by_number(5, 262).await.unwrap();
    assert_eq!(headers.len(), 258);
    assert!(headers[255..].iter().all(Option::is_none), "blocks above the head are not there");
    let there: Vec<_> = headers[..255].iter().map(|header| header.as_ref().unwrap()).collect();
    for (number, pair) in (5..).zip(there.windows(2)) {
        assert_eq!(pair[0].number, number);
        assert_eq!(pair[1].parent_hash, pair[0].hash);
    }
    assert_eq!(rpc.headers_by_number(9, 8).await.unwrap(), []);
}

#[tokio::test]
async fn logs_by_block_hash_equal_logs_by_range() {
    let anvil = Anvil::start().await;
    let rpc = anvil.rpc().await;
    let store = Store::deploy(&rpc).await;
    let mut by_hash = Vec::new();
    let first = rpc.head().await.unwrap().number + 1;
    for words in [&[1, 2, 3][..], &[], &[4], &[5, 6]] {
        let hash = store.block_of(words).await;
        by_hash.extend(rpc.logs_of_block(hash, &store.filter()).await.unwrap());
    }
    let last = rpc.head().await.unwrap().number;

    let in_range = rpc.logs_in_range(first, last, &store.filter()).await.unwrap();
    assert_eq!(in_range, by_hash);
    assert_eq!(
        in_range.iter().map(|log| log.data.clone()).collect::<Vec<_>>(),
        (1..=6).map(word).collect::<Vec<_>>()
    );
    assert_eq!(in_range.iter().map(|log| log.log_index).collect::<Vec<_>>(), [0, 1, 2, 0, 0, 1]);
    assert!(in_range.iter().all(|log| log.address == store.address && *log.topics == [TOPIC]));

    let other_topic = LogFilter { topic0: vec![B256::ZERO], ..store.filter() };
    assert_eq!(rpc.logs_in_range(first, last, &other_topic).await.unwrap(), []);
    assert_eq!(rpc.logs_in_range(first, last, &LogFilter::default()).await.unwrap(), in_range);
}

#[tokio::test]
async fn a_large_answer_is_decoded_whole() {
    let anvil = Anvil::start().await;
    let rpc = anvil.rpc().await;
    let store = Store::deploy(&rpc).await;
    let first = rpc.head().await.unwrap().number + 1;
    for block in 0..10 {
        store.block_of(&(0..100).map(|i| block * 100 + i).collect::<Vec<_>>()).await;
    }

    // Some 500 bytes of JSON each, so this is decoded on the blocking pool.
    let logs = rpc.logs_in_range(first, first + 9, &store.filter()).await.unwrap();
    assert_eq!(logs.len(), 1_000);
    assert!(logs.iter().zip(0..).all(|(log, i)| log.data == word(i)));
}

#[tokio::test]
async fn receipts_and_transactions_say_who_did_what() {
    let anvil = Anvil::start().await;
    let rpc = anvil.rpc().await;
    let store = Store::deploy(&rpc).await;
    let hashes = [store.put(1).await, store.put(2).await];
    let block_hash = store.mine().await;

    let unknown = B256::repeat_byte(9);
    let receipts = rpc.receipts(&[hashes[1], unknown, hashes[0]]).await.unwrap();
    assert_eq!(receipts[1], None);
    let receipts = [receipts[2].clone().unwrap(), receipts[0].clone().unwrap()];
    assert_eq!(rpc.receipts_of_block(block_hash).await.unwrap().unwrap(), receipts);
    assert_eq!(rpc.receipts_of_block(unknown).await.unwrap(), None);

    let block = rpc.block_with_transactions(block_hash).await.unwrap().unwrap();
    assert_eq!(block.header, rpc.head().await.unwrap());
    for ((tx, receipt), (hash, value)) in
        block.transactions.iter().zip(&receipts).zip(hashes.into_iter().zip(1..))
    {
        assert_eq!(
            (tx.hash, tx.index, tx.from, tx.to),
            (hash, receipt.tx_index, receipt.from, Some(store.address))
        );
        assert_eq!((receipt.tx_hash, receipt.block_hash), (hash, block_hash));
        assert_eq!(tx.input, word(value));
        assert!(receipt.status && receipt.gas_used > 21_000 && receipt.effective_gas_price > 0);
    }
    assert_eq!(block.transactions[1].nonce, block.transactions[0].nonce + 1);
    assert_eq!(rpc.block_with_transactions(unknown).await.unwrap(), None);
}

#[tokio::test]
async fn a_call_sees_the_state_of_its_block_and_a_revert_is_its_own() {
    let anvil = Anvil::start().await;
    let rpc = anvil.rpc().await;
    let store = Store::deploy(&rpc).await;
    let reverter = store.deploy_reverter().await;
    let old = store.block_of(&[11]).await;
    let new = store.block_of(&[22]).await;

    let read = (store.address, Bytes::new());
    assert_eq!(rpc.call_many_at(old, std::slice::from_ref(&read)).await.unwrap(), [Ok(word(11))]);
    let mut calls = vec![read.clone(); 150];
    calls[120] = (reverter, Bytes::new());
    let results = rpc.call_many_at(new, &calls).await.unwrap();
    for (place, result) in results.into_iter().enumerate() {
        match result {
            Err(CallError::Reverted { data, .. }) if place == 120 => assert_eq!(data, word(7)),
            other => assert_eq!(other, Ok(word(22)), "call {place}"),
        }
    }
    assert_eq!(rpc.code_at(store.address, new).await.unwrap().len(), 34);
    assert_eq!(rpc.code_at(Address::ZERO, new).await.unwrap(), Bytes::new());
}

#[tokio::test]
async fn a_block_that_left_the_chain_is_unknown_and_not_empty() {
    let anvil = Anvil::start().await;
    let rpc = anvil.rpc().await;
    let store = Store::deploy(&rpc).await;
    store.block_of(&[]).await;
    let gone = store.block_of(&[1]).await;
    let gone_empty = store.block_of(&[]).await;
    rpc.raw_request("anvil_reorg", json!([2, []])).await.unwrap();

    let call = (store.address, Bytes::new());
    for hash in [gone, gone_empty, B256::repeat_byte(1)] {
        let classes: HashSet<_> = [
            rpc.logs_of_block(hash, &store.filter()).await.unwrap_err(),
            rpc.call_many_at(hash, std::slice::from_ref(&call)).await.unwrap_err(),
            rpc.code_at(store.address, hash).await.unwrap_err(),
        ]
        .into_iter()
        .map(|error| error.class().as_str())
        .collect();
        assert_eq!(classes, HashSet::from([ErrorClass::BlockUnknown.as_str()]), "{hash}");
    }
    let beyond = rpc.head().await.unwrap().number + 10;
    let error = rpc.logs_in_range(beyond, beyond + 1, &store.filter()).await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::BlockUnknown, "{error}");
}

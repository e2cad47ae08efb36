//! Sending signed transactions to a real node, and what it says of their sender before and after.

use std::sync::Arc;

use alloy_primitives::{Address, B256, Bytes, U256, keccak256};
use alloy_transport::BoxTransport;
use plimsoll_chain::{
    CallError, ErrorClass, FeeMarket, KnownTransaction, Rpc, SendError, TransactionCounts,
    UnsignedTransaction,
    transport::{self, Fault, Faulty},
};
use serde_json::json;

use crate::support::{Anvil, Store, word};

async fn accounts(rpc: &Rpc) -> Vec<Address> {
    let accounts = rpc.raw_request("eth_accounts", json!([])).await.expect("anvil has accounts");
    serde_json::from_value(accounts).expect("a list of addresses")
}

/// Transfers of one wei each, signed by the node, with these nonces.
async fn signed(rpc: &Rpc, from: Address, nonces: impl IntoIterator<Item = u64>) -> Vec<Bytes> {
    let mut raws = Vec::new();
    for nonce in nonces {
        let transaction = json!({
            "from": from, "to": Address::repeat_byte(0xaa), "value": "0x1", "gas": "0x5208", "nonce": format!("{nonce:#x}"),
            "maxFeePerGas": "0x77359400", "maxPriorityFeePerGas": "0x3b9aca00", "chainId": "0x7a69",
        });
        let raw = rpc.raw_request("eth_signTransaction", json!([transaction])).await.expect("anvil signs");
        raws.push(serde_json::from_value(raw).expect("bytes"));
    }
    raws
}

fn counts(latest: u64, pending: u64) -> TransactionCounts {
    TransactionCounts { latest, pending }
}

#[tokio::test]
async fn of_a_hundred_in_one_batch_a_bad_one_disturbs_no_other() {
    let anvil = Anvil::start().await;
    let (transport, faults) = Faulty::new(transport::open(&anvil.http()).unwrap());
    let rpc = Rpc::over(BoxTransport::new(transport), &anvil.http());
    let from = accounts(&rpc).await[0];
    let mut raws = signed(&rpc, from, 0..99).await;
    raws.insert(50, raws[0].slice(..raws[0].len() - 3));
    let hashes: Vec<B256> = raws.iter().map(keccak256).collect();

    let told = |answers: Vec<Result<B256, SendError>>| -> Vec<Result<B256, String>> {
        let told = answers.into_iter().map(|answer| match answer {
            Err(SendError::Refused(refused)) => Err(refused.message),
            other => Ok(other.unwrap()),
        });
        told.collect()
    };
    let answers = told(rpc.send_raw(&raws).await);
    assert_eq!(answers.len(), 100);
    for (place, answer) in answers.iter().enumerate() {
        match place {
            50 => assert!(answer.is_err(), "the node took what is no transaction"),
            _ => assert_eq!(answer.as_ref(), Ok(&hashes[place]), "transaction {place}"),
        }
    }
    assert_eq!(faults.requests("eth_sendRawTransaction"), 100);
    assert_eq!(rpc.transaction_counts(from).await.unwrap().value, counts(0, 99));

    // The same again is refused for each by itself, and changes nothing.
    let again = told(rpc.send_raw(&raws).await);
    assert!(again.iter().all(Result::is_err), "{again:?}");
    assert_eq!(again[0], Err("transaction already imported".to_owned()));

    rpc.raw_request("evm_mine", json!([])).await.unwrap();
    let head = rpc.head().await.unwrap();
    let after = rpc.transaction_counts(from).await.unwrap();
    assert_eq!((after.value, after.block_number, after.block_hash), (counts(99, 99), head.number, head.hash));
    let received = rpc.balance(Address::repeat_byte(0xaa)).await.unwrap();
    assert_eq!((received.value, received.block_hash), (U256::from(99), head.hash));
}

#[tokio::test]
async fn a_send_whose_answer_was_lost_is_unknown_was_sent_once_and_did_arrive() {
    let anvil = Anvil::start().await;
    let (transport, faults) = Faulty::new(transport::open(&anvil.http()).unwrap());
    let rpc = Rpc::over(BoxTransport::new(transport), &anvil.http());
    let from = accounts(&rpc).await[0];
    let raws = signed(&rpc, from, 0..2).await;
    let hashes: Vec<B256> = raws.iter().map(keccak256).collect();
    assert_eq!(rpc.transaction_by_hash(hashes[0]).await.unwrap(), None);

    faults.next("eth_sendRawTransaction", 1, Fault::Disconnect);
    let answers = rpc.send_raw(&raws).await;
    for answer in &answers {
        let Err(SendError::Unknown(error)) = answer else { panic!("{answer:?}") };
        assert_eq!(error.class(), ErrorClass::Transient, "{error}");
    }
    assert_eq!((answers.len(), faults.requests("eth_sendRawTransaction")), (2, 2));

    let waits = |nonce| KnownTransaction { from, nonce, place: None };
    for (hash, nonce) in hashes.iter().zip(0..) {
        assert_eq!(rpc.transaction_by_hash(*hash).await.unwrap(), Some(waits(nonce)));
    }
    rpc.raw_request("evm_mine", json!([])).await.unwrap();
    let head = rpc.head().await.unwrap();
    for (hash, nonce) in hashes.iter().zip(0_u32..) {
        let known = rpc.transaction_by_hash(*hash).await.unwrap().expect("it is in a block");
        let place = known.place.expect("it is in a block");
        assert_eq!((place.block_number, place.block_hash, place.tx_index), (head.number, head.hash, nonce));
    }

    let another = hashes[1];
    let lie = move |mut transaction: serde_json::Value| {
        transaction["hash"] = json!(another);
        transaction
    };
    faults.next("eth_getTransactionByHash", 1, Fault::Rewrite(Arc::new(lie)));
    let error = rpc.transaction_by_hash(hashes[0]).await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::Protocol, "another's transaction is no answer: {error}");
}

#[tokio::test]
async fn over_a_websocket_each_is_answered_too() {
    let anvil = Anvil::start().await;
    let rpc = Rpc::connect(&anvil.ws()).await.unwrap();
    let from = accounts(&rpc).await[0];
    let mut raws = signed(&rpc, from, 0..3).await;
    raws.insert(1, Bytes::from_static(&[0xfe]));
    let answers = rpc.send_raw(&raws).await;
    for (place, (answer, raw)) in answers.into_iter().zip(&raws).enumerate() {
        match answer {
            Err(SendError::Refused(_)) if place == 1 => {}
            other => assert_eq!(other.unwrap(), keccak256(raw), "transaction {place}"),
        }
    }
    assert_eq!(rpc.transaction_counts(from).await.unwrap().value, counts(0, 3));
}

#[tokio::test]
async fn what_a_transaction_would_need_is_told_and_so_is_why_it_would_not_run() {
    let anvil = Anvil::start().await;
    let rpc = anvil.rpc().await;
    let store = Store::deploy(&rpc).await;
    let reverter = store.deploy_reverter().await;
    let from = accounts(&rpc).await[1];
    let call = UnsignedTransaction { from, to: Some(store.address), value: U256::ZERO, data: word(7) };
    let gas = rpc.estimate_gas(&call).await.unwrap().unwrap();
    assert!((21_000 + 20_000..100_000).contains(&gas), "{gas} for storing a word");

    let reverts = UnsignedTransaction { to: Some(reverter), ..call.clone() };
    match rpc.estimate_gas(&reverts).await.unwrap() {
        Err(CallError::Reverted { data, .. }) => assert_eq!(data, word(7)),
        other => panic!("{other:?}"),
    }
    let create = UnsignedTransaction { to: None, data: Bytes::from_static(&[0x00]), ..call.clone() };
    assert!(rpc.estimate_gas(&create).await.unwrap().unwrap() >= 53_000);
    let poor = UnsignedTransaction { from: Address::repeat_byte(0x77), value: U256::from(1), ..call };
    match rpc.estimate_gas(&poor).await.unwrap() {
        Err(CallError::Failed { message, .. }) => {
            assert!(message.to_lowercase().contains("insufficient funds"), "{message}");
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn the_fees_of_the_last_blocks_are_told_with_the_next_base_fee() {
    let anvil = Anvil::start().await;
    let rpc = anvil.rpc().await;
    let from = accounts(&rpc).await[0];
    let raws = signed(&rpc, from, 0..3).await;
    assert!(rpc.send_raw(&raws).await.iter().all(Result::is_ok));
    for _ in 0..3 {
        rpc.raw_request("evm_mine", json!([])).await.unwrap();
    }
    let head = rpc.head().await.unwrap();
    let FeeMarket::History(history) = rpc.fee_market(3, &[10, 90]).await.unwrap() else {
        panic!("anvil has base fees")
    };
    assert_eq!((history.newest_block(), history.base_fees.len()), (head.number, 3));
    let header = rpc.header_by_number(history.oldest_block).await.unwrap().unwrap();
    assert_eq!(header.base_fee_per_gas, Some(U256::from(history.base_fees[0])));
    assert!(history.gas_used_ppm[0] > 0 && history.gas_used_ppm[2] == 0, "{history:?}");
    rpc.raw_request("evm_mine", json!([])).await.unwrap();
    let next = rpc.head().await.unwrap();
    assert_eq!(next.base_fee_per_gas, Some(U256::from(history.next_base_fee)));
    assert!(rpc.gas_price().await.unwrap() > 0);
}

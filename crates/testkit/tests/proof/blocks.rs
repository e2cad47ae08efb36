use alloy_primitives::{Address, B256, KECCAK256_EMPTY};
use plimsoll_proof::{Finding, Outcome, TransactionsFault, Unencodable};
use plimsoll_testkit::anvil::{Anvil, AnvilOptions};
use serde_json::{Value, json};

use crate::send::{EMITTER, LOGS_OF_A_CALL, Sender};

async fn sender() -> Sender {
    Sender::new(Anvil::start(&AnvilOptions::default()).await.unwrap()).await
}

#[tokio::test]
async fn a_block_of_every_type_is_proven_with_its_logs_failures_and_creations() {
    let sender = sender().await;
    let emitter = sender.emitter().await;
    let word = B256::repeat_byte(7);
    let price = "0x77359400";
    let list = json!([{ "address": emitter, "storageKeys": [B256::ZERO, word] }]);
    let consent = json!([{ "chainId": "0x7a69", "address": emitter, "nonce": "0x0", "yParity": "0x1", "r": word, "s": "0x1" }]);
    for fields in [
        json!({ "to": sender.to, "value": "0x1", "gasPrice": price }),
        json!({ "to": emitter, "gasPrice": price, "data": "0xdeadbeef" }),
        json!({ "to": emitter, "gasPrice": price, "accessList": list }),
        json!({ "to": emitter }),
        json!({ "to": emitter, "accessList": list }),
        json!({ "to": emitter, "authorizationList": consent }),
        json!({ "data": EMITTER }),
        // Reverts at once: a creation that fails.
        json!({ "data": "0x60006000fd" }),
        // Enough to begin, not to emit.
        json!({ "to": emitter, "gas": "0x5400" }),
        json!({ "to": sender.to, "value": "0xde0b6b3a7640000" }),
    ] {
        sender.send(fields).await;
    }
    let number = sender.mine().await;

    let (_, receipts) = sender.block(number).await.prove();
    let types: Vec<u8> = receipts.receipts().iter().map(|reported| reported.receipt.tx_type).collect();
    assert_eq!(types, [0, 0, 1, 2, 2, 4, 2, 2, 2, 2]);
    let failed: Vec<usize> = receipts
        .receipts()
        .iter()
        .enumerate()
        .filter_map(|(at, reported)| (reported.receipt.outcome == Outcome::Status(false)).then_some(at))
        .collect();
    assert_eq!(failed, [7, 8]);
    // Five calls, and the creation that emits one log.
    assert_eq!(receipts.logs().count(), 5 * LOGS_OF_A_CALL + 1);

    sender.block(0).await.prove();
    sender.block(1).await.prove();
}

#[tokio::test]
async fn an_empty_block_is_proven_empty() {
    let sender = sender().await;
    let number = sender.mine().await;
    let (header, receipts) = sender.block(number).await.prove();
    assert_eq!(receipts.receipts().len(), 0);
    assert_eq!(header.receipts_root, header.transactions_root, "both are the empty trie's");
}

#[tokio::test]
async fn a_block_of_300_transactions_is_proven_and_a_receipt_that_was_touched_is_not() {
    let sender = sender().await;
    let emitter = sender.emitter().await;
    for at in 0..300 {
        let to = if at % 3 == 0 { sender.to } else { emitter };
        sender.send(json!({ "to": to })).await;
    }
    let number = sender.mine().await;
    let told = sender.block(number).await;
    let (header, receipts) = told.prove();
    assert_eq!(receipts.receipts().len(), 300);
    assert_eq!(receipts.logs().count(), 200 * LOGS_OF_A_CALL);

    let mut touched = receipts.into_inner();
    touched[128].receipt.logs[4].topics[3] = B256::ZERO;
    let fault = header.prove_receipts(touched).unwrap_err();
    assert_eq!(fault.finding(), Finding::Contradiction);
}

#[tokio::test]
async fn blobs_and_impersonation_leave_the_transactions_unproven_and_the_receipts_proven() {
    /// The commitment and proof of a blob of zeros: the point at infinity (EIP-4844).
    const INFINITY: [u8; 48] = {
        let mut point = [0; 48];
        point[0] = 0xc0;
        point
    };
    const BLOB_BYTES: usize = 131_072;

    let sender = sender().await;
    let infinity = alloy_primitives::hex::encode_prefixed(INFINITY);
    // 1 and the SHA-256 of the commitment, but for its first byte.
    let hash = "0x010657f37554c781402a22917dee2f75def7ab966d7b770905398eba3c444014";
    let blob = format!("0x{}", "00".repeat(BLOB_BYTES));
    sender
        .send(json!({
            "to": sender.to, "maxFeePerBlobGas": "0x77359400", "blobVersionedHashes": [hash],
            "blobs": [blob], "commitments": [infinity], "proofs": [infinity],
        }))
        .await;
    let number = sender.mine().await;
    let told = sender.block(number).await;
    let (header, receipts) = told.prove_receipts();
    assert_eq!(receipts.receipts()[0].receipt.tx_type, 3);
    let transactions = told.transactions();
    assert_eq!(transactions[0].compute_hash(), Ok(transactions[0].hash), "the transaction itself is right");
    assert_eq!(transactions[0].check_sender(), Ok(()));
    let fault = header.prove_transactions(transactions).unwrap_err();
    assert!(matches!(fault, TransactionsFault::Root { blobs: 1, .. }), "{fault}");
    assert_eq!(fault.finding(), Finding::Unproven);

    let stranger = Address::repeat_byte(0x12);
    sender.anvil.raw("anvil_setBalance", json!([stranger, "0xde0b6b3a7640000"])).await.unwrap();
    sender.anvil.impersonate(stranger).await.unwrap();
    sender.send(json!({ "from": stranger, "to": sender.to })).await;
    sender.send(json!({ "to": sender.to })).await;
    let number = sender.mine().await;
    let told = sender.block(number).await;
    let (header, _) = told.prove_receipts();
    let fault = header.prove_transactions(told.transactions()).unwrap_err();
    let source = Unencodable::Unsigned;
    assert_eq!(fault, TransactionsFault::Unencodable { transactions: 2, count: 1, first: 0, source });
}

#[tokio::test]
async fn an_account_is_proven_and_nothing_else_said_of_it_is() {
    let sender = sender().await;
    for value in ["0x1", "0x2"] {
        sender.send(json!({ "to": sender.to, "value": value })).await;
    }
    let number = sender.mine().await;
    let header = sender.block(number).await.header().prove().unwrap();
    let told = async |address: Address| {
        let at = json!({ "blockHash": header.hash });
        sender.anvil.raw("eth_getProof", json!([address, [], at])).await.unwrap()
    };
    let prove = |address, told: &Value| {
        header.prove_account(address, serde_json::from_str(&told.to_string()).unwrap())
    };

    let mut used = told(sender.from).await;
    let account = prove(sender.from, &used).unwrap();
    assert_eq!((account.nonce, account.code_hash), (2, KECCAK256_EMPTY));
    // The way to it is that of nobody else.
    prove(sender.to, &used).unwrap_err();
    for (field, lie) in [
        ("nonce", json!("0x0")),
        ("nonce", json!("0x3")),
        ("balance", json!("0x1")),
        ("storageHash", json!(B256::ZERO)),
        ("codeHash", json!(B256::ZERO)),
        ("accountProof", json!([])),
    ] {
        let truth = std::mem::replace(&mut used[field], lie);
        prove(sender.from, &used).unwrap_err();
        used[field] = truth;
    }
    // Nor may who is there be called absent.
    let mut denied = used.clone();
    (denied["nonce"], denied["balance"]) = (json!("0x0"), json!("0x0"));
    prove(sender.from, &denied).unwrap_err();

    let nobody = Address::repeat_byte(0xee);
    let absent = told(nobody).await;
    assert_eq!(prove(nobody, &absent).unwrap().nonce, 0);
    let mut invented = absent.clone();
    invented["nonce"] = json!("0x1");
    prove(nobody, &invented).unwrap_err();
}

//! What a real node answers to each way in which a transaction can be wrong, as the relayer understands it.

#![allow(missing_docs, clippy::unwrap_used)]

use alloy_primitives::{Address, B256, Bytes, U256, keccak256};
use plimsoll_chain::{EndpointConfig, Rpc, UnsignedTransaction};
use plimsoll_relayer::answer::{SendAnswer, read};
use plimsoll_relayer::fees::{
    Fees, HISTORY_BLOCKS, Pricing, REWARD_PERCENTILES, Terms, Urgency, least_replacement, minimum_gas, offer,
};
use plimsoll_testkit::anvil::{Anvil, AnvilOptions, Mining};
use serde_json::{Value, json};

const GWEI: u128 = 1_000_000_000;

/// A node, what speaks to it, and an account that it signs for.
struct Stage {
    anvil: Anvil,
    rpc: Rpc,
    from: Address,
}

impl Stage {
    async fn new(options: &AnvilOptions) -> Self {
        let anvil = Anvil::start(options).await.unwrap();
        let rpc = Rpc::connect(&EndpointConfig::new(anvil.url())).await.unwrap();
        let from = anvil.accounts().await.unwrap()[0];
        Self { anvil, rpc, from }
    }

    /// A transfer of nothing, signed, with these fields instead of the usual.
    async fn signed(&self, chain_id: u64, fields: Value) -> Bytes {
        let mut transaction = json!({
            "from": self.from, "to": Address::repeat_byte(0xaa), "value": "0x0", "gas": "0x5208", "nonce": "0x0",
            "maxFeePerGas": hex(20 * GWEI), "maxPriorityFeePerGas": hex(GWEI), "chainId": hex(chain_id.into()),
        });
        transaction.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        self.anvil.request("eth_signTransaction", json!([transaction])).await.unwrap()
    }

    async fn send(&self, raw: &Bytes) -> SendAnswer {
        let answer = self.rpc.send_raw(std::slice::from_ref(raw)).await.pop().unwrap();
        read(keccak256(raw), &answer).answer
    }
}

fn hex(number: u128) -> String {
    format!("{number:#x}")
}

#[tokio::test]
async fn each_refusal_of_a_real_node_is_understood() {
    let options = AnvilOptions { gas_limit: Some(1_000_000), ..AnvilOptions::default() };
    let stage = Stage::new(&options).await;
    let elsewhere = Stage::new(&AnvilOptions { chain_id: 5, mining: Mining::OnDemand, ..options }).await;
    let chain_id = stage.rpc.chain_id().await.unwrap();

    let first = stage.signed(chain_id, json!({})).await;
    assert_eq!(stage.send(&first).await, SendAnswer::Accepted);
    assert_eq!(stage.send(&first).await, SendAnswer::AlreadyKnown);
    // Any more would do for this node, and a tenth more for others: less does for none.
    let less = stage.signed(chain_id, json!({ "value": "0x1", "maxFeePerGas": hex(19 * GWEI) })).await;
    assert_eq!(stage.send(&less).await, SendAnswer::ReplacementUnderpriced);
    stage.anvil.mine(1).await.unwrap();
    assert!(matches!(stage.send(&less).await, SendAnswer::NonceTooLow { .. }));
    assert!(stage.send(&first).await.asks_the_chain(), "it is in a block, which the node does not say");

    let long: Bytes = vec![1; 100].into();
    let minimum = minimum_gas(false, &long);
    for (fields, expected) in [
        (json!({ "maxFeePerGas": "0x1", "maxPriorityFeePerGas": "0x0" }), SendAnswer::FeeBelowBase),
        (json!({ "value": hex(10_u128.pow(30)) }), SendAnswer::InsufficientFunds),
        (json!({ "gas": hex(20_999) }), SendAnswer::IntrinsicGasTooLow),
        (json!({ "gas": hex(1_000_001) }), SendAnswer::ExceedsBlockGasLimit),
        (json!({ "gas": hex(minimum.into()), "data": long }), SendAnswer::Accepted),
    ] {
        let mut fields = fields;
        fields["nonce"] = json!("0x1");
        let raw = stage.signed(chain_id, fields.clone()).await;
        assert_eq!(stage.send(&raw).await, expected, "{fields}");
    }
    let foreign = elsewhere.signed(5, json!({ "nonce": "0x2" })).await;
    assert_eq!(stage.send(&foreign).await, SendAnswer::WrongChain);
    for bad in [first.slice(..first.len() - 1), Bytes::from_static(&[2]), Bytes::new()] {
        assert_eq!(stage.send(&bad).await, SendAnswer::Malformed, "{bad}");
    }
}

#[tokio::test]
async fn the_least_gas_is_what_the_node_says_of_a_call_that_executes_nothing() {
    let stage = Stage::new(&AnvilOptions { hardfork: Some("prague"), ..AnvilOptions::default() }).await;
    let data: [Vec<u8>; 6] =
        [vec![], vec![0; 7], vec![1; 100], [0, 1].repeat(500), vec![1; 3_000], vec![0; 3_001]];
    for data in data {
        let call = UnsignedTransaction {
            from: stage.from,
            to: Some(Address::repeat_byte(0xaa)),
            value: U256::ZERO,
            data: data.clone().into(),
        };
        let told = stage.rpc.estimate_gas(&call).await.unwrap().unwrap();
        assert_eq!(told, minimum_gas(false, &data), "{} bytes", data.len());
        // Creation code that begins with STOP (a zero byte) executes nothing and leaves nothing.
        let create = UnsignedTransaction { to: None, data: [vec![0], data].concat().into(), ..call };
        let told = stage.rpc.estimate_gas(&create).await.unwrap().unwrap();
        assert_eq!(told, minimum_gas(true, &create.data), "a creation of {} bytes", create.data.len());
    }
}

#[tokio::test]
async fn what_is_offered_is_taken_and_a_replacement_takes_its_place() {
    let stage = Stage::new(&AnvilOptions::default()).await;
    let chain_id = stage.rpc.chain_id().await.unwrap();
    let market = stage.rpc.fee_market(HISTORY_BLOCKS, &REWARD_PERCENTILES).await.unwrap();
    let terms = Terms {
        pricing: Pricing::BaseFee,
        urgency: Urgency::Normal,
        min_priority_fee_per_gas: 7,
        max_fee_per_gas: 1_000 * GWEI,
        max_fee_limit: None,
    };
    let with = |fees: Fees| json!({ "maxFeePerGas": hex(fees.max_fee_per_gas), "maxPriorityFeePerGas": hex(fees.tip()) });
    let mut fees = offer(&market, &terms).unwrap().fees;
    let mut last = B256::ZERO;
    for _ in 0..10 {
        let raw = stage.signed(chain_id, with(fees)).await;
        assert_eq!(stage.send(&raw).await, SendAnswer::Accepted, "{fees}");
        last = keccak256(&raw);
        fees = least_replacement(fees);
    }
    assert_eq!(stage.anvil.pool_size().await.unwrap(), 1);
    stage.anvil.mine(1).await.unwrap();
    assert!(stage.rpc.transaction_by_hash(last).await.unwrap().unwrap().place.is_some());
}

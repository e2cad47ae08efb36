//! A log under the ABI that claims it, and a call's input: nothing panics, what is decoded is encoded and decoded the same, and it has a JSON form that is JSON.
//!
//! A log's bytes: which of the contracts (1), which of its events (1), which topics are its own (1: so many words follow), words, data. A call's: 0xff, contract (1), input.

#![no_main]

use std::sync::{Arc, LazyLock};

use alloy_dyn_abi::DynSolValue;
use alloy_json_abi::JsonAbi;
use alloy_primitives::{Address, B256};
use libfuzzer_sys::fuzz_target;
use plimsoll_chain::abi::{Contract, Contracts};
use serde_json::Value;

/// Whose bytes are a call.
const CALL: u8 = 0xff;

/// The contracts that are followed, under the addresses 0x00…00, 0x00…01 and so on.
static CONTRACTS: LazyLock<Vec<Contract>> = LazyLock::new(|| {
    const ARTIFACTS: [&str; 4] = [
        include_str!("../../contracts/artifacts/PositionView.json"),
        include_str!("../../contracts/artifacts/VaultRouter.json"),
        include_str!("../../contracts/artifacts/HealthView.json"),
        include_str!("../../contracts/artifacts/AccessControlView.json"),
    ];
    // Of every type that an event may have, and some within others.
    let zoo = JsonAbi::parse([
        "event Zoo(int8 a, bytes3 b, string[] c, (uint256,(bool,string)[],bytes)[2] d, function e, int256[][3] f)",
        "event Indexed(string indexed a, uint8 indexed b, (address,uint16) indexed c, bytes d)",
        "function feed(string[] names, (uint256,bytes)[] loads, bytes32 requestId)",
        "function poke(bytes what)",
    ]);
    let of_artifact = |text: &str| {
        let mut artifact: Value = serde_json::from_str(text).expect("an artifact is JSON");
        serde_json::from_value::<JsonAbi>(artifact["abi"].take()).expect("an artifact has an ABI")
    };
    let abis = ARTIFACTS.into_iter().map(of_artifact).chain([zoo.expect("it is an ABI")]);
    let contract = |(i, abi)| Contract::new("a contract", address(i), Default::default(), 0, Arc::new(abi));
    abis.enumerate().map(contract).collect()
});

fn address(i: usize) -> Address {
    Address::with_last_byte(i as u8)
}

fuzz_target!(|data: &[u8]| {
    let [which, rest @ ..] = data else { return };
    if *which == CALL {
        let [contract, input @ ..] = rest else { return };
        let contract = &CONTRACTS[usize::from(*contract) % CONTRACTS.len()];
        let found = contract.request_id_of_call(input);
        assert_eq!(found, contract.request_id_of_call(input));
        return;
    }
    let [event, count, rest @ ..] = rest else { return };
    let at = usize::from(*which) % CONTRACTS.len();
    let events: Vec<_> = CONTRACTS[at].abi.events().collect();
    let Some(event) = events.get(usize::from(*event) % events.len().max(1)) else { return };
    let (words, body) = rest.split_at((usize::from(*count) % 4 * 32).min(rest.len() / 32 * 32));
    let topics: Vec<B256> =
        [event.selector()].into_iter().chain(words.chunks(32).map(B256::from_slice)).collect();
    log(at, &topics, body);
});

fn log(at: usize, topics: &[B256], body: &[u8]) {
    static BY_ADDRESS: LazyLock<Contracts> = LazyLock::new(|| Contracts::new(CONTRACTS.iter().cloned()));
    let Ok(decoded) = BY_ADDRESS.decode(&address(at), topics, body, &B256::ZERO, 0) else { return };
    let decoded = decoded.expect("the contract has the event");
    let mut json = Vec::new();
    decoded.write_json(&mut json);
    let json: Value = serde_json::from_slice(&json).expect("it is JSON");
    assert!(json.as_object().is_some_and(|object| object.len() <= decoded.values.len()));
    // Two, asked apart: neither may disturb the other.
    let _: (Option<_>, Option<u64>) = (decoded.request_id(), decoded.seq());
    let values = decoded.parameters.iter().zip(&decoded.values);
    let body = values.filter(|(parameter, _)| !parameter.indexed).map(|(_, value)| value.clone()).collect();
    let written = DynSolValue::Tuple(body).abi_encode_params();
    let again = BY_ADDRESS.decode(&address(at), topics, &written, &B256::ZERO, 0);
    let again = again.expect("what is written is read").expect("the contract has the event");
    assert_eq!(again.values, decoded.values);
}

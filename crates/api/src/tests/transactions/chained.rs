//! The API beside a real node: what a wallet does, and what is deployed.

use std::sync::Arc;

use alloy_primitives::{Address, B256, hex, keccak256};
use axum::Router;
use k256::ecdsa::SigningKey;
use plimsoll_chain::abi::{Contract, Contracts};
use plimsoll_chain::{EndpointConfig, Rpc, transport};
use plimsoll_relayer::chains::{Chain, Chains};
use plimsoll_relayer::desk::Market;
use plimsoll_relayer::fees::Pricing;
use plimsoll_store::idempotency::{KeyOptions, Keys};
use plimsoll_testkit::anvil::{Anvil, AnvilOptions, Mining};
use plimsoll_testkit::deploy::artifacts::artifact;
use plimsoll_testkit::node;
use plimsoll_types::address_text;
use serde_json::{Value, json};

use super::super::people::Person;
use super::super::{Answer, Api, CHAIN, services};
use super::{house, with};
use crate::routes::router_with;
use crate::{ApiOptions, ApiState, Roles, Services};

pub(super) const PREPARE: &str = "/chain/tx/prepare";
/// Anvil's second account, whose key everybody knows.
const USER: [u8; 32] = hex!("59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d");

/// A node, two contracts of the tenant's on it, and the API that can ask it.
pub(super) struct Chained {
    pub(super) anvil: Anvil,
    pub(super) api: Api,
    pub(super) admin: Person,
    pub(super) counter: Address,
    pub(super) forwarder: Address,
}

pub(super) fn user() -> Address {
    let key = SigningKey::from_slice(&USER).unwrap();
    Address::from_raw_public_key(&key.verifying_key().to_encoded_point(false).as_bytes()[1..])
}

/// As a wallet signs a hash: 65 bytes.
pub(super) fn signature(hash: B256) -> [u8; 65] {
    let key = SigningKey::from_slice(&USER).unwrap();
    let (signature, parity) = key.sign_prehash_recoverable(hash.as_slice()).unwrap();
    let mut bytes = [0; 65];
    bytes[..64].copy_from_slice(&signature.to_bytes());
    bytes[64] = 27 + parity.to_byte();
    bytes
}

/// The same API, which can ask this endpoint, and the same person, signed in there.
pub(super) async fn asking(api: Api, who: &Person, url: &str, contracts: Contracts) -> (Api, Person) {
    let endpoint = EndpointConfig { max_retries: 0, ..EndpointConfig::new(url) };
    let pool = Rpc::over(transport::open(&endpoint).unwrap(), &endpoint).into();
    let market = Market::new(pool);
    let chain = Chain { chain_id: CHAIN, market, pricing: Pricing::BaseFee, contracts };
    let (roles, keys) = (Roles::of("here:2"), Keys::new(api.db.clone(), "here:2", KeyOptions::default()));
    let services = Services { chains: Chains::new([chain]), ..services(&api.db, keys, roles) };
    let state = ApiState::new(services, ApiOptions::default());
    let api = Api { router: router_with(state.clone(), Router::new()), state, ..api };
    let who = api.session(&api.user_of(who).await, true).await;
    (api, who)
}

pub(super) async fn chained() -> Chained {
    let options = AnvilOptions { mining: Mining::OnDemand, accounts: 3, ..AnvilOptions::default() };
    let anvil = Anvil::start(&options).await.unwrap();
    let deployer = anvil.accounts().await.unwrap()[2];
    let mut deployed = Vec::new();
    for name in ["RequestCounter", "Forwarder"] {
        let data = artifact(name).bytecode.clone();
        let sent = anvil.send(&node::Call { from: deployer, to: None, data }).await.unwrap();
        anvil.mine(1).await.unwrap();
        let receipt = anvil.wait_receipt(sent).await.unwrap();
        deployed.push(receipt["contractAddress"].as_str().unwrap().parse::<Address>().unwrap());
    }
    let (counter, forwarder) = (deployed[0], deployed[1]);
    let (api, admin) = house().await;
    let contracts = [("RequestCounter", counter), ("Forwarder", forwarder)].map(|(name, address)| {
        Contract::new(name, address, admin.tenant_id, 0, Arc::clone(&artifact(name).abi))
    });
    let (api, admin) = asking(api, &admin, anvil.url(), Contracts::new(contracts)).await;
    Chained { anvil, api, admin, counter, forwarder }
}

/// `perform(bytes32)` with nothing in its place.
fn perform() -> Value {
    json!(hex::encode_prefixed([&keccak256("perform(bytes32)")[..4], &[0; 32]].concat()))
}

impl Chained {
    pub(super) fn draft(&self) -> Value {
        json!({ "chain_id": CHAIN, "from": address_text(&user()), "to": address_text(&self.counter), "data": perform() })
    }

    pub(super) async fn prepare(&self, fields: &Value) -> Answer {
        self.api.post(&self.admin, PREPARE, with(self.draft(), fields)).await
    }

    /// The body that hands in what a wallet signed of what was prepared.
    pub(super) fn signed(&self, prepared: &Value) -> Value {
        let raw = raw_of(prepared);
        let mut body = self.admin.body(json!({
            "operation_type": "count", "chain_id": CHAIN, "sender": address_text(&user()), "raw": hex::encode_prefixed(raw),
        }));
        body["request_id"] = prepared["request_id"].clone();
        body
    }
}

/// The payload (EIP-1559) with its signature, by nothing of ours.
pub(super) fn raw_of(prepared: &Value) -> Vec<u8> {
    let payload = hex::decode(prepared["signing_payload"].as_str().unwrap()).unwrap();
    let signature = signature(keccak256(&payload));
    assert_eq!(payload[0], 2, "a transaction with a base fee");
    // Its list's header: of more than 55 bytes, as all of these have.
    let header = usize::from(payload[1] - 0xf7);
    let mut fields = payload[2 + header..].to_vec();
    let integer = |bytes: &[u8]| {
        let bytes: Vec<u8> = bytes.iter().copied().skip_while(|byte| *byte == 0).collect();
        match bytes[..] {
            [] => vec![0x80],
            [one] if one < 0x80 => vec![one],
            _ => [&[0x80 + u8::try_from(bytes.len()).unwrap()], &bytes[..]].concat(),
        }
    };
    fields.extend(integer(&[signature[64] - 27]));
    fields.extend(integer(&signature[..32]));
    fields.extend(integer(&signature[32..64]));
    let length = integer(&fields.len().to_be_bytes());
    let length = if fields.len() < 0x80 { length } else { length[1..].to_vec() };
    [&[2, 0xf7 + u8::try_from(length.len()).unwrap()], &length[..], &fields].concat()
}

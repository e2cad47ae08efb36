//! A chain whose state is known: two accounts, a token, contracts that do one thing each.

use std::time::Duration;

use alloy_dyn_abi::DynSolValue;
use alloy_primitives::{Address, B256, Bytes, U256, address, hex};
use alloy_transport::BoxTransport;
use plimsoll_chain::abi::Contracts;
use plimsoll_chain::probe::{DeclaredFunction, DeclaredProbe, MULTICALL3, Probe, ProbeOptions, Reading};
use plimsoll_chain::transport::{self, FaultHandle, Faulty};
use plimsoll_chain::{EndpointConfig, Pool, Rpc};
use plimsoll_testkit::anvil::{Anvil, AnvilOptions};
use plimsoll_testkit::deploy::artifacts::artifact;
use plimsoll_testkit::deploy::calldata;
use plimsoll_testkit::node::{Call, Node};
use plimsoll_types::Balance;
use serde_json::{Value, json};

/// Gas of a block, and so of a call.
pub(crate) const GAS_LIMIT: u64 = 30_000_000;

/// Returns -5.
pub(crate) const MINUS_FIVE: Address = address!("00000000000000000000000000000000000000a1");
/// Returns its argument, and spends all the gas that it is given where that is 0.
pub(crate) const HOG: Address = address!("00000000000000000000000000000000000000a2");
/// Returns 7 after it has spent a million of gas.
pub(crate) const HEAVY: Address = address!("00000000000000000000000000000000000000a3");
/// Sends what it owns to [`POOR`] whenever it is called, and returns 1.
pub(crate) const THIEF: Address = address!("00000000000000000000000000000000000000a4");
/// Owns nothing.
pub(crate) const POOR: Address = address!("00000000000000000000000000000000000000b1");
/// Owns 5 wei and 50 of the token.
pub(crate) const RICH: Address = address!("00000000000000000000000000000000000000b2");
/// No contract is here.
pub(crate) const EMPTY: Address = address!("00000000000000000000000000000000000000b3");

const CODES: [(Address, &[u8]); 4] = [
    (MINUS_FIVE, &hex!("6004195f5260205ff3")),
    (HOG, &hex!("60043580600b575b6007565b5f5260205ff3")),
    (HEAVY, &hex!("619c405b600190038060035760075f5260205ff3")),
    (THIEF, &hex!("5f5f5f5f477300000000000000000000000000000000000000b15af15060015f5260205ff3")),
];

pub(crate) struct Stage {
    pub(crate) anvil: Anvil,
    pub(crate) token: Address,
}

impl Stage {
    pub(crate) async fn set() -> Self {
        let options = AnvilOptions { gas_limit: Some(GAS_LIMIT), ..AnvilOptions::default() };
        let anvil = Anvil::start(&options).await.unwrap();
        for (contract, code) in CODES {
            anvil.raw("anvil_setCode", json!([contract, Bytes::from(code)])).await.unwrap();
        }
        anvil.raw("anvil_setBalance", json!([RICH, "0x5"])).await.unwrap();
        anvil.raw("anvil_setBalance", json!([THIEF, "0x64"])).await.unwrap();
        let named = DynSolValue::Tuple(vec![
            DynSolValue::String("Test".into()),
            DynSolValue::String("TST".into()),
            DynSolValue::Uint(U256::from(18), 8),
        ]);
        let token = create(&anvil, "MockERC20", &named.abi_encode_params()).await;
        let stage = Self { anvil, token };
        stage.mint(RICH, 50).await;
        stage
    }

    /// Puts a multicall where Multicall3 is on other chains, as of the block that is made with it.
    pub(crate) async fn with_multicall() -> Self {
        let stage = Self::set().await;
        stage.put_multicall().await;
        stage
    }

    pub(crate) async fn put_multicall(&self) {
        let made = create(&self.anvil, "MockMulticall3", &[]).await;
        let code: Bytes = self.anvil.request("eth_getCode", json!([made, "latest"])).await.unwrap();
        self.anvil.raw("anvil_setCode", json!([MULTICALL3, code])).await.unwrap();
        self.anvil.mine(1).await.unwrap();
    }

    /// Gives an account so many of the token, in a block of its own.
    pub(crate) async fn mint(&self, to: Address, value: u64) {
        let arguments = [DynSolValue::Address(to), DynSolValue::Uint(U256::from(value), 256)];
        let data = calldata("MockERC20", "mint", &arguments);
        let from = self.anvil.accounts().await.unwrap()[0];
        self.anvil.execute("mint", &Call { from, to: Some(self.token), data }, true).await.unwrap();
    }

    /// Hash of the newest block.
    pub(crate) async fn head(&self) -> B256 {
        let number = self.anvil.block_number().await.unwrap();
        self.anvil.block_hash(number).await.unwrap().unwrap()
    }

    /// A pool of one endpoint, and what can go wrong with it.
    pub(crate) fn pool(&self) -> (Pool, FaultHandle) {
        let (rpc, faults) = self.endpoint("node", 3, Duration::from_secs(60));
        (Pool::from(rpc), faults)
    }

    pub(crate) fn endpoint(&self, name: &str, max_retries: u32, patience: Duration) -> (Rpc, FaultHandle) {
        let config = EndpointConfig {
            name: Some(name.to_owned()),
            max_retries,
            request_timeout: patience,
            ..EndpointConfig::new(self.anvil.url())
        };
        let (transport, faults) = Faulty::new(transport::open(&config).unwrap());
        (Rpc::over(BoxTransport::new(transport), &config), faults)
    }

    pub(crate) fn options(&self) -> ProbeOptions {
        ProbeOptions::of_chain(AnvilOptions::default().chain_id)
    }

    /// The total supply of the token.
    pub(crate) fn supply(&self) -> Probe {
        call(self.token, "totalSupply()", &[])
    }

    /// What the node itself says at this block, without Plimsoll: accounts' native balances, and then their balances of the token.
    pub(crate) async fn truth(&self, block_hash: B256, accounts: &[Address]) -> Vec<Reading> {
        let mut numbers = Vec::new();
        for account in accounts {
            let at: Value = json!({ "blockHash": block_hash });
            let balance: U256 = self.anvil.request("eth_getBalance", json!([account, at])).await.unwrap();
            numbers.push(balance);
        }
        for account in accounts {
            let data = calldata("MockERC20", "balanceOf", &[DynSolValue::Address(*account)]);
            let word = self.anvil.call(self.token, &data, json!({ "blockHash": block_hash })).await.unwrap();
            numbers.push(U256::from_be_slice(&word));
        }
        numbers.into_iter().map(Reading::from).collect()
    }
}

async fn create(node: &Node, name: &str, arguments: &[u8]) -> Address {
    let from = node.accounts().await.unwrap()[0];
    let data = [&artifact(name).bytecode[..], arguments].concat().into();
    let receipt = node.execute(name, &Call { from, to: None, data }, true).await.unwrap();
    receipt["contractAddress"].as_str().unwrap().parse().unwrap()
}

/// An integer that a contract's function returns.
pub(crate) fn call(contract: Address, function: &str, arguments: &[&str]) -> Probe {
    let declared = DeclaredProbe::Call {
        contract: plimsoll_types::address_text(&contract),
        function: DeclaredFunction::Text(function.to_owned()),
        arguments: arguments.iter().map(ToString::to_string).collect(),
        output: None,
        direct: false,
    };
    declared.check(&Contracts::default()).unwrap()
}

pub(crate) fn unsigned(value: u64) -> Reading {
    Reading::from(U256::from(value))
}

pub(crate) fn signed(value: i64) -> Reading {
    Reading::Signed(Balance::from(value))
}

//! The contracts on a chain: put there, wired, listed, funded.

pub mod artifacts;

use std::collections::BTreeMap;
use std::sync::Arc;

use alloy_dyn_abi::{DynSolValue, FunctionExt, JsonAbiExt};
use alloy_primitives::{Address, B256, Bytes, U256, keccak256};
use plimsoll_types::address_text;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::node::{Call, Node, NodeError};
use artifacts::{Artifact, artifact};

/// The contracts that Plimsoll follows, with the key under which the registry knows each.
pub const MODULES: [(&str, &str); 12] = [
    ("CollateralManager", "COLLATERAL_MANAGER"),
    ("LendingEngineCore", "LENDING_ENGINE"),
    ("LiquidationDebtManager", "LIQUIDATION_DEBT_MANAGER"),
    ("VaultRouter", "VAULT_ROUTER"),
    ("PositionView", "POSITION_VIEW"),
    ("HealthView", "HEALTH_VIEW"),
    ("StatisticsView", "STATISTICS_VIEW"),
    ("ViewCache", "VIEW_CACHE"),
    ("AccessControlView", "ACCESS_CONTROL_VIEW"),
    ("FeeRouterView", "FEE_ROUTER_VIEW"),
    ("ModuleHealthView", "MODULE_HEALTH_VIEW"),
    ("EventHistoryManager", "EVENT_HISTORY_MANAGER"),
];

/// The assets that are listed: symbol, decimals, price with 8 decimals.
pub const ASSETS: [(&str, u8, u64); 3] =
    [("USDC", 6, 100_000_000), ("WETH", 18, 3_000 * 100_000_000), ("WBTC", 8, 60_000 * 100_000_000)];

/// Whole tokens that each user gets, and a thousand times as many the lending engine.
const FUNDS_TOKENS: u64 = 1_000_000;
/// The tenant whose the contracts are.
const TENANT_ID: Uuid = Uuid::from_u128(0x8c1d_2c8e_5b1f_4a55_9f0a_6d4f_31f0_0001);
/// The tenant's name.
const TENANT_NAME: &str = "demo";

/// An asset on the chain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asset {
    /// Symbol.
    pub symbol: String,
    /// The token.
    pub token: Address,
    /// Its price feed.
    pub feed: Address,
    /// Decimals of the token.
    pub decimals: u8,
    /// The price that it was listed at, 8 decimals.
    pub listed_price: u64,
}

/// The contracts, where they are, and who acts on them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deployment {
    /// The chain.
    pub chain_id: u64,
    /// Hash of its block 0: another chain with the same id is another chain.
    pub genesis_hash: B256,
    /// No log is below this block.
    pub start_block: u64,
    /// The last block of the deployment: a reorganisation that keeps it keeps the contracts, their wiring and the funds.
    pub end_block: u64,
    /// Addresses of [`MODULES`] and of `Registry`.
    pub contracts: BTreeMap<String, Address>,
    /// What is listed.
    pub assets: Vec<Asset>,
    /// Owner of the registry.
    pub admin: Address,
    /// A second admin: the account that retries.
    pub keeper: Address,
    /// Funded, with every approval given.
    pub users: Vec<Address>,
}

/// A value of a call.
pub(crate) fn uint(value: impl TryInto<U256, Error: std::fmt::Debug>, bits: usize) -> DynSolValue {
    DynSolValue::Uint(value.try_into().expect("a number that is not negative"), bits)
}

/// `keccak256` of a registry key's text.
pub(crate) fn key_hash(key: &str) -> DynSolValue {
    DynSolValue::FixedBytes(keccak256(key), 32)
}

/// Calldata of a contract's function.
///
/// # Panics
///
/// When the contract has no such function, or it takes other values: both are constants of this crate.
#[must_use]
pub fn calldata(contract: &str, function: &str, arguments: &[DynSolValue]) -> Bytes {
    let functions = artifact(contract).abi.function(function);
    let function = functions.and_then(|overloads| overloads.first());
    let function = function.unwrap_or_else(|| panic!("{contract} has no such function"));
    function
        .abi_encode_input(&fitted(&function.inputs, arguments))
        .unwrap_or_else(|error| panic!("{contract}.{}: {error}", function.name))
        .into()
}

/// What a contract's function returned.
pub fn decode_output(contract: &str, function: &str, output: &Bytes) -> Result<Vec<DynSolValue>, NodeError> {
    let malformed = |reason: String| NodeError::Malformed {
        method: format!("{contract}.{function}"),
        reason,
        answer: output.to_string(),
    };
    let functions = artifact(contract).abi.function(function);
    let function = functions
        .and_then(|overloads| overloads.first())
        .ok_or_else(|| malformed("no such function".into()))?;
    function.abi_decode_output(output).map_err(|error| malformed(error.to_string()))
}

/// The arguments with integers as wide as the parameters are: here a number has a value, its width is the contract's business.
fn fitted(parameters: &[alloy_json_abi::Param], arguments: &[DynSolValue]) -> Vec<DynSolValue> {
    let width = |kind: &str| kind.strip_prefix("uint").and_then(|bits| bits.parse().ok());
    let fit = |(i, argument): (usize, &DynSolValue)| match argument {
        DynSolValue::Uint(value, bits) => DynSolValue::Uint(
            *value,
            parameters.get(i).and_then(|parameter| width(&parameter.ty)).unwrap_or(*bits),
        ),
        other => other.clone(),
    };
    arguments.iter().enumerate().map(fit).collect()
}

/// Creation code with its arguments.
fn creation(artifact: &Artifact, arguments: &[DynSolValue]) -> Bytes {
    let mut code = artifact.bytecode.to_vec();
    if let Some(constructor) = &artifact.abi.constructor {
        code.extend(
            constructor
                .abi_encode_input(&fitted(&constructor.inputs, arguments))
                .expect("the constructor takes these"),
        );
    }
    code.into()
}

/// Sends transactions one after another and remembers them.
struct Sender<'a> {
    node: &'a Node,
    mines: bool,
    sent: Vec<(String, B256)>,
    nonces: BTreeMap<Address, u64>,
}

impl Sender<'_> {
    async fn send(&mut self, what: String, call: Call) -> Result<(), NodeError> {
        *self.nonces.entry(call.from).or_default() += 1;
        let tx_hash = self.node.send(&call).await?;
        self.sent.push((what, tx_hash));
        Ok(())
    }

    /// Sends a contract's creation and returns the address that it will have.
    async fn create(
        &mut self,
        from: Address,
        name: &str,
        arguments: &[DynSolValue],
    ) -> Result<Address, NodeError> {
        let nonce = match self.nonces.get(&from) {
            Some(nonce) => *nonce,
            None => self.node.quantity("eth_getTransactionCount", json!([from, "pending"])).await?,
        };
        self.nonces.insert(from, nonce);
        let call = Call { from, to: None, data: creation(artifact(name), arguments) };
        self.send(format!("creation of {name}"), call).await?;
        Ok(created_address(from, nonce))
    }

    /// Waits until everything that was sent is in blocks, and checks that it succeeded.
    async fn settle(&mut self) -> Result<(), NodeError> {
        for (what, tx_hash) in std::mem::take(&mut self.sent) {
            let receipt = loop {
                // A block may not have room for all: mine while something is left.
                match self.node.receipt(tx_hash).await? {
                    Some(receipt) => break receipt,
                    None if self.mines => self.node.mine(1).await?,
                    None => break self.node.wait_receipt(tx_hash).await?,
                }
            };
            if receipt["status"] != "0x1" {
                return Err(NodeError::Reverted { what, tx_hash });
            }
        }
        Ok(())
    }
}

impl Deployment {
    /// Puts the contracts on the node's chain, wires them, lists the assets and funds the node's accounts from the third on.
    ///
    /// `mines` says that blocks are only made when asked for.
    pub async fn deploy(node: &Node, mines: bool) -> Result<Self, NodeError> {
        let accounts = node.accounts().await?;
        let [admin, keeper, users @ ..] = accounts.as_slice() else {
            return Err(NodeError::Malformed {
                method: "eth_accounts".into(),
                reason: "an admin, a keeper and at least one user are needed".into(),
                answer: format!("{} accounts", accounts.len()),
            });
        };
        let (admin, keeper) = (*admin, *keeper);
        let start_block = node.block_number().await? + 1;
        let mut sender = Sender { node, mines, sent: Vec::new(), nonces: BTreeMap::new() };

        let registry = sender.create(admin, "Registry", &[]).await?;
        let mut contracts = BTreeMap::from([("Registry".to_owned(), registry)]);
        for (name, _) in MODULES {
            contracts
                .insert(name.into(), sender.create(admin, name, &[DynSolValue::Address(registry)]).await?);
        }
        let mut assets = Vec::new();
        for (symbol, decimals, price) in ASSETS {
            let named = [
                DynSolValue::String(format!("Test {symbol}")),
                DynSolValue::String(symbol.into()),
                uint(u64::from(decimals), 8),
            ];
            let token = sender.create(admin, "MockERC20", &named).await?;
            let feed = sender.create(admin, "MockPriceFeed", &[uint(price, 256)]).await?;
            assets.push(Asset { symbol: symbol.into(), token, feed, decimals, listed_price: price });
        }
        let genesis_hash = node.block_hash(0).await?.unwrap_or_default();
        let mut deployment = Self {
            chain_id: node.chain_id().await?,
            genesis_hash,
            start_block,
            end_block: start_block,
            contracts,
            assets,
            admin,
            keeper,
            users: users.to_vec(),
        };
        sender.settle().await?;
        for (what, call) in deployment.wiring() {
            sender.send(what, call).await?;
        }
        sender.settle().await?;
        for (what, call) in deployment.funding() {
            sender.send(what, call).await?;
        }
        sender.settle().await?;
        deployment.end_block = node.block_number().await?;
        Ok(deployment)
    }

    fn wiring(&self) -> Vec<(String, Call)> {
        let admin = self.admin;
        let mut calls =
            vec![self.named(admin, "Registry", "setAdmin", &[address(self.keeper), DynSolValue::Bool(true)])];
        for (name, key) in MODULES {
            calls.push(self.named(
                admin,
                "Registry",
                "setModule",
                &[key_hash(key), address(self.address(name))],
            ));
        }
        for asset in &self.assets {
            let listed = [address(asset.token), address(asset.feed)];
            calls.push(self.named(admin, "LendingEngineCore", "listAsset", &listed));
        }
        for cached in ["VaultRouter", "PositionView"] {
            calls.push(self.named(admin, cached, "refreshModuleCache", &[]));
        }
        calls
    }

    fn funding(&self) -> Vec<(String, Call)> {
        let (manager, engine) = (self.address("CollateralManager"), self.address("LendingEngineCore"));
        let mut calls = Vec::new();
        for asset in &self.assets {
            let funds = U256::from(FUNDS_TOKENS) * unit(asset.decimals);
            let token = |from: Address, function: &str, arguments: &[DynSolValue]| {
                let data = calldata("MockERC20", function, arguments);
                (format!("{} {function}", asset.symbol), Call { from, to: Some(asset.token), data })
            };
            let liquidity = funds * U256::from(1_000_u64);
            calls.push(token(self.admin, "mint", &[address(engine), DynSolValue::Uint(liquidity, 256)]));
            for user in &self.users {
                calls.push(token(self.admin, "mint", &[address(*user), DynSolValue::Uint(funds, 256)]));
                for spender in [manager, engine] {
                    calls.push(token(
                        *user,
                        "approve",
                        &[address(spender), DynSolValue::Uint(U256::MAX, 256)],
                    ));
                }
            }
        }
        calls
    }

    fn named(
        &self,
        from: Address,
        contract: &str,
        function: &str,
        arguments: &[DynSolValue],
    ) -> (String, Call) {
        (format!("{contract}.{function}"), self.call(from, contract, function, arguments))
    }

    /// The address of a contract.
    ///
    /// # Panics
    ///
    /// When it is not one of this deployment.
    #[must_use]
    pub fn address(&self, contract: &str) -> Address {
        *self.contracts.get(contract).unwrap_or_else(|| panic!("{contract} is not deployed"))
    }

    /// A transaction that calls a contract's function.
    #[must_use]
    pub fn call(&self, from: Address, contract: &str, function: &str, arguments: &[DynSolValue]) -> Call {
        Call { from, to: Some(self.address(contract)), data: calldata(contract, function, arguments) }
    }

    /// What a contract's getter answers at a block (a number in hexadecimal, a tag, `{"blockHash": …}`).
    pub async fn read(
        &self,
        node: &Node,
        contract: &str,
        function: &str,
        arguments: &[DynSolValue],
        at: Value,
    ) -> Result<Vec<DynSolValue>, NodeError> {
        let output = node.call(self.address(contract), &calldata(contract, function, arguments), at).await?;
        decode_output(contract, function, &output)
    }

    /// The addresses that Plimsoll follows.
    #[must_use]
    pub fn followed(&self) -> Vec<Address> {
        MODULES
            .iter()
            .map(|(name, _)| self.address(name))
            .filter(|address| self.has_events(address))
            .collect()
    }

    /// A contract without events, such as the collateral manager, has nothing to follow.
    fn has_events(&self, address: &Address) -> bool {
        self.contracts.iter().any(|(name, at)| at == address && artifact(name).abi.events().next().is_some())
    }

    /// The contracts that Plimsoll follows: name, address, ABI.
    pub fn manifest(&self) -> impl Iterator<Item = (&'static str, Address, Arc<alloy_json_abi::JsonAbi>)> {
        MODULES
            .iter()
            .map(|(name, _)| (*name, self.address(name), artifact(name).abi.clone()))
            .filter(|(_, address, _)| self.has_events(address))
    }

    /// The tenant whose the contracts are.
    #[must_use]
    pub fn tenant_id(&self) -> Uuid {
        TENANT_ID
    }

    /// The tables `[[tenant]]` and `[[chain]]` of a configuration that follows this deployment; the ABI files are `abi/<name>.json`.
    #[must_use]
    pub fn chain_toml(
        &self,
        rpc: &str,
        confirmations: u64,
        finality_depth: u64,
        poll_interval_ms: u64,
    ) -> String {
        let mut text = format!(
            "[[tenant]]\nid = \"{TENANT_ID}\"\nname = \"{TENANT_NAME}\"\n\n\
             [[chain]]\nchain_id = {}\nname = \"anvil\"\nrpc = \"{rpc}\"\nconfirmations = {confirmations}\n\
             finality_depth = {finality_depth}\npoll_interval_ms = {poll_interval_ms}\nwatched_senders = [\"{}\"]\n",
            self.chain_id,
            address_text(&self.keeper),
        );
        for (name, address, _) in self.manifest() {
            text.push_str(&format!(
                "\n[[chain.contract]]\nname = \"{name}\"\naddress = \"{}\"\nabi = \"abi/{name}.json\"\nstart_block = {}\n\
                 tenant = \"{TENANT_NAME}\"\n",
                address_text(&address),
                self.start_block,
            ));
        }
        text
    }

    /// Writes the ABI files that [`Deployment::chain_toml`] names.
    pub fn write_abis(&self, directory: &std::path::Path) -> std::io::Result<()> {
        let directory = directory.join("abi");
        std::fs::create_dir_all(&directory)?;
        for (name, _, abi) in self.manifest() {
            let text = serde_json::to_string_pretty(&*abi).map_err(std::io::Error::other)?;
            std::fs::write(directory.join(format!("{name}.json")), text)?;
        }
        Ok(())
    }
}

/// An address as a value of a call.
pub(crate) fn address(address: Address) -> DynSolValue {
    DynSolValue::Address(address)
}

/// The address of what an account creates with this nonce: the hash of both in RLP.
fn created_address(from: Address, nonce: u64) -> Address {
    let bytes = nonce.to_be_bytes();
    let digits = &bytes[nonce.leading_zeros() as usize / 8..];
    let mut list = vec![0x80 + 20];
    list.extend_from_slice(from.as_slice());
    match digits {
        [small] if *small < 0x80 => list.push(*small),
        digits => {
            list.push(0x80 + u8::try_from(digits.len()).expect("at most eight"));
            list.extend_from_slice(digits);
        }
    }
    list.insert(0, 0xc0 + u8::try_from(list.len()).expect("at most thirty"));
    Address::from_word(keccak256(list))
}

/// One whole token.
pub(crate) fn unit(decimals: u8) -> U256 {
    U256::from(10).pow(U256::from(decimals))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::anvil::{Anvil, AnvilOptions};

    #[tokio::test]
    async fn a_deployment_is_wired_and_a_deposit_reaches_the_position_view() {
        let anvil = Anvil::start(&AnvilOptions::default()).await.unwrap();
        let deployment = Deployment::deploy(&anvil, true).await.unwrap();
        let (user, asset) = (deployment.users[0], &deployment.assets[0]);
        let arguments = [
            address(asset.token),
            uint(5_000_000_u64, 256),
            DynSolValue::FixedBytes(B256::ZERO, 32),
            uint(1_u64, 64),
        ];
        let deposit = deployment.call(user, "CollateralManager", "deposit", &arguments);
        anvil.execute("deposit", &deposit, true).await.unwrap();
        let key = [address(user), address(asset.token)];
        let position = deployment
            .read(&anvil, "PositionView", "getUserPositionWithVersion", &key, json!("latest"))
            .await
            .unwrap();
        assert_eq!(position, [uint(5_000_000_u64, 256), uint(0_u64, 256), uint(1_u64, 64)]);
    }
}

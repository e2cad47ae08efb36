//! The contracts on a chain: put there, wired, listed, funded.

pub mod artifacts;
mod calls;
mod configuration;
mod put;
mod sender;

use std::collections::BTreeMap;
use std::sync::Arc;

use alloy_dyn_abi::DynSolValue;
use alloy_primitives::{Address, B256};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::node::{Call, Node, NodeError};
use artifacts::artifact;
pub(crate) use calls::{address, key_hash, uint};
pub use calls::{calldata, decode_output};

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

impl Deployment {
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
}

#[cfg(test)]
mod tests {
    use serde_json::json;

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

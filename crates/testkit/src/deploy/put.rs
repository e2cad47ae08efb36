//! Putting the contracts on a chain: created, wired, listed, funded.

use std::collections::BTreeMap;

use alloy_dyn_abi::DynSolValue;
use alloy_primitives::{Address, U256};

use super::calls::{address, calldata, key_hash, uint, unit};
use super::sender::Sender;
use super::{ASSETS, Asset, Deployment, MODULES};
use crate::node::{Call, Node, NodeError};

/// Whole tokens that each user gets, and a thousand times as many the lending engine.
const FUNDS_TOKENS: u64 = 1_000_000;

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
        let mut sender = Sender::new(node, mines);

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
}

//! Traffic as a protocol sees it, made from a seed.
//!
//! [`Traffic`] is pure: it keeps its own book of positions and answers with the next step's transactions, so that one seed
//! gives one sequence. [`drive`] sends them and reorganises the chain now and then.
//!
//! The first steps are a tour through every scenario, so that a short run has seen every event of spec 1 §5.4; what
//! follows is drawn by weight. A scenario that breaks something (a view paused, a module missing, a cache expired) mends it
//! again at its end, and the keeper retries what failed in between.

mod book;
pub mod drive;
mod scenario;

use std::sync::Arc;

use alloy_dyn_abi::DynSolValue;
use alloy_primitives::{Address, B256, U256};
use plimsoll_types::RequestId;
use rand::rngs::Xoshiro256PlusPlus;
use rand::{Rng as _, RngExt as _, SeedableRng as _};
use uuid::Uuid;

use crate::deploy::{Deployment, address, key_hash, uint};
use crate::node::Call;
use book::Book;
pub use scenario::Scenario;

/// A module cache is trusted for so long once it is mended; the contracts' own default.
const CACHE_TTL_SECONDS: u64 = 90 * 24 * 60 * 60;

/// Transactions that belong together, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// What they are about.
    pub scenario: Scenario,
    /// The transactions. Some are meant to revert.
    pub calls: Vec<Call>,
}

/// The source of traffic.
#[derive(Clone, Debug)]
pub struct Traffic {
    deployment: Arc<Deployment>,
    rng: Xoshiro256PlusPlus,
    book: Book,
    steps: usize,
}

impl Traffic {
    /// Traffic from a seed, against contracts in which no user has a position yet.
    #[must_use]
    pub fn new(deployment: Arc<Deployment>, seed: u64) -> Self {
        let prices = deployment.assets.iter().map(|asset| asset.listed_price).collect();
        let book = Book::new(deployment.users.len(), prices);
        Self { deployment, rng: Xoshiro256PlusPlus::seed_from_u64(seed), book, steps: 0 }
    }

    /// What the traffic runs against.
    #[must_use]
    pub fn deployment(&self) -> &Arc<Deployment> {
        &self.deployment
    }

    /// The next step.
    pub fn next_step(&mut self) -> Step {
        let scenario = match Scenario::TOUR.get(self.steps) {
            Some(scenario) => *scenario,
            None => Scenario::draw(&mut self.rng),
        };
        self.steps += 1;
        self.step(scenario)
    }

    /// Whether the tour is over: every scenario was there once.
    #[must_use]
    pub fn tour_is_over(&self) -> bool {
        self.steps >= Scenario::TOUR.len()
    }

    /// A step of this scenario.
    pub fn step(&mut self, scenario: Scenario) -> Step {
        Step { scenario, calls: self.play(scenario) }
    }

    /// Takes everything that may be broken back to working order, whatever is; for after a reorganisation, which may have
    /// taken one half of a scenario away.
    #[must_use]
    pub fn mend(&self) -> Vec<Call> {
        let mut calls = vec![
            self.admin("PositionView", "setPaused", &[DynSolValue::Bool(false)]),
            self.admin("HealthView", "setPaused", &[DynSolValue::Bool(false)]),
        ];
        for (contract, key) in [("PositionView", "POSITION_VIEW"), ("HealthView", "HEALTH_VIEW")] {
            calls.push(self.set_module(key, self.deployment.address(contract)));
        }
        for contract in ["VaultRouter", "PositionView"] {
            calls.push(self.admin(contract, "setModuleCacheTtl", &[uint(CACHE_TTL_SECONDS, 64)]));
            calls.push(self.admin(contract, "refreshModuleCache", &[]));
        }
        calls.extend(
            (0..self.deployment.assets.len()).map(|asset| self.set_price(asset, self.book.prices[asset])),
        );
        calls
    }

    /// Forgets what the book believes about a position in favour of what the chain says.
    pub(crate) fn correct(&mut self, user: usize, asset: usize, collateral: u128, debt: u128, seq: u64) {
        let position = self.book.position(user, asset);
        (position.collateral, position.debt) = (collateral, debt);
        position.seq = position.seq.max(seq);
    }

    fn admin(&self, contract: &str, function: &str, arguments: &[DynSolValue]) -> Call {
        self.deployment.call(self.deployment.admin, contract, function, arguments)
    }

    fn keeper(&self, contract: &str, function: &str, arguments: &[DynSolValue]) -> Call {
        self.deployment.call(self.deployment.keeper, contract, function, arguments)
    }

    fn set_module(&self, key: &str, module: Address) -> Call {
        self.admin("Registry", "setModule", &[key_hash(key), address(module)])
    }

    fn set_price(&self, asset: usize, price: u64) -> Call {
        let feed = self.deployment.assets[asset].feed;
        let data = crate::deploy::calldata("MockPriceFeed", "setPrice", &[uint(price, 256)]);
        Call { from: self.deployment.admin, to: Some(feed), data }
    }

    fn user(&mut self) -> usize {
        self.rng.random_range(0..self.deployment.users.len())
    }

    fn asset(&mut self) -> usize {
        self.rng.random_range(0..self.deployment.assets.len())
    }

    /// Mostly a UUID as Plimsoll puts one on chain, sometimes bytes of somebody else's making, sometimes none.
    fn request_id(&mut self) -> B256 {
        let mut bytes = [0; 32];
        self.rng.fill_bytes(&mut bytes);
        match self.rng.random_range(0..10) {
            0 => B256::ZERO,
            1 => B256::new(bytes),
            _ => {
                let mut half = [0; 16];
                half.copy_from_slice(&bytes[..16]);
                RequestId::from_uuid(uuid::Builder::from_random_bytes(half).into_uuid()).to_chain()
            }
        }
    }

    /// A request id that is certainly there.
    fn some_request_id(&mut self) -> B256 {
        RequestId::from_uuid(Uuid::from_u128(self.rng.random::<u128>() | 1)).to_chain()
    }

    /// A whole number of hundredths of a token, up to `tokens` tokens.
    fn amount(&mut self, asset: usize, tokens: u64) -> u128 {
        let hundredths = self.rng.random_range(1..=u128::from(tokens) * 100);
        hundredths * self.unit(asset) / 100
    }

    fn unit(&self, asset: usize) -> u128 {
        10_u128.pow(u32::from(self.deployment.assets[asset].decimals))
    }
}

fn amount_value(amount: u128) -> DynSolValue {
    DynSolValue::Uint(U256::from(amount), 256)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::anvil::{Anvil, AnvilOptions};
    use crate::deploy::artifacts::EVENTS_JSON;
    use alloy_primitives::keccak256;
    use std::collections::BTreeSet;

    #[tokio::test]
    async fn one_seed_gives_one_sequence_and_the_tour_emits_every_event_of_the_table() {
        let anvil = Anvil::start(&AnvilOptions::default()).await.unwrap();
        let deployment = Arc::new(Deployment::deploy(&anvil, true).await.unwrap());
        let mut traffic = Traffic::new(deployment.clone(), 7);
        let mut again = Traffic::new(deployment.clone(), 7);
        while !traffic.tour_is_over() {
            let step = traffic.next_step();
            assert_eq!(step, again.next_step());
            for call in &step.calls {
                anvil.send(call).await.unwrap();
            }
            anvil.mine(1).await.unwrap();
        }
        let truth = crate::truth::read(&anvil, &deployment.followed(), 0).await.unwrap();
        let seen: BTreeSet<(Address, B256)> =
            truth.events.iter().map(|event| (event.address, event.topics[0])).collect();
        let table: Vec<serde_json::Value> = serde_json::from_str(EVENTS_JSON).unwrap();
        let missing: Vec<String> = table
            .iter()
            .filter(|row| {
                let contract = deployment.address(row["contract"].as_str().unwrap());
                !seen.contains(&(contract, keccak256(row["signature"].as_str().unwrap())))
            })
            .map(|row| format!("{}.{}", row["contract"], row["event"]))
            .collect();
        assert!(missing.is_empty(), "no such event: {missing:?}");

        // The book agrees with the chain: the scenarios do what they say.
        for (user, who) in deployment.users.iter().enumerate() {
            for (asset, what) in deployment.assets.iter().enumerate() {
                let key = [address(*who), address(what.token)];
                let at = serde_json::json!("latest");
                let debt =
                    deployment.read(&anvil, "LendingEngineCore", "getDebt", &key, at.clone()).await.unwrap();
                let collateral =
                    deployment.read(&anvil, "CollateralManager", "getCollateral", &key, at).await.unwrap();
                let position = traffic.book.position(user, asset);
                assert_eq!(
                    (collateral, debt),
                    (vec![amount_value(position.collateral)], vec![amount_value(position.debt)]),
                    "user {user}, {}",
                    what.symbol
                );
            }
        }
    }
}

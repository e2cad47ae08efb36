//! What the business does: transactions whose logs follow from the state of the branch that they are on.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use alloy_dyn_abi::DynSolValue;
use alloy_primitives::{Address, B256, Bytes, U256};
use plimsoll_chain::abi::{Contract, Contracts};
use uuid::Uuid;

use crate::deploy::MODULES;
use crate::deploy::artifacts::artifact;
use crate::model::{LogDraft, TxDraft};

/// The followed contracts, from the genesis block on. Their ABIs are read once.
pub(super) static SHAPES: LazyLock<Contracts> = LazyLock::new(|| {
    Contracts::new(MODULES.iter().map(|(name, _)| {
        let abi = Arc::clone(&artifact(name).abi);
        Contract::new(name, address_of(name), Uuid::from_u128(1), 0, abi)
    }))
});

/// The followed contracts, from this block on.
#[must_use]
pub fn contracts(start_block: u64) -> Contracts {
    Contracts::new(SHAPES.iter().cloned().map(|mut contract| {
        contract.start_block = start_block;
        contract
    }))
}

/// Where a contract is.
///
/// # Panics
///
/// When there is no such contract.
#[must_use]
pub fn address_of(contract: &str) -> Address {
    let at = MODULES.iter().position(|(name, _)| *name == contract).expect("one of the modules");
    Address::with_last_byte(0xc0 + u8::try_from(at).expect("there are a dozen"))
}

/// The address of a user, who is also a sender of transactions.
#[must_use]
pub fn user(n: u8) -> Address {
    Address::repeat_byte(0x10 + n)
}

/// The address of an asset.
#[must_use]
pub fn asset(n: u8) -> Address {
    Address::repeat_byte(0xa0 + n)
}

fn uint(value: u64) -> DynSolValue {
    DynSolValue::Uint(U256::from(value), 256)
}

/// A log of a contract's event, encoded by the contract's own ABI.
///
/// # Panics
///
/// When the ABI has no such event, or its parameters are others.
#[must_use]
pub fn log(contract: &str, event: &str, values: Vec<DynSolValue>) -> LogDraft {
    let contract = SHAPES.get(&address_of(contract)).expect("a followed contract");
    let event =
        contract.abi.event(event).and_then(|overloads| overloads.first()).expect("an event of its ABI");
    assert_eq!(event.inputs.len(), values.len(), "{}", event.signature());
    let mut topics = vec![event.selector()];
    let mut body = Vec::new();
    for (input, value) in event.inputs.iter().zip(values) {
        if input.indexed {
            topics.push(value.as_word().expect("the indexed parameters are words"));
        } else {
            body.push(value);
        }
    }
    let data = DynSolValue::Tuple(body).abi_encode_params().into();
    LogDraft { address: contract.address, topics, data }
}

/// What a transaction does.
#[derive(Clone, Copy, Debug)]
pub enum Deed {
    /// The position view keeps a new version.
    Cache {
        /// Of whom.
        user: u8,
        /// Of what.
        asset: u8,
        /// The debt; ten times as much is the collateral.
        amount: u8,
    },
    /// The router pushes, and the position view keeps a new version.
    Push {
        /// Of whom.
        user: u8,
        /// Of what.
        asset: u8,
        /// As with [`Deed::Cache`].
        amount: u8,
    },
    /// A push fails; the business goes on.
    PushFails {
        /// Of whom.
        user: u8,
        /// Of what.
        asset: u8,
    },
    /// A request that was applied already.
    Replay {
        /// Of whom.
        user: u8,
        /// Of what.
        asset: u8,
    },
    /// A health factor is pushed.
    Health {
        /// Of whom.
        user: u8,
        /// The factor.
        factor: u8,
    },
    /// An asset's statistics are pushed.
    AssetStats {
        /// Of what.
        asset: u8,
        /// Its price.
        price: u8,
    },
    /// A history record.
    History {
        /// Of whom.
        user: u8,
        /// Of what.
        asset: u8,
    },
    /// Data of the fee router.
    Fee {
        /// Of whom.
        user: u8,
    },
    /// A log of a followed contract that no ABI knows.
    Unknown {
        /// What tells it from others.
        topic: u8,
    },
    /// A log of a followed contract without a topic.
    Anonymous,
    /// A log of a contract that is not followed.
    Elsewhere,
}

/// A transaction, before it is known on which branch.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Which [`user`] sends it.
    pub sender: u8,
    /// False: it reverts.
    pub succeeds: bool,
    /// What it does.
    pub deeds: Vec<Deed>,
}

/// A position as the position view keeps it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Position {
    /// Collateral.
    pub collateral: u64,
    /// Debt.
    pub debt: u64,
    /// How often it was cached.
    pub version: u64,
    /// The block that cached it last.
    pub block_number: u64,
}

/// The contracts' state after a block.
#[derive(Clone, Debug, Default)]
pub(super) struct State {
    pub(super) positions: BTreeMap<(Address, Address), Position>,
    pushes: u64,
    nonces: BTreeMap<u8, u64>,
}

impl State {
    /// The transaction that the plan becomes in a block at this height.
    pub(super) fn run(&mut self, number: u64, plan: &Plan) -> TxDraft {
        let nonce = self.nonces.entry(plan.sender).or_default();
        let mut draft = TxDraft::with_logs(user(plan.sender), address_of("VaultRouter"), *nonce, Vec::new());
        *nonce += 1;
        draft.input = Bytes::from(format!("{plan:?}").into_bytes());
        draft.succeeded = plan.succeeds;
        if plan.succeeds {
            draft.logs = plan.deeds.iter().flat_map(|deed| self.act(number, *deed)).collect();
        }
        draft
    }

    fn cache(&mut self, block_number: u64, who: u8, what: u8, amount: u8) -> LogDraft {
        let position = self.positions.entry((user(who), asset(what))).or_default();
        let (collateral, debt) = (u64::from(amount) * 10, u64::from(amount));
        *position = Position { collateral, debt, version: position.version + 1, block_number };
        let version = uint(position.version);
        let values = [user(who).into(), asset(what).into(), uint(collateral), uint(debt), version, uint(7)];
        log("PositionView", "UserPositionCachedV2", values.to_vec())
    }

    fn act(&mut self, number: u64, deed: Deed) -> Vec<LogDraft> {
        let request = |seq: u64| DynSolValue::FixedBytes(B256::with_last_byte(seq.to_be_bytes()[7]), 32);
        let one = match deed {
            Deed::Cache { user, asset, amount } => self.cache(number, user, asset, amount),
            Deed::Push { user: who, asset: what, amount } => {
                self.pushes += 1;
                let amounts = [uint(u64::from(amount) * 10), uint(amount.into()), uint(7)];
                let keys = [user(who).into(), asset(what).into()];
                let trace = [request(self.pushes), uint(self.pushes)];
                let values = [&keys[..], &amounts, &trace].concat();
                let cached = self.cache(number, who, what, amount);
                return vec![cached, log("VaultRouter", "UserPositionPushed", values)];
            }
            Deed::PushFails { user: who, asset: what } => {
                let view = address_of("PositionView").into();
                let reason = DynSolValue::Bytes(vec![1, 2, 3]);
                let values = [user(who).into(), asset(what).into(), view, uint(1), uint(2), reason];
                log("LendingEngineCore", "CacheUpdateFailed", values.to_vec())
            }
            Deed::Replay { user: who, asset: what } => {
                let seq = self.pushes;
                let values = [user(who).into(), asset(what).into(), request(seq), uint(seq)];
                log("PositionView", "IdempotentRequestIgnored", values.to_vec())
            }
            Deed::Health { user: who, factor } => {
                log("HealthView", "HealthFactorCached", vec![user(who).into(), uint(factor.into()), uint(7)])
            }
            Deed::AssetStats { asset: what, price } => {
                self.pushes += 1;
                let amounts = [uint(1), uint(2), uint(price.into()), uint(7)];
                let values = [asset(what).into()].into_iter().chain(amounts);
                let values = values.chain([request(self.pushes), uint(self.pushes)]);
                log("VaultRouter", "AssetStatsPushed", values.collect())
            }
            Deed::History { user: who, asset: what } => {
                let kind = DynSolValue::FixedBytes(B256::repeat_byte(1), 32);
                let extra = DynSolValue::Bytes(vec![9]);
                let values = [kind, user(who).into(), asset(what).into(), uint(5), extra, uint(7)];
                log("EventHistoryManager", "HistoryRecorded", values.to_vec())
            }
            Deed::Fee { user: who } => {
                let values = [user(who).into(), DynSolValue::String("fees".into()), uint(7)];
                log("FeeRouterView", "UserDataPushed", values.to_vec())
            }
            Deed::Unknown { topic } => LogDraft {
                address: address_of("StatisticsView"),
                topics: vec![B256::repeat_byte(0xee), B256::with_last_byte(topic)],
                data: vec![topic].into(),
            },
            Deed::Anonymous => {
                LogDraft { address: address_of("ViewCache"), topics: Vec::new(), data: vec![1].into() }
            }
            Deed::Elsewhere => LogDraft {
                address: Address::repeat_byte(0xdd),
                topics: vec![B256::repeat_byte(1)],
                data: Bytes::new(),
            },
        };
        vec![one]
    }
}

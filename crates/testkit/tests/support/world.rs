//! A lending business on a model chain: transactions whose logs follow from the state of the branch that they are on.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, LazyLock};

use alloy_dyn_abi::DynSolValue;
use alloy_primitives::{Address, B256, Bytes, U256, keccak256};
use plimsoll_chain::abi::{Contract, Contracts};
use plimsoll_testkit::deploy::MODULES;
use plimsoll_testkit::deploy::artifacts::artifact;
use plimsoll_testkit::model::{LogDraft, ModelChain, TxDraft};
use plimsoll_testkit::truth::TruthEvent;
use uuid::Uuid;

use super::follower::Standing;

static SHAPES: LazyLock<Contracts> = LazyLock::new(|| contracts(0));

/// The followed contracts, from this block on.
pub fn contracts(start_block: u64) -> Contracts {
    Contracts::new(MODULES.iter().map(|(name, _)| {
        let abi = Arc::clone(&artifact(name).abi);
        Contract::new(name, address_of(name), Uuid::from_u128(1), start_block, abi)
    }))
}

pub fn address_of(contract: &str) -> Address {
    let at = MODULES.iter().position(|(name, _)| *name == contract).unwrap();
    Address::with_last_byte(0xc0 + u8::try_from(at).unwrap())
}

pub fn user(n: u8) -> Address {
    Address::repeat_byte(0x10 + n)
}

pub fn asset(n: u8) -> Address {
    Address::repeat_byte(0xa0 + n)
}

fn uint(value: u64) -> DynSolValue {
    DynSolValue::Uint(U256::from(value), 256)
}

/// A log of a contract's event, encoded by the contract's own ABI.
pub fn log(contract: &str, event: &str, values: Vec<DynSolValue>) -> LogDraft {
    let contract = SHAPES.get(&address_of(contract)).unwrap();
    let event = contract.abi.event(event).unwrap().first().unwrap();
    assert_eq!(event.inputs.len(), values.len(), "{}", event.signature());
    let mut topics = vec![event.selector()];
    let mut body = Vec::new();
    for (input, value) in event.inputs.iter().zip(values) {
        if input.indexed {
            topics.push(value.as_word().unwrap());
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
        user: u8,
        asset: u8,
        amount: u8,
    },
    /// The router pushes, and the position view keeps a new version.
    Push {
        user: u8,
        asset: u8,
        amount: u8,
    },
    /// A push fails; the business goes on.
    PushFails {
        user: u8,
        asset: u8,
    },
    /// A request that was applied already.
    Replay {
        user: u8,
        asset: u8,
    },
    Health {
        user: u8,
        factor: u8,
    },
    AssetStats {
        asset: u8,
        price: u8,
    },
    History {
        user: u8,
        asset: u8,
    },
    Fee {
        user: u8,
    },
    /// A log of a followed contract that no ABI knows.
    Unknown {
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
    pub sender: u8,
    pub succeeds: bool,
    pub deeds: Vec<Deed>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Position {
    pub collateral: u64,
    pub debt: u64,
    pub version: u64,
    /// The block that cached it last.
    pub block_number: u64,
}

/// The contracts' state after a block.
#[derive(Clone, Debug, Default)]
struct State {
    positions: BTreeMap<(Address, Address), Position>,
    pushes: u64,
    nonces: BTreeMap<u8, u64>,
}

impl State {
    fn run(&mut self, number: u64, plan: &Plan) -> TxDraft {
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

/// A transaction of a watched sender: block, index, sender, nonce, whether it succeeded.
pub type Inclusion = (u64, B256, u32, Address, u64, bool);

/// The chain, with what is true after each of its blocks.
pub struct World {
    pub chain: ModelChain,
    states: HashMap<B256, Arc<State>>,
    plans: HashMap<B256, Vec<Plan>>,
    drafts: HashMap<B256, Vec<TxDraft>>,
    next_salt: u64,
    /// No branch that this block is not on is ever switched to.
    pub final_block: B256,
    finality_depth: u64,
    lag_blocks: u64,
}

impl World {
    pub fn new(chain_id: u64, finality_depth: u64) -> Self {
        let chain = ModelChain::new(chain_id, finality_depth);
        let genesis = chain.tip();
        Self {
            states: HashMap::from([(genesis, Arc::default())]),
            plans: HashMap::new(),
            drafts: HashMap::new(),
            next_salt: 1,
            final_block: genesis,
            finality_depth,
            lag_blocks: 0,
            chain,
        }
    }

    fn number(&self, block: B256) -> u64 {
        self.chain.number(block).unwrap()
    }

    /// Puts a block on a branch, as no other block is.
    pub fn add(&mut self, parent: B256, plans: Vec<Plan>) -> B256 {
        let mut state = State::clone(&self.states[&parent]);
        let number = self.number(parent) + 1;
        let drafts: Vec<_> = plans.iter().map(|plan| state.run(number, plan)).collect();
        let block = self.chain.add(parent, drafts.clone(), self.next_salt);
        self.next_salt += 1;
        self.states.insert(block, Arc::new(state));
        self.plans.insert(block, plans);
        self.drafts.insert(block, drafts);
        block
    }

    pub fn extend(&mut self, blocks: Vec<Vec<Plan>>) {
        let tip = blocks.into_iter().fold(self.chain.tip(), |parent, plans| self.add(parent, plans));
        self.switch_to(tip);
    }

    /// Leaves the canonical chain `depth` blocks below its tip, not below finality, for a branch of these blocks. With
    /// `again`, what the abandoned blocks held is tried again on the branch.
    pub fn fork(&mut self, depth: u64, mut blocks: Vec<Vec<Plan>>, again: bool) {
        let tip = self.chain.tip();
        let floor = self.number(self.final_block);
        let from = self.number(tip).saturating_sub(depth).max(floor);
        let parent = self.chain.ancestor(tip, from).unwrap();
        if again {
            for (number, plans) in (from + 1..).zip(&mut blocks) {
                let lost = self.chain.ancestor(tip, number).and_then(|block| self.plans.get(&block));
                plans.extend(lost.cloned().unwrap_or_default());
            }
        }
        let tip = blocks.into_iter().fold(parent, |parent, plans| self.add(parent, plans));
        self.switch_to(tip);
    }

    /// Switches to some block that was seen before, above finality: of another branch, where there is one.
    pub fn flip(&mut self, choice: usize) {
        let (floor, tip) = (self.number(self.final_block), self.chain.tip());
        let mut blocks: Vec<_> = self
            .states
            .keys()
            .filter(|block| self.chain.ancestor(**block, floor) == Some(self.final_block))
            .map(|block| (self.number(*block), *block))
            .collect();
        blocks.sort_unstable();
        let elsewhere = |(number, block): &(u64, B256)| self.chain.ancestor(tip, *number) != Some(*block);
        if blocks.iter().any(elsewhere) {
            blocks.retain(elsewhere);
        }
        let (_, block) = blocks[choice % blocks.len()];
        self.switch_to(block);
    }

    fn switch_to(&mut self, tip: B256) {
        self.chain.switch_to(tip);
        let last_final = self.number(tip).saturating_sub(self.finality_depth);
        if last_final > self.number(self.final_block) {
            self.final_block = self.chain.ancestor(tip, last_final).unwrap();
        }
    }

    pub fn lag(&mut self, blocks: u64) {
        self.lag_blocks = blocks;
        self.chain.lag(blocks);
    }

    /// The head that the node admits to.
    pub fn visible_head(&self) -> (u64, B256) {
        let tip = self.chain.tip();
        let number = self.number(tip).saturating_sub(self.lag_blocks);
        (number, self.chain.ancestor(tip, number).unwrap())
    }

    /// Whether a journal that stands there has no reason to move.
    pub fn is_satisfied_by(&self, journal: &Standing, start_block: u64) -> bool {
        let (number, visible) = self.visible_head();
        // The node is behind what it has shown as final: it is waited for, however much is still to be had below.
        if journal.final_number.is_some_and(|last| last > number) {
            return true;
        }
        match journal.head {
            None => number < start_block,
            Some((_, head)) => self.chain.ancestor(head, number) == Some(visible),
        }
    }

    /// The logs of the followed contracts on the canonical chain.
    pub fn true_events(&self, start_block: u64) -> Vec<TruthEvent> {
        let mut events = self.chain.truth();
        events.retain(|e| SHAPES.get(&e.address).is_some() && e.block_number >= start_block);
        events.sort_unstable();
        events
    }

    /// The positions that were cached on the canonical chain.
    pub fn true_positions(&self, start_block: u64) -> BTreeMap<(Address, Address), Position> {
        let mut positions = self.states[&self.chain.tip()].positions.clone();
        positions.retain(|_, position| position.block_number >= start_block);
        positions
    }

    /// What these senders did on the canonical chain.
    pub fn true_inclusions(&self, senders: &[Address], start_block: u64) -> Vec<Inclusion> {
        let tip = self.chain.tip();
        let mut found = Vec::new();
        for number in start_block.max(1)..=self.number(tip) {
            let block = self.chain.ancestor(tip, number).unwrap();
            for (index, tx) in
                self.drafts[&block].iter().enumerate().filter(|(_, tx)| senders.contains(&tx.from))
            {
                let index = u32::try_from(index).unwrap();
                found.push((number, block, index, tx.from, tx.nonce, tx.succeeded));
            }
        }
        found
    }
}

/// A hash for a block that a test makes by hand.
pub fn hash_of(what: &str) -> B256 {
    keccak256(what)
}

//! A node's address as a transport: what it is asked, and what it is given. What is given goes its way when it has left the process, whether or not
//! that lives, or waits, to hear of it.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use alloy_json_rpc::{ErrorPayload, RequestPacket, Response, ResponsePayload, SerializedRequest};
use alloy_primitives::{Address, B256, Bytes, KECCAK256_EMPTY, hex};
use alloy_transport::BoxTransport;
use alloy_trie::EMPTY_ROOT_HASH;
use plimsoll_chain::transport;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use tokio::sync::oneshot;
use tokio::time::sleep;

use super::Trace;
use super::book::Tables;
use super::judge::{Judge, lock};
use super::life::Life;
use super::transaction::Signed;
use super::world::{Block, Refusal, World};
use crate::chaos::conduct::{Answer, Conduct, Fault, garble, refusal};
use crate::chaos::dice::Dice;

/// The longest that something slow takes, in milliseconds.
const SLOWEST_MS: u64 = 4_000;
/// So much later, at most, bytes arrive whose sender has given up waiting.
const LATE_MS: u64 = 20_000;

/// What nodes say that nobody understands, or that says nothing of the transaction.
const ODD: [&str; 6] = [
    "internal error",
    "temporary internal error. Please try again",
    "txpool is full",
    "in-flight transaction limit reached for delegated accounts",
    "rate limit exceeded",
    "node is syncing",
];
/// What they say of what no chain would ever take.
const HOPELESS: [&str; 3] =
    ["oversized data: transaction size 200000, limit 131072", "invalid sender", "rlp: element too large"];

/// What a node does with a transaction that it is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Treatment {
    /// As its pool's rules say.
    Honest,
    /// It says yes, and keeps nothing.
    Drops,
    /// It says that it knew it, and keeps nothing.
    SaysKnown,
    /// It takes it, and says something odd.
    TakesAndDenies,
    /// It says something odd, and keeps nothing.
    Denies,
    /// It says that no chain would take it.
    Hopeless,
    /// Of bytes that it has, it says that they offer too little to replace themselves.
    PoorReplacement,
}

impl Treatment {
    const ODD_ONES: [Self; 6] = [
        Self::Drops,
        Self::SaysKnown,
        Self::TakesAndDenies,
        Self::Denies,
        Self::Hopeless,
        Self::PoorReplacement,
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::Honest => "taken_honestly",
            Self::Drops => "taken_and_dropped",
            Self::SaysKnown => "known_and_not_kept",
            Self::TakesAndDenies => "taken_and_denied",
            Self::Denies => "denied",
            Self::Hopeless => "called_hopeless",
            Self::PoorReplacement => "called_poor_replacement",
        }
    }
}

/// How an endpoint behaves.
#[derive(Clone, Debug)]
pub(super) struct Manners {
    pub(super) conduct: Conduct,
    /// Of a thousand transactions, so many are treated oddly.
    pub(super) odd_permille: u32,
    /// Whether it may call them hopeless.
    pub(super) may_despair: bool,
}

/// An endpoint. Clones are one.
#[derive(Clone)]
pub(super) struct Endpoint(Arc<Inner>);

struct Inner {
    place: usize,
    world: Arc<Mutex<World>>,
    tables: Arc<Tables>,
    judge: Arc<Judge>,
    trace: Arc<Trace>,
    manners: Mutex<Manners>,
    dice: Mutex<Dice>,
}

fn hash(value: &Value) -> Option<B256> {
    value.as_str()?.parse().ok()
}

impl Endpoint {
    pub(super) fn new(
        place: usize,
        tables: Arc<Tables>,
        judge: Arc<Judge>,
        manners: Manners,
        dice: Dice,
    ) -> Self {
        let (world, trace) = (Arc::clone(&judge.world), Arc::clone(&judge.trace));
        let (manners, dice) = (Mutex::new(manners), Mutex::new(dice));
        Self(Arc::new(Inner { place, world, tables, judge, trace, manners, dice }))
    }

    pub(super) fn behaves(&self, with: impl FnOnce(&mut Manners)) {
        with(&mut lock(&self.0.manners));
    }

    /// As one life of a process reaches it.
    pub(super) fn transport(&self, node: usize, life: &Arc<Life>) -> BoxTransport {
        let (endpoint, life) = (self.clone(), Arc::clone(life));
        transport::answering(move |packet| endpoint.clone().answer(node, Arc::clone(&life), packet))
    }

    async fn answer(self, node: usize, life: Arc<Life>, packet: RequestPacket) -> Answer {
        life.goes_on().await;
        let Inner { place, trace, manners, dice, .. } = &*self.0;
        let (fault, there, back, mut dice) = {
            let (manners, mut dice) = (lock(manners), lock(dice));
            let conduct = &manners.conduct;
            let fault = conduct.draw(&mut dice);
            let millis = |dice: &mut Dice, most| Duration::from_millis(dice.up_to(most));
            let there = millis(&mut dice, conduct.slowest_ms);
            let slow = if fault == Some(Fault::Slow) { SLOWEST_MS } else { 0 };
            let back = millis(&mut dice, slow) + millis(&mut dice, conduct.slowest_ms);
            (fault, there, back, Dice::new(dice.any(), 0))
        };
        let first = packet.requests()[0].method();
        trace.count(|counts| counts.requests += 1);
        trace.note(format_args!("{node} asks {place}: {first} of {}, {fault:?}", packet.len()));
        if let Some(fault) = fault {
            trace.fault(fault.name());
        }
        let is_given = first == "eth_sendRawTransaction";
        if is_given {
            let refused = refusal(fault.unwrap_or(Fault::Reordered), &packet, &mut dice);
            let is_heard = refused.is_none() && fault != Some(Fault::Silent);
            let arrives = match fault {
                Some(Fault::AnswerLost) => true,
                // It may have come through, and later than anybody waits.
                Some(Fault::Silent | Fault::ServerError) => dice.permille(500),
                _ => refused.is_none(),
            };
            let late = if is_heard { 0 } else { dice.up_to(LATE_MS) };
            let mut answered = None;
            if arrives {
                let (answer, told) = oneshot::channel();
                let (endpoint, packet) = (self.clone(), packet.clone());
                // It is on its way, and whoever sent it may die meanwhile.
                tokio::spawn(async move {
                    sleep(there + Duration::from_millis(late)).await;
                    let _ = answer.send(endpoint.tells(&packet));
                });
                answered = Some(told);
            }
            if fault == Some(Fault::Silent) {
                std::future::pending::<()>().await;
            }
            if let Some(refused) = refused {
                sleep(there + back).await;
                life.goes_on().await;
                return refused;
            }
            let answers = match answered {
                Some(told) => told.await.unwrap_or_default(),
                None => Vec::new(),
            };
            sleep(back).await;
            life.goes_on().await;
            return garble(fault, answers, matches!(packet, RequestPacket::Batch(_)), &mut dice);
        }
        sleep(there).await;
        if fault == Some(Fault::Silent) {
            std::future::pending::<()>().await;
        }
        let refused = fault.and_then(|fault| refusal(fault, &packet, &mut dice));
        let answers = if refused.is_none() { self.tells(&packet) } else { Vec::new() };
        sleep(back).await;
        life.goes_on().await;
        refused
            .unwrap_or_else(|| garble(fault, answers, matches!(packet, RequestPacket::Batch(_)), &mut dice))
    }

    /// The node's answers.
    fn tells(&self, packet: &RequestPacket) -> Vec<Response> {
        let Inner { place, world, judge, .. } = &*self.0;
        {
            let mut world = lock(world);
            world.tick();
            let mut truth = lock(&judge.truth);
            truth.head = truth.head.max(world.head_of(*place).number);
        }
        let tell = |request: &SerializedRequest| {
            let payload = match self.tell(request) {
                Ok(text) => ResponsePayload::Success(RawValue::from_string(text).expect("it is JSON")),
                Err((code, message)) => {
                    ResponsePayload::Failure(ErrorPayload { code, message: message.into(), data: None })
                }
            };
            Response { id: request.id().clone(), payload }
        };
        packet.requests().iter().map(tell).collect()
    }

    fn tell(&self, request: &SerializedRequest) -> Result<String, (i64, String)> {
        let Inner { place, world, .. } = &*self.0;
        let params: Value = request
            .params()
            .and_then(|params| serde_json::from_str(params.get()).ok())
            .unwrap_or(Value::Null);
        let address = || params[0].as_str().and_then(|text| text.parse::<Address>().ok()).unwrap_or_default();
        match request.method() {
            "eth_getBlockByNumber" => Ok(lock(world).head_of(*place).header()),
            "eth_getBlockByHash" => {
                let world = lock(world);
                let block = hash(&params[0]).and_then(|hash| world.block_of(*place, hash));
                Ok(block.map_or_else(|| "null".to_owned(), Block::header))
            }
            "eth_getProof" if lock(world).nodes[*place].client.proves() => self.shows(address(), &params[2]),
            "eth_feeHistory" => Ok(self.fee_history(&params)),
            "eth_getTransactionCount" => {
                let (latest, pending) = lock(world).counts_of(*place, address());
                let told = if params[1] == "pending" { pending } else { latest };
                Ok(format!("\"{told:#x}\""))
            }
            "eth_getBalance" => Ok(format!("\"{:#x}\"", lock(world).account_of(*place, address()).balance)),
            "eth_estimateGas" => {
                let to = params[0]["to"].as_str().and_then(|to| to.parse().ok());
                let data: Bytes =
                    params[0]["data"].as_str().and_then(|data| data.parse().ok()).unwrap_or_default();
                let gas = lock(world).estimate(to, &data).ok_or((3, "execution reverted".to_owned()))?;
                Ok(format!("\"{gas:#x}\""))
            }
            "eth_sendRawTransaction" => {
                let raw = params[0].as_str().and_then(|text| hex::decode(text).ok()).unwrap_or_default();
                self.takes(&raw)
            }
            other => Err((-32_601, format!("the method {other} does not exist"))),
        }
    }

    /// An account, and the way to it.
    fn shows(&self, address: Address, at: &Value) -> Result<String, (i64, String)> {
        let shown = hash(&at["blockHash"])
            .and_then(|hash| lock(&self.0.world).show(self.0.place, hash, address))
            .ok_or_else(|| (-32_000, "header not found".to_owned()))?;
        Ok(json!({
            "address": address,
            "nonce": format!("{:#x}", shown.account.nonce),
            "balance": format!("{:#x}", shown.account.balance),
            "storageHash": EMPTY_ROOT_HASH,
            "codeHash": KECCAK256_EMPTY,
            "accountProof": shown.nodes,
            "storageProof": [],
        })
        .to_string())
    }

    fn fee_history(&self, params: &Value) -> String {
        let blocks =
            params[0].as_str().and_then(|text| u64::from_str_radix(text.trim_start_matches("0x"), 16).ok());
        let percentiles = params[2].as_array().map_or(0, Vec::len);
        let fees = lock(&self.0.world).fees_of(self.0.place, blocks.unwrap_or(1));
        let reward = |(low, high): &(u128, u128)| -> Vec<String> {
            let at = |place: usize| if place + 1 < percentiles { *low } else { *high };
            (0..percentiles).map(|place| format!("{:#x}", at(place))).collect()
        };
        let rewards: Vec<_> = fees.tips.iter().map(reward).collect();
        let base_fees: Vec<_> = fees.base_fees.iter().map(|fee| format!("{fee:#x}")).collect();
        json!({
            "oldestBlock": format!("{:#x}", fees.oldest),
            "baseFeePerGas": base_fees,
            "gasUsedRatio": fees.used,
            "reward": rewards,
        })
        .to_string()
    }

    /// The node is given bytes.
    fn takes(&self, raw: &[u8]) -> Result<String, (i64, String)> {
        let Inner { place, world, judge, trace, tables, manners, dice } = &*self.0;
        let Some(tx) = Signed::read(raw) else {
            trace.violated("a node is given what is no transaction".to_owned());
            return Err((-32_000, "rlp: expected input list".to_owned()));
        };
        judge.arrives(&tables.store(), tx.hash, raw);
        let (treatment, odd) = {
            let (manners, mut dice) = (lock(manners), lock(dice));
            let is_odd = dice.permille(manners.odd_permille);
            let treatment = if is_odd { dice.pick(&Treatment::ODD_ONES) } else { Treatment::Honest };
            let is_despair = treatment == Treatment::Hopeless && !manners.may_despair;
            (if is_despair { Treatment::Denies } else { treatment }, dice.any())
        };
        let tx = Arc::new(tx);
        let mut world = lock(world);
        let client = world.nodes[*place].client;
        let pick = |of: &[&'static str]| of[usize::try_from(odd % of.len() as u64).unwrap_or(0)];
        let outcome = match treatment {
            Treatment::Honest => world.send(*place, &tx),
            Treatment::Drops => Ok(()),
            Treatment::SaysKnown => Err(Refusal::Known),
            Treatment::TakesAndDenies => {
                let _ = world.send(*place, &tx);
                Err(Refusal::Odd(pick(&ODD)))
            }
            Treatment::Denies => Err(Refusal::Odd(pick(&ODD))),
            Treatment::Hopeless => {
                *lock(&judge.truth).hopeless.entry(tx.hash).or_default() += 1;
                Err(Refusal::Odd(pick(&HOPELESS)))
            }
            Treatment::PoorReplacement => match world.send(*place, &tx) {
                Err(Refusal::Known) => Err(Refusal::ReplacementUnderpriced),
                other => other,
            },
        };
        drop(world);
        trace.count(|counts| counts.sends += 1);
        if treatment != Treatment::Honest {
            trace.fault(treatment.name());
        }
        trace.note(format_args!(
            "{place} is given nonce {} of {:.8}, {}, at {}: {treatment:?}, {outcome:?}",
            tx.nonce,
            tx.sender.to_string(),
            tx.hash.to_string().get(..10).unwrap_or_default(),
            tx.max_fee
        ));
        match outcome {
            Ok(()) => Ok(format!("\"{}\"", tx.hash)),
            Err(refusal) => Err((-32_000, refusal.words(client))),
        }
    }
}

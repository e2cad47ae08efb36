//! For each (contract, topic0), worked out once: what the event is, and where in a log its parameters lie.
//!
//! Every declared event has elementary parameters only, so that each of them is one topic or one word of the data's head (the word
//! itself, or the offset of a `bytes` or `string`): Solidity, "Contract ABI Specification", encoding of events and of dynamic types.

use std::sync::Arc;

use alloy_dyn_abi::DynSolValue;
use alloy_primitives::map::{HashMap, HashSet};
use alloy_primitives::{Address, B256, I256, U256};
use plimsoll_chain::abi::{Contracts, write_json_value};
use plimsoll_journal::Event;
use plimsoll_types::{RequestId, ViewKind, address_text};
use uuid::Uuid;

use crate::declaration::{Declaration, Mode, Prepared, Table};

const WORD_BYTES: usize = 32;

/// Where a parameter lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Topic(usize),
    Word(usize),
}

/// How a parameter's word is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Address,
    Uint,
    Int,
    Bool,
    FixedBytes(usize),
    Bytes,
    String,
}

/// A parameter of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Field {
    name: Box<str>,
    place: Place,
    kind: Kind,
}

/// What the fold does with an event, with the parameters that it needs to.
#[derive(Clone, Debug)]
pub(crate) enum Action {
    Position {
        collateral: Field,
        debt: Field,
        version: Field,
    },
    Replay,
    /// `values` are the collateral and debt of a full push; a delta has none.
    Push {
        values: Option<(Field, Field)>,
    },
    Failure {
        view: Field,
        reason: Field,
        other: Vec<Field>,
    },
    Mirror {
        key: Vec<Field>,
        value: Vec<Field>,
    },
    Trail {
        key: Vec<Field>,
        value: Vec<Field>,
    },
    Ignored,
}

/// A contract, as rows name it.
#[derive(Clone, Debug)]
pub(crate) struct Followed {
    pub(crate) name: Arc<str>,
    pub(crate) text: String,
    pub(crate) tenant_id: Uuid,
}

/// What an event of one contract is.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) contract: Arc<Followed>,
    pub(crate) event_name: Arc<str>,
    pub(crate) view: &'static str,
    pub(crate) kind: ViewKind,
    pub(crate) action: Action,
    user: Option<Field>,
    asset: Option<Field>,
    request_id: Option<Field>,
    seq: Option<Field>,
}

/// The plans of every event of every followed contract.
#[derive(Clone, Debug)]
pub(crate) struct Plans {
    by_event: HashMap<(Address, B256), Plan>,
    followed: HashMap<Address, Arc<Followed>>,
    position_targets: HashSet<Address>,
}

/// The view label of an event that no declaration knows.
pub(crate) const UNKNOWN_VIEW: &str = "unknown";

impl Plans {
    pub(crate) fn new(contracts: &Contracts, declarations: &'static [Declaration]) -> Self {
        let table = Table::new(declarations);
        let mut plans = Self {
            by_event: HashMap::default(),
            followed: HashMap::default(),
            position_targets: HashSet::default(),
        };
        for contract in contracts.iter() {
            let followed = Arc::new(Followed {
                name: contract.name.clone(),
                text: address_text(&contract.address),
                tenant_id: contract.tenant_id,
            });
            plans.followed.insert(contract.address, followed.clone());
            for event in contract.abi.events().filter(|event| !event.anonymous) {
                let plan = match table.find(event) {
                    Some(prepared) => Plan::new(followed.clone(), prepared),
                    None => {
                        if table.knows_signature(event) {
                            tracing::warn!(
                                contract = %contract.name, event = event.signature(),
                                "the ABI has other indexed parameters than the declared event: it is on record as unknown"
                            );
                        }
                        Plan::unknown(followed.clone(), &event.name)
                    }
                };
                if matches!(plan.action, Action::Position { .. } | Action::Push { .. }) {
                    plans.position_targets.insert(contract.address);
                }
                plans.by_event.insert((contract.address, event.selector()), plan);
            }
        }
        plans
    }

    /// What the event is; `None` when no ABI knows it.
    pub(crate) fn of(&self, event: &Event) -> Option<&Plan> {
        self.by_event.get(&(event.contract, *event.topics.first()?))
    }

    /// Whether a failure to write this view may be the answer to a router's push: it is the position view or the router itself, or
    /// nobody told us what it is.
    pub(crate) fn may_hold_positions(&self, view: &Address) -> bool {
        !self.followed.contains_key(view) || self.position_targets.contains(view)
    }

    /// The contract's name in the configuration, else its address.
    pub(crate) fn name_of(&self, address: &Address) -> String {
        self.followed.get(address).map_or_else(|| address_text(address), |followed| followed.name.to_string())
    }
}

/// The fields of an event, in declaration order.
fn fields(prepared: &Prepared) -> Vec<Field> {
    let (mut topic, mut word) = (0, 0);
    prepared
        .event
        .inputs
        .iter()
        .map(|input| {
            let place = if input.indexed {
                topic += 1;
                Place::Topic(topic)
            } else {
                word += 1;
                Place::Word(word - 1)
            };
            let kind = Kind::of(&input.ty)
                .expect("the table of declarations is tested: every parameter is elementary");
            assert!(
                !(input.indexed && matches!(kind, Kind::Bytes | Kind::String)),
                "the table of declarations is tested: no indexed parameter is dynamic"
            );
            Field { name: input.name.as_str().into(), place, kind }
        })
        .collect()
}

impl Kind {
    fn of(solidity: &str) -> Option<Self> {
        Some(match solidity {
            "address" => Self::Address,
            "bool" => Self::Bool,
            "bytes" => Self::Bytes,
            "string" => Self::String,
            _ if solidity.contains('[') => return None,
            _ if solidity.starts_with("uint") => Self::Uint,
            _ if solidity.starts_with("int") => Self::Int,
            _ => Self::FixedBytes(
                solidity.strip_prefix("bytes")?.parse().ok().filter(|size| (1..=32).contains(size))?,
            ),
        })
    }
}

impl Plan {
    fn new(contract: Arc<Followed>, prepared: &Prepared) -> Self {
        let declaration = prepared.declaration;
        let fields = fields(prepared);
        let find = |name: &str| fields.iter().find(|field| &*field.name == name).cloned();
        let get = |name: &str| {
            find(name).unwrap_or_else(|| {
                panic!("the table of declarations is tested: {} has {name}", prepared.event.name)
            })
        };
        let key = || declaration.key.iter().map(|name| get(name)).collect::<Vec<_>>();
        let others = |left_out: &[&str]| {
            let kept = |field: &&Field| {
                !declaration.key.contains(&&*field.name) && !left_out.contains(&&*field.name)
            };
            fields.iter().filter(kept).cloned().collect::<Vec<_>>()
        };
        let action = match declaration.mode {
            Mode::Position { .. } => {
                Action::Position { collateral: get("collateral"), debt: get("debt"), version: get("version") }
            }
            Mode::Replay => Action::Replay,
            Mode::Push => Action::Push { values: find("collateral").zip(find("debt")) },
            Mode::Failure { view } => {
                Action::Failure { view: get(view), reason: get("reason"), other: others(&["reason"]) }
            }
            Mode::Mirror { .. } => Action::Mirror { key: key(), value: others(&[]) },
            Mode::Trail => Action::Trail { key: key(), value: others(&[]) },
            Mode::Ignored => Action::Ignored,
        };
        Self {
            contract,
            event_name: prepared.event.name.as_str().into(),
            view: declaration.view,
            kind: declaration.kind,
            action,
            user: find("user"),
            asset: find("asset"),
            request_id: find("requestId"),
            seq: find("seq"),
        }
    }

    fn unknown(contract: Arc<Followed>, name: &str) -> Self {
        Self {
            contract,
            event_name: name.into(),
            view: UNKNOWN_VIEW,
            kind: ViewKind::Unknown,
            action: Action::Ignored,
            user: None,
            asset: None,
            request_id: None,
            seq: None,
        }
    }

    pub(crate) fn user(&self, event: &Event) -> Result<Option<Address>, String> {
        self.user.as_ref().map(|field| field.address(event)).transpose()
    }

    pub(crate) fn asset(&self, event: &Event) -> Result<Option<Address>, String> {
        self.asset.as_ref().map(|field| field.address(event)).transpose()
    }

    /// The user and asset of an event that is keyed by both.
    pub(crate) fn user_and_asset(&self, event: &Event) -> Result<(Address, Address), String> {
        let pair = self.user(event)?.zip(self.asset(event)?);
        pair.ok_or_else(|| format!("the event {} has no user and asset", self.event_name))
    }

    /// `None` where the event carries none, or zero.
    pub(crate) fn request_id(&self, event: &Event) -> Result<Option<RequestId>, String> {
        let word = self.request_id.as_ref().map(|field| field.word(event)).transpose()?;
        Ok(word.and_then(|word| RequestId::from_chain(B256::new(*word))))
    }

    pub(crate) fn seq(&self, event: &Event) -> Result<Option<u64>, String> {
        self.seq.as_ref().map(|field| field.u64(event)).transpose()
    }
}

impl Field {
    fn word<'a>(&self, event: &'a Event) -> Result<&'a [u8; WORD_BYTES], String> {
        match self.place {
            Place::Topic(at) => event.topics.get(at).map(|topic| &topic.0),
            Place::Word(at) => event.data.get(at * WORD_BYTES..).and_then(|rest| rest.first_chunk()),
        }
        .ok_or_else(|| format!("the log ends before its parameter `{}`", self.name))
    }

    pub(crate) fn u256(&self, event: &Event) -> Result<U256, String> {
        self.word(event).map(|word| U256::from_be_bytes(*word))
    }

    pub(crate) fn u64(&self, event: &Event) -> Result<u64, String> {
        let value = self.u256(event)?;
        u64::try_from(value).map_err(|_| format!("the parameter `{}` is {value}, above 2^64-1", self.name))
    }

    pub(crate) fn address(&self, event: &Event) -> Result<Address, String> {
        self.word(event).map(|word| Address::from_word(B256::new(*word)))
    }

    /// The bytes of a `bytes` or `string`.
    pub(crate) fn bytes<'a>(&self, event: &'a Event) -> Result<&'a [u8], String> {
        let outside = || format!("the parameter `{}` lies outside of the log's data", self.name);
        let to_usize =
            |word: &[u8; WORD_BYTES]| usize::try_from(U256::from_be_bytes(*word)).map_err(|_| outside());
        let tail = event.data.get(to_usize(self.word(event)?)?..).ok_or_else(outside)?;
        let (length, body) = tail.split_first_chunk().ok_or_else(outside)?;
        body.get(..to_usize(length)?).ok_or_else(outside)
    }

    fn value(&self, event: &Event) -> Result<DynSolValue, String> {
        Ok(match self.kind {
            Kind::Address => DynSolValue::Address(self.address(event)?),
            Kind::Uint => DynSolValue::Uint(self.u256(event)?, 256),
            Kind::Int => DynSolValue::Int(I256::from_be_bytes(*self.word(event)?), 256),
            Kind::Bool => DynSolValue::Bool(self.word(event)?.iter().any(|byte| *byte != 0)),
            Kind::FixedBytes(size) => DynSolValue::FixedBytes(B256::new(*self.word(event)?), size),
            Kind::Bytes => DynSolValue::Bytes(self.bytes(event)?.to_vec()),
            Kind::String => DynSolValue::String(String::from_utf8_lossy(self.bytes(event)?).into_owned()),
        })
    }
}

/// A JSON object of these parameters, written as the raw store's payload is.
pub(crate) fn write_object(fields: &[Field], event: &Event, out: &mut Vec<u8>) -> Result<(), String> {
    out.push(b'{');
    for (i, field) in fields.iter().enumerate() {
        if i > 0 {
            out.push(b',');
        }
        out.push(b'"');
        out.extend_from_slice(field.name.as_bytes()); // a Solidity identifier: nothing to escape
        out.extend_from_slice(b"\":");
        write_json_value(&field.value(event)?, out);
    }
    out.push(b'}');
    Ok(())
}

/// The key parameters joined by `/`, as their JSON without the quotes.
pub(crate) fn write_key(fields: &[Field], event: &Event, out: &mut Vec<u8>) -> Result<(), String> {
    for (i, field) in fields.iter().enumerate() {
        if i > 0 {
            out.push(b'/');
        }
        let start = out.len();
        write_json_value(&field.value(event)?, out);
        if out.get(start) == Some(&b'"') {
            out.remove(start);
            out.pop();
        }
    }
    Ok(())
}

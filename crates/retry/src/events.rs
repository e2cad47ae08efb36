//! The four events that a retry lives by: what failed, and what heals it (spec 1 §5.3, §7.4).

use std::collections::HashMap;

use alloy_dyn_abi::DynSolValue;
use alloy_json_abi::Event as EventDeclaration;
use alloy_primitives::{Address, B256, Selector, keccak256};
use plimsoll_chain::abi::{Contract, Contracts, EventAbi};
use plimsoll_journal::Event;
use uuid::Uuid;

/// The function that reads a position from the ledger again and caches it (spec 1 §7.2).
pub(crate) const RETRY_POSITION: &str = "retryUserPositionUpdate(address,address)";
/// The same of a user's health.
pub(crate) const RETRY_HEALTH: &str = "retryUserHealthUpdate(address)";

/// The events as the contracts declare them: under another layout they are not these.
const DECLARATIONS: [(Kind, &str); 4] = [
    (
        Kind::PositionFailed,
        "event CacheUpdateFailed(address indexed user, address indexed asset, address viewAddr, uint256 collateral, uint256 debt, bytes reason)",
    ),
    (
        Kind::HealthFailed,
        "event HealthPushFailed(address indexed user, address indexed healthView, uint256 totalCollateral, uint256 totalDebt, bytes reason)",
    ),
    (
        Kind::PositionHealed,
        "event UserPositionCachedV2(address indexed user, address indexed asset, uint256 collateral, uint256 debt, uint64 version, uint256 ts)",
    ),
    (
        Kind::HealthHealed,
        "event HealthFactorCached(address indexed user, uint256 healthFactor, uint256 timestamp)",
    ),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    PositionFailed,
    HealthFailed,
    PositionHealed,
    HealthHealed,
}

/// What is behind, and is healed together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    pub(crate) tenant_id: Uuid,
    pub(crate) user: Address,
    /// None: it is the user's health.
    pub(crate) asset: Option<Address>,
    /// The view whose retry heals it.
    pub(crate) view: Address,
}

/// What an event says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Sign {
    /// A push failed.
    Failed {
        key: Key,
        /// The view that the contract named. Zero where it was missing.
        named: Address,
        /// Why, as the view gave it.
        raw: Vec<u8>,
    },
    /// The view has it.
    Healed(Key),
}

/// What the followed contracts of a chain tell of failures, and who heals them.
#[derive(Clone, Debug)]
pub(crate) struct Signs {
    events: Vec<(Kind, EventAbi)>,
    by_event: HashMap<(Address, B256), (Kind, Uuid)>,
    position_views: HashMap<Uuid, Vec<Address>>,
    health_views: HashMap<Uuid, Vec<Address>>,
}

impl Signs {
    /// Those of these contracts.
    pub(crate) fn new(contracts: &Contracts) -> Self {
        let mut by_event = HashMap::new();
        let events = DECLARATIONS.map(|(kind, text)| {
            let declared = EventDeclaration::parse(text).expect("the declarations are tested: each parses");
            for contract in contracts.iter() {
                let is_declared = |event: &&EventDeclaration| {
                    let layout = |event: &EventDeclaration| {
                        event.inputs.iter().map(|input| input.indexed).collect::<Vec<_>>()
                    };
                    event.selector() == declared.selector() && layout(event) == layout(&declared)
                };
                if contract.abi.events().any(|event| is_declared(&event)) {
                    by_event.insert((contract.address, declared.selector()), (kind, contract.tenant_id));
                }
            }
            (kind, EventAbi::new(&declared).expect("the declarations are tested: their types are Solidity's"))
        });
        let (mut position_views, mut health_views) = (HashMap::new(), HashMap::new());
        for (views, function) in [(&mut position_views, RETRY_POSITION), (&mut health_views, RETRY_HEALTH)] {
            for contract in contracts.iter().filter(|contract| has_function(contract, function)) {
                let of_tenant: &mut Vec<_> = views.entry(contract.tenant_id).or_default();
                of_tenant.push(contract.address);
            }
        }
        Self { events: events.into(), by_event, position_views, health_views }
    }

    /// What this event says; `None`: nothing of a retry.
    ///
    /// # Errors
    /// It is one of these by its name, and does not decode.
    pub(crate) fn read(&self, event: &Event) -> Result<Option<Sign>, String> {
        let Some(topic0) = event.topics.first() else { return Ok(None) };
        let Some((kind, tenant_id)) = self.by_event.get(&(event.contract, *topic0)) else { return Ok(None) };
        let Some((_, abi)) = self.events.iter().find(|(known, _)| known == kind) else { return Ok(None) };
        let decoded = abi.decode(&event.topics, &event.data)?;
        let address = |name: &str| match decoded.get(name) {
            Some(DynSolValue::Address(address)) => Ok(*address),
            _ => Err(format!("{} has no address `{name}`", abi.signature)),
        };
        let raw = || match decoded.get("reason") {
            Some(DynSolValue::Bytes(raw)) => Ok(raw.clone()),
            _ => Err(format!("{} has no reason", abi.signature)),
        };
        let (tenant_id, user) = (*tenant_id, address("user")?);
        let key = |asset, view| Key { tenant_id, user, asset, view };
        Ok(Some(match kind {
            Kind::PositionFailed => {
                let (asset, named) = (address("asset")?, address("viewAddr")?);
                let view = healer(&self.position_views, tenant_id, named);
                Sign::Failed { key: key(Some(asset), view), named, raw: raw()? }
            }
            Kind::HealthFailed => {
                let named = address("healthView")?;
                let view = healer(&self.health_views, tenant_id, named);
                Sign::Failed { key: key(None, view), named, raw: raw()? }
            }
            Kind::PositionHealed => Sign::Healed(key(Some(address("asset")?), event.contract)),
            Kind::HealthHealed => Sign::Healed(key(None, event.contract)),
        }))
    }
}

/// The view whose retry heals a failure of the one that was named. A push that did not get as far as the view names another, or none: then it is the tenant's one view of that kind, where there is
/// one, so that a position has one job whatever stood in its way.
fn healer(views: &HashMap<Uuid, Vec<Address>>, tenant_id: Uuid, named: Address) -> Address {
    match views.get(&tenant_id).map(Vec::as_slice) {
        Some(views) if views.contains(&named) => named,
        Some([only]) => *only,
        _ => named,
    }
}

/// Whether the contract's ABI has this function.
pub(crate) fn has_function(contract: &Contract, signature: &str) -> bool {
    contract.abi.functions().any(|function| function.selector() == selector(signature))
}

/// The selector of a function.
pub(crate) fn selector(signature: &str) -> Selector {
    let hash = keccak256(signature);
    Selector::from([hash[0], hash[1], hash[2], hash[3]])
}

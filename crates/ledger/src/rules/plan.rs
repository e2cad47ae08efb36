//! Rules, met with the contracts that they apply to.

use std::collections::HashMap;

use alloy_dyn_abi::DynSolValue;
use alloy_json_abi::Event as EventItem;
use alloy_primitives::{Address, B256};
use plimsoll_chain::abi::{Contract, Contracts, Decoded, EventAbi};
use plimsoll_chain::probe::{DeclaredFunction, DeclaredProbe};
use plimsoll_journal::Event;
use plimsoll_types::{Amount, RequestId, address_text};
use uuid::Uuid;

use super::{Rule, RuleLine, Selector};
use crate::account::{AccountClass, AccountType};
use crate::posting::Direction;

/// An account that a line is on, before it is known whether it is open.
#[derive(Clone, Debug, PartialEq)]
pub struct Account {
    /// Its name, which with the currency tells it from the tenant's others.
    pub name: String,
    /// What it is for.
    pub account_type: AccountType,
    /// Where it stands.
    pub class: AccountClass,
    /// Of which token; none: of the chain's native coin.
    pub token: Option<Address>,
    /// Whose it is on the chain.
    pub address: Option<Address>,
    /// What the chain is asked for to prove it.
    pub probe: Option<DeclaredProbe>,
}

/// A line that a rule makes.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// The account.
    pub account: Account,
    /// Debit or credit.
    pub direction: Direction,
    /// How much, in the token's smallest unit.
    pub amount: Amount,
    /// The line's `entry_type`.
    pub entry_type: &'static str,
}

/// What a rule makes of something that the chain did.
#[derive(Clone, Debug, PartialEq)]
pub struct Ruled {
    /// The rule.
    pub rule: &'static str,
    /// Of which meaning.
    pub version: u16,
    /// The posting's `operation_type`.
    pub operation_type: &'static str,
    /// The request that the chain carried.
    pub request_id: Option<RequestId>,
    /// Its lines, none of them of nothing.
    pub lines: Vec<Entry>,
}

/// Why an event is not booked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RuleError {
    /// It does not decode as the rule's event.
    #[error("rule {rule}: the log does not decode as its event: {reason}; give the contract's own ABI")]
    Undecodable {
        /// The rule.
        rule: &'static str,
        /// Why.
        reason: String,
    },
    /// A parameter that the rule names is not what it must be.
    #[error("rule {rule}: parameter {parameter} is not {expected}")]
    Parameter {
        /// The rule.
        rule: &'static str,
        /// The parameter.
        parameter: &'static str,
        /// What it must be.
        expected: &'static str,
    },
    /// No contract of the tenant, or more than one, keeps what a line is about.
    #[error(
        "rule {rule}: {found} of the tenant's contracts on this chain have {keeper}, and one must: name it in the configuration"
    )]
    Keeper {
        /// The rule.
        rule: &'static str,
        /// The getter.
        keeper: &'static str,
        /// How many have it.
        found: usize,
    },
}

#[derive(Clone, Debug)]
struct Plan {
    rule: &'static Rule,
    event: EventAbi,
    tenant_id: Uuid,
}

/// The rules of the contracts that are followed on a chain.
#[derive(Clone, Debug)]
pub struct Plans {
    by_event: HashMap<(Address, B256), Plan>,
    /// The contracts of each tenant that keep a getter.
    keepers: HashMap<(Uuid, &'static str), Vec<Address>>,
}

impl Plans {
    /// These rules, for those of the contracts that are of one of these tenants.
    ///
    /// # Panics
    /// When a rule's event does not parse: the table of rules is tested.
    #[must_use]
    pub fn new(contracts: &Contracts, tenants: &[Uuid], rules: &'static [Rule]) -> Self {
        let mut plans = Self { by_event: HashMap::new(), keepers: HashMap::new() };
        for contract in contracts.iter().filter(|contract| tenants.contains(&contract.tenant_id)) {
            for rule in rules {
                plans.add(contract, rule);
            }
        }
        plans
    }

    fn add(&mut self, contract: &Contract, rule: &'static Rule) {
        let item = EventItem::parse(rule.event).expect("every rule's event parses");
        let is_it = |own: &EventItem| own.selector() == item.selector() && !own.anonymous;
        if contract.abi.events().any(is_it) {
            let event = EventAbi::new(&item).expect("every rule's event can be decoded");
            let plan = Plan { rule, event, tenant_id: contract.tenant_id };
            self.by_event.insert((contract.address, item.selector()), plan);
        }
        for keeper in rule.lines.iter().filter_map(RuleLine::keeper) {
            let signature = keeper.find(")(").map_or(keeper, |end| &keeper[..=end]);
            let keepers = self.keepers.entry((contract.tenant_id, keeper)).or_default();
            let has_it = contract.abi.functions().any(|own| own.signature() == signature);
            if has_it && !keepers.contains(&contract.address) {
                keepers.push(contract.address);
            }
        }
    }

    /// Whose books an event is booked in, and how; none: no rule is about it, or all of its amounts are zero.
    ///
    /// # Errors
    /// [`RuleError`]: a rule is about it, and cannot be followed.
    pub fn of(&self, event: &Event) -> Result<Option<(Uuid, Ruled)>, RuleError> {
        let Some(topic0) = event.topics.first() else { return Ok(None) };
        let Some(plan) = self.by_event.get(&(event.contract, *topic0)) else { return Ok(None) };
        let rule = plan.rule;
        let decoded = plan.event.decode(&event.topics, &event.data);
        let decoded = decoded.map_err(|reason| RuleError::Undecodable { rule: rule.name, reason })?;
        let mut lines = Vec::with_capacity(rule.lines.len());
        for line in rule.lines {
            let amount = amount(rule, &decoded, line.amount)?;
            if !amount.0.is_zero() {
                let account = self.account(plan, event.contract, &decoded, line)?;
                let (direction, entry_type) = (line.direction, line.entry_type);
                lines.push(Entry { account, direction, amount, entry_type });
            }
        }
        let (rule, version, operation_type) = (rule.name, rule.version, rule.operation_type);
        let ruled = Ruled { rule, version, operation_type, request_id: decoded.request_id(), lines };
        Ok((!ruled.lines.is_empty()).then_some((plan.tenant_id, ruled)))
    }

    fn account(
        &self,
        plan: &Plan,
        emitter: Address,
        decoded: &Decoded,
        line: &RuleLine,
    ) -> Result<Account, RuleError> {
        let rule = plan.rule;
        let token = address(rule, decoded, line.token)?;
        let account = |name: String, account_type, class, address, probe| Account {
            name,
            account_type,
            class,
            token: Some(token),
            address,
            probe,
        };
        Ok(match line.account {
            Selector::Own { name, account_type, class } => {
                account(name.into(), account_type, class, None, None)
            }
            Selector::Holding { keeper } => {
                let holder = self.keeper(plan, emitter, keeper)?;
                let (token, at) = (address_text(&token), address_text(&holder));
                let probe = DeclaredProbe::Erc20 { token, holder: at.clone() };
                let name = format!("held by {at}");
                account(name, AccountType::Protocol, AccountClass::Asset, Some(holder), Some(probe))
            }
            Selector::Position { name, class, keeper, user } => {
                let user = address(rule, decoded, user)?;
                let (whose, contract) =
                    (address_text(&user), address_text(&self.keeper(plan, emitter, keeper)?));
                let name = format!("{name} of {whose} at {contract}");
                let probe = DeclaredProbe::Call {
                    contract,
                    function: DeclaredFunction::Text(keeper.into()),
                    arguments: vec![whose, address_text(&token)],
                    output: None,
                    direct: false,
                };
                account(name, AccountType::User, class, Some(user), Some(probe))
            }
        })
    }

    /// The contract that says it, where that keeps it; else the tenant's only one that does.
    fn keeper(&self, plan: &Plan, emitter: Address, keeper: &'static str) -> Result<Address, RuleError> {
        let keepers = self.keepers.get(&(plan.tenant_id, keeper)).map_or(&[][..], Vec::as_slice);
        match keepers {
            [only] => Ok(*only),
            several if several.contains(&emitter) => Ok(emitter),
            others => Err(RuleError::Keeper { rule: plan.rule.name, keeper, found: others.len() }),
        }
    }
}

impl RuleLine {
    fn keeper(&self) -> Option<&'static str> {
        match self.account {
            Selector::Holding { keeper } | Selector::Position { keeper, .. } => Some(keeper),
            Selector::Own { .. } => None,
        }
    }
}

fn address(rule: &Rule, decoded: &Decoded, parameter: &'static str) -> Result<Address, RuleError> {
    let value = decoded.get(parameter).and_then(DynSolValue::as_address);
    value.ok_or(RuleError::Parameter { rule: rule.name, parameter, expected: "an address" })
}

fn amount(rule: &Rule, decoded: &Decoded, parameter: &'static str) -> Result<Amount, RuleError> {
    let value = decoded.get(parameter).and_then(DynSolValue::as_uint);
    let amount = value.map(|(amount, _)| Amount(amount));
    amount.ok_or(RuleError::Parameter { rule: rule.name, parameter, expected: "an unsigned integer" })
}

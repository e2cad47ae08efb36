//! What a tenant may have a signer do. Nobody may have it do anything that was not granted.
//!
//! Pure: what was spent is told by the caller, who counts it.

use std::collections::BTreeSet;
use std::fmt;
use std::num::NonZeroU32;

use alloy_primitives::{Address, Selector, U256};
use uuid::Uuid;

use crate::fees::MAX_FEE_PER_GAS_WEI;

/// A signer as it is configured, but for its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignerPolicy {
    /// What people call it; unique on its chain.
    pub name: String,
    /// On which chain it sends.
    pub chain_id: u64,
    /// From which address.
    pub address: Address,
    /// How many of its transactions may be under way at once, sent and not yet included.
    pub window: NonZeroU32,
    /// What is offered for a unit of gas is never more, in wei; `None`: [`MAX_FEE_PER_GAS_WEI`].
    pub max_fee_per_gas_wei: Option<u128>,
    /// What becomes of a request whose nonce somebody else used.
    pub on_foreign_use: ForeignUse,
    /// At most one of each tenant, and one of everybody else.
    pub grants: Vec<Grant>,
}

/// What becomes of a request whose nonce somebody else used, once that is final.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ForeignUse {
    /// It waits for another nonce: it was proven unexecuted.
    Requeue,
    /// It ends as replaced.
    Replace,
}

/// What a tenant may have a signer do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// Who may.
    pub grantee: Grantee,
    /// Whom a transaction may be sent to.
    pub targets: Allowed<Address>,
    /// Whether it may create a contract. No list of targets and methods speaks of that.
    pub may_create: bool,
    /// What of a target may be called.
    pub methods: Allowed<Method>,
    /// The most wei that one transaction may carry.
    pub max_value_wei: Limit,
    /// The most wei that the tenant's transactions may carry in a day.
    pub max_value_wei_per_day: Limit,
    /// The most wei that the gas of the tenant's transactions may cost in a day.
    pub max_gas_wei_per_day: Limit,
}

/// Whom a grant is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grantee {
    /// Every tenant that has no grant of its own from this signer.
    Everybody,
    /// This tenant.
    Tenant(Uuid),
}

/// A list of what is allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Allowed<T: Ord> {
    /// Everything is.
    Any,
    /// These are.
    Only(BTreeSet<T>),
}

/// What is called of a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Method {
    /// Nothing: the transaction has no data, it carries value alone.
    Plain,
    /// The function of this selector.
    Selector(Selector),
}

/// An upper bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// So many wei and no more.
    Wei(U256),
    /// There is none.
    None,
}

/// What transactions carry, and what their gas costs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spending {
    /// Wei that go to targets.
    pub value_wei: U256,
    /// Wei that gas costs: what it did, and of what is still open what it may at most.
    pub gas_wei: U256,
}

/// Why a request is not sent, before a nonce is taken for it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Nothing is granted to the tenant.
    #[error("this tenant has no grant from the signer {signer}")]
    NoGrant {
        /// Its name.
        signer: String,
    },
    /// Not to this target.
    #[error("the signer may not send to {target} for this tenant")]
    Target {
        /// Where it was to go.
        target: Address,
    },
    /// No contract may be created.
    #[error("the signer may not create a contract for this tenant")]
    Creation,
    /// Not this method.
    #[error("the signer may not {} for this tenant", Called(.method.as_ref()))]
    Method {
        /// What was to be called; `None`: the data is shorter than a selector.
        method: Option<Method>,
    },
    /// It carries too much.
    #[error("the transaction carries {asked} wei, and one for this tenant may carry {limit}")]
    Value {
        /// What it carries.
        asked: U256,
        /// What it may.
        limit: U256,
    },
    /// The day's transactions carry too much.
    #[error("with this transaction the day's would carry {would_be} wei, and they may carry {limit}")]
    ValuePerDay {
        /// What they would.
        would_be: U256,
        /// What they may.
        limit: U256,
    },
    /// The day's gas costs too much.
    #[error("with this transaction the day's gas may cost {would_be} wei, and its budget is {limit}")]
    GasPerDay {
        /// What it may.
        would_be: U256,
        /// The budget.
        limit: U256,
    },
}

impl SignerPolicy {
    /// The most that it offers for a unit of gas, in wei: for whoever works it and for whoever counts what its gas may cost.
    #[must_use]
    pub fn fee_cap(&self) -> u128 {
        self.max_fee_per_gas_wei.unwrap_or(MAX_FEE_PER_GAS_WEI)
    }

    /// What this tenant is granted: its own grant, or else everybody's.
    ///
    /// # Errors
    /// [`Refusal::NoGrant`].
    pub fn grant_of(&self, tenant: Uuid) -> Result<&Grant, Refusal> {
        let of = |grantee| self.grants.iter().find(|grant| grant.grantee == grantee);
        of(Grantee::Tenant(tenant))
            .or_else(|| of(Grantee::Everybody))
            .ok_or_else(|| Refusal::NoGrant { signer: self.name.clone() })
    }
}

impl Grant {
    /// Whether one transaction may be sent: `target` is `None` where it creates a contract.
    ///
    /// # Errors
    /// The first thing that is not granted.
    pub fn allows(&self, target: Option<Address>, data: &[u8], value_wei: U256) -> Result<(), Refusal> {
        match target {
            None if !self.may_create => return Err(Refusal::Creation),
            None => {}
            Some(target) if !self.targets.has(&target) => return Err(Refusal::Target { target }),
            Some(_) => self.allows_method(Method::of(data))?,
        }
        match self.max_value_wei {
            Limit::Wei(limit) if value_wei > limit => Err(Refusal::Value { asked: value_wei, limit }),
            _ => Ok(()),
        }
    }

    /// Whether `more` may be spent in a day in which `spent` was.
    ///
    /// # Errors
    /// The first limit that it would pass.
    pub fn allows_in_day(&self, spent: Spending, more: Spending) -> Result<(), Refusal> {
        let value = spent.value_wei.saturating_add(more.value_wei);
        let gas = spent.gas_wei.saturating_add(more.gas_wei);
        match (self.max_value_wei_per_day, self.max_gas_wei_per_day) {
            // What carries nothing is not held up by what others carried.
            (Limit::Wei(limit), _) if value > limit && more.value_wei > U256::ZERO => {
                Err(Refusal::ValuePerDay { would_be: value, limit })
            }
            (_, Limit::Wei(limit)) if gas > limit => Err(Refusal::GasPerDay { would_be: gas, limit }),
            _ => Ok(()),
        }
    }

    fn allows_method(&self, method: Option<Method>) -> Result<(), Refusal> {
        let is_allowed = match (&self.methods, method) {
            (Allowed::Any, _) => true,
            (Allowed::Only(methods), Some(method)) => methods.contains(&method),
            (Allowed::Only(_), None) => false,
        };
        if is_allowed { Ok(()) } else { Err(Refusal::Method { method }) }
    }
}

impl<T: Ord> Allowed<T> {
    fn has(&self, one: &T) -> bool {
        match self {
            Self::Any => true,
            Self::Only(these) => these.contains(one),
        }
    }
}

impl Method {
    /// What this data calls; `None`: it is shorter than a selector, so that a target's fallback alone knows.
    #[must_use]
    pub fn of(data: &[u8]) -> Option<Self> {
        match data {
            [] => Some(Self::Plain),
            _ => data.first_chunk().map(|selector| Self::Selector(Selector::from(*selector))),
        }
    }
}

/// What is called, in words.
struct Called<'a>(Option<&'a Method>);

impl fmt::Display for Called<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(Method::Plain) => f.write_str("make a plain transfer, without data,"),
            Some(Method::Selector(selector)) => write!(f, "call the method {selector}"),
            None => f.write_str("send data that is shorter than a selector"),
        }
    }
}

#[cfg(test)]
#[path = "grant_tests.rs"]
mod tests;

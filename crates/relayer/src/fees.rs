//! What is offered for a unit of gas, and when more is. Pure: what the chain tells of its fees and what the policy allows go in, an offer
//! and its reason in words come out. Prices are in wei for a unit of gas, and integers throughout.
//!
//! - With base fees (EIP-1559) a sender pays the base fee and a tip, whatever the maximum: so the maximum is twice the next base fee,
//!   which six full blocks in a row do not reach (each raises it by an eighth), and the tip is what was paid of late.
//! - On Arbitrum the sequencer takes transactions as they come and ignores tips; the maximum has to cover the base fee, and that is all.
//! - With a plain gas price all of it is paid, so nothing is added for what might come.
//!
//! An offer that could not be included now is not made ([`AboveCap`]): it would hold its signer's queue behind it.

mod bump;
mod gas;
#[cfg(test)]
mod tests;

use std::fmt;

use plimsoll_chain::{FeeHistory, FeeMarket};

pub use self::{
    bump::{Bump, bump, least_replacement, replacement},
    gas::{GasError, TRANSACTION_GAS, gas_limit, intrinsic_gas, max_cost_wei, minimum_gas, most_gas},
};

/// The most that is paid for a unit of gas, in wei, where nobody says anything else.
pub const MAX_FEE_PER_GAS_WEI: u128 = 500_000_000_000;

/// Blocks whose fees are looked at.
pub const HISTORY_BLOCKS: u64 = 10;

/// The percentiles at which their tips are asked for: what each [`Urgency`] pays.
pub const REWARD_PERCENTILES: [u8; 3] = [10, 50, 90];

/// What is asked over the node's gas price, where there is no more to go by, for each [`Urgency`].
const GAS_PRICE_EXTRA_PERCENT: [u128; 3] = [0, 10, 30];

/// How a chain prices gas.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pricing {
    /// Base fee and tip (EIP-1559).
    BaseFee,
    /// A base fee, and tips that buy nothing (Arbitrum).
    BaseFeeWithoutTips,
    /// One price.
    GasPrice,
}

impl Pricing {
    /// What is added to an estimate of gas, in percent of it. What is not used is not paid. On Arbitrum an estimate contains the price of
    /// the parent chain's calldata in gas, which moves between the estimate and the block.
    #[must_use]
    pub const fn gas_margin_percent(self) -> u64 {
        match self {
            Self::BaseFee | Self::GasPrice => 20,
            Self::BaseFeeWithoutTips => 50,
        }
    }
}

/// How soon it is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Urgency {
    /// When it is cheap.
    Low,
    /// With most others.
    Normal,
    /// Before most others.
    High,
}

impl Urgency {
    /// Of a request's priority, where 0 is what nobody said anything about.
    #[must_use]
    pub const fn of_priority(priority: i16) -> Self {
        match priority {
            i16::MIN..=-1 => Self::Low,
            0 => Self::Normal,
            1.. => Self::High,
        }
    }

    const fn place(self) -> usize {
        match self {
            Self::Low => 0,
            Self::Normal => 1,
            Self::High => 2,
        }
    }
}

/// What may be offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// How the chain prices gas.
    pub pricing: Pricing,
    /// How soon it is wanted.
    pub urgency: Urgency,
    /// The least tip that this chain's nodes take.
    pub min_priority_fee_per_gas: u128,
    /// The chain's policy: nobody pays more.
    pub max_fee_per_gas: u128,
    /// The request's own limit.
    pub max_fee_limit: Option<u128>,
}

impl Terms {
    /// The most that may be offered.
    #[must_use]
    pub fn cap(&self) -> u128 {
        self.max_fee_limit.map_or(self.max_fee_per_gas, |limit| limit.min(self.max_fee_per_gas))
    }
}

/// The fees that a transaction carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fees {
    /// The most that is paid for a unit of gas, or, without the other, just what is paid.
    pub max_fee_per_gas: u128,
    /// The most of it that goes to who makes the block; none: a transaction with a plain gas price.
    pub max_priority_fee_per_gas: Option<u128>,
}

impl Fees {
    /// The tip as pools compare it: all of a plain gas price.
    #[must_use]
    pub fn tip(&self) -> u128 {
        self.max_priority_fee_per_gas.unwrap_or(self.max_fee_per_gas)
    }

    /// What the maker of a block with this base fee gets; none: it cannot be in that block.
    #[must_use]
    pub fn tip_over(&self, base_fee: u128) -> Option<u128> {
        self.max_fee_per_gas.checked_sub(base_fee).map(|rest| rest.min(self.tip()))
    }
}

impl fmt::Display for Fees {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.max_priority_fee_per_gas {
            Some(tip) => write!(f, "{} at most, {} of it as a tip", Gwei(self.max_fee_per_gas), Gwei(tip)),
            None => write!(f, "{}", Gwei(self.max_fee_per_gas)),
        }
    }
}

/// Fees, and why these.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// What is offered.
    pub fees: Fees,
    /// The decision, in words.
    pub why: String,
}

/// No offer: the next block costs more than may be paid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the next block takes {}, and {} is the most that may be paid: wait until it costs less, or raise the limit", Gwei(*.needed), Gwei(*.cap)
)]
pub struct AboveCap {
    /// What it would take.
    pub needed: u128,
    /// The most that may be offered.
    pub cap: u128,
}

/// Wei, shown as gwei.
struct Gwei(u128);

impl fmt::Display for Gwei {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const WEI: u128 = 1_000_000_000;
        let (whole, part) = (self.0 / WEI, self.0 % WEI);
        let part = format!("{part:09}");
        match part.trim_end_matches('0') {
            "" => write!(f, "{whole} gwei"),
            part => write!(f, "{whole}.{part} gwei"),
        }
    }
}

/// What the next block takes.
#[derive(Clone, Copy, Debug)]
struct Quote {
    /// Without it there is no place in the block. With a plain gas price, all of it.
    base: u128,
    /// What others give over it.
    tip: u128,
    has_tips: bool,
    is_plain: bool,
}

impl Quote {
    fn of(market: &FeeMarket, terms: &Terms) -> Self {
        let least = terms.min_priority_fee_per_gas;
        let (base, tip) = match market {
            FeeMarket::History(history) => (history.next_base_fee, paid_tip(history, terms.urgency, least)),
            // Nothing but a price, which has the tip in it.
            FeeMarket::GasPrice(price) => {
                let extra = GAS_PRICE_EXTRA_PERCENT[terms.urgency.place()];
                (price.saturating_add(percent(*price, extra)), 0)
            }
        };
        match terms.pricing {
            Pricing::BaseFee => Self { base, tip: tip.max(least), has_tips: true, is_plain: false },
            Pricing::BaseFeeWithoutTips => Self { base, tip: 0, has_tips: false, is_plain: false },
            Pricing::GasPrice => {
                Self { base: base.saturating_add(tip).max(least), tip: 0, has_tips: false, is_plain: true }
            }
        }
    }

    fn needed(&self) -> u128 {
        self.base.saturating_add(self.tip)
    }

    /// What is offered where nothing keeps it from it.
    fn wanted(&self) -> Fees {
        if self.is_plain {
            return Fees { max_fee_per_gas: self.base, max_priority_fee_per_gas: None };
        }
        let max_fee_per_gas = self.base.saturating_mul(2).saturating_add(self.tip);
        Fees { max_fee_per_gas, max_priority_fee_per_gas: Some(self.tip) }
    }

    /// Whether what is offered would be taken as soon as what is offered now.
    fn is_met_by(&self, fees: Fees) -> bool {
        fees.tip_over(self.base).is_some_and(|tip| tip >= self.tip)
    }

    fn words(&self) -> String {
        match (self.is_plain, self.has_tips) {
            (true, _) => format!("gas costs {}", Gwei(self.base)),
            (false, true) => {
                format!("the next base fee is {}, and tips of {} are paid", Gwei(self.base), Gwei(self.tip))
            }
            (false, false) => format!("the next base fee is {}, and tips buy nothing", Gwei(self.base)),
        }
    }
}

/// A part in percent, rounded up.
fn percent(of: u128, percent: u128) -> u128 {
    (of / 100).saturating_mul(percent).saturating_add(((of % 100) * percent).div_ceil(100))
}

/// The tip that was paid in the middle one of the last blocks that were not empty, at this urgency's percentile.
fn paid_tip(history: &FeeHistory, urgency: Urgency, least: u128) -> u128 {
    let blocks = history.rewards.iter().zip(&history.gas_used_ppm);
    let of_urgency = |tips: &[u128]| tips.get(urgency.place()).or(tips.last()).copied();
    let paid = blocks.filter(|(_, used_ppm)| **used_ppm > 0).filter_map(|(tips, _)| of_urgency(tips));
    let mut paid: Vec<_> = paid.collect();
    paid.sort_unstable();
    paid.get(paid.len() / 2).copied().unwrap_or(least)
}

/// What is offered for a new transaction.
///
/// # Errors
/// The next block takes more than may be offered.
pub fn offer(market: &FeeMarket, terms: &Terms) -> Result<Offer, AboveCap> {
    let (quote, cap) = (Quote::of(market, terms), terms.cap());
    if quote.base > cap {
        return Err(AboveCap { needed: quote.base, cap });
    }
    let wanted = quote.wanted();
    let max_fee_per_gas = wanted.max_fee_per_gas.min(cap);
    let max_priority_fee_per_gas = wanted.max_priority_fee_per_gas.map(|tip| tip.min(max_fee_per_gas));
    let fees = Fees { max_fee_per_gas, max_priority_fee_per_gas };
    let limit =
        if fees == wanted { String::new() } else { format!("; more than {} is not allowed", Gwei(cap)) };
    Ok(Offer { fees, why: format!("{}: {fees} is offered{limit}", quote.words()) })
}

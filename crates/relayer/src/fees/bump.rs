//! When a transaction that waits is offered more, and how much more.
//!
//! A pool takes a replacement only if both the maximum and the tip are at least a tenth higher, and higher at all (geth
//! `core/txpool/legacypool/list.go`, `list.Add`, with `PriceBump` 10, whose threshold is `old * 110 / 100` rounded down; reth, Nethermind,
//! Erigon and Besu ask for no more by default). Rounded up, it is enough for each of them.
//!
//! More is offered only where it helps. What is offered enough and is not included waits for something else: a lower nonce, a full queue,
//! a node that lost it. Then paying more would change nothing, and send one more version of it into the world.

use plimsoll_chain::FeeMarket;

use super::{AboveCap, Fees, Gwei, Offer, Pricing, Quote, Terms};

/// What to do about a transaction that waits, as far as fees go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Bump {
    /// Send it again with these.
    To(Offer),
    /// It offers enough: the trouble is elsewhere.
    NoUse {
        /// Where it may be, in words.
        why: String,
    },
    /// It would take more than may be offered.
    AtCap(AboveCap),
}

/// A tenth more, rounded up, and more at all.
fn raised(old: u128) -> u128 {
    old.saturating_add(old.div_ceil(10)).max(old.saturating_add(1))
}

/// The least that takes the place of a transaction with these fees in a pool.
#[must_use]
pub fn least_replacement(old: Fees) -> Fees {
    Fees {
        max_fee_per_gas: raised(old.max_fee_per_gas),
        max_priority_fee_per_gas: old.max_priority_fee_per_gas.map(raised),
    }
}

/// Whether more is offered for a transaction that waits with these fees. `waits_behind`: the lowest nonce of its sender that is not
/// consumed, where that is not its own.
#[must_use]
pub fn bump(old: Fees, market: &FeeMarket, terms: &Terms, waits_behind: Option<u64>) -> Bump {
    let quote = Quote::of(market, terms);
    if quote.is_met_by(old) {
        let elsewhere = match waits_behind {
            Some(nonce) => format!("it waits for nonce {nonce}"),
            None => "what keeps it is not its fee".to_owned(),
        };
        return Bump::NoUse { why: format!("{}, and it offers {old}: {elsewhere}", quote.words()) };
    }
    match replacement(old, market, terms) {
        // A higher offer that is still below the base fee would be as idle as the last.
        Ok(offer) if offer.fees.max_fee_per_gas < quote.base => {
            Bump::AtCap(AboveCap { needed: quote.needed(), cap: terms.cap() })
        }
        Ok(offer) => Bump::To(offer),
        Err(above) => Bump::AtCap(above),
    }
}

/// What takes the place of a transaction with these fees, whether it needs more or not: to cancel it, or because somebody asks for it. It
/// is of the same type.
///
/// # Errors
/// The least that takes its place is more than may be offered.
pub fn replacement(old: Fees, market: &FeeMarket, terms: &Terms) -> Result<Offer, AboveCap> {
    let (quote, cap) = (Quote::of(market, terms), terms.cap());
    let least = least_replacement(old);
    if least.max_fee_per_gas > cap {
        return Err(AboveCap { needed: least.max_fee_per_gas, cap });
    }
    let wanted = quote.wanted();
    let max_fee_per_gas = wanted.max_fee_per_gas.max(least.max_fee_per_gas).min(cap);
    let tip = |least: u128, old: u128| match terms.pricing {
        // No pool compares it, and nobody is paid by it.
        Pricing::BaseFeeWithoutTips => old,
        Pricing::BaseFee | Pricing::GasPrice => least.max(quote.tip).min(max_fee_per_gas),
    };
    let tips = least.max_priority_fee_per_gas.zip(old.max_priority_fee_per_gas);
    let fees = Fees { max_fee_per_gas, max_priority_fee_per_gas: tips.map(|(least, old)| tip(least, old)) };
    let limit = if wanted.max_fee_per_gas > cap {
        format!("; more than {} is not allowed", Gwei(cap))
    } else {
        String::new()
    };
    let why = format!(
        "{}, and it offers {old}: {fees} is offered, a tenth more at least, or it would not take its place{limit}",
        quote.words()
    );
    Ok(Offer { fees, why })
}

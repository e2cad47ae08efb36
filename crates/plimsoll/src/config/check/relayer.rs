//! How the relayer works a chain: what the chain says itself, and what is said for all.

use plimsoll_relayer::fees::Pricing;

use super::{duration, saturated};
use crate::config::read::Group;
use crate::config::{OnStaleData, Relayer};

/// Of this chain; `None` where a problem was noted.
pub(super) fn of_chain(chain: &Group, for_all: Option<&Group>) -> Option<Relayer> {
    let (own, for_all) = (chain.group("relayer")?, for_all?);
    let of = |key: &str| if own.given(key) { own } else { for_all };
    Some(Relayer {
        policy_interval: duration(of("policy_interval_ms"), "policy_interval_ms")?,
        resend_after_blocks: of("resend_after_blocks").integer("resend_after_blocks")?,
        bump_after_blocks: of("bump_after_blocks").integer("bump_after_blocks")?,
        resend_after: duration(of("resend_after_ms"), "resend_after_ms")?,
        max_fee_per_gas_wei: saturated(of("max_fee_per_gas_wei").text("max_fee_per_gas_wei")?),
        min_priority_fee_per_gas_wei: saturated(
            of("min_priority_fee_per_gas_wei").text("min_priority_fee_per_gas_wei")?,
        ),
        pricing: match of("gas_pricing").text("gas_pricing")? {
            "base_fee" => Some(Pricing::BaseFee),
            "base_fee_without_tips" => Some(Pricing::BaseFeeWithoutTips),
            "gas_price" => Some(Pricing::GasPrice),
            _ => None,
        },
        on_stale_data: match of("on_stale_data").text("on_stale_data")? {
            "hold_all" => OnStaleData::HoldAll,
            "send" => OnStaleData::Send,
            _ => OnStaleData::HoldDecided,
        },
    })
}

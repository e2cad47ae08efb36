//! Who signs for the platform, as it is told.

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use super::SignerBalance;
use crate::Amount;

/// Who signs for the platform.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Signer {
    /// On which chain.
    #[cfg_attr(feature = "openapi", schema(example = 31_337))]
    pub chain_id: u64,
    /// From which address.
    #[cfg_attr(
        feature = "openapi",
        schema(pattern = "^0x[0-9a-f]{40}$", example = "0x70997970c51812dc3a010c7d01b50e0d17dc79c8")
    )]
    pub address: String,
    /// What people call it.
    #[cfg_attr(feature = "openapi", schema(example = "settlement"))]
    pub name: String,
    /// How many of its transactions may be under way at once.
    pub window: u32,
    /// The first nonce that nothing was signed for.
    pub next_nonce: u64,
    /// The first nonce that no block has used, as far as it was seen.
    pub consumed_next: u64,
    /// The same, as most endpoints said at `seen_at`; null where too few did.
    #[cfg_attr(feature = "openapi", schema(required = true))]
    pub chain_nonce: Option<u64>,
    /// When they were asked for `chain_nonce`; null where they never were.
    #[serde(with = "time::serde::rfc3339::option")]
    #[cfg_attr(feature = "openapi", schema(required = true))]
    pub seen_at: Option<OffsetDateTime>,
    /// Which signer does in its place what it has not begun; null while it does that itself.
    #[cfg_attr(feature = "openapi", schema(required = true, pattern = "^0x[0-9a-f]{40}$"))]
    pub rotated_to: Option<String>,
    /// What it has to pay for gas and value, and after which block: asked of the chain for this very answer; null where it cannot be asked now.
    #[cfg_attr(feature = "openapi", schema(required = true))]
    pub balance: Option<SignerBalance>,
    /// Who works it; null while nobody does.
    #[cfg_attr(feature = "openapi", schema(required = true))]
    pub lease: Option<SignerLease>,
    /// Where it is worked, or is to be: the process's address where it is configured (`api.node_url`), else its name; null while nobody stands by. What is handed in there is worked without a detour.
    #[cfg_attr(feature = "openapi", schema(required = true, example = "https://node-a.plimsoll.example"))]
    pub route: Option<String>,
    /// Why nothing is sent, where an operator stopped it.
    pub halts: Vec<Halt>,
    /// What the tenant may spend with it.
    pub budget: Budget,
}

/// What a tenant may spend with a signer; null where there is no limit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Budget {
    /// Wei that one transaction may carry.
    #[cfg_attr(feature = "openapi", schema(required = true, value_type = Option<String>, pattern = "^[0-9]{1,78}$"))]
    pub max_value_wei: Option<Amount>,
    /// Wei that its transactions may carry in 24 hours.
    #[cfg_attr(feature = "openapi", schema(required = true, value_type = Option<String>, pattern = "^[0-9]{1,78}$"))]
    pub max_value_wei_per_day: Option<Amount>,
    /// Wei that their gas may cost in 24 hours.
    #[cfg_attr(feature = "openapi", schema(required = true, value_type = Option<String>, pattern = "^[0-9]{1,78}$"))]
    pub max_gas_wei_per_day: Option<Amount>,
    /// What the last 24 hours count, where one of the two is limited.
    #[cfg_attr(feature = "openapi", schema(required = true))]
    pub spent: Option<Spent>,
}

/// What a tenant's transactions of the last 24 hours count.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Spent {
    /// Wei that they carried, or may.
    #[cfg_attr(feature = "openapi", schema(value_type = String, pattern = "^[0-9]{1,78}$", example = "0"))]
    pub value_wei: Amount,
    /// Wei that their gas cost, or may at most where they are open.
    #[cfg_attr(feature = "openapi", schema(value_type = String, pattern = "^[0-9]{1,78}$", example = "21000000000000"))]
    pub gas_wei: Amount,
    /// Transactions of which it is not known yet how much gas they may use; while there are any, a budget for gas takes no more.
    pub unbounded: u64,
}

/// Who works a signer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SignerLease {
    /// Which process.
    #[cfg_attr(feature = "openapi", schema(example = "node-a:4711"))]
    pub holder: String,
    /// Its fencing token: a later holder's is higher.
    pub token: u64,
    /// Until when, unless it is renewed.
    #[serde(with = "time::serde::rfc3339")]
    pub expires_at: OffsetDateTime,
}

/// An operator's word that nothing is sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Halt {
    /// Whether it is for the caller's tenant; else for every tenant.
    pub is_for_tenant: bool,
    /// Whether it is for this signer; else for every signer.
    pub is_for_signer: bool,
    /// Why.
    pub reason: String,
    /// Since when.
    #[serde(with = "time::serde::rfc3339")]
    pub thrown_at: OffsetDateTime,
}

/// The signers that the tenant may use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Signers {
    /// The signers, by chain and name.
    pub items: Vec<Signer>,
}

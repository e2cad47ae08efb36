//! What operators do to the relayer.

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use uuid::Uuid;

use super::identity::keyed;

keyed! {
    /// Which of the tenant's switches is thrown or released: the one for all signers, or for one.
    pub struct KillSwitchOrder {
        /// The chain of the signer that is meant; left out: every signer.
        #[serde(default, deserialize_with = "crate::api::whole::whole_or_none")]
        #[cfg_attr(feature = "openapi", schema(minimum = 1, maximum = 9_223_372_036_854_775_807_u64, example = json!(null)))]
        pub chain_id: Option<u64>,
        /// Its address, in any letter case; left out together with the chain.
        #[serde(default)]
        #[cfg_attr(feature = "openapi", schema(pattern = "^0x[0-9a-fA-F]{40}$", example = json!(null)))]
        pub signer: Option<String>,
        /// Why: whoever waits and the audit are told.
        #[cfg_attr(feature = "openapi", schema(min_length = 1, max_length = 500, example = "prices look wrong, ticket 42"))]
        pub reason: String,
    }
}

/// An operator's word that nothing new is sent. What is under way goes on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct KillSwitch {
    /// Whether it is the caller's tenant's own; else it is the platform's, for every tenant, and the platform alone releases it.
    pub is_for_tenant: bool,
    /// The chain of the signer that it is for; null: every signer.
    #[cfg_attr(feature = "openapi", schema(required = true))]
    pub chain_id: Option<u64>,
    /// That signer's address.
    #[cfg_attr(feature = "openapi", schema(required = true, pattern = "^0x[0-9a-f]{40}$"))]
    pub signer: Option<String>,
    /// Why.
    pub reason: String,
    /// Who threw it; null where it was the platform.
    #[cfg_attr(feature = "openapi", schema(required = true))]
    pub thrown_by: Option<String>,
    /// Since when.
    #[serde(with = "time::serde::rfc3339")]
    pub thrown_at: OffsetDateTime,
}

/// The switches that hold back anything of the tenant's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct KillSwitches {
    /// The switches, the oldest first.
    pub items: Vec<KillSwitch>,
}

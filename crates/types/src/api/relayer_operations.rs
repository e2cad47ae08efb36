//! What operators do to the relayer.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use time::OffsetDateTime;
use uuid::Uuid;

use super::identity::keyed;

/// Which of the tenant's switches is thrown or released: the one for a signer (`chain_id` and `signer`), or the one for all of them.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum KillSwitchOrder {
    /// For one signer.
    Signer(SignerSwitchOrder),
    /// For every signer.
    Tenant(TenantSwitchOrder),
}

impl<'de> Deserialize<'de> for KillSwitchOrder {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let value = serde_json::Value::deserialize(from)?;
        // By what it alone has, so that what is wrong is said of the right one.
        let read = if value.get("chain_id").is_some() || value.get("signer").is_some() {
            serde_json::from_value(value).map(Self::Signer)
        } else {
            serde_json::from_value(value).map(Self::Tenant)
        };
        read.map_err(D::Error::custom)
    }
}

impl super::Keyed for KillSwitchOrder {
    fn request_id(&self) -> Uuid {
        self.keys().request_id()
    }

    fn tenant_id(&self) -> Uuid {
        self.keys().tenant_id()
    }

    fn user_id(&self) -> Uuid {
        self.keys().user_id()
    }

    fn created_by(&self) -> Option<&str> {
        self.keys().created_by()
    }
}

impl KillSwitchOrder {
    fn keys(&self) -> &dyn super::Keyed {
        match self {
            Self::Signer(of) => of,
            Self::Tenant(of) => of,
        }
    }

    /// Why.
    #[must_use]
    pub fn reason(&self) -> &str {
        match self {
            Self::Signer(of) => &of.reason,
            Self::Tenant(of) => &of.reason,
        }
    }
}

keyed! {
    /// The tenant's switch for one signer.
    pub struct SignerSwitchOrder {
        /// The chain of the signer.
        #[serde(deserialize_with = "crate::api::whole::whole")]
        #[cfg_attr(feature = "openapi", schema(minimum = 1, maximum = 9_223_372_036_854_775_807_u64, example = 31_337))]
        pub chain_id: u64,
        /// Its address, in any letter case.
        #[cfg_attr(feature = "openapi", schema(pattern = "^0x[0-9a-fA-F]{40}$", example = "0x70997970c51812dc3a010c7d01b50e0d17dc79c8"))]
        pub signer: String,
        /// Why: whoever waits and the audit are told.
        #[cfg_attr(feature = "openapi", schema(min_length = 1, max_length = 500, example = "prices look wrong, ticket 42"))]
        pub reason: String,
    }
}

keyed! {
    /// The tenant's switch for every signer.
    pub struct TenantSwitchOrder {
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

keyed! {
    /// Who does a signer's work from now on.
    pub struct SignerRotationOrder {
        /// The chain of both.
        #[serde(deserialize_with = "crate::api::whole::whole")]
        #[cfg_attr(feature = "openapi", schema(minimum = 1, maximum = 9_223_372_036_854_775_807_u64, example = 31_337))]
        pub chain_id: u64,
        /// The address of the signer that takes over, in any letter case.
        #[cfg_attr(feature = "openapi", schema(pattern = "^0x[0-9a-fA-F]{40}$", example = "0x70997970c51812dc3a010c7d01b50e0d17dc79c8"))]
        pub successor: String,
        /// Why: the audit says so.
        #[cfg_attr(feature = "openapi", schema(min_length = 1, max_length = 500, example = "its key is to be replaced, ticket 42"))]
        pub reason: String,
    }
}

/// A signer that hands over to another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SignerRotation {
    /// The chain of both.
    #[cfg_attr(feature = "openapi", schema(example = 31_337))]
    pub chain_id: u64,
    /// The address of the signer that hands over.
    #[cfg_attr(
        feature = "openapi",
        schema(pattern = "^0x[0-9a-f]{40}$", example = "0x3c44cdddb6a900fa2b585dd299e03d12fa4293bc")
    )]
    pub address: String,
    /// What people call it.
    #[cfg_attr(feature = "openapi", schema(example = "settlement"))]
    pub name: String,
    /// The address of the signer that does in its place what it has not begun.
    #[cfg_attr(
        feature = "openapi",
        schema(pattern = "^0x[0-9a-f]{40}$", example = "0x70997970c51812dc3a010c7d01b50e0d17dc79c8")
    )]
    pub rotated_to: String,
}

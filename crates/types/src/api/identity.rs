//! Users, roles, keys, sessions and approvals, and the three keys that every write carries.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use time::OffsetDateTime;
use uuid::Uuid;

/// The three keys of a write (spec 2 §5.1, §7).
pub trait Keyed {
    /// The request, as its caller names it: the audit knows it by this.
    fn request_id(&self) -> Uuid;
    /// For whom.
    fn tenant_id(&self) -> Uuid;
    /// Who asks.
    fn user_id(&self) -> Uuid;
    /// Who asks, as the audit names them.
    fn created_by(&self) -> Option<&str>;
}

/// The body of a write: its own fields after the three keys. Fields that are not known are refused.
macro_rules! keyed {
    ($(#[$doc:meta])* pub struct $name:ident { $($(#[$about:meta])* pub $field:ident: $kind:ty,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, Serialize, Deserialize)]
        #[serde(deny_unknown_fields)]
        #[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
        pub struct $name {
            /// New for each new request: the audit knows it by this.
            #[cfg_attr(feature = "openapi", schema(example = "0198c5a1-7d2e-7c3a-9a55-3f1f0c6d2b11"))]
            pub request_id: Uuid,
            /// The caller's tenant.
            #[cfg_attr(feature = "openapi", schema(example = "0198c5a1-7d2e-7c3a-9a55-3f1f0c6d2b10"))]
            pub tenant_id: Uuid,
            /// The caller.
            #[cfg_attr(feature = "openapi", schema(example = "0198c5a1-8a01-7b1e-b7a4-5f0d3c2b1a00"))]
            pub user_id: Uuid,
            /// The caller, as the audit names it (`user:<uuid>`, `key:<id>`).
            #[serde(default, skip_serializing_if = "Option::is_none")]
            #[cfg_attr(feature = "openapi", schema(example = "user:0198c5a1-8a01-7b1e-b7a4-5f0d3c2b1a00"))]
            pub created_by: Option<String>,
            $($(#[$about])* pub $field: $kind,)*
        }

        impl crate::api::Keyed for $name {
            fn request_id(&self) -> Uuid {
                self.request_id
            }

            fn tenant_id(&self) -> Uuid {
                self.tenant_id
            }

            fn user_id(&self) -> Uuid {
                self.user_id
            }

            fn created_by(&self) -> Option<&str> {
                self.created_by.as_deref()
            }
        }
    };
}

keyed! {
    /// A write that says nothing but who asks for it.
    pub struct Plain {}
}

/// What a user is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum UserKind {
    /// A human being. Only one of these approves.
    Person,
    /// A program of the tenant's.
    Machine,
    /// The AI layer: it reads, and never writes.
    Agent,
}

/// Where a user stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum UserStatus {
    /// May do what the roles say.
    Active,
    /// Is turned away, with every session and key.
    Suspended,
    /// May sign in, and do nothing yet.
    PendingReview,
}

/// A user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct User {
    /// Its id, by age.
    #[cfg_attr(feature = "openapi", schema(example = "0198c5a1-8a01-7b1e-b7a4-5f0d3c2b1a00"))]
    pub user_id: Uuid,
    /// What it is.
    pub kind: UserKind,
    /// Where it stands.
    pub status: UserStatus,
    /// For people to read.
    #[cfg_attr(feature = "openapi", schema(example = "Ada Lovelace"))]
    pub display_name: String,
    /// When it was made.
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
}

/// A user with all that belongs to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct UserDetail {
    /// The user.
    #[serde(flatten)]
    pub user: User,
    /// Its addresses.
    pub addresses: Vec<LinkedAddress>,
    /// Its roles, by name.
    #[cfg_attr(feature = "openapi", schema(example = json!(["accountant"])))]
    pub roles: Vec<String>,
    /// All that these allow together.
    #[cfg_attr(feature = "openapi", schema(example = json!(["ledger:read", "ledger:post"])))]
    pub permissions: Vec<String>,
}

/// An address of a user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct LinkedAddress {
    /// On which chain.
    #[cfg_attr(feature = "openapi", schema(example = 31_337))]
    pub chain_id: u64,
    /// Which.
    #[cfg_attr(
        feature = "openapi",
        schema(pattern = "^0x[0-9a-f]{40}$", example = "0x70997970c51812dc3a010c7d01b50e0d17dc79c8")
    )]
    pub address: String,
    /// Since when.
    #[serde(with = "time::serde::rfc3339")]
    pub linked_at: OffsetDateTime,
}

/// A page of users, by id, which is by age.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Users {
    /// The users.
    pub items: Vec<User>,
    /// Give this as `cursor` for the next page; null on the last one.
    #[cfg_attr(feature = "openapi", schema(required = true))]
    pub next_cursor: Option<String>,
}

keyed! {
    /// A user to be made.
    pub struct NewUser {
        /// What it is.
        pub kind: UserKind,
        /// For people to read: 1 to 200 characters.
        #[cfg_attr(feature = "openapi", schema(min_length = 1, max_length = 200, example = "Ada Lovelace"))]
        pub display_name: String,
        /// Whether it may do nothing until somebody activates it.
        #[serde(default)]
        pub pending_review: bool,
        /// Its roles.
        #[serde(default)]
        #[cfg_attr(feature = "openapi", schema(max_items = 32, example = json!(["accountant"])))]
        pub roles: Vec<String>,
    }
}

keyed! {
    /// An address to be given to a user, or taken.
    pub struct AddressChange {
        /// On which chain.
        #[cfg_attr(feature = "openapi", schema(minimum = 1, maximum = 9_223_372_036_854_775_807_u64, example = 31_337))]
        #[serde(deserialize_with = "crate::api::whole::whole")]
        pub chain_id: u64,
        /// Which, in any letter case.
        #[cfg_attr(feature = "openapi", schema(pattern = "^0x[0-9a-fA-F]{40}$", example = "0x70997970c51812dc3a010c7d01b50e0d17dc79c8"))]
        pub address: String,
    }
}

keyed! {
    /// A role to be given to a user, or taken.
    pub struct RoleChange {
        /// Which.
        #[cfg_attr(feature = "openapi", schema(min_length = 1, max_length = 64, example = "accountant"))]
        pub role: String,
    }
}

/// A role of a tenant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TenantRole {
    /// Its name, unique in its tenant.
    #[cfg_attr(feature = "openapi", schema(example = "accountant"))]
    pub name: String,
    /// Whether agents may hold it: it holds no write then.
    pub is_agent: bool,
    /// Whether every tenant has it.
    pub is_builtin: bool,
    /// What it allows.
    #[cfg_attr(feature = "openapi", schema(example = json!(["ledger:read", "ledger:post"])))]
    pub permissions: Vec<String>,
    /// How many users have it.
    #[cfg_attr(feature = "openapi", schema(example = 3))]
    pub holders: u64,
    /// When it was made.
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
}

/// A page of roles, by name.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TenantRoles {
    /// The roles.
    pub items: Vec<TenantRole>,
    /// Give this as `cursor` for the next page; null on the last one.
    #[cfg_attr(feature = "openapi", schema(required = true))]
    pub next_cursor: Option<String>,
}

/// A permission, by its name. The document lists those that there are.
#[cfg(feature = "openapi")]
#[derive(utoipa::ToSchema)]
#[schema(value_type = String, example = "ledger:read")]
pub struct PermissionName(pub String);

keyed! {
    /// A role to be made.
    pub struct NewRole {
        /// Lower-case letters, digits, `-` and `_`, a letter first.
        #[cfg_attr(feature = "openapi", schema(pattern = "^[a-z][a-z0-9_-]{0,63}$", example = "night-desk"))]
        pub name: String,
        /// Whether agents may hold it: then it can hold no write.
        #[serde(default)]
        pub is_agent: bool,
        /// What it allows. Nobody can give what they do not have.
        #[serde(default)]
        #[cfg_attr(feature = "openapi", schema(value_type = Vec<PermissionName>, max_items = 64, example = json!(["retry:read", "retry:operate"])))]
        pub permissions: Vec<String>,
    }
}

keyed! {
    /// A permission to be given to a role, or taken.
    pub struct PermissionChange {
        /// Which.
        #[cfg_attr(feature = "openapi", schema(value_type = PermissionName))]
        pub permission: String,
    }
}

keyed! {
    /// A request for another person's approval.
    pub struct NewApproval {
        /// The permission that the action needs.
        #[cfg_attr(feature = "openapi", schema(value_type = PermissionName))]
        pub action: String,
        /// All of the action, amounts and targets too: what is done must be exactly this.
        #[cfg_attr(feature = "openapi", schema(value_type = Object, example = json!({ "rows": [17, 18] })))]
        pub body: Value,
        /// How long the request waits for a decision and its use, in seconds: up to seven days.
        #[cfg_attr(feature = "openapi", schema(minimum = 1, maximum = 604_800, example = 86_400))]
        #[serde(deserialize_with = "crate::api::whole::whole")]
        pub term_seconds: u32,
    }
}

keyed! {
    /// A decision on another's request.
    pub struct NewDecision {
        /// Why, up to 2,000 characters.
        #[serde(default)]
        #[cfg_attr(feature = "openapi", schema(max_length = 2000, example = "the rows are those of the incident"))]
        pub reason: String,
    }
}

/// What another person said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum Decision {
    /// It may be done, once.
    Approved,
    /// It may not.
    Rejected,
}

/// A request for approval, and what became of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Approval {
    /// Its id, by age.
    pub approval_id: Uuid,
    /// The permission that the action needs.
    #[cfg_attr(feature = "openapi", schema(example = "admin:repair"))]
    pub action: String,
    /// The action, for the approver to read.
    #[cfg_attr(feature = "openapi", schema(value_type = Object, example = json!({ "rows": [17, 18] })))]
    pub body: Value,
    /// SHA-256 over tenant, permission and body: what is approved.
    #[cfg_attr(feature = "openapi", schema(pattern = "^0x[0-9a-f]{64}$"))]
    pub digest: String,
    /// Who asked.
    pub requested_by: Uuid,
    /// When.
    #[serde(with = "time::serde::rfc3339")]
    pub requested_at: OffsetDateTime,
    /// Until when it can be decided and used.
    #[serde(with = "time::serde::rfc3339")]
    pub expires_at: OffsetDateTime,
    /// What was decided; null while nobody has.
    #[cfg_attr(feature = "openapi", schema(required = true))]
    pub decision: Option<Decision>,
    /// By whom.
    #[cfg_attr(feature = "openapi", schema(required = true))]
    pub decided_by: Option<Uuid>,
    /// Why.
    #[cfg_attr(feature = "openapi", schema(required = true))]
    pub reason: Option<String>,
    /// When it was used; an approval is good for one action.
    #[serde(with = "time::serde::rfc3339::option")]
    #[cfg_attr(feature = "openapi", schema(required = true))]
    pub used_at: Option<OffsetDateTime>,
}

/// A page of approvals, by id, which is by age.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Approvals {
    /// The approvals.
    pub items: Vec<Approval>,
    /// Give this as `cursor` for the next page; null on the last one.
    #[cfg_attr(feature = "openapi", schema(required = true))]
    pub next_cursor: Option<String>,
}

pub(crate) use keyed;

//! Who acts, once that is proved; and the one place that says no.

use uuid::Uuid;

use crate::permission::{Permission, PermissionSet};

/// What a user is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UserKind {
    /// A human being. Only one of these approves.
    Person,
    /// A program of the tenant's.
    Machine,
    /// The AI layer: it reads, and never writes.
    Agent,
}

/// Where a user stands. The hook for a KYC process: it moves a user between these, and nothing else has to know of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UserStatus {
    /// May do what the roles say.
    Active,
    /// Is turned away at once, with every session and key.
    Suspended,
    /// May sign in, and do nothing yet.
    PendingReview,
}

/// By what the principal proved who it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credential {
    /// A session, by its token.
    Session(Uuid),
    /// An API key, by its id.
    ApiKey(String),
}

/// Somebody who has proved who they are, with what they may do at this moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    /// Whose user.
    pub tenant_id: Uuid,
    /// Which user.
    pub user_id: Uuid,
    /// What the user is.
    pub kind: UserKind,
    /// Where the user stands; never [`UserStatus::Suspended`].
    pub status: UserStatus,
    /// What the roles allow, within the scopes of the credential.
    pub permissions: PermissionSet,
    /// By what it was proved.
    pub credential: Credential,
    /// Whether a second factor was given too, and lately. A machine's is its client certificate.
    pub second_factor: bool,
}

/// Why a principal may not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// No role, or no scope of the key, allows it.
    #[error("this needs the permission {0}; an administrator of the tenant can give a role that has it")]
    Missing(Permission),
    /// The principal is an agent, and this writes.
    #[error("{0} changes something, and an agent never does, whatever its roles say")]
    Agent(Permission),
    /// It is sensitive, and only one factor was given.
    #[error(
        "{0} is sensitive: give a second factor first (a machine: a key that is bound to its client certificate)"
    )]
    SecondFactor(Permission),
    /// The user is under review.
    #[error("this user is under review and may not do anything yet")]
    PendingReview,
    /// It is about another tenant. Told to the caller as "not found": what other tenants have is nobody's business.
    #[error("this belongs to another tenant")]
    OtherTenant,
}

impl Principal {
    /// Whether the principal may do this now. Every check of a permission is this call.
    ///
    /// # Errors
    /// [`Denied`] says what is missing, and how to get it.
    pub fn require(&self, permission: Permission) -> Result<(), Denied> {
        if self.status != UserStatus::Active {
            return Err(Denied::PendingReview);
        }
        if self.kind == UserKind::Agent && permission.is_write() {
            return Err(Denied::Agent(permission));
        }
        if !self.permissions.contains(permission) {
            return Err(Denied::Missing(permission));
        }
        if permission.is_sensitive() && !self.second_factor {
            return Err(Denied::SecondFactor(permission));
        }
        Ok(())
    }

    /// As [`Principal::require`], for something that belongs to `tenant_id`.
    ///
    /// # Errors
    /// As there, and [`Denied::OtherTenant`] before anything else.
    pub fn require_in(&self, tenant_id: Uuid, permission: Permission) -> Result<(), Denied> {
        if self.tenant_id == tenant_id { self.require(permission) } else { Err(Denied::OtherTenant) }
    }

    /// As a `Context` names who acts: `user:<uuid>`, or `key:<id>`.
    #[must_use]
    pub fn actor(&self) -> String {
        match &self.credential {
            Credential::Session(_) => format!("user:{}", self.user_id),
            Credential::ApiKey(key_id) => format!("key:{key_id}"),
        }
    }
}

/// How an enum is stored and shown.
macro_rules! text_enum {
    ($type:ty { $($variant:ident = $text:literal,)* }) => {
        impl $type {
            /// As it is stored and shown.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }
        }
    };
}
/// As [`text_enum`], for one that is read back too.
macro_rules! stored_enum {
    ($type:ty { $($variant:ident = $text:literal,)* }) => {
        crate::principal::text_enum!($type { $($variant = $text,)* });

        impl $type {
            pub(crate) fn stored(text: &str) -> Result<Self, sqlx::Error> {
                match text {
                    $($text => Ok(Self::$variant),)*
                    other => Err(sqlx::Error::Decode(format!("{other:?} is no {}", stringify!($type)).into())),
                }
            }
        }
    };
}
pub(crate) use {stored_enum, text_enum};

stored_enum!(UserKind { Person = "person", Machine = "machine", Agent = "agent", });
stored_enum!(UserStatus { Active = "active", Suspended = "suspended", PendingReview = "pending_review", });

#[cfg(test)]
mod tests {
    use super::*;

    fn principal(kind: UserKind, permissions: &[Permission]) -> Principal {
        Principal {
            tenant_id: Uuid::from_u128(1),
            user_id: Uuid::from_u128(2),
            kind,
            status: UserStatus::Active,
            permissions: permissions.iter().copied().collect(),
            credential: Credential::Session(Uuid::from_u128(3)),
            second_factor: true,
        }
    }

    #[test]
    fn an_agent_never_writes_even_if_a_role_said_so() {
        let agent = principal(UserKind::Agent, Permission::ALL);
        for permission in Permission::ALL.iter().copied() {
            let expected = if permission.is_write() { Err(Denied::Agent(permission)) } else { Ok(()) };
            assert_eq!(agent.require(permission), expected);
        }
    }

    #[test]
    fn what_no_role_allows_is_denied_by_name() {
        let viewer = principal(UserKind::Person, &[Permission::LedgerRead]);
        assert_eq!(viewer.require(Permission::LedgerRead), Ok(()));
        assert_eq!(viewer.require(Permission::LedgerPost), Err(Denied::Missing(Permission::LedgerPost)));
    }

    #[test]
    fn a_sensitive_permission_waits_for_the_second_factor() {
        let mut accountant = principal(UserKind::Person, Permission::ALL);
        assert_eq!(accountant.require(Permission::LedgerPost), Ok(()));
        accountant.second_factor = false;
        for permission in Permission::ALL.iter().copied() {
            assert_eq!(accountant.require(permission).is_ok(), !permission.is_sensitive(), "{permission}");
        }
    }

    #[test]
    fn a_user_under_review_may_nothing_and_another_tenant_is_none_of_their_business() {
        let mut user = principal(UserKind::Person, Permission::ALL);
        assert_eq!(user.require_in(Uuid::from_u128(9), Permission::LedgerRead), Err(Denied::OtherTenant));
        assert_eq!(user.require_in(Uuid::from_u128(1), Permission::LedgerRead), Ok(()));
        user.status = UserStatus::PendingReview;
        assert_eq!(user.require(Permission::LedgerRead), Err(Denied::PendingReview));
    }
}

//! What may be granted, and the one fact that decides for agents: does it write?

use std::fmt;

macro_rules! permissions {
    ($($(#[$doc:meta])* $variant:ident = $name:literal, $access:ident;)*) => {
        /// One thing that a role may allow. The names are data too: the table `permissions` has the same list.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Permission {
            $($(#[$doc])* $variant,)*
        }

        impl Permission {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// As it is stored and shown: `ledger:post`.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            const fn access(self) -> Access {
                match self { $(Self::$variant => Access::$access,)* }
            }
        }
    };
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Access {
    Read,
    Write,
    /// A write that asks for a second factor too (spec 2 §5.5).
    Sensitive,
}

permissions! {
    /// Positions and the other mirrors.
    PositionsRead = "positions:read", Read;
    /// The event stream and its causality.
    EventsRead = "events:read", Read;
    /// Users and their addresses.
    UsersRead = "users:read", Read;
    /// Roles and who has them.
    RolesRead = "roles:read", Read;
    /// API keys, without their secrets.
    KeysRead = "keys:read", Read;
    /// Approvals, asked for and decided.
    ApprovalsRead = "approvals:read", Read;
    /// The retry queue.
    RetryRead = "retry:read", Read;
    /// Transactions of the relayer.
    RelayerRead = "relayer:read", Read;
    /// The books.
    LedgerRead = "ledger:read", Read;
    /// Breaks and proposals of the reconciliation.
    ReconRead = "recon:read", Read;
    /// The audit.
    AuditRead = "audit:read", Read;
    /// The tenant's configuration and limits.
    TenantRead = "tenant:read", Read;
    /// Make and suspend users, link their addresses.
    UsersWrite = "users:write", Sensitive;
    /// Make roles and give them.
    RolesWrite = "roles:write", Sensitive;
    /// Issue, rotate and revoke API keys.
    KeysWrite = "keys:write", Sensitive;
    /// Ask for another person's approval.
    ApprovalsRequest = "approvals:request", Write;
    /// Approve or reject what another asked for.
    ApprovalsDecide = "approvals:decide", Sensitive;
    /// Ask for a retry.
    RetryRequest = "retry:request", Write;
    /// Retry, ignore and replay as an operator.
    RetryOperate = "retry:operate", Write;
    /// Hand a transaction to the relayer.
    RelayerSubmit = "relayer:submit", Write;
    /// Cancel, replace, halt.
    RelayerOperate = "relayer:operate", Sensitive;
    /// Post to the books.
    LedgerPost = "ledger:post", Sensitive;
    /// Propose a compensating entry.
    ReconPropose = "recon:propose", Write;
    /// Repair.
    AdminRepair = "admin:repair", Sensitive;
    /// Let an advice of the AI layer become an action.
    AiAuthorize = "ai:authorize", Sensitive;
    /// Change the tenant's configuration.
    TenantConfigure = "tenant:configure", Sensitive;
}

const _: () = assert!(Permission::ALL.len() <= 64, "a PermissionSet has 64 bits");

impl Permission {
    /// Whether it changes anything.
    #[must_use]
    pub const fn is_write(self) -> bool {
        !matches!(self.access(), Access::Read)
    }

    /// Whether it asks for a second factor (spec 2 §5.5).
    #[must_use]
    pub const fn is_sensitive(self) -> bool {
        matches!(self.access(), Access::Sensitive)
    }

    /// The permission of that name; `None` for a name that this program does not know.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|permission| permission.name() == name)
    }

    const fn bit(self) -> u64 {
        1 << self as u32
    }
}

impl fmt::Display for Permission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Debug for Permission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A permission that changes nothing: all that an agent's role can be made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadPermission(Permission);

impl TryFrom<Permission> for ReadPermission {
    type Error = Permission;

    fn try_from(permission: Permission) -> Result<Self, Permission> {
        if permission.is_write() { Err(permission) } else { Ok(Self(permission)) }
    }
}

impl From<ReadPermission> for Permission {
    fn from(permission: ReadPermission) -> Self {
        permission.0
    }
}

/// A set of permissions.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct PermissionSet(u64);

impl PermissionSet {
    /// Nothing.
    pub const EMPTY: Self = Self(0);

    /// What stored names allow. A name that this program does not know allows nothing.
    pub fn from_names<S: AsRef<str>>(names: impl IntoIterator<Item = S>) -> Self {
        names.into_iter().filter_map(|name| Permission::from_name(name.as_ref())).collect()
    }

    /// Whether it is in the set.
    #[must_use]
    pub const fn contains(self, permission: Permission) -> bool {
        self.0 & permission.bit() != 0
    }

    /// What is in both.
    #[must_use]
    pub const fn intersection(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Its members, in the order of their declaration.
    pub fn iter(self) -> impl Iterator<Item = Permission> {
        Permission::ALL.iter().copied().filter(move |permission| self.contains(*permission))
    }

    /// Without anything that writes.
    #[must_use]
    pub fn reads(self) -> Self {
        self.iter().filter(|permission| !permission.is_write()).collect()
    }

    /// Whether nothing is in it.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }
}

impl FromIterator<Permission> for PermissionSet {
    fn from_iter<I: IntoIterator<Item = Permission>>(permissions: I) -> Self {
        Self(permissions.into_iter().fold(0, |bits, permission| bits | permission.bit()))
    }
}

impl fmt::Debug for PermissionSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_is_no_read_permission() {
        for permission in Permission::ALL.iter().copied() {
            assert_eq!(ReadPermission::try_from(permission).is_err(), permission.is_write(), "{permission}");
            assert!(permission.is_write() || !permission.is_sensitive(), "{permission}");
            assert_eq!(Permission::from_name(permission.name()), Some(permission));
        }
    }

    #[test]
    fn an_unknown_name_allows_nothing() {
        let set = PermissionSet::from_names(["ledger:read", "ledger:burn", ""]);
        assert_eq!(set.iter().collect::<Vec<_>>(), [Permission::LedgerRead]);
        assert!(PermissionSet::from_names(["LEDGER:READ"]).is_empty());
    }

    #[test]
    fn the_reads_of_everything_hold_no_write() {
        let all: PermissionSet = Permission::ALL.iter().copied().collect();
        assert!(all.reads().iter().all(|permission| !permission.is_write()));
        assert_eq!(all.intersection(all.reads()), all.reads());
    }
}

//! Who may use a route.

use plimsoll_identity::{Denied, Permission};

use super::Caller;
use crate::problem::{Problem, ProblemKind};

/// Who may use a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// Anybody: a probe, the documentation, the way to sign in.
    Anybody,
    /// Anybody, where the operator left public data open; else whoever has the permission.
    Open(Permission),
    /// Whoever has signed in: it is about the caller alone.
    SignedIn,
    /// Whoever has the permission, in their own tenant.
    Needs(Permission),
}

/// Whether `caller` may use a route; `is_open`: the operator left public data open.
pub(super) fn judge(access: Access, caller: Option<&Caller>, is_open: bool) -> Result<(), Problem> {
    let permission = match access {
        Access::Anybody => return Ok(()),
        Access::Open(_) if is_open => return Ok(()),
        Access::SignedIn => None,
        Access::Open(permission) | Access::Needs(permission) => Some(permission),
    };
    let caller =
        caller.ok_or_else(|| Problem::new(ProblemKind::Unauthenticated, "the request has no credential"))?;
    permission.map_or(Ok(()), |permission| caller.require(permission).map_err(Problem::from))
}

impl From<Denied> for Problem {
    fn from(denied: Denied) -> Self {
        match denied {
            Denied::OtherTenant => Self::new(ProblemKind::NotFound, "there is no such thing here"),
            Denied::SecondFactor(_) => Self::new(ProblemKind::SecondFactorRequired, denied.to_string()),
            Denied::Missing(_) | Denied::Agent(_) | Denied::PendingReview => {
                Self::new(ProblemKind::Forbidden, denied.to_string())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use plimsoll_identity::{Credential, Principal, UserKind, UserStatus};
    use uuid::Uuid;

    use super::*;

    fn caller(permissions: &[Permission], second_factor: bool) -> Caller {
        Caller(Arc::new(Principal {
            tenant_id: Uuid::from_u128(1),
            user_id: Uuid::from_u128(2),
            kind: UserKind::Person,
            status: UserStatus::Active,
            permissions: permissions.iter().copied().collect(),
            credential: Credential::Session(Uuid::from_u128(3)),
            second_factor,
        }))
    }

    #[test]
    fn each_kind_of_access_lets_in_whom_it_says() {
        use Access::{Anybody, Needs, Open, SignedIn};
        use Permission::{KeysWrite, PositionsRead};
        let (nobody, viewer) = (None, Some(caller(&[PositionsRead], true)));
        let kind = |access, caller: &Option<Caller>, is_open| {
            judge(access, caller.as_ref(), is_open).err().map(|problem| problem.kind())
        };
        for (access, is_open, of_nobody, of_viewer) in [
            (Anybody, false, None, None),
            (Open(PositionsRead), true, None, None),
            (Open(PositionsRead), false, Some(ProblemKind::Unauthenticated), None),
            (Open(KeysWrite), false, Some(ProblemKind::Unauthenticated), Some(ProblemKind::Forbidden)),
            (SignedIn, true, Some(ProblemKind::Unauthenticated), None),
            (Needs(PositionsRead), true, Some(ProblemKind::Unauthenticated), None),
            (Needs(KeysWrite), true, Some(ProblemKind::Unauthenticated), Some(ProblemKind::Forbidden)),
        ] {
            assert_eq!(kind(access, &nobody, is_open), of_nobody, "{access:?}, nobody");
            assert_eq!(kind(access, &viewer, is_open), of_viewer, "{access:?}, a viewer");
        }
        let once = Some(caller(&[KeysWrite], false));
        assert_eq!(kind(Needs(KeysWrite), &once, true), Some(ProblemKind::SecondFactorRequired));
    }
}

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use plimsoll_types::api::{Role, RoleState};

/// What the roles of this process do now: the supervisor reports, `/readyz` reads. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Roles {
    holder: Arc<str>,
    board: Arc<Mutex<Board>>,
}

/// By name and chain.
type Board = BTreeMap<(String, Option<u64>), Entry>;

#[derive(Debug)]
struct Entry {
    role: Role,
    /// The lease without which it only waits.
    lease: Option<String>,
}

impl Roles {
    /// The roles of the process that takes its leases as `holder`.
    #[must_use]
    pub fn of(holder: &str) -> Self {
        Self { holder: holder.into(), board: Arc::default() }
    }

    /// Notes what a role does now, and why. `chain_id` is the chain it works on, `None` for all of them.
    pub fn report(&self, role: &str, chain_id: Option<u64>, state: RoleState, detail: Option<String>) {
        self.with(role, chain_id, |entry| {
            entry.role.state = state;
            entry.role.detail = detail;
        });
    }

    /// Notes that a role works only under this lease. While it runs and another process holds the lease, it stands by.
    pub fn needs_lease(&self, role: &str, chain_id: Option<u64>, lease: String) {
        self.with(role, chain_id, |entry| entry.lease = Some(lease));
    }

    fn with(&self, role: &str, chain_id: Option<u64>, change: impl FnOnce(&mut Entry)) {
        let mut board = self.board.lock().unwrap_or_else(PoisonError::into_inner);
        change(board.entry((role.to_owned(), chain_id)).or_insert_with(|| Entry {
            role: Role { role: role.to_owned(), chain_id, state: RoleState::Starting, detail: None },
            lease: None,
        }));
    }

    /// All roles, by name and chain.
    #[must_use]
    pub fn snapshot(&self) -> Vec<Role> {
        self.seen_from(|_| None)
    }

    /// All roles, by name and chain, where `holder_of` says who holds a lease now.
    pub(crate) fn seen_from<'a>(&self, holder_of: impl Fn(&str) -> Option<&'a str>) -> Vec<Role> {
        let board = self.board.lock().unwrap_or_else(PoisonError::into_inner);
        let seen = |entry: &Entry| {
            let other = entry.lease.as_deref().and_then(&holder_of).filter(|holder| **holder != *self.holder);
            match other {
                Some(holder) if entry.role.state == RoleState::Running => Role {
                    state: RoleState::Standby,
                    detail: Some(format!("{holder} holds the lease and does the work")),
                    ..entry.role.clone()
                },
                _ => entry.role.clone(),
            }
        };
        board.values().map(seen).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_stands_by_only_while_it_runs_and_another_process_has_its_lease() {
        use RoleState::{Running, Standby, Starting, Stopped};
        let roles = Roles::of("here:1");
        roles.needs_lease("ingest", Some(1), "ingest:1".into());
        roles.report("api", None, Running, None);
        let states = |holder: Option<&'static str>| {
            let seen = roles.seen_from(|lease| holder.filter(|_| lease == "ingest:1"));
            seen.into_iter().map(|role| role.state).collect::<Vec<_>>()
        };
        assert_eq!(states(Some("there:2")), [Running, Starting]);
        roles.report("ingest", Some(1), Running, None);
        assert_eq!(states(Some("there:2")), [Running, Standby]);
        assert_eq!(states(Some("here:1")), [Running, Running]);
        assert_eq!(states(None), [Running, Running]);
        roles.report("ingest", Some(1), Stopped, None);
        assert_eq!(states(Some("there:2")), [Running, Stopped]);
    }
}

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use plimsoll_types::api::{Role, RoleState};

/// What the roles of this process do now: the supervisor reports, `/readyz` reads. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Roles {
    board: Arc<Mutex<Board>>,
}

/// By name and chain.
type Board = BTreeMap<(String, Option<u64>), Role>;

impl Roles {
    /// Notes what a role does now, and why. `chain_id` is the chain it works on, `None` for all of them.
    pub fn report(&self, role: &str, chain_id: Option<u64>, state: RoleState, detail: Option<String>) {
        let entry = Role { role: role.to_owned(), chain_id, state, detail };
        self.board.lock().unwrap_or_else(PoisonError::into_inner).insert((role.to_owned(), chain_id), entry);
    }

    /// All roles, by name and chain.
    #[must_use]
    pub fn snapshot(&self) -> Vec<Role> {
        self.board.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }
}

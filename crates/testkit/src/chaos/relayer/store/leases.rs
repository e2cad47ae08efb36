//! Leases by their names, and who stands by for a signer.

use plimsoll_relayer::post;
use plimsoll_relayer::request::SignerId;
use time::OffsetDateTime;

use super::Store;

/// A row of `leases`.
#[derive(Clone, Copy, Debug)]
pub struct LeaseRow {
    /// The token.
    pub token: i64,
    /// When it ends.
    pub expires: OffsetDateTime,
}

impl Store {
    /// Takes a lease that nobody holds, or whose holder is known to be gone; its token.
    pub fn take_lease(&mut self, name: &str, now: OffsetDateTime, term: time::Duration) -> Option<i64> {
        let held = self.leases.get(name).copied();
        if held.is_some_and(|lease| lease.expires > now) {
            return None;
        }
        let token = held.map_or(1, |lease| lease.token + 1);
        self.leases.insert(name.to_owned(), LeaseRow { token, expires: now + term });
        Some(token)
    }

    /// Renews a lease that nobody took; whether it could be.
    pub fn renew_lease(&mut self, name: &str, token: i64, now: OffsetDateTime, term: time::Duration) -> bool {
        let lease = self.leases.get_mut(name).filter(|lease| lease.token == token);
        lease.map(|lease| lease.expires = now + term).is_some()
    }

    /// Lets a lease expire, if it is held under this token.
    pub fn free_lease(&mut self, name: &str, token: i64, now: OffsetDateTime) {
        if let Some(lease) = self.leases.get_mut(name).filter(|lease| lease.token == token) {
            lease.expires = now;
        }
    }

    /// Whether this token of a signer is in force.
    #[must_use]
    pub fn is_in_force(&self, signer: SignerId, token: i64, now: OffsetDateTime) -> bool {
        let lease = self.leases.get(&post::lease_name(signer));
        lease.is_some_and(|lease| lease.token == token && lease.expires > now)
    }

    /// The node that works a signer, or is to: of those who stand by.
    #[must_use]
    pub fn node_of(&self, signer: SignerId, now: OffsetDateTime) -> Option<String> {
        let held = self.leases.iter().filter(|(_, lease)| lease.expires > now);
        let held: Vec<_> = held.map(|(name, _)| name.clone()).collect();
        post::among(&held, signer)
    }
}

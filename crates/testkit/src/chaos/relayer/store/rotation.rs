//! Signers that hand over to others.

use plimsoll_relayer::request::SignerId;
use plimsoll_relayer::rotation::{MOVED_MAX, RotateError};
use plimsoll_types::TransactionState;

use super::{Broken, Store};

impl Store {
    /// Has `old` hand over to `new` from now on, and moves what waits; how many.
    ///
    /// # Errors
    /// As in Postgres. Nothing is written then.
    pub fn rotate(&mut self, old: SignerId, new: SignerId) -> Result<usize, RotateError> {
        if old == new || old.chain_id != new.chain_id {
            return Err(RotateError::NotAnother { old, new });
        }
        let of = |signer: SignerId| {
            self.signers.get(&signer).map(|row| row.rotated_to).ok_or(RotateError::UnknownSigner(signer))
        };
        if let Some(to) = of(new)? {
            return Err(RotateError::SuccessorIsRotated { new, to });
        }
        match of(old)? {
            Some(to) if to != new => return Err(RotateError::RotatedAlready { old, to }),
            _ => {}
        }
        if let Some(row) = self.signers.get_mut(&old) {
            row.rotated_to = Some(new);
        }
        Ok(self.hand_over(old))
    }

    /// Moves requests that wait for a signer that hands over; how many.
    pub fn hand_over(&mut self, old: SignerId) -> usize {
        let Some(to) = self.signers.get(&old).and_then(|row| row.rotated_to) else { return 0 };
        let moves_what_is_under_way = self.broken == Some(Broken::MovedWithANonce);
        let is_moved = |state| match state {
            TransactionState::Pending => true,
            TransactionState::Tracking => moves_what_is_under_way,
            _ => false,
        };
        let mut places: Vec<_> = (0..self.rows.len())
            .filter(|place| self.rows[*place].signer == old && is_moved(self.rows[*place].state))
            .collect();
        places.sort_by_key(|place| self.rows[*place].id);
        places.truncate(MOVED_MAX);
        for place in &places {
            self.unbind(*place);
            self.rows[*place].signer = to;
            self.turn(*place, TransactionState::Pending);
        }
        places.len()
    }

    /// The signers of a chain that hand over and have requests that wait.
    #[must_use]
    pub fn unfinished(&self, chain_id: u64) -> Vec<SignerId> {
        let has_queue = |signer: &SignerId| {
            self.rows.iter().any(|row| row.signer == *signer && row.state == TransactionState::Pending)
        };
        let rotated = self.signers.iter().filter(|(_, row)| row.rotated_to.is_some());
        let of_chain = rotated.map(|(signer, _)| *signer).filter(|signer| signer.chain_id == chain_id);
        of_chain.filter(has_queue).collect()
    }

    /// Asks the signer's holder to look again.
    pub fn ask_to_look(&mut self, signer: SignerId) {
        if let Some(row) = self.signers.get_mut(&signer) {
            row.looks_wanted += 1;
        }
    }
}

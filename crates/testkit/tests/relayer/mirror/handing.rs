//! Signers that hand over to others, and holders that are asked to look again.

use alloy_primitives::Address;
use plimsoll_relayer::request::SignerId;
use plimsoll_relayer::{reconcile, rotation};

use super::Twins;

impl Twins {
    /// A signer hands over to another, or to one to whom it cannot.
    pub(super) async fn rotates(&mut self) {
        let nobody = SignerId { address: Address::repeat_byte(0x59), ..self.at };
        let new = self.dice.pick(&[self.signers[0], self.signers[1], self.signers[1], nobody]);
        let mut tx = self.db.begin_worker().await.unwrap();
        let real = rotation::rotate(&mut tx, self.at, new).await;
        match &real {
            Ok(_) => tx.commit().await.unwrap(),
            Err(_) => tx.rollback().await.unwrap(),
        }
        let ours = self.tables.store().rotate(self.at, new);
        assert_eq!(format!("{real:?}"), format!("{ours:?}"), "rotate");
    }

    /// What waits for a signer that hands over is moved.
    pub(super) async fn hands_over(&mut self) {
        let mut tx = self.db.begin_worker().await.unwrap();
        let real = rotation::hand_over(&mut tx, self.at).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(real, self.tables.store().hand_over(self.at), "hand over");
    }

    pub(super) async fn asks_to_look(&mut self) {
        let mut conn = self.db.worker().acquire().await.unwrap();
        reconcile::ask_to_look(&mut conn, self.at).await.unwrap();
        self.tables.store().ask_to_look(self.at);
    }
}

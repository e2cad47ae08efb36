//! Looking again, because somebody found that database and chain do not agree.

use super::Shift;
use crate::book::{Book, BookError};

impl<B: Book> Shift<'_, B> {
    /// Looks again where it was asked to since it was asked for that last.
    pub(super) async fn look_if_asked(&mut self, asked: u64) -> Result<(), BookError> {
        match self.looked.replace(asked) {
            Some(before) if before != asked => self.look_again().await,
            _ => Ok(()),
        }
    }

    /// Forgets what is only remembered: everything is read again, the chain is asked for its nonces at once, which fills what nothing has, and what is under way is sent again, byte for byte.
    async fn look_again(&mut self) -> Result<(), BookError> {
        tracing::warn!(signer = %self.desk.signer, under_way = self.live.len(), "looking again, as was asked for");
        self.live.clear();
        self.unsent.clear();
        self.nonces_asked = None;
        self.read_again().await
    }
}

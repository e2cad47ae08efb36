//! Looks at keys that share transactions: what comes while one is on its way goes into the next one together. When nobody else is there a look is alone, and waits for nobody.

use std::sync::OnceLock;

use tokio::sync::{mpsc, oneshot};

use super::IdempotencyError;
use super::keys::{Asking, Keys, Look, WeakKeys};

/// The most looks of one transaction.
const BATCH_MAX: usize = 256;

type Asker = oneshot::Sender<Result<Look, IdempotencyError>>;

/// The way to a task that looks for all who wait. It begins with the first one, and ends with the [`Keys`].
#[derive(Debug, Default)]
pub(super) struct SharedLooks {
    queue: OnceLock<mpsc::UnboundedSender<(Asking, Asker)>>,
}

impl SharedLooks {
    /// What is there under a key, which is taken if it is to be had. Dropped, a claim that was made for it is given up.
    ///
    /// # Errors
    /// The database's, of this look: one that failed together with others is repeated alone.
    pub(super) async fn look(&self, keys: &Keys, asking: Asking) -> Result<Look, IdempotencyError> {
        let queue = self.queue.get_or_init(|| {
            let (queue, waiting) = mpsc::unbounded_channel();
            tokio::spawn(look_for_all(keys.downgrade(), waiting));
            queue
        });
        let (asker, told) = oneshot::channel();
        let again = Asking { request: asking.request.clone(), is_waiting: asking.is_waiting };
        if queue.send((asking, asker)).is_ok()
            && let Ok(look) = told.await
        {
            return look;
        }
        Ok(look_alone(keys, vec![again]).await?.pop().unwrap_or(Look::Gone))
    }
}

/// A look that shares its transaction with nobody's. In a task of its own: a caller that is dropped half way must not leave a claim behind that nobody holds.
pub(super) async fn look_alone(keys: &Keys, asked: Vec<Asking>) -> Result<Vec<Look>, IdempotencyError> {
    let keys = keys.clone();
    let looking = tokio::spawn(async move { keys.look(&asked).await });
    looking.await.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
}

async fn look_for_all(keys: WeakKeys, mut queue: mpsc::UnboundedReceiver<(Asking, Asker)>) {
    let mut waiting = Vec::new();
    while queue.recv_many(&mut waiting, BATCH_MAX).await > 0 {
        let (asked, mut askers): (Vec<_>, Vec<_>) = waiting.drain(..).unzip();
        let Some(keys) = keys.upgrade() else { return };
        match keys.look(&asked).await {
            Ok(looks) => {
                for (asker, look) in askers.into_iter().zip(looks) {
                    // Who is gone does not get it: dropped, it is given up.
                    let _ = asker.send(Ok(look));
                }
            }
            Err(error) if askers.len() == 1 => {
                let _ = askers.remove(0).send(Err(error));
            }
            // Whose fault it is nobody knows: each is dropped, and looks alone.
            Err(error) => tracing::debug!(%error, looks = askers.len(), "looks at keys failed together"),
        }
    }
}

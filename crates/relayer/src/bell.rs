//! Wakes whoever works signers in this process. Only haste depends on it: they look by themselves, too.

use std::sync::Arc;

use tokio::sync::watch;

/// Rung when there may be something to do. Clones are the same bell.
#[derive(Clone, Debug)]
pub struct Bell(Arc<watch::Sender<()>>);

impl Default for Bell {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(())))
    }
}

impl Bell {
    /// Rings. Who does not listen now hears it when it listens next.
    pub fn ring(&self) {
        self.0.send_replace(());
    }

    /// Somebody who listens from now on.
    pub(crate) fn listener(&self) -> watch::Receiver<()> {
        self.0.subscribe()
    }
}

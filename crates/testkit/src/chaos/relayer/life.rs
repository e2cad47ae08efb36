//! One life of a process: it may be frozen, and it ends.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use tokio::sync::watch;

/// One life of a process. What leaves it and what comes back to it passes here: nothing does while it is frozen, and nothing when it is over.
#[derive(Debug)]
pub(super) struct Life {
    is_over: AtomicBool,
    is_frozen: watch::Sender<bool>,
    waker: Mutex<Option<Waker>>,
}

impl Default for Life {
    fn default() -> Self {
        Self {
            is_over: AtomicBool::new(false),
            is_frozen: watch::Sender::new(false),
            waker: Mutex::default(),
        }
    }
}

impl Life {
    /// It dies, where it stands.
    pub(super) fn ends(&self) {
        self.is_over.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Relaxed)
    }

    /// It stops, or goes on where it stopped.
    pub(super) fn freezes(&self, is_frozen: bool) {
        self.is_frozen.send_replace(is_frozen);
        if !is_frozen && let Some(waker) = self.waker().take() {
            waker.wake();
        }
    }

    fn waker(&self) -> std::sync::MutexGuard<'_, Option<Waker>> {
        self.waker.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ready while it is not frozen.
    pub(super) fn poll(&self, context: &Context<'_>) -> Poll<()> {
        if *self.is_frozen.borrow() {
            *self.waker() = Some(context.waker().clone());
            return Poll::Pending;
        }
        Poll::Ready(())
    }

    /// Until it goes on; for ever, where it is over.
    pub(super) async fn goes_on(&self) {
        if self.is_over() {
            std::future::pending::<()>().await;
        }
        if *self.is_frozen.borrow() {
            let mut is_frozen = self.is_frozen.subscribe();
            // The sender lives as long as this does.
            let _ = is_frozen.wait_for(|is_frozen| !is_frozen).await;
        }
    }
}

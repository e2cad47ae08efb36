//! One life of a process: it may be frozen, and it ends.

use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

/// One life of a process. What leaves it and what comes back to it passes here: nothing does while it is frozen, and nothing when it is over.
///
/// Those who wait go on in the order in which they came: a channel of tokio's would wake them by chance.
#[derive(Debug, Default)]
pub(super) struct Life {
    is_over: AtomicBool,
    is_frozen: AtomicBool,
    waiting: Mutex<Vec<Waker>>,
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
        self.is_frozen.store(is_frozen, Ordering::Relaxed);
        if !is_frozen {
            let waiting = std::mem::take(&mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner));
            waiting.into_iter().for_each(Waker::wake);
        }
    }

    /// Ready while it is not frozen.
    pub(super) fn poll(&self, context: &Context<'_>) -> Poll<()> {
        if !self.is_frozen.load(Ordering::Relaxed) {
            return Poll::Ready(());
        }
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if !waiting.iter().any(|waker| waker.will_wake(context.waker())) {
            waiting.push(context.waker().clone());
        }
        Poll::Pending
    }

    /// Until it goes on; for ever, where it is over.
    pub(super) async fn goes_on(&self) {
        if self.is_over() {
            std::future::pending::<()>().await;
        }
        poll_fn(|context| self.poll(context)).await;
    }
}

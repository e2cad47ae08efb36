//! The context of the work at hand, without anyone passing it on.
//!
//! [`scope`] binds a [`Context`] to a future: everything that the future awaits finds it with [`current`], and everything that it logs
//! carries the three keys. It is bound to the *task*, not to the thread, so it survives every `await`, and two requests on one thread never
//! see each other's. A new task has none of its own: start it with [`spawn`], which hands the context and the span on.
//!
//! # Traps
//! - `tokio::spawn` and a channel's other end do not know the context. What is queued for another task must carry it as a value, and that task
//!   runs each item in a [`scope`] of its own.
//! - `None` is an answer: whatever needs the keys refuses the write, it does not make them up.

use std::future::Future;
use std::sync::Arc;

use plimsoll_types::Context;
use tokio::task::JoinHandle;
use tracing::{Instrument, Span};

tokio::task_local! {
    static CURRENT: Arc<Context>;
}

/// Runs `future` in `context`, within a span that carries its ids of request, story, tenant and user. A scope within a scope counts alone.
pub async fn scope<F: Future>(context: Context, future: F) -> F::Output {
    let span = span(&context);
    CURRENT.scope(Arc::new(context), future).instrument(span).await
}

/// The context of the work at hand; `None` outside of every [`scope`].
#[must_use]
pub fn current() -> Option<Context> {
    CURRENT.try_with(|context| Context::clone(context)).ok()
}

/// Starts a task that goes on in the current context and span, if there are any.
pub fn spawn<F>(future: F) -> JoinHandle<F::Output>
where
    F: Future<Output: Send + 'static> + Send + 'static,
{
    match CURRENT.try_with(Arc::clone) {
        Ok(context) => tokio::spawn(CURRENT.scope(context, future).in_current_span()),
        Err(_) => tokio::spawn(future.in_current_span()),
    }
}

fn span(context: &Context) -> Span {
    tracing::info_span!(
        "context",
        request_id = display(context.request_id),
        correlation_id = context.correlation_id,
        tenant_id = context.tenant_id.map(display),
        user_id = context.user_id.map(display),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    fn context(number: u128) -> Context {
        Context::new(Uuid::from_u128(number), "test")
    }

    #[tokio::test]
    async fn two_interleaved_tasks_on_one_thread_each_keep_their_own() {
        let work = |number| {
            scope(context(number), async move {
                for _ in 0..10 {
                    tokio::task::yield_now().await;
                    assert_eq!(current(), Some(context(number)));
                }
            })
        };
        tokio::join!(work(1), work(2));
        assert_eq!(current(), None);
    }

    #[tokio::test]
    async fn a_task_that_is_spawned_goes_on_in_the_context() {
        let seen = scope(context(1), async { spawn(async { current() }).await.unwrap() }).await;
        assert_eq!(seen, Some(context(1)));
        assert_eq!(spawn(async { current() }).await.unwrap(), None);
    }

    #[tokio::test]
    async fn a_scope_within_a_scope_counts_alone_and_ends_with_it() {
        scope(context(1), async {
            let effect = context(1).caused_by("event-1");
            let seen = scope(effect, async { current() }).await;
            assert_eq!(seen.and_then(|context| context.causation_id).as_deref(), Some("event-1"));
            assert_eq!(current(), Some(context(1)));
        })
        .await;
    }
}

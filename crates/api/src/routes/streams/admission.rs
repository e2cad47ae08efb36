//! How many streams there may be.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;
use uuid::Uuid;

use crate::problem::{Problem, ProblemKind};

/// What an operator may set of streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamOptions {
    /// The most at a time, in all. Each holds a connection: keep it below the most connections.
    pub max: usize,
    /// The most at a time of one tenant; and as many of those of whom it is not known yet who they are.
    pub max_per_tenant: usize,
    /// How often it is looked whether the listener still may listen, in milliseconds.
    pub pulse_ms: u64,
}

impl Default for StreamOptions {
    fn default() -> Self {
        Self { max: 512, max_per_tenant: 64, pulse_ms: 1_000 }
    }
}

/// The streams of this process. Clones count together.
#[derive(Clone, Debug)]
pub(crate) struct Streams {
    options: StreamOptions,
    open: Arc<Mutex<HashMap<Option<Uuid>, usize>>>,
    count: Arc<watch::Sender<usize>>,
}

/// The place of one stream, until it is dropped.
#[derive(Debug)]
pub(crate) struct Slot {
    streams: Streams,
    tenant_id: Option<Uuid>,
}

impl Streams {
    pub(crate) fn new(options: StreamOptions) -> Self {
        Self { options, open: Arc::default(), count: Arc::new(watch::Sender::new(0)) }
    }

    /// A place for a stream of this tenant; `None`: of somebody of whom it is not known yet.
    pub(crate) fn enter(&self, tenant_id: Option<Uuid>) -> Result<Slot, Problem> {
        let mut open = self.locked();
        if *self.count.borrow() >= self.options.max {
            return Err(full(format!(
                "{} streams are open already, the most that this process serves",
                self.options.max
            )));
        }
        self.take(&mut open, tenant_id)?;
        self.count.send_modify(|count| *count += 1);
        Ok(Slot { streams: self.clone(), tenant_id })
    }

    fn take(&self, open: &mut HashMap<Option<Uuid>, usize>, tenant_id: Option<Uuid>) -> Result<(), Problem> {
        let of_tenant = open.get(&tenant_id).copied().unwrap_or(0);
        if of_tenant >= self.options.max_per_tenant {
            return Err(full(match tenant_id {
                Some(_) => format!("{of_tenant} streams of this tenant are open already"),
                None => format!("{of_tenant} connections have yet to say who they are"),
            }));
        }
        open.insert(tenant_id, of_tenant + 1);
        Ok(())
    }

    /// Returns once no stream is open.
    pub(crate) async fn ended(&self) {
        // An error says that the sender is gone, and it is here.
        self.count.subscribe().wait_for(|count| *count == 0).await.ok();
    }

    /// Each critical section leaves the map as it should be.
    fn locked(&self) -> MutexGuard<'_, HashMap<Option<Uuid>, usize>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn full(detail: String) -> Problem {
    metrics::counter!("event_streams_refused_total").increment(1);
    Problem::new(ProblemKind::TooManyStreams, detail)
}

impl Slot {
    /// Now it is known whose stream it is.
    pub(super) fn assign(&mut self, tenant_id: Uuid) -> Result<(), Problem> {
        let mut open = self.streams.locked();
        self.streams.take(&mut open, Some(tenant_id))?;
        release(&mut open, self.tenant_id);
        self.tenant_id = Some(tenant_id);
        Ok(())
    }
}

fn release(open: &mut HashMap<Option<Uuid>, usize>, tenant_id: Option<Uuid>) {
    if let Some(count) = open.get_mut(&tenant_id) {
        *count -= 1;
        if *count == 0 {
            open.remove(&tenant_id);
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        release(&mut self.streams.locked(), self.tenant_id);
        self.streams.count.send_modify(|count| *count -= 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_bounded_in_all_and_for_each_and_come_back() {
        let streams = Streams::new(StreamOptions { max: 4, max_per_tenant: 2, ..StreamOptions::default() });
        let [one, two, three] = [1, 2, 3].map(|number| Some(Uuid::from_u128(number)));
        let held = [one, one, two].map(|tenant| streams.enter(tenant).unwrap());
        let refused = |tenant| streams.enter(tenant).unwrap_err().detail;
        assert_eq!(refused(one), "2 streams of this tenant are open already");
        let mut unknown = streams.enter(None).unwrap();
        assert_eq!(refused(three), "4 streams are open already, the most that this process serves");
        assert!(unknown.assign(Uuid::from_u128(1)).is_err(), "nobody gets in by the back door");
        unknown.assign(Uuid::from_u128(2)).unwrap();
        drop(held);
        assert!(streams.enter(two).is_ok(), "one of its two places is free");
        drop(unknown);
        assert_eq!((streams.locked().len(), *streams.count.borrow()), (0, 0));
    }
}

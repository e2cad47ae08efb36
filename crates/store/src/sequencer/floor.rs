//! The id below which no row can appear in a queue any more.
//!
//! A writer holds its lock on the staging table from before it draws an id until its transaction has ended, and Postgres makes a commit
//! visible before it frees the locks. So: read the last id given out, *then* who holds such a lock. Every id up to that one belongs to one of these,
//! or to a transaction whose end can be seen. Once all of them have ended, every row up to that id that will ever be there is there; and
//! once a look that began after that has found nothing up to it, nothing is. The id after it is the floor.
//!
//! Two things would make it wrong, and are looked for. A prepared transaction holds its locks under another name than it was seen with: while any
//! is about, nothing is settled. Another server (a replica that was promoted, having missed the latest) may give out ids anew: the floor is
//! good for the server start that it was found under.

use std::collections::HashSet;

use time::OffsetDateTime;

/// How `pg_locks` names the holder of a prepared transaction's locks.
const PREPARED: &str = "-1/";

/// Who writes to a queue at a moment.
#[derive(Debug)]
pub struct Writers {
    pub(crate) server_started_at: OffsetDateTime,
    /// The last id given out *before* the holders were read.
    pub(crate) last_id: i64,
    pub(crate) holders: Vec<String>,
}

/// The id below which no row can appear in a queue any more, and what is known towards the next one. For whoever works a queue of his own as
/// [`super::Sequencer`] does its: rows that died below it, under a long snapshot, need not be walked over.
#[derive(Debug, Default)]
pub struct Floor {
    id: Option<i64>,
    server: Option<OffsetDateTime>,
    next: Next,
}

#[derive(Debug, Default)]
enum Next {
    #[default]
    Unknown,
    /// These may still commit a row up to `last_id`.
    Waiting { last_id: i64, holders: HashSet<String> },
    /// Whatever will be there up to `last_id` can be seen.
    Settled { last_id: i64 },
}

impl Floor {
    /// Where to look from.
    #[must_use]
    pub fn id(&self) -> i64 {
        self.id.unwrap_or(i64::MIN)
    }

    /// Nothing is known of the queue.
    pub fn forget(&mut self) {
        *self = Self::default();
    }

    /// Whether it was found under another start of the server than this: then it must be forgotten before a look counts.
    #[must_use]
    pub fn is_of_another_server(&self, started_at: OffsetDateTime) -> bool {
        self.server.is_some_and(|server| server != started_at)
    }

    /// Takes in who writes to the queue now ([`super::writers`]).
    pub fn observe(&mut self, now: Writers) {
        if self.is_of_another_server(now.server_started_at) {
            self.forget();
        }
        self.server = Some(now.server_started_at);
        let mut holders: HashSet<String> = now.holders.into_iter().collect();
        let has_prepared = holders.iter().any(|holder| holder.starts_with(PREPARED));
        match &mut self.next {
            Next::Waiting { last_id, holders: waited_for } => {
                waited_for.retain(|holder| holders.contains(holder));
                if waited_for.is_empty() && !has_prepared {
                    self.next = Next::Settled { last_id: *last_id };
                }
            }
            Next::Unknown if holders.is_empty() => self.next = Next::Settled { last_id: now.last_id },
            Next::Unknown => {
                holders.retain(|holder| !holder.starts_with(PREPARED));
                self.next = Next::Waiting { last_id: now.last_id, holders };
            }
            Next::Settled { .. } => {}
        }
    }

    /// A look that began after the last [`Floor::observe`] found nothing at all.
    pub fn seen_empty(&mut self) {
        self.drained(i64::MAX, false);
    }

    /// A batch that was read after the last [`Floor::observe`] is gone: everything up to `newest`, and everything there was unless it was full.
    pub fn drained(&mut self, newest: i64, is_full: bool) {
        if let Next::Settled { last_id } = self.next
            && (!is_full || newest >= last_id)
        {
            self.id = Some(last_id + 1);
            self.next = Next::Unknown;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SERVER: OffsetDateTime = OffsetDateTime::UNIX_EPOCH;

    fn writers(last_id: i64, holders: &[&str]) -> Writers {
        Writers {
            server_started_at: SERVER,
            last_id,
            holders: holders.iter().map(|&h| h.to_owned()).collect(),
        }
    }

    #[test]
    fn it_waits_for_every_writer_that_was_there_and_for_the_queue_to_be_empty_below() {
        let mut floor = Floor::default();
        floor.observe(writers(10, &["3/7", "4/9"]));
        floor.drained(10, false);
        floor.observe(writers(20, &["4/9", "5/1"]));
        floor.drained(20, false);
        assert_eq!(floor.id(), i64::MIN, "4/9 may still commit");
        floor.observe(writers(30, &["5/1"]));
        floor.drained(9, true);
        assert_eq!(floor.id(), i64::MIN, "10 may still be in the queue");
        floor.drained(12, true);
        assert_eq!(floor.id(), 11);
        floor.observe(writers(30, &[]));
        floor.seen_empty();
        assert_eq!(floor.id(), 31);
    }

    #[test]
    fn a_prepared_transaction_settles_nothing_under_either_of_its_names() {
        let mut floor = Floor::default();
        floor.observe(writers(10, &["3/7"]));
        floor.observe(writers(10, &["-1/4711"]));
        floor.seen_empty();
        assert_eq!(floor.id(), i64::MIN);
        floor.observe(writers(10, &[]));
        floor.seen_empty();
        assert_eq!(floor.id(), 11);
    }

    #[test]
    fn another_server_begins_anew() {
        let mut floor = Floor::default();
        floor.observe(writers(10, &[]));
        floor.seen_empty();
        let restarted = SERVER + time::Duration::SECOND;
        assert!(floor.is_of_another_server(restarted));
        floor.observe(Writers { server_started_at: restarted, ..writers(5, &["1/1"]) });
        assert_eq!(floor.id(), i64::MIN);
    }
}

//! Partitions exist before the rows that go into them, and go when their policy says so.
//!
//! A writer calls [`Partitions::ensure`] before each batch. It asks the database once for each partition and process; afterwards the
//! answer is a look into a small map. The partition is made in a transaction of its own, never in the caller's: a roll-back must not
//! take away what the map says is there.

use std::collections::{BTreeMap, HashMap};

use sqlx::postgres::PgConnectOptions;
use sqlx::{Connection, PgPool};

use crate::migrate::{MigrateError, connect_as_owner};
use crate::repo::partitions as repo;

/// The partitions that this process knows to exist.
#[derive(Clone, Debug, Default)]
pub struct Partitions {
    /// By (parent, chain): disjoint ranges, from the lowest point asked for to the exclusive upper bound.
    known: HashMap<(String, u64), BTreeMap<i64, i64>>,
}

impl Partitions {
    /// Knows nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes sure that `parent` has partitions for all points of `chain_id` from `from` to `to`, both included. The pool must be the worker's.
    ///
    /// # Errors
    /// The database's, among them "no partition policy" for a table that is not partitioned.
    pub async fn ensure(
        &mut self,
        pool: &PgPool,
        parent: &str,
        chain_id: u64,
        from: i64,
        to: i64,
    ) -> Result<(), sqlx::Error> {
        let chain = i64::try_from(chain_id).map_err(|error| sqlx::Error::Encode(error.into()))?;
        let mut point = from;
        while point <= to {
            point = match self.upper_bound(parent, chain_id, point) {
                Some(upper) => upper,
                None => {
                    let upper = repo::ensure(pool, parent, chain, point).await?;
                    self.remember(parent, chain_id, point, upper);
                    upper
                }
            };
        }
        Ok(())
    }

    fn upper_bound(&self, parent: &str, chain_id: u64, point: i64) -> Option<i64> {
        // The borrowed form of the key would need an allocation or a trick; there are a handful of entries.
        let (_, ranges) =
            self.known.iter().find(|((name, chain), _)| *chain == chain_id && name == parent)?;
        let (_, upper) = ranges.range(..=point).next_back()?;
        (point < *upper).then_some(*upper)
    }

    /// Ranges that meet become one, so that the map stays as small as the gaps are few.
    fn remember(&mut self, parent: &str, chain_id: u64, from: i64, upper: i64) {
        let ranges = self.known.entry((parent.to_owned(), chain_id)).or_default();
        let mut from = from;
        let mut upper = upper;
        if let Some((&start, &end)) = ranges.range(..=from).next_back()
            && end >= from
        {
            from = start;
            upper = upper.max(end);
        }
        while let Some((&start, &end)) = ranges.range(from..=upper).next() {
            upper = upper.max(end);
            ranges.remove(&start);
        }
        ranges.insert(from, upper);
    }
}

/// Why nothing more was dropped. What was dropped before stays dropped; the next run goes on.
#[derive(Debug, thiserror::Error)]
pub enum RetentionError {
    /// The owner connection was not had.
    #[error("retention needs the owner's connection: {0}")]
    Owner(#[from] MigrateError),
    /// A partition could not be dropped now: usually a long query still reads its parent.
    #[error("dropping the partition {child} failed: {source}. It is tried again at the next run")]
    Drop {
        /// Which partition.
        child: String,
        /// Why.
        source: sqlx::Error,
    },
    /// A table that has no partitions, or that is not there.
    #[error("the table {parent:?} has no row in `partition_policies`: name one that is partitioned")]
    NoPolicy {
        /// Which table.
        parent: String,
    },
    /// Anything else that the database said.
    #[error("retention: {0}")]
    Database(#[from] sqlx::Error),
}

/// Drops the partitions that `partition_policies` no longer wants, and returns their names. With no retention set (the default)
/// nothing is ever dropped; nothing is dropped either that a fold has not passed, or whose blocks are not final. Of a hash-linked stream the last row that
/// goes is put on record first (`stream_checkpoints`), so that what is left can be verified.
///
/// # Errors
/// See [`RetentionError`].
pub async fn drop_expired(owner: &PgConnectOptions) -> Result<Vec<String>, RetentionError> {
    let mut conn = connect_as_owner(owner).await?;
    let mut dropped = Vec::new();
    for expired in repo::expired(&mut conn).await? {
        let failed = |source| RetentionError::Drop { child: expired.child.clone(), source };
        if !expired.is_detached {
            if expired.is_linked && !expired.is_pending {
                repo::note_checkpoint(&mut conn, &expired).await.map_err(failed)?;
            }
            repo::detach(&mut conn, &expired).await.map_err(failed)?;
        }
        repo::drop_detached(&mut conn, &expired.child).await.map_err(failed)?;
        tracing::info!(partition = expired.child, "dropped a partition that its retention no longer wants");
        metrics::counter!("partitions_dropped_total", "parent" => expired.parent).increment(1);
        dropped.push(expired.child);
    }
    conn.close().await?;
    Ok(dropped)
}

/// Keeps the rows of `parent` for `days`, from the next [`drop_expired`] on. A partition goes as a whole, once all of it is older.
///
/// # Errors
/// [`RetentionError::NoPolicy`] for a table that is not partitioned; else see [`RetentionError`].
pub async fn set_retention(owner: &PgConnectOptions, parent: &str, days: u32) -> Result<(), RetentionError> {
    let mut conn = connect_as_owner(owner).await?;
    let is_known = repo::set_retention(&mut conn, parent, i32::try_from(days).unwrap_or(i32::MAX)).await?;
    conn.close().await?;
    if is_known { Ok(()) } else { Err(RetentionError::NoPolicy { parent: parent.to_owned() }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_that_meet_are_one_and_a_gap_is_asked_for() {
        let mut partitions = Partitions::new();
        partitions.remember("journal", 1, 5, 10);
        partitions.remember("journal", 1, 20, 30);
        assert_eq!(partitions.upper_bound("journal", 1, 5), Some(10));
        assert_eq!(partitions.upper_bound("journal", 1, 4), None);
        assert_eq!(partitions.upper_bound("journal", 1, 10), None);
        assert_eq!(partitions.upper_bound("journal", 2, 5), None);
        assert_eq!(partitions.upper_bound("chain_events", 1, 5), None);
        partitions.remember("journal", 1, 10, 20);
        assert_eq!(partitions.upper_bound("journal", 1, 7), Some(30));
        partitions.remember("journal", 1, 0, 10);
        assert_eq!(partitions.known[&("journal".to_owned(), 1)], BTreeMap::from([(0, 30)]));
    }
}

//! Partitions made before they are written to.

use std::collections::HashMap;

use sqlx::PgPool;

/// What this process knows to exist, so that a writer asks the database once a partition and not once a batch.
#[derive(Clone, Debug, Default)]
pub struct Partitions {
    /// (parent, chain id) → the points from which on a partition is missing: [covered from, covered to).
    covered: HashMap<(String, u64), (i64, i64)>,
}

impl Partitions {
    /// Makes the partitions of `parent` that hold the points `from` to `to` (blocks or journal records) of a chain, where they are missing.
    ///
    /// Runs in its own statements, not in the caller's transaction: attaching a partition takes a lock that should be short.
    pub async fn ensure(&mut self, pool: &PgPool, parent: &str, chain_id: u64, from: i64, to: i64) -> Result<(), sqlx::Error> {
        let key = (parent.to_owned(), chain_id);
        let (low, mut high) = self.covered.get(&key).copied().unwrap_or((from, from));
        let low = if from < low || from > high {
            high = from;
            from
        } else {
            low
        };
        let chain = i64::try_from(chain_id).map_err(|error| sqlx::Error::Encode(error.into()))?;
        while high <= to {
            let bound = crate::repo::partitions::ensure(pool, parent, chain, high).await?;
            high = bound;
        }
        self.covered.insert(key, (low, high));
        Ok(())
    }
}

//! The audit log, verified as it grows, and all of it again each day.
//!
//! A [`Watch`] goes on from the row that it checked last, whose hash it has in memory: what is added must link to what was there. What was checked may still be
//! touched afterwards, so it begins anew after `FULL_PERIOD`. A break is told by the gauge `audit_log_broken`, which an alert watches, until a whole walk finds none.

use std::time::{Duration, Instant};

use plimsoll_store::Db;
use plimsoll_store::sequencer::{LinkCheck, head};

use super::AUDIT_LOG;
use super::verify::{Break, Start, VerifyError, not_the_head, walk};
use crate::repo::audit as repo;

/// After so long everything is verified again.
const FULL_PERIOD: Duration = Duration::from_secs(24 * 60 * 60);
/// Rows that one look verifies at most.
const LOOK_ROWS: i64 = 100_000;

/// How far the log was verified.
#[derive(Debug)]
pub struct Watch {
    db: Db,
    look_rows: i64,
    walk: Option<(LinkCheck<'static>, Instant)>,
}

impl Watch {
    /// Begins with the first row that is kept.
    #[must_use]
    pub fn new(db: Db) -> Self {
        Self { db, look_rows: LOOK_ROWS, walk: None }
    }

    /// As [`Watch::new`], with so many rows a look at most.
    #[must_use]
    pub fn with_look_rows(self, look_rows: i64) -> Self {
        Self { look_rows, ..self }
    }

    /// Verifies what comes next, and returns the first row that does not hold. After a break the next look begins anew.
    ///
    /// # Errors
    /// See [`VerifyError`]. What was verified stays so.
    pub async fn look(&mut self) -> Result<Option<Break>, VerifyError> {
        let mut conn = self.db.worker().acquire().await?;
        let head = head(&mut conn, &AUDIT_LOG).await?;
        let kept = self.walk.take().filter(|(_, began)| began.elapsed() < FULL_PERIOD);
        let (mut check, began, beheaded) = match kept {
            Some((check, began)) => (check, began, None),
            None => {
                let first = repo::first_kept(&mut conn).await?;
                let start = Start::at(&mut conn, first, first).await?;
                (start.check, Instant::now(), start.broken.filter(|_| first <= head.sequence))
            }
        };
        let to = head.sequence.min(check.expected().saturating_add(self.look_rows - 1));
        let before = check.clone();
        let broken = match beheaded {
            Some(broken) => Some(broken),
            None => match walk(&mut conn, &mut check, to).await {
                Ok(None) if check.expected() > head.sequence => not_the_head(&check, &head),
                Ok(broken) => broken,
                Err(error) => {
                    self.walk = Some((before, began));
                    return Err(error.into());
                }
            },
        };
        metrics::counter!("audit_rows_verified_total")
            .increment((check.expected() - before.expected()).unsigned_abs());
        match &broken {
            Some(broken) => {
                metrics::gauge!("audit_log_broken").set(1.0);
                tracing::error!(
                    row = broken.sequence,
                    what = broken.what,
                    "the audit log does not hold: `plimsoll verify audit`"
                );
            }
            None => {
                if check.expected() > head.sequence {
                    metrics::gauge!("audit_log_broken").set(0.0);
                }
                self.walk = Some((check, began));
            }
        }
        Ok(broken)
    }
}

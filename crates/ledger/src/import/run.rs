//! The second reading: booking.

use std::collections::HashMap;
use std::io::BufRead;

use futures::future::join_all;
use uuid::Uuid;

use super::check::{conflict, is_same, learn, refused};
use super::entry::{Entry, Names};
use super::lines::Broken;
use super::reader::Reader;
use super::{Checked, Import, ImportError, Imported, Problem, WINDOW};
use crate::batch::Posted;
use crate::correction::reversal;
use crate::error::PostError;
use crate::posting::{Correction, Origin, Posting};
use crate::repo::postings;
use crate::writer::Intake;

impl Import<'_> {
    /// Books a file that was found to be sound, in its order. `progress` is told after each part, and so what is on record when it ends early.
    ///
    /// # Errors
    /// [`ImportError`]: what `progress` was told last is on record, and perhaps a part of what follows. The same import again goes on behind it.
    pub async fn book<R: BufRead>(
        &self,
        checked: Checked,
        input: R,
        intake: &Intake,
        mut progress: impl FnMut(Imported),
    ) -> Result<Imported, ImportError> {
        if checked.problem_count > 0 {
            return Err(ImportError::Unsound(checked.problem_count));
        }
        let mut booking = Booking {
            import: self,
            intake,
            names: Names::new(),
            corrected: checked.corrected,
            imported: Imported::default(),
        };
        let mut reader = Reader::new(self, input);
        let mut window: Vec<Entry> = Vec::with_capacity(WINDOW);
        // Ends: each turn takes a posting, and the file ends.
        loop {
            let next = match reader.next() {
                Ok(next) => next.transpose().map_err(first)?,
                Err(Broken::File(error)) => return Err(error.into()),
                Err(Broken::Form(problems)) => return Err(first(problems)),
            };
            // What puts another right comes after it.
            let waits = next.as_ref().is_none_or(|entry| entry.corrects().is_some());
            if waits || window.len() == WINDOW {
                booking.book(&std::mem::take(&mut window)).await?;
                progress(booking.imported);
            }
            match next {
                None => return Ok(booking.imported),
                Some(entry) if entry.corrects().is_some() => booking.correct(entry).await?,
                Some(entry) => window.push(entry),
            }
        }
    }
}

/// The first of what is wrong, which is where it stops.
fn first(mut problems: Vec<Problem>) -> ImportError {
    ImportError::Stopped(problems.swap_remove(0))
}

struct Booking<'a> {
    import: &'a Import<'a>,
    intake: &'a Intake,
    names: Names,
    /// What those postings that are put right are called here.
    corrected: HashMap<Uuid, Option<Uuid>>,
    imported: Imported,
}

impl Booking<'_> {
    /// Books these together; none of them puts another right.
    async fn book(&mut self, entries: &[Entry]) -> Result<(), ImportError> {
        let mut open = Vec::with_capacity(entries.len());
        let mut tx = self.import.db.tenant_tx(&[self.import.tenant_id]).await?;
        learn(&mut tx, self.import.tenant_id, &mut self.names, entries).await?;
        let all = entries.iter().map(|entry| self.posting(entry)).collect::<Result<Vec<_>, _>>()?;
        let found = postings::find(&mut tx, &all.iter().collect::<Vec<_>>()).await?;
        let mut found: HashMap<_, _> = found.into_iter().map(|found| (found.place, found)).collect();
        for (place, (entry, posting)) in entries.iter().zip(all).enumerate() {
            match found.remove(&place) {
                None => open.push((entry, posting)),
                Some(found) if is_same(&mut tx, &posting, found).await? => {
                    self.note(entry, found.posting_id, true);
                }
                Some(found) => return Err(ImportError::Stopped(conflict(entry, found.posting_id))),
            }
        }
        drop(tx);
        // Two writers take what is handed in, so one may be refused that needs what stands above it: those are handed in again, as long as that helps.
        while !open.is_empty() {
            let handed_in = open.len();
            let outcomes = join_all(open.iter().map(|(_, posting)| self.intake.post(posting.clone()))).await;
            let mut refusals = Vec::new();
            for ((entry, posting), outcome) in std::mem::take(&mut open).into_iter().zip(outcomes) {
                match outcome {
                    Err(PostError::Refused(refusal)) => {
                        refusals.push(refused(entry, &posting, &refusal));
                        open.push((entry, posting));
                    }
                    outcome => self.told(entry, outcome)?,
                }
            }
            if open.len() == handed_in {
                return Err(first(refusals));
            }
        }
        Ok(())
    }

    /// Books one that puts another right.
    async fn correct(&mut self, mut entry: Entry) -> Result<(), ImportError> {
        let mut tx = self.import.db.tenant_tx(&[self.import.tenant_id]).await?;
        learn(&mut tx, self.import.tenant_id, &mut self.names, std::slice::from_ref(&entry)).await?;
        let Some((correction, reason)) = entry.draft.correction.take() else { return Ok(()) };
        let here = |id: Uuid| self.corrected.get(&id).copied().flatten().unwrap_or(id);
        let correction = match correction {
            Correction::Reverses(id) => Correction::Reverses(here(id)),
            Correction::Compensates(id) => Correction::Compensates(here(id)),
        };
        entry.draft.correction = Some((correction, reason.clone()));
        let posting = match correction {
            Correction::Compensates(_) => self.posting(&entry)?,
            Correction::Reverses(id) => {
                let context = entry.draft.context.clone();
                match reversal(&mut tx, id, &reason, context, Origin::Request).await {
                    Ok(posting) => posting,
                    Err(error) => return self.failed(&entry, error),
                }
            }
        };
        drop(tx);
        let outcome = self.intake.post(posting).await;
        self.told(&entry, outcome)
    }

    fn posting(&self, entry: &Entry) -> Result<Posting, ImportError> {
        entry.posting(&self.names).map_err(first)
    }

    fn told(&mut self, entry: &Entry, outcome: Result<Posted, PostError>) -> Result<(), ImportError> {
        match outcome {
            Ok(posted) => {
                self.note(entry, posted.posting_id, posted.is_replay);
                Ok(())
            }
            Err(error) => self.failed(entry, error),
        }
    }

    fn note(&mut self, entry: &Entry, posting_id: Uuid, is_replay: bool) {
        if is_replay {
            self.imported.repeated += 1;
        } else {
            self.imported.posted += 1;
        }
        if let Some(here) = entry.posting_id.and_then(|id| self.corrected.get_mut(&id)) {
            *here = Some(posting_id);
        }
    }

    fn failed(&self, entry: &Entry, error: PostError) -> Result<(), ImportError> {
        Err(match error {
            PostError::Conflict { posting_id, .. } => ImportError::Stopped(conflict(entry, posting_id)),
            PostError::Refused(_) | PostError::Invalid(_) | PostError::NoBooks { .. } => {
                ImportError::Stopped(entry.wrong(
                    "the posting",
                    &error,
                    "correct it, and import the file again",
                ))
            }
            error => ImportError::Unknown { line: entry.line, error },
        })
    }
}

//! One run of real processes: `plimsoll run` once or twice, a node, a database server, and endpoints between them that misbehave.
//!
//! **What the seed decides, and what not.** The schedule: how many endpoints and processes there are, how they are configured, the traffic, what
//! happens in which order with which pauses, and what an endpoint hides or alters of which block. How long things take is the machine's affair, so a
//! seed repeats its schedule and not the interleaving: what one run met, the next one may miss. That is why truth is read when all is over, from the
//! node, and why a failing run's logs and database are kept.
//!
//! **How it ends.** All faults stop. Who lied is asked until he is named. The processes come to rest at the chain's head, within a limit that
//! says what was waited for; then the judge compares, and each process ends in order when told to.

mod counts;
mod judge;
mod perform;
mod repo;
mod rest;
mod stage;
mod story;

use std::path::Path;

use anyhow::{Result, ensure};
use plimsoll_store::DatabaseUrls;

pub use self::counts::Counts;
use self::stage::Stage;
use self::story::Story;
use super::Report;
use super::runs::{self, RealOptions, RealRun};

/// What happens in the run of a seed, in words.
#[must_use]
pub fn schedule(seed: u64) -> String {
    Story::of(seed).to_string()
}

/// Runs seeds one after the other. `ended` is called with each run as it ends.
pub async fn run_all(options: &RealOptions, ended: impl FnMut(&RealRun<Counts>)) -> Report<Counts> {
    runs::all(options, ended, async |seed, plimsoll: &Path| Box::pin(run(seed, plimsoll)).await).await
}

/// Runs a seed.
pub async fn run(seed: u64, plimsoll: &Path) -> RealRun<Counts> {
    let story = Story::of(seed);
    let mut stage = match Stage::set(seed, &story.settings, plimsoll).await {
        Ok(stage) => stage,
        Err(error) => return RealRun::unset(seed, &error),
    };
    let outcome = async {
        stage.tell(&story).await?;
        stage.rest(&story).await?;
        let wrong = stage.judge().await?;
        ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
        Ok(())
    };
    if let Err(error) = outcome.await {
        return RealRun::failed(seed, &error, stage.keep().await);
    }
    let lines = stage.house.lines().to_vec();
    RealRun::ended(seed, lines, stage.end().await)
}

/// A run that was told and came to rest, to be looked into while everything is still there.
pub struct Lived(Stage);

/// Tells the first acts of a seed's story, and waits until all is at rest.
///
/// # Errors
///
/// Something could not be run, ended by itself, or did not come to rest.
pub async fn live(seed: u64, acts: usize, plimsoll: &Path) -> Result<Lived> {
    let story = Story::of(seed).shortened(acts);
    let mut stage = Stage::set(seed, &story.settings, plimsoll).await?;
    stage.tell(&story).await?;
    stage.rest(&story).await?;
    Ok(Lived(stage))
}

impl Lived {
    /// Everything that is wrong.
    ///
    /// # Errors
    ///
    /// It could not be looked at.
    pub async fn judge(&mut self) -> Result<Vec<String>> {
        self.0.judge().await
    }

    /// How its database is reached.
    #[must_use]
    pub fn urls(&self) -> &DatabaseUrls {
        self.0.urls()
    }

    /// Ends everything in order.
    ///
    /// # Errors
    ///
    /// A process does not end by itself, or not with 0.
    pub async fn end(self) -> Result<Counts> {
        self.0.end().await
    }
}

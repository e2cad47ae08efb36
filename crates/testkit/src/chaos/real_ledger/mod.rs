//! One run of the ledger in real processes: one or two `plimsoll run` with every role, which take postings over HTTP and keep books from a chain, on a database server and a node that are theirs
//! alone, and are killed again and again.
//!
//! **Who judges.** Clients keep what they offered and what they were answered. What must be booked from the chain is read from the node. Both are compared with the rows of the database, when all is
//! over; then the commands that an operator has are asked: `plimsoll verify ledger` and `plimsoll verify balances`.
//!
//! **What the seed decides, and what not.** The schedule: which process is killed after which pause, when the server dies, which blocks are replaced, and what each client offers in which order. How long
//! things take is the machine's affair, so a seed repeats its schedule and not the interleaving. A failing run's logs and database are kept.
//!
//! **How it ends.** Each client gets its last answer, the chain's last events get deep enough, and within a limit that says what was waited for everything is booked, sealed and signed. Then the judge
//! compares, and each process ends in order when told to.

mod chain;
mod clients;
mod counts;
mod judge;
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

/// What happens in the run of a seed, with so many kills, in words.
#[must_use]
pub fn schedule(seed: u64, kills: u64) -> String {
    Story::of(seed, kills).to_string()
}

/// Runs seeds one after the other, each with so many kills. `ended` is called with each run as it ends.
pub async fn run_all(
    options: &RealOptions,
    kills: u64,
    ended: impl FnMut(&RealRun<Counts>),
) -> Report<Counts> {
    runs::all(options, ended, async |seed, plimsoll: &Path| Box::pin(run(seed, kills, plimsoll)).await).await
}

/// Runs a seed with so many kills.
pub async fn run(seed: u64, kills: u64, plimsoll: &Path) -> RealRun<Counts> {
    let story = Story::of(seed, kills);
    let mut stage = match Stage::set(seed, &story, plimsoll).await {
        Ok(stage) => stage,
        Err(error) => return RealRun::unset(seed, &error),
    };
    let outcome = async {
        stage.tell(&story).await?;
        stage.rest().await?;
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

/// Tells a seed's story with so many kills, and waits until all is at rest.
///
/// # Errors
///
/// Something could not be run, ended by itself, or did not come to rest.
pub async fn live(seed: u64, kills: u64, plimsoll: &Path) -> Result<Lived> {
    let story = Story::of(seed, kills);
    let mut stage = Stage::set(seed, &story, plimsoll).await?;
    stage.tell(&story).await?;
    stage.rest().await?;
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

    /// What was counted, as far as it was judged.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.0.counted()
    }

    /// How its database is reached.
    #[must_use]
    pub fn urls(&self) -> &DatabaseUrls {
        &self.0.house.urls
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

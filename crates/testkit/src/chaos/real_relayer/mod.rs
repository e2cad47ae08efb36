//! One run of the relayer in real processes: two or three `plimsoll run` that follow the chain and send, one that takes requests over HTTP, a node, a database server, and
//! endpoints between them that misbehave.
//!
//! **Who judges.** The contract that is called counts each request's id. Its counts, and every transaction of the signers' addresses, are read from the node when all is over.
//!
//! **What the seed decides, and what not.** The schedule: the set-up, what is handed in, what goes wrong in which order with which pauses. How long things take is the
//! machine's affair, so a seed repeats its schedule and not the interleaving. A failing run's logs and database are kept.
//!
//! **How it ends.** All faults stop, each signer is asked once more, blocks go on, and within a limit that says what was waited for nothing is under way any more. Then the judge
//! compares, and each process ends in order when told to.

mod asked;
mod chain;
mod counts;
mod judge;
mod keys;
mod load;
mod measure;
mod perform;
mod repo;
mod rest;
mod stage;
mod story;

use std::path::Path;

use anyhow::{Result, ensure};
use plimsoll_store::DatabaseUrls;
use uuid::Uuid;

pub use self::counts::Counts;
pub(crate) use self::load::served;
pub(crate) use self::measure::{excess_over_confirmations, takeovers};
use self::stage::Stage;
use self::story::Story;
use super::Report;
use super::runs::{self, RealOptions, RealRun};
use crate::node::{Call, Node};

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
    told(seed, &Story::of(seed).shortened(acts), plimsoll).await
}

/// Requests come, and the process that takes them is killed in their midst, again and again; nothing else goes wrong.
///
/// # Errors
///
/// As [`live`].
pub async fn live_through_kills(seed: u64, plimsoll: &Path) -> Result<Lived> {
    told(seed, &Story::through_kills(seed), plimsoll).await
}

async fn told(seed: u64, story: &Story, plimsoll: &Path) -> Result<Lived> {
    let mut stage = Stage::set(seed, &story.settings, plimsoll).await?;
    stage.tell(story).await?;
    stage.rest(story).await?;
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
    pub fn counts(&self) -> &Counts {
        &self.0.counts
    }

    /// How its database is reached.
    #[must_use]
    pub fn urls(&self) -> &DatabaseUrls {
        self.0.urls()
    }

    /// Its node.
    #[must_use]
    pub fn node(&self) -> &Node {
        &self.0.house.node
    }

    /// Each request, and the transaction that it was answered with.
    pub fn answers(&self) -> impl Iterator<Item = (Uuid, Option<Uuid>)> {
        self.0.asked.iter().map(|asked| (asked.ask.request_id, asked.transaction_id))
    }

    /// Hands in once more what was handed in, under its first key; how many were answered.
    ///
    /// # Errors
    ///
    /// A request was refused or not answered.
    pub async fn hand_in_again(&mut self) -> Result<u64> {
        self.0.hand_in_again().await
    }

    /// What makes the contract count a request once more, by an account that is no signer.
    ///
    /// # Errors
    ///
    /// The node refuses.
    pub async fn perform_again(&self, request_id: Uuid) -> Result<()> {
        let data = asked::calldata("perform(bytes32)", request_id);
        let from = self.node().accounts().await?[stage::DEPLOYER];
        self.node().execute("a second effect", &Call { from, to: Some(self.0.counter), data }, true).await?;
        Ok(())
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

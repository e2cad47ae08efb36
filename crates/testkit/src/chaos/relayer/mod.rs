//! One run of the relayer's simulator: two to four processes with the desks of production, in simulated time; a chain that reorganises, nodes that
//! misbehave, strangers with the same key, a database that loses commits or their answers, processes that die, freeze and wake. The seed decides
//! everything.
//!
//! **What is simulated, and what is not.** The desks with all their decisions, their requests to the nodes with retries and the health of the
//! endpoints, and the reading of what nodes say are the code that runs in production. The chain and its nodes are a world, spoken to in
//! JSON-RPC. The database is a [`Store`], whose statements a test holds against those in Postgres, after each step of hundreds; so is what the fold
//! writes. Signatures are hashes. There is one thread, and time stands still while anything can be done.
//!
//! **Who judges.** The judge reads the chain: the contract there counts each request, on each branch by itself. It knows what was handed in
//! and called off, and asks nothing of the relayer.
//!
//! **Why a seed replays exactly**: as in [`super::sim`]. The ids of fills are random, and shown nowhere.

mod book;
mod counts;
mod endpoint;
mod journal;
mod judge;
mod life;
mod misfortune;
mod node;
mod stage;
mod store;
mod story;
mod tenants;
mod transaction;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

pub use self::book::{Holding, MemoryBook, Tables};
pub use self::counts::Counts;
use self::stage::Stage;
pub use self::store::{
    AttemptRow, Broken, Entry, Handed, Journal as JournalTables, LeaseRow, Ours, Row, Seen, SignerRow, Store,
    Switch, Taken,
};
use self::story::Story;

/// What happens in a run of the relayer.
type Trace = super::trace::Trace<Counts>;

/// What came of a run.
#[derive(Clone, Debug)]
pub struct Run {
    /// Its seed.
    pub seed: u64,
    /// A hash over all that happened.
    pub hash: u64,
    /// How often what happened.
    pub counts: Counts,
    /// The promise that was broken first.
    pub violation: Option<String>,
    /// All that happened, if it was to be kept.
    pub lines: Vec<String>,
}

/// What happens in the run of a seed, in words.
#[must_use]
pub fn schedule(seed: u64) -> String {
    Story::of(seed).to_string()
}

/// What a run of a seed counts, and which promise it breaks.
#[must_use]
pub fn outcome(seed: u64) -> (Counts, Option<String>) {
    let run = run(seed, false, None);
    (run.counts, run.violation)
}

/// Runs a seed. With `keeps_lines`, all that happens is kept to be shown. With `broken`, one promise is broken on purpose.
///
/// # Panics
///
/// When there is no runtime to be had.
#[must_use]
pub fn run(seed: u64, keeps_lines: bool, broken: Option<Broken>) -> Run {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime without I/O needs nothing of the system");
    let story = Story::of(seed);
    let trace = runtime.block_on(async { Arc::new(Trace::new(keeps_lines)) });
    let stage = runtime.block_on(async { Stage::new(seed, &story.settings, &trace, broken) });
    let told = catch_unwind(AssertUnwindSafe(|| runtime.block_on(Box::pin(stage.tell(&story)))));
    if let Err(panic) = told {
        let what = panic.downcast_ref::<String>().cloned();
        let what = what.or(panic.downcast_ref::<&str>().map(ToString::to_string)).unwrap_or_default();
        trace.violated(format!("a panic: {what}"));
    }
    let (hash, counts, lines) = runtime.block_on(async { trace.end() });
    Run { seed, hash, counts, violation: trace.violation(), lines }
}

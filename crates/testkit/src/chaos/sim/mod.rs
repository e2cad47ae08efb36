//! One run of the simulator: a follower in simulated time, a chain that reorganises, endpoints that misbehave, a database that loses
//! commits, a process that dies. The seed decides everything.
//!
//! **What is simulated, and what is not.** The follower, its requests with their retries, the health of the endpoints and the judgement of forks are the
//! code that runs in production. The chain is a [`crate::model`], spoken to in JSON-RPC; the journal is a [`MemoryJournal`], which a test holds
//! against the one in Postgres. There is one thread, and time stands still while anything can be done: the runtime moves it to the next timer.
//!
//! **Why a seed replays exactly.** The story is made from the seed before anything happens. What chance does while it is told comes from dice
//! of its own for each endpoint, for the database and for the process, thrown in the order of requests; the runtime's queue is first in, first
//! out. What would bring chance in from elsewhere is kept out: no wall clock, no other threads (answers are too small to be
//! decoded on one), no `select!` without `biased`, no order of a hash map, nothing that depends on the ids of requests. Each run ends with a
//! hash over all that happened, and two runs of a seed are held to the same.

mod book;
mod counts;
mod endpoint;
mod judge;
mod lies;
mod network;
mod process;
mod store;
mod story;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use alloy_primitives::B256;
use tokio::time::Instant;

pub use self::book::{Made, MemoryBook, MemoryJournal};
use self::book::{Misfortune, Witness};
pub use self::counts::Counts;
use self::endpoint::Endpoint;
use self::judge::Judge;
use self::lies::{Liar, Lies};
use self::network::{CHAIN_ID, Network};
use self::process::Process;
use self::store::BlockId;
use self::story::{Act, FinalityBy, Settings, Story};
use super::conduct;
use super::dice::{self, Dice};
use crate::model::ModelChain;
use crate::world::{Deed, Plan, World};

/// What happens in a run of the follower.
type Trace = super::trace::Trace<Counts>;

/// When all is well, the journal is where the chain is within this. Endpoints that were benched for being of another chain are out for up to an
/// hour.
const SETTLES_WITHIN: Duration = Duration::from_secs(2 * 3_600);
/// Then there is another block, if the chain only went back.
const GROWS_AFTER: Duration = Duration::from_secs(20);
/// How often it is looked whether it is.
const LOOKS_EACH: Duration = Duration::from_millis(250);
/// Then what is confirmed and final is marked within this: an endpoint that wants to be left alone is silent for a while yet.
const MARKS_WITHIN: Duration = Duration::from_secs(120);
/// What has come to rest stays at rest for this long.
const RESTS_FOR: Duration = Duration::from_secs(5);

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
    /// Block 0's hash.
    pub genesis_hash: B256,
    /// The first block of interest.
    pub start_block: u64,
    /// The commits that were made.
    pub commits: Vec<Made>,
    /// The journal that came of it.
    pub journal: MemoryJournal,
}

/// What happens in the run of a seed, in words.
#[must_use]
pub fn schedule(seed: u64) -> String {
    Story::of(seed).to_string()
}

/// Runs a seed. With `keeps_lines`, all that happens is kept to be shown.
///
/// # Panics
///
/// When there is no runtime to be had.
#[must_use]
pub fn run(seed: u64, keeps_lines: bool) -> Run {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime without I/O needs nothing of the system");
    let trace = runtime.block_on(async { Arc::new(Trace::new(keeps_lines)) });
    let story = Story::of(seed);
    let stage = runtime.block_on(async { Stage::new(seed, &story.settings, &trace) });
    let told = catch_unwind(AssertUnwindSafe(|| runtime.block_on(Box::pin(stage.tell(&story)))));
    if let Err(panic) = told {
        let what = panic.downcast_ref::<String>().cloned();
        let what = what.or(panic.downcast_ref::<&str>().map(ToString::to_string)).unwrap_or_default();
        trace.violated(format!("a panic: {what}"));
    }
    let (hash, counts, lines) = runtime.block_on(async { trace.end() });
    let journal = stage.journal.clone();
    Run {
        seed,
        hash,
        counts,
        violation: trace.violation(),
        lines,
        genesis_hash: stage.network.genesis(),
        start_block: story.settings.start_block,
        commits: journal.made(),
        journal,
    }
}

/// What a run of a seed counts, and which promise it breaks.
#[must_use]
pub fn outcome(seed: u64) -> (Counts, Option<String>) {
    let run = run(seed, false);
    (run.counts, run.violation)
}

/// Everybody who has a part.
struct Stage {
    seed: u64,
    network: Arc<Network>,
    trace: Arc<Trace>,
    judge: Arc<Judge>,
    journal: MemoryJournal,
    misfortune: Arc<Mutex<Misfortune>>,
    process: Arc<Process>,
}

impl Stage {
    fn new(seed: u64, settings: &Settings, trace: &Arc<Trace>) -> Self {
        let network = Arc::new(Network::new(settings, Arc::clone(trace)));
        let lies = Arc::new(Lies::default());
        let judge = Arc::new(Judge {
            network: Arc::clone(&network),
            trace: Arc::clone(trace),
            settings: settings.clone(),
            lies: Arc::clone(&lies),
            followed: Mutex::default(),
        });
        let misfortune = Arc::new(Mutex::new(Misfortune {
            dice: Dice::new(seed, 2),
            lost_permille: 0,
            answer_lost_permille: 0,
            slowest_ms: settings.database_ms,
            lost: 0,
        }));
        let witness = Arc::clone(&judge) as Arc<dyn Witness>;
        let journal = MemoryJournal::with(CHAIN_ID, Arc::clone(&misfortune), witness);
        let endpoints =
            settings.endpoints.iter().zip(100..).enumerate().map(|(place, (endpoint, purpose))| {
                let (network, trace) = (Arc::clone(&network), Arc::clone(trace));
                let liar = (endpoint.lies_permille > 0).then(|| {
                    let (network, trace) = (Arc::clone(&network), Arc::clone(&trace));
                    Liar::new(
                        place,
                        seed ^ purpose,
                        endpoint.lies_permille,
                        network,
                        trace,
                        Arc::clone(&lies),
                    )
                });
                Endpoint::new(place, network, trace, Dice::new(seed, purpose), liar)
            });
        let endpoints = endpoints.collect();
        let process =
            Process::new(settings, endpoints, Arc::clone(&judge), journal.clone(), Dice::new(seed, 3));
        Self {
            seed,
            network,
            trace: Arc::clone(trace),
            judge,
            journal,
            misfortune,
            process: Arc::new(process),
        }
    }

    /// Plays the story to its end, and judges.
    async fn tell(&self, story: &Story) {
        let living = tokio::spawn(Arc::clone(&self.process).live());
        for (pause_ms, act) in &story.acts {
            pause(*pause_ms).await;
            self.trace.note(format_args!("--- {act}"));
            self.perform(act, &story.settings).await;
            if self.trace.violation().is_some() {
                return living.abort();
            }
        }
        self.trace.note(format_args!("--- all is well"));
        self.heal(story).await;
        self.settle(&story.settings).await;
        living.abort();
    }

    async fn perform(&self, act: &Act, settings: &Settings) {
        match act {
            Act::Grow { blocks, every_ms } => {
                for block in blocks {
                    self.network.grow(block.clone());
                    pause(*every_ms).await;
                }
            }
            Act::Reorganise { depth, blocks, again } => {
                self.network.reorganise(*depth, blocks.clone(), *again, false);
            }
            Act::Flip { choice } => self.network.flip(*choice),
            Act::Split { places, depth, blocks, is_deep } => {
                self.network.split(places, *depth, blocks.clone(), *is_deep);
            }
            Act::GrowApart { blocks } => self.network.grow_apart(blocks),
            Act::Rejoin => self.network.rejoin(),
            Act::Deep { depth, blocks, back_after_ms } => {
                self.network.reorganise(*depth, blocks.clone(), false, true);
                if let Some(ms) = back_after_ms {
                    pause(*ms).await;
                    self.network.undo();
                }
            }
            Act::Trouble { place, trouble, permille } => {
                let places = place.map_or(0..self.network.places(), |place| place..place + 1);
                places.for_each(|place| {
                    self.network.trouble(place, |conduct| conduct.trouble(*trouble, *permille));
                });
            }
            Act::Late { place, delay_ms } => self.network.delay(*place, Duration::from_millis(*delay_ms)),
            Act::Foreign { place, has_same_id } => {
                self.trace.fault("foreign_chain");
                self.network
                    .replace(*place, &foreign(settings.finality_depth, self.network.tip().0, *has_same_id));
            }
            Act::Limit { place, blocks } => self.network.limit_range(*place, Some(*blocks)),
            Act::Calm => {
                self.network.calm();
                self.misfortune(0, 0);
            }
            Act::Database { lost_permille, answer_lost_permille } => {
                self.misfortune(*lost_permille, *answer_lost_permille);
            }
            Act::Crash { polls, down_ms } => self.process.dies(*polls, *down_ms),
            Act::Absence { blocks } => {
                self.process.leave();
                for block in blocks {
                    self.network.grow(block.clone());
                }
                pause(LOOKS_EACH.as_millis().try_into().expect("less than a second")).await;
                self.process.come_back();
            }
            Act::Quiet { ms } => pause(*ms).await,
        }
    }

    fn misfortune(&self, lost_permille: u32, answer_lost_permille: u32) {
        let mut misfortune = self.misfortune.lock().unwrap_or_else(PoisonError::into_inner);
        (misfortune.lost_permille, misfortune.answer_lost_permille) = (lost_permille, answer_lost_permille);
    }

    /// All is well, and the chain has what the follower is interested in.
    async fn heal(&self, story: &Story) {
        self.process.is_safe();
        self.misfortune(0, 0);
        self.network.heal();
        self.judge.lies.end();
        while self.process.is_narrow() {
            tokio::time::sleep(LOOKS_EACH).await;
        }
        if story.settings.is_narrow_at_first {
            // What was not asked about comes late, once it is final.
            let blocks = story.settings.finality_depth + 1;
            (0..blocks).for_each(|_| self.network.grow(vec![last_plan()]));
        }
        if story.has_last_block {
            pause(self.seed % 3 * 100).await;
            self.network.grow(vec![last_plan()]);
        }
        while self.network.tip().0 < story.settings.start_block {
            self.network.grow(Vec::new());
        }
    }

    /// Waits until the journal has come to rest, and judges it.
    async fn settle(&self, settings: &Settings) {
        let (healed, mut tip) = (Instant::now(), self.network.tip());
        while !self.is_at_rest(tip) || !self.is_covered(tip) {
            if self.trace.violation().is_some() {
                return;
            }
            if healed.elapsed() > SETTLES_WITHIN {
                let (head, gaps) = (self.journal.store().head, self.judge.uncovered(&self.journal, tip.0));
                return self.trace.violated(format!(
                    "with the chain at {tip:?}, the journal stays at {head:?}, and was not asked about {gaps:?}"
                ));
            }
            if self.is_ahead(tip) && healed.elapsed() > GROWS_AFTER {
                self.network.grow(vec![last_plan()]);
                tip = self.network.tip();
            }
            tokio::time::sleep(LOOKS_EACH).await;
        }
        tokio::time::sleep(RESTS_FOR).await;
        if !self.is_at_rest(tip) {
            let head = self.journal.store().head;
            return self
                .trace
                .violated(format!("it was at rest with the chain at {tip:?}, and went to {head:?}"));
        }
        let (is_halted, head) = {
            let store = self.journal.store();
            (store.is_halted, store.head)
        };
        if is_halted {
            // It stays as it was, for whoever looks into it.
            self.judge.at_rest(&self.journal, head.unwrap_or((0, self.network.genesis())));
        } else {
            self.judge.at_rest(&self.journal, tip);
            // By age, what the follower did not bring in itself waits for its successors.
            if settings.finality != FinalityBy::Age {
                self.marks(tip).await;
            }
        }
        self.judge.named(&self.process.named());
        let lost = self.misfortune.lock().unwrap_or_else(PoisonError::into_inner).lost;
        (0..lost).for_each(|_| self.trace.fault("commit_or_answer_lost"));
    }

    /// Waits until the journal's marks are where they belong.
    async fn marks(&self, tip: BlockId) {
        let at_rest = Instant::now();
        while let Some(missing) = self.judge.missing_mark(&self.journal, tip) {
            if at_rest.elapsed() > MARKS_WITHIN {
                return self.trace.violated(missing);
            }
            tokio::time::sleep(LOOKS_EACH).await;
        }
    }

    /// The chain is below what is final, or it went back and has nothing in the place of what it lost: neither is told from a chain that lags,
    /// until it grows.
    fn is_ahead(&self, tip: BlockId) -> bool {
        let store = self.journal.store();
        let is_below = |(number, hash): BlockId| {
            hash != tip.1 && self.network.ancestor(hash, tip.0) == Some(tip.1) && number >= tip.0
        };
        store.head.is_some_and(is_below) || store.final_block.is_some_and(|(number, _)| number >= tip.0)
    }

    /// What is followed is in the journal from its first block on; or the journal is halted.
    fn is_covered(&self, tip: BlockId) -> bool {
        self.journal.store().is_halted || self.judge.uncovered(&self.journal, tip.0).is_empty()
    }

    /// The journal is where the chain is; or the chain has left its final block, and it is halted.
    fn is_at_rest(&self, tip: BlockId) -> bool {
        let store = self.journal.store();
        let is_left = |(number, hash): BlockId| self.network.ancestor(tip.1, number) != Some(hash);
        // Below a final block that it has announced, the journal has nothing that could be taken back.
        let ends = [
            store.final_block,
            store.head.filter(|head| store.final_block.is_some_and(|last| head.0 < last.0)),
        ];
        let is_past_finality = ends.into_iter().flatten().any(is_left);
        if is_past_finality { store.is_halted } else { !store.is_halted && store.head == Some(tip) }
    }
}

async fn pause(ms: u64) {
    tokio::time::sleep(Duration::from_millis(ms)).await;
}

fn last_plan() -> Plan {
    Plan { sender: 0, succeeds: true, deeds: vec![Deed::Cache { user: 0, asset: 0, amount: 9 }] }
}

/// Another chain with the same business, about as long.
fn foreign(finality_depth: u64, number: u64, has_same_id: bool) -> ModelChain {
    let mut world = World::new(CHAIN_ID + 1_000, finality_depth);
    world.extend((0..number + 3).map(|_| vec![last_plan()]).collect());
    if has_same_id {
        world.chain.pretend_to_be(CHAIN_ID);
    }
    world.chain
}

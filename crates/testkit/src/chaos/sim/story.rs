//! What happens in a run, in which order: made from a seed before anything happens, so that it can be read.

use std::fmt;

use plimsoll_types::Completeness;

use super::conduct::{Conduct, Trouble};
use super::dice::Dice;
use crate::model::{LogsOfUnknown, Orphans};
use crate::world::{Deed, Plan};

mod draw;

/// An endpoint as it is when nothing is wrong with it.
#[derive(Clone, Copy, Debug)]
pub(super) struct EndpointSettings {
    /// How long the way there takes at most, and the way back.
    pub(super) slowest_ms: u64,
    /// How long after a block was made it has the block.
    pub(super) delay_ms: u64,
    /// Behind its address is a second node, which has blocks so much later.
    pub(super) second_node_ms: Option<u64>,
    /// Of a thousand requests, so many go to that one.
    pub(super) second_node_permille: u32,
    pub(super) orphans: Orphans,
    pub(super) logs_of_unknown: LogsOfUnknown,
    pub(super) max_concurrent: usize,
    pub(super) requests_per_second: Option<u32>,
    /// Of a thousand logs it hides or alters so many.
    pub(super) lies_permille: u32,
}

impl EndpointSettings {
    pub(super) fn conduct(&self) -> Conduct {
        Conduct::calm(self.slowest_ms, self.second_node_permille)
    }
}

/// How the chain's finality is found out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FinalityBy {
    Depth,
    Tag,
    Age,
}

/// How the chain is followed.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) endpoints: Vec<EndpointSettings>,
    pub(super) start_block: u64,
    pub(super) confirmations: u64,
    /// Blocks, whatever tells it.
    pub(super) finality_depth: u64,
    pub(super) finality: FinalityBy,
    /// Users whose transactions are watched.
    pub(super) watched: Vec<u8>,
    pub(super) ranges_in_flight: usize,
    pub(super) range_blocks: u64,
    pub(super) poll_ms: u64,
    pub(super) request_timeout_ms: u64,
    pub(super) max_retries: u32,
    /// How long the way to the database takes at most, and the way back.
    pub(super) database_ms: u64,
    /// What proves the blocks at the head.
    pub(super) head: Completeness,
    /// What proves the ranges of a backfill.
    pub(super) backfill: Completeness,
    /// Whether the first life follows half of the contracts and watches nobody; the others follow and watch all.
    pub(super) is_narrow_at_first: bool,
}

/// Something that happens. What it does not say follows from the state of things, which follows from the acts before.
#[derive(Clone, Debug)]
pub(super) enum Act {
    /// The chain grows by these blocks, one each so many milliseconds.
    Grow { blocks: Vec<Vec<Plan>>, every_ms: u64 },
    /// The chain leaves its tip for a branch.
    Reorganise { depth: u64, blocks: Vec<Vec<Plan>>, again: bool },
    /// The chain goes back to a tip that it left.
    Flip { choice: usize },
    /// These endpoints go their own way.
    Split { places: Vec<usize>, depth: u64, blocks: Vec<Vec<Plan>>, is_deep: bool },
    /// The branches on which some are alone grow.
    GrowApart { blocks: Vec<Vec<Plan>> },
    /// All are on one chain again.
    Rejoin,
    /// The chain goes back past finality, and after a while, if so, back to where it was.
    Deep { depth: u64, blocks: Vec<Vec<Plan>>, back_after_ms: Option<u64> },
    /// An endpoint, or each, is in trouble, so many thousandths of the worst.
    Trouble { place: Option<usize>, trouble: Trouble, permille: u32 },
    /// An endpoint learns of blocks so much later.
    Late { place: usize, delay_ms: u64 },
    /// Another chain answers at an endpoint's address, which may have the same id.
    Foreign { place: usize, has_same_id: bool },
    /// An endpoint refuses ranges of more blocks.
    Limit { place: usize, blocks: u64 },
    /// Endpoints and database are as good as ever.
    Calm,
    /// The database loses commits and answers, so many of a thousand.
    Database { lost_permille: u32, answer_lost_permille: u32 },
    /// The follower is dropped after so many polls, and is back so much later.
    Crash { polls: u32, down_ms: u64 },
    /// The follower is ended in order, the chain grows, and it is started again.
    Absence { blocks: Vec<Vec<Plan>> },
    /// Nothing, for so long.
    Quiet { ms: u64 },
}

/// A run to be.
#[derive(Clone, Debug)]
pub(super) struct Story {
    pub(super) settings: Settings,
    /// Each with the pause before it, in milliseconds.
    pub(super) acts: Vec<(u64, Act)>,
    /// Whether a block comes after all is well again: without one, what is missed has to be found at an unchanged height.
    pub(super) has_last_block: bool,
}

impl Story {
    /// The story of a seed.
    pub(super) fn of(seed: u64) -> Self {
        draw::story(&mut Dice::new(seed, 1))
    }
}

/// Blocks in short.
struct Blocks<'a>(&'a [Vec<Plan>]);

impl fmt::Display for Blocks<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let deeds = self.0.iter().flatten().map(|plan| plan.deeds.len()).sum::<usize>();
        let failures = self.0.iter().flatten().filter(|plan| !plan.succeeds).count();
        write!(f, "{} blocks, {deeds} deeds, {failures} reverted", self.0.len())
    }
}

impl fmt::Display for Act {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Grow { blocks, every_ms } => write!(f, "grow: {}, each {every_ms} ms", Blocks(blocks)),
            Self::Reorganise { depth, blocks, again } => {
                write!(f, "reorganise {depth} deep: {}, again: {again}", Blocks(blocks))
            }
            Self::Split { places, depth, blocks, is_deep } => {
                write!(f, "split {places:?} off {depth} deep: {}, past finality: {is_deep}", Blocks(blocks))
            }
            Self::GrowApart { blocks } => write!(f, "grow apart: {}", Blocks(blocks)),
            Self::Deep { depth, blocks, back_after_ms } => {
                write!(f, "{depth} deep past finality: {}, back after {back_after_ms:?} ms", Blocks(blocks))
            }
            Self::Absence { blocks } => write!(f, "absent while the chain grows: {}", Blocks(blocks)),
            act @ (Self::Flip { .. }
            | Self::Rejoin
            | Self::Trouble { .. }
            | Self::Late { .. }
            | Self::Foreign { .. }
            | Self::Limit { .. }
            | Self::Calm
            | Self::Database { .. }
            | Self::Crash { .. }
            | Self::Quiet { .. }) => write!(f, "{act:?}"),
        }
    }
}

impl fmt::Display for Story {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:#?}", self.settings)?;
        for (number, (pause_ms, act)) in self.acts.iter().enumerate() {
            writeln!(f, "{number:>3}. after {pause_ms} ms: {act}")?;
        }
        writeln!(f, "Then all is well, and there is another block: {}", self.has_last_block)
    }
}

/// A block of some transactions.
fn block(dice: &mut Dice) -> Vec<Plan> {
    let count = dice.pick(&[0, 0, 1, 1, 1, 2, 3]);
    (0..count).map(|_| plan(dice)).collect()
}

/// So many blocks.
fn blocks(dice: &mut Dice, count: u64) -> Vec<Vec<Plan>> {
    (0..count).map(|_| block(dice)).collect()
}

fn plan(dice: &mut Dice) -> Plan {
    let count = dice.pick(&[0, 1, 1, 2, 2]);
    Plan {
        sender: dice.pick(&[0, 1, 2]),
        succeeds: !dice.permille(100),
        deeds: (0..count).map(|_| deed(dice)).collect(),
    }
}

fn deed(dice: &mut Dice) -> Deed {
    let (user, asset, amount) = (dice.pick(&[0, 1, 2]), dice.pick(&[0, 1]), dice.pick(&[0, 1, 7, 24, 49]));
    match dice.index(13) {
        0..=2 => Deed::Cache { user, asset, amount },
        3 | 4 => Deed::Push { user, asset, amount },
        5 => Deed::PushFails { user, asset },
        6 => Deed::Replay { user, asset },
        7 => Deed::Health { user, factor: amount },
        8 => Deed::AssetStats { asset, price: amount },
        9 => Deed::History { user, asset },
        10 => Deed::Fee { user },
        11 if amount < 10 => Deed::Unknown { topic: amount },
        11 => Deed::Anonymous,
        _ => Deed::Elsewhere,
    }
}

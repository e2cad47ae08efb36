//! What may happen to a chain, to its endpoint and to the node that follows it, in which order.

use proptest::collection::vec;
use proptest::prelude::*;

use crate::support::follower::Settings;
use crate::support::world::{Deed, Plan, user};

/// A commit of the ingest, or a step of the fold, takes fewer.
const KILLED_WITHIN_POLLS: u8 = 60;

/// What happens to the chain, to its endpoint, or to the node.
#[derive(Clone, Debug)]
pub(crate) enum Act {
    Extend(Vec<Vec<Plan>>),
    /// The chain grows by so many blocks while the ingest is down: ranges are backfilled when it is back.
    GrowUnseen(Vec<Vec<Plan>>),
    Fork {
        depth: u64,
        blocks: Vec<Vec<Plan>>,
        again: bool,
    },
    /// To a block that was there before, on whatever branch: A, B, A.
    Flip(usize),
    Lag(u64),
    Fail(u32),
    LimitRange(Option<u64>),
    ForgetOrphans(bool),
    RestartIngest,
    RestartFold,
    /// The ingest is dropped after so many polls, while the chain grows or another branch has won.
    KillIngest {
        polls: u8,
        blocks: Vec<Vec<Plan>>,
    },
    KillFold {
        polls: u8,
        blocks: Vec<Vec<Plan>>,
    },
    StopFold,
}

/// What is waited for before the next act.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Wait {
    Nothing,
    /// Other tasks get so many turns, so that what comes next meets the node half way.
    Turns(u8),
    /// So many commits of the journal, if that many are to come.
    Commits(u32),
    Settled,
}

#[derive(Clone, Debug)]
pub(crate) struct Story {
    pub(crate) settings: Settings,
    pub(crate) acts: Vec<(Act, Wait)>,
}

fn deed() -> impl Strategy<Value = Deed> {
    (0u8..14, 0u8..3, 0u8..2, 0u8..50).prop_map(|(kind, user, asset, amount)| match kind {
        0..=2 => Deed::Cache { user, asset, amount },
        3..=5 => Deed::Push { user, asset, amount },
        6 => Deed::PushFails { user, asset },
        7 => Deed::Replay { user, asset },
        8 => Deed::Health { user, factor: amount },
        9 => Deed::AssetStats { asset, price: amount },
        10 => Deed::History { user, asset },
        11 => Deed::Fee { user },
        12 => {
            if amount < 25 {
                Deed::Unknown { topic: amount }
            } else {
                Deed::Anonymous
            }
        }
        _ => Deed::Elsewhere,
    })
}

fn blocks(count: std::ops::Range<usize>) -> impl Strategy<Value = Vec<Vec<Plan>>> {
    let plan = (0u8..3, prop::bool::weighted(0.9), vec(deed(), 0..3));
    let plan = plan.prop_map(|(sender, succeeds, deeds)| Plan { sender, succeeds, deeds });
    vec(vec(plan, 0..3), count)
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        6 => blocks(1..4).prop_map(Act::Extend),
        2 => blocks(4..16).prop_map(Act::GrowUnseen),
        8 => (0u64..9, blocks(1..7), any::<bool>())
            .prop_map(|(depth, blocks, again)| Act::Fork { depth, blocks, again }),
        7 => any::<usize>().prop_map(Act::Flip),
        2 => (0u64..4).prop_map(Act::Lag),
        3 => (1u32..6).prop_map(Act::Fail),
        1 => prop::option::of(1u64..4).prop_map(Act::LimitRange),
        1 => any::<bool>().prop_map(Act::ForgetOrphans),
        2 => Just(Act::RestartIngest),
        1 => Just(Act::RestartFold),
        6 => (0..KILLED_WITHIN_POLLS, blocks(1..4)).prop_map(|(polls, blocks)| Act::KillIngest { polls, blocks }),
        4 => (0..KILLED_WITHIN_POLLS, blocks(1..4)).prop_map(|(polls, blocks)| Act::KillFold { polls, blocks }),
        1 => Just(Act::StopFold),
    ]
}

fn wait() -> impl Strategy<Value = Wait> {
    prop_oneof![
        1 => Just(Wait::Nothing),
        1 => any::<u8>().prop_map(Wait::Turns),
        2 => (1u32..4).prop_map(Wait::Commits),
        4 => Just(Wait::Settled),
    ]
}

pub(crate) fn story() -> impl Strategy<Value = Story> {
    let settings =
        (0u64..3, 0u64..4, 0u64..9, any::<bool>(), 1usize..4, 1u64..6, prop::option::of(1usize..20));
    let settings =
        settings.prop_map(|(start_block, confirmations, beyond, watched, flight, range, step)| Settings {
            start_block,
            confirmations,
            finality_depth: (confirmations + beyond).max(1),
            watched: if watched { vec![user(0), user(2)] } else { Vec::new() },
            ranges_in_flight: flight,
            range_blocks: range,
            step_records: step,
        });
    (settings, vec((act(), wait()), 1..25)).prop_map(|(settings, acts)| Story { settings, acts })
}

//! What happens in a run, in which order: made from a seed before anything happens, so that it can be read.

use std::fmt;

use uuid::Uuid;

use super::keys::KEYS;
use crate::chaos::dice::Dice;
use crate::chaos::house::Trouble;
use crate::chaos::people::TENANTS;

/// Acts of a story.
const FEWEST_ACTS: u64 = 14;
const MOST_ACTS: u64 = 22;
/// A process that stands still for its leases' term and so much longer has lost them.
const BEYOND_TERM_MS: u64 = 1_500;

/// How everything is set up.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    /// How many endpoints there are.
    pub(super) endpoints: usize,
    /// How many processes follow the chain and send; another takes requests.
    pub(super) nodes: usize,
    /// Whether the one that takes requests sends as well.
    pub(super) api_sends: bool,
    /// Of each signer, whether a request whose nonce a stranger used is sent at another; or it ends as replaced.
    pub(super) requeues: Vec<bool>,
    /// How many of a signer's transactions may be under way at once.
    pub(super) window: u64,
    pub(super) confirmations: u64,
    pub(super) finality_depth: u64,
    pub(super) lease_term_ms: u64,
    pub(super) poll_ms: u64,
    pub(super) request_timeout_ms: u64,
    pub(super) policy_interval_ms: u64,
    pub(super) resend_after_blocks: u64,
    pub(super) bump_after_blocks: u64,
    /// A block comes so often.
    pub(super) block_ms: u64,
}

/// What a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// To be counted, with a gas limit or one that is estimated.
    Count { has_limit: bool },
    /// Something that the contract refuses, with a gas limit or one that is estimated.
    Revert { has_limit: bool },
    /// To be counted, within so many blocks.
    UntilBlock { blocks: u64 },
    /// To be counted, within this time.
    UntilTime { ms: u64 },
}

/// A request to be handed in.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ask {
    pub(super) request_id: Uuid,
    pub(super) kind: Kind,
    /// By place.
    pub(super) tenant: usize,
    /// By place.
    pub(super) signer: usize,
    pub(super) priority: u16,
}

/// Something that happens.
#[derive(Clone, Debug)]
pub(super) enum Act {
    /// Requests are handed in, all at once.
    Submit { asks: Vec<Ask> },
    /// The same, and so much later the process that takes them is killed, and started again after a while.
    SubmitThroughKill { asks: Vec<Ask>, after_ms: u64, down_ms: u64 },
    /// What was handed in before is handed in again: under the same key, under another, or with something else in it.
    Repeat { picks: Vec<u64> },
    /// Of what was handed in, these are called off.
    CallOff { picks: Vec<u64> },
    /// Somebody else sends with a signer's key; to a node that has just lost its pool, so that nonces of ours may be used.
    Stranger { signer: usize, count: u64, empties_pool: bool },
    /// The next block's base fee, which falls again by an eighth with each block.
    Dear { gwei: u64 },
    /// The last blocks are replaced by empty ones, and of the node's pool everything goes, or nothing.
    Reorganise { depth: u64, empties_pool: bool },
    /// The node loses some of what waits in its pool, or everything.
    DropFromPool { picks: Option<Vec<u64>> },
    /// Of a thousand requests to an endpoint, or to each, so many meet this for so long.
    Trouble { place: Option<usize>, trouble: Trouble, permille: u32, ms: u64 },
    /// SIGKILL, and a new process so much later.
    Kill { process: usize, down_ms: u64 },
    /// SIGSTOP, and SIGCONT so much later.
    Freeze { process: usize, ms: u64 },
    /// Sessions of the database are ended: all of them, or those at work.
    EndSessions { all: bool },
    /// The database server ends, its sessions with it, and is started again: by a crash, or in order.
    RestartPostgres { crash: bool },
    /// Nothing but blocks.
    Quiet { ms: u64 },
}

/// A run to be.
#[derive(Clone, Debug)]
pub(super) struct Story {
    pub(super) settings: Settings,
    /// Each with the pause before it, in milliseconds.
    pub(super) acts: Vec<(u64, Act)>,
    /// Handed in when all is well again: one for each signer.
    pub(super) last: Vec<Ask>,
}

impl Story {
    /// The story of a seed.
    pub(super) fn of(seed: u64) -> Self {
        let dice = &mut Dice::new(seed, 2);
        let settings = Settings::draw(dice);
        let count = dice.within(FEWEST_ACTS, MOST_ACTS);
        let first = (0, Act::Submit { asks: asks(dice, &settings, 10) });
        let others = (0..count).map(|_| (pause(dice), act(dice, &settings)));
        let acts = std::iter::once(first).chain(others).collect();
        let last = (0..settings.requeues.len()).map(|signer| Ask { signer, ..last_ask(dice) }).collect();
        Self { settings, acts, last }
    }

    /// One in which nothing is wrong but that the process that takes requests is killed while they come, and once more.
    pub(super) fn through_kills(seed: u64) -> Self {
        let whole = Self::of(seed);
        let dice = &mut Dice::new(seed, 3);
        let acts = [0, 20, 60].map(|after_ms| {
            let asks = (0..12).map(|_| Ask { signer: 0, ..last_ask(dice) }).collect();
            (200, Act::SubmitThroughKill { asks, after_ms, down_ms: 0 })
        });
        let settings = Settings { nodes: 2, endpoints: 1, requeues: vec![true], ..whole.settings };
        let last = vec![Ask { signer: 0, ..last_ask(dice) }];
        Self { settings, acts: acts.into(), last }
    }

    /// The first acts alone, for whoever is in a hurry.
    pub(super) fn shortened(mut self, acts: usize) -> Self {
        self.acts.truncate(acts);
        self
    }
}

impl Settings {
    fn draw(dice: &mut Dice) -> Self {
        let signers = dice.within(1, KEYS.len() as u64);
        Self {
            endpoints: dice.pick(&[1, 2, 2]),
            nodes: dice.pick(&[2, 2, 3]),
            api_sends: dice.permille(300),
            requeues: (0..signers).map(|_| dice.permille(750)).collect(),
            window: dice.pick(&[2, 8, 32, 64]),
            confirmations: dice.within(1, 4),
            finality_depth: dice.within(8, 12),
            lease_term_ms: dice.pick(&[1_000, 2_000]),
            poll_ms: dice.pick(&[50, 100]),
            request_timeout_ms: dice.pick(&[400, 1_000]),
            policy_interval_ms: dice.pick(&[100, 300]),
            resend_after_blocks: dice.within(1, 3),
            bump_after_blocks: dice.within(2, 6),
            block_ms: dice.pick(&[150, 250, 400]),
        }
    }

    /// The place of the process that takes requests.
    pub(super) fn api(&self) -> usize {
        self.nodes
    }
}

fn pause(dice: &mut Dice) -> u64 {
    let most = dice.pick(&[0, 100, 700, 700, 1_200]);
    dice.up_to(most)
}

fn id(dice: &mut Dice) -> Uuid {
    Uuid::from_u64_pair(dice.any(), dice.any())
}

fn last_ask(dice: &mut Dice) -> Ask {
    let (request_id, tenant) = (id(dice), dice.index(TENANTS.len()));
    Ask { request_id, kind: Kind::Count { has_limit: true }, tenant, signer: 0, priority: 0 }
}

fn asks(dice: &mut Dice, settings: &Settings, most: u64) -> Vec<Ask> {
    (0..dice.within(1, most))
        .map(|_| Ask {
            request_id: id(dice),
            kind: match dice.up_to(99) {
                0..60 => Kind::Count { has_limit: true },
                60..72 => Kind::Count { has_limit: false },
                72..80 => Kind::Revert { has_limit: true },
                80..84 => Kind::Revert { has_limit: false },
                84..92 => Kind::UntilBlock { blocks: dice.within(0, 6) },
                _ => Kind::UntilTime { ms: dice.within(0, 2_500) },
            },
            tenant: dice.index(TENANTS.len()),
            signer: dice.index(settings.requeues.len()),
            priority: dice.pick(&[0, 0, 0, 1, 7]),
        })
        .collect()
}

fn picks(dice: &mut Dice, most: u64) -> Vec<u64> {
    (0..dice.within(1, most)).map(|_| dice.any()).collect()
}

fn act(dice: &mut Dice, settings: &Settings) -> Act {
    let process = dice.index(settings.nodes);
    match dice.up_to(999) {
        0..230 => Act::Submit { asks: asks(dice, settings, 20) },
        230..310 => Act::SubmitThroughKill {
            asks: asks(dice, settings, 20),
            after_ms: dice.up_to(40),
            down_ms: dice.pick(&[0, 0, 500]),
        },
        310..370 => Act::Repeat { picks: picks(dice, 8) },
        370..440 => Act::CallOff { picks: picks(dice, 6) },
        440..510 => Act::Stranger {
            signer: dice.index(settings.requeues.len()),
            count: dice.pick(&[1, 1, 1, 3]),
            empties_pool: dice.permille(600),
        },
        510..540 => Act::Dear { gwei: dice.pick(&[3, 10, 50]) },
        540..640 => Act::Reorganise {
            depth: dice.within(1, settings.finality_depth - 2),
            empties_pool: dice.permille(500),
        },
        640..680 => {
            let everything = dice.permille(300);
            let some = picks(dice, 6);
            Act::DropFromPool { picks: (!everything).then_some(some) }
        }
        680..840 => {
            let place = dice.index(settings.endpoints);
            let place = (!dice.permille(350)).then_some(place);
            let (of_sends, of_all) = (dice.pick(&Trouble::OF_SENDS), dice.pick(&Trouble::ALL));
            let trouble = if dice.permille(500) { of_sends } else { of_all };
            let permille = dice.pick(&[200, 500, 1_000]);
            Act::Trouble { place, trouble, permille, ms: dice.pick(&[300, 1_000, 1_000, 3_000]) }
        }
        840..895 => Act::Kill { process, down_ms: dice.pick(&[0, 0, 500, 2_000]) },
        895..930 => {
            let lost = settings.lease_term_ms + BEYOND_TERM_MS;
            Act::Freeze { process, ms: dice.pick(&[500, lost, lost]) }
        }
        930..955 => Act::EndSessions { all: dice.permille(700) },
        955..980 => Act::RestartPostgres { crash: dice.permille(600) },
        _ => Act::Quiet { ms: dice.within(500, 2_000) },
    }
}

impl fmt::Display for Story {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:?}", self.settings)?;
        for (number, (pause_ms, act)) in self.acts.iter().enumerate() {
            writeln!(f, "{number:>3}. after {pause_ms} ms: {act:#}")?;
        }
        writeln!(f, "Then all is well, and each signer is asked once more")
    }
}

impl fmt::Display for Act {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |f: &mut fmt::Formatter<'_>, asks: &[Ask]| {
            asks.iter().try_for_each(|Ask { request_id, kind, tenant, signer, priority }| {
                write!(f, "\n       {request_id} {kind:?} of tenant {tenant} by signer {signer}, priority {priority}")
            })
        };
        match self {
            Self::Submit { asks } => write!(f, "Submit {}", asks.len())?,
            Self::SubmitThroughKill { asks, after_ms, down_ms } => {
                write!(f, "Submit {}, kill after {after_ms} ms, down {down_ms} ms", asks.len())?;
            }
            other => write!(f, "{other:?}")?,
        }
        // What is asked for belongs to the schedule, and not to a line of what happened.
        if let (true, Self::Submit { asks } | Self::SubmitThroughKill { asks, .. }) = (f.alternate(), self) {
            list(f, asks)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_tells_one_story_and_reorganises_nothing_that_is_final() {
        for seed in 0..500 {
            let story = Story::of(seed);
            assert_eq!(story.to_string(), Story::of(seed).to_string());
            for (_, act) in &story.acts {
                if let Act::Reorganise { depth, .. } = act {
                    assert!(*depth < story.settings.finality_depth, "seed {seed}");
                }
            }
        }
    }
}

//! What happens in a run, in which order: made from a seed before anything happens, so that it can be read.

use std::fmt;

use crate::chaos::dice::Dice;
use crate::chaos::house::Trouble;

/// Acts of a story.
const FEWEST_ACTS: u64 = 18;
const MOST_ACTS: u64 = 32;
/// A process that stands still for its lease's term and so much longer has lost it.
const BEYOND_TERM_MS: u64 = 2_500;

/// How the chain is followed, and by whom.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    /// Of a thousand logs each endpoint hides or alters so many.
    pub(super) lies_permille: Vec<u32>,
    /// How many processes run; all but one stand by.
    pub(super) processes: usize,
    /// Steps of traffic before anybody follows the chain, a block each.
    pub(super) history: u32,
    pub(super) confirmations: u64,
    pub(super) finality_depth: u64,
    pub(super) lease_term_ms: u64,
    pub(super) poll_ms: u64,
    pub(super) request_timeout_ms: u64,
    /// Blocks of a backfill's range at most.
    pub(super) range_blocks: u64,
    /// What proves past blocks: `bloom` or `receipts`. Those at the head are proven by their receipts.
    pub(super) backfill: &'static str,
}

/// Something that happens.
#[derive(Clone, Debug)]
pub(super) enum Act {
    /// Steps of traffic, a block each.
    Grow { steps: u64, every_ms: u64 },
    /// Steps of traffic in one block, and empty blocks after it at once.
    Burst { steps: u64, blocks: u64 },
    /// The last blocks are replaced.
    Reorganise { depth: u64 },
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
    /// Nothing.
    Quiet { ms: u64 },
}

/// A run to be.
#[derive(Clone, Debug)]
pub(super) struct Story {
    pub(super) settings: Settings,
    /// Each with the pause before it, in milliseconds.
    pub(super) acts: Vec<(u64, Act)>,
    /// Whether blocks come after all is well again: without them what is missed has to be found at an unchanged height.
    pub(super) has_last_blocks: bool,
}

impl Story {
    /// The story of a seed.
    pub(super) fn of(seed: u64) -> Self {
        let dice = &mut Dice::new(seed, 1);
        let settings = Settings::draw(dice);
        let count = dice.within(FEWEST_ACTS, MOST_ACTS);
        let acts = (0..count).map(|_| (pause(dice), act(dice, &settings))).collect();
        Self { settings, acts, has_last_blocks: dice.permille(500) }
    }

    /// The first acts alone, for whoever is in a hurry.
    pub(super) fn shortened(mut self, acts: usize) -> Self {
        self.acts.truncate(acts);
        self
    }
}

impl Settings {
    fn draw(dice: &mut Dice) -> Self {
        let endpoints = dice.pick(&[1, 2, 2]);
        let mut lies_permille = vec![0; endpoints];
        // A liar is in the minority: beside him somebody tells the truth.
        let is_lied_to = endpoints > 1 && dice.permille(500);
        if is_lied_to {
            lies_permille[dice.index(endpoints)] = dice.pick(&[50, 300, 1_000]);
        }
        Self {
            lies_permille,
            processes: dice.pick(&[1, 2, 2]),
            history: u32::try_from(dice.within(5, 45)).unwrap_or(5),
            confirmations: dice.within(1, 4),
            finality_depth: dice.within(10, 20),
            lease_term_ms: dice.pick(&[2_000, 4_000]),
            poll_ms: dice.pick(&[50, 100, 300]),
            request_timeout_ms: dice.pick(&[400, 1_000, 2_000]),
            range_blocks: dice.pick(&[1, 5, 1_000]),
            // The bloom does not show every lie, so who is lied to proves past blocks by their receipts too.
            backfill: if is_lied_to { "receipts" } else { dice.pick(&["bloom", "receipts"]) },
        }
    }
}

fn pause(dice: &mut Dice) -> u64 {
    let most = dice.pick(&[0, 100, 700, 700, 1_500]);
    dice.up_to(most)
}

fn act(dice: &mut Dice, settings: &Settings) -> Act {
    let process = dice.index(settings.processes);
    match dice.up_to(999) {
        0..220 => {
            let most = dice.pick(&[5, 12, 25]);
            Act::Grow { steps: dice.within(2, most), every_ms: dice.pick(&[0, 20, 100, 250]) }
        }
        220..290 => Act::Burst { steps: dice.within(1, 8), blocks: dice.within(1, 30) },
        290..470 => Act::Reorganise { depth: dice.within(1, settings.finality_depth - 2) },
        470..750 => {
            let place = dice.index(settings.lies_permille.len());
            let place = (!dice.permille(250)).then_some(place);
            let permille = dice.pick(&[100, 400, 1_000]);
            let ms = dice.pick(&[300, 1_000, 1_000, 4_000]);
            Act::Trouble { place, trouble: dice.pick(&Trouble::ALL), permille, ms }
        }
        750..840 => Act::Kill { process, down_ms: dice.pick(&[0, 0, 500, 3_000]) },
        840..890 => {
            let lost = settings.lease_term_ms + BEYOND_TERM_MS;
            Act::Freeze { process, ms: dice.pick(&[500, lost, lost]) }
        }
        890..940 => Act::EndSessions { all: dice.permille(700) },
        940..970 => Act::RestartPostgres { crash: dice.permille(600) },
        _ => Act::Quiet { ms: dice.within(500, 3_000) },
    }
}

impl fmt::Display for Story {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:?}", self.settings)?;
        for (number, (pause_ms, act)) in self.acts.iter().enumerate() {
            writeln!(f, "{number:>3}. after {pause_ms} ms: {act:?}")?;
        }
        writeln!(f, "Then all is well, and there are more blocks: {}", self.has_last_blocks)
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
            let Settings { finality_depth, lies_permille, backfill, .. } = &story.settings;
            for (_, act) in &story.acts {
                if let Act::Reorganise { depth } = act {
                    assert!(depth < finality_depth, "seed {seed}");
                }
            }
            let liars = lies_permille.iter().filter(|permille| **permille > 0).count();
            assert!(
                2 * liars <= lies_permille.len() && (liars == 0 || *backfill == "receipts"),
                "seed {seed}"
            );
        }
    }
}

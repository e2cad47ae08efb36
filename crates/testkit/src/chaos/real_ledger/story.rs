//! What happens in a run, in which order: made from a seed before anything happens, so that it can be read.

use std::fmt;

use crate::chaos::dice::Dice;

/// Of the acts that are no kill, one comes after so many kills on average.
const KILLS_A_BLOW: u64 = 5;
/// A process that stands still for its leases' term and so much longer has lost them.
const BEYOND_TERM_MS: u64 = 1_500;

/// How everything is set up.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    /// How many processes there are, each with every role.
    pub(super) processes: usize,
    /// How many clients offer postings.
    pub(super) clients: u64,
    pub(super) confirmations: u64,
    pub(super) finality_depth: u64,
    pub(super) lease_term_ms: u64,
    pub(super) poll_ms: u64,
    /// A block comes so often.
    pub(super) block_ms: u64,
}

/// Something that happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Act {
    /// SIGKILL once the process runs, and a new process so much later.
    Kill { process: usize, down_ms: u64 },
    /// SIGSTOP, and SIGCONT so much later.
    Freeze { process: usize, ms: u64 },
    /// The database server ends, its sessions with it, and is started again: by a crash, or at once and in order.
    RestartPostgres { crash: bool },
    /// Sessions of the database are ended: all of them, or those at work.
    EndSessions { all: bool },
    /// The last blocks are replaced by others with something else in them.
    Reorganise { depth: u64 },
}

/// A run to be.
#[derive(Clone, Debug)]
pub(super) struct Story {
    pub(super) settings: Settings,
    /// Each with the pause before it, in milliseconds.
    pub(super) acts: Vec<(u64, Act)>,
}

impl Story {
    /// The story of a seed with so many kills. In each there is a reorganisation deeper than the confirmations, and a crash of the database server.
    pub(super) fn of(seed: u64, kills: u64) -> Self {
        let dice = &mut Dice::new(seed, 4);
        let settings = Settings {
            processes: dice.pick(&[1, 2, 2]),
            clients: dice.within(6, 12),
            confirmations: dice.within(1, 3),
            finality_depth: 24,
            lease_term_ms: dice.pick(&[1_000, 2_000]),
            poll_ms: dice.pick(&[50, 100]),
            block_ms: dice.pick(&[150, 250, 400]),
        };
        let deeper = Act::Reorganise { depth: settings.confirmations + dice.within(1, 4) };
        let (first, second) = (kills / 3, kills * 2 / 3);
        let mut acts = Vec::new();
        for number in 0..kills {
            let process = dice.index(settings.processes);
            acts.push((pause(dice), Act::Kill { process, down_ms: dice.pick(&[0, 0, 0, 300]) }));
            if number == first {
                acts.push((pause(dice), Act::RestartPostgres { crash: true }));
            }
            if number == second {
                // The blocks that go have been confirmed and booked.
                acts.push((3_000, deeper));
            }
            if dice.up_to(KILLS_A_BLOW - 1) == 0 {
                acts.push((pause(dice), blow(dice, &settings)));
            }
        }
        Self { settings, acts }
    }
}

fn pause(dice: &mut Dice) -> u64 {
    let most = dice.pick(&[200, 1_000, 3_000, 5_000]);
    dice.up_to(most)
}

fn blow(dice: &mut Dice, settings: &Settings) -> Act {
    match dice.up_to(9) {
        0..3 => Act::RestartPostgres { crash: dice.permille(700) },
        3..5 => Act::EndSessions { all: dice.permille(500) },
        5 => Act::Freeze {
            process: dice.index(settings.processes),
            ms: settings.lease_term_ms + BEYOND_TERM_MS,
        },
        _ => Act::Reorganise { depth: dice.within(1, settings.confirmations + 4) },
    }
}

impl fmt::Display for Story {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:?}", self.settings)?;
        for (number, (pause_ms, act)) in self.acts.iter().enumerate() {
            writeln!(f, "{number:>3}. after {pause_ms} ms: {act:?}")?;
        }
        writeln!(f, "Then all is well, and everything comes to its end")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_tells_one_story_with_its_kills_a_deep_reorganisation_and_a_crash_of_the_server() {
        for seed in 0..500 {
            let story = Story::of(seed, 5);
            assert_eq!(story.to_string(), Story::of(seed, 5).to_string());
            let has = |what: fn(&Settings, Act) -> bool| {
                story.acts.iter().filter(|(_, act)| what(&story.settings, *act)).count()
            };
            assert_eq!(has(|_, act| matches!(act, Act::Kill { .. })), 5, "seed {seed}");
            let is_crash = |_: &Settings, act| act == Act::RestartPostgres { crash: true };
            assert!(has(is_crash) > 0, "seed {seed}");
            let is_deep = |settings: &Settings, act| matches!(act, Act::Reorganise { depth } if depth > settings.confirmations && depth < settings.finality_depth);
            assert!(has(is_deep) > 0, "seed {seed}");
        }
    }
}

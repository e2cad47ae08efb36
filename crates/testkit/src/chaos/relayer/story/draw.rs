//! How stories are drawn.

use plimsoll_relayer::fees::Pricing;

use super::{Act, Asked, Does, Settings, Story, Style};
use crate::chaos::conduct::Trouble;
use crate::chaos::dice::Dice;
use crate::chaos::relayer::world::Client;

/// Lies of one node alone are not larger: each leaves a gap that has to be filled.
const LIE_MOST: u64 = 6;
/// What happens is drawn from so many kinds: some of them are the same thing.
const KINDS: u64 = 120;

impl Story {
    /// The story of a seed.
    pub(in crate::chaos::relayer) fn of(seed: u64) -> Self {
        let mut dice = Dice::new(seed, 1);
        let settings = settings(&mut dice);
        let count = dice.within(20, 70);
        // Some seeds are quiet, so that what happens in them is seen alone.
        let calm_permille = dice.pick(&[100, 250, 500]);
        // What goes wrong somewhere goes wrong there again: a second user of the key, a chain that reorganises, a node that restarts.
        let habits = [(); 3].map(|()| dice.up_to(KINDS - 1));
        let habit_permille = dice.pick(&[0, 300, 600]);
        let mut acts = vec![(500, hand_in(&mut dice, &settings))];
        for _ in 0..count {
            let mut pause = if dice.permille(300) { dice.up_to(200) } else { dice.up_to(5_000) };
            let act = if dice.permille(calm_permille) {
                hand_in(&mut dice, &settings)
            } else {
                let kind =
                    if dice.permille(habit_permille) { dice.pick(&habits) } else { dice.up_to(KINDS - 1) };
                act(&mut dice, &settings, kind)
            };
            if matches!(act, Act::Rotate { .. } | Act::Leave { .. }) {
                // Nobody stops handing in while operators are at it.
                acts.push((pause, hand_in(&mut dice, &settings)));
                pause = dice.up_to(1_500);
            }
            acts.push((pause, act));
        }
        Self { settings, acts }
    }
}

fn settings(dice: &mut Dice) -> Settings {
    let places = usize::try_from(dice.within(1, 3)).expect("few");
    let clients = (0..places).map(|_| dice.pick(&Client::ALL)).collect();
    let signers = dice.pick(&[1, 2, 2, 3]);
    let signers = (0..signers).map(|_| (dice.pick(&[0, 0, 0, 3]), !dice.permille(200))).collect();
    Settings {
        nodes: usize::try_from(dice.within(2, 4)).expect("few"),
        names: dice.up_to(999),
        clients,
        signers,
        confirmations: dice.within(1, 4),
        finality: dice.within(5, 10),
        block_ms: dice.pick(&[500, 1_000, 2_000, 2_000, 4_000]),
        term_ms: dice.pick(&[1_500, 3_000, 6_000]),
        request_timeout_ms: dice.pick(&[1_000, 2_000, 5_000]),
        max_retries: u32::try_from(dice.up_to(2)).expect("few"),
        slowest_ms: dice.pick(&[5, 30, 150]),
        database_ms: dice.pick(&[2, 10, 60, 250]),
        journal_ms: dice.pick(&[200, 800, 2_500]),
        signature_ms: dice.pick(&[0, 0, 50, 1_000, 2_500]),
        window: usize::try_from(dice.pick(&[1, 4, 16, 64])).expect("few"),
        pricing: if dice.permille(150) { Pricing::GasPrice } else { Pricing::BaseFee },
        resend_after_blocks: dice.within(1, 3),
        bump_after_blocks: dice.within(1, 6),
        poll_ms: dice.pick(&[200, 500, 1_000]),
        rumour_ms: dice.pick(&[50, 500, 3_000]),
    }
}

fn asked(dice: &mut Dice, settings: &Settings) -> Asked {
    let some = |dice: &mut Dice, permille, value: u64| dice.permille(permille).then_some(value);
    let until_ms = dice.within(1_000, 40_000);
    let until_blocks = dice.within(1, 15);
    let as_of = dice.up_to(4);
    let gas = dice.pick(&[100_000, 100_000, 48_000, 25_000, 23_000, 200]);
    let fee = dice.within(3, 60);
    Asked {
        tenant: u8::try_from(dice.within(1, 3)).expect("few"),
        signer: dice.index(settings.signers.len()),
        does: dice.pick(&[
            Does::Counts,
            Does::Counts,
            Does::Counts,
            Does::Counts,
            Does::Counts,
            Does::Counts,
            Does::Reverts,
            Does::Pays,
        ]),
        gas_limit: some(dice, 500, gas),
        max_fee_gwei: some(dice, 200, fee),
        priority: dice.pick(&[0, 0, 0, -1, 5]),
        until_ms: some(dice, 120, until_ms),
        until_blocks: some(dice, 80, until_blocks),
        as_of: some(dice, 80, as_of),
    }
}

fn hand_in(dice: &mut Dice, settings: &Settings) -> Act {
    let count = dice.pick(&[1, 1, 2, 3, 8]);
    Act::HandIn((0..count).map(|_| asked(dice, settings)).collect())
}

/// What happens, of one of the kinds.
fn act(dice: &mut Dice, settings: &Settings, kind: u64) -> Act {
    let place = dice.index(settings.clients.len());
    let node = dice.index(settings.nodes);
    let signer = dice.index(settings.signers.len());
    let which = dice.index(64);
    let term = settings.term_ms;
    match kind {
        0..=7 => Act::CallOff { which },
        8..=10 => Act::Again { which },
        11 => Act::Otherwise { which },
        12..=21 => Act::Crash {
            node,
            polls: u32::try_from(dice.pick(&[0, 1, 3, 10, 30, 100, 300]) + dice.up_to(6)).expect("few"),
            down_ms: dice.up_to(12_000),
            is_noticed: dice.permille(500),
        },
        22..=29 => Act::Freeze { node, ms: dice.within(term / 2, term * 4) },
        30..=31 | 116..=119 => Act::Leave { node, down_ms: dice.up_to(8_000) },
        32..=33 => Act::LoseSession,
        34..=37 => Act::Database {
            lost_permille: u32::try_from(dice.up_to(150)).expect("few"),
            answer_lost_permille: u32::try_from(dice.up_to(200)).expect("few"),
        },
        38 | 104..=105 => Act::Busy { ms: dice.within(100, term / 2) },
        39 => Act::DatabaseDown { ms: dice.within(200, 2 * term) },
        40..=49 => Act::Trouble {
            place,
            trouble: dice.pick(&Trouble::ALL),
            permille: u32::try_from(dice.within(100, 1_000)).expect("few"),
        },
        50..=56 => Act::Odd {
            place,
            permille: u32::try_from(dice.within(50, 700)).expect("few"),
            may_despair: dice.permille(200),
        },
        57..=60 => lie(dice, place),
        61..=63 => Act::Lag { place, ms: dice.up_to(20_000) },
        64..=67 => Act::Forget { place, permille: u32::try_from(dice.within(100, 1_000)).expect("few") },
        68..=69 => Act::Deaf { permille: u32::try_from(dice.up_to(900)).expect("few") },
        70..=76 | 100..=103 => stranger(dice, settings),
        77..=86 => Act::Reorganise {
            depth: dice.within(1, settings.finality),
            more: dice.up_to(2),
            forgets_permille: u32::try_from(dice.pick(&[0, 500, 1_000, 1_000])).expect("few"),
        },
        87..=89 => Act::Fees { gwei: dice.pick(&[1, 1, 5, 30, 80]) },
        90 => Act::Empty { permille: u32::try_from(dice.pick(&[0, 500, 950])).expect("few") },
        91..=92 => Act::Funds { signer, finney: dice.pick(&[0, 2, 30, 1_000_000]) },
        93 => Act::Refuse { is_on: dice.permille(600) },
        94..=95 => Act::Journal { is_writer: dice.permille(500), ms: dice.up_to(20_000) },
        96 => Act::Switch {
            tenant: dice.permille(500).then_some(1),
            signer: dice.permille(300).then_some(signer),
            is_on: dice.permille(600),
        },
        106..=112 => Act::Rotate { old: signer, new: another(dice, signer, settings) },
        113..=115 => Act::Look { signer },
        97 => Act::Pen { signer, ms: dice.up_to(10_000) },
        _ => Act::Calm,
    }
}

/// A signer that is not this one, if there is any.
fn another(dice: &mut Dice, signer: usize, settings: &Settings) -> usize {
    let count = settings.signers.len();
    (signer + 1 + dice.index(count.max(2) - 1)) % count
}

fn stranger(dice: &mut Dice, settings: &Settings) -> Act {
    Act::Stranger {
        signer: dice.index(settings.signers.len()),
        place: dice.index(settings.clients.len()),
        style: match dice.up_to(9) {
            0..=4 => Style::Next,
            5..=8 => Style::Replaces,
            _ => Style::Ahead(dice.within(1, 3)),
        },
        has_effect: dice.permille(500),
        is_private: dice.permille(500),
        tip_percent: dice.within(111, 400),
    }
}

fn lie(dice: &mut Dice, place: usize) -> Act {
    let more = i64::try_from(dice.within(1, LIE_MOST)).expect("few");
    let (latest, pending) = match dice.up_to(4) {
        0 | 1 => (more, more),
        2 => (0, more),
        3 => (-more, -more),
        _ => (0, -more),
    };
    Act::Lie { place, latest, pending }
}

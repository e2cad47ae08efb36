//! Stories by chance.

use plimsoll_types::Completeness;

use super::{Act, EndpointSettings, FinalityBy, Settings, Story, block, blocks};
use crate::chaos::sim::conduct::Trouble;
use crate::chaos::sim::dice::Dice;
use crate::model::{LogsOfUnknown, Orphans};

/// Acts of a story.
const FEWEST_ACTS: u64 = 12;
const MOST_ACTS: u64 = 36;

pub(super) fn story(dice: &mut Dice) -> Story {
    let mut settings = settings(dice);
    let count = dice.within(FEWEST_ACTS, MOST_ACTS);
    let block_ms = dice.pick(&[100, 100, 250, 1_000, 2_000]);
    let mut acts = vec![(0, grow(dice, block_ms))];
    acts.extend((0..count).map(|_| (pause(dice), act(dice, &settings, block_ms))));
    let has_last_block = dice.permille(500);
    settings.is_narrow_at_first = dice.permille(300);
    Story { settings, acts, has_last_block }
}

fn settings(dice: &mut Dice) -> Settings {
    use Completeness::{Bloom, Receipts, Trusted};
    let count = dice.pick(&[1, 1, 2, 2, 3, 3, 3, 4]);
    let proofs =
        [(Receipts, Bloom), (Receipts, Bloom), (Receipts, Receipts), (Bloom, Bloom), (Trusted, Trusted)];
    let (head, backfill) = dice.pick(&proofs);
    // Who is believed on his word must tell the truth.
    let may_lie = head > Trusted && backfill > Trusted;
    let endpoints = (0..count).map(|_| endpoint(dice, may_lie)).collect();
    let confirmations = dice.up_to(4);
    let poll_ms = dice.pick(&[100, 250, 500, 1_000]);
    Settings {
        endpoints,
        start_block: dice.pick(&[0, 0, 1, 3, 12]),
        confirmations,
        finality_depth: (confirmations + dice.up_to(8)).max(1),
        finality: dice.pick(&[FinalityBy::Depth, FinalityBy::Depth, FinalityBy::Tag, FinalityBy::Age]),
        watched: if dice.permille(600) { vec![0, 2] } else { Vec::new() },
        ranges_in_flight: dice.pick(&[1, 2, 3]),
        range_blocks: dice.pick(&[1, 2, 3]),
        poll_ms,
        request_timeout_ms: dice.pick(&[500, 1_000, 3_000]),
        max_retries: dice.pick(&[0, 1, 2, 5]),
        database_ms: dice.pick(&[0, 5, 30]),
        head,
        backfill,
        is_narrow_at_first: false,
    }
}

fn endpoint(dice: &mut Dice, may_lie: bool) -> EndpointSettings {
    let has_second = dice.permille(200);
    EndpointSettings {
        slowest_ms: dice.pick(&[0, 2, 10, 40]),
        delay_ms: dice.pick(&[0, 0, 20, 100, 300]),
        second_node_ms: has_second.then(|| dice.pick(&[150, 600, 3_000])),
        second_node_permille: if has_second { dice.pick(&[50, 300, 500]) } else { 0 },
        orphans: dice.pick(&[Orphans::Served, Orphans::Served, Orphans::Forgotten]),
        logs_of_unknown: dice.pick(&[LogsOfUnknown::Refused, LogsOfUnknown::Empty]),
        max_concurrent: dice.pick(&[1, 4, 16]),
        requests_per_second: dice.permille(100).then(|| dice.pick(&[10, 50])),
        lies_permille: if may_lie && dice.permille(200) { dice.pick(&[30, 200, 1_000]) } else { 0 },
    }
}

fn pause(dice: &mut Dice) -> u64 {
    let most = dice.pick(&[0, 50, 500, 500, 3_000]);
    dice.up_to(most)
}

fn grow(dice: &mut Dice, block_ms: u64) -> Act {
    let (count, every_ms) = match dice.index(8) {
        0 => (dice.within(8, 25), dice.pick(&[20, 100])),
        1 => (dice.within(5, 20), 0),
        _ => (dice.within(1, 6), block_ms),
    };
    Act::Grow { blocks: blocks(dice, count), every_ms }
}

fn act(dice: &mut Dice, settings: &Settings, block_ms: u64) -> Act {
    let (endpoints, finality) = (settings.endpoints.len(), settings.finality_depth);
    let place = dice.index(endpoints);
    match dice.up_to(999) {
        0..220 => grow(dice, block_ms),
        220..360 => {
            let depth = dice.within(1, 8);
            // A branch may be shorter than what it replaces, as long, or longer.
            let count = dice.within(1, depth + 2);
            Act::Reorganise { depth, blocks: blocks(dice, count), again: dice.permille(500) }
        }
        360..430 => Act::Flip { choice: dice.index(64) },
        430..500 => {
            let (depth, is_deep) = depth_of_split(dice, finality);
            let count = dice.within(1, depth + 3);
            Act::Split { places: some_of(dice, endpoints), depth, blocks: blocks(dice, count), is_deep }
        }
        500..530 => {
            let count = dice.within(1, 8);
            Act::GrowApart { blocks: blocks(dice, count) }
        }
        530..580 => Act::Rejoin,
        580..595 => {
            let depth = finality + dice.within(1, 6);
            let count = dice.within(1, depth + 3);
            let back_after_ms = dice.permille(600).then(|| dice.pick(&[0, 200, 2_000, 20_000]));
            Act::Deep { depth, blocks: blocks(dice, count), back_after_ms }
        }
        595..695 => {
            let place = (!dice.permille(150)).then_some(place);
            let permille = dice.pick(&[100, 300, 1_000]);
            Act::Trouble { place, trouble: dice.pick(&Trouble::ALL), permille }
        }
        695..735 => Act::Late { place, delay_ms: dice.pick(&[500, 2_000, 10_000]) },
        735..755 => Act::Foreign { place, has_same_id: dice.permille(500) },
        755..770 => Act::Limit { place, blocks: dice.within(1, 2) },
        770..820 => Act::Calm,
        820..850 => {
            let lost_permille = dice.pick(&[0, 100, 500]);
            Act::Database { lost_permille, answer_lost_permille: dice.pick(&[0, 100, 400]) }
        }
        850..920 => {
            let most = dice.pick(&[10, 100, 400]);
            let polls = u32::try_from(dice.up_to(most)).expect("a few hundred");
            Act::Crash { polls, down_ms: dice.pick(&[0, 0, 300, 5_000]) }
        }
        920..960 => {
            let count = dice.within(1, 30);
            Act::Absence { blocks: (0..count).map(|_| block(dice)).collect() }
        }
        _ => Act::Quiet { ms: dice.within(1_000, 20_000) },
    }
}

/// How far below the chain's tip a fork begins that only some see, and whether it may be past finality.
fn depth_of_split(dice: &mut Dice, finality: u64) -> (u64, bool) {
    if dice.permille(150) { (finality + dice.within(1, 6), true) } else { (dice.up_to(8), false) }
}

/// Some of the endpoints: mostly fewer than half of them.
fn some_of(dice: &mut Dice, endpoints: usize) -> Vec<usize> {
    let minority = (endpoints - 1) / 2;
    let count =
        if minority > 0 && dice.permille(750) { 1 + dice.index(minority) } else { 1 + dice.index(endpoints) };
    let first = dice.index(endpoints);
    (0..count).map(|i| (first + i) % endpoints).collect()
}

//! The relayer's simulator, as CI runs it: seeds that once failed, some that nobody has seen yet, that a seed is one run, and that what is broken on
//! purpose is noticed.

use plimsoll_testkit::chaos::relayer::{self, Broken};
use plimsoll_testkit::chaos::{self, Options, seeds};

use crate::holds;

/// Seeds that nobody has seen yet.
const FRESH: u64 = 80;
/// Within so many seeds whatever is broken is noticed.
const NOTICED_WITHIN: u64 = 60;

#[test]
fn seeds_that_once_failed_hold() {
    let runs = seeds::read(seeds::RELAYER).unwrap().into_iter().map(|seed| (seed, relayer::outcome(seed).1));
    let broken: Vec<_> = runs.filter_map(|(seed, broken)| Some((seed, broken?))).collect();
    holds("relayer", &broken);
}

#[test]
fn seeds_that_nobody_has_seen_hold_and_the_simulator_does_something() {
    let options = Options { first: rand::random::<u64>() >> 1, count: FRESH };
    let report = chaos::run(&options, relayer::outcome, |_, _| {});
    holds("relayer", &report.broken.into_iter().collect::<Vec<_>>());
    let counts = report.counts;
    for (what, count) in [
        ("effects", counts.effects),
        ("repetitions", counts.repeated),
        ("ends that were asked for", counts.called_off),
        ("strangers", counts.strangers),
        ("reorganisations", counts.reorgs),
        ("crashes", counts.crashes),
        ("freezes", counts.freezes),
        ("takeovers", counts.takeovers),
        ("hand-overs between nodes", counts.hand_overs),
        ("rotations", counts.rotations),
        ("requests that were moved", counts.moved),
        ("wishes to look again", counts.looks),
        ("kinds of faults", counts.faults.len() as u64),
    ] {
        assert!(count >= 10, "{count} {what} in {FRESH} runs");
    }
}

#[test]
fn a_seed_is_one_run() {
    for seed in 0..10 {
        let (once, again) = (relayer::run(seed, true, None), relayer::run(seed, true, None));
        let differs = once.lines.iter().zip(&again.lines).position(|(a, b)| a != b);
        let at = |place: usize| format!("first {:?}, then {:?}", once.lines[place], again.lines[place]);
        assert_eq!(differs.map(at), None, "seed {seed}");
        assert_eq!((once.hash, once.lines.len()), (again.hash, again.lines.len()), "seed {seed}");
    }
}

/// The first seed in which it is noticed, and by what.
fn noticed(broken: Broken) -> (u64, String) {
    let noticed = |seed| relayer::run(seed, false, Some(broken)).violation.map(|promise| (seed, promise));
    (0..NOTICED_WITHIN).find_map(noticed).unwrap_or_else(|| panic!("{broken:?} is not noticed"))
}

#[test]
fn what_is_broken_on_purpose_is_noticed() {
    std::thread::scope(|scope| {
        for half in Broken::ALL.chunks(Broken::ALL.len().div_ceil(2)) {
            scope.spawn(move || {
                for broken in half {
                    let (seed, promise) = noticed(*broken);
                    println!("{broken:?} is noticed in seed {seed}: {promise}");
                }
            });
        }
    });
}

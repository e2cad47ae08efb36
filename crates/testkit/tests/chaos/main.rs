//! Chaos, as CI runs it. Of the ingest's simulator: seeds that once failed, some that nobody has seen yet, and that a seed is one run. Of real processes: one
//! short run, and that the judge sees what is wrong.

#![allow(missing_docs, clippy::unwrap_used)]

#[path = "../support/mod.rs"]
mod support;

mod mirror;
mod real;
mod real_ledger;
mod real_relayer;
mod relayer;
mod torn;
mod votes;

use plimsoll_testkit::chaos::{self, Options, seeds, sim};

/// Seeds that nobody has seen yet.
const FRESH: u64 = 100;

/// Nothing was broken, or what is to be done about it.
fn holds(subject: &str, runs: &[(u64, String)]) {
    let told: Vec<_> = runs.iter().map(|(seed, broken)| format!("seed {seed}: {broken}")).collect();
    assert!(
        told.is_empty(),
        "`cargo xtask chaos {subject} --seed S` replays a seed and keeps it:\n{}",
        told.join("\n")
    );
}

#[test]
fn seeds_that_once_failed_hold() {
    let runs = seeds::read(seeds::INGEST).unwrap().into_iter().map(|seed| sim::run(seed, false));
    let broken: Vec<_> = runs.filter_map(|run| run.violation.map(|broken| (run.seed, broken))).collect();
    holds("ingest", &broken);
}

#[test]
fn seeds_that_nobody_has_seen_hold_and_the_simulator_does_something() {
    let report =
        chaos::run(&Options { first: rand::random::<u64>() >> 1, count: FRESH }, sim::outcome, |_, _| {});
    holds("ingest", &report.broken.into_iter().collect::<Vec<_>>());
    let counts = report.counts;
    for (what, count) in [
        ("events", counts.events),
        ("reorgs", counts.reorgs),
        ("ranges", counts.ranges),
        ("crashes", counts.crashes),
        ("restarts", counts.restarts),
        ("kinds of faults", counts.faults.len() as u64),
    ] {
        assert!(count >= 10, "{count} {what} in {FRESH} runs");
    }
}

#[test]
fn a_seed_is_one_run() {
    for seed in 0..10 {
        let (once, again) = (sim::run(seed, true), sim::run(seed, true));
        let differs = once.lines.iter().zip(&again.lines).position(|(a, b)| a != b);
        let at = |place: usize| format!("first {:?}, then {:?}", once.lines[place], again.lines[place]);
        assert_eq!(differs.map(at), None, "seed {seed}");
        assert_eq!((once.hash, once.lines.len()), (again.hash, again.lines.len()), "seed {seed}");
    }
}

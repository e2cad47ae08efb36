//! The relayer's protocol, explored exhaustively.

mod actions;
mod closing;
mod packing;
mod properties;
mod protocol;
mod state;
mod transactions;
mod variants;
mod window;
mod witnesses;

use std::time::Instant;

use stateright::{Checker, Model};

use crate::protocol::{Bounds, Protocol};
use crate::state::Mishaps;

/// Explores all of it and says how much that was.
fn explore(name: &str, bounds: Bounds) {
    let begun = Instant::now();
    let checker = Protocol::new(bounds).checker().threads(2).spawn_bfs().join();
    println!(
        "{name}: {} states, {} steps, depth {}, {:.1} s",
        checker.unique_state_count(),
        checker.state_count(),
        checker.max_depth(),
        begun.elapsed().as_secs_f32()
    );
    checker.assert_properties();
}

const NONE: Mishaps =
    Mishaps { crashes: 0, freezes: 0, reorgs: 0, foreign: 0, reverts: 0, bumps: 0, cancels: 0 };

#[test]
fn sizes() {
    let n = |requests, crashes, freezes, reorgs, foreign, reverts, bumps, cancels| Bounds {
        requests,
        mishaps: Mishaps { crashes, freezes, reorgs, foreign, reverts, bumps, cancels },
    };
    explore("2 crash+freeze", n(2, 1, 1, 0, 0, 0, 0, 0));
    explore("1 all", n(1, 1, 1, 1, 1, 1, 1, 1));
    explore("2 chain freeze crash", n(2, 1, 1, 1, 1, 0, 0, 0));
    explore("2 chain freeze crash bump", n(2, 1, 1, 1, 1, 0, 1, 0));
    explore("2 chain freeze crash cancel", n(2, 1, 1, 1, 1, 0, 0, 1));
}

fn seen(bounds: Bounds) {
    let begun = Instant::now();
    let checker = Protocol::watched(bounds).checker().threads(2).spawn_bfs().join();
    println!("{} {:?} {:.1}", checker.unique_state_count(), checker.discoveries().keys(), begun.elapsed().as_secs_f32());
}

#[test]
fn witnesses() {
    let n = |requests, crashes, freezes, reorgs, foreign, reverts, bumps, cancels| Bounds {
        requests,
        mishaps: Mishaps { crashes, freezes, reorgs, foreign, reverts, bumps, cancels },
    };
    seen(n(1, 0, 1, 0, 0, 0, 0, 0));
    seen(n(1, 0, 0, 1, 1, 1, 0, 0));
    seen(n(1, 0, 0, 1, 0, 0, 1, 1));
    seen(n(2, 0, 0, 1, 1, 0, 0, 1));
}

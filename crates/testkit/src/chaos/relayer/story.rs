//! What happens in a run, made from its seed before anything does.

mod draw;

use std::fmt;

use plimsoll_relayer::desk::DeskOptions;
use plimsoll_relayer::fees::Pricing;
use std::time::Duration;

use super::world::{Client, GWEI, LEAST_TIP};
use crate::chaos::conduct::Trouble;

/// Who and what takes part.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) nodes: usize,
    /// What their names begin with: to which of them a signer is routed depends on that.
    pub(super) names: u64,
    pub(super) clients: Vec<Client>,
    /// Of each signer: what it sent before it was ours, and whether it requeues.
    pub(super) signers: Vec<(u64, bool)>,
    pub(super) confirmations: u64,
    pub(super) finality: u64,
    pub(super) block_ms: u64,
    pub(super) term_ms: u64,
    pub(super) request_timeout_ms: u64,
    pub(super) max_retries: u32,
    pub(super) slowest_ms: u64,
    pub(super) database_ms: u64,
    pub(super) journal_ms: u64,
    pub(super) signature_ms: u64,
    pub(super) window: usize,
    pub(super) pricing: Pricing,
    pub(super) resend_after_blocks: u64,
    pub(super) bump_after_blocks: u64,
    pub(super) poll_ms: u64,
    pub(super) rumour_ms: u64,
}

impl Settings {
    /// How signers are worked.
    pub(super) fn desk(&self) -> DeskOptions {
        DeskOptions {
            window: self.window,
            pricing: self.pricing,
            min_priority_fee_per_gas: LEAST_TIP,
            max_fee_per_gas: 500 * GWEI,
            resend_after_blocks: self.resend_after_blocks,
            bump_after_blocks: self.bump_after_blocks,
            resend_after: Duration::from_secs(15),
            poll: Duration::from_millis(self.poll_ms),
            entry: plimsoll_relayer::admission::Entry::default(),
        }
    }
}

/// A request that a tenant hands in.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    pub(super) tenant: u8,
    pub(super) signer: usize,
    pub(super) does: Does,
    pub(super) gas_limit: Option<u64>,
    /// In gwei.
    pub(super) max_fee_gwei: Option<u64>,
    pub(super) priority: i16,
    pub(super) until_ms: Option<u64>,
    pub(super) until_blocks: Option<u64>,
    /// Decided on a block so far below the head.
    pub(super) as_of: Option<u64>,
}

/// What a request does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Does {
    Counts,
    Reverts,
    Pays,
}

/// How a stranger's transaction relates to ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    /// It is the next one, as a node sees it.
    Next,
    /// It takes the place of what waits at the front, for more.
    Replaces,
    /// It leaves a gap before itself.
    Ahead(u64),
}

/// Something that happens.
#[derive(Clone, Debug)]
pub(super) enum Act {
    HandIn(Vec<Asked>),
    Again {
        which: usize,
    },
    Otherwise {
        which: usize,
    },
    CallOff {
        which: usize,
    },
    Crash {
        node: usize,
        polls: u32,
        down_ms: u64,
        is_noticed: bool,
    },
    Freeze {
        node: usize,
        ms: u64,
    },
    Leave {
        node: usize,
        down_ms: u64,
    },
    LoseSession,
    Database {
        lost_permille: u32,
        answer_lost_permille: u32,
    },
    Busy {
        ms: u64,
    },
    DatabaseDown {
        ms: u64,
    },
    Trouble {
        place: usize,
        trouble: Trouble,
        permille: u32,
    },
    Odd {
        place: usize,
        permille: u32,
        may_despair: bool,
    },
    Lie {
        place: usize,
        latest: i64,
        pending: i64,
    },
    Lag {
        place: usize,
        ms: u64,
    },
    Forget {
        place: usize,
        permille: u32,
    },
    Deaf {
        permille: u32,
    },
    Stranger {
        signer: usize,
        place: usize,
        style: Style,
        has_effect: bool,
        is_private: bool,
        tip_percent: u64,
    },
    Reorganise {
        depth: u64,
        more: u64,
        forgets_permille: u32,
    },
    Fees {
        gwei: u64,
    },
    Empty {
        permille: u32,
    },
    Funds {
        signer: usize,
        finney: u64,
    },
    Refuse {
        is_on: bool,
    },
    Journal {
        is_writer: bool,
        ms: u64,
    },
    Switch {
        tenant: Option<u8>,
        signer: Option<usize>,
        is_on: bool,
    },
    Pen {
        signer: usize,
        ms: u64,
    },
    Rotate {
        old: usize,
        new: usize,
    },
    Look {
        signer: usize,
    },
    Calm,
}

/// A run.
#[derive(Clone, Debug)]
pub(super) struct Story {
    pub(super) settings: Settings,
    /// What happens, each after a pause in milliseconds.
    pub(super) acts: Vec<(u64, Act)>,
}

impl fmt::Display for Story {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:?}", self.settings)?;
        let mut at = 0;
        for (pause_ms, act) in &self.acts {
            at += pause_ms;
            writeln!(f, "{:>7}.{:03} {act:?}", at / 1000, at % 1000)?;
        }
        Ok(())
    }
}

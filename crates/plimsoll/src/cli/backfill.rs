//! `plimsoll backfill`: final blocks that are looked at again.

use clap::{Args, Subcommand, ValueEnum};
use uuid::Uuid;

use super::{Change, Level};

pub(super) const AFTER_HELP: &str = "\
The blocks are fetched again, the newest first, and proven at `backfill_completeness`, or at --level where that shows more; what is followed and is not in the \
journal is appended to it late. Only final blocks can be asked for: what is above is followed as it comes.

The command puts a request on record, with an entry in the audit log. The process that follows the chain (`plimsoll run` \
with the role `ingest`) works it off beside following the head, and goes on where it was after a crash. The same \
--request-id with the same arguments is the same request.

--dry-run shows what it would be like and puts nothing on record: what certificates cover already, and estimates from \
three ranges at most that a node is asked for.

Exit codes: 0 on record (with --wait: done); 1 refused, failed or cancelled; 2 the question is wrong; with --wait 3 when it \
stopped at its limit, or no process follows the chain. Whoever stops waiting does not stop the backfill.

Examples:
  plimsoll backfill --chain 42161 --from 300000000 --to 300100000 --dry-run
  plimsoll backfill --chain 42161 --from 300000000 --to 300100000 --reason 'ticket 42' --wait
  plimsoll backfill --chain 1 --from 19000000 --to 19500000 --contract PositionView --limit 100000 --parallel 8
  plimsoll backfill list --chain 1
  plimsoll backfill cancel 0190…";

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(crate) struct Backfill {
    #[command(subcommand)]
    pub(crate) about: Option<Backfills>,
    #[command(flatten)]
    pub(crate) new: NewBackfill,
}

/// Without one of [`Backfills`] chain and blocks are required.
#[derive(Debug, Args)]
pub(crate) struct NewBackfill {
    /// The chain
    #[arg(long, value_name = "CHAIN_ID", required = true)]
    pub(crate) chain: Option<u64>,
    /// The lowest block
    #[arg(long, value_name = "BLOCK", required = true)]
    pub(crate) from: Option<u64>,
    /// The highest block; it must be final
    #[arg(long, value_name = "BLOCK", required = true)]
    pub(crate) to: Option<u64>,
    /// Only this contract's logs, by its name in the configuration or its address; may be repeated [default: everything that is followed]
    #[arg(long, value_name = "NAME|ADDRESS")]
    pub(crate) contract: Vec<String>,
    /// Stop once so many events were found, with the block that has the last of them; `plimsoll backfill resume` goes on
    #[arg(long, value_name = "EVENTS", value_parser = clap::value_parser!(u64).range(1..=1_000_000_000_000))]
    pub(crate) limit: Option<u64>,
    /// So many ranges in flight [default: `backfill_in_flight`]
    #[arg(long, value_name = "RANGES", value_parser = clap::value_parser!(u32).range(1..=64))]
    pub(crate) parallel: Option<u32>,
    /// Prove at least so much of them [default: `backfill_completeness`]
    #[arg(long, value_enum)]
    pub(crate) level: Option<Level>,
    /// Show how it goes until it ends
    #[arg(long, conflicts_with = "dry_run")]
    pub(crate) wait: bool,
    #[command(flatten)]
    pub(crate) change: Change,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Backfills {
    /// Requests, the newest first
    List {
        /// Only of this chain
        #[arg(long, value_name = "CHAIN_ID")]
        chain: Option<u64>,
        /// Only those of which this became
        #[arg(long)]
        state: Option<StateChoice>,
        /// At most so many
        #[arg(long, value_name = "ROWS", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
        limit: u32,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// One request, and how far it is
    Show {
        /// The request's id, as it was printed
        request: Uuid,
        /// Show how it goes until it ends; exit codes as with the request itself
        #[arg(long)]
        wait: bool,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Stop one where it is: nothing of it is appended any more
    #[command(after_help = "\
What it has appended stays: it is true of the chain.

Example:
  plimsoll backfill cancel 0190… --reason 'the wrong contract'")]
    Cancel {
        /// The request's id, as it was printed
        request: Uuid,
        #[command(flatten)]
        change: Change,
    },
    /// Go on with one that stopped at its limit, failed or was cancelled, from the block at which it ended
    Resume {
        /// The request's id, as it was printed
        request: Uuid,
        #[command(flatten)]
        change: Change,
    },
}

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum StateChoice {
    /// It waits for the chain's process
    Queued,
    /// The chain's process works it off
    Running,
    /// It stopped at its limit
    Limited,
    /// Every block was looked at
    Done,
    /// Somebody stopped it
    Cancelled,
    /// It cannot go on as things are
    Failed,
}

//! `plimsoll verify …` as it is typed.

use clap::builder::NonEmptyStringValueParser;
use clap::{Args, Subcommand, ValueEnum};
use plimsoll_types::Completeness;

#[derive(Debug, Subcommand)]
pub(crate) enum Verify {
    /// Each mirror row with the contract's own getter, at the block that the mirror stands at
    #[command(after_help = "\
Exit codes: 0 every row is equal; 1 a row differs; 3 none differs, but some could not be read from the node (it may have \
pruned that block's state): such a row counts as unverified, never as equal. With --limit, 3 also when rows were left out.

--limit takes the first rows by key: positions by user, asset and contract, then the other mirrors by contract, view and \
key. The same mirrors give the same rows each time; the role `verify` of `plimsoll run` is what gets round to all of them.

Examples:
  plimsoll verify views
  plimsoll verify views --limit 1000
  plimsoll verify views --chain 1 --json")]
    Views(VerifyViews),
    /// The books that are kept from a chain with the chain's own state, at the block that they stand at
    #[command(after_help = "\
For each account of the books that the chain can be asked about: tokens that a contract holds, positions of users, native coins of senders. A difference is \
listed with the postings that could explain it. Nothing is booked: the role `verify` of `plimsoll run` does that, against suspense.

Exit codes: 0 every balance is equal, within the tolerance; 1 a balance differs; 3 none differs, but some could not be read from the node, or nothing is booked.

Examples:
  plimsoll verify balances
  plimsoll verify balances --tolerance 0
  plimsoll verify balances --chain 1 --json")]
    Balances(VerifyBalances),
    /// The journal's raw store with what the chain's own headers prove: that nothing is missing, altered or made up
    #[command(after_help = "\
The final blocks are fetched again, linked to one another, and proven at the level that is asked for; every log and transaction \
that is followed is compared with what is stored. What is equal gets a certificate. What differs is kept as an anomaly with \
both sides. What is followed now and was never asked for in older blocks is listed: its history is not in the journal yet, \
and whoever follows the chain brings it in by itself.

--repair has the blocks fetched again in which something is missing, and those that could not be proven: it puts backfills on \
record, each with an entry in the audit log, and prints their ids. The process that follows the chain works them off \
(`plimsoll backfill show ID --wait`); look again then. What is missing is asked for by its receipts, and appended late. \
Nothing is ever changed or taken out: what is altered or foreign stays, as evidence. What is being repaired already is not asked for twice.

Exit codes, of what was found, repaired or not: 0 every block is proven, and stored as it is; 1 something differs; 3 nothing \
differs, but some blocks could not be proven, or were never asked for what is followed now.

Examples:
  plimsoll verify completeness
  plimsoll verify completeness --chain 42161 --from 300000000 --to 300100000
  plimsoll verify completeness --repair --dry-run
  plimsoll verify completeness --repair --reason 'ticket 42'
  plimsoll verify completeness --level bloom --json")]
    Completeness(VerifyCompleteness),
    /// Each row of the audit log with its digest, and with the hash of the row before it
    #[command(after_help = "\
Exit codes: 0 every row holds; 1 a row was changed, removed or added: the first one is named.

The last row's hash is printed. Whoever can rewrite the whole log can give it other hashes that hold; keep the last one \
elsewhere, and compare: `--to` with that row's number prints it again.

Examples:
  plimsoll verify audit
  plimsoll verify audit --from 100000 --to 200000 --json")]
    Audit(VerifyAudit),
    /// The whole ledger with itself: each posting's hashes, each account's history, each log, its tree, and each signed checkpoint
    #[command(after_help = "\
All of one moment is read. What does not hold is named by posting, line and account. Signatures are checked with the keys that are given, else with the \
configured one and those that the database says were used; a checkpoint of a log that none of these is of counts as unchecked, and is no break.

Whoever can rewrite the whole database leaves no trace in it: keep checkpoints elsewhere, and compare (`plimsoll verify export`).

Exit codes: 0 everything holds; 1 something does not: each break is named, the first thousand of a tenant.

Examples:
  plimsoll verify ledger
  plimsoll verify ledger --tenant acme --key acme.key --json")]
    Ledger(VerifyLedger),
    /// An export of the ledger with a signed checkpoint: no database is asked, and no configuration read
    #[command(after_help = "\
Exit codes: 0 the export is the log that was signed, whole, and its books are right; 1 it is not: each break is named.

Have the key from us by another way than the export. `plimsoll ledger keys` and `GET /api/v1/ledger/keys` print it.

Example:
  plimsoll verify export acme.jsonl --checkpoint acme.checkpoint --key acme.key")]
    Export(super::VerifyExport),
}

#[derive(Debug, Args)]
pub(crate) struct VerifyAudit {
    /// The first row [default: the first that is kept]
    #[arg(long, value_name = "SEQUENCE", value_parser = clap::value_parser!(i64).range(1..))]
    pub(crate) from: Option<i64>,
    /// The last row [default: the last there is]
    #[arg(long, value_name = "SEQUENCE", value_parser = clap::value_parser!(i64).range(1..))]
    pub(crate) to: Option<i64>,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct VerifyBalances {
    /// Only this chain [default: every one whose books are kept]
    #[arg(long, value_name = "CHAIN_ID")]
    pub(crate) chain: Option<u64>,
    /// How far the books and the chain may be apart, in the currency's smallest unit
    #[arg(long, value_name = "UNITS", default_value_t = plimsoll_ledger::chain::check::TOLERANCE)]
    pub(crate) tolerance: u64,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct VerifyLedger {
    /// Only this tenant's, by name or id [default: everybody's]
    #[arg(long, value_name = "TENANT")]
    pub(crate) tenant: Option<String>,
    /// A public key that checkpoints may be signed with, or a file that holds one; may be given several times
    #[arg(long, value_name = "KEY")]
    pub(crate) key: Vec<String>,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct VerifyViews {
    /// Only this chain [default: every configured one]
    #[arg(long, value_name = "CHAIN_ID")]
    pub(crate) chain: Option<u64>,
    /// At most so many rows of each chain, the first ones by key; the report is then partial
    #[arg(long, value_name = "ROWS", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) limit: Option<u64>,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct VerifyCompleteness {
    /// Only this chain [default: every configured one]
    #[arg(long, value_name = "CHAIN_ID")]
    pub(crate) chain: Option<u64>,
    /// The first block [default: the first of interest]
    #[arg(long, value_name = "BLOCK")]
    pub(crate) from: Option<u64>,
    /// The last block [default: the last final one]
    #[arg(long, value_name = "BLOCK")]
    pub(crate) to: Option<u64>,
    /// What is to be proven: every log by the block's receipts, or only what the header's bloom shows, which asks the node for less
    #[arg(long, value_enum, default_value_t = Level::Receipts)]
    pub(crate) level: Level,
    #[command(flatten)]
    pub(crate) repair: Repair,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Whether what was found is repaired.
#[derive(Debug, Args)]
pub(crate) struct Repair {
    /// Have what is missing, and what could not be proven, fetched again: puts backfills on record
    #[arg(long)]
    pub(crate) repair: bool,
    /// Say what would be put on record, and put nothing
    #[arg(long, requires = "repair")]
    pub(crate) dry_run: bool,
    /// Why: kept in the audit log
    #[arg(long, value_name = "TEXT", requires = "repair", value_parser = NonEmptyStringValueParser::new())]
    pub(crate) reason: Option<String>,
}

/// What can be proven of a block's logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Level {
    /// What the header's bloom shows
    Bloom,
    /// All of them, by the root of the receipts
    Receipts,
}

impl From<Level> for Completeness {
    fn from(level: Level) -> Self {
        match level {
            Level::Bloom => Self::Bloom,
            Level::Receipts => Self::Receipts,
        }
    }
}

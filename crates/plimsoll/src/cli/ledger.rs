//! `plimsoll ledger`, and the check of what it exports.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use uuid::Uuid;

use super::Whose;

#[derive(Debug, Subcommand)]
pub(crate) enum Ledger {
    /// A tenant's postings, the newest first
    #[command(after_help = "\
Examples:
  plimsoll ledger entries --tenant acme --operation-type deposit
  plimsoll ledger entries --tenant acme --request-id 0198c5a1-7d2e-7c3a-9a55-3f1f0c6d2b11 --json")]
    Entries {
        #[command(flatten)]
        which: Postings,
        /// At most so many
        #[arg(long, value_name = "ROWS", default_value_t = 50, value_parser = clap::value_parser!(i64).range(1..=10_000))]
        limit: i64,
        /// Go on below this posting, the last of the part before
        #[arg(long, value_name = "UUID")]
        below: Option<Uuid>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// A tenant's accounts
    Accounts(Accounts),
    /// What a tenant's accounts hold, or held
    #[command(after_help = "\
Examples:
  plimsoll ledger balances --tenant acme --domain cash
  plimsoll ledger balances --tenant acme --effective-at 2026-01-31T23:59:59Z
  plimsoll ledger balances --tenant acme --block 19000000 --json")]
    Balances {
        #[command(flatten)]
        which: Accounts,
        /// What had happened by this time
        #[arg(long, value_name = "TIME", value_parser = instant)]
        effective_at: Option<OffsetDateTime>,
        /// What was on record by this time
        #[arg(long, value_name = "TIME", value_parser = instant)]
        recorded_at: Option<OffsetDateTime>,
        /// What was of this block or an earlier one
        #[arg(long, value_name = "BLOCK")]
        block: Option<u64>,
    },
    /// The tenant's latest signed checkpoint, as verifiers take it: keep it
    #[command(after_help = "\
Example:
  plimsoll ledger checkpoint --tenant acme > acme.checkpoint")]
    Checkpoint {
        #[command(flatten)]
        whose: Whose,
        /// The one of this size
        #[arg(long, value_name = "POSTINGS")]
        size: Option<u64>,
    },
    /// The keys that have signed the tenant's checkpoints, the newest first
    Keys {
        #[command(flatten)]
        whose: Whose,
    },
    /// The proof that a posting is in the log of a checkpoint, as JSON
    Proof {
        /// The posting's id
        posting: Uuid,
        #[command(flatten)]
        whose: Whose,
        /// Under the checkpoint of this size [default: the latest]
        #[arg(long, value_name = "POSTINGS")]
        size: Option<u64>,
    },
    /// Postings as JSON Lines, in the order of the log, up to the latest checkpoint
    #[command(after_help = "\
Without a filter it is the whole log, which `plimsoll verify export` checks without the database.

Example:
  plimsoll ledger export --tenant acme > acme.jsonl")]
    Export {
        #[command(flatten)]
        which: Postings,
        /// Up to the checkpoint of this size
        #[arg(long, value_name = "POSTINGS")]
        size: Option<u64>,
    },
}

/// Which postings.
#[derive(Debug, Args)]
pub(crate) struct Postings {
    #[command(flatten)]
    pub(crate) whose: Whose,
    /// Only those of this request
    #[arg(long, value_name = "UUID")]
    pub(crate) request_id: Option<Uuid>,
    /// Only those with a line on this account
    #[arg(long, value_name = "UUID")]
    pub(crate) account: Option<Uuid>,
    /// Only those in these books
    #[arg(long, value_name = "NAME")]
    pub(crate) domain: Option<String>,
    /// Only those of this name
    #[arg(long, value_name = "NAME")]
    pub(crate) operation_type: Option<String>,
    /// Only what happened at or after this time
    #[arg(long, value_name = "TIME", value_parser = instant)]
    pub(crate) since: Option<OffsetDateTime>,
    /// Only what happened before this time
    #[arg(long, value_name = "TIME", value_parser = instant)]
    pub(crate) until: Option<OffsetDateTime>,
}

/// Which accounts.
#[derive(Debug, Args)]
pub(crate) struct Accounts {
    #[command(flatten)]
    pub(crate) whose: Whose,
    /// Only those of these books
    #[arg(long, value_name = "NAME")]
    pub(crate) domain: Option<String>,
    /// Only those kept in this
    #[arg(long, value_name = "CURRENCY")]
    pub(crate) currency: Option<String>,
    /// At most so many
    #[arg(long, value_name = "ROWS", default_value_t = 1_000, value_parser = clap::value_parser!(i64).range(1..=10_000))]
    pub(crate) limit: i64,
    /// Go on after this account, the last of the part before
    #[arg(long, value_name = "UUID")]
    pub(crate) after: Option<Uuid>,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct VerifyExport {
    /// The export: JSON Lines
    pub(crate) file: PathBuf,
    /// The file with the checkpoint
    #[arg(long, value_name = "FILE")]
    pub(crate) checkpoint: PathBuf,
    /// The log's public key, or a file that holds it
    #[arg(long, value_name = "KEY")]
    pub(crate) key: String,
}

fn instant(text: &str) -> Result<OffsetDateTime, String> {
    OffsetDateTime::parse(text, &Rfc3339).map_err(|_| "a time as 2026-01-31T08:00:00Z is needed".into())
}

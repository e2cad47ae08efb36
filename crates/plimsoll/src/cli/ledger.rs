//! `plimsoll ledger`, and the check of what it exports. What changes the books, and what reports on them, is in `books`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use uuid::Uuid;

use super::books::{Chart, ImportFile, NewPosting, Report, StatementOf};
use super::{Final, Whose};

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
    /// Post to a tenant's books
    #[command(after_help = "\
An account is named by its id or by its name; several lines are several --debit and --credit. Asked again under the same --request-id and --operation-type it is the same \
posting, and nothing is done. What was wrong is taken back by `plimsoll ledger reverse`.

Examples:
  plimsoll ledger post --tenant acme --debit 'treasury=1000000' --credit 'fees=1000000' --domain platform --currency USDC
  plimsoll ledger post --tenant acme --debit strategy=5 --credit capital=5 --effective-at 2026-01-31T00:00:00Z --dry-run")]
    Post(Box<NewPosting>),
    /// Take a posting back, all of it, by another with its sides exchanged; once
    #[command(after_help = "\
Example:
  plimsoll ledger reverse 0198c5a1-9b01-7c1e-a7a4-5f0d3c2b1a00 --tenant acme --reason 'booked on the wrong account, ticket 42'")]
    Reverse {
        /// The posting's id
        posting: Uuid,
        #[command(flatten)]
        whose: Whose,
        #[command(flatten)]
        change: Final,
    },
    /// Post what a file has, JSON Lines or CSV: all of it is checked before anything is booked
    #[command(after_help = "\
A CSV has a header and a row for each line of a posting: `voucher` (or `request_id`), `account` (or `account_id`), `debit` or `credit`, `currency`; and, as far as they are wanted, \
`effective_at`, `description`, `operation_type`, `domain`, `entry_type` and others. Rows of one posting stand one below the other. JSON Lines have a posting a line, with its `lines`. \
What `plimsoll ledger export` and the API's CSV export write can be imported as it is. docs/ledger.md has every field.

What is on record is not booked again, so an import that was interrupted is run once more. Of each problem it says line, field, and what to do.

Exit codes: 0 all of it is on record (with --dry-run: could be); 1 something is wrong with the file.

Examples:
  plimsoll ledger import january.csv --tenant acme --dry-run
  plimsoll ledger import january.csv --tenant acme --reason 'the books of January'")]
    Import(ImportFile),
    /// One posting as a voucher: its accounts by name, debits and credits, who booked it and why
    Voucher {
        /// The posting's id
        posting: Uuid,
        #[command(flatten)]
        whose: Whose,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// An account's statement: what it held, what came and went, and what it held then
    #[command(after_help = "\
Example:
  plimsoll ledger statement 'treasury' --tenant acme --domain platform --currency USDC --after 2025-12-31T23:59:59.999999Z --through 2026-01-31T23:59:59.999999Z")]
    Statement(StatementOf),
    /// What all accounts held, with the sums of debits and credits
    #[command(after_help = "\
Example:
  plimsoll ledger trial-balance --tenant acme --booked-at 2026-01-31T23:59:59.999999Z")]
    TrialBalance(Report),
    /// Assets against liabilities, equity and result, for each domain and currency
    BalanceSheet(Report),
    /// Close the books through a time, for ever: what comes late counts in the open period
    #[command(after_help = "\
Example:
  plimsoll ledger close --tenant acme --through 2026-01-31T23:59:59.999999Z --reason 'January is reported'")]
    Close {
        #[command(flatten)]
        whose: Whose,
        /// The period's last moment, which has passed
        #[arg(long, value_name = "TIME", value_parser = instant)]
        through: OffsetDateTime,
        #[command(flatten)]
        change: Final,
    },
    /// The periods that were closed, the latest first
    Closings {
        #[command(flatten)]
        whose: Whose,
        /// At most so many
        #[arg(long, value_name = "ROWS", default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..=1_000))]
        limit: u16,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Charts of accounts: what they have, and opening one
    #[command(subcommand)]
    Chart(Chart),
    /// A tenant's accounts, by books and currency
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
    /// Only those of this name
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<String>,
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

pub(super) fn instant(text: &str) -> Result<OffsetDateTime, String> {
    OffsetDateTime::parse(text, &Rfc3339).map_err(|_| "a time as 2026-01-31T08:00:00Z is needed".into())
}

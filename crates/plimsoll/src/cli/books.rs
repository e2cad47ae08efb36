//! `plimsoll ledger`: what changes the books, and what reports on them, as it is typed.

use std::path::PathBuf;

use clap::builder::NonEmptyStringValueParser;
use clap::{Args, Subcommand, ValueEnum};
use plimsoll_types::Amount;
use time::OffsetDateTime;
use uuid::Uuid;

use super::ledger::instant;
use super::{Change, Whose};

/// Where accounts are looked for that are named, and not given by their ids.
#[derive(Debug, Args)]
pub(crate) struct AccountName {
    /// The books of accounts that are named
    #[arg(long, value_name = "NAME", default_value = "cash")]
    pub(crate) domain: String,
    /// What accounts that are named are kept in, where the name does not tell
    #[arg(long, value_name = "CURRENCY")]
    pub(crate) currency: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct NewPosting {
    #[command(flatten)]
    pub(crate) whose: Whose,
    /// Debit this account, by id or name, by so much of its currency's smallest unit
    #[arg(long, value_name = "ACCOUNT=AMOUNT", required = true, value_parser = side)]
    pub(crate) debit: Vec<(String, Amount)>,
    /// Credit this account
    #[arg(long, value_name = "ACCOUNT=AMOUNT", required = true, value_parser = side)]
    pub(crate) credit: Vec<(String, Amount)>,
    #[command(flatten)]
    pub(crate) of: AccountName,
    /// What it is, as the tenant names it
    #[arg(long, value_name = "NAME", default_value = "operator")]
    pub(crate) operation_type: String,
    /// What kind of lines it has
    #[arg(long, value_name = "NAME", default_value = "POSTING")]
    pub(crate) entry_type: String,
    /// The user for whom it is
    #[arg(long, value_name = "UUID")]
    pub(crate) user: Option<Uuid>,
    /// When it happened [default: now]
    #[arg(long, value_name = "TIME", value_parser = instant)]
    pub(crate) effective_at: Option<OffsetDateTime>,
    /// What it is about, kept with it
    #[arg(long, value_name = "TEXT", value_parser = NonEmptyStringValueParser::new())]
    pub(crate) description: Option<String>,
    /// The posting that it makes good; --reason says why
    #[arg(long, value_name = "UUID", requires = "reason")]
    pub(crate) compensates: Option<Uuid>,
    #[command(flatten)]
    pub(crate) change: Change,
}

/// How a file is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LedgerFormat {
    /// A posting a line
    Jsonl,
    /// A row for each line of a posting, under a header
    Csv,
}

#[derive(Debug, Args)]
pub(crate) struct ImportFile {
    /// The file
    pub(crate) file: PathBuf,
    #[command(flatten)]
    pub(crate) whose: Whose,
    /// How it is written [default: as its name ends: .jsonl or .csv]
    #[arg(long, value_name = "FORMAT")]
    pub(crate) format: Option<LedgerFormat>,
    #[command(flatten)]
    pub(crate) change: Change,
}

/// Which accounts, and which moment.
#[derive(Debug, Args)]
pub(crate) struct Report {
    #[command(flatten)]
    pub(crate) whose: Whose,
    /// Only these books
    #[arg(long, value_name = "NAME")]
    pub(crate) domain: Option<String>,
    /// Only what is kept in this
    #[arg(long, value_name = "CURRENCY")]
    pub(crate) currency: Option<String>,
    /// What had happened by this time
    #[arg(long, value_name = "TIME", value_parser = instant)]
    pub(crate) effective_at: Option<OffsetDateTime>,
    /// What counts in the periods up to this time: once these are closed, it does not change any more
    #[arg(long, value_name = "TIME", value_parser = instant)]
    pub(crate) booked_at: Option<OffsetDateTime>,
    /// What was on record by this time
    #[arg(long, value_name = "TIME", value_parser = instant)]
    pub(crate) recorded_at: Option<OffsetDateTime>,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Which of its times says whether a line counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum StatementBy {
    /// When it happened
    Effective,
    /// In which period it counts
    Booked,
    /// When it was written
    Recorded,
}

#[derive(Debug, Args)]
pub(crate) struct StatementOf {
    /// The account, by id or name
    pub(crate) account: String,
    #[command(flatten)]
    pub(crate) whose: Whose,
    #[command(flatten)]
    pub(crate) of: AccountName,
    /// What lies at it or before is in the opening balance [default: from the beginning]
    #[arg(long, value_name = "TIME", value_parser = instant)]
    pub(crate) after: Option<OffsetDateTime>,
    /// What lies at it is the last that counts [default: now]
    #[arg(long, value_name = "TIME", value_parser = instant)]
    pub(crate) through: Option<OffsetDateTime>,
    /// By which times
    #[arg(long, value_name = "TIMES", default_value = "effective")]
    pub(crate) by: StatementBy,
    /// At most so many lines
    #[arg(long, value_name = "ROWS", default_value_t = 1_000, value_parser = clap::value_parser!(u16).range(1..=1_000))]
    pub(crate) limit: u16,
    /// Go on after this line, the last of the part before
    #[arg(long, value_name = "LINE")]
    pub(crate) after_line: Option<i64>,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Chart {
    /// The charts, with their accounts
    Show {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Open a tenant's books with a chart's accounts, in each of these currencies
    #[command(after_help = "\
Accounts that are there stay as they are, so it is asked again after each change of the chart, or for another currency. With --user the accounts are opened that the chart has for each user.

Examples:
  plimsoll ledger chart open lending --tenant acme --currency USDC --decimals 6
  plimsoll ledger chart open lending --tenant acme --currency USDC --user 0198c5a1-8a01-7b1e-b7a4-5f0d3c2b1a00")]
    Open {
        /// The chart's name
        chart: String,
        #[command(flatten)]
        whose: Whose,
        /// In this currency; several are several
        #[arg(long, value_name = "CURRENCY", required = true)]
        currency: Vec<String>,
        /// Decimals of currencies that the books do not have yet, for showing amounts
        #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u8).range(0..=77))]
        decimals: Option<u8>,
        /// The accounts of this user, instead of the books' own
        #[arg(long, value_name = "UUID")]
        user: Option<Uuid>,
        #[command(flatten)]
        change: Change,
    },
}

/// An account and an amount. A name may have `=` in it, an amount may not.
fn side(text: &str) -> Result<(String, Amount), String> {
    let (account, amount) = text.rsplit_once('=').ok_or("ACCOUNT=AMOUNT is needed, as treasury=1000")?;
    let amount = amount.parse().map_err(|_| {
        format!(
            "{amount:?} is no whole number of the currency's smallest unit: 12.50 with 6 decimals is 12500000"
        )
    })?;
    Ok((account.to_owned(), amount))
}

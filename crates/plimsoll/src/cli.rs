//! The command line: what can be asked, and how it is explained.

mod admin;
mod backfill;
mod books;
mod ledger;
mod probe;
mod relayer;
mod signers;
mod tx;
mod verify;

use std::path::PathBuf;

use clap::builder::styling::{AnsiColor, Styles};
use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

pub(crate) use admin::*;
pub(crate) use backfill::{Backfill, Backfills, NewBackfill, StateChoice};
pub(crate) use books::{
    AccountName, Chart as Charts, ImportFile, LedgerFormat, NewPosting, Report, StatementBy, StatementOf,
};
pub(crate) use ledger::{Accounts, Ledger, Postings, VerifyExport};
pub(crate) use probe::{BlockChoice, Probe};
pub(crate) use relayer::{Halt, Reconcile, Relayer};
pub(crate) use signers::{NewSigner, Signers};
pub(crate) use tx::{NewTransaction, TransactionList, Transactions};
pub(crate) use verify::*;

const STYLES: Styles = Styles::styled()
    .header(AnsiColor::Green.on_default().bold())
    .usage(AnsiColor::Green.on_default().bold())
    .literal(AnsiColor::Cyan.on_default().bold())
    .placeholder(AnsiColor::Cyan.on_default());

const AFTER_HELP: &str = "\
Examples:
  plimsoll config example > plimsoll.toml   start from a commented file
  plimsoll config check --online            find everything that is wrong before it runs
  plimsoll run                              follow the chains, keep the mirrors, serve the API
  plimsoll run --roles api                  serve the API only, beside other processes
  plimsoll verify views                     compare every mirror row with the chain itself
  plimsoll verify balances                  compare the books with the chain itself
  plimsoll verify completeness              prove that no log is missing from the journal
  plimsoll backfill --chain 1 --from 1 …    look at final blocks again for what is missing
  plimsoll replay views                     rebuild the mirrors from the journal and compare

Exit codes:
  0  done, and nothing to object to
  1  it failed, or a difference was found
  2  the command line or the configuration is wrong
  3  nothing differs, but not everything was verified (verify), or is known (probe)

Every setting of the configuration file is also an environment variable: `plimsoll config example`.";

/// Follows chains, keeps every derived number in step with them, and proves it.
#[derive(Debug, Parser)]
#[command(name = "plimsoll", version, styles = STYLES, after_help = AFTER_HELP, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,

    /// The configuration file [default: ./plimsoll.toml]
    #[arg(long, short, global = true, value_name = "FILE", env = "PLIMSOLL_CONFIG", hide_env_values = true)]
    pub(crate) config: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the roles: follow the chains, keep the views, verify them, serve the API
    #[command(after_help = "\
Roles:
  ingest     reads the chains into the journal; one process at a time for each chain, by lease
  views      folds the journal into the mirrors, and into the books that are kept from a chain; one process at a time for each, by lease
  verify     compares mirror rows and the books' balances with the chain all the time, at a low rate
  relayer    sends what signers were asked for; each signer is worked by one process at a time, by lease
  retry      opens a job for each push to a view that failed, and tries it again as `[retry]` says; one process at a time for each chain, by lease
  ledger     seals what was booked and signs checkpoints; one process at a time, by lease; idle without `ledger.signing_key_file`
  sequencer  numbers events and audit entries; one process at a time for each of the two, by lease
  api        answers HTTP
  retention  drops partitions whose retention has passed, and sweeps idempotency keys whose time is over

SIGINT or SIGTERM ends it within 5 seconds; a second one at once.

Examples:
  plimsoll run
  plimsoll run --config /etc/plimsoll.toml --roles ingest,views")]
    Run(Run),

    /// Bring the database to this version's schema; makes the roles where they are missing
    Migrate,

    /// Compare what was derived with the chain itself, or the audit log with its own hashes
    #[command(subcommand)]
    Verify(Verify),

    /// Derive again from the journal, beside what is there, and compare
    #[command(subcommand)]
    Replay(Replay),

    /// Have final blocks looked at again, and what is missing of them appended to the journal
    #[command(after_help = backfill::AFTER_HELP)]
    Backfill(Backfill),

    /// Ask a chain for balances and other numbers of its state at a block
    #[command(after_help = probe::AFTER_HELP)]
    Probe(Probe),

    /// Look at a fold, or tell it to pass over a record that it cannot apply
    #[command(subcommand)]
    Fold(Fold),

    /// Look at a chain, or resume one that has halted
    #[command(subcommand)]
    Chain(Chain),

    /// Look at the fence of a restored private Postgres, or lift it
    #[command(subcommand)]
    Fence(Fence),

    /// Administer tenants, their users, keys and roles; read the audit log
    #[command(subcommand)]
    Admin(Admin),

    /// Signers: how each is, keys for new ones, and handing over from one to another
    #[command(subcommand)]
    Signers(Signers),

    /// Transactions: look at them, hand one in, call one off
    #[command(subcommand)]
    Tx(Transactions),

    /// A tenant's books: postings, imports, corrections, periods, accounts, reports, checkpoints, proofs and exports
    #[command(subcommand)]
    Ledger(Ledger),

    /// Hold the relayer back and release it, or compare it with the chain
    #[command(subcommand, after_help = relayer::AFTER_HELP)]
    Relayer(Relayer),

    /// Check, show or start a configuration
    #[command(subcommand)]
    Config(Config),

    /// Write the private Postgres to a file, while it runs
    Backup {
        /// The file to write; it must not exist
        file: PathBuf,
    },

    /// Make a private Postgres from a backup, in a new directory
    #[command(after_help = "\
The restored database starts fenced: no lease of before holds in it, and every fencing token given out from now on is \
higher than any that the backup knew.

Example:
  plimsoll restore plimsoll-2026-01-31.backup --data-dir ./plimsoll-data")]
    Restore {
        /// The backup
        file: PathBuf,
        /// The directory to make; it must not exist, or be empty
        #[arg(long, value_name = "DIR")]
        data_dir: PathBuf,
    },

    /// Print the API's OpenAPI document
    Openapi,

    /// Print a shell's completion script
    #[command(after_help = "\
Examples:
  plimsoll completions bash > ~/.local/share/bash-completion/completions/plimsoll
  plimsoll completions zsh > ~/.zfunc/_plimsoll
  plimsoll completions fish > ~/.config/fish/completions/plimsoll.fish")]
    Completions {
        /// Which shell
        shell: Shell,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Run {
    /// Which roles; all of them by default
    #[arg(long, value_enum, value_delimiter = ',', value_name = "ROLES", hide_possible_values = true, default_values_t = Role::ALL)]
    pub(crate) roles: Vec<Role>,
}

/// A part of the work that any process can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, ValueEnum)]
pub(crate) enum Role {
    /// Reads the chains into the journal
    Ingest,
    /// Folds the journal into the mirrors
    Views,
    /// Compares the mirrors with the chain
    Verify,
    /// Sends what signers of ours were asked for, and tells what became of it
    Relayer,
    /// Tries again what contracts could not push to their views
    Retry,
    /// Seals what was booked, and signs where the logs stand
    Ledger,
    /// Numbers events and audit entries
    Sequencer,
    /// Answers HTTP
    Api,
    /// Drops what is past its retention
    Retention,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Replay {
    /// The mirrors, the trails, the links and the apply log; nothing that is there is touched
    #[command(after_help = "\
Exit codes: 0 the replay equals what is there; 1 it does not.

Example:
  plimsoll replay views --chain 1 --json")]
    Views(ReplayViews),
    /// The books that are kept from a chain, by this program's posting rules; nothing is booked
    #[command(after_help = "\
What a change of the posting rules would book otherwise, before it is released: by posting and by account. What was booked stays as it was.

Exit codes: 0 the rules would book what is booked; 1 they would not.

Examples:
  plimsoll replay books
  plimsoll replay books --chain 42161 --from 300000000 --to 300100000 --json")]
    Books(ReplayBooks),
}

#[derive(Debug, Args)]
pub(crate) struct ReplayBooks {
    /// Only this chain [default: every configured one]
    #[arg(long, value_name = "CHAIN_ID")]
    pub(crate) chain: Option<u64>,
    /// The first block
    #[arg(long, value_name = "BLOCK", default_value_t = 0)]
    pub(crate) from: u64,
    /// The last block [default: as far as the books have come]
    #[arg(long, value_name = "BLOCK")]
    pub(crate) to: Option<u64>,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ReplayViews {
    /// Only this chain [default: every configured one]
    #[arg(long, value_name = "CHAIN_ID")]
    pub(crate) chain: Option<u64>,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Fold {
    /// Where each fold stands, and why one has stopped
    Status {
        /// Only this chain
        #[arg(long, value_name = "CHAIN_ID")]
        chain: Option<u64>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Pass over the record that a fold has stopped at, on record
    #[command(after_help = "\
The fold must have stopped at exactly this record: `plimsoll fold status` shows it. Skipping is written down with who and \
why, and the record's row in the apply log says `error`.

Example:
  plimsoll fold skip --fold views --chain 1 --seq 4711 --operator ada@example.org --reason 'known bad log, ticket 42'")]
    Skip(FoldSkip),
    /// Let a fold try the record that it stopped at again, once the cause is mended
    Retry(FoldRetry),
}

#[derive(Debug, Args)]
pub(crate) struct FoldRetry {
    /// The fold, as `views`
    #[arg(long)]
    pub(crate) fold: String,
    /// The chain
    #[arg(long, value_name = "CHAIN_ID")]
    pub(crate) chain: u64,
}

#[derive(Debug, Args)]
pub(crate) struct FoldSkip {
    /// The fold, as `views`
    #[arg(long)]
    pub(crate) fold: String,
    /// The chain
    #[arg(long, value_name = "CHAIN_ID")]
    pub(crate) chain: u64,
    /// The journal record that it stopped at
    #[arg(long)]
    pub(crate) seq: i64,
    #[command(flatten)]
    pub(crate) decision: Decision,
}

/// Who decided, and why: kept for ever.
#[derive(Debug, Args)]
pub(crate) struct Decision {
    /// Who you are
    #[arg(long, value_name = "NAME", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub(crate) operator: String,
    /// Why
    #[arg(long, value_name = "TEXT", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub(crate) reason: String,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Chain {
    /// Where each chain stands, and why one has halted
    Status {
        /// Only this chain
        #[arg(long, value_name = "CHAIN_ID")]
        chain: Option<u64>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Lift the halt of a chain, on record
    #[command(after_help = "\
A chain halts when a reorganisation reaches below a final block. Find out first which side is true: compare the block \
hashes that `plimsoll chain status` shows with other nodes. A running process notices the resumption by itself.

Example:
  plimsoll chain resume --chain 1 --operator ada@example.org --reason 'the node had followed a wrong fork, replaced'")]
    Resume {
        /// The chain
        #[arg(long, value_name = "CHAIN_ID")]
        chain: u64,
        #[command(flatten)]
        decision: Decision,
    },
    /// Journal the transactions of a sender from now on, or from an earlier block on
    #[command(after_help = "\
Whoever follows the chain notices within a second, and acknowledges it with the block from which on no transaction of the sender can be missing; \
the same command shows that. What lies before, down to `--since`, comes in late: each of these blocks is fetched with all its \
transactions, since no node tells them by sender.

Example:
  plimsoll chain watch --chain 42161 --sender 0x70997970c51812dc3a010c7d01b50e0d17dc79c8 --since 284000000")]
    Watch {
        /// The chain
        #[arg(long, value_name = "CHAIN_ID")]
        chain: u64,
        /// Whose transactions
        #[arg(long, value_name = "ADDRESS")]
        sender: String,
        /// From this block on [default: the one after the journal's head]
        #[arg(long, value_name = "BLOCK", value_parser = clap::value_parser!(u64).range(..=i64::MAX.cast_unsigned()))]
        since: Option<u64>,
        #[command(flatten)]
        change: Change,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Fence {
    /// Whether it is fenced, and since when
    Status,
    /// Lift it, on record: what a backup forgot was looked for
    Lift(Decision),
}

#[derive(Debug, Subcommand)]
pub(crate) enum Config {
    /// Say everything that is wrong, each with file, line, column and remedy
    Check {
        /// Also connect: the chain behind each RPC, the contracts' code, the database and its version
        #[arg(long)]
        online: bool,
    },
    /// Print what is in effect, with the origin of each value and without secrets
    Show,
    /// Print a commented example
    Example,
}

impl Role {
    /// All of them.
    pub(crate) const ALL: [Self; 9] = [
        Self::Ingest,
        Self::Views,
        Self::Verify,
        Self::Relayer,
        Self::Retry,
        Self::Ledger,
        Self::Sequencer,
        Self::Api,
        Self::Retention,
    ];

    /// Its name on the command line, in logs and in metrics.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Ingest => "ingest",
            Self::Views => "views",
            Self::Verify => "verify",
            Self::Relayer => "relayer",
            Self::Retry => "retry",
            Self::Ledger => "ledger",
            Self::Sequencer => "sequencer",
            Self::Api => "api",
            Self::Retention => "retention",
        }
    }
}

impl std::fmt::Display for Role {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

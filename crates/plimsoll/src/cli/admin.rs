//! `plimsoll admin`: what can be asked, and how it is explained.

mod identity;
mod records;
mod users;
mod value;

use clap::builder::NonEmptyStringValueParser;
use clap::{Args, Subcommand};
use uuid::Uuid;

pub(crate) use identity::{Allowance, IssueKey, Keys, NewRole, Roles, Sessions, Tenants};
pub(crate) use records::{
    Audit, AuditExport, AuditFilter, AuditList, AuditTail, Idempotency, IdempotencyList, KeyState,
};
pub(crate) use users::{Factors, Holder, Identities, Kind, Link, NewUser, OfUser, Status, Subject, Users};
pub(crate) use value::Bound;

const AFTER_HELP: &str = "\
Whatever changes something
  --dry-run      does every check, shows what would change, and changes nothing
  --reason TEXT  is kept in the audit log, with who (the user of this system), what, before and after
  --request-id   names the request in the audit log; without it a new one is made, and printed

What cannot be undone asks for a typed confirmation. A script says --yes instead; without a terminal and without --yes it \
is refused.

Examples:
  plimsoll admin init --tenant acme
  plimsoll admin users create --tenant acme --name 'Ada Lovelace' --role operator
  plimsoll admin keys issue --tenant acme --user 0190… --label ci --scopes ledger:read --for 90d
  plimsoll admin audit tail --tenant acme";

#[derive(Debug, Subcommand)]
#[command(after_help = AFTER_HELP)]
pub(crate) enum Admin {
    /// Print the one-time link that makes a tenant's first administrator
    #[command(after_help = "\
The link is good for an hour and for one use, and there is none once the tenant has an administrator. A tenant that the \
configuration names is made if the database does not have it yet; so is the private Postgres.

The link is a secret: it is printed once, and only its hash is stored.

Examples:
  plimsoll admin init --tenant acme
  plimsoll admin init --tenant acme --url https://plimsoll.example.org")]
    Init(Init),
    /// Tenants: who they are, and what they have
    #[command(subcommand)]
    Tenants(Tenants),
    /// Users of a tenant, their addresses, roles, second factors and identities elsewhere
    #[command(subcommand)]
    Users(Users),
    /// API keys of a tenant's machines
    #[command(subcommand)]
    Keys(Keys),
    /// Roles of a tenant, and what they allow
    #[command(subcommand)]
    Roles(Roles),
    /// Sessions of those who have signed in
    #[command(subcommand)]
    Sessions(Sessions),
    /// The audit log: who did what
    #[command(subcommand)]
    Audit(Audit),
    /// Idempotency keys: what was asked under them, and how far it got
    #[command(subcommand)]
    Idempotency(Idempotency),
}

#[derive(Debug, Args)]
pub(crate) struct Init {
    #[command(flatten)]
    pub(crate) whose: Whose,
    /// Where people reach this server [default: `api.listen`]
    #[arg(long, value_name = "URL", value_parser = value::base_url)]
    pub(crate) url: Option<String>,
    #[command(flatten)]
    pub(crate) change: Change,
}

/// Whose things are meant.
#[derive(Debug, Args)]
pub(crate) struct Whose {
    /// The tenant, by name or id [default: the only one that there is]
    #[arg(long, value_name = "TENANT")]
    pub(crate) tenant: Option<String>,
}

/// A change that can be taken back.
#[derive(Clone, Debug, Args)]
pub(crate) struct Change {
    /// Why: kept in the audit log
    #[arg(long, value_name = "TEXT", value_parser = NonEmptyStringValueParser::new())]
    pub(crate) reason: Option<String>,
    #[command(flatten)]
    pub(crate) how: How,
}

/// A change that cannot be taken back.
#[derive(Clone, Debug, Args)]
pub(crate) struct Final {
    /// Why: kept in the audit log
    #[arg(long, value_name = "TEXT", value_parser = NonEmptyStringValueParser::new())]
    pub(crate) reason: String,
    /// Do not ask for a confirmation
    #[arg(long)]
    pub(crate) yes: bool,
    #[command(flatten)]
    pub(crate) how: How,
}

/// How a change is made.
#[derive(Clone, Debug, Args)]
pub(crate) struct How {
    /// The request's id in the audit log [default: a new one]
    #[arg(long, value_name = "UUID")]
    pub(crate) request_id: Option<Uuid>,
    /// Do all checks, show what would change, and change nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// A part of a list.
#[derive(Debug, Args)]
pub(crate) struct Part {
    /// At most so many
    #[arg(long, value_name = "ROWS", default_value_t = 100, value_parser = clap::value_parser!(i64).range(1..=10_000))]
    pub(crate) limit: i64,
    /// Go on after this id, the last of the part before
    #[arg(long, value_name = "UUID")]
    pub(crate) after: Option<Uuid>,
}

//! Tenants, keys, roles and sessions.

use std::time::Duration;

use clap::{Args, Subcommand};
use plimsoll_identity::Permission;
use uuid::Uuid;

use super::value;
use super::{Change, Final, Part, Whose};

#[derive(Debug, Subcommand)]
pub(crate) enum Tenants {
    /// All tenants
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// One tenant, and how many users, keys, sessions and contracts it has
    Show {
        #[command(flatten)]
        whose: Whose,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Make a tenant; it is born with the built-in roles
    #[command(after_help = "\
A tenant is never deleted: its id is in every row that is written for it.

Example:
  plimsoll admin tenants create acme --reason 'ticket 42'")]
    Create {
        /// Its name, which no other has
        name: String,
        /// Its id [default: a new one]
        #[arg(long, value_name = "UUID")]
        id: Option<Uuid>,
        #[command(flatten)]
        change: Change,
    },
    /// Give a tenant another name
    #[command(after_help = "\
A tenant that the configuration names is renamed there: at each start its name is what the configuration says.

Example:
  plimsoll admin tenants rename --tenant acme 'Acme Lending'")]
    Rename {
        #[command(flatten)]
        whose: Whose,
        /// The new name
        name: String,
        #[command(flatten)]
        change: Change,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Keys {
    /// A tenant's keys in force
    List {
        #[command(flatten)]
        whose: Whose,
        /// Only this user's
        #[arg(long, value_name = "UUID")]
        user: Option<Uuid>,
        /// Those that are over, too
        #[arg(long)]
        all: bool,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Issue a key; it is printed once, and only its hash is stored
    #[command(after_help = "\
A key acts in its user's name, and can do no more than its scopes and no more than its user. `plimsoll admin roles \
permissions` lists what there is. Sensitive permissions need a second factor, which for a machine is its client \
certificate: bind the key to it.

Examples:
  plimsoll admin keys issue --tenant acme --user 0190… --label ci --scopes ledger:read,positions:read --for 90d
  plimsoll admin keys issue --tenant acme --user 0190… --label settlement --scopes ledger:post --for 90d \\
      --certificate-sha256 \"$(openssl x509 -in client.pem -outform der | sha256sum | cut -c1-64)\"")]
    Issue(IssueKey),
    /// Give a key a new secret; the former one is good for a while yet
    #[command(after_help = "\
Examples:
  plimsoll admin keys rotate --tenant acme 3f0a9c… --grace 24h --reason 'yearly rotation'
  plimsoll admin keys rotate --tenant acme 3f0a9c… --grace 0 --reason 'it was in a log' --yes")]
    Rotate {
        #[command(flatten)]
        whose: Whose,
        /// The key's id: what stands between `plk_` and the next `_`
        key: String,
        /// How long the former secret is good for; 0 for one that leaked
        #[arg(long, value_name = "TERM", default_value = "24h", value_parser = value::term)]
        grace: Duration,
        #[command(flatten)]
        change: Final,
    },
    /// End a key for good
    #[command(after_help = "\
Processes notice within five seconds.

Example:
  plimsoll admin keys revoke --tenant acme 3f0a9c… --reason 'the machine is gone'")]
    Revoke {
        #[command(flatten)]
        whose: Whose,
        /// The key's id: what stands between `plk_` and the next `_`
        key: String,
        #[command(flatten)]
        change: Final,
    },
}

#[derive(Debug, Args)]
pub(crate) struct IssueKey {
    #[command(flatten)]
    pub(crate) whose: Whose,
    /// In whose name it acts
    #[arg(long, value_name = "UUID")]
    pub(crate) user: Uuid,
    /// For people to tell it by
    #[arg(long)]
    pub(crate) label: String,
    /// What it may do at most
    #[arg(long, required = true, value_delimiter = ',', value_name = "PERMISSIONS", value_parser = value::permission(), hide_possible_values = true)]
    pub(crate) scopes: Vec<Permission>,
    /// How long it lives: at most 400d
    #[arg(long = "for", value_name = "TERM", default_value = "90d", value_parser = value::term)]
    pub(crate) lifetime: Duration,
    /// The client certificate that must come with it: SHA-256 of its DER
    #[arg(long, value_name = "HEX", value_parser = value::sha256)]
    pub(crate) certificate_sha256: Option<[u8; 32]>,
    #[command(flatten)]
    pub(crate) change: Change,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Roles {
    /// A tenant's roles
    List {
        #[command(flatten)]
        whose: Whose,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// One role: what it allows, and how many have it
    Show {
        #[command(flatten)]
        whose: Whose,
        /// The role
        role: String,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// All permissions that there are
    Permissions {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Make a role of the tenant's own
    #[command(after_help = "\
Examples:
  plimsoll admin roles create --tenant acme risk --permissions positions:read,ledger:read,recon:propose
  plimsoll admin roles create --tenant acme analyst --agent --permissions positions:read")]
    Create(NewRole),
    /// Let a role of the tenant's own allow one thing more
    Grant(Allowance),
    /// Let a role of the tenant's own allow one thing less
    Revoke(Allowance),
}

/// What a role is to allow, or to allow no more.
#[derive(Debug, Args)]
pub(crate) struct Allowance {
    #[command(flatten)]
    pub(crate) whose: Whose,
    /// The role
    pub(crate) role: String,
    /// The permission
    #[arg(value_parser = value::permission(), hide_possible_values = true)]
    pub(crate) permission: Permission,
    #[command(flatten)]
    pub(crate) change: Change,
}

#[derive(Debug, Args)]
pub(crate) struct NewRole {
    #[command(flatten)]
    pub(crate) whose: Whose,
    /// Its name: lower-case letters, digits, `-` and `_`
    pub(crate) role: String,
    /// What it allows
    #[arg(long, value_delimiter = ',', value_name = "PERMISSIONS", value_parser = value::permission(), hide_possible_values = true)]
    pub(crate) permissions: Vec<Permission>,
    /// A role that agents may hold: it takes nothing that writes
    #[arg(long)]
    pub(crate) agent: bool,
    #[command(flatten)]
    pub(crate) change: Change,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Sessions {
    /// A tenant's sessions in force
    List {
        #[command(flatten)]
        whose: Whose,
        /// Only this user's
        #[arg(long, value_name = "UUID")]
        user: Option<Uuid>,
        /// Those that are over, too
        #[arg(long)]
        all: bool,
        #[command(flatten)]
        part: Part,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// End a session, or all of a user's: they have to sign in again
    #[command(after_help = "\
Processes notice within five seconds.

Examples:
  plimsoll admin sessions revoke --tenant acme 0190… --reason 'a lost laptop'
  plimsoll admin sessions revoke --tenant acme --user 0190… --reason 'a lost laptop' --yes")]
    Revoke(RevokeSessions),
}

#[derive(Debug, Args)]
pub(crate) struct RevokeSessions {
    #[command(flatten)]
    pub(crate) whose: Whose,
    #[command(flatten)]
    pub(crate) which: WhichSessions,
    #[command(flatten)]
    pub(crate) change: Final,
}

/// One of the two.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct WhichSessions {
    /// The session's id
    pub(crate) session: Option<Uuid>,
    /// All sessions of this user
    #[arg(long, value_name = "UUID")]
    pub(crate) user: Option<Uuid>,
}

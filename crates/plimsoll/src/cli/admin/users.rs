//! Users, their addresses and roles, and by what else they are known.

use alloy_primitives::Address;
use clap::{Args, Subcommand, ValueEnum};
use plimsoll_identity::second_factor::FactorId;
use uuid::Uuid;

use super::value;
use super::{Change, Final, Part, Whose};

#[derive(Debug, Subcommand)]
pub(crate) enum Users {
    /// A tenant's users
    #[command(after_help = "\
Examples:
  plimsoll admin users list --tenant acme --status suspended
  plimsoll admin users list --tenant acme --role admin --json")]
    List {
        #[command(flatten)]
        whose: Whose,
        /// Only those who stand so
        #[arg(long, conflicts_with = "role")]
        status: Option<Status>,
        /// Only those who have this role
        #[arg(long)]
        role: Option<String>,
        #[command(flatten)]
        part: Part,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// One user: roles, what they allow, addresses
    Show(OfUser),
    /// Make a user
    #[command(after_help = "\
Examples:
  plimsoll admin users create --tenant acme --name 'Ada Lovelace' --role operator --role approver
  plimsoll admin users create --tenant acme --name settlement-bot --kind machine --role accountant")]
    Create(NewUser),
    /// Turn a user away everywhere, and end all of their sessions
    #[command(after_help = "\
Their keys stay, and open nothing while the user is suspended. Processes notice within five seconds.

Example:
  plimsoll admin users suspend --tenant acme 0190… --reason 'left the company'")]
    Suspend {
        #[command(flatten)]
        whose: Whose,
        /// The user's id
        user: Uuid,
        #[command(flatten)]
        change: Final,
    },
    /// Let a user in again, or in at last after a review
    Activate {
        #[command(flatten)]
        whose: Whose,
        /// The user's id
        user: Uuid,
        #[command(flatten)]
        change: Change,
    },
    /// Give a user an address that they have proved to be theirs
    #[command(after_help = "\
Whoever holds the address's key can then sign in as this user.

Example:
  plimsoll admin users link --tenant acme 0190… --chain 42161 --address 0x5aaeb6053f3e94c9b9a09f33669435e7ef1beaed")]
    Link(Link),
    /// Take an address from a user; who had it stays readable
    Unlink(Link),
    /// Give a user a role
    #[command(after_help = "\
Example:
  plimsoll admin users assign --tenant acme 0190… approver --reason 'ticket 42'")]
    Assign(Holder),
    /// Take a role from a user
    Unassign(Holder),
    /// A user's second factors: code app and security keys
    #[command(subcommand)]
    Factors(Factors),
    /// Who a user is at OpenID Connect providers
    #[command(subcommand)]
    Identities(Identities),
}

#[derive(Debug, Subcommand)]
pub(crate) enum Factors {
    /// A user's second factors in force
    List(OfUser),
    /// Take a second factor away, also the last one, and end all of the user's sessions
    #[command(after_help = "\
For who lost it: without it nobody adds another. Make sure who asks: whoever signs in as this user next sets up a new \
one. Processes notice within five seconds.

Examples:
  plimsoll admin users factors remove --tenant acme 0190… totp --reason 'a new phone'
  plimsoll admin users factors remove --tenant acme 0190… webauthn:kFb1… --reason 'lost'")]
    Remove {
        #[command(flatten)]
        whose: Whose,
        /// The user's id
        user: Uuid,
        /// Which, as it is listed: `totp`, or `webauthn:` and the key's id
        factor: FactorId,
        #[command(flatten)]
        change: Final,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Identities {
    /// All that a user is at providers
    List(OfUser),
    /// Link a subject of a provider to a user
    #[command(after_help = "\
Who is this subject at the provider can then sign in as this user. Who can sign in otherwise links it themselves.

Example:
  plimsoll admin users identities link --tenant acme 0190… --issuer https://id.acme --subject f3a9")]
    Link(Subject),
    /// Take a subject of a provider from a user, also the only way in; who had it stays readable
    Unlink(Subject),
}

#[derive(Debug, Args)]
pub(crate) struct Subject {
    #[command(flatten)]
    pub(crate) whose: Whose,
    /// The user's id
    pub(crate) user: Uuid,
    /// The provider, as its tokens name it: to the letter
    #[arg(long, value_name = "URL")]
    pub(crate) issuer: String,
    /// What the provider calls the person: an id, and no e-mail address
    #[arg(long)]
    pub(crate) subject: String,
    #[command(flatten)]
    pub(crate) change: Change,
}

/// What is shown of one user.
#[derive(Debug, Args)]
pub(crate) struct OfUser {
    #[command(flatten)]
    pub(crate) whose: Whose,
    /// The user's id
    pub(crate) user: Uuid,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// A user, as people name it.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Kind {
    /// A human being
    Person,
    /// A program of the tenant's
    Machine,
    /// The AI layer: it reads, and never writes
    Agent,
}

/// Where a user stands.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Status {
    /// May do what the roles say
    Active,
    /// Is turned away
    Suspended,
    /// May sign in, and do nothing yet
    PendingReview,
}

#[derive(Debug, Args)]
pub(crate) struct NewUser {
    #[command(flatten)]
    pub(crate) whose: Whose,
    /// For people to read
    #[arg(long)]
    pub(crate) name: String,
    /// What the user is
    #[arg(long, default_value = "person")]
    pub(crate) kind: Kind,
    /// May sign in, and do nothing until activated
    #[arg(long)]
    pub(crate) pending_review: bool,
    /// A role to begin with; give it once for each
    #[arg(long = "role", value_name = "ROLE")]
    pub(crate) roles: Vec<String>,
    #[command(flatten)]
    pub(crate) change: Change,
}

#[derive(Debug, Args)]
pub(crate) struct Link {
    #[command(flatten)]
    pub(crate) whose: Whose,
    /// The user's id
    pub(crate) user: Uuid,
    /// On which chain
    #[arg(long, value_name = "CHAIN_ID")]
    pub(crate) chain: u64,
    /// Which address
    #[arg(long, value_parser = value::address)]
    pub(crate) address: Address,
    #[command(flatten)]
    pub(crate) change: Change,
}

#[derive(Debug, Args)]
pub(crate) struct Holder {
    #[command(flatten)]
    pub(crate) whose: Whose,
    /// The user's id
    pub(crate) user: Uuid,
    /// The role
    pub(crate) role: String,
    #[command(flatten)]
    pub(crate) change: Change,
}

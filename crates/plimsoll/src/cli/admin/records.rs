//! The audit log and the idempotency keys.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use uuid::Uuid;

use super::{Bound, Final, Whose, value};

#[derive(Debug, Subcommand)]
pub(crate) enum Audit {
    /// All that one request put on record
    #[command(after_help = "\
Also what still waits for its number, which a process with the role `sequencer` gives.

Example:
  plimsoll admin audit show 0190…")]
    Show {
        /// The request's id, as in the header X-Request-Id or as a command printed it
        request: Uuid,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Entries from the oldest on
    #[command(after_help = "\
Examples:
  plimsoll admin audit list --tenant acme --action identity.key. --from 2026-01-01
  plimsoll admin audit list --actor cli:root --from 4711 --limit 500 --json")]
    List(AuditList),
    /// The newest entries, and those that come
    #[command(after_help = "\
Examples:
  plimsoll admin audit tail --rows 50
  plimsoll admin audit tail --tenant acme --follow")]
    Tail(AuditTail),
    /// Write entries to a file, one JSON object a line
    #[command(after_help = "\
The file appears when it is whole. Each line has the entry with its digest, the hash of the entry before, and its own: \
docs/operations.md says how they are computed. Keep the hash that is printed where the database's administrators do not \
reach.

Examples:
  plimsoll admin audit export --out audit.jsonl
  plimsoll admin audit export --out acme-january.jsonl --tenant acme --from 2026-01-01 --to 2026-02-01")]
    Export(AuditExport),
}

/// Which entries.
#[derive(Debug, Args)]
pub(crate) struct AuditFilter {
    /// Only this tenant's, by name or id
    #[arg(long, value_name = "TENANT")]
    pub(crate) tenant: Option<String>,
    /// Only of this user of a tenant
    #[arg(long, value_name = "UUID")]
    pub(crate) user: Option<Uuid>,
    /// Only by this actor, as `user:0190…`, `key:3f0a9c…`, `cli:root`
    #[arg(long)]
    pub(crate) actor: Option<String>,
    /// Only of this action; with a full stop at its end, of all that begin so
    #[arg(long)]
    pub(crate) action: Option<String>,
    /// Only on this kind of thing, as `user`
    #[arg(long, value_name = "TYPE")]
    pub(crate) target_type: Option<String>,
    /// Only on this thing
    #[arg(long, value_name = "ID")]
    pub(crate) target: Option<String>,
    /// From this number, or recorded from this time on: 4711, 2026-01-31, 2026-01-31T08:00:00Z
    #[arg(long, value_name = "NUMBER|TIME", value_parser = value::bound)]
    pub(crate) from: Option<Bound>,
    /// To this number, or recorded before this time
    #[arg(long, value_name = "NUMBER|TIME", value_parser = value::bound)]
    pub(crate) to: Option<Bound>,
}

#[derive(Debug, Args)]
pub(crate) struct AuditList {
    #[command(flatten)]
    pub(crate) filter: AuditFilter,
    /// At most so many
    #[arg(long, value_name = "ROWS", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) limit: u32,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct AuditTail {
    #[command(flatten)]
    pub(crate) filter: AuditFilter,
    /// So many of the newest
    #[arg(long, short = 'n', value_name = "ROWS", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub(crate) rows: u32,
    /// Go on with those that come, until Ctrl-C
    #[arg(long, short)]
    pub(crate) follow: bool,
    /// Print JSON, one object a line
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct AuditExport {
    /// The file to write; it must not exist
    #[arg(long, value_name = "FILE")]
    pub(crate) out: PathBuf,
    #[command(flatten)]
    pub(crate) filter: AuditFilter,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Idempotency {
    /// A tenant's keys, newest first
    #[command(after_help = "\
Examples:
  plimsoll admin idempotency list --tenant acme --state recoverable
  plimsoll admin idempotency list --tenant acme --key 0f8b7c2e-6f1e-4f0e-9a0e-4d7c1d0a2b11")]
    List(IdempotencyList),
    /// One entry, by the id that `list` shows
    Show {
        /// The entry's id
        entry: i64,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Take a key out: the next request under it is its first
    #[command(after_help = "\
Whoever works under the key just now can no longer commit. What was done under it stays done: a client that sends the same \
request again does it a second time, unless an id in its body stops that.

Example:
  plimsoll admin idempotency invalidate 4711 --reason 'the client must use its key anew, ticket 42'")]
    Invalidate {
        /// The entry's id, as `list` shows it
        entry: i64,
        #[command(flatten)]
        change: Final,
    },
}

/// How far a key got.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum KeyState {
    /// Somebody works on it
    InFlight,
    /// Nobody does; the next one goes on from the recovery point
    Recoverable,
    /// There is an answer
    Done,
}

#[derive(Debug, Args)]
pub(crate) struct IdempotencyList {
    #[command(flatten)]
    pub(crate) whose: Whose,
    /// The platform's own keys instead of a tenant's
    #[arg(long, conflicts_with = "tenant")]
    pub(crate) platform: bool,
    /// Only of this route, as `/api/v1/things/{id}`
    #[arg(long)]
    pub(crate) route: Option<String>,
    /// Only this key
    #[arg(long)]
    pub(crate) key: Option<String>,
    /// Only of this principal, as `user:0190…` or `key:3f0a9c…`
    #[arg(long)]
    pub(crate) principal: Option<String>,
    /// Only those that got so far
    #[arg(long)]
    pub(crate) state: Option<KeyState>,
    /// At most so many
    #[arg(long, value_name = "ROWS", default_value_t = 100, value_parser = clap::value_parser!(i64).range(1..=10_000))]
    pub(crate) limit: i64,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

//! `plimsoll tx`.

use clap::{Args, Subcommand};
use plimsoll_types::TransactionState;
use uuid::Uuid;

use super::{Change, Final, Whose};

#[derive(Debug, Subcommand)]
pub(crate) enum Transactions {
    /// A tenant's transactions, the newest first
    #[command(after_help = "\
Examples:
  plimsoll tx list --tenant acme --state tracking
  plimsoll tx list --tenant acme --signer settlement --limit 20 --json")]
    List(TransactionList),
    /// The story of one: what was asked, each attempt, what each node answered, each change
    #[command(after_help = "\
Examples:
  plimsoll tx show 0198c5a1-9b01-7c1e-a7a4-5f0d3c2b1a00
  plimsoll tx show 0x5f0d…  # the hash of any of its attempts")]
    Show {
        /// Its id, or the hash of any of its attempts
        name: String,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Hand in a transaction for a tenant, as far as the signer grants it
    #[command(after_help = "\
Asked again under the same --request-id and --operation-type it is the same transaction, and nothing is done. It is sent by a process that works the signer.

Example:
  plimsoll tx submit --tenant acme --signer settlement --to 0x5fbd… --data 0xd09de08a --reason 'ticket 42'")]
    Submit(Box<NewTransaction>),
    /// Call a transaction off
    #[command(after_help = "\
What has no nonce yet ends at once, when its signer is worked next. After that something that does nothing competes for its nonce, and the chain decides.

Example:
  plimsoll tx cancel 0198c5a1-9b01-7c1e-a7a4-5f0d3c2b1a00 --reason 'the order was withdrawn'")]
    Cancel {
        /// Its id, or the hash of any of its attempts
        name: String,
        #[command(flatten)]
        change: Final,
    },
}

#[derive(Debug, Args)]
pub(crate) struct TransactionList {
    #[command(flatten)]
    pub(crate) whose: Whose,
    /// Only those that stand here: pending, tracking, mined, confirmed, failed, replaced, cancelled, expired
    #[arg(long, value_name = "STATE")]
    pub(crate) state: Option<TransactionState>,
    /// Only those on this chain
    #[arg(long, value_name = "CHAIN_ID")]
    pub(crate) chain: Option<u64>,
    /// Only those of this signer, by name or address
    #[arg(long, value_name = "SIGNER")]
    pub(crate) signer: Option<String>,
    /// Only those of this request
    #[arg(long, value_name = "UUID")]
    pub(crate) request_id: Option<Uuid>,
    /// At most so many
    #[arg(long, value_name = "ROWS", default_value_t = 50, value_parser = clap::value_parser!(i64).range(1..=10_000))]
    pub(crate) limit: i64,
    /// Go on below this id, the last of the part before
    #[arg(long, value_name = "UUID")]
    pub(crate) below: Option<Uuid>,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct NewTransaction {
    #[command(flatten)]
    pub(crate) whose: Whose,
    /// Who signs: a configured signer's name or address
    #[arg(long, value_name = "SIGNER")]
    pub(crate) signer: String,
    /// The signer's chain, where its name or address does not tell
    #[arg(long, value_name = "CHAIN_ID")]
    pub(crate) chain: Option<u64>,
    /// Who is called; without it a contract is created
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) to: Option<String>,
    /// Wei that go along
    #[arg(long, value_name = "WEI", default_value = "0")]
    pub(crate) value: String,
    /// Calldata, or the code of the contract that is created
    #[arg(long, value_name = "HEX", default_value = "0x")]
    pub(crate) data: String,
    /// Gas [default: estimated]
    #[arg(long, value_name = "GAS")]
    pub(crate) gas_limit: Option<u64>,
    /// Wei that must not be exceeded for a unit of gas
    #[arg(long, value_name = "WEI")]
    pub(crate) max_fee: Option<u128>,
    /// Those with a higher one are sent first
    #[arg(long, default_value_t = 0)]
    pub(crate) priority: i16,
    /// What it is, as the tenant names it
    #[arg(long, value_name = "NAME", default_value = "operator")]
    pub(crate) operation_type: String,
    #[command(flatten)]
    pub(crate) change: Change,
}

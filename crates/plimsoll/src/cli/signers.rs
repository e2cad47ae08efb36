//! `plimsoll signers`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::Final;

#[derive(Debug, Subcommand)]
pub(crate) enum Signers {
    /// Make a key, and write it into an encrypted keystore
    #[command(after_help = "\
The key is drawn at random and leaves this process only under the password: keep both, since nobody else has them. Printed is its address alone, for \
`address` in the configuration.

Example:
  openssl rand -base64 32 > retrier.password
  plimsoll signers new --keystore keys/retrier.json --password-file retrier.password")]
    New(NewSigner),

    /// Open each configured key and have it sign what is no transaction
    #[command(after_help = "\
Exit codes: 0 each signs; 1 one does not.

Example:
  plimsoll signers check --config /etc/plimsoll.toml")]
    Check,

    /// Every signer: who works it, what waits, how far it is, and what holds it back
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },

    /// One signer, with what the chain says of it now
    #[command(after_help = "\
Examples:
  plimsoll signers show settlement
  plimsoll signers show 0x70997970c51812dc3a010c7d01b50e0d17dc79c8 --chain 42161 --json")]
    Show {
        /// Its name or address
        signer: String,
        /// Its chain, where its name or address does not tell
        #[arg(long, value_name = "CHAIN_ID")]
        chain: Option<u64>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },

    /// Have a signer hand over to another one of its chain
    #[command(after_help = "\
What waits for the old one is done by the new one from now on, in its place in the queue; what is handed in with the old one later, too. What has a nonce ends where it is, so keep the old one \
configured until `plimsoll signers show` says that nothing of it is under way. Again for the same two, it goes on.

Grants are looked at when a request is handed in, by the signer that it names: move the tenants' grants as well.

Example:
  plimsoll signers rotate settlement settlement-2 --reason 'the key was on a laptop'")]
    Rotate {
        /// Who hands over, by name or address
        old: String,
        /// Who takes over, by name or address
        new: String,
        /// Their chain, where names or addresses do not tell
        #[arg(long, value_name = "CHAIN_ID")]
        chain: Option<u64>,
        #[command(flatten)]
        change: Final,
    },
}

#[derive(Debug, Args)]
pub(crate) struct NewSigner {
    /// The file to write; it must not exist
    #[arg(long, value_name = "FILE")]
    pub(crate) keystore: PathBuf,
    /// A file with the password, and nothing else
    #[arg(long, value_name = "FILE")]
    pub(crate) password_file: PathBuf,
}

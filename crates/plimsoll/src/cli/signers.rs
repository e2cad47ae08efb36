//! `plimsoll signers`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

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

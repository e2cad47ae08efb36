//! `plimsoll relayer`.

use clap::{ArgGroup, Args, Subcommand};

use super::Final;

pub(super) const AFTER_HELP: &str = "\
Examples:
  plimsoll relayer halts                                          what is held back, and why
  plimsoll relayer halt --signer settlement --reason 'ticket 42'   nothing new of one signer
  plimsoll relayer halt --everything --reason 'ticket 42'          nothing new at all
  plimsoll relayer resume --everything --reason 'it was nothing'
  plimsoll relayer reconcile --dry-run                            what database and chain do not agree on";

#[derive(Debug, Subcommand)]
pub(crate) enum Relayer {
    /// The switches that hold anything back
    Halts {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Hold back what waits: of everything, of a tenant, of a signer, or of a tenant by a signer
    #[command(after_help = "\
Nothing that is meant gets a nonce any more, on any process. What has one goes on, since its bytes may be with any node, and so does what is given one at this very moment: `plimsoll tx cancel` \
ends it. What is handed in meanwhile waits.

Exit codes: 0 it is held back; 1 it was already, or it failed; 2 the command line is wrong.

Examples:
  plimsoll relayer halt --everything --reason 'prices look wrong, ticket 42'
  plimsoll relayer halt --tenant acme --signer settlement --reason 'ticket 42' --dry-run")]
    Halt(Halt),
    /// Release what was held back: exactly what `halts` shows
    Resume(Halt),
    /// Compare the signers with the chain, and have whoever works them mend what can be mended
    #[command(after_help = "\
It looks twice, a moment apart, since both move; only what is found both times counts. A running process with the role `relayer` does the same every half a minute.

Nothing is sent from here. Gaps, transactions that every node lost, and ends that nobody competes for are mended by whoever works the signer; with --dry-run it is not asked to. What is left is for \
people.

Exit codes: 0 nothing differs, or all of it is being mended; 1 something differs that stays; 3 an endpoint did not tell.

Example:
  plimsoll relayer reconcile --chain 42161 --dry-run --json")]
    Reconcile(Reconcile),
}

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("meant").required(true).multiple(true))]
pub(crate) struct Halt {
    /// All tenants and all signers
    #[arg(long, group = "meant", conflicts_with_all = ["tenant", "signer"])]
    pub(crate) everything: bool,
    /// Only this tenant's, by name or id
    #[arg(long, group = "meant", value_name = "TENANT")]
    pub(crate) tenant: Option<String>,
    /// Only this signer's, by name or address
    #[arg(long, group = "meant", value_name = "SIGNER")]
    pub(crate) signer: Option<String>,
    /// The signer's chain, where its name or address does not tell
    #[arg(long, value_name = "CHAIN_ID", requires = "signer")]
    pub(crate) chain: Option<u64>,
    #[command(flatten)]
    pub(crate) change: Final,
}

#[derive(Debug, Args)]
pub(crate) struct Reconcile {
    /// Only this chain [default: every configured one]
    #[arg(long, value_name = "CHAIN_ID")]
    pub(crate) chain: Option<u64>,
    /// Only say what would be done
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

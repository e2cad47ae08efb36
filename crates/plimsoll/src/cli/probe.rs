//! `plimsoll probe`: which numbers, at which block.

use std::path::PathBuf;
use std::str::FromStr;

use alloy_primitives::{Address, B256};
use clap::Args;
use plimsoll_types::{parse_address, parse_hash};

pub(super) const AFTER_HELP: &str = "\
Every number is of the block that is printed with it, by its hash, or it is unknown: a block that leaves the chain meanwhile, and a \
node that has pruned its state, give no number at all. `confirmed` and `final` are read from the database, the other blocks need only the nodes.

--call takes CONTRACT:NAME(TYPES)(ARGUMENTS), and behind it ` -> TYPES` for what is returned (without it as the ABI in the \
configuration says, or a uint256 where there is none) and `.VALUE` for one of several values, by name or place. CONTRACT is an address, or the name of a contract in the configuration, whose ABI then knows the types: \
CONTRACT:NAME(ARGUMENTS).

Exit codes: 0 every number is known; 1 none is; 2 the question is wrong; 3 some are unknown, each with its reason.

Examples:
  plimsoll probe --chain 1 --native 0xd8dA6BF26964aF9D7eEd9e03E53415D37aA96045
  plimsoll probe --chain 1 --block 19000000 --erc20 0xA0b86991c6218b36c1d19D4a2e9Eb0cE3606eB48:0xd8dA6BF26964aF9D7eEd9e03E53415D37aA96045
  plimsoll probe --chain 1 --block head --json \\
    --call '0xA0b86991c6218b36c1d19D4a2e9Eb0cE3606eB48:totalSupply()' \\
    --call 'PositionView:getUserPositionWithVersion(0xd8dA6BF26964aF9D7eEd9e03E53415D37aA96045,0xA0b86991c6218b36c1d19D4a2e9Eb0cE3606eB48).debt'
  plimsoll probe --chain 1 --file probes.json";

#[derive(Debug, Args)]
pub(crate) struct Probe {
    /// The chain
    #[arg(long, value_name = "CHAIN_ID")]
    pub(crate) chain: u64,
    /// After which block: a number, a hash, `head` of the node; `confirmed` or `final` of what is in the journal
    #[arg(long, value_name = "BLOCK", default_value = "confirmed")]
    pub(crate) block: BlockChoice,
    #[command(flatten)]
    pub(crate) numbers: Numbers,
    /// Ask for each number by itself: for functions that look at their caller, need much gas, or change state on their way
    #[arg(long)]
    pub(crate) direct: bool,
    /// Where Multicall3 is, or `none` to go without it [default: its usual address]
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) multicall: Option<MulticallChoice>,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// The numbers to ask for; at least one.
#[derive(Debug, Args)]
#[group(required = true, multiple = true)]
pub(crate) struct Numbers {
    /// The native balance of an account; may be repeated, as each of these
    #[arg(long, value_name = "ACCOUNT")]
    pub(crate) native: Vec<String>,
    /// An account's balance of an ERC-20 token
    #[arg(long, value_name = "TOKEN:ACCOUNT")]
    pub(crate) erc20: Vec<String>,
    /// An integer that a contract's function returns
    #[arg(long, value_name = "CONTRACT:FUNCTION")]
    pub(crate) call: Vec<String>,
    /// Declared probes, as a JSON array
    #[arg(long, value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
}

/// Which block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BlockChoice {
    /// The node's newest.
    Head,
    /// The last confirmed one in the journal.
    Confirmed,
    /// The last final one in the journal.
    Final,
    /// The canonical one at this height.
    Number(u64),
    /// The one with this hash.
    Hash(B256),
}

/// Where the contract is that calls several.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MulticallChoice(pub(crate) Option<Address>);

impl BlockChoice {
    /// Whether the database says which one it is.
    pub(crate) fn is_in_journal(self) -> bool {
        matches!(self, Self::Confirmed | Self::Final)
    }
}

impl FromStr for BlockChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "head" => Ok(Self::Head),
            "confirmed" => Ok(Self::Confirmed),
            "final" => Ok(Self::Final),
            _ => text.parse().map(Self::Number).or_else(|_| parse_hash(text).map(Self::Hash)).map_err(|_| {
                "give a number in decimal digits, a hash of `0x` and 64 hexadecimal digits, `head`, `confirmed` or `final`"
                    .to_owned()
            }),
        }
    }
}

impl FromStr for MulticallChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "none" {
            return Ok(Self(None));
        }
        parse_address(text).map(|address| Self(Some(address))).map_err(|error| format!("{error}, or `none`"))
    }
}

//! What a preview tells, for people and for programs (JSON).

use std::fmt;

use alloy_primitives::Address;
use plimsoll_journal::backfills::Order;
use plimsoll_types::Completeness;
use serde::Serialize;

/// How much of a range was asked for before, of one contract or sender.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Coverage {
    /// Whose logs, or transactions.
    pub address: Address,
    /// Whether it is a watched sender, not a contract.
    pub is_sender: bool,
    /// Blocks of the range from its first one on.
    pub wanted_blocks: u64,
    /// How many of them are in a certificate.
    pub covered_blocks: u64,
    /// How many are in one of the level that the backfill has, or a higher one.
    pub proven_blocks: u64,
}

/// A range of the chain that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Sample {
    /// The first block.
    pub from: u64,
    /// The last block.
    pub to: u64,
    /// Wanted events in it, by the endpoint's word.
    pub events: u64,
    /// How many of them are not in the journal.
    pub missing: u64,
    /// Blocks that have one.
    pub blocks_with_events: u64,
    /// Their data.
    pub data_bytes: u64,
    /// Their topics.
    pub topics: u64,
    /// How long the answer took.
    pub elapsed_ms: u64,
}

impl Sample {
    /// Blocks.
    #[must_use]
    pub fn blocks(&self) -> u64 {
        self.to - self.from + 1
    }
}

/// What it would take and find. What is not known is not there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Estimate {
    /// `eth_getLogs`: one a range.
    pub log_requests: u64,
    /// `eth_getBlockByNumber`, a hundred in a batch.
    pub header_requests: u64,
    /// `eth_getBlockReceipts`: at least so many, for a bloom may say "perhaps".
    pub receipt_requests: Option<u64>,
    /// `eth_getBlockByHash` with all transactions, for watched senders.
    pub block_requests: u64,
    /// Wanted events on the chain.
    pub events: Option<u64>,
    /// Those that are not in the journal.
    pub missing: Option<u64>,
    /// JSON of logs and headers.
    pub received_bytes: Option<u64>,
    /// What the database grows by.
    pub stored_bytes: Option<u64>,
    /// How long it takes.
    pub seconds: Option<u64>,
    /// Whether that is by the pace of the chain's last backfill, not by how long the samples took.
    pub is_measured: bool,
}

/// What a backfill would be like.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Preview {
    /// What would be asked for.
    #[serde(flatten)]
    pub order: Order,
    /// How many blocks.
    pub blocks: u64,
    /// What it would prove.
    pub level: Completeness,
    /// What was asked for before, by address.
    pub coverage: Vec<Coverage>,
    /// What was looked at on the chain.
    pub samples: Vec<Sample>,
    /// Why nothing could be looked at.
    pub unsampled: Option<String>,
    /// What it would take and find.
    pub estimate: Estimate,
}

/// An unknown number is told as such.
struct Known(Option<u64>);

impl fmt::Display for Known {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(number) => write!(f, "about {number}"),
            None => f.write_str("not known"),
        }
    }
}

/// Bytes in the unit that fits.
struct Size(Option<u64>);

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            None => f.write_str("not known"),
            Some(bytes) if bytes < 10_000 => write!(f, "about {bytes} B"),
            Some(bytes) if bytes < 10_000_000 => write!(f, "about {} kB", bytes / 1_000),
            Some(bytes) if bytes < 10_000_000_000 => write!(f, "about {} MB", bytes / 1_000_000),
            Some(bytes) => write!(f, "about {} GB", bytes / 1_000_000_000),
        }
    }
}

impl fmt::Display for Preview {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { order, blocks, level, coverage, samples, unsampled, estimate } = self;
        writeln!(f, "{order}: {blocks} blocks, to be proven at level {level}")?;
        for Coverage { address, is_sender, wanted_blocks, covered_blocks, proven_blocks } in coverage {
            let what = if *is_sender { "transactions of" } else { "logs of" };
            writeln!(
                f,
                "  {what} {address:#x}: wanted in {wanted_blocks} blocks, {covered_blocks} were asked for it before, {proven_blocks} at this level"
            )?;
        }
        let total = |of: fn(&Sample) -> u64| samples.iter().map(of).sum::<u64>();
        match unsampled {
            Some(why) => writeln!(f, "  no range could be looked at: {why}")?,
            None => writeln!(
                f,
                "  looked at {} blocks in {} ranges: {} events, {} not in the journal",
                total(Sample::blocks),
                samples.len(),
                total(|sample| sample.events),
                total(|sample| sample.missing)
            )?,
        }
        writeln!(f, "estimates:")?;
        writeln!(f, "  events on the chain   {}", Known(estimate.events))?;
        writeln!(f, "  not in the journal    {}", Known(estimate.missing))?;
        writeln!(f, "  eth_getLogs           {}", Known(Some(estimate.log_requests)))?;
        writeln!(f, "  headers               {}", Known(Some(estimate.header_requests)))?;
        if estimate.receipt_requests != Some(0) {
            writeln!(f, "  receipts of blocks    {} or more", Known(estimate.receipt_requests))?;
        }
        if estimate.block_requests > 0 {
            writeln!(
                f,
                "  blocks with bodies    {}; what is missing of the senders' transactions is not estimated",
                Known(Some(estimate.block_requests))
            )?;
        }
        writeln!(f, "  logs and headers      {}", Size(estimate.received_bytes))?;
        writeln!(f, "  the database grows    {}", Size(estimate.stored_bytes))?;
        let basis = if estimate.is_measured {
            "by the pace of this chain's last backfill"
        } else {
            "by how long the ranges took that were looked at"
        };
        match estimate.seconds {
            Some(seconds) => {
                let (hours, minutes, seconds) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
                writeln!(f, "  time                  about {hours}:{minutes:02}:{seconds:02}, {basis}")
            }
            None => writeln!(f, "  time                  not known"),
        }
    }
}

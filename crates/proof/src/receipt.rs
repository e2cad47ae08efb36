//! One receipt: as consensus encodes it, and as nodes report it.

use alloy_primitives::{Address, B256, Bloom, Bytes};
use alloy_rlp::{Decodable, Encodable, Error};
use serde::Deserialize;

use crate::{
    bloom,
    hex::{self, Hex},
    log::{Log, MAX_TOPICS},
    rlp,
};

/// A transaction of Arbitrum from before Nitro, wrapped. In a block's trie it stands without its type.
pub(crate) const ARBITRUM_CLASSIC: u8 = 0x78;
/// Types end where the first byte of a list could begin (EIP-2718).
const LAST_TYPE: u8 = 0x7f;

/// What became of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Whether it succeeded (EIP-658, Byzantium).
    Status(bool),
    /// Root of the state after it; before Byzantium. Says nothing about success.
    StateRoot(B256),
}

/// What consensus keeps of a receipt: all that a receipts root covers, and nothing else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// Type of the transaction (EIP-2718).
    pub tx_type: u8,
    /// What became of it.
    pub outcome: Outcome,
    /// Gas used in the block up to and including this transaction.
    pub cumulative_gas_used: u64,
    /// Bloom filter over the logs.
    pub bloom: Bloom,
    /// What it emitted, in order.
    pub logs: Vec<Log>,
}

impl Receipt {
    /// Appends the encoding that the trie of receipts holds: the type, where there is one (EIP-2718), and the list of outcome,
    /// gas, bloom and logs. Types that are not known are written so too; that of classic Arbitrum is left out, as Nitro does.
    pub fn encode(&self, out: &mut Vec<u8>) {
        if self.tx_type != 0 && self.tx_type != ARBITRUM_CLASSIC {
            out.push(self.tx_type);
        }
        rlp::list(out, |out| {
            match self.outcome {
                Outcome::Status(success) => success.encode(out),
                Outcome::StateRoot(root) => root.encode(out),
            }
            self.cumulative_gas_used.encode(out);
            self.bloom.encode(out);
            rlp::list(out, |out| self.logs.iter().for_each(|log| log.encode(out)));
        });
    }

    /// Reads what [`Receipt::encode`] wrote. Without a type it is a receipt of type 0.
    ///
    /// # Errors
    /// Where the bytes are not the canonical encoding of a receipt.
    pub fn decode(bytes: &[u8]) -> Result<Self, Error> {
        let (tx_type, mut rest) = match bytes {
            [] => return Err(Error::InputTooShort),
            [0 | ARBITRUM_CLASSIC, ..] => return Err(Error::Custom("a type that is never written")),
            [tx_type @ ..=LAST_TYPE, rest @ ..] => (*tx_type, rest),
            list => (0, list),
        };
        let mut fields = rlp::take_list(&mut rest)?;
        rlp::end(rest)?;
        let outcome = match fields.first() {
            Some(0x01 | 0x80) => Outcome::Status(bool::decode(&mut fields)?),
            _ => Outcome::StateRoot(B256::decode(&mut fields)?),
        };
        let cumulative_gas_used = u64::decode(&mut fields)?;
        let bloom = Bloom::decode(&mut fields)?;
        let mut list = rlp::take_list(&mut fields)?;
        rlp::end(fields)?;
        let mut logs = Vec::new();
        while !list.is_empty() {
            logs.push(Log::decode(&mut list)?);
        }
        Ok(Self { tx_type, outcome, cumulative_gas_used, bloom, logs })
    }

    /// The bloom that the logs have, whatever the receipt says.
    #[must_use]
    pub fn bloom_of_logs(&self) -> Bloom {
        bloom::of_logs(self.logs.iter().map(|log| (log.address, log.topics.as_slice())))
    }
}

/// A receipt in the JSON of `eth_getBlockReceipts`: what consensus keeps, and what the node says about its place.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Wire")]
pub struct ReportedReceipt {
    /// What consensus keeps. Where the node gives no bloom it is made from the logs.
    pub receipt: Receipt,
    /// The block, as claimed.
    pub block_hash: B256,
    /// The transaction, as claimed: a receipts root does not cover it.
    pub tx_hash: B256,
    /// Position in the block, as claimed.
    pub tx_index: u32,
    /// Position of each log in the block, as claimed.
    pub log_indexes: Vec<u32>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Wire {
    #[serde(rename = "type", default, deserialize_with = "hex::or_default")]
    tx_type: u8,
    status: Option<Hex<u64>>,
    root: Option<Hex<Bytes>>,
    cumulative_gas_used: Hex<u64>,
    logs_bloom: Option<Hex<Bloom>>,
    logs: Vec<WireLog>,
    block_hash: Option<Hex<B256>>,
    transaction_hash: Hex<B256>,
    transaction_index: Option<Hex<u32>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireLog {
    address: Hex<Address>,
    #[serde(deserialize_with = "hex::list")]
    topics: Vec<B256>,
    data: Hex<Bytes>,
    log_index: Option<Hex<u32>>,
    #[serde(default)]
    removed: bool,
}

impl TryFrom<Wire> for ReportedReceipt {
    type Error = &'static str;

    fn try_from(wire: Wire) -> Result<Self, Self::Error> {
        if wire.tx_type > LAST_TYPE {
            return Err("a receipt of a type past 0x7f, which is none (EIP-2718)");
        }
        // Some nodes give a root of zeros, or none of bytes, beside the status.
        let root = wire.root.and_then(|root| B256::try_from(root.0.as_ref()).ok());
        let outcome = match (wire.status.map(|status| status.0), root) {
            (Some(0), _) => Outcome::Status(false),
            (Some(1), _) => Outcome::Status(true),
            (Some(_), _) => return Err("a receipt whose status is neither 0x0 nor 0x1"),
            (None, Some(root)) => Outcome::StateRoot(root),
            (None, None) => return Err("a receipt with neither a status nor a state root"),
        };
        let mut logs = Vec::with_capacity(wire.logs.len());
        let mut log_indexes = Vec::with_capacity(wire.logs.len());
        for log in wire.logs {
            if log.removed {
                return Err("a removed log in a receipt");
            }
            if log.topics.len() > MAX_TOPICS {
                return Err("a log with more than four topics");
            }
            logs.push(Log { address: log.address.0, topics: log.topics, data: log.data.0 });
            log_indexes.push(log.log_index.ok_or("a pending log (its logIndex is null)")?.0);
        }
        let mut receipt = Receipt {
            tx_type: wire.tx_type,
            outcome,
            cumulative_gas_used: wire.cumulative_gas_used.0,
            bloom: Bloom::ZERO,
            logs,
        };
        receipt.bloom = wire.logs_bloom.map_or_else(|| receipt.bloom_of_logs(), |bloom| bloom.0);
        Ok(Self {
            receipt,
            block_hash: wire.block_hash.ok_or("a receipt without a block (its blockHash is null)")?.0,
            tx_hash: wire.transaction_hash.0,
            tx_index: wire
                .transaction_index
                .ok_or("a receipt without a position (its transactionIndex is null)")?
                .0,
            log_indexes,
        })
    }
}

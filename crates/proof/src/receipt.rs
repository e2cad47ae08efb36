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

#[cfg(test)]
mod tests {
    use super::*;

    /// A receipt as nodes tell it, with one log of two topics.
    fn golden() -> String {
        format!(
            r#"{{"type":"0x2","status":"0x1","root":"0x","cumulativeGasUsed":"0xa410","transactionHash":"0x{}","transactionIndex":"0x1",
            "blockHash":"0x{}","gasUsed":"0x5208","logs":[{{"address":"0x{}","topics":["0x{}","0x{}"],"data":"0x0102",
            "logIndex":"0x12","removed":false}}]}}"#,
            "b1".repeat(32),
            "a1".repeat(32),
            "ca".repeat(20),
            "01".repeat(32),
            "02".repeat(32),
        )
        .replace('\n', "")
    }

    fn read(json: &str) -> Result<ReportedReceipt, String> {
        serde_json::from_str(json).map_err(|error| error.to_string())
    }

    #[test]
    fn a_receipt_is_read_with_every_field() {
        let reported = read(&golden()).unwrap();
        assert_eq!(reported.block_hash, B256::repeat_byte(0xa1));
        assert_eq!(reported.tx_hash, B256::repeat_byte(0xb1));
        assert_eq!((reported.tx_index, reported.log_indexes), (1, vec![0x12]));
        let log = Log {
            address: Address::repeat_byte(0xca),
            topics: vec![B256::repeat_byte(1), B256::repeat_byte(2)],
            data: Bytes::from_static(&[1, 2]),
        };
        let bloom = bloom::of_logs([(log.address, log.topics.as_slice())]);
        let outcome = Outcome::Status(true);
        let expected = Receipt { tx_type: 2, outcome, cumulative_gas_used: 0xa410, bloom, logs: vec![log] };
        assert_eq!(reported.receipt, expected);
    }

    #[test]
    fn the_outcome_is_the_status_where_there_is_one_else_the_root() {
        let root = format!(r#""root":"0x{}""#, "ee".repeat(32));
        let outcome = |json: &str| read(json).unwrap().receipt.outcome;
        let both = golden().replace(r#""root":"0x""#, &root);
        assert_eq!(outcome(&both), Outcome::Status(true));
        assert_eq!(
            outcome(&golden().replace(r#""status":"0x1""#, r#""status":"0x0""#)),
            Outcome::Status(false)
        );
        let rooted = both.replace(r#""status":"0x1""#, r#""status":null"#);
        assert_eq!(outcome(&rooted), Outcome::StateRoot(B256::repeat_byte(0xee)));
    }

    #[test]
    fn a_bloom_that_is_told_is_kept_whatever_the_logs_say() {
        let told =
            golden().replace(r#""logs":"#, &format!(r#""logsBloom":"0x{}","logs":"#, "00".repeat(256)));
        let receipt = read(&told).unwrap().receipt;
        assert_eq!(receipt.bloom, Bloom::ZERO);
        assert_ne!(receipt.bloom_of_logs(), Bloom::ZERO);
    }

    #[test]
    fn what_no_block_has_is_refused() {
        let topic = format!(r#""0x{}""#, "01".repeat(32));
        let five = [topic.as_str(); 5].join(",");
        for (from, to, complaint) in [
            (r#""status":"0x1""#, r#""status":null"#, "neither a status nor a state root"),
            (r#""status":"0x1""#, r#""status":"0x2""#, "neither 0x0 nor 0x1"),
            (r#""type":"0x2""#, r#""type":"0x80""#, "past 0x7f"),
            (r#""logIndex":"0x12""#, r#""logIndex":null"#, "pending log"),
            (r#""removed":false"#, r#""removed":true"#, "removed log"),
            (topic.as_str(), five.as_str(), "more than four topics"),
            (r#""transactionIndex":"0x1""#, r#""transactionIndex":null"#, "without a position"),
        ] {
            assert!(golden().contains(from), "{from}");
            let error = read(&golden().replace(from, to)).unwrap_err();
            assert!(error.contains(complaint), "{to}: {error}");
        }
        let nowhere =
            golden().replace(&format!(r#""blockHash":"0x{}""#, "a1".repeat(32)), r#""blockHash":null"#);
        assert!(read(&nowhere).unwrap_err().contains("without a block"));
    }

    #[test]
    fn bytes_that_are_no_receipt_are_refused() {
        let mut bytes = Vec::new();
        read(&golden()).unwrap().receipt.encode(&mut bytes);
        let with_type = |tx_type: u8| [&[tx_type], &bytes[1..]].concat();
        for (what, bytes) in [
            ("nothing", Vec::new()),
            ("a type alone", vec![2]),
            ("type 0, which is never written", with_type(0)),
            ("classic Arbitrum, which is never written", with_type(ARBITRUM_CLASSIC)),
            ("a string", with_type(0x80)),
            ("cut off", bytes[..bytes.len() - 1].to_vec()),
            ("with a byte behind it", [bytes.as_slice(), &[0]].concat()),
        ] {
            assert!(Receipt::decode(&bytes).is_err(), "{what}");
        }
        assert!(Receipt::decode(&with_type(0x7f)).is_ok(), "a type that nobody knows yet");
    }
}

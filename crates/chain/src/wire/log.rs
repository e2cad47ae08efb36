//! Logs and the filter that asks for them.

use std::{fmt, ops::Deref};

use alloy_primitives::{Address, B256, Bytes, U256};
use plimsoll_proof::hex::Hex;
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{Error, SeqAccess, Visitor},
    ser::SerializeMap,
};

/// The EVM has LOG0 to LOG4.
pub const MAX_TOPICS: usize = 4;

/// A log's topics, inline.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Topics {
    len: u8,
    words: [B256; MAX_TOPICS],
}

impl Topics {
    /// The topics, or `None` if there are more than [`MAX_TOPICS`].
    #[must_use]
    pub fn new(topics: &[B256]) -> Option<Self> {
        let mut words = [B256::ZERO; MAX_TOPICS];
        words.get_mut(..topics.len())?.copy_from_slice(topics);
        Some(Self { len: u8::try_from(topics.len()).ok()?, words })
    }
}

impl Deref for Topics {
    type Target = [B256];

    fn deref(&self) -> &[B256] {
        &self.words[..usize::from(self.len)]
    }
}

impl fmt::Debug for Topics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl<'de> Deserialize<'de> for Topics {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct List;

        impl<'de> Visitor<'de> for List {
            type Value = Topics;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "a list of at most {MAX_TOPICS} topics")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Topics, A::Error> {
                let mut topics = Topics::default();
                while let Some(Hex(topic)) = list.next_element::<Hex<B256>>()? {
                    *topics
                        .words
                        .get_mut(usize::from(topics.len))
                        .ok_or_else(|| A::Error::custom("a log with more than four topics"))? = topic;
                    topics.len += 1;
                }
                Ok(topics)
            }
        }

        deserializer.deserialize_seq(List)
    }
}

/// A log that is in a block. Pending and removed logs do not decode.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "WireLog")]
pub struct Log {
    /// Height of the block.
    pub block_number: u64,
    /// Hash of the block.
    pub block_hash: B256,
    /// Seconds since the Unix epoch, where the node says it with the log.
    pub block_timestamp: Option<u64>,
    /// The transaction that emitted it.
    pub tx_hash: B256,
    /// Position of that transaction in the block.
    pub tx_index: u32,
    /// Position of the log in the block, over all transactions.
    pub log_index: u32,
    /// The contract that emitted it.
    pub address: Address,
    /// Signature hash and indexed arguments.
    pub topics: Topics,
    /// The other arguments, ABI encoded.
    pub data: Bytes,
    /// Always false: an answer with a removed log is refused.
    pub removed: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireLog {
    address: Hex<Address>,
    topics: Topics,
    data: Hex<Bytes>,
    block_hash: Option<Hex<B256>>,
    block_number: Option<Hex<u64>>,
    block_timestamp: Option<Hex<u64>>,
    transaction_hash: Option<Hex<B256>>,
    transaction_index: Option<Hex<u32>>,
    log_index: Option<Hex<u32>>,
    #[serde(default)]
    removed: bool,
}

impl TryFrom<WireLog> for Log {
    type Error = &'static str;

    fn try_from(wire: WireLog) -> Result<Self, Self::Error> {
        if wire.removed {
            return Err("a removed log in an answer about the canonical chain");
        }
        Ok(Self {
            block_number: wire.block_number.ok_or("a pending log (its blockNumber is null)")?.0,
            block_hash: wire.block_hash.ok_or("a pending log (its blockHash is null)")?.0,
            block_timestamp: wire.block_timestamp.map(|timestamp| timestamp.0),
            tx_hash: wire.transaction_hash.ok_or("a pending log (its transactionHash is null)")?.0,
            tx_index: wire.transaction_index.ok_or("a pending log (its transactionIndex is null)")?.0,
            log_index: wire.log_index.ok_or("a pending log (its logIndex is null)")?.0,
            address: wire.address.0,
            topics: wire.topics,
            data: wire.data.0,
            removed: false,
        })
    }
}

/// Which logs are wanted. An empty list means "any".
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LogFilter {
    /// The contracts; empty: any.
    pub addresses: Vec<Address>,
    /// The first topics (event signatures); empty: any.
    pub topic0: Vec<B256>,
}

impl LogFilter {
    /// Every log of these contracts.
    #[must_use]
    pub fn of_addresses(addresses: impl IntoIterator<Item = Address>) -> Self {
        Self { addresses: addresses.into_iter().collect(), topic0: Vec::new() }
    }

    /// Whether a log of this contract with these topics is wanted.
    #[must_use]
    pub fn admits(&self, address: &Address, topics: &[B256]) -> bool {
        (self.addresses.is_empty() || self.addresses.contains(address))
            && (self.topic0.is_empty() || topics.first().is_some_and(|topic| self.topic0.contains(topic)))
    }

    /// The filter for the blocks `from..=to`, as `eth_getLogs` takes it.
    pub(crate) fn in_range(&self, from: u64, to: u64) -> impl Serialize + '_ {
        WireFilter { filter: self, blocks: Blocks::Range(from, to) }
    }

    /// The filter for one block, as `eth_getLogs` takes it (EIP-234).
    pub(crate) fn of_block(&self, hash: B256) -> impl Serialize + '_ {
        WireFilter { filter: self, blocks: Blocks::Hash(hash) }
    }
}

enum Blocks {
    Range(u64, u64),
    Hash(B256),
}

struct WireFilter<'a> {
    filter: &'a LogFilter,
    blocks: Blocks,
}

impl Serialize for WireFilter<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        match self.blocks {
            Blocks::Range(from, to) => {
                map.serialize_entry("fromBlock", &U256::from(from))?;
                map.serialize_entry("toBlock", &U256::from(to))?;
            }
            Blocks::Hash(hash) => map.serialize_entry("blockHash", &hash)?,
        }
        if !self.filter.addresses.is_empty() {
            map.serialize_entry("address", &self.filter.addresses)?;
        }
        if !self.filter.topic0.is_empty() {
            map.serialize_entry("topics", &[&self.filter.topic0])?;
        }
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn golden() -> String {
        format!(
            r#"{{"address":"0x{}","topics":["0x{}","0x{}"],"data":"0x0102","blockHash":"0x{}","blockNumber":"0x7",
            "blockTimestamp":"0x6b00a99e","transactionHash":"0x{}","transactionIndex":"0x1","logIndex":"0x12",
            "removed":false,"somethingNew":{{"nested":[1,2]}}}}"#,
            "cA".repeat(20),
            "01".repeat(32),
            "02".repeat(32),
            "a1".repeat(32),
            "b1".repeat(32),
        )
    }

    #[test]
    fn a_log_is_read_with_every_field() {
        let log: Log = serde_json::from_str(&golden()).unwrap();
        assert_eq!(
            log,
            Log {
                block_number: 7,
                block_hash: B256::repeat_byte(0xa1),
                block_timestamp: Some(0x6b00_a99e),
                tx_hash: B256::repeat_byte(0xb1),
                tx_index: 1,
                log_index: 18,
                address: Address::repeat_byte(0xca),
                topics: Topics::new(&[B256::repeat_byte(1), B256::repeat_byte(2)]).unwrap(),
                data: Bytes::from_static(&[1, 2]),
                removed: false,
            }
        );
    }

    #[test]
    fn pending_and_removed_logs_are_refused() {
        let cases = [
            (r#""blockNumber":"0x7""#, r#""blockNumber":null"#, "blockNumber is null"),
            (r#""logIndex":"0x12""#, r#""logIndex":null"#, "logIndex is null"),
            (r#""logIndex":"0x12","#, "", "logIndex is null"),
            (r#""removed":false"#, r#""removed":true"#, "removed log"),
        ];
        for (from, to, expected) in cases {
            let json = golden().replace("\n", "").replace(from, to);
            assert_ne!(json, golden().replace("\n", ""));
            let error = serde_json::from_str::<Log>(&json).unwrap_err().to_string();
            assert!(error.contains(expected), "{to}: {error}");
        }
    }

    #[test]
    fn a_fifth_topic_is_refused() {
        let topic = format!("\"0x{}\"", "01".repeat(32));
        let four = format!("[{}]", [topic.as_str(); 4].join(","));
        let five = format!("[{}]", [topic.as_str(); 5].join(","));
        assert_eq!(serde_json::from_str::<Topics>(&four).unwrap().len(), 4);
        assert!(serde_json::from_str::<Topics>(&five).is_err());
        assert!(Topics::new(&[B256::ZERO; 5]).is_none());
    }

    #[test]
    fn filters_are_written_as_nodes_expect_them() {
        let any = LogFilter::default();
        assert_eq!(
            serde_json::to_string(&any.in_range(0, 255)).unwrap(),
            r#"{"fromBlock":"0x0","toBlock":"0xff"}"#
        );

        let address = Address::repeat_byte(0x11);
        let topic = B256::repeat_byte(0x22);
        let some = LogFilter { addresses: vec![address], topic0: vec![topic] };
        assert_eq!(
            serde_json::to_string(&some.of_block(B256::repeat_byte(0xa1))).unwrap(),
            format!(
                r#"{{"blockHash":"0x{}","address":["0x{}"],"topics":[["0x{}"]]}}"#,
                "a1".repeat(32),
                "11".repeat(20),
                "22".repeat(32)
            )
        );
        assert!(some.admits(&address, &[topic]));
        assert!(!some.admits(&address, &[]));
        assert!(!some.admits(&Address::ZERO, &[topic]));
        assert!(any.admits(&Address::ZERO, &[]));
    }
}

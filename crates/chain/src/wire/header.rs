//! A block's header.

use alloy_primitives::{B256, Bloom};
use serde::Deserialize;

use super::hex::Hex;

/// A block's header, as the node told it. Its hash is not recomputed: chains add header fields of their own.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "WireHeader")]
pub struct Header {
    /// Height.
    pub number: u64,
    /// Hash of this block.
    pub hash: B256,
    /// Hash of the block before.
    pub parent_hash: B256,
    /// Seconds since the Unix epoch.
    pub timestamp: u64,
    /// Bloom filter over the addresses and topics of the block's logs.
    pub logs_bloom: Bloom,
    /// Root of the trie of receipts.
    pub receipts_root: B256,
    /// Root of the trie of transactions.
    pub transactions_root: B256,
    /// Root of the state after this block.
    pub state_root: B256,
    /// Gas used by the block's transactions.
    pub gas_used: u64,
    /// Upper bound of `gas_used`.
    pub gas_limit: u64,
    /// Base fee, wei per gas; none before EIP-1559.
    pub base_fee_per_gas: Option<u128>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct WireHeader {
    number: Option<Hex<u64>>,
    hash: Option<Hex<B256>>,
    parent_hash: Hex<B256>,
    timestamp: Hex<u64>,
    logs_bloom: Option<Hex<alloy_primitives::FixedBytes<256>>>,
    receipts_root: Hex<B256>,
    transactions_root: Hex<B256>,
    state_root: Hex<B256>,
    gas_used: Hex<u64>,
    gas_limit: Hex<u64>,
    base_fee_per_gas: Option<Hex<u128>>,
}

impl TryFrom<WireHeader> for Header {
    type Error = &'static str;

    fn try_from(wire: WireHeader) -> Result<Self, Self::Error> {
        Ok(Self {
            number: wire.number.ok_or("a pending block (its number is null)")?.0,
            hash: wire.hash.ok_or("a pending block (its hash is null)")?.0,
            parent_hash: wire.parent_hash.0,
            timestamp: wire.timestamp.0,
            logs_bloom: Bloom(wire.logs_bloom.ok_or("a pending block (its logsBloom is null)")?.0),
            receipts_root: wire.receipts_root.0,
            transactions_root: wire.transactions_root.0,
            state_root: wire.state_root.0,
            gas_used: wire.gas_used.0,
            gas_limit: wire.gas_limit.0,
            base_fee_per_gas: wire.base_fee_per_gas.map(|fee| fee.0),
        })
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A header as nodes send it, with `transactions` set to the given JSON.
    pub(crate) fn golden(number: u64, transactions: &str) -> String {
        let word = |byte: &str| format!("0x{}", byte.repeat(32));
        format!(
            r#"{{"hash":"{}","parentHash":"{}","sha3Uncles":"{}","miner":"0x0000000000000000000000000000000000000000",
            "stateRoot":"{}","transactionsRoot":"{}","receiptsRoot":"{}","logsBloom":"0x{}","difficulty":"0x0",
            "number":"{number:#x}","gasLimit":"0x1c9c380","gasUsed":"0x5208","timestamp":"0x6b00a99e","extraData":"0x",
            "baseFeePerGas":"0x3b9aca00","size":"0x267","uncles":[],"transactions":{transactions},"withdrawals":[]}}"#,
            word("a1"),
            word("a0"),
            word("1d"),
            word("c0"),
            word("c1"),
            word("c2"),
            "00".repeat(256),
        )
    }

    #[test]
    fn a_header_is_read_with_every_field() {
        let header: Header = serde_json::from_str(&golden(7, "[]")).unwrap();
        assert_eq!(
            header,
            Header {
                number: 7,
                hash: B256::repeat_byte(0xa1),
                parent_hash: B256::repeat_byte(0xa0),
                timestamp: 0x6b00_a99e,
                logs_bloom: Bloom::ZERO,
                receipts_root: B256::repeat_byte(0xc2),
                transactions_root: B256::repeat_byte(0xc1),
                state_root: B256::repeat_byte(0xc0),
                gas_used: 21_000,
                gas_limit: 30_000_000,
                base_fee_per_gas: Some(1_000_000_000),
            }
        );
    }

    #[test]
    fn a_pending_block_is_refused() {
        let json = golden(7, "[]").replace(r#""number":"0x7""#, r#""number":null"#);
        let error = serde_json::from_str::<Header>(&json).unwrap_err().to_string();
        assert!(error.contains("pending block"), "{error}");
    }
}

//! A block with the summary of its transactions.

use alloy_primitives::{Address, B256, Bytes};
use serde::Deserialize;

use plimsoll_proof::Header;
use plimsoll_proof::hex::Hex;

/// A block and, of each of its transactions, who sent it where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// The block's header.
    pub header: Header,
    /// Its transactions in order: `transactions[i].index == i`.
    pub transactions: Vec<TxSummary>,
}

/// What Plimsoll needs of a transaction to know whose it is.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "WireTx")]
pub struct TxSummary {
    /// Hash of the transaction.
    pub hash: B256,
    /// Position in its block.
    pub index: u32,
    /// Sender.
    pub from: Address,
    /// Recipient; none when it creates a contract.
    pub to: Option<Address>,
    /// The sender's nonce.
    pub nonce: u64,
    /// Calldata.
    pub input: Bytes,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireTx {
    hash: Hex<B256>,
    transaction_index: Option<Hex<u32>>,
    from: Hex<Address>,
    to: Option<Hex<Address>>,
    nonce: Hex<u64>,
    input: Hex<Bytes>,
}

impl TryFrom<WireTx> for TxSummary {
    type Error = &'static str;

    fn try_from(wire: WireTx) -> Result<Self, Self::Error> {
        Ok(Self {
            hash: wire.hash.0,
            index: wire.transaction_index.ok_or("a pending transaction (its transactionIndex is null)")?.0,
            from: wire.from.0,
            to: wire.to.map(|to| to.0),
            nonce: wire.nonce.0,
            input: wire.input.0,
        })
    }
}

/// The list of a block's transactions; the header is read from the same text in a second pass, which costs
/// less than buffering the object to flatten one struct into another.
#[derive(Deserialize)]
pub(crate) struct Transactions {
    pub(crate) transactions: Vec<TxSummary>,
}

impl<'de> Deserialize<'de> for Block {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use serde::de::Error;

        let raw = <&serde_json::value::RawValue>::deserialize(deserializer)?;
        let header: Header = serde_json::from_str(raw.get()).map_err(D::Error::custom)?;
        let Transactions { transactions } = serde_json::from_str(raw.get()).map_err(D::Error::custom)?;
        if let Some((expected, _)) = transactions.iter().enumerate().find(|(i, tx)| tx.index as usize != *i) {
            return Err(D::Error::custom(format_args!(
                "transaction {expected} of the block is missing or displaced"
            )));
        }
        Ok(Self { header, transactions })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A header as nodes send it, with `transactions` set to the given JSON.
    fn golden(number: u64, transactions: &str) -> String {
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

    fn tx(index: u32, to: &str) -> String {
        format!(
            r#"{{"type":"0x2","chainId":"0x7a69","nonce":"0x5","gas":"0x5208","to":{to},"value":"0x0","accessList":[],
            "input":"0xdeadbeef","hash":"0x{}","blockHash":"0x{}","blockNumber":"0x7","transactionIndex":"{index:#x}",
            "from":"0x{}","gasPrice":"0x1","r":"0x1","s":"0x2","yParity":"0x0"}}"#,
            "b1".repeat(32),
            "a1".repeat(32),
            "f0".repeat(20),
        )
    }

    #[test]
    fn a_block_is_read_with_its_transactions_in_order() {
        let to = format!("\"0x{}\"", "70".repeat(20));
        let json = golden(7, &format!("[{},{}]", tx(0, &to), tx(1, "null")));
        let block: Block = serde_json::from_str(&json).unwrap();
        assert_eq!(block.header.number, 7);
        assert_eq!(block.transactions.len(), 2);
        assert_eq!(block.transactions[0].to, Some(Address::repeat_byte(0x70)));
        assert_eq!(block.transactions[0].nonce, 5);
        assert_eq!(block.transactions[0].input, Bytes::from_static(&[0xde, 0xad, 0xbe, 0xef]));
        assert_eq!(block.transactions[1].to, None);
        assert_eq!(block.transactions[1].from, Address::repeat_byte(0xf0));
    }

    #[test]
    fn a_pending_block_is_refused() {
        let json = golden(7, "[]").replace(r#""number":"0x7""#, r#""number":null"#);
        let error = serde_json::from_str::<Block>(&json).unwrap_err().to_string();
        assert!(error.contains("pending block"), "{error}");
    }

    #[test]
    fn a_block_with_a_displaced_transaction_is_refused() {
        let json = golden(7, &format!("[{}]", tx(1, "null")));
        let error = serde_json::from_str::<Block>(&json).unwrap_err().to_string();
        assert!(error.contains("missing or displaced"), "{error}");
    }
}

//! What a node says of a sender, of what it would send, and of what it has sent.
//!
//! These are answers of one node at its newest block, which it names; another node may be elsewhere. Balance and counts are asked for
//! together with the head and after it, so they are of that block or of one that came while the node answered.

use alloy_primitives::{Address, B256, Bytes, U256};
use plimsoll_proof::hex::{FromHexDigits, Hex};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{BLOCK_BY_NUMBER, Rpc, state::BALANCE};
use crate::{
    Header,
    client::OnTimeout,
    error::{CallError, ErrorClass, Method, RpcError},
};

const TRANSACTION_COUNT: Method = Method::Borrowed("eth_getTransactionCount");
const ESTIMATE_GAS: Method = Method::Borrowed("eth_estimateGas");
const TRANSACTION_BY_HASH: Method = Method::Borrowed("eth_getTransactionByHash");

/// What one node said when this block was its newest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AtHead<T> {
    /// What it said.
    pub value: T,
    /// Height of the block.
    pub block_number: u64,
    /// Hash of the block.
    pub block_hash: B256,
}

/// How many transactions a sender has sent, which is its next nonce.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TransactionCounts {
    /// In blocks, up to the newest.
    pub latest: u64,
    /// With what waits in this node's pool without a gap. As the node says: nodes have been seen to answer less than `latest`.
    pub pending: u64,
}

/// A transaction before it is signed, as far as the EVM needs it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct UnsignedTransaction {
    /// Sender.
    pub from: Address,
    /// Recipient; none: it creates a contract.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<Address>,
    /// Wei that go with it.
    pub value: U256,
    /// Calldata, or creation code.
    pub data: Bytes,
}

/// A block and a place in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockPlace {
    /// Height of the block.
    pub block_number: u64,
    /// Hash of the block.
    pub block_hash: B256,
    /// Position in the block.
    pub tx_index: u32,
}

/// A transaction that a node knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KnownTransaction {
    /// Sender.
    pub from: Address,
    /// The sender's nonce.
    pub nonce: u64,
    /// Where it is; none: in the node's pool.
    pub place: Option<BlockPlace>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireTransaction {
    hash: Hex<B256>,
    from: Hex<Address>,
    nonce: Hex<u64>,
    block_hash: Option<Hex<B256>>,
    block_number: Option<Hex<u64>>,
    transaction_index: Option<Hex<u32>>,
}

impl WireTransaction {
    /// A hash is what decides: some nodes give a waiting transaction the number of a block to come.
    fn known(self) -> Result<KnownTransaction, &'static str> {
        let place = match (self.block_hash, self.block_number, self.transaction_index) {
            (None, _, _) => None,
            (Some(hash), Some(number), Some(index)) => {
                Some(BlockPlace { block_number: number.0, block_hash: hash.0, tx_index: index.0 })
            }
            (Some(_), _, _) => {
                return Err("a transaction with a block's hash, without its number or a place");
            }
        };
        Ok(KnownTransaction { from: self.from.0, nonce: self.nonce.0, place })
    }
}

impl Rpc {
    /// How many transactions an address has sent, in blocks and with the pool, by one node at one moment.
    ///
    /// # Errors
    /// See [`RpcError::class`].
    pub async fn transaction_counts(&self, address: Address) -> Result<AtHead<TransactionCounts>, RpcError> {
        let question = |tag: &str| {
            let params = self.client.params(&TRANSACTION_COUNT, &(address, tag))?;
            Ok((&TRANSACTION_COUNT, params))
        };
        let questions = [self.newest()?, question("latest")?, question("pending")?];
        let [head, latest, pending] =
            self.client.ask_together(&TRANSACTION_COUNT, questions, OnTimeout::Retry).await?;
        let latest = self.quantity(&TRANSACTION_COUNT, latest).await?;
        let pending = self.quantity(&TRANSACTION_COUNT, pending).await?;
        self.at_head(head, TransactionCounts { latest, pending }).await
    }

    /// An address's native balance after the newest block, in wei.
    ///
    /// # Errors
    /// See [`RpcError::class`].
    pub async fn balance(&self, address: Address) -> Result<AtHead<U256>, RpcError> {
        let question = (&BALANCE, self.client.params(&BALANCE, &(address, "latest"))?);
        let questions = [self.newest()?, question];
        let [head, balance] = self.client.ask_together(&BALANCE, questions, OnTimeout::Retry).await?;
        let balance = self.quantity(&BALANCE, balance).await?;
        self.at_head(head, balance).await
    }

    /// The gas that a transaction would need on the state after the newest block, as the node estimates it: on another state it may be
    /// more. Or why the node gives none: it reverts, with the reason's bytes, or the node would not run it (an empty account, say).
    ///
    /// # Errors
    /// See [`RpcError::class`]: the node did not answer the question.
    pub async fn estimate_gas(
        &self,
        transaction: &UnsignedTransaction,
    ) -> Result<Result<u64, CallError>, RpcError> {
        let params = vec![self.client.params(&ESTIMATE_GAS, &(transaction, "latest"))?];
        let is_its_own = |class| class == ErrorClass::Rejected;
        let mut one = self.each(&ESTIMATE_GAS, params, OnTimeout::Retry, is_its_own).await?;
        Ok(one.pop().expect("one answer for one question"))
    }

    /// Whether the node knows a transaction, and where it is. None says that this node does not know it now: it may be in another's pool,
    /// and it may have been in this one's.
    ///
    /// # Errors
    /// See [`RpcError::class`].
    pub async fn transaction_by_hash(&self, hash: B256) -> Result<Option<KnownTransaction>, RpcError> {
        let told: Option<WireTransaction> = self.one(&TRANSACTION_BY_HASH, &[hash]).await?;
        let Some(told) = told else { return Ok(None) };
        if told.hash.0 != hash {
            let what = format!("asked for transaction {hash}, got {}", told.hash.0);
            return Err(self.client.malformed(&TRANSACTION_BY_HASH, what, ""));
        }
        told.known().map(Some).map_err(|what| self.client.malformed(&TRANSACTION_BY_HASH, what, ""))
    }

    fn newest(&self) -> Result<(&'static Method, Box<RawValue>), RpcError> {
        Ok((&BLOCK_BY_NUMBER, self.client.params(&BLOCK_BY_NUMBER, &("latest", false))?))
    }

    async fn quantity<T>(&self, method: &Method, raw: Box<RawValue>) -> Result<T, RpcError>
    where
        T: FromHexDigits + Send + 'static,
    {
        Ok(self.client.decode::<Hex<T>>(method, raw).await?.0)
    }

    async fn at_head<T>(&self, head: Box<RawValue>, value: T) -> Result<AtHead<T>, RpcError> {
        let head: Header = self.client.decode(&BLOCK_BY_NUMBER, head).await?;
        self.client.health().saw_head(head.number, head.timestamp);
        Ok(AtHead { value, block_number: head.number, block_hash: head.hash })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(block: &str) -> Result<KnownTransaction, String> {
        let json = format!(
            r#"{{"hash":"0x{}","from":"0x{}","nonce":"0x7",{block},"input":"0x00","yParity":"0x0"}}"#,
            "b1".repeat(32),
            "f0".repeat(20),
        );
        let wire: WireTransaction = serde_json::from_str(&json).map_err(|error| error.to_string())?;
        wire.known().map_err(str::to_owned)
    }

    #[test]
    fn a_transaction_is_in_a_block_or_waits_and_nothing_between() {
        let hash = format!("\"0x{}\"", "a1".repeat(32));
        let of = |place| KnownTransaction { from: Address::repeat_byte(0xf0), nonce: 7, place };
        let mined =
            told(&format!(r#""blockHash":{hash},"blockNumber":"0x9","transactionIndex":"0x2""#)).unwrap();
        let place = BlockPlace { block_number: 9, block_hash: B256::repeat_byte(0xa1), tx_index: 2 };
        assert_eq!(mined, of(Some(place)));
        for waiting in [
            r#""blockHash":null,"blockNumber":null,"transactionIndex":null"#,
            r#""blockHash":null,"blockNumber":"0x9","transactionIndex":"0x0""#,
            r#""type":"0x2""#,
        ] {
            assert_eq!(told(waiting).unwrap(), of(None), "{waiting}");
        }
        for half in [
            format!(r#""blockHash":{hash},"blockNumber":null,"transactionIndex":"0x0""#),
            format!(r#""blockHash":{hash},"blockNumber":"0x9""#),
        ] {
            assert!(told(&half).unwrap_err().contains("without its number"), "{half}");
        }
    }

    #[test]
    fn a_call_is_written_as_nodes_read_it() {
        let create = UnsignedTransaction {
            from: Address::repeat_byte(1),
            to: None,
            value: U256::from(16),
            data: Bytes::from_static(&[0xfe]),
        };
        let from = create.from;
        assert_eq!(
            serde_json::to_value(&create).unwrap(),
            serde_json::json!({ "from": from, "value": "0x10", "data": "0xfe" })
        );
        let to = Some(Address::repeat_byte(2));
        let json = serde_json::to_value(UnsignedTransaction { to, value: U256::ZERO, ..create }).unwrap();
        assert_eq!((&json["to"], &json["value"]), (&serde_json::json!(to), &serde_json::json!("0x0")));
    }
}

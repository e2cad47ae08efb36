//! A plain JSON-RPC client: one request, one answer, every failure told.
//!
//! Not Plimsoll's own client, so that what is compared with Plimsoll does not share its mistakes.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use alloy_primitives::{Address, B256, Bytes, U256};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// A node that does not answer for so long is stalled or gone.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Why a request has no result.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// The node could not be reached, or did not answer in time.
    #[error("{method} at {url}: no answer: {source}")]
    Unreachable {
        /// What was asked.
        method: String,
        /// Where.
        url: String,
        /// Why.
        source: reqwest::Error,
    },
    /// The node answered with an error.
    #[error("{method}: the node refuses: {message} (code {code})")]
    Refused {
        /// What was asked.
        method: String,
        /// JSON-RPC error code.
        code: i64,
        /// The node's text.
        message: String,
        /// The error's data, where it carries some: an `eth_call`'s revert bytes.
        data: Option<Box<Value>>,
    },
    /// The answer is not what the method returns.
    #[error("{method}: the node's answer cannot be read: {reason}: {answer}")]
    Malformed {
        /// What was asked.
        method: String,
        /// Why.
        reason: String,
        /// The answer's beginning.
        answer: String,
    },
    /// A transaction that should have succeeded did not.
    #[error("{what}: the transaction {tx_hash} reverted")]
    Reverted {
        /// What it was for.
        what: String,
        /// The transaction.
        tx_hash: B256,
    },
}

/// A node's HTTP endpoint. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Node {
    url: Arc<str>,
    http: reqwest::Client,
    next_id: Arc<AtomicU64>,
}

/// A transaction for an account that the node signs for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// Sender.
    pub from: Address,
    /// Recipient; none creates a contract.
    pub to: Option<Address>,
    /// Calldata, or the contract's creation code.
    pub data: Bytes,
}

/// Enough for any call of the test contracts and for creating one; given so that the node need not estimate.
const CALL_GAS: u64 = 6_000_000;

impl Call {
    /// The transaction as the node takes it.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let mut call = json!({ "from": self.from, "data": self.data, "gas": format!("{CALL_GAS:#x}") });
        if let Some(to) = self.to {
            call["to"] = json!(to);
        }
        call
    }
}

impl Node {
    /// A client for the node at this URL. Nothing is sent yet.
    ///
    /// # Panics
    ///
    /// When the HTTP client cannot be built, which means that the TLS library cannot start.
    #[must_use]
    pub fn new(url: &str) -> Self {
        let http =
            reqwest::Client::builder().timeout(TIMEOUT).build().expect("an HTTP client with plain settings");
        Self { url: url.into(), http, next_id: Arc::new(AtomicU64::new(1)) }
    }

    /// Where it is.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Asks, and reads the result as `T`.
    pub async fn request<T: DeserializeOwned>(&self, method: &str, params: Value) -> Result<T, NodeError> {
        let result = self.raw(method, params).await?;
        let shown = || result.to_string().chars().take(300).collect();
        T::deserialize(&result).map_err(|error| NodeError::Malformed {
            method: method.into(),
            reason: error.to_string(),
            answer: shown(),
        })
    }

    /// Asks, and returns the result as it is.
    pub async fn raw(&self, method: &str, params: Value) -> Result<Value, NodeError> {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let body = json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params }).to_string();
        let unreachable =
            |source| NodeError::Unreachable { method: method.into(), url: self.url.to_string(), source };
        let response = self
            .http
            .post(&*self.url)
            .header("content-type", "application/json")
            .body(body)
            .send()
            .await
            .map_err(unreachable)?;
        let bytes = response.bytes().await.map_err(unreachable)?;
        let malformed = |reason: String| NodeError::Malformed {
            method: method.into(),
            reason,
            answer: String::from_utf8_lossy(&bytes).chars().take(300).collect(),
        };
        let mut answer: Value =
            serde_json::from_slice(&bytes).map_err(|error| malformed(error.to_string()))?;
        if let Some(error) = answer.get("error") {
            return Err(NodeError::Refused {
                method: method.into(),
                code: error["code"].as_i64().unwrap_or_default(),
                message: error["message"].as_str().unwrap_or_default().into(),
                data: error.get("data").cloned().map(Box::new),
            });
        }
        match answer.get_mut("result") {
            Some(result) => Ok(result.take()),
            None => Err(malformed("neither `result` nor `error`".into())),
        }
    }

    /// `eth_chainId`.
    pub async fn chain_id(&self) -> Result<u64, NodeError> {
        self.quantity("eth_chainId", json!([])).await
    }

    /// `eth_blockNumber`.
    pub async fn block_number(&self) -> Result<u64, NodeError> {
        self.quantity("eth_blockNumber", json!([])).await
    }

    /// Hash of the canonical block of this number; none when there is no such block.
    pub async fn block_hash(&self, number: u64) -> Result<Option<B256>, NodeError> {
        let block: Value = self.raw("eth_getBlockByNumber", json!([format!("{number:#x}"), false])).await?;
        if block.is_null() {
            return Ok(None);
        }
        B256::deserialize_field(&block, "hash", "eth_getBlockByNumber").map(Some)
    }

    /// `eth_accounts`: the accounts that the node signs for.
    pub async fn accounts(&self) -> Result<Vec<Address>, NodeError> {
        self.request("eth_accounts", json!([])).await
    }

    /// Sends, without waiting for a block.
    pub async fn send(&self, call: &Call) -> Result<B256, NodeError> {
        self.request("eth_sendTransaction", json!([call.to_json()])).await
    }

    /// The transaction's receipt; none while no block has it.
    pub async fn receipt(&self, tx_hash: B256) -> Result<Option<Value>, NodeError> {
        let receipt = self.raw("eth_getTransactionReceipt", json!([tx_hash])).await?;
        Ok((!receipt.is_null()).then_some(receipt))
    }

    /// `eth_call` at a block: a number in hexadecimal, a tag, or `{"blockHash": …}`.
    pub async fn call(&self, to: Address, data: &Bytes, block: Value) -> Result<Bytes, NodeError> {
        self.request("eth_call", json!([{ "to": to, "data": data }, block])).await
    }

    /// A method whose result is a quantity.
    pub async fn quantity(&self, method: &str, params: Value) -> Result<u64, NodeError> {
        let value: U256 = self.request(method, params).await?;
        u64::try_from(value).map_err(|_| NodeError::Malformed {
            method: method.into(),
            reason: "larger than 64 bits".into(),
            answer: value.to_string(),
        })
    }
}

/// Reading one field of a node's answer, with an error that names it.
pub(crate) trait Field: DeserializeOwned {
    fn deserialize_field(object: &Value, field: &str, method: &str) -> Result<Self, NodeError> {
        let value = object.get(field).unwrap_or(&Value::Null);
        Self::deserialize(value).map_err(|error| NodeError::Malformed {
            method: method.into(),
            reason: format!("field `{field}`: {error}"),
            answer: object.to_string().chars().take(300).collect(),
        })
    }
}

impl<T: DeserializeOwned> Field for T {}

//! What the model answers.

use std::sync::Arc;

use alloy_primitives::{Address, B256, Bytes, U64, U256, keccak256};
use plimsoll_proof::{Header, ReportedReceipt, Transaction, receipts_root, transactions_root};
use serde_json::{Value, json};

use super::{LogDraft, LogsOfUnknown, ModelBlock, ModelChain, ModelTx, Orphans, State, TxDraft};

const INVALID_PARAMS: i64 = -32602;
const METHOD_NOT_FOUND: i64 = -32601;
const SERVER_ERROR: i64 = -32000;
const GAS_LIMIT: u64 = 30_000_000;
const TX_GAS: u64 = 21_000;

/// A JSON-RPC error.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) code: i64,
    pub(super) message: String,
}

fn refuse<T>(code: i64, message: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal { code, message: message.into() })
}

impl ModelChain {
    /// The result, as a node would give it.
    pub(super) fn respond(&self, method: &str, params: &Value) -> Result<Value, Refusal> {
        let mut state = self.state();
        if state.failures > 0 {
            state.failures -= 1;
            return refuse(-32603, "Internal error");
        }
        *state.answered.entry(method.to_owned()).or_default() += 1;
        state.live_on(method, params);
        state.respond(method, params)
    }
}

impl State {
    /// What the node was told to become by the time of this request.
    fn live_on(&mut self, method: &str, params: &Value) {
        match &mut self.catches_up_after {
            Some(0) => (self.lag_blocks, self.catches_up_after) = (0, None),
            Some(requests) => *requests -= 1,
            None => {}
        }
        let looks = method == "eth_getBlockByNumber" && params[0] == "latest";
        match &mut self.visit {
            Some((0, home)) if looks => {
                self.canonical = std::mem::take(home);
                self.visit = None;
            }
            Some((left, _)) if looks => *left -= 1,
            _ => {}
        }
    }

    fn respond(&self, method: &str, params: &Value) -> Result<Value, Refusal> {
        match method {
            "eth_chainId" => Ok(quantity(self.chain_id)),
            "net_version" => Ok(json!(self.chain_id.to_string())),
            "web3_clientVersion" => Ok(json!("model/1")),
            "eth_syncing" => Ok(json!(false)),
            "eth_blockNumber" => Ok(quantity(self.head())),
            "eth_getBlockByNumber" => {
                let block = self.by_tag(&params[0])?;
                Ok(block.map_or(Value::Null, |block| block_json(&block, params[1] == true)))
            }
            "eth_getBlockByHash" => {
                let block = self.by_hash(&params[0])?;
                Ok(block.map_or(Value::Null, |block| block_json(&block, params[1] == true)))
            }
            "eth_getLogs" => self.logs(&params[0]),
            "eth_getTransactionReceipt" => {
                let wanted: B256 = read(&params[0])?;
                let found = self.visible().find_map(|block| {
                    let index = block.txs.iter().position(|tx| tx.hash == wanted)?;
                    Some(receipt_json(block, index))
                });
                Ok(found.unwrap_or(Value::Null))
            }
            "eth_getBlockReceipts" => {
                let block = self.by_block_id(&params[0])?;
                Ok(block.map_or(Value::Null, |block| {
                    (0..block.txs.len()).map(|index| receipt_json(&block, index)).collect()
                }))
            }
            // The model deploys nothing: every address is a contract.
            "eth_getCode" => Ok(json!("0xfe")),
            "eth_call" => self.call(&params[0], &params[1]),
            _ => refuse(METHOD_NOT_FOUND, format!("the method {method} does not exist/is not available")),
        }
    }

    /// The last block that the node admits to.
    fn head(&self) -> u64 {
        let tip = self.canonical.len() as u64 - 1;
        tip.saturating_sub(self.lag_blocks)
    }

    fn visible(&self) -> impl Iterator<Item = &Arc<ModelBlock>> {
        let count = usize::try_from(self.head() + 1).unwrap_or(usize::MAX);
        self.canonical.iter().take(count).map(|hash| &self.blocks[hash])
    }

    fn by_number(&self, number: u64) -> Option<Arc<ModelBlock>> {
        if number > self.head() {
            return None;
        }
        let hash = self.canonical.get(usize::try_from(number).ok()?)?;
        self.blocks.get(hash).cloned()
    }

    fn by_tag(&self, tag: &Value) -> Result<Option<Arc<ModelBlock>>, Refusal> {
        let number = match tag.as_str() {
            Some("latest" | "pending") => self.head(),
            Some("safe" | "finalized") => self.head().saturating_sub(self.finality_depth),
            Some("earliest") => 0,
            _ => read::<U64>(tag)?.to(),
        };
        Ok(self.by_number(number))
    }

    fn by_hash(&self, hash: &Value) -> Result<Option<Arc<ModelBlock>>, Refusal> {
        let hash: B256 = read(hash)?;
        let Some(block) = self.blocks.get(&hash) else { return Ok(None) };
        let canonical = self.by_number(block.number).is_some_and(|there| there.hash == hash);
        let above = block.number > self.head();
        Ok((canonical || (self.orphans == Orphans::Served && !above)).then(|| block.clone()))
    }

    /// A block as `eth_call` names it (EIP-1898).
    fn by_block_id(&self, id: &Value) -> Result<Option<Arc<ModelBlock>>, Refusal> {
        match id {
            Value::Object(object) => match object.get("blockHash") {
                Some(hash) => self.by_hash(hash),
                None => self.by_tag(object.get("blockNumber").unwrap_or(&Value::Null)),
            },
            Value::String(text) if text.len() == 66 => self.by_hash(id),
            _ => self.by_tag(id),
        }
    }

    fn logs(&self, filter: &Value) -> Result<Value, Refusal> {
        let addresses: Vec<Address> = one_or_many(&filter["address"])?;
        let topics: Vec<Vec<B256>> =
            filter["topics"].as_array().into_iter().flatten().map(one_or_many).collect::<Result<_, _>>()?;
        let wanted = |log: &LogDraft| {
            (addresses.is_empty() || addresses.contains(&log.address))
                && topics.iter().enumerate().all(|(i, any)| {
                    any.is_empty() || log.topics.get(i).is_some_and(|topic| any.contains(topic))
                })
        };
        let blocks: Vec<Arc<ModelBlock>> = if filter["blockHash"].is_null() {
            let bound = |tag: &Value| match tag.as_str() {
                None => Ok(self.head()),
                Some("latest" | "pending") => Ok(self.head()),
                Some("earliest") => Ok(0),
                Some("safe" | "finalized") => Ok(self.head().saturating_sub(self.finality_depth)),
                Some(_) => read::<U64>(tag).map(|number| number.to::<u64>()),
            };
            let (from, to) = (bound(&filter["fromBlock"])?, bound(&filter["toBlock"])?);
            if from > to {
                return refuse(INVALID_PARAMS, "invalid block range params");
            }
            if let Some(limit) = self.max_range_blocks.filter(|limit| to - from + 1 > *limit) {
                return refuse(SERVER_ERROR, format!("query exceeds max block range {limit}"));
            }
            (from..=to.min(self.head())).filter_map(|number| self.by_number(number)).collect()
        } else {
            match self.by_hash(&filter["blockHash"])? {
                Some(block) => vec![block],
                None if self.logs_of_unknown == LogsOfUnknown::Empty => Vec::new(),
                None => return refuse(SERVER_ERROR, "unknown block"),
            }
        };
        let mut found = Vec::new();
        for block in &blocks {
            for (tx_index, tx) in block.txs.iter().enumerate() {
                for (i, log) in tx.logs().iter().enumerate().filter(|(_, log)| wanted(log)) {
                    found.push(log_json(block, tx_index, tx, i, log));
                }
            }
        }
        Ok(found.into())
    }

    fn call(&self, call: &Value, at: &Value) -> Result<Value, Refusal> {
        let to: Address = read(&call["to"])?;
        let data = if call["input"].is_null() { &call["data"] } else { &call["input"] };
        let calldata: Bytes = read(data)?;
        let Some(mut block) = self.by_block_id(at)? else { return refuse(SERVER_ERROR, "header not found") };
        loop {
            let answer = block
                .txs
                .iter()
                .rev()
                .filter(|tx| tx.draft.succeeded)
                .flat_map(|tx| tx.draft.answers.iter().rev())
                .find(|answer| answer.to == to && answer.calldata == calldata);
            if let Some(answer) = answer {
                return Ok(json!(answer.result));
            }
            match self.blocks.get(&block.parent) {
                Some(parent) => block = parent.clone(),
                None => return refuse(3, "execution reverted"),
            }
        }
    }
}

fn quantity(number: u64) -> Value {
    json!(format!("{number:#x}"))
}

fn read<T: serde::de::DeserializeOwned>(value: &Value) -> Result<T, Refusal> {
    T::deserialize(value).map_err(|error| Refusal {
        code: INVALID_PARAMS,
        message: format!("invalid params: {error}: {value}"),
    })
}

fn one_or_many<T: serde::de::DeserializeOwned>(value: &Value) -> Result<Vec<T>, Refusal> {
    match value {
        Value::Null => Ok(Vec::new()),
        Value::Array(values) => values.iter().map(read).collect(),
        one => read(one).map(|one| vec![one]),
    }
}

/// The type of the model's transactions: Arbitrum's that has no signature, so that a sender needs no key.
const TX_TYPE: u8 = 0x65;
const GAS_PRICE_WEI: u64 = 1_000_000_000;

/// The transaction as its hash covers it. It is the same on every chain.
pub(super) fn reported(draft: &TxDraft) -> Transaction {
    Transaction {
        tx_type: TX_TYPE,
        chain_id: Some(U256::ZERO),
        from: draft.from,
        to: Some(draft.to),
        nonce: draft.nonce,
        gas: TX_GAS,
        gas_price: Some(U256::from(GAS_PRICE_WEI)),
        max_fee_per_gas: Some(U256::from(GAS_PRICE_WEI)),
        input: draft.input.clone(),
        ..Transaction::default()
    }
}

/// The roots of the block's receipts and transactions.
pub(super) fn roots(block: &ModelBlock) -> (B256, B256) {
    let receipt = |index| from_json::<ReportedReceipt>(receipt_json(block, index));
    let receipts: Vec<_> = (0..block.txs.len()).map(receipt).collect();
    let transactions: Vec<_> = block.txs.iter().map(|tx| reported(&tx.draft)).collect();
    (receipts_root(&receipts), transactions_root(&transactions).expect("each has every field of its type"))
}

/// The hash that the block's header has.
pub(super) fn hash_of(block: &ModelBlock) -> B256 {
    from_json::<Header>(block_json(block, false)).compute_hash().expect("it has every field of its fork")
}

fn from_json<T: serde::de::DeserializeOwned>(json: Value) -> T {
    serde_json::from_value(json).expect("the model answers as nodes do")
}

fn block_json(block: &ModelBlock, full: bool) -> Value {
    let transactions: Vec<Value> = block
        .txs
        .iter()
        .enumerate()
        .map(|(index, tx)| if full { tx_json(block, index, tx) } else { json!(tx.hash) })
        .collect();
    let state = [b"state".as_slice(), block.parent.as_slice(), block.transactions_root.as_slice()].concat();
    json!({
        "number": quantity(block.number),
        "hash": block.hash,
        "parentHash": block.parent,
        "timestamp": quantity(block.timestamp),
        "logsBloom": block.logs_bloom,
        "receiptsRoot": block.receipts_root,
        "transactionsRoot": block.transactions_root,
        "stateRoot": keccak256(state),
        "sha3Uncles": B256::ZERO,
        "miner": Address::ZERO,
        "difficulty": "0x0",
        "extraData": Bytes::copy_from_slice(&block.salt.to_be_bytes()),
        "nonce": "0x0000000000000000",
        "mixHash": B256::ZERO,
        "gasUsed": quantity(TX_GAS * block.txs.len() as u64),
        "gasLimit": quantity(GAS_LIMIT),
        "baseFeePerGas": quantity(GAS_PRICE_WEI),
        "size": "0x400",
        "uncles": [],
        "transactions": transactions,
    })
}

fn tx_json(block: &ModelBlock, index: usize, tx: &ModelTx) -> Value {
    json!({
        "type": quantity(TX_TYPE.into()),
        "chainId": "0x0",
        "hash": tx.hash,
        "nonce": quantity(tx.draft.nonce),
        "blockHash": block.hash,
        "blockNumber": quantity(block.number),
        "transactionIndex": quantity(index as u64),
        "from": tx.draft.from,
        "to": tx.draft.to,
        "value": "0x0",
        "gas": quantity(TX_GAS),
        "gasPrice": quantity(GAS_PRICE_WEI),
        "maxFeePerGas": quantity(GAS_PRICE_WEI),
        "input": tx.draft.input,
    })
}

fn receipt_json(block: &ModelBlock, index: usize) -> Value {
    let tx = &block.txs[index];
    let mut bloom = alloy_primitives::Bloom::ZERO;
    tx.logs().iter().for_each(|log| bloom.accrue_raw_log(log.address, &log.topics));
    let logs: Vec<Value> =
        tx.logs().iter().enumerate().map(|(i, log)| log_json(block, index, tx, i, log)).collect();
    json!({
        "type": quantity(TX_TYPE.into()),
        "status": quantity(u64::from(tx.draft.succeeded)),
        "transactionHash": tx.hash,
        "transactionIndex": quantity(index as u64),
        "blockHash": block.hash,
        "blockNumber": quantity(block.number),
        "from": tx.draft.from,
        "to": tx.draft.to,
        "contractAddress": null,
        "gasUsed": quantity(TX_GAS),
        "cumulativeGasUsed": quantity(TX_GAS * (index as u64 + 1)),
        "effectiveGasPrice": quantity(GAS_PRICE_WEI),
        "logs": logs,
        "logsBloom": bloom,
    })
}

fn log_json(block: &ModelBlock, tx_index: usize, tx: &ModelTx, i: usize, log: &LogDraft) -> Value {
    json!({
        "address": log.address,
        "topics": log.topics,
        "data": log.data,
        "blockNumber": quantity(block.number),
        "blockHash": block.hash,
        "blockTimestamp": quantity(block.timestamp),
        "transactionHash": tx.hash,
        "transactionIndex": quantity(tx_index as u64),
        "logIndex": quantity((tx.first_log + i) as u64),
        "removed": false,
    })
}

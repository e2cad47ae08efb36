//! Transactions of every type, sent to a node that signs them itself, and the blocks that come of it.

use alloy_primitives::{Address, B256, Bytes, U256, bytes};
use plimsoll_proof::{
    Header, LogFilter, PlacedLog, ProvenHeader, ProvenReceipts, ReportedReceipt, Transaction,
};
use plimsoll_testkit::anvil::Anvil;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// Creation code that emits a log itself and leaves a contract that emits one with no topic, one with one, up to four.
pub(crate) const EMITTER: Bytes = bytes!(
    "600960206000a1" "602e6013600039602e6000f3" "60206000a0" "600160206000a1" "6002600160206000a2"
    "60036002600160206000a3" "600460036002600160206000a4" "00"
);
/// What the contract emits when called.
pub(crate) const LOGS_OF_A_CALL: usize = 5;

/// A node and two of its accounts.
pub(crate) struct Sender {
    pub(crate) anvil: Anvil,
    pub(crate) from: Address,
    pub(crate) to: Address,
}

impl Sender {
    pub(crate) async fn new(anvil: Anvil) -> Self {
        let accounts = anvil.accounts().await.unwrap();
        Self { anvil, from: accounts[0], to: accounts[1] }
    }

    /// Sends a transaction with these fields beside sender and gas, without waiting for a block.
    pub(crate) async fn send(&self, fields: Value) -> B256 {
        let mut call = json!({ "from": self.from, "gas": "0x493e0" });
        call.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        self.anvil.request("eth_sendTransaction", json!([call])).await.unwrap()
    }

    /// Puts all that waits into one block; gives its number.
    pub(crate) async fn mine(&self) -> u64 {
        self.anvil.mine(1).await.unwrap();
        self.anvil.block_number().await.unwrap()
    }

    /// A new contract that emits logs, in a block of its own.
    pub(crate) async fn emitter(&self) -> Address {
        // The first forks know no other type.
        let created = self.send(json!({ "data": EMITTER, "gasPrice": "0x77359400" })).await;
        self.mine().await;
        let receipt = self.anvil.receipt(created).await.unwrap().unwrap();
        serde_json::from_value(receipt["contractAddress"].clone()).unwrap()
    }

    /// What the node says of a block.
    pub(crate) async fn block(&self, number: u64) -> Told {
        let number = format!("{number:#x}");
        let block = self.anvil.raw("eth_getBlockByNumber", json!([number, true])).await.unwrap();
        let receipts = self.anvil.raw("eth_getBlockReceipts", json!([number])).await.unwrap();
        let filter = json!({ "blockHash": block["hash"] });
        let logs = self.anvil.raw("eth_getLogs", json!([filter])).await.unwrap();
        Told { block, receipts, logs }
    }
}

/// Answers of a node about one block.
pub(crate) struct Told {
    pub(crate) block: Value,
    pub(crate) receipts: Value,
    logs: Value,
}

fn read<T: DeserializeOwned>(json: &Value) -> T {
    serde_json::from_str(&json.to_string()).unwrap()
}

impl Told {
    pub(crate) fn header(&self) -> Header {
        read(&self.block)
    }

    pub(crate) fn transactions(&self) -> Vec<Transaction> {
        read(&self.block["transactions"])
    }

    /// Header and receipts proven, and by them every log that `eth_getLogs` tells, with the bloom's consent.
    pub(crate) fn prove_receipts(&self) -> (ProvenHeader, ProvenReceipts) {
        let header = self.header().prove().unwrap();
        let receipts: Vec<ReportedReceipt> = read(&self.receipts);
        let receipts = header.prove_receipts(receipts).unwrap();
        assert_eq!(receipts.bloom(), header.logs_bloom);

        let everything = LogFilter::default();
        let told: Vec<OwnLog> = self.logs.as_array().unwrap().iter().map(OwnLog::read).collect();
        assert_eq!(receipts.disputes(&everything, told.iter().map(OwnLog::placed)), []);
        everything.explain(&header.logs_bloom, told.iter().map(|log| (log.address, &*log.topics))).unwrap();
        (header, receipts)
    }

    /// All of it: header, transactions, senders, receipts, which belong together, and a proof of each receipt.
    pub(crate) fn prove(&self) -> (ProvenHeader, ProvenReceipts) {
        let (header, receipts) = self.prove_receipts();
        let transactions = header.prove_transactions(self.transactions()).unwrap();
        transactions.check_senders().unwrap();
        receipts.check_transactions(&transactions).unwrap();
        for (index, reported) in receipts.receipts().iter().enumerate() {
            let proof = receipts.inclusion(index).unwrap();
            assert_eq!(header.prove_receipt(&proof).unwrap(), reported.receipt);
            let told = &self.receipts[index]["gasUsed"];
            assert_eq!(receipts.gas_used(index).map(U256::from), Some(read(told)));
        }
        (header, receipts)
    }
}

/// A log of `eth_getLogs`, read without the crate under test.
struct OwnLog {
    tx_index: u32,
    log_index: u32,
    tx_hash: B256,
    address: Address,
    topics: Vec<B256>,
    data: Bytes,
}

impl OwnLog {
    fn read(json: &Value) -> Self {
        let index = |name: &str| read::<U256>(&json[name]).to();
        Self {
            tx_index: index("transactionIndex"),
            log_index: index("logIndex"),
            tx_hash: read(&json["transactionHash"]),
            address: read(&json["address"]),
            topics: read(&json["topics"]),
            data: read(&json["data"]),
        }
    }

    fn placed(&self) -> PlacedLog<'_> {
        let Self { tx_index, log_index, tx_hash, address, .. } = *self;
        PlacedLog { tx_index, log_index, tx_hash, address, topics: &self.topics, data: &self.data }
    }
}

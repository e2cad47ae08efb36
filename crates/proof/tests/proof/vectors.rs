//! Blocks that chains have published: `testdata/README.md` names the sources.

use plimsoll_proof::{
    Explanation, Finding, Fork, Header, LogFilter, Outcome, ProvenHeader, ReportedReceipt, Transaction,
    transactions_root,
};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;

fn testdata<T: DeserializeOwned>(file: &str) -> T {
    let path = format!("{}/testdata/{file}", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&std::fs::read_to_string(&path).unwrap())
        .unwrap_or_else(|error| panic!("{file}: {error}"))
}

fn read<T: DeserializeOwned>(json: &Value) -> T {
    serde_json::from_str(&json.to_string()).unwrap()
}

#[derive(Deserialize)]
struct NamedHeader {
    name: String,
    fork: String,
    header: Value,
}

#[derive(Deserialize)]
struct WholeBlock {
    block: Value,
    receipts: Option<Vec<Value>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Group {
    name: String,
    transactions_root: Option<alloy_primitives::B256>,
    transactions: Vec<Value>,
}

#[test]
fn headers_of_every_fork_and_of_arbitrum_have_their_published_hash() {
    let mut forks = Vec::new();
    for NamedHeader { name, fork, header } in testdata::<Vec<NamedHeader>>("headers.json") {
        let header: Header = read(&header);
        let proven = header.clone().prove().unwrap_or_else(|fault| panic!("{name}: {fault}"));
        assert_eq!(format!("{:?}", proven.fork()), fork, "{name}");
        assert_eq!(ProvenHeader::decode(&header.encode().unwrap()).unwrap(), proven, "{name}");
        forks.push(proven.fork());
    }
    forks.sort();
    forks.dedup();
    let all = [Fork::Frontier, Fork::London, Fork::Shanghai, Fork::Cancun, Fork::Prague, Fork::Amsterdam];
    assert_eq!(forks, all);
}

#[test]
fn blocks_have_the_transactions_senders_receipts_and_logs_that_their_headers_say() {
    let expected = [
        ("ethereum-1000000.json", 2, Some(1)),
        ("hive-20.json", 3, Some(0)),
        ("arbitrum-one-150000000.json", 5, Some(18)),
        ("arbitrum-one-350791066.json", 4, None),
    ];
    for (file, transactions, logs) in expected {
        let WholeBlock { block, receipts } = testdata(file);
        let header = read::<Header>(&block).prove().unwrap_or_else(|fault| panic!("{file}: {fault}"));

        let proven = header.prove_transactions(read(&block["transactions"]));
        let proven = proven.unwrap_or_else(|fault| panic!("{file}: {fault}"));
        assert_eq!(proven.transactions().len(), transactions, "{file}");
        proven
            .check_senders()
            .unwrap_or_else(|(index, fault)| panic!("{file}, transaction {index}: {fault}"));
        for (index, transaction) in proven.transactions().iter().enumerate() {
            let inclusion = proven.inclusion(index).unwrap();
            assert_eq!(header.prove_transaction(&inclusion).unwrap(), transaction.hash, "{file}");
        }

        assert_eq!(receipts.is_some(), logs.is_some(), "{file}");
        let Some(receipts) = receipts else { continue };
        let receipts = header.prove_receipts(read(&Value::from(receipts)));
        let receipts = receipts.unwrap_or_else(|fault| panic!("{file}: {fault}"));
        receipts.check_transactions(&proven).unwrap_or_else(|fault| panic!("{file}: {fault}"));
        assert_eq!(Some(receipts.logs().count()), logs, "{file}");
        assert_eq!(receipts.bloom(), header.logs_bloom, "{file}");
        assert_eq!(
            (0..transactions).map(|index| receipts.gas_used(index).unwrap()).sum::<u64>(),
            header.gas_used
        );
        for (index, reported) in receipts.receipts().iter().enumerate() {
            let inclusion = receipts.inclusion(index).unwrap();
            let receipt = header.prove_receipt(&inclusion).unwrap();
            assert_eq!(receipt, reported.receipt, "{file}, receipt {index}");
            assert_eq!(receipt.bloom, receipt.bloom_of_logs(), "{file}, receipt {index}");
        }

        let everything = LogFilter::default();
        let returned = receipts.logs().map(|placed| (placed.address, placed.topics));
        let explanation = everything.explain(&header.logs_bloom, returned).unwrap();
        let empty = logs == Some(0);
        assert_eq!(explanation, if empty { Explanation::Empty } else { Explanation::Consistent }, "{file}");
    }
}

#[test]
fn a_receipt_from_before_byzantium_says_nothing_about_success() {
    let WholeBlock { receipts, .. } = testdata("ethereum-1000000.json");
    for json in receipts.unwrap() {
        let reported: ReportedReceipt = read(&json);
        assert!(matches!(reported.receipt.outcome, Outcome::StateRoot(_)));
    }
}

#[test]
fn receipts_without_their_bloom_are_proven_all_the_same() {
    let WholeBlock { block, receipts } = testdata("arbitrum-one-150000000.json");
    let header = read::<Header>(&block).prove().unwrap();
    let mut receipts = receipts.unwrap();
    for receipt in &mut receipts {
        receipt.as_object_mut().unwrap().remove("logsBloom").unwrap();
    }
    header.prove_receipts(read(&Value::from(receipts))).unwrap();
}

#[test]
fn transactions_of_every_type_have_their_published_hash_and_sender() {
    let mut types = Vec::new();
    for Group { name, transactions_root: root, transactions } in testdata::<Vec<Group>>("transactions.json") {
        let transactions: Vec<Transaction> = transactions.iter().map(read).collect();
        for transaction in &transactions {
            let computed = transaction.compute_hash().unwrap_or_else(|fault| panic!("{name}: {fault}"));
            assert_eq!(computed, transaction.hash, "{name}");
            transaction.check_sender().unwrap_or_else(|fault| panic!("{name}: {fault}"));
            types.push(transaction.tx_type);
        }
        if let Some(root) = root {
            assert_eq!(transactions_root(&transactions), Ok(root), "{name}");
        }
    }
    types.sort_unstable();
    types.dedup();
    assert_eq!(types, [0, 1, 2, 3, 4, 0x64, 0x68, 0x69]);
}

#[test]
fn a_transaction_of_another_sender_is_a_contradiction() {
    let WholeBlock { block, .. } = testdata("hive-20.json");
    let transactions: Vec<Transaction> = read(&block["transactions"]);
    for mut transaction in transactions {
        transaction.from = alloy_primitives::Address::repeat_byte(1);
        assert_eq!(transaction.check_sender().unwrap_err().finding(), Finding::Contradiction);
    }
}

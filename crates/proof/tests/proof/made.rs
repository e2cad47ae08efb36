//! Made-up blocks, whose headers are right because they are made from the content.

use alloy_primitives::{Address, B64, B256, Bloom, Bytes, U256, keccak256};
use plimsoll_proof::{
    Header, Log, Outcome, ProvenHeader, Receipt, ReportedReceipt, Transaction, receipts_root,
    transactions_root,
};

/// A log that no two `seed`s have in common.
pub(crate) fn log(seed: u64) -> Log {
    let hash = keccak256(seed.to_be_bytes());
    Log {
        address: Address::from_slice(&hash[..20]),
        topics: (0..seed % 5).map(|place| keccak256([seed, place].map(u64::to_be_bytes).concat())).collect(),
        data: Bytes::copy_from_slice(&hash.repeat(4)[..(seed % 100) as usize]),
    }
}

/// Receipts of types 0 to 4, each fourth failed, with none to three logs.
pub(crate) fn receipts(count: u64) -> Vec<ReportedReceipt> {
    let mut logs_before = 0;
    (0..count)
        .map(|index| {
            let logs: Vec<Log> = (0..index % 4).map(|place| log(index * 10 + place)).collect();
            let log_indexes = (logs_before..).take(logs.len()).collect();
            logs_before += u32::try_from(logs.len()).unwrap();
            reported(index, (index % 5) as u8, index % 4 != 3, (index + 1) * 21_000, logs, log_indexes)
        })
        .collect()
}

pub(crate) fn reported(
    index: u64,
    tx_type: u8,
    success: bool,
    cumulative_gas_used: u64,
    logs: Vec<Log>,
    log_indexes: Vec<u32>,
) -> ReportedReceipt {
    let outcome = Outcome::Status(success);
    let mut receipt = Receipt { tx_type, outcome, cumulative_gas_used, bloom: Bloom::ZERO, logs };
    receipt.bloom = receipt.bloom_of_logs();
    ReportedReceipt {
        receipt,
        block_hash: B256::ZERO,
        tx_hash: keccak256(index.to_be_bytes()),
        tx_index: u32::try_from(index).unwrap(),
        log_indexes,
    }
}

/// A Cancun header with these roots and bloom.
pub(crate) fn header(transactions_root: B256, receipts_root: B256, logs_bloom: Bloom) -> ProvenHeader {
    let mut header = Header {
        hash: B256::ZERO,
        parent_hash: B256::repeat_byte(1),
        uncles_hash: Some(B256::repeat_byte(2)),
        miner: Some(Address::repeat_byte(3)),
        state_root: B256::repeat_byte(4),
        transactions_root,
        receipts_root,
        logs_bloom,
        difficulty: Some(U256::ZERO),
        number: 7,
        gas_limit: 30_000_000,
        gas_used: 21_000,
        timestamp: 1_700_000_000,
        extra_data: Some(Bytes::new()),
        mix_hash: Some(B256::repeat_byte(5)),
        nonce: Some(B64::ZERO),
        base_fee_per_gas: Some(U256::from(7)),
        withdrawals_root: Some(B256::repeat_byte(6)),
        blob_gas_used: Some(0),
        excess_blob_gas: Some(0),
        parent_beacon_block_root: Some(B256::repeat_byte(7)),
        requests_hash: None,
        block_access_list_hash: None,
        slot_number: None,
        unknown_fields: Vec::new(),
    };
    header.hash = header.compute_hash().unwrap();
    header.prove().unwrap()
}

/// A block of these receipts, which are told its hash.
pub(crate) fn block(mut receipts: Vec<ReportedReceipt>) -> (ProvenHeader, Vec<ReportedReceipt>) {
    let mut bloom = Bloom::ZERO;
    receipts.iter().for_each(|reported| bloom.accrue_bloom(&reported.receipt.bloom));
    let header = header(B256::ZERO, receipts_root(&receipts), bloom);
    receipts.iter_mut().for_each(|reported| reported.block_hash = header.hash);
    (header, receipts)
}

/// A block of these transactions.
pub(crate) fn block_of_transactions(transactions: &[Transaction]) -> ProvenHeader {
    header(transactions_root(transactions).unwrap(), B256::ZERO, Bloom::ZERO)
}

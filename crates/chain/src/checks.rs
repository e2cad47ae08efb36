//! What an answer must satisfy beyond being well formed.

use alloy_json_rpc::ErrorPayload;
use alloy_primitives::{Address, B256, Bytes, map::HashSet};
use serde_json::Value;

use crate::wire::{Log, LogFilter};

/// Reads logs and believes them only if each is expected, in the filter, and there once; sorts them if the node
/// did not. Logs of one height must be of one block.
pub(crate) fn checked_logs(
    text: &str,
    filter: &LogFilter,
    expected: impl Fn(&Log) -> bool,
) -> Result<Vec<Log>, String> {
    let mut logs: Vec<Log> = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let addresses: HashSet<&Address> = filter.addresses.iter().collect();
    let topics: HashSet<&B256> = filter.topic0.iter().collect();
    for log in &logs {
        let admitted = (addresses.is_empty() || addresses.contains(&log.address))
            && (topics.is_empty() || log.topics.first().is_some_and(|topic| topics.contains(topic)));
        if !expected(log) || !admitted {
            return Err(format!(
                "a log that was not asked for: block {} {}, index {}, of {}",
                log.block_number, log.block_hash, log.log_index, log.address
            ));
        }
    }
    let place = |log: &Log| (log.block_number, log.log_index);
    if !logs.is_sorted_by_key(place) {
        logs.sort_by_key(place);
    }
    for pair in logs.windows(2) {
        let [a, b] = pair else { continue };
        if place(a) == place(b) {
            return Err(format!("log {} of block {} twice", a.log_index, a.block_number));
        }
        if a.block_number == b.block_number && a.block_hash != b.block_hash {
            return Err(format!(
                "logs of two blocks at height {}: {} and {}",
                a.block_number, a.block_hash, b.block_hash
            ));
        }
    }
    Ok(logs)
}

/// The bytes in a revert's `data`: a string (Nethermind puts a word before it), or one somewhere in an object.
pub(crate) fn revert_data(error: &ErrorPayload) -> Bytes {
    fn find(value: &Value) -> Option<Bytes> {
        match value {
            Value::String(text) => text.trim_start_matches("Reverted ").parse().ok(),
            Value::Object(fields) => fields.values().find_map(find),
            _ => None,
        }
    }
    error
        .data
        .as_deref()
        .and_then(|data| serde_json::from_str::<Value>(data.get()).ok())
        .and_then(|value| find(&value))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(block_number: u64, block_hash: u8, log_index: u32) -> String {
        format!(
            r#"{{"address":"0x{}","topics":[],"data":"0x","blockHash":"0x{}","blockNumber":"{block_number:#x}",
            "transactionHash":"0x{}","transactionIndex":"0x0","logIndex":"{log_index:#x}","removed":false}}"#,
            "ca".repeat(20),
            format!("{block_hash:02x}").repeat(32),
            "b1".repeat(32),
        )
    }

    fn places(logs: &[String]) -> Result<Vec<(u64, u32)>, String> {
        let text = format!("[{}]", logs.join(","));
        let logs = checked_logs(&text, &LogFilter::default(), |log| log.block_number < 10)?;
        Ok(logs.iter().map(|log| (log.block_number, log.log_index)).collect())
    }

    #[test]
    fn logs_are_sorted_and_each_is_there_once_and_of_one_block_a_height() {
        assert_eq!(places(&[log(2, 2, 5), log(1, 1, 9), log(2, 2, 1)]), Ok(vec![(1, 9), (2, 1), (2, 5)]));
        for (logs, complaint) in [
            ([log(2, 2, 5), log(2, 2, 5)], "log 5 of block 2 twice"),
            ([log(2, 2, 5), log(2, 3, 6)], "logs of two blocks at height 2"),
            ([log(2, 2, 5), log(10, 3, 6)], "not asked for"),
        ] {
            let error = places(&logs).unwrap_err();
            assert!(error.contains(complaint), "{error}");
        }
    }

    #[test]
    fn a_revert_reason_is_found_where_nodes_put_it() {
        for data in [r#""0x0102""#, r#""Reverted 0x0102""#, r#"{"txHash":{"result":"0x0102"}}"#] {
            let json = format!(r#"{{"code":3,"message":"execution reverted","data":{data}}}"#);
            let error: ErrorPayload = serde_json::from_str(&json).unwrap();
            assert_eq!(revert_data(&error), Bytes::from_static(&[1, 2]), "{data}");
        }
        let silent: ErrorPayload =
            serde_json::from_str(r#"{"code":3,"message":"execution reverted"}"#).unwrap();
        assert_eq!(revert_data(&silent), Bytes::new());
    }
}

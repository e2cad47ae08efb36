//! An endpoint that hides logs or alters them.
//!
//! A liar is consistent: what it hides of a block, or alters, it hides or alters each time, in `eth_getLogs` and in `eth_getBlockReceipts`. The header
//! that it shows is the true one, since another would have another hash.

use alloy_primitives::B256;
use serde_json::Value;

use crate::chaos::dice::Dice;

/// The methods whose answers have logs.
pub(super) const METHODS: [&str; 2] = ["eth_getLogs", "eth_getBlockReceipts"];

/// Makes what an endpoint tells of an answer to `method`; whether it is a lie. Of a thousand logs, `permille` are hidden or altered.
pub(super) fn twist(method: &str, result: &mut Value, seed: u64, permille: u32) -> bool {
    match method {
        "eth_getLogs" => twist_logs(result, seed, permille),
        "eth_getBlockReceipts" => {
            let mut lied = false;
            for receipt in result.as_array_mut().into_iter().flatten() {
                lied |= twist_logs(&mut receipt["logs"], seed, permille);
            }
            lied
        }
        _ => false,
    }
}

fn twist_logs(logs: &mut Value, seed: u64, permille: u32) -> bool {
    let Some(logs) = logs.as_array_mut() else { return false };
    let mut lied = false;
    logs.retain_mut(|log| {
        let Ok(block) = serde_json::from_value::<B256>(log["blockHash"].clone()) else { return true };
        let index = log["logIndex"].as_str().and_then(|hex| u64::from_str_radix(hex.get(2..)?, 16).ok());
        let word = block.0.iter().take(8).fold(0, |word, byte| word << 8 | u64::from(*byte));
        let mut dice = Dice::new(seed ^ word, index.unwrap_or(0));
        if !dice.permille(permille) {
            return true;
        }
        lied = true;
        match (dice.index(4), log["topics"].get_mut(0)) {
            // Always another answer.
            (0, _) => log["data"] = if log["data"] == "0x" { "0x01" } else { "0x" }.into(),
            (1, Some(topic)) => *topic = B256::repeat_byte(7).to_string().into(),
            _ => return false,
        }
        true
    });
    lied
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn receipts(blocks: u8) -> Value {
        let log = |block, index| {
            let (block, topic) = (B256::repeat_byte(block), B256::repeat_byte(1));
            let data = if index == 0 { "0x" } else { "0x01" };
            json!({ "blockHash": block, "logIndex": format!("{index:#x}"), "topics": [topic], "data": data })
        };
        (1..=blocks).map(|block| json!({ "logs": [log(block, 0), log(block, 1)] })).collect()
    }

    #[test]
    fn a_lie_is_another_answer_the_same_each_time_whichever_way_it_is_asked_for() {
        let (mut hidden, mut altered) = (0, 0);
        for seed in 0..20 {
            let truth = receipts(10);
            let (mut once, mut again) = (truth.clone(), truth.clone());
            let lied = twist("eth_getBlockReceipts", &mut once, seed, 300);
            assert_eq!((lied, &once), (twist("eth_getBlockReceipts", &mut again, seed, 300), &again));
            assert_eq!(lied, once != truth);
            let logs = |value: &Value| -> Vec<Value> {
                value.as_array().unwrap().iter().flat_map(|r| r["logs"].as_array().unwrap().clone()).collect()
            };
            let mut list = Value::Array(logs(&truth));
            twist("eth_getLogs", &mut list, seed, 300);
            assert_eq!(list, Value::Array(logs(&once)));
            hidden += logs(&truth).len() - logs(&once).len();
            altered += logs(&once).iter().filter(|log| !logs(&truth).contains(log)).count();
        }
        assert!(hidden > 10 && altered > 10, "{hidden} hidden, {altered} altered");
    }

    #[test]
    fn who_does_not_lie_tells_what_there_is() {
        let mut told = receipts(10);
        assert!(!twist("eth_getBlockReceipts", &mut told, 1, 0));
        assert!(!twist("eth_getBlockByHash", &mut told, 1, 1_000));
        assert_eq!(told, receipts(10));
    }
}

//! Transactions on their way to the node: which they are, and what is made of them.

use alloy_primitives::{B256, Bytes, keccak256};
use serde_json::{Value, json};

use super::parts;
use super::trouble::Fault;

const SEND: &str = "eth_sendRawTransaction";

fn hash(part: &Value) -> Option<B256> {
    let raw: Bytes = part["params"][0].as_str()?.parse().ok()?;
    (part["method"] == SEND).then(|| keccak256(raw))
}

/// The hashes of all transactions that a question sends.
pub(super) fn hashes(question: &Value) -> Vec<B256> {
    parts(question).filter_map(hash).collect()
}

/// The same question, the last part first. Answers are told apart by their ids.
pub(super) fn reversed(question: &Value) -> Value {
    match question {
        Value::Array(parts) => parts.iter().rev().cloned().collect(),
        one => one.clone(),
    }
}

/// An answer to a question that does nothing but send, which the node never sees.
pub(super) fn forged(question: &Value, fault: Fault) -> Option<Value> {
    let one = |part: &Value| {
        let (hash, id) = (hash(part)?, &part["id"]);
        let refusal = match fault {
            Fault::Known => "already known",
            Fault::Low => "nonce too low",
            _ => return Some(json!({ "jsonrpc": "2.0", "id": id, "result": hash })),
        };
        Some(json!({ "jsonrpc": "2.0", "id": id, "error": { "code": -32_000, "message": refusal } }))
    };
    match question {
        Value::Array(parts) => parts.iter().map(one).collect(),
        part => one(part),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_only_sends_is_answered_as_the_fault_has_it_and_nothing_else_is() {
        let send = |id: u64| json!({ "id": id, "method": SEND, "params": ["0x01"] });
        let batch = json!([send(1), send(2)]);
        let taken = keccak256([1]);
        assert_eq!(hashes(&batch), [taken, taken]);
        assert_eq!(reversed(&batch), json!([send(2), send(1)]));
        let dropped = forged(&batch, Fault::Dropped).unwrap();
        assert_eq!((&dropped[0]["result"], &dropped[1]["id"]), (&json!(taken), &json!(2)));
        for (fault, told) in [(Fault::Known, "already known"), (Fault::Low, "nonce too low")] {
            assert_eq!(forged(&send(1), fault).unwrap()["error"]["message"], told);
        }
        let mixed = json!([send(1), { "id": 2, "method": "eth_chainId", "params": [] }]);
        assert_eq!((forged(&mixed, Fault::Known), hashes(&mixed).len()), (None, 1));
    }
}

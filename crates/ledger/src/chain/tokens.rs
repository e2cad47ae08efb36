//! What a token's contract says of itself: how many decimals its amounts are shown with, and its symbol. Both are for people; nothing is computed with them.

use std::time::Duration;

use alloy_dyn_abi::DynSolType;
use alloy_primitives::{Address, Bytes, U256};
use plimsoll_chain::Pool;
use plimsoll_types::address_text;
use serde_json::{Value, json};

/// Who opens a currency waits so long for a node, and no longer: it is in a transaction.
const ANSWERS_WITHIN: Duration = Duration::from_secs(2);
/// `decimals()`.
const DECIMALS: &str = "0x313ce567";
/// `symbol()`.
const SYMBOL: &str = "0x95d89b41";
/// An amount has up to 78 digits: more after the point are none that anybody meant.
const DECIMALS_MAX: u64 = 77;
const SYMBOL_MAX_CHARS: usize = 32;

/// What is said of a token, as far as it says so and a node answers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) decimals: Option<u8>,
    pub(super) symbol: Option<String>,
}

/// Asks a token about itself. Whatever goes wrong, it is only told: the books go on without it.
pub(super) async fn ask(pool: &Pool, token: Address) -> Token {
    let asked = async { tokio::join!(call(pool, token, DECIMALS), call(pool, token, SYMBOL)) };
    let Ok((decimals, symbol)) = tokio::time::timeout(ANSWERS_WITHIN, asked).await else {
        tracing::warn!(%token, "no node said within {ANSWERS_WITHIN:?} what the token is called and how many decimals it has");
        return Token::default();
    };
    Token {
        decimals: decimals.and_then(|answer| decimals_of(&answer)),
        symbol: symbol.and_then(|answer| symbol_of(&answer)),
    }
}

async fn call(pool: &Pool, token: Address, data: &str) -> Option<Bytes> {
    let params = json!([{ "to": address_text(&token), "data": data }, "latest"]);
    let asked = pool.ask(None, |rpc| {
        let params = params.clone();
        async move { rpc.raw_request("eth_call", params).await }
    });
    match asked.await {
        Ok(Value::String(text)) => text.parse().ok(),
        Ok(_) => None,
        Err(error) => {
            tracing::warn!(%token, %error, "a token does not say what it is");
            None
        }
    }
}

fn decimals_of(answer: &[u8]) -> Option<u8> {
    let number = U256::try_from_be_slice(answer.get(..32)?)?;
    u8::try_from(number).ok().filter(|decimals| u64::from(*decimals) <= DECIMALS_MAX)
}

/// As a string, or as the early tokens have it, in 32 bytes with zeros behind.
fn symbol_of(answer: &[u8]) -> Option<String> {
    let text = match DynSolType::String.abi_decode(answer) {
        Ok(value) => value.as_str()?.to_owned(),
        Err(_) => {
            let word = answer.get(..32).filter(|_| answer.len() == 32)?;
            let end = word.iter().rposition(|byte| *byte != 0)? + 1;
            std::str::from_utf8(&word[..end]).ok()?.to_owned()
        }
    };
    let is_shown = text.chars().all(|c| !c.is_control());
    (!text.trim().is_empty() && is_shown && text.chars().count() <= SYMBOL_MAX_CHARS).then_some(text)
}

#[cfg(test)]
mod tests {
    use alloy_dyn_abi::DynSolValue;

    use super::*;

    #[test]
    fn a_symbol_is_a_string_or_thirty_two_bytes_and_nothing_that_cannot_be_shown() {
        let string = |text: &str| DynSolValue::String(text.into()).abi_encode();
        assert_eq!(symbol_of(&string("USDC")).as_deref(), Some("USDC"));
        let mut word = [0; 32];
        word[..3].copy_from_slice(b"MKR");
        assert_eq!(symbol_of(&word).as_deref(), Some("MKR"));
        for not in [string(""), string("a\nb"), string(&"x".repeat(33)), vec![], vec![0; 32], vec![0xff; 31]]
        {
            assert_eq!(symbol_of(&not), None, "{not:?}");
        }
    }

    #[test]
    fn decimals_are_a_small_number() {
        let word = |number: u64| U256::from(number).to_be_bytes::<32>();
        assert_eq!(decimals_of(&word(6)), Some(6));
        assert_eq!(decimals_of(&word(77)), Some(77));
        for not in [&word(78)[..], &word(256), &[0xff; 32], &[], &[6]] {
            assert_eq!(decimals_of(not), None, "{not:?}");
        }
    }
}

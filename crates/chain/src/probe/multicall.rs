//! Many calls in one, through the contract Multicall3 (<https://github.com/mds1/multicall3>), and the proof that they ran in the
//! block that was asked for.

use alloy_dyn_abi::{DynSolType, DynSolValue};
use alloy_primitives::{Address, B256, Bytes, U256, address};

use super::reading::Question;
use crate::Header;

/// Where Multicall3 is, on every chain that has it from its authors.
pub const MULTICALL3: Address = address!("cA11bde05977b3631167028862bE2a173976CA11");

/// `aggregate3((address,bool,bytes)[])`.
const AGGREGATE3: [u8; 4] = [0x82, 0xad, 0x56, 0xcb];
/// `getEthBalance(address)`.
const BALANCE: [u8; 4] = [0x4d, 0x23, 0x01, 0xcc];
/// `getBlockNumber()`.
const BLOCK_NUMBER: [u8; 4] = [0x42, 0xcb, 0xb1, 0x5c];
/// `getBlockHash(uint256)`.
const BLOCK_HASH: [u8; 4] = [0xee, 0x82, 0xac, 0x5e];
/// `getCurrentBlockTimestamp()`.
const TIMESTAMP: [u8; 4] = [0x0f, 0x28, 0xc9, 0x7d];

/// Calldata of one call beside its own: target, flag, offsets, length.
const OVERHEAD_BYTES: usize = 6 * 32;

/// What the contract must say of the block that it runs in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Witness {
    says: Vec<Statement>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Statement {
    what: &'static str,
    data: Bytes,
    expected: B256,
}

/// One call's success and what it returned. A call that failed may have failed for want of gas, of which the calls before it had most.
pub(super) type Outcome = Result<Bytes, ()>;

impl Witness {
    /// The statements about this block. `has_own_number`: contracts of this chain see its block numbers and hashes, and not those of the
    /// chain that it is built on.
    pub(super) fn new(header: &Header, has_own_number: bool) -> Self {
        let word = |value: u64| B256::from(U256::from(value));
        let mut says = vec![Statement {
            what: "time",
            data: Bytes::from_static(&TIMESTAMP),
            expected: word(header.timestamp),
        }];
        if has_own_number {
            says.push(Statement {
                what: "number",
                data: Bytes::from_static(&BLOCK_NUMBER),
                expected: word(header.number),
            });
            // Only the hashes of blocks before the one that runs are known in it.
            if let Some(before) = header.number.checked_sub(1) {
                says.push(Statement {
                    what: "parent hash",
                    data: with_word(BLOCK_HASH, word(before)),
                    expected: header.parent_hash,
                });
            }
        }
        Self { says }
    }
}

/// How much of a multicall's calldata this question takes.
pub(super) fn calldata_bytes(question: &Question) -> usize {
    let own = match question {
        Question::Native(_) => 4 + 32,
        Question::View(view) => view.data.len(),
    };
    OVERHEAD_BYTES + own.next_multiple_of(32)
}

/// The calldata that asks these questions, and then what block it is.
///
/// The witness comes last, and must not fail: a run that was short of gas fails as a whole then.
pub(super) fn encode<'a>(
    multicall: Address,
    questions: impl Iterator<Item = &'a Question>,
    witness: &Witness,
) -> Bytes {
    let call = |target: Address, may_fail: bool, data: Bytes| {
        DynSolValue::Tuple(vec![
            DynSolValue::Address(target),
            DynSolValue::Bool(may_fail),
            DynSolValue::Bytes(data.into()),
        ])
    };
    let mut calls: Vec<_> = questions
        .map(|question| match question {
            Question::Native(account) => call(multicall, true, with_word(BALANCE, account.into_word())),
            Question::View(view) => call(view.contract, true, view.data.clone()),
        })
        .collect();
    calls.extend(witness.says.iter().map(|statement| call(multicall, false, statement.data.clone())));
    let arguments = DynSolValue::Tuple(vec![DynSolValue::Array(calls)]).abi_encode_params();
    [&AGGREGATE3[..], &arguments].concat().into()
}

/// What each of `count` calls gave, if what was returned is an answer of Multicall3, run in the block of the witness.
pub(super) fn decode(returned: &[u8], count: usize, witness: &Witness) -> Result<Vec<Outcome>, String> {
    let kind = DynSolType::Tuple(vec![DynSolType::Array(Box::new(DynSolType::Tuple(vec![
        DynSolType::Bool,
        DynSolType::Bytes,
    ])))]);
    let decoded = kind.abi_decode_params(returned).map_err(|error| error.to_string())?;
    let mut results = results(decoded).ok_or("it is not a list of results")?;
    if results.len() != count + witness.says.len() {
        return Err(format!("{} results for {} calls", results.len(), count + witness.says.len()));
    }
    for (statement, result) in witness.says.iter().zip(results.drain(count..)) {
        match result {
            Ok(said) if said[..] == statement.expected[..] => {}
            other => {
                let said = other.unwrap_or_default();
                return Err(format!(
                    "the calls ran in another block: its {} is {said} there, and {} in the header",
                    statement.what, statement.expected
                ));
            }
        }
    }
    Ok(results)
}

fn results(decoded: DynSolValue) -> Option<Vec<Outcome>> {
    let DynSolValue::Tuple(mut outputs) = decoded else { return None };
    let DynSolValue::Array(results) = outputs.pop()? else { return None };
    let result = |result| {
        let DynSolValue::Tuple(fields) = result else { return None };
        match <[DynSolValue; 2]>::try_from(fields).ok()? {
            [DynSolValue::Bool(true), DynSolValue::Bytes(returned)] => Some(Ok(returned.into())),
            [DynSolValue::Bool(false), DynSolValue::Bytes(_)] => Some(Err(())),
            _ => None,
        }
    };
    results.into_iter().map(result).collect()
}

fn with_word(selector: [u8; 4], word: B256) -> Bytes {
    [&selector[..], &word[..]].concat().into()
}

#[cfg(test)]
mod tests {
    use alloy_primitives::{Bloom, hex, keccak256};

    use super::super::reading::Probe;
    use super::*;

    fn header(number: u64) -> Header {
        let json = format!(
            r#"{{"number":"{number:#x}","hash":"{}","parentHash":"{}","timestamp":"0x6553f100","logsBloom":"{3}","receiptsRoot":"{2}",
            "transactionsRoot":"{2}","stateRoot":"{2}","gasUsed":"0x0","gasLimit":"0x0"}}"#,
            B256::repeat_byte(1),
            B256::repeat_byte(2),
            B256::ZERO,
            Bloom::ZERO,
        );
        serde_json::from_str(&json).unwrap()
    }

    /// An answer of Multicall3 with these results.
    fn returned(results: &[(bool, &[u8])]) -> Vec<u8> {
        let results = results.iter().map(|(success, data)| {
            DynSolValue::Tuple(vec![DynSolValue::Bool(*success), DynSolValue::Bytes(data.to_vec())])
        });
        DynSolValue::Tuple(vec![DynSolValue::Array(results.collect())]).abi_encode_params()
    }

    #[test]
    fn the_selectors_are_those_of_the_functions() {
        for (selector, signature) in [
            (AGGREGATE3, "aggregate3((address,bool,bytes)[])"),
            (BALANCE, "getEthBalance(address)"),
            (BLOCK_NUMBER, "getBlockNumber()"),
            (BLOCK_HASH, "getBlockHash(uint256)"),
            (TIMESTAMP, "getCurrentBlockTimestamp()"),
        ] {
            assert_eq!(selector, keccak256(signature)[..4], "{signature}");
        }
    }

    #[test]
    fn a_multicall_is_encoded_as_its_abi_has_it() {
        let question = Probe::native(Address::repeat_byte(0xaa)).question;
        let witness = Witness::new(&header(7), false);
        let data = encode(MULTICALL3, [question].iter(), &witness);
        let expected = [
            "82ad56cb",
            "0000000000000000000000000000000000000000000000000000000000000020",
            "0000000000000000000000000000000000000000000000000000000000000002",
            "0000000000000000000000000000000000000000000000000000000000000040",
            "0000000000000000000000000000000000000000000000000000000000000100",
            "000000000000000000000000ca11bde05977b3631167028862be2a173976ca11",
            "0000000000000000000000000000000000000000000000000000000000000001",
            "0000000000000000000000000000000000000000000000000000000000000060",
            "0000000000000000000000000000000000000000000000000000000000000024",
            "4d2301cc000000000000000000000000aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
            "aaaaaaaa00000000000000000000000000000000000000000000000000000000",
            "000000000000000000000000ca11bde05977b3631167028862be2a173976ca11",
            "0000000000000000000000000000000000000000000000000000000000000000",
            "0000000000000000000000000000000000000000000000000000000000000060",
            "0000000000000000000000000000000000000000000000000000000000000004",
            "0f28c97d00000000000000000000000000000000000000000000000000000000",
        ];
        assert_eq!(hex::encode(data), expected.concat());
    }

    #[test]
    fn results_are_believed_only_from_the_block_of_the_header() {
        let header = header(7);
        let word = |value: u64| U256::from(value).to_be_bytes::<32>();
        let (time, number, parent) = (word(1_700_000_000), word(7), header.parent_hash.0);
        let witness = Witness::new(&header, true);
        let answer = |time: [u8; 32], number: [u8; 32], parent: [u8; 32]| {
            returned(&[(true, b"one"), (false, b"why"), (true, &time), (true, &number), (true, &parent)])
        };
        let outcomes = decode(&answer(time, number, parent), 2, &witness);
        assert_eq!(outcomes, Ok(vec![Ok(Bytes::from_static(b"one")), Err(())]));
        for (wrong, what) in [
            (answer(word(1_700_000_012), number, parent), "its time is"),
            (answer(time, word(8), parent), "its number is"),
            (answer(time, number, [3; 32]), "its parent hash is"),
        ] {
            let error = decode(&wrong, 2, &witness).unwrap_err();
            assert!(error.contains("another block") && error.contains(what), "{error}");
        }

        // Where contracts see another chain's numbers, these are not asked for.
        let only_time = returned(&[(true, b"one"), (true, &time)]);
        assert!(decode(&only_time, 1, &Witness::new(&header, false)).is_ok());
        assert_eq!(Witness::new(&self::header(0), true).says.len(), 2, "nothing is before the first block");
    }

    #[test]
    fn what_is_no_answer_of_the_contract_is_refused() {
        let witness = Witness::new(&header(7), false);
        let time = U256::from(1_700_000_000).to_be_bytes::<32>();
        let whole = returned(&[(true, b"one"), (true, &time)]);
        assert!(decode(&whole, 1, &witness).is_ok());
        assert!(decode(&whole, 2, &witness).unwrap_err().contains("2 results for 3 calls"));
        for cut in [1, 31, 32, 64, whole.len() - 32] {
            assert!(decode(&whole[..cut], 1, &witness).is_err(), "{cut} bytes");
        }
        assert!(decode(&[0xff; 256], 1, &witness).is_err());
        assert!(
            decode(&returned(&[(true, b"one"), (false, b"")]), 1, &witness).is_err(),
            "the witness failed"
        );
    }
}

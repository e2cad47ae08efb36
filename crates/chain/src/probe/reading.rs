//! A number of the chain's state: which one is asked for, and how the answer is read.

use alloy_dyn_abi::{DynSolType, DynSolValue};
use alloy_primitives::{Address, Bytes, U256};
use plimsoll_types::{Amount, Balance};
use serde::{Serialize, Serializer};

use crate::error::CallError;

/// `balanceOf(address)` (EIP-20).
const BALANCE_OF: [u8; 4] = [0x70, 0xa0, 0x82, 0x31];

/// A number of the chain's state that can be asked for at a block. Made from a [`DeclaredProbe`](super::DeclaredProbe), or by name.
#[derive(Clone, Debug, PartialEq)]
pub struct Probe {
    pub(super) question: Question,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Question {
    /// The native balance of this account.
    Native(Address),
    View(View),
}

/// A call whose answer holds an integer.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct View {
    pub(super) contract: Address,
    pub(super) data: Bytes,
    /// Not through a contract that calls several.
    pub(super) direct: bool,
    /// What is returned.
    pub(super) outputs: DynSolType,
    /// Which of the values returned is the number.
    pub(super) place: usize,
}

/// The number that was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    /// Native balances, and values of the types `uint8` … `uint256`.
    Unsigned(Amount),
    /// Values of the types `int8` … `int256`.
    Signed(Balance),
}

/// Why a number is unknown, while the block's state could be asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProbeError {
    /// The contract reverted, or the node did not run the call.
    #[error(transparent)]
    Call(#[from] CallError),
    /// Nothing came back.
    #[error(
        "nothing was returned: at this block there is no contract at this address, or it has no such function"
    )]
    Nothing,
    /// What came back is not what was declared.
    #[error("what was returned is not {declared}: {reason}")]
    Unreadable {
        /// The declared types.
        declared: String,
        /// What is wrong.
        reason: String,
    },
    /// The answer is beyond the size that is accepted.
    #[error("the answer is too large: {0}")]
    TooLarge(String),
    /// No answer came in time, also when it was asked for with few others.
    #[error("it was not answered in time: {0}")]
    TimedOut(String),
}

impl Probe {
    /// The native balance of an account, in wei.
    #[must_use]
    pub fn native(account: Address) -> Self {
        Self { question: Question::Native(account) }
    }

    /// An account's balance of an ERC-20 token, in its smallest unit.
    #[must_use]
    pub fn erc20(token: Address, holder: Address) -> Self {
        let data = [&BALANCE_OF[..], holder.into_word().as_slice()].concat().into();
        let outputs = DynSolType::Tuple(vec![DynSolType::Uint(256)]);
        let view = View { contract: token, data, direct: false, outputs, place: 0 };
        Self { question: Question::View(view) }
    }
}

impl Question {
    /// Whose native balance is asked for.
    pub(super) fn account(&self) -> Option<Address> {
        match self {
            Self::Native(account) => Some(*account),
            Self::View(_) => None,
        }
    }

    /// Which contract is called, and how.
    pub(super) fn call(&self) -> Option<(Address, Bytes)> {
        match self {
            Self::Native(_) => None,
            Self::View(view) => Some((view.contract, view.data.clone())),
        }
    }

    /// The number in what was returned; a native balance comes as one word.
    pub(super) fn read(&self, returned: &[u8]) -> Result<Reading, ProbeError> {
        match self {
            Self::Native(_) => match <[u8; 32]>::try_from(returned) {
                Ok(word) => Ok(U256::from_be_bytes(word).into()),
                Err(_) => Err(ProbeError::Unreadable {
                    declared: "one word".to_owned(),
                    reason: format!("there are {} bytes", returned.len()),
                }),
            },
            Self::View(view) => view.read(returned),
        }
    }
}

impl View {
    fn read(&self, returned: &[u8]) -> Result<Reading, ProbeError> {
        if returned.is_empty() {
            return Err(ProbeError::Nothing);
        }
        let unreadable = |reason: String| ProbeError::Unreadable { declared: self.declared(), reason };
        let values =
            self.outputs.abi_decode_sequence(returned).map_err(|error| unreadable(error.to_string()))?;
        let DynSolValue::Tuple(values) = values else { return Err(unreadable("no values".to_owned())) };
        match values.get(self.place) {
            // A word whose spare bits are used is no value of its type (Solidity reverts on it).
            Some(DynSolValue::Uint(value, bits)) if value.bit_len() <= *bits => {
                Ok(Reading::Unsigned(Amount(*value)))
            }
            Some(DynSolValue::Int(value, bits)) if value.bits() as usize <= *bits => {
                Ok(Reading::Signed(Balance(*value)))
            }
            Some(DynSolValue::Uint(value, _)) => Err(unreadable(format!("the value is {value}"))),
            Some(DynSolValue::Int(value, _)) => Err(unreadable(format!("the value is {value}"))),
            _ => Err(unreadable("the value is no integer".to_owned())),
        }
    }

    fn declared(&self) -> String {
        match &self.outputs {
            DynSolType::Tuple(kinds) if kinds.len() == 1 => kinds[0].to_string(),
            several => several.to_string(),
        }
    }
}

impl Reading {
    /// The number, where it is of an unsigned type.
    #[must_use]
    pub fn amount(self) -> Option<Amount> {
        match self {
            Self::Unsigned(amount) => Some(amount),
            Self::Signed(_) => None,
        }
    }
}

impl From<U256> for Reading {
    fn from(value: U256) -> Self {
        Self::Unsigned(Amount(value))
    }
}

impl std::fmt::Display for Reading {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unsigned(amount) => amount.fmt(f),
            Self::Signed(balance) => balance.fmt(f),
        }
    }
}

/// As a decimal string.
impl Serialize for Reading {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl ProbeError {
    /// A stable name, used as a metric label and in JSON.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Call(CallError::Reverted { .. }) => "reverted",
            Self::Call(CallError::Failed { .. }) => "failed",
            Self::Nothing => "nothing_returned",
            Self::Unreadable { .. } => "unreadable",
            Self::TooLarge(_) => "too_large",
            Self::TimedOut(_) => "timed_out",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy_primitives::{I256, keccak256};

    fn view(outputs: &str, place: usize) -> View {
        let outputs = DynSolType::parse(outputs).unwrap();
        View { contract: Address::ZERO, data: Bytes::new(), direct: false, outputs, place }
    }

    fn words(words: &[U256]) -> Vec<u8> {
        words.iter().flat_map(U256::to_be_bytes::<32>).collect()
    }

    fn unsigned(value: u64) -> Result<Reading, ProbeError> {
        Ok(U256::from(value).into())
    }

    #[test]
    fn an_integer_is_read_by_its_declared_type() {
        let minus_one = U256::MAX;
        assert_eq!(view("(uint256)", 0).read(&words(&[U256::MAX])), Ok(U256::MAX.into()));
        assert_eq!(view("(int256)", 0).read(&words(&[minus_one])), Ok(Reading::Signed(Balance::from(-1))));
        assert_eq!(view("(int24)", 0).read(&words(&[minus_one])), Ok(Reading::Signed(Balance::from(-1))));
        assert_eq!(
            view("(int256)", 0).read(&words(&[I256::MIN.into_raw()])),
            Ok(Reading::Signed(Balance(I256::MIN)))
        );
        assert_eq!(view("(uint8)", 0).read(&words(&[U256::from(255)])), unsigned(255));
        // Behind a dynamic value, and with something after it that was not declared.
        let returned = words(&[U256::from(64), U256::from(7), U256::ZERO, U256::from(9)]);
        assert_eq!(view("(bytes,uint64)", 1).read(&returned), unsigned(7));
    }

    #[test]
    fn what_is_not_of_its_declared_type_is_unknown_and_never_cut_to_fit() {
        let word = |value: u64| words(&[U256::from(value)]);
        for (declared, shown, returned) in [
            ("(uint8)", "uint8", word(256)),
            ("(int8)", "int8", word(128)),
            ("(int8)", "int8", words(&[U256::from(1) << 255])),
            ("(uint256)", "uint256", vec![0; 31]),
            ("(uint256,uint256)", "(uint256,uint256)", word(1)),
            ("(bytes,uint64)", "(bytes,uint64)", words(&[U256::MAX, U256::from(7)])),
        ] {
            let error = view(declared, 0).read(&returned).unwrap_err();
            assert_eq!(error.as_str(), "unreadable", "{declared}: {error}");
            assert!(error.to_string().contains(&format!("is not {shown}: ")), "{error}");
        }
        assert_eq!(view("(uint256)", 0).read(&[]), Err(ProbeError::Nothing));
    }

    #[test]
    fn a_token_is_asked_by_its_standard_function() {
        assert_eq!(BALANCE_OF, keccak256("balanceOf(address)")[..4]);
        let Question::View(view) = Probe::erc20(Address::repeat_byte(1), Address::repeat_byte(2)).question
        else {
            panic!("a token's balance is a call")
        };
        assert_eq!(view.data[4..], Address::repeat_byte(2).into_word()[..]);
    }

    #[test]
    fn a_reading_is_a_decimal_string_in_json() {
        assert_eq!(serde_json::to_string(&Reading::from(U256::MAX)).unwrap(), format!("\"{}\"", U256::MAX));
        assert_eq!(serde_json::to_string(&Reading::Signed(Balance::from(-5))).unwrap(), "\"-5\"");
    }
}

use std::fmt;
use std::str::FromStr;

use alloy_primitives::I256;
use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::amount::MAX_SAFE_JSON_INTEGER;

/// The longest text: 2^255 has 77 digits, and a sign.
const MAX_TEXT_BYTES: usize = 78;

/// A signed integer quantity of a token's smallest unit, -2^255 … 2^255-1: a Solidity `int256`.
///
/// In JSON a decimal string; a JSON integer of less than 2^53 either way is accepted too. Never a float.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Balance(pub I256);

/// A text that is not a balance.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{given}` is not a balance: give a whole number from -2^255 to 2^255-1 in decimal digits")]
pub struct BalanceError {
    given: String,
}

impl Balance {
    /// Nothing.
    pub const ZERO: Self = Self(I256::ZERO);
}

impl From<I256> for Balance {
    fn from(value: I256) -> Self {
        Self(value)
    }
}

impl From<i64> for Balance {
    fn from(value: i64) -> Self {
        Self(I256::try_from(value).expect("64 bits fit into 256"))
    }
}

impl fmt::Display for Balance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl FromStr for Balance {
    type Err = BalanceError;

    fn from_str(text: &str) -> Result<Self, BalanceError> {
        let error = || BalanceError { given: text.chars().take(100).collect() };
        let digits = text.strip_prefix('-').unwrap_or(text);
        let is_number = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
        if !is_number || text.len() > MAX_TEXT_BYTES {
            return Err(error());
        }
        I256::from_dec_str(text).map(Self).map_err(|_| error())
    }
}

impl Serialize for Balance {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Balance {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct BalanceVisitor;

        impl BalanceVisitor {
            fn checked<E: de::Error>(value: i64) -> Result<Balance, E> {
                if value.unsigned_abs() > MAX_SAFE_JSON_INTEGER {
                    return Err(E::custom("an integer of 2^53 or more must be given as a decimal string"));
                }
                Ok(Balance::from(value))
            }
        }

        impl Visitor<'_> for BalanceVisitor {
            type Value = Balance;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a decimal string, or an integer of less than 2^53")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Balance, E> {
                text.parse().map_err(E::custom)
            }

            fn visit_i64<E: de::Error>(self, value: i64) -> Result<Balance, E> {
                Self::checked(value)
            }

            fn visit_u64<E: de::Error>(self, value: u64) -> Result<Balance, E> {
                Self::checked(i64::try_from(value).unwrap_or(i64::MAX))
            }
        }

        deserializer.deserialize_any(BalanceVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy_primitives::U256;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_balance_survives_json(limbs: [u64; 4]) {
            let balance = Balance(I256::from_raw(U256::from_limbs(limbs)));
            let json = serde_json::to_string(&balance).unwrap();
            prop_assert_eq!(serde_json::from_str::<Balance>(&json).unwrap(), balance);
        }
    }

    #[test]
    fn the_ends_of_the_range_are_in_it_and_one_more_is_not() {
        for (value, beyond) in
            [(I256::MIN, U256::from(1) << 255), (I256::MAX, (U256::from(1) << 255) - U256::from(1))]
        {
            assert_eq!(value.to_string().parse(), Ok(Balance(value)));
            let sign = if value.is_negative() { "-" } else { "" };
            assert!(format!("{sign}{}", beyond + U256::from(1)).parse::<Balance>().is_err());
        }
    }

    #[test]
    fn what_is_not_a_whole_number_is_refused() {
        for text in ["", "-", "--1", "+1", "1.0", "1e3", "0x10", " 1", "1_000"] {
            assert!(text.parse::<Balance>().is_err(), "{text}");
        }
        for json in ["1.5", "9007199254740992", "-9007199254740992", "18446744073709551615", "true", "null"] {
            assert!(serde_json::from_str::<Balance>(json).is_err(), "{json}");
        }
        assert_eq!(
            serde_json::from_str::<Balance>("-9007199254740991").unwrap(),
            Balance::from(-9_007_199_254_740_991)
        );
        assert_eq!(serde_json::from_str::<Balance>("\"-7\"").unwrap(), Balance::from(-7));
    }
}

use std::fmt;
use std::str::FromStr;

use alloy_primitives::U256;
use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Integers up to here survive a JSON number in every reader (RFC 8259 §6, IEEE 754 doubles).
pub(crate) const MAX_SAFE_JSON_INTEGER: u64 = (1 << 53) - 1;

/// An unsigned integer quantity of a token's smallest unit, 0 … 2^256-1.
///
/// In JSON a decimal string; a JSON integer below 2^53 is accepted too. Never a float.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Amount(pub U256);

/// A text that is not an amount.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{given}` is not an amount: give a whole number from 0 to 2^256-1 in decimal digits")]
pub struct AmountError {
    given: String,
}

impl Amount {
    /// Nothing.
    pub const ZERO: Self = Self(U256::ZERO);

    /// The amount as a `u64`, where it fits.
    #[must_use]
    pub fn to_u64(self) -> Option<u64> {
        u64::try_from(self.0).ok()
    }
}

impl From<u64> for Amount {
    fn from(value: u64) -> Self {
        Self(U256::from(value))
    }
}

impl From<u128> for Amount {
    fn from(value: u128) -> Self {
        Self(U256::from(value))
    }
}

impl From<U256> for Amount {
    fn from(value: U256) -> Self {
        Self(value)
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl FromStr for Amount {
    type Err = AmountError;

    fn from_str(text: &str) -> Result<Self, AmountError> {
        let error = || AmountError { given: text.chars().take(100).collect() };
        if text.is_empty() || text.len() > 78 || !text.bytes().all(|b| b.is_ascii_digit()) {
            return Err(error());
        }
        U256::from_str_radix(text, 10).map(Self).map_err(|_| error())
    }
}

impl Serialize for Amount {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Amount {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AmountVisitor;

        impl Visitor<'_> for AmountVisitor {
            type Value = Amount;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a decimal string, or an integer below 2^53")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Amount, E> {
                text.parse().map_err(E::custom)
            }

            fn visit_u64<E: de::Error>(self, value: u64) -> Result<Amount, E> {
                if value > MAX_SAFE_JSON_INTEGER {
                    return Err(E::custom("an integer of 2^53 or more must be given as a decimal string"));
                }
                Ok(Amount::from(value))
            }
        }

        deserializer.deserialize_any(AmountVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_amount_survives_json(limbs: [u64; 4]) {
            let amount = Amount(U256::from_limbs(limbs));
            let json = serde_json::to_string(&amount).unwrap();
            prop_assert_eq!(serde_json::from_str::<Amount>(&json).unwrap(), amount);
        }
    }

    #[test]
    fn what_is_not_a_whole_number_in_range_is_refused() {
        let too_large = format!("{}0", U256::MAX);
        for text in ["", "-1", "+1", "1.0", "1e3", "0x10", " 1", too_large.as_str()] {
            assert!(text.parse::<Amount>().is_err(), "{text}");
        }
        for json in ["1.5", "-1", "9007199254740992", "true", "null"] {
            assert!(serde_json::from_str::<Amount>(json).is_err(), "{json}");
        }
        assert_eq!(
            serde_json::from_str::<Amount>("9007199254740991").unwrap().to_u64(),
            Some(MAX_SAFE_JSON_INTEGER)
        );
    }
}

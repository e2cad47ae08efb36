//! Hex strings of the Ethereum JSON-RPC, decoded from the borrowed text straight into their value.
//!
//! Stricter than a general decoder: the `0x` prefix is required and a fixed-size value must have its exact length, so
//! that a mangled answer is refused instead of being padded into something plausible. Leading zeros of a quantity are
//! let through: some nodes write them, and they change no value.

use std::{fmt, marker::PhantomData};

use alloy_primitives::{Address, Bloom, Bytes, FixedBytes, U256, hex};
use serde::{
    Deserialize, Deserializer,
    de::{Error, Visitor},
};

/// A value that travels as a `0x…` string.
#[derive(Clone, Debug)]
pub struct Hex<T>(pub T);

/// What can be read from the digits after `0x`.
pub trait FromHexDigits: Sized {
    /// What was expected, for the error text.
    const EXPECTED: &'static str;

    /// Reads the value; `None` if the digits do not spell one.
    fn from_digits(digits: &str) -> Option<Self>;
}

impl<'de, T: FromHexDigits> Deserialize<'de> for Hex<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text<T>(PhantomData<T>);

        impl<T: FromHexDigits> Visitor<'_> for Text<T> {
            type Value = Hex<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(T::EXPECTED)
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Hex<T>, E> {
                text.strip_prefix("0x")
                    .and_then(T::from_digits)
                    .map(Hex)
                    .ok_or_else(|| E::custom(format_args!("expected {}, found {:.80?}", T::EXPECTED, text)))
            }
        }

        deserializer.deserialize_str(Text(PhantomData))
    }
}

/// For `deserialize_with`: a value that must be there.
///
/// # Errors
/// Where the text does not spell the value.
pub fn required<'de, T: FromHexDigits, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
    Hex::deserialize(deserializer).map(|hex| hex.0)
}

/// For `default, deserialize_with`: a value that may be missing or null.
///
/// # Errors
/// Where the text does not spell the value.
pub fn optional<'de, T: FromHexDigits, D: Deserializer<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    Option::<Hex<T>>::deserialize(deserializer).map(|hex| hex.map(|hex| hex.0))
}

/// For `default, deserialize_with`: a value that is its default when missing or null.
///
/// # Errors
/// Where the text does not spell the value.
pub fn or_default<'de, T, D>(deserializer: D) -> Result<T, D::Error>
where
    T: FromHexDigits + Default,
    D: Deserializer<'de>,
{
    optional(deserializer).map(Option::unwrap_or_default)
}

/// For `default, deserialize_with`: a list that is empty when missing or null.
///
/// # Errors
/// Where a member's text does not spell its value.
pub fn list<'de, T: FromHexDigits, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<T>, D::Error> {
    let list = Option::<Vec<Hex<T>>>::deserialize(deserializer)?.unwrap_or_default();
    Ok(list.into_iter().map(|hex| hex.0).collect())
}

impl<const N: usize> FromHexDigits for FixedBytes<N> {
    const EXPECTED: &'static str = "a 0x string of a fixed number of bytes";

    fn from_digits(digits: &str) -> Option<Self> {
        if digits.len() != 2 * N {
            return None;
        }
        let mut bytes = [0; N];
        hex::decode_to_slice(digits, &mut bytes).ok()?;
        Some(Self(bytes))
    }
}

impl FromHexDigits for Address {
    const EXPECTED: &'static str = "a 0x address of 20 bytes";

    fn from_digits(digits: &str) -> Option<Self> {
        FixedBytes::from_digits(digits).map(Self)
    }
}

impl FromHexDigits for Bloom {
    const EXPECTED: &'static str = "a 0x bloom filter of 256 bytes";

    fn from_digits(digits: &str) -> Option<Self> {
        FixedBytes::from_digits(digits).map(Self)
    }
}

impl FromHexDigits for Bytes {
    const EXPECTED: &'static str = "a 0x string of whole bytes";

    fn from_digits(digits: &str) -> Option<Self> {
        if digits.is_empty() {
            return Some(Self::new());
        }
        if !digits.len().is_multiple_of(2) {
            return None;
        }
        let mut bytes = vec![0; digits.len() / 2];
        hex::decode_to_slice(digits, &mut bytes).ok()?;
        Some(bytes.into())
    }
}

fn quantity(digits: &str, max_bits: u32) -> Option<u128> {
    if digits.is_empty() {
        return None;
    }
    let mut value: u128 = 0;
    for byte in digits.bytes() {
        let digit = char::from(byte).to_digit(16)?;
        if value >> (max_bits - 4) != 0 {
            return None;
        }
        value = value << 4 | u128::from(digit);
    }
    Some(value)
}

impl FromHexDigits for u128 {
    const EXPECTED: &'static str = "a 0x quantity of at most 128 bits";

    fn from_digits(digits: &str) -> Option<Self> {
        quantity(digits, 128)
    }
}

impl FromHexDigits for u64 {
    const EXPECTED: &'static str = "a 0x quantity of at most 64 bits";

    fn from_digits(digits: &str) -> Option<Self> {
        quantity(digits, 64).and_then(|value| value.try_into().ok())
    }
}

impl FromHexDigits for u32 {
    const EXPECTED: &'static str = "a 0x quantity of at most 32 bits";

    fn from_digits(digits: &str) -> Option<Self> {
        quantity(digits, 32).and_then(|value| value.try_into().ok())
    }
}

impl FromHexDigits for u8 {
    const EXPECTED: &'static str = "a 0x quantity of at most 8 bits";

    fn from_digits(digits: &str) -> Option<Self> {
        quantity(digits, 8).and_then(|value| value.try_into().ok())
    }
}

impl FromHexDigits for U256 {
    const EXPECTED: &'static str = "a 0x quantity of at most 256 bits";

    fn from_digits(digits: &str) -> Option<Self> {
        const DIGITS: usize = 64;
        let short = digits.trim_start_matches('0');
        if digits.is_empty() || short.len() > DIGITS {
            return None;
        }
        let mut padded = [b'0'; DIGITS];
        padded[DIGITS - short.len()..].copy_from_slice(short.as_bytes());
        let mut bytes = [0; 32];
        hex::decode_to_slice(padded, &mut bytes).ok()?;
        Some(Self::from_be_bytes(bytes))
    }
}

#[cfg(test)]
mod tests {
    use alloy_primitives::B256;

    use super::*;

    fn read<T: FromHexDigits>(json: &str) -> Result<T, serde_json::Error> {
        serde_json::from_str::<Hex<T>>(json).map(|hex| hex.0)
    }

    #[test]
    fn quantities_are_read_up_to_their_width_and_no_further() {
        assert_eq!(read::<u64>(r#""0x0""#).unwrap(), 0);
        assert_eq!(read::<u64>(r#""0x00ff""#).unwrap(), 255);
        assert_eq!(read::<u64>(r#""0xFfFfFfFfFfFfFfFf""#).unwrap(), u64::MAX);
        assert_eq!(read::<u32>(r#""0xffffffff""#).unwrap(), u32::MAX);
        assert_eq!(read::<u128>(r#""0xffffffffffffffffffffffffffffffff""#).unwrap(), u128::MAX);
        assert!(read::<u128>(r#""0x1ffffffffffffffffffffffffffffffff""#).is_err());
        assert_eq!(read::<u8>(r#""0x6a""#).unwrap(), 0x6a);
        assert_eq!(read::<U256>(r#""0x00Ff""#).unwrap(), U256::from(255));
        assert_eq!(read::<U256>(&format!("\"0x{}\"", "f".repeat(64))).unwrap(), U256::MAX);
        for bad in [r#""0x10000000000000000""#, r#""0x""#, r#""12""#, r#""0xg""#, r#""0x_1""#, "12", "null"] {
            assert!(read::<u64>(bad).is_err(), "{bad} was taken for a 64 bit quantity");
            assert!(bad.len() > 18 || read::<U256>(bad).is_err(), "{bad} was taken for a 256 bit quantity");
        }
        assert!(read::<u32>(r#""0x100000000""#).is_err());
        assert!(read::<u8>(r#""0x100""#).is_err());
        assert!(read::<U256>(&format!("\"0x1{}\"", "0".repeat(64))).is_err());
    }

    #[test]
    fn fixed_values_must_have_their_exact_length() {
        let text = format!("\"0x{}\"", "ab".repeat(32));
        assert_eq!(read::<B256>(&text).unwrap(), B256::repeat_byte(0xab));
        for bad in [
            "0x",
            "0xab",
            &"ab".repeat(32),
            &format!("0x{}", "ab".repeat(33)),
            &format!("0x{}", "zz".repeat(32)),
        ] {
            assert!(read::<B256>(&format!("\"{bad}\"")).is_err(), "{bad} was taken for a hash");
        }
    }

    #[test]
    fn byte_strings_are_whole_bytes() {
        assert_eq!(read::<Bytes>(r#""0x""#).unwrap(), Bytes::new());
        assert_eq!(read::<Bytes>(r#""0x00Ff""#).unwrap(), Bytes::from_static(&[0, 255]));
        assert!(read::<Bytes>(r#""0x0""#).is_err());
        assert!(read::<Bytes>(r#""00""#).is_err());
    }
}

//! How values are spelled in an export: each in one way.

use std::{fmt, marker::PhantomData};

use alloy_primitives::{B256, I256, U256, hex};
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{Error, Visitor},
};
use time::{Date, Month, Time, UtcDateTime};
use uuid::Uuid;

use crate::ledger::encoding::Direction;

/// A value that is a JSON string.
pub(super) trait Spelled: Sized {
    /// For the error's text.
    const EXPECTED: &'static str;

    /// `None` of any other spelling than [`Spelled::write`]'s.
    fn parse(text: &str) -> Option<Self>;

    /// Its one spelling.
    fn write(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result;
}

/// The value as that string.
pub(super) struct Text<V>(pub(super) V);

impl<V: Spelled> fmt::Display for Text<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.write(f)
    }
}

impl<V: Spelled> Serialize for Text<V> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de, V: Spelled> Deserialize<'de> for Text<V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Spelling<V>(PhantomData<V>);

        impl<V: Spelled> Visitor<'_> for Spelling<V> {
            type Value = Text<V>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(V::EXPECTED)
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Text<V>, E> {
                V::parse(text)
                    .map(Text)
                    .ok_or_else(|| E::custom(format_args!("expected {}, found {text:.80?}", V::EXPECTED)))
            }
        }

        deserializer.deserialize_str(Spelling(PhantomData))
    }
}

/// For `deserialize_with`: a value that may be null, but not missing.
pub(super) fn nullable<'de, V: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<V>, D::Error> {
    Option::deserialize(deserializer)
}

impl Spelled for Uuid {
    const EXPECTED: &'static str = "a UUID in lower case with hyphens";

    fn parse(text: &str) -> Option<Self> {
        let id = Self::try_parse(text).ok()?;
        let mut buffer = Self::encode_buffer();
        (id.hyphenated().encode_lower(&mut buffer) == text).then_some(id)
    }

    fn write(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Spelled for B256 {
    const EXPECTED: &'static str = "0x and 64 hexadecimal digits in lower case";

    fn parse(text: &str) -> Option<Self> {
        let digits = text.strip_prefix("0x")?;
        if digits.len() != 64 || digits.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return None;
        }
        hex::decode_to_array(digits).ok().map(Self::new)
    }

    fn write(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:#x}")
    }
}

impl Spelled for Direction {
    const EXPECTED: &'static str = "debit or credit";

    fn parse(text: &str) -> Option<Self> {
        match text {
            "debit" => Some(Self::Debit),
            "credit" => Some(Self::Credit),
            _ => None,
        }
    }

    fn write(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Debit => "debit",
            Self::Credit => "credit",
        })
    }
}

impl Spelled for U256 {
    const EXPECTED: &'static str = "a decimal number from 0 to 2^256-1 without leading zeros";

    fn parse(text: &str) -> Option<Self> {
        /// What any number of so many digits fits into is read as that, which is faster.
        const DIGITS_OF_U128: usize = 38;
        let is_spelled = !text.is_empty()
            && text.bytes().all(|byte| byte.is_ascii_digit())
            && (text == "0" || !text.starts_with('0'));
        if !is_spelled {
            None
        } else if text.len() <= DIGITS_OF_U128 {
            text.parse::<u128>().ok().map(Self::from)
        } else {
            Self::from_str_radix(text, 10).ok()
        }
    }

    fn write(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Spelled for I256 {
    const EXPECTED: &'static str = "a decimal number from -2^255 to 2^255-1 without leading zeros";

    fn parse(text: &str) -> Option<Self> {
        match text.strip_prefix('-') {
            None => Self::try_from(U256::parse(text)?).ok(),
            Some(digits) => {
                let magnitude = U256::parse(digits).filter(|magnitude| !magnitude.is_zero())?;
                let value = Self::from_raw(magnitude.wrapping_neg());
                // Of a magnitude beyond 2^255 the negative is not.
                value.is_negative().then_some(value)
            }
        }
    }

    fn write(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Microseconds since 1970 UTC, within the years that RFC 3339 has a text for.
#[derive(Clone, Copy)]
pub(super) struct Micros(i64);

impl Micros {
    /// `None` of a time outside of the years 0 to 9999.
    pub(super) fn new(us: i64) -> Option<Self> {
        let time = Self(us).date_time()?;
        (0..=9999).contains(&time.year()).then_some(Self(us))
    }

    pub(super) fn us(self) -> i64 {
        self.0
    }

    fn date_time(self) -> Option<UtcDateTime> {
        UtcDateTime::from_unix_timestamp_nanos(i128::from(self.0) * 1_000).ok()
    }
}

impl Spelled for Micros {
    const EXPECTED: &'static str = "a time in UTC with microseconds, as 2026-11-22T12:34:05.123456Z";

    fn parse(text: &str) -> Option<Self> {
        const LAYOUT: &[u8; 27] = b"0000-00-00T00:00:00.000000Z";
        let text: &[u8; 27] = text.as_bytes().try_into().ok()?;
        let is_laid_out = text.iter().zip(LAYOUT).all(|(byte, expected)| match expected {
            b'0' => byte.is_ascii_digit(),
            mark => byte == mark,
        });
        if !is_laid_out {
            return None;
        }
        let number = |at: usize, digits: usize| {
            text[at..at + digits].iter().fold(0_u32, |number, byte| number * 10 + u32::from(byte - b'0'))
        };
        let small = |at: usize| u8::try_from(number(at, 2)).ok();
        let month = Month::try_from(small(5)?).ok()?;
        let date = Date::from_calendar_date(i32::try_from(number(0, 4)).ok()?, month, small(8)?).ok()?;
        let time = Time::from_hms_micro(small(11)?, small(14)?, small(17)?, number(20, 6)).ok()?;
        let us = UtcDateTime::new(date, time).unix_timestamp_nanos() / 1_000;
        i64::try_from(us).ok().map(Self)
    }

    fn write(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = self.date_time().ok_or(fmt::Error)?;
        let ((year, month, day), (hour, minute, second, us)) = (time.to_calendar_date(), time.as_hms_micro());
        let month = u8::from(month);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{us:06}Z")
    }
}

//! Whole numbers of bodies: to JSON Schema `86400.0` is one as well (draft 2020-12, core §6.3), and languages with one kind of number send that.

use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::{Deserializer, Error, Unexpected, Visitor};

/// From here on a double may be another number than was written (RFC 7493 §2.2).
const INEXACT_FROM: f64 = 9_007_199_254_740_992.0;

/// Reads a whole number, with or without a fraction of nothing.
pub(super) fn whole<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: TryFrom<u64>,
{
    deserializer.deserialize_any(Whole(PhantomData))
}

/// The same, where there may be none.
pub(super) fn whole_or_none<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: TryFrom<u64>,
{
    #[derive(Deserialize)]
    #[serde(bound = "T: TryFrom<u64>")]
    struct One<T>(#[serde(deserialize_with = "whole")] T);

    Ok(Option::<One<T>>::deserialize(deserializer)?.map(|One(number)| number))
}

struct Whole<T>(PhantomData<T>);

impl<T: TryFrom<u64>> Visitor<'_> for Whole<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a whole number within its range")
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<T, E> {
        T::try_from(number).map_err(|_| E::invalid_value(Unexpected::Unsigned(number), &self))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<T, E> {
        let unsigned = u64::try_from(number);
        unsigned
            .map_err(|_| E::invalid_value(Unexpected::Signed(number), &self))
            .and_then(|n| self.visit_u64(n))
    }

    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // it is whole, not negative, and below 2⁵³
    fn visit_f64<E: Error>(self, number: f64) -> Result<T, E> {
        match number.fract() == 0.0 && (0.0..INEXACT_FROM).contains(&number) {
            true => self.visit_u64(number as u64),
            false => Err(E::invalid_value(Unexpected::Float(number), &self)),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    #[derive(Debug, PartialEq, Deserialize)]
    struct Days(#[serde(deserialize_with = "super::whole")] u16);

    #[test]
    fn a_whole_number_is_taken_however_it_is_written_and_no_other() {
        for text in ["90", "90.0", "9e1", "9.0E+1"] {
            assert_eq!(serde_json::from_str::<Days>(text).unwrap(), Days(90), "{text}");
        }
        for text in ["90.5", "-1", "-90.0", "65536", "65536.0", "1e300", "\"90\"", "null", "true"] {
            assert!(serde_json::from_str::<Days>(text).is_err(), "{text}");
        }
    }

    #[derive(Debug, PartialEq, Deserialize)]
    struct Gas {
        #[serde(default, deserialize_with = "super::whole_or_none")]
        limit: Option<u64>,
    }

    #[test]
    fn where_there_may_be_none_a_number_is_read_like_any_other() {
        for (text, limit) in
            [("{}", None), (r#"{"limit":null}"#, None), (r#"{"limit":21000.0}"#, Some(21_000))]
        {
            assert_eq!(serde_json::from_str::<Gas>(text).unwrap(), Gas { limit }, "{text}");
        }
        assert!(serde_json::from_str::<Gas>(r#"{"limit":0.5}"#).is_err());
    }

    #[derive(Debug, PartialEq, Deserialize)]
    struct ChainId(#[serde(deserialize_with = "super::whole")] u64);

    #[test]
    fn a_long_double_is_not_taken_and_a_long_number_is() {
        for (text, number) in [
            ("9007199254740993", 9_007_199_254_740_993),
            ("9007199254740991.0", 9_007_199_254_740_991),
            ("0.0", 0),
        ] {
            assert_eq!(serde_json::from_str::<ChainId>(text).unwrap(), ChainId(number), "{text}");
        }
        assert!(serde_json::from_str::<ChainId>("9007199254740992.0").is_err());
    }
}

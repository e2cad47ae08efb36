//! [`Amount`] and [`Balance`] as Postgres `NUMERIC`, in its binary form: base-10000 digits, weight, sign, scale
//! (`numeric_send` in Postgres's `numeric.c`).

use alloy_primitives::{I256, Sign, U256};
use sqlx::encode::IsNull;
use sqlx::error::BoxDynError;
use sqlx::postgres::{PgArgumentBuffer, PgHasArrayType, PgTypeInfo, PgValueFormat, PgValueRef, Postgres};
use sqlx::{Decode, Encode, Type};

use crate::{Amount, Balance};

/// 2^256-1 has 78 decimal digits, so at most 20 base-10000 digits.
const MAX_DIGITS: usize = 20;
const BASE: u64 = 10_000;
/// The sign of what is below zero.
const NEGATIVE: u16 = 0x4000;

impl Type<Postgres> for Amount {
    fn type_info() -> PgTypeInfo {
        PgTypeInfo::with_name("numeric")
    }
}

impl PgHasArrayType for Amount {
    fn array_type_info() -> PgTypeInfo {
        PgTypeInfo::with_name("_numeric")
    }
}

/// Appends the binary `NUMERIC`: the body of a field, without its length.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_possible_wrap)]
fn put(magnitude: U256, is_negative: bool, out: &mut Vec<u8>) {
    let mut digits = [0u16; MAX_DIGITS];
    let mut count = 0;
    if let Ok(mut value) = u64::try_from(magnitude) {
        while value > 0 {
            digits[count] = (value % BASE) as u16;
            value /= BASE;
            count += 1;
        }
    } else {
        let mut value = magnitude;
        while !value.is_zero() {
            let (quotient, remainder) = value.div_rem(U256::from(BASE));
            digits[count] = remainder.to::<u16>();
            value = quotient;
            count += 1;
        }
    }
    let trailing = digits[..count].iter().take_while(|d| **d == 0).count();
    let weight = count.saturating_sub(1) as i16;
    out.extend_from_slice(&((count - trailing) as i16).to_be_bytes());
    out.extend_from_slice(&weight.to_be_bytes());
    out.extend_from_slice(&(if is_negative { NEGATIVE } else { 0 }).to_be_bytes());
    out.extend_from_slice(&[0, 0]); // scale 0
    for digit in digits[trailing..count].iter().rev() {
        out.extend_from_slice(&digit.to_be_bytes());
    }
}

/// Reads one back: its magnitude, and whether it is negative.
fn take(bytes: &[u8]) -> Result<(U256, bool), BoxDynError> {
    let word = |i: usize| -> Result<u16, BoxDynError> {
        let pair = bytes.get(i * 2..i * 2 + 2).ok_or("a NUMERIC that ends early")?;
        Ok(u16::from_be_bytes([pair[0], pair[1]]))
    };
    let (count, weight, sign) = (word(0)?, i16::from_be_bytes(word(1)?.to_be_bytes()), word(2)?);
    let is_negative = match sign {
        0 => false,
        NEGATIVE => true,
        _ => return Err("a NUMERIC that is not a number".into()),
    };
    let mut value = U256::ZERO;
    for i in 0..count {
        let place = i32::from(weight) - i32::from(i);
        let digit = word(usize::from(4 + i))?;
        let place = match u32::try_from(place) {
            Ok(place) => place,
            Err(_) if digit == 0 => continue,
            Err(_) => return Err("a NUMERIC with a fraction is no whole number".into()),
        };
        let term = U256::from(BASE)
            .checked_pow(U256::from(place))
            .and_then(|unit| unit.checked_mul(U256::from(digit)))
            .ok_or("a NUMERIC beyond 2^256-1")?;
        value = value.checked_add(term).ok_or("a NUMERIC beyond 2^256-1")?;
    }
    Ok((value, is_negative))
}

impl Amount {
    /// Appends the binary `NUMERIC`: the body of a field, without its length.
    pub fn put_numeric(self, out: &mut Vec<u8>) {
        put(self.0, false, out);
    }

    fn from_numeric(bytes: &[u8]) -> Result<Self, BoxDynError> {
        match take(bytes)? {
            (value, false) => Ok(Self(value)),
            (_, true) => Err("a NUMERIC that is negative cannot be an Amount".into()),
        }
    }
}

impl Balance {
    fn from_numeric(bytes: &[u8]) -> Result<Self, BoxDynError> {
        let (magnitude, is_negative) = take(bytes)?;
        let sign = if is_negative { Sign::Negative } else { Sign::Positive };
        let value = I256::checked_from_sign_and_abs(sign, magnitude);
        value.map(Self).ok_or_else(|| "a NUMERIC beyond 255 bits cannot be a Balance".into())
    }
}

impl Type<Postgres> for Balance {
    fn type_info() -> PgTypeInfo {
        PgTypeInfo::with_name("numeric")
    }
}

impl PgHasArrayType for Balance {
    fn array_type_info() -> PgTypeInfo {
        PgTypeInfo::with_name("_numeric")
    }
}

impl Encode<'_, Postgres> for Balance {
    fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        let mut bytes = Vec::with_capacity(8 + 2 * MAX_DIGITS);
        put(self.0.unsigned_abs(), self.0.is_negative(), &mut bytes);
        buffer.extend_from_slice(&bytes);
        Ok(IsNull::No)
    }
}

impl Decode<'_, Postgres> for Balance {
    fn decode(value: PgValueRef<'_>) -> Result<Self, BoxDynError> {
        match value.format() {
            PgValueFormat::Binary => Self::from_numeric(value.as_bytes()?),
            PgValueFormat::Text => Ok(value.as_str()?.parse()?),
        }
    }
}

impl Encode<'_, Postgres> for Amount {
    fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        let mut bytes = Vec::with_capacity(8 + 2 * MAX_DIGITS);
        self.put_numeric(&mut bytes);
        buffer.extend_from_slice(&bytes);
        Ok(IsNull::No)
    }
}

impl Decode<'_, Postgres> for Amount {
    fn decode(value: PgValueRef<'_>) -> Result<Self, BoxDynError> {
        match value.format() {
            PgValueFormat::Binary => Self::from_numeric(value.as_bytes()?),
            PgValueFormat::Text => Ok(value.as_str()?.parse()?),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_amount_survives_the_binary_numeric(limbs: [u64; 4], shift in 0usize..256) {
            let amount = Amount(U256::from_limbs(limbs) >> shift);
            let mut bytes = Vec::new();
            amount.put_numeric(&mut bytes);
            prop_assert_eq!(Amount::from_numeric(&bytes).unwrap(), amount);
        }
    }

    proptest! {
        #[test]
        fn every_balance_survives_the_binary_numeric(limbs: [u64; 4], shift in 0usize..256) {
            let balance = Balance(I256::from_raw(U256::from_limbs(limbs)).asr(shift));
            let mut bytes = Vec::new();
            put(balance.0.unsigned_abs(), balance.0.is_negative(), &mut bytes);
            prop_assert_eq!(Balance::from_numeric(&bytes).unwrap(), balance);
        }
    }

    #[test]
    fn what_is_no_balance_is_refused() {
        let mut beyond = Vec::new();
        put(U256::ONE << 255, false, &mut beyond);
        let not_a_number = [0, 0, 0, 0, 0xc0, 0, 0, 0];
        for bytes in [&beyond[..], &not_a_number] {
            assert!(Balance::from_numeric(bytes).is_err(), "{bytes:?}");
        }
        let mut lowest = Vec::new();
        put(U256::ONE << 255, true, &mut lowest);
        assert_eq!(Balance::from_numeric(&lowest).unwrap(), Balance(I256::MIN));
    }

    #[test]
    fn trailing_zero_digits_are_left_out_as_postgres_does() {
        let mut bytes = Vec::new();
        Amount::from(100_000_000u64).put_numeric(&mut bytes);
        assert_eq!(bytes, [0, 1, 0, 2, 0, 0, 0, 0, 0, 1]);
    }

    #[test]
    fn what_is_no_amount_is_refused() {
        let negative = [0, 1, 0, 0, 0x40, 0, 0, 0, 0, 1];
        let fraction = [0, 1, 0xff, 0xff, 0, 0, 0, 1, 0, 1];
        let too_large = [0, 1, 0, 40, 0, 0, 0, 0, 0, 1];
        for bytes in [&negative[..], &fraction, &too_large, &[0, 1]] {
            assert!(Amount::from_numeric(bytes).is_err(), "{bytes:?}");
        }
    }
}

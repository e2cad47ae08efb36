//! [`Amount`] as Postgres `NUMERIC`, in its binary form: base-10000 digits, weight, sign, scale
//! (`numeric_send` in Postgres's `numeric.c`).

use alloy_primitives::U256;
use sqlx::encode::IsNull;
use sqlx::error::BoxDynError;
use sqlx::postgres::{PgArgumentBuffer, PgHasArrayType, PgTypeInfo, PgValueFormat, PgValueRef, Postgres};
use sqlx::{Decode, Encode, Type};

use crate::Amount;

/// 2^256-1 has 78 decimal digits, so at most 20 base-10000 digits.
const MAX_DIGITS: usize = 20;
const BASE: u64 = 10_000;

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

impl Amount {
    /// Appends the binary `NUMERIC`: the body of a field, without its length.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_possible_wrap)]
    pub fn put_numeric(self, out: &mut Vec<u8>) {
        let mut digits = [0u16; MAX_DIGITS];
        let mut count = 0;
        if let Some(mut value) = self.to_u64() {
            while value > 0 {
                digits[count] = (value % BASE) as u16;
                value /= BASE;
                count += 1;
            }
        } else {
            let mut value = self.0;
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
        out.extend_from_slice(&[0, 0, 0, 0]); // positive, scale 0
        for digit in digits[trailing..count].iter().rev() {
            out.extend_from_slice(&digit.to_be_bytes());
        }
    }

    fn from_numeric(bytes: &[u8]) -> Result<Self, BoxDynError> {
        let word = |i: usize| -> Result<u16, BoxDynError> {
            let pair = bytes.get(i * 2..i * 2 + 2).ok_or("a NUMERIC that ends early")?;
            Ok(u16::from_be_bytes([pair[0], pair[1]]))
        };
        let (count, weight, sign) = (word(0)?, i16::from_be_bytes(word(1)?.to_be_bytes()), word(2)?);
        if sign != 0 {
            return Err("a NUMERIC that is negative or not a number cannot be an Amount".into());
        }
        let mut value = U256::ZERO;
        for i in 0..count {
            let place = i32::from(weight) - i32::from(i);
            let digit = word(usize::from(4 + i))?;
            let place = match u32::try_from(place) {
                Ok(place) => place,
                Err(_) if digit == 0 => continue,
                Err(_) => return Err("a NUMERIC with a fraction cannot be an Amount".into()),
            };
            let term = U256::from(BASE)
                .checked_pow(U256::from(place))
                .and_then(|unit| unit.checked_mul(U256::from(digit)))
                .ok_or("a NUMERIC above 2^256-1 cannot be an Amount")?;
            value = value.checked_add(term).ok_or("a NUMERIC above 2^256-1 cannot be an Amount")?;
        }
        Ok(Self(value))
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

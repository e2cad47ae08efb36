//! What of a body could not be read, by its field.

use alloy_primitives::{Bytes, hex};
use plimsoll_relayer::request::Invalid;
use plimsoll_types::Amount;
use plimsoll_types::api::FieldProblem;

use crate::problem::{Problem, ProblemKind};
use crate::query::shown;

pub(in super::super) fn taken<T, E: ToString>(
    wrong: &mut Vec<FieldProblem>,
    name: &str,
    text: Option<&str>,
    read: impl FnOnce(&str) -> Result<T, E>,
) -> Option<T> {
    let error = match read(text?) {
        Ok(value) => return Some(value),
        Err(error) => error.to_string(),
    };
    wrong.push(FieldProblem { name: name.to_owned(), reason: shown_whole(&error) });
    None
}

pub(super) fn bytes(text: &str) -> Result<Bytes, String> {
    let digits = text.strip_prefix("0x").filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
    digits
        .and_then(|digits| hex::decode(digits).ok())
        .map(Bytes::from)
        .ok_or_else(|| format!("`{}` is not `0x` and two hexadecimal digits for each byte", shown(text)))
}

pub(super) fn fee(text: &str) -> Result<u128, String> {
    let amount: Amount = text.parse().map_err(|error: plimsoll_types::AmountError| error.to_string())?;
    u128::try_from(amount.0).map_err(|_| format!("`{}` wei are above 2^128-1", shown(text)))
}

/// An error's text without control characters. Those above bound what they repeat.
pub(super) fn shown_whole(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).collect()
}

pub(super) fn field_of(Invalid::Field { field, problem }: &Invalid) -> FieldProblem {
    // As the body names it.
    let name = if *field == "max_fee_limit" { "max_fee_per_gas_limit" } else { field };
    FieldProblem { name: name.to_owned(), reason: problem.clone() }
}

pub(in super::super) fn invalid(fields: Vec<FieldProblem>) -> Problem {
    let told: Vec<_> = fields.iter().map(|field| format!("`{}`: {}", field.name, field.reason)).collect();
    Problem::new(ProblemKind::InvalidBody, told.join("; ")).with_parameters(fields)
}

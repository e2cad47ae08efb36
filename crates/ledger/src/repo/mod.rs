//! The ledger's statements, for a transaction of the caller's.

pub(crate) mod accounts;
pub(crate) mod balances;
pub(crate) mod chain;
pub(crate) mod charts;
pub(crate) mod corrections;
pub(crate) mod import;
pub(crate) mod periods;
pub(crate) mod postings;
pub(crate) mod proofs;
pub(crate) mod read;
pub(crate) mod register;
pub(crate) mod reports;
pub(crate) mod seal;
pub(crate) mod sealed;
pub(crate) mod statements;
pub(crate) mod verify;

use alloy_primitives::B256;

/// A row that does not say what it must.
pub(crate) fn unreadable(what: impl Into<String>) -> sqlx::Error {
    sqlx::Error::Decode(what.into().into())
}

pub(crate) fn hash(bytes: &[u8]) -> Result<B256, sqlx::Error> {
    B256::try_from(bytes).map_err(|_| unreadable("a hash that is not 32 bytes"))
}

pub(crate) fn to_i64(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

pub(crate) fn to_u64(value: i64) -> Result<u64, sqlx::Error> {
    u64::try_from(value).map_err(|_| unreadable(format!("{value} where no negative number can be")))
}

//! The ledger on a real Postgres.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod balances;
mod books;
mod invariants;
mod property;
mod races;
mod sealing;
mod support;
mod verification;

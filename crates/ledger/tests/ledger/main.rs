//! The ledger on a real Postgres.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod balances;
mod books;
mod charts;
mod corrections;
mod fold;
mod forecast;
mod import;
mod invariants;
mod order;
mod periods;
mod property;
mod races;
mod raw;
mod reports;
mod sealing;
mod statements;
mod story;
mod support;
mod verification;

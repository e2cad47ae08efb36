//! The ledger on a real Postgres.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod books;
mod invariants;
mod races;
mod sealing;
mod support;

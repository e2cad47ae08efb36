//! `plimsoll admin` as an operator meets it: every leaf that there is, refusals, confirmations, the audit log, and the first link of all.

#![allow(clippy::unwrap_used)] // a panic is a failed test

mod audit;
#[path = "../common/mod.rs"]
mod common;
mod effects;
mod house;
mod init;
mod leaves;
mod refusals;

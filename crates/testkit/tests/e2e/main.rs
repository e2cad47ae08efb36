//! End to end: the real `plimsoll` program, a real node, a real Postgres, and everything that may happen to them.
//!
//! What is right is read from the node's receipts and from the contracts' getters, never from Plimsoll. Whatever depends on
//! chance is drawn from a seed that each test prints. Waiting is for something that must come to pass; the limit on it only ends a
//! test that would hang.

#![allow(clippy::unwrap_used)] // a panic is a failed test

mod house;
mod world;
mod writer;

mod blocks;
mod contract;
mod halts;
mod kills;
mod outages;
mod refusals;
mod reorgs;
mod spans;
mod standby;
mod takeovers;
mod writes;

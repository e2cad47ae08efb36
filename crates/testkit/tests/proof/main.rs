//! Blocks of a real node proved by their headers: every type of transaction that the node makes, every fork that it runs.

#![allow(missing_docs, clippy::unwrap_used)]

mod blocks;
mod forks;
mod send;

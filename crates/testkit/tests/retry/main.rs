//! The cache retry on a real node and a real Postgres, through the relayer. What is right is read from the view itself.

#![allow(missing_docs, clippy::unwrap_used)]

mod house;
mod sender;

mod deaths;
mod heals;
mod orders;
mod reorgs;

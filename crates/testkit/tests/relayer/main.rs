//! The relayer on a real node and a real Postgres. What is right is read from the contract, which counts how often each request took effect.

#![allow(missing_docs, clippy::unwrap_used)]

mod house;

mod accepts;
mod effects;
mod faults;
mod freezes;
mod intake;
mod mirror;
mod posts;
mod reconciles;
mod reorgs;
mod rotates;
mod rules;
mod speed_ups;
mod strangers;
mod users;

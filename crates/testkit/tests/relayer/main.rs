//! The relayer on a real node and a real Postgres. What is right is read from the contract, which counts how often each request took effect.

#![allow(missing_docs, clippy::unwrap_used)]

mod house;

mod accepts;
mod couriers;
mod effects;
mod faults;
mod freezes;
mod gates;
mod halts;
mod intake;
mod limits;
mod mirror;
mod natural_keys;
mod posts;
mod predictions;
mod reasons;
mod reconciles;
mod reorgs;
mod rotates;
mod rules;
mod speed_ups;
mod spends;
mod stalls;
mod strangers;
mod users;

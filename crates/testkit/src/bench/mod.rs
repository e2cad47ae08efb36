//! Benchmarks: programs with a stated workload that print JSON and compare with a floor measured in the same run.

pub mod api;
mod floor;
mod head;
pub mod ingest;
pub mod ledger;
pub mod live;
pub mod outage;
mod pipeline;
mod positions;
pub mod relayer;
mod server;
mod usage;

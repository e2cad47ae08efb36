//! What a node says, as our own types: one pass over the JSON, hex decoded from the borrowed text, no
//! intermediate tree.
//!
//! A field that the chain must have decided (block hash, index, status) is required: a pending log or
//! transaction does not decode, it is refused.

mod block;
mod log;
mod receipt;

pub use block::{Block, TxSummary};
pub use log::{Log, LogFilter, MAX_TOPICS, Topics};
pub use receipt::Receipt;

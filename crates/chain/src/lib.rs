//! EVM JSON-RPC: heads, blocks, logs, receipts and calls, over HTTP or WebSocket.
//!
//! # What it promises
//!
//! - **An answer is either believable or an error.** Logs of a block carry that block's hash, logs of a range
//!   lie in it, nothing is there twice, nothing is pending or removed, a header is the one that was asked for.
//!   An empty list of logs is believed only from a node that has the block: "I do not know that block" must
//!   not be read as "nothing happened in it".
//! - **An error has a class** ([`ErrorClass`]) that says what to do, and only what may pass by itself
//!   (`Transient`, `RateLimited`) is asked again here, a bounded number of times with growing, jittered pauses
//!   ([`backoff`]). Everything else goes to the caller at once, who knows whether to ask for less
//!   ([`interval`]), look at the chain again, or stop. An error's text names method, host, cause and remedy,
//!   never the credentials in the URL.
//! - **What changes something is asked once.** A transaction whose answer did not come may have arrived: it is *unknown*, never failed,
//!   and whether to send it again is the caller's to say ([`Rpc::send_raw`]).
//! - **Questions about a block name its hash**, so that an answer cannot silently be about another block of the
//!   same height; calls also require it to be canonical (EIP-1898).
//! - **Everything is bounded**: requests in flight, time of an attempt, attempts, size of a batch, bytes of an
//!   answer.
//!
//! # Why that holds
//!
//! All requests go through one function (`client.rs`, `attempt`), which holds a permit, sets the deadline,
//! matches answers to ids and counts. All answers go through decoders whose required fields are the ones that
//! the chain must have decided, in one pass over the JSON (`wire/`). The words by which nodes refuse are hints
//! in a table (`classify.rs`): text that nobody knows is `Rejected`, never an answer.
//!
//! # Traps
//!
//! - A limit of requests per second against one's own node makes a backfill crawl; there is none here.
//! - A TLS client per request costs more than the request; there is one per endpoint.
//! - A WebSocket that swallows requests in silence is not noticed by pings that only run when idle; here a
//!   timeout retires the session (`transport/ws.rs`).
//! - A timed-out `eth_getLogs` over many blocks would time out again; it is returned to be asked in halves.
//! - Large answers are parsed on the blocking pool, or a 10 MB answer would stall every timer of the process.
//!   (Over a WebSocket alloy splits the messages on its own task; a backfill is better served by HTTP.)
//! - A batch answered with one error without an id is refused as a whole; a member's error is that member's
//!   alone.

pub mod abi;
pub mod backoff;
mod checks;
mod classify;
mod client;
mod endpoint;
mod error;
mod heads;
mod health;
pub mod interval;
pub mod metrics;
mod pool;
pub mod probe;
mod reverts;
mod rpc;
pub mod transport;
mod wire;

pub use client::BATCH_REQUESTS;
pub use endpoint::EndpointConfig;
pub use error::{CallError, Cause, EXCERPT_BYTES, ErrorClass, RpcError};
pub use heads::{HeadHint, HeadStream};
pub use health::{Bench, Reason, Standing};
pub use plimsoll_proof::Header;
pub use pool::{HeadWatch, Look, Pool, Reach, Reservation};
pub use reverts::{REVERT_TEXT_MAX_CHARS, Revert, RevertKind, Reverts, short_text};
pub use rpc::{
    AtHead, BlockPlace, FeeHistory, FeeMarket, FinalityTag, KnownTransaction, Refused, Rpc, SendError,
    TracedRevert, TransactionCounts, UnsignedTransaction,
};
pub use wire::{Block, Log, LogFilter, MAX_TOPICS, Receipt, Topics, TxSummary};

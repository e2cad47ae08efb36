//! The words that every crate of Plimsoll speaks: amounts, request ids, the context of a request, addresses as text, the kinds and states that
//! the journal and the folds write down.
//!
//! Pure: no clock, no I/O, no runtime; it compiles to wasm, so that the console and the server share one set of models.
//! Money is an integer from end to end: [`Amount`] here, `NUMERIC(78,0)` in Postgres, a decimal string in JSON.
//! The feature `postgres` adds the database codecs, `openapi` the schemas; neither is on by default.

mod amount;
pub mod api;
mod balance;
mod context;
mod envelope;
mod hex;
mod kinds;
#[cfg(feature = "postgres")]
mod postgres;
mod request_id;

pub use alloy_primitives::{Address, B256, Bytes, I256, U256};
pub use amount::{Amount, AmountError};
pub use balance::{Balance, BalanceError};
pub use context::Context;
pub use envelope::{CloudEvent, ContentType, SpecVersion};
pub use hex::{HexError, address_text, hash_text, parse_address, parse_hash};
pub use kinds::{
    AccountClass, AccountType, ApplyStatus, AttemptPurpose, BackfillState, BlockState, Completeness,
    JournalKind, PushOutcome, RevertSource, TransactionState, UnknownName, ViewKind,
};
pub use request_id::RequestId;

//! Transactions that users sign themselves, and the platform sends for them.
//!
//! **The promise.** What is taken is kept before anything of it is sent, and sent until a block uses its nonce, whatever dies; by one process at a time, under the chain's own lease. What
//! becomes of it is told as of our own: from the journal alone, taken back by reorganisations, success at the confirmation depth, any other end in a final block.
//!
//! **Why it holds.** The bytes and their request are one row, put by whoever takes them. The [`Courier`] has its sender watched, waits until a writer of the journal has acknowledged that, and
//! marks the row as under way in a transaction of its lease before the bytes leave. When it was taken, the chain said after which block its nonce was not used yet, and the
//! sender is watched from there on: so whatever uses the nonce is seen.
//!
//! **What it is not.** Nobody here can sign for the user: it is never offered more for, never called off, and given no other nonce.

mod accept;
mod authorized;
mod courier;
pub(crate) mod fold;
mod signed;

pub use accept::{Checked, SignedRequest, UserSubmitError, put_in};
pub use authorized::{ForwardRequest, Unauthorized, takes_authorizations};
pub use courier::{Courier, courier_lease};
pub use signed::{SignedTransaction, Unreadable};

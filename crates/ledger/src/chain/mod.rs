//! Books from the chain: what is confirmed is booked by rule, what leaves the chain again is reversed, and what the books then hold is held against the chain.
//!
//! # Why it is exact
//! The [fold](BooksFold) books in its own transaction, which moves its cursor too: each record is booked once, whatever dies. Besides, a posting's key follows from the journal alone (chain, record and
//! rule), so that a fold that begins anew finds what it has booked, and books nothing twice. A log that comes back after a reorganisation is another record, and is booked anew after the
//! first posting was reversed.
//!
//! Every posting has the block of what it books, and so has its reversal: what an account held at a block is what the chain said there.

mod accounts;
mod booking;
pub mod check;
pub mod dry_run;
mod fold;
mod opening;
mod role;
mod suspense;
mod tokens;

pub use booking::Books;
pub use fold::{BooksFold, FOLD_NAME};
pub use role::{BalanceChecker, lease_name};

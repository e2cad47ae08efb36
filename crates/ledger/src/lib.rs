//! The ledger: books that balance, cannot be rewritten, and agree with the chain.
//!
//! # What it promises
//! - **A posting balances in every currency, or it does not exist.** In the types there is no other [`Posting`]; in the database no transaction can commit another, whatever is above it.
//! - **Nobody rewrites it.** Neither role of the running program may change or remove a posting, a line, or a balance. A wrong posting is reversed by its mirror, once, or compensated by others.
//! - **A period that is closed does not change** ([`period`]): what happened in it and comes late counts in the open one.
//! - **One posting a key** `(tenant_id, user_id, request_id, operation_type)`, whoever sends it however often: the same request gets the same posting, another one a conflict.
//! - **What an account holds is what its lines say**, after each of them, at any time and at any block.
//! - **It is sealed** ([`seal`]): each posting is an entry of its tenant's log, linked and signed, and shown to be there by a proof (`plimsoll_proof::ledger`).
//!
//! # Why it holds
//! Who books locks the balances of the accounts concerned, in their order, reads what they hold under these locks, computes in memory what follows (`book`), and writes postings and lines in
//! one statement (`repo::postings`). At that statement's end triggers look at all of it once more: that postings came whole and balance, that each line follows on its account's last version and
//! balance; and they move the balances, which nobody else can. So an account's history has no gap, no two lines of one version, and its balance is always its last line's.
//!
//! Requests share transactions ([`Intake`]); a fold over the journal books in its own, by the same statements.

mod account;
mod balance;
mod batch;
mod book;
pub mod chain;
pub mod chart;
mod correction;
mod error;
mod events;
mod forecast;
pub mod import;
mod keyed;
pub mod period;
mod posting;
pub mod proofs;
pub mod read;
pub mod register;
mod repo;
pub mod report;
pub mod rules;
pub mod seal;
pub mod statement;
pub mod verify;
mod within;
mod writer;

pub use account::{AccountClass, AccountType, Currency, NewAccount, open, open_in};
pub use balance::{AsOf, balance};
pub use batch::Posted;
pub use book::{NormalSide, Refusal};
pub use correction::{COMPENSATIONS_MAX, Links, REVERSAL, links, reversal};
pub use error::PostError;
pub use keyed::{Answer, GROUP_MAX, Kept, KeyedIntake, SubmitError};
pub use posting::{
    Correction, Direction, Draft, Invalid, LINES_MAX, Line, METADATA_MAX_BYTES, OnChain, Origin, Posting,
};
pub use seal::{SealError, Sealed, Sealer};
pub use verify::verify;
pub use within::post_in;
pub use writer::{BATCH_MAX, Intake, QUEUE_MAX};

//! The cache retry: what contracts could not push to their views is tried again, until the view itself says that it has it.
//!
//! **The promise.** Each `CacheUpdateFailed` and `HealthPushFailed` of a followed contract is an occurrence of exactly one job, and of a `(tenant, chain, user, asset, view)` one job is open at
//! a time (spec 1 §7). Of an attempt there is one transaction, whatever dies. A job has succeeded when the view's own event says so, in its transaction or after it; what was healed before
//! anything was sent sends nothing; and a reorganisation takes back what it said.
//!
//! **Why it holds.** Failures and healings are read by a [`RetryFold`] from the journal, whose cursor moves with their effects. A failure finds its key's open job or opens one, under a unique
//! index over what is open. The [`Worker`] acts under its chain's lease, and checks its token in each of its transactions. It commits that a job is to be sent before it hands the order in, under a
//! request id that follows from job and attempt ([`request_id`]), so whoever hands it in again hands in the same, and the relayer takes a request once. The status changes by compare-and-set, by
//! [changes](state::Change) that carry their evidence: between "may be sent" and "was healed by others" the row's lock decides.
//!
//! **The traps.** A retry that fails emits another failure: it is the open job's own. A mined transaction is not a success, and one that has not ended is no failure: the next attempt waits for
//! the relayer's last word. That word may come before the fold has read the block, so a missing healing counts only once the fold has noted the attempt in that very block. Where the
//! chain has an attempt follows from the request id that its call carries (`included` records), not from the relayer's rows. What ends a job is undone by its record; the
//! worker may have moved the job since, so an undo never restores a row as it was, but says what is not true any more.

mod events;
mod evidence;
mod fold;
mod history;
mod job;
mod orders;
mod preflight;
mod repo;
mod schedule;
pub mod state;
mod submit;
mod worker;

pub use fold::{FOLD_NAME, FoldOptions, RetryFold};
pub use orders::{ask, ignore};
pub use schedule::{Backoff, request_id};
pub use submit::{Order, Standing, Submit, SubmitError};
pub use worker::{Worker, WorkerError, WorkerOptions, lease_name};

//! The relayer: requests in, one effect each on the chain out, whatever dies.

pub mod accept;
pub mod admission;
mod allowance;
pub mod alone;
pub mod answer;
pub mod attempt;
mod bell;
pub mod book;
pub mod desk;
pub mod envelope;
pub mod fees;
pub mod fold;
pub mod grant;
mod history;
pub mod inquest;
pub mod intake;
pub mod keys;
mod measure;
pub mod overview;
pub mod post;
pub mod read;
pub mod reason;
pub mod reconcile;
mod repo;
pub mod request;
pub mod rotation;
pub mod route;
pub mod signers;
pub mod state;
pub mod story;
pub mod switches;
mod writer;

pub use accept::{AcceptError, Accepted, call_off, call_off_in};
pub use bell::Bell;
pub use intake::{Answer, Intake, Kept, Outcome, SubmitError};

//! The relayer: requests in, one effect each on the chain out, whatever dies.

pub mod accept;
pub mod answer;
pub mod attempt;
mod bell;
pub mod book;
pub mod desk;
pub mod envelope;
pub mod fees;
pub mod fold;
mod history;
pub mod grant;
pub mod keys;
mod repo;
pub mod request;
pub mod route;
pub mod state;

pub use accept::{AcceptError, Accepted, Acceptor};
pub use bell::Bell;

//! Every SQL statement of this crate.

pub(crate) mod audit;
pub(crate) mod events;
pub(crate) mod outbox;

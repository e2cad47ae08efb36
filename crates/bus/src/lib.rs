//! What happened, told once, in one order, to whoever wants to know.

pub mod context;

pub use plimsoll_types::Context;

//! Keys of every kind against one suite, and each against what can go wrong with it alone.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod local;
mod remote;
mod server;
mod suite;

//! What the tests of the journal share: a business on a model chain, a node that follows it, and the laws of a journal.

#![allow(dead_code, unused_imports, missing_docs, unreachable_pub, clippy::unwrap_used)]

pub mod endpoints;
pub mod follower;
pub mod hand;
pub mod laws;
pub mod task;
pub mod world;

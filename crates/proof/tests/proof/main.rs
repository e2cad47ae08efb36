//! Real blocks with published roots, made-up ones with every alteration, and the trie against a plain one.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod alterations;
mod blooms;
mod made;
mod signatures;
mod tries;
mod vectors;

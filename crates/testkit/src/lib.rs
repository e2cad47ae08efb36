//! Real servers and a real chain for tests, the demo and the benchmarks.
//!
//! The promise: what a test compares Plimsoll with never went through Plimsoll. The node is spoken to by [`node`], a client
//! of its own with no retries and no cleverness; the truth about events is read from the receipts ([`truth`]), where
//! Plimsoll reads logs; the truth about positions from the contracts' own getters.
//!
//! [`anvil`] runs a node in a process that ends with its owner, [`deploy`] puts the contracts on it and wires them,
//! [`traffic`] drives them from a seed, [`projection`] says in which respect two runs must be equal, and [`model`] is a chain in
//! memory whose branches a property test can switch between at will, with the business of [`world`] on it. [`demo`] puts it all
//! in motion around the `plimsoll` binary and judges the outcome. Databases for tests come from `plimsoll_store::testing`.
//!
//! Traps. A node that reorganises forgets the transactions it drops but not always those that wait in its pool: a nonce
//! gap there swallows every later transaction of that sender, so [`traffic`] empties the pool before each reorganisation.
//! Anvil mines by itself at an interval while a reorganisation is being prepared, and the wrong blocks go: whoever
//! reorganises mines on demand. A child process in our process group would get the terminal's Ctrl-C together with us and
//! end out of order: every child has its own group.

pub mod anvil;
pub mod bench;
pub mod chaos;
pub mod demo;
pub mod deploy;
pub mod laws;
pub mod model;
pub mod node;
pub mod projection;
pub mod traffic;
pub mod truth;
pub mod world;

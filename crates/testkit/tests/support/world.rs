//! The business of the library, as the tests use it.

pub use plimsoll_testkit::world::*;

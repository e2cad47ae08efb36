//! The laws of a journal, as the tests use them.

pub use plimsoll_testkit::laws::stored::{check, check_on, read};

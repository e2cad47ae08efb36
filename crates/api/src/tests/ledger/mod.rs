//! The books over HTTP, as a service and an auditor use them.

mod accounts;
mod import;
mod posting;
mod reported;
mod sealed;
mod support;

pub(super) use support::one_of;

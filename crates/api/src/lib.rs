//! The HTTP front: routes, problems, OpenAPI, health and metrics.
//!
//! **What it promises.**
//! - *Every number says where it stands.* A row comes with its block and how sure that is, with the watermark that the answer
//!   is true at, and with how far behind the chain that is.
//! - *These cannot disagree.* Rows, watermark and chain marks are read by one statement, so from one snapshot. (Two statements under
//!   READ COMMITTED would, now and then, show a new row under an old watermark.)
//! - *What cannot be answered is an error, never an empty 200.* An unknown chain is 404; a fold that never covered a block is 503; a
//!   fold that is stopped or behind answers what it has, marked `stale` with the reason. An empty page therefore means: there is none.
//! - *Errors are one shape*, RFC 9457, from the router's own 404 to a caught panic: every response passes `context`, the only place that writes
//!   a problem's body, so no path can forget the request's id.
//! - *A request costs a bounded amount*: of time, of rows looked at ([`limits`]), of connections and of bytes read.
//! - *Pages are stable*: a cursor is a key, not an offset. While rows are added, a walk sees each row that was there once.
//! - *It is known who asks*, and nobody does what they may not: `gateway`.
//! - *A write that is sent again is not done again*, and none is without its entry in the audit: [`idempotency`].
//!
//! **Why no route can cross tenants.** What belongs to a tenant is read as the app role, under forced row-level security, in a transaction that
//! names the caller's tenant and no other. The worker's pool is for what is the operators' ([`metrics::Collector`], readiness) and for proving
//! who somebody is, which comes before anyone knows whose tenant it is.
//!
//! **Traps.** A lag in seconds is the age of the oldest record that is not applied, not the age of the newest block: a quiet chain is not a
//! stalled one. The statement timeout of the app role ends a query whose request was given up; without it, dropping the future
//! would leave the query running. And a filter on JSON (`user`, `asset`) has no index: `repo::events` bounds what it looks at and
//! hands back a cursor instead of searching on.

mod context;
mod cursor;
mod docs;
mod fresh;
mod gateway;
pub mod idempotency;
pub mod limits;
pub mod metrics;
mod openapi;
mod problem;
mod query;
mod repo;
mod roles;
mod routes;
mod server;
mod sign_in;
mod stall;
mod state;
#[cfg(test)]
mod tests;

pub use fresh::{FreshLimits, FreshnessLimits};
pub use gateway::{Clients, Rate, RateLimits, Tls, TlsError, TlsFiles};
pub use openapi::openapi;
pub use roles::Roles;
pub use routes::{StreamOptions, router};
pub use server::{BindError, Listeners, bind, bind_internal, serve};
pub use sign_in::{SignInOptions, Wallets};
pub use state::{ApiOptions, ApiState, Services};

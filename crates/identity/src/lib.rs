//! Who acts, and what they may do.
//!
//! # What it promises
//! - **One place says no.** Whatever was proved, and however, ends as a [`Principal`]; every check of a permission is
//!   [`Principal::require`]. There is no other.
//! - **An agent never writes.** Its role is made of [`ReadPermission`]s, which a write cannot become; the principal of an agent is denied
//!   every write whatever its roles say; and the database carries the two facts (is an agent, is a write) in foreign keys under a CHECK, so
//!   that no statement of anyone can bring them together.
//! - **A key can do no more than its user**, and no more than its scopes, at the moment of the request ([`api_key`]).
//! - **A signature signs in once**, here, now, at the tenant that it was asked for ([`siwe`], [`sign_in`]); so does a provider's token, in the browser
//!   that asked for it ([`oidc`]).
//! - **A second factor is added by who gave the one before** ([`second_factor`]), and is given once ([`totp`], [`webauthn`]).
//! - **A stolen refresh token ends the session** as soon as both have used it ([`session`]).
//! - **A revocation holds** at once in the process that made it, and within [`authenticator::CACHE_TERM`] in every other.
//! - **What two persons must want, two persons wanted**: exactly this action, approved by another, used once, in the action's own transaction
//!   ([`approval`]).
//! - **No secret is stored, shown or logged.** Random secrets are stored as SHA-256; seeds of second factors sealed under a key that the database
//!   does not have ([`seal`]); keys that sign tokens are not in the database at all ([`keys`]). Whatever holds one wipes it, and shows
//!   `[REDACTED]`.
//!
//! # Why that holds
//! "Once" is always the same sentence: an UPDATE whose condition says "not yet", or a row that was locked before it was judged. Of two at the
//! same time the second waits for the first's commit and then sees it. "Only its own tenant" is the database's: references
//! between these tables are composite, `(tenant_id, id)`, and the app's role sees a tenant's rows only where its transaction named it.
//!
//! # Two halves, two roles
//! The directory and the approvals belong to a tenant: run those functions on `Db::tenant_tx`. What *proves* an identity (keys, nonces, sessions,
//! second factors, links) is looked at before anyone knows whose tenant it is: run those on `Db::begin_worker`. The app's role lists and
//! revokes its tenant's keys and sessions, issues keys, and lists and takes away second factors, as a route's effect and its answer are one transaction; it reads no hash,
//! no seed and no public key, can make no session and say of none that a second factor was given, and has no privilege on the
//! other tables: a fault in a request handler reads nothing that opens anything.
//!
//! # Traps
//! - **Commit refusals.** A wrong code must be counted and a reused refresh token must end its session: [`session::refresh`], [`totp::verify`] and
//!   [`totp::confirm`] return those as answers, not errors, and so does [`webauthn`]. Roll back on errors only.
//! - [`oidc::resume`] is committed before what it returns is used.
//! - [`siwe::check`] may ask a node, [`oidc::Provider`] asks a provider. Do it before the transaction, not within.
//! - After a commit that revokes a session or a key, or notes a second factor, call `forget_session` or `forget_key`.
//! - [`Denied::OtherTenant`] is a 404 to the caller: what other tenants have is not told.
//! - Rate limits are the gateway's: [`sign_in::issue_nonce`] writes a row for anyone who asks.

pub mod api_key;
pub mod approval;
pub mod authenticator;
pub mod bootstrap;
mod cache;
pub mod directory;
pub mod external;
pub mod keys;
pub mod listing;
pub mod oidc;
pub mod password;
mod permission;
mod principal;
mod repo;
pub mod role;
pub mod seal;
pub mod second_factor;
mod secret;
pub mod session;
pub mod settings;
pub mod sign_in;
pub mod siwe;
pub mod tenant;
pub mod token;
pub mod totp;
pub mod webauthn;

pub use authenticator::{AuthError, Authenticator};
pub use permission::{Permission, PermissionSet, ReadPermission};
pub use principal::{Credential, Denied, Principal, UserKind, UserStatus};

//! What stands in front of every route: which version, how often, who asks, and whether they may.
//!
//! A route is made by [`Routes`] alone, from a [`Declaration`] that says its method, its path, who may use it and, where it changes something, how
//! it is kept from doing so twice. The document, the labels of metrics and the tests that walk all routes read the same declarations,
//! so a new route is documented, labelled and attacked without being listed anywhere.
//!
//! From the outside in: `context` gives the request its id, its trace and its span, chooses the API's [`version`] and writes what every answer
//! carries ([`headers`]); [`body`] bounds what is read of it; [`authenticate`] counts the address, finds out who asks, once, counts the user and the
//! tenant ([`rate`]), and opens the request's story ([`plimsoll_bus::context`]); the route's own [`Access`] is asked last, next to the handler
//! ([`gate`]), where the matched route is known. Nothing between knows of permissions, and the only place that judges them
//! is [`Principal::require`](plimsoll_identity::Principal::require).
//!
//! **Traps.** A credential that is wrong is a 401 also where none is needed: who believes to be signed in must not be taken for nobody.
//! A permission says nothing of *whose* things are asked for: a handler reads in a transaction of the caller's tenant
//! ([`Caller::tenant_id`]), so that the database itself sees nothing of another's. And what a client wrote is repeated only as
//! [`redact`] leaves it: credentials end up in paths and queries.

mod access;
mod body;
mod caller;
mod client;
mod declaration;
mod gate;
mod headers;
mod keyed;
mod listener;
mod quota;
mod rate;
mod redact;
mod routes;
mod tls;
mod trace;
mod version;

pub(crate) use access::Access;
pub(crate) use body::bounded as bounded_body;
pub(crate) use caller::authenticate;
pub(crate) use caller::{Caller, ClientCertificate, NOBODY, request_uuid};
pub(crate) use client::Peer;
pub(crate) use declaration::{Declaration, KeyPolicy, Side, WriteMethod};
pub(crate) use gate::Gate;
pub(crate) use headers::{cors, secure};
pub(crate) use keyed::{Done, ForTenant, JsonBody, Keyed, finish, lacking};
pub(crate) use listener::{Listener, Presented};
pub use quota::Rate;
pub use rate::RateLimits;
pub(crate) use redact::{is_credential, redacted};
#[cfg(test)]
pub(crate) use routes::Declared;
pub(crate) use routes::Routes;
pub use tls::{Clients, Tls, TlsError, TlsFiles};
pub(crate) use trace::Trace;
pub(crate) use version::{API_VERSION, CURRENT as CURRENT_VERSION, choose as choose_version};

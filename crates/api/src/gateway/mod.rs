//! What stands in front of every route: who asks, and whether they may.
//!
//! A route is made by [`Routes`] alone, from a [`Declaration`] that says its method, its path, who may use it and, where it changes something, how
//! it is kept from doing so twice. The document, the labels of metrics and the tests that walk all routes read the same declarations,
//! so a new route is documented, labelled and attacked without being listed anywhere.
//!
//! From the outside in, after `context`: [`authenticate`] finds out who asks, once, and opens the request's story
//! ([`plimsoll_bus::context`]); the route's own [`Access`] is asked last, next to the handler, where the matched route is known. Nothing
//! between the two knows of permissions, and the only place that judges them is [`Principal::require`](plimsoll_identity::Principal::require).
//!
//! **Traps.** A credential that is wrong is a 401 also where none is needed: who believes to be signed in must not be taken for nobody.
//! And a permission says nothing of *whose* things are asked for: a handler reads in a transaction of the caller's tenant
//! ([`Caller::tenant_id`]), so that the database itself sees nothing of another's.

mod access;
mod caller;
mod declaration;
mod routes;

pub(crate) use access::Access;
pub(crate) use caller::authenticate;
pub(crate) use caller::{Caller, ClientCertificate};
pub(crate) use declaration::{Declaration, KeyPolicy, WriteMethod};
#[cfg(test)]
pub(crate) use routes::Declared;
pub(crate) use routes::Routes;

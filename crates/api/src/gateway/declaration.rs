//! What a route says of itself, where it is built.

use axum::http::Method;
use axum::routing::MethodFilter;

use super::Access;
use crate::limits::BODY_MAX_BYTES;

/// A method that may change something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(not(test), allow(dead_code, reason = "which of them routes have is theirs to say"))]
pub(crate) enum WriteMethod {
    /// POST.
    Post,
    /// PUT.
    Put,
    /// PATCH.
    Patch,
    /// DELETE.
    Delete,
}

impl WriteMethod {
    /// All of them.
    #[cfg(test)]
    pub(crate) const ALL: [Self; 4] = [Self::Post, Self::Put, Self::Patch, Self::Delete];

    /// As HTTP knows it.
    #[must_use]
    pub(crate) fn http(self) -> Method {
        match self {
            Self::Post => Method::POST,
            Self::Put => Method::PUT,
            Self::Patch => Method::PATCH,
            Self::Delete => Method::DELETE,
        }
    }

    pub(super) fn filter(self) -> MethodFilter {
        match self {
            Self::Post => MethodFilter::POST,
            Self::Put => MethodFilter::PUT,
            Self::Patch => MethodFilter::PATCH,
            Self::Delete => MethodFilter::DELETE,
        }
    }
}

/// How a route that changes something is kept from doing so twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KeyPolicy {
    /// The client has to choose a key: the route moves value. Without one: 400.
    Required,
    /// It may. Without one a key is derived from the request, which guards only while that is in flight.
    Optional,
    /// No key is looked at: the route changes nothing, or something else keeps it from doing so twice. Why, in words.
    Exempt(&'static str),
}

/// Which listeners serve a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// The public one.
    Public,
    /// Every one.
    Everywhere,
    /// The internal one where there is one, else the public one.
    Operators,
    /// The internal one. Without one, the public one if nobody but this machine reaches it; else none.
    Internal,
}

/// A listener, as routes see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    /// The only one, which nobody but this machine reaches.
    Local,
    /// The only one, which others reach.
    Open,
    /// The public one of two.
    Public,
    /// The internal one of two.
    Internal,
}

impl Side {
    pub(super) fn serves(self, place: Place) -> bool {
        match place {
            Place::Public => self != Self::Internal,
            Place::Everywhere => true,
            Place::Operators => self != Self::Public,
            Place::Internal => matches!(self, Self::Local | Self::Internal),
        }
    }
}

/// What a route says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Declaration {
    /// Its path, as the router has it.
    pub(crate) path: &'static str,
    /// Who may use it.
    pub(crate) access: Access,
    /// Its method, and how it is kept from doing something twice; `None` for one that only reads (GET and HEAD).
    pub(crate) write: Option<(WriteMethod, KeyPolicy)>,
    /// Whether its answers carry secrets, and are therefore never kept.
    pub(crate) is_secret: bool,
    /// Whether a chosen key is claimed by the transaction of the effects alone, and not before: its handler may be under way twice at once, leaves no effect outside of that, and has no recovery point to go on from.
    pub(crate) claims_with_effects: bool,
    /// Whether one request may cost as much as many: fewer of these are worked on at a time.
    pub(crate) is_costly: bool,
    /// Whether its answer lasts: it is bounded by the number of streams, and its body by neither the time nor the number of requests.
    pub(crate) is_stream: bool,
    /// The largest body that it takes.
    pub(crate) body_max_bytes: usize,
    /// Which listeners serve it.
    pub(crate) place: Place,
}

impl Declaration {
    const fn new(path: &'static str, access: Access, write: Option<(WriteMethod, KeyPolicy)>) -> Self {
        Self {
            path,
            access,
            write,
            is_secret: false,
            claims_with_effects: false,
            is_costly: false,
            is_stream: false,
            body_max_bytes: BODY_MAX_BYTES,
            place: Place::Public,
        }
    }

    /// A route that only reads.
    #[must_use]
    pub(crate) const fn read(path: &'static str, access: Access) -> Self {
        Self::new(path, access, None)
    }

    /// A route that moves value: the client has to choose a key.
    #[must_use]
    pub(crate) const fn requiring_key(method: WriteMethod, path: &'static str, access: Access) -> Self {
        Self::new(path, access, Some((method, KeyPolicy::Required)))
    }

    /// A route that changes something and can do without a key.
    #[must_use]
    pub(crate) const fn with_optional_key(method: WriteMethod, path: &'static str, access: Access) -> Self {
        Self::new(path, access, Some((method, KeyPolicy::Optional)))
    }

    /// A route that looks at no key, and says why.
    #[must_use]
    pub(crate) const fn exempt(
        method: WriteMethod,
        path: &'static str,
        access: Access,
        why: &'static str,
    ) -> Self {
        Self::new(path, access, Some((method, KeyPolicy::Exempt(why))))
    }

    /// Its answers carry secrets: they are given once, and never kept.
    #[must_use]
    pub(crate) const fn with_secret_answers(self) -> Self {
        Self { is_secret: true, ..self }
    }

    /// A chosen key is claimed by the transaction of the effects alone, which is the only one.
    #[must_use]
    pub(crate) const fn claiming_with_effects(self) -> Self {
        Self { claims_with_effects: true, ..self }
    }

    /// One request may cost as much as many.
    #[must_use]
    pub(crate) const fn costly(self) -> Self {
        Self { is_costly: true, ..self }
    }

    /// Its answer lasts.
    #[must_use]
    pub(crate) const fn stream(self) -> Self {
        Self { is_stream: true, ..self }
    }

    /// It takes a body of so many bytes.
    #[must_use]
    pub(crate) const fn with_body_of(self, body_max_bytes: usize) -> Self {
        Self { body_max_bytes, ..self }
    }

    /// It is for this system's own services and operators: served on the internal listener, and without one only where nobody but
    /// this machine can reach it.
    #[must_use]
    pub(crate) const fn internal(self) -> Self {
        Self { place: Place::Internal, ..self }
    }

    /// It is for operators: served on the internal listener where there is one, else in public.
    #[must_use]
    pub(crate) const fn for_operators(self) -> Self {
        Self { place: Place::Operators, ..self }
    }

    /// It asks how this process is: served on every listener.
    #[must_use]
    pub(crate) const fn everywhere(self) -> Self {
        Self { place: Place::Everywhere, ..self }
    }

    /// Whether it is a way to sign in: a write that anybody may send.
    #[must_use]
    pub(crate) fn is_sign_in(&self) -> bool {
        self.access == Access::Anybody && self.write.is_some()
    }

    /// Its method; GET for one that only reads.
    #[must_use]
    pub(crate) fn method(&self) -> Method {
        self.write.map_or(Method::GET, |(method, _)| method.http())
    }
}

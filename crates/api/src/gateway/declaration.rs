//! What a route says of itself, where it is built.

use axum::http::Method;
use axum::routing::MethodFilter;

use super::Access;

/// A method that may change something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
    pub const ALL: [Self; 4] = [Self::Post, Self::Put, Self::Patch, Self::Delete];

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
    /// Whether one request may cost as much as many: fewer of these are worked on at a time.
    pub(crate) is_costly: bool,
}

impl Declaration {
    const fn new(path: &'static str, access: Access, write: Option<(WriteMethod, KeyPolicy)>) -> Self {
        Self { path, access, write, is_secret: false, is_costly: false }
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

    /// One request may cost as much as many.
    #[must_use]
    pub(crate) const fn costly(self) -> Self {
        Self { is_costly: true, ..self }
    }

    /// Its method; GET for one that only reads.
    #[must_use]
    pub(crate) fn method(&self) -> Method {
        self.write.map_or(Method::GET, |(method, _)| method.http())
    }
}

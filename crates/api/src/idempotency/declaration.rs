//! What a route that changes something says of itself, where it is built.

use axum::http::Method;
use axum::routing::MethodFilter;

/// A method that may change something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteMethod {
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
    pub fn http(self) -> Method {
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

/// Whether the client has to choose a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyPolicy {
    /// It has to: the route moves value. Without one: 400.
    Required,
    /// It may. Without one a key is derived from the request, which guards only while that is in flight.
    Optional,
    /// No key is looked at: the route changes nothing, or something else keeps it from doing so twice. Why, in words.
    Exempt(&'static str),
}

/// A route that does not only read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Declaration {
    /// Its method.
    pub method: WriteMethod,
    /// Its path, as the router has it.
    pub path: &'static str,
    /// Whether a key has to be chosen.
    pub key: KeyPolicy,
    /// Whether its answers carry secrets, and are therefore never kept.
    pub is_secret: bool,
}

impl Declaration {
    /// A route that moves value: the client has to choose a key.
    #[must_use]
    pub const fn requiring_key(method: WriteMethod, path: &'static str) -> Self {
        Self { method, path, key: KeyPolicy::Required, is_secret: false }
    }

    /// A route that can do without.
    #[must_use]
    pub const fn with_optional_key(method: WriteMethod, path: &'static str) -> Self {
        Self { method, path, key: KeyPolicy::Optional, is_secret: false }
    }

    /// Its answers carry secrets: they are given once, and never kept.
    #[must_use]
    pub const fn with_secret_answers(self) -> Self {
        Self { is_secret: true, ..self }
    }
}

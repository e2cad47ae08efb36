//! The only way to a route.

use axum::Router;
use axum::extract::{FromRef, FromRequest, Request, State};
use axum::handler::Handler;
use axum::middleware::{Next, from_fn, map_response};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodFilter, MethodRouter, on};
use plimsoll_store::idempotency::Keys;

use super::declaration::{Declaration, KeyPolicy, Side, WriteMethod};
use super::gate::guard;
use crate::idempotency::{Answered, Execution, execute};

/// Response extension: the route that answered has a declaration.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Declared;

/// Routes, each with its declaration.
#[derive(Debug)]
pub(crate) struct Routes<S> {
    routes: Vec<MethodRouter<S>>,
    declarations: Vec<Declaration>,
}

impl<S: Clone + Send + Sync + 'static> Default for Routes<S> {
    fn default() -> Self {
        Self { routes: Vec::new(), declarations: Vec::new() }
    }
}

impl<S> Routes<S>
where
    S: Clone + Send + Sync + 'static,
    Keys: FromRef<S>,
{
    /// Adds a route that only reads.
    ///
    /// # Panics
    /// When the declaration is of one that writes.
    #[must_use]
    pub(crate) fn read<H, T>(self, declaration: Declaration, handler: H) -> Self
    where
        H: Handler<T, S>,
        T: 'static,
    {
        assert!(declaration.write.is_none(), "{} is declared to write", declaration.path);
        self.add(declaration, on(MethodFilter::GET, handler))
    }

    /// Adds a route that changes something. What `E` extracts (one extractor, or a tuple of them) is looked at before the key is claimed: a
    /// request that it refuses was not executed.
    ///
    /// # Panics
    /// When the declaration is of one that only reads, or that looks at no key.
    #[must_use]
    pub(crate) fn write<E, F, Fut, R>(self, declaration: Declaration, handler: F) -> Self
    where
        E: FromRequest<S> + Send + 'static,
        F: Fn(Execution, E) -> Fut + Clone + Send + Sync + 'static,
        Fut: Future<Output = Result<Answered, R>> + Send + 'static,
        R: IntoResponse + Send + 'static,
    {
        let method = written(&declaration, |policy| !matches!(policy, KeyPolicy::Exempt(_)));
        let answer = move |State(state): State<S>, request: Request| {
            let handler = handler.clone();
            async move {
                let keys = Keys::from_ref(&state);
                execute(&keys, &declaration, &handler, &state, request)
                    .await
                    .unwrap_or_else(|refusal| refusal)
            }
        };
        self.add(declaration, on(method.filter(), answer))
    }

    /// Adds a route that looks at no key.
    ///
    /// # Panics
    /// When its declaration does not say why.
    #[must_use]
    pub(crate) fn exempt<H, T>(self, declaration: Declaration, handler: H) -> Self
    where
        H: Handler<T, S>,
        T: 'static,
    {
        let method = written(&declaration, |policy| matches!(policy, KeyPolicy::Exempt(_)));
        self.add(declaration, on(method.filter(), handler))
    }

    fn add(mut self, declaration: Declaration, method: MethodRouter<S>) -> Self {
        let method = method
            .layer(from_fn(move |request: Request, next: Next| guard(declaration, request, next)))
            .layer(map_response(async |mut response: Response| {
                response.extensions_mut().insert(Declared);
                response
            }));
        self.routes.push(method);
        self.declarations.push(declaration);
        self
    }

    /// These and those.
    #[must_use]
    pub(crate) fn merge(mut self, other: Self) -> Self {
        self.routes.extend(other.routes);
        self.declarations.extend(other.declarations);
        self
    }

    /// What was declared.
    #[must_use]
    pub(crate) fn declarations(&self) -> &[Declaration] {
        &self.declarations
    }

    /// All routes.
    #[cfg(test)]
    pub(crate) fn into_router(self) -> Router<S> {
        self.served_on(Side::Local)
    }

    /// The routes of a listener.
    pub(crate) fn served_on(self, side: Side) -> Router<S> {
        self.declarations
            .iter()
            .zip(self.routes)
            .filter(|(declaration, _)| side.serves(declaration.place))
            .fold(Router::new(), |router, (declaration, route)| router.route(declaration.path, route))
    }
}

/// The method of a route that is declared to write under a policy that `fits`.
fn written(declaration: &Declaration, fits: impl Fn(&KeyPolicy) -> bool) -> WriteMethod {
    match declaration.write {
        Some((method, policy)) if fits(&policy) => method,
        other => panic!("{} is declared as {other:?}, and built otherwise", declaration.path),
    }
}

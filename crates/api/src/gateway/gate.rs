//! What an operator set for all requests together, and the last look at a request before its handler.

use std::sync::Arc;

use axum::extract::Request;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use ipnet::IpNet;
use metrics::counter;
use tokio::sync::Semaphore;

use super::access::judge;
use super::client::Client;
use super::rate::{Asked, Limit, RateLimits};
use super::{Caller, Declaration};
use crate::problem::{Problem, ProblemKind};
use crate::state::ApiOptions;

/// Request extension (in an `Arc`), and what [`authenticate`](super::authenticate) works with.
#[derive(Debug)]
pub(crate) struct Gate {
    is_open: bool,
    pub(super) trusted_proxies: Vec<IpNet>,
    pub(super) address: Option<Limit>,
    pub(super) user: Option<Limit>,
    pub(super) tenant: Option<Limit>,
    sign_in: Option<Limit>,
    costly: Semaphore,
    costly_max: usize,
}

impl Gate {
    pub(crate) fn new(options: &ApiOptions) -> Arc<Self> {
        let RateLimits { address, sign_in, user, tenant } = options.rate_limits;
        Arc::new(Self {
            is_open: options.open_reads,
            trusted_proxies: options.trusted_proxies.clone(),
            address: Limit::new("address", "an address", address),
            user: Limit::new("user", "a user", user),
            tenant: Limit::new("tenant", "a tenant", tenant),
            sign_in: Limit::new("sign-in", "an address that signs in", sign_in),
            costly: Semaphore::new(options.max_costly_requests),
            costly_max: options.max_costly_requests,
        })
    }
}

/// Asks who may use the route, how often they may sign in, and how many costly requests there are already.
pub(crate) async fn guard(declaration: Declaration, request: Request, next: Next) -> Response {
    let extensions = request.extensions();
    let gate = extensions.get::<Arc<Gate>>().cloned();
    let caller = extensions.get::<Caller>();
    let is_open = gate.as_ref().is_some_and(|gate| gate.is_open);
    if let Err(problem) = judge(declaration.access, caller, is_open) {
        return problem.into_response();
    }
    let Some(gate) = gate else { return next.run(request).await };
    let mut asked = Asked::default();
    if declaration.is_sign_in() {
        let key = extensions.get::<Client>().map_or(0, |client| client.key());
        if let Err(mut refusal) = asked.ask(gate.sign_in.as_ref(), key) {
            asked.tell(refusal.headers_mut());
            return refusal;
        }
    }
    let mut response = if declaration.is_costly {
        match gate.costly.try_acquire() {
            Ok(_permit) => next.run(request).await,
            Err(_) => too_costly(gate.costly_max),
        }
    } else {
        next.run(request).await
    };
    asked.tell(response.headers_mut());
    response
}

fn too_costly(most: usize) -> Response {
    counter!("requests_refused_total", "limit" => "costly").increment(1);
    let detail = format!("{most} requests that cost as much are being worked on already");
    Problem::new(ProblemKind::Overloaded, detail).into_response()
}

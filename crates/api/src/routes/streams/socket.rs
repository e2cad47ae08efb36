//! `GET /api/v1/events/ws`: the same events over a WebSocket (RFC 6455).
//!
//! A browser cannot set `Authorization` on a WebSocket. It offers its token as a subprotocol beside [`PROTOCOL`], which is the one that is chosen (the token is not said back), or sends
//! it in its first message. Nothing is said to whoever has not said who they are, and [`SIGN_IN_TIMEOUT`] later the connection is closed.

use std::convert::Infallible;
use std::pin::pin;
use std::time::Duration;

use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade};
use axum::extract::{FromRequestParts, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use axum::response::Response;
use plimsoll_bus::context;
use plimsoll_types::Context;
use secrecy::SecretString;
use serde::Deserialize;
use tokio::time::timeout;
use uuid::Uuid;

use super::subscription::{End, Events, Said, Subscription};
use super::{Slot, StreamQuery, Wanted};
use crate::gateway::Presented;
use crate::openapi::SocketProblems;
use crate::problem::{Problem, ProblemKind};
use crate::query::Query;
use crate::state::ApiState;

/// What is spoken here: each message is an envelope.
const PROTOCOL: &str = "plimsoll.events.v1";
/// A subprotocol that is a token.
const TOKEN_PREFIX: &str = "bearer.";
/// How long somebody may take to say who they are.
const SIGN_IN_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the other side may take to agree to the end.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);
/// What a client says is short.
const MESSAGE_MAX_BYTES: usize = 16 * 1024;
/// So many pings may go unanswered: then nobody is there.
const UNANSWERED_PINGS_MAX: u32 = 3;

/// Why a connection is closed (RFC 6455 §7.4; from 4000 on they are our own, after the status of HTTP that they stand for).
mod code {
    pub(super) const GOING_AWAY: u16 = 1001;
    pub(super) const UNSUPPORTED: u16 = 1003;
    pub(super) const INTERNAL: u16 = 1011;
    pub(super) const TRY_AGAIN: u16 = 1013;
    pub(super) const OF_HTTP: u16 = 4000;
}

/// The first message of a client that has not said who it is.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SignIn {
    /// As the header: `Bearer <credential>`.
    authorization: SecretString,
}

/// What a client offers to speak.
#[derive(Debug, utoipa::IntoParams)]
#[into_params(parameter_in = Header)]
pub(crate) struct Offered {
    /// `plimsoll.events.v1`, and `bearer.<token>` beside it
    #[param(rename = "Sec-WebSocket-Protocol", value_type = Option<String>, example = "plimsoll.events.v1")]
    token: Option<SecretString>,
}

impl<S: Send + Sync> FromRequestParts<S> for Offered {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self { token: offered(&parts.headers) })
    }
}

/// Live events (WebSocket)
///
/// As `/api/v1/events/stream`: each text message is a CloudEvent. Connect again with `after` set to the last `sequence` that was received. Say who you are by `Authorization`; from a browser,
/// offer the subprotocols `plimsoll.events.v1` and `bearer.<token>`, or send `{"authorization": "Bearer <token>"}` as the first message within ten seconds. Nothing else is expected from you
/// but pongs, which browsers send by themselves. The close frame says why it ends: 1001 the server ends, 1013 try again, 1003 a message that was not expected, 4400 the cursor cannot be
/// used, 4401 it is not known who you are or not any longer, 4403 you may not, 4429 too many streams; its reason is a problem's name and detail.
#[utoipa::path(
    get,
    path = "/api/v1/events/ws",
    tag = "bus",
    params(StreamQuery, Offered),
    responses(
        (status = 101, description = "Events, until either side closes"),
        SocketProblems
    )
)]
pub(crate) async fn socket(
    State(state): State<ApiState>,
    presented: Presented,
    offered: Offered,
    Query(query): Query<StreamQuery>,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<Response, Problem> {
    socket_of(state, presented, offered, query, upgrade).await
}

/// What of a tenant's events is asked for, over a WebSocket.
pub(super) async fn socket_of<Q: Wanted>(
    state: ApiState,
    presented: Presented,
    offered: Offered,
    query: Q,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<Response, Problem> {
    let upgrade = upgrade
        .map_err(|rejection| Problem::new(ProblemKind::UpgradeRequired, rejection.body_text()))?
        .protocols([PROTOCOL])
        .max_message_size(MESSAGE_MAX_BYTES)
        .max_frame_size(MESSAGE_MAX_BYTES);
    let mut slot = state.streams().enter(None)?;
    let presented = presented.or_credential(offered.token);
    if !presented.has_credential() {
        return Ok(
            upgrade.on_upgrade(async move |socket| sign_in(socket, state, presented, slot, query).await)
        );
    }
    let listener = presented.admit(&state, Q::PERMISSION).await?;
    slot.assign(listener.principal().tenant_id)?;
    let events = Events::open(&state, &listener, query).await?;
    let subscription = Subscription::open(&state, listener, slot, events);
    let context = context::current();
    Ok(upgrade.on_upgrade(async move |socket| match context {
        Some(context) => context::scope(context, run(socket, subscription)).await,
        None => run(socket, subscription).await,
    }))
}

/// The token among the subprotocols that the client offers.
fn offered(headers: &HeaderMap) -> Option<SecretString> {
    let offers =
        headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).iter().filter_map(|value| value.to_str().ok());
    let token =
        offers.flat_map(|offers| offers.split(',')).find_map(|offer| offer.trim().strip_prefix(TOKEN_PREFIX));
    token.map(|token| token.to_owned().into())
}

/// Waits for the message that says who it is.
async fn sign_in<Q: Wanted>(
    mut socket: WebSocket,
    state: ApiState,
    presented: Presented,
    mut slot: Slot,
    query: Q,
) {
    let entered = async {
        let text = first_text(&mut socket).await?;
        let said: SignIn = serde_json::from_str(&text)
            .map_err(|_| unknown("the first message is not `{\"authorization\": \"Bearer <token>\"}`"))?;
        let listener = presented.or_authorization(&said.authorization)?.admit(&state, Q::PERMISSION).await?;
        slot.assign(listener.principal().tenant_id)?;
        let principal = listener.principal();
        let context = Context::new(Uuid::new_v4(), principal.actor())
            .on_behalf_of(principal.tenant_id, Some(principal.user_id));
        let events = Events::open(&state, &listener, query).await?;
        Ok((context, Subscription::open(&state, listener, slot, events)))
    };
    let late = || unknown(&format!("no message said who this is within {} s", SIGN_IN_TIMEOUT.as_secs()));
    let entered = tokio::select! {
        entered = timeout(SIGN_IN_TIMEOUT, entered) => {
            entered.unwrap_or_else(|_| Err(late())).map_err(End::Problem)
        }
        () = state.feed().closed() => Err(End::Closing),
    };
    match entered {
        Ok((context, subscription)) => context::scope(context, run(socket, subscription)).await,
        Err(end) => close(socket, &end, 0).await,
    }
}

fn unknown(detail: &str) -> Problem {
    Problem::new(ProblemKind::Unauthenticated, detail)
}

async fn first_text(socket: &mut WebSocket) -> Result<axum::extract::ws::Utf8Bytes, Problem> {
    loop {
        match socket.recv().await {
            Some(Ok(Message::Text(text))) => return Ok(text),
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
            _ => return Err(unknown("the connection ended before it said who it is")),
        }
    }
}

/// Why it is over: the other side left, or takes nothing, or was told.
enum Over {
    Gone,
    Ended(End),
    Unexpected,
}

async fn run<Q: Wanted>(mut socket: WebSocket, mut subscription: Subscription<Events<Q>>) {
    metrics::gauge!("event_streams", "protocol" => "websocket").increment(1.0);
    let over = converse(&mut socket, &mut subscription).await;
    metrics::gauge!("event_streams", "protocol" => "websocket").decrement(1.0);
    let after = subscription.after();
    match over {
        Over::Gone => {}
        Over::Ended(end) => close(socket, &end, after).await,
        Over::Unexpected => {
            let reason = "no message is expected here, after the one that says who you are";
            close_with(socket, code::UNSUPPORTED, reason.to_owned()).await;
        }
    }
}

async fn converse<Q: Wanted>(socket: &mut WebSocket, subscription: &mut Subscription<Events<Q>>) -> Over {
    let mut unanswered_pings = 0;
    loop {
        let said = {
            // Kept while the client talks: whoever talks without a pause must not keep its credential from being looked at.
            let mut next = pin!(subscription.next());
            loop {
                tokio::select! {
                    said = &mut next => break said,
                    heard = socket.recv() => match heard {
                        Some(Ok(Message::Ping(_) | Message::Pong(_))) => unanswered_pings = 0,
                        Some(Ok(Message::Text(_) | Message::Binary(_))) => return Over::Unexpected,
                        Some(Ok(Message::Close(_)) | Err(_)) | None => return Over::Gone,
                    },
                }
            }
        };
        let message = match said {
            Ok(Said::Event { json, .. }) => Message::text(json),
            Ok(Said::Alive) if unanswered_pings >= UNANSWERED_PINGS_MAX => return Over::Gone,
            Ok(Said::Alive) => {
                unanswered_pings += 1;
                Message::Ping(axum::body::Bytes::new())
            }
            Err(end) => return Over::Ended(end),
        };
        if socket.send(message).await.is_err() {
            return Over::Gone;
        }
    }
}

/// Says why, and where to go on.
async fn close(socket: WebSocket, end: &End, after: i64) {
    let code = match end {
        End::Closing => code::GOING_AWAY,
        End::Problem(problem) => match problem.kind.status().as_u16() {
            500 => code::INTERNAL,
            503 => code::TRY_AGAIN,
            status => code::OF_HTTP + status,
        },
    };
    let told = end.tell(after);
    close_with(socket, code, format!("{}: {}", told.code, told.detail)).await;
}

async fn close_with(mut socket: WebSocket, code: u16, reason: String) {
    let frame = CloseFrame { code, reason: shortened(reason).into() };
    let closing = async {
        if socket.send(Message::Close(Some(frame))).await.is_ok() {
            // Until the other side has read it: a connection that is dropped with something unread takes the frame with it.
            while let Some(Ok(_)) = socket.recv().await {}
        }
    };
    if timeout(CLOSE_TIMEOUT, closing).await.is_err() {
        tracing::debug!("a client did not answer the end of its stream");
    }
}

/// A close frame's reason has at most 123 bytes (RFC 6455 §5.5).
fn shortened(mut reason: String) -> String {
    const REASON_MAX_BYTES: usize = 123;
    reason.truncate(reason.floor_char_boundary(REASON_MAX_BYTES));
    reason
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;
    use secrecy::ExposeSecret;

    use super::*;

    #[test]
    fn a_token_is_found_among_the_subprotocols() {
        let offers = |text: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(text));
            offered(&headers).map(|token| token.expose_secret().to_owned())
        };
        assert_eq!(offers("plimsoll.events.v1, bearer.a.b-c_d"), Some("a.b-c_d".into()));
        assert_eq!(offers("bearer.a,plimsoll.events.v1"), Some("a".into()));
        assert_eq!(offers("plimsoll.events.v1"), None);
    }

    #[test]
    fn a_reason_fits_into_a_frame() {
        assert_eq!(shortened("short".into()), "short");
        assert_eq!(shortened("é".repeat(100)).len(), 122);
    }
}

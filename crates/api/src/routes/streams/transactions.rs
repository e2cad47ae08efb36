//! `GET /chain/tx/stream` (server-sent events) and `GET /ws/txs` (WebSocket): each change of a tenant's transactions, as it gets its number (spec 2 §5.3).

use axum::extract::State;
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::response::Response;
use plimsoll_bus::StoredEvent;
use plimsoll_identity::Permission::{self, RelayerRead};
use plimsoll_types::api::{SequenceNumber, TransactionChange};
use plimsoll_types::{Address, TransactionState, address_text, parse_address};
use serde_json::Value;
use uuid::Uuid;

use super::Wanted;
use super::socket::{Offered, socket_of};
use super::sse::{Resumed, stream_of};
use super::subscription::{End, Said};
use crate::gateway::{Caller, Presented};
use crate::openapi::{ServerSentEvent, SocketProblems, StreamProblems};
use crate::problem::{Problem, ProblemKind};
use crate::query::{Fields, Parameters, Query, bigint, shown};
use crate::state::ApiState;

/// The relayer's events of transactions are named so, with the state behind it.
const TYPES: &str = "relayer.transaction.";

/// Which transactions' changes.
#[derive(Debug, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct ChangesQuery {
    /// Begin after this number: 0 for all that is kept. Left out: what is yet to come. `Last-Event-ID` counts before it.
    #[param(value_type = Option<u64>)]
    after: Option<i64>,
    /// Of this request.
    request_id: Option<Uuid>,
    /// Of those that this address signs.
    #[param(value_type = Option<String>, pattern = "^0x[0-9a-fA-F]{40}$")]
    signer: Option<Address>,
    /// Those into this state.
    state: Option<TransactionState>,
}

impl Parameters for ChangesQuery {
    const KNOWN: &'static [&'static str] = &["after", "request_id", "signer", "state"];

    fn read(mut fields: Fields) -> Result<Self, Problem> {
        let id = |text: &str| Uuid::try_parse(text).map_err(|_| format!("`{}` is no UUID", shown(text)));
        let state = |text: &str| {
            text.parse::<TransactionState>()
                .map_err(|_| format!("`{}` is no state of a transaction", shown(text)))
        };
        let query = Self {
            after: fields.take("after", bigint),
            request_id: fields.take("request_id", id),
            signer: fields.take("signer", parse_address),
            state: fields.take("state", state),
        };
        fields.finish()?;
        Ok(query)
    }
}

impl Wanted for ChangesQuery {
    const PERMISSION: Permission = RelayerRead;

    fn after(&mut self) -> &mut Option<i64> {
        &mut self.after
    }

    fn wants(&self, event: &StoredEvent) -> bool {
        let Some(state) = event.event_type.strip_prefix(TYPES) else { return false };
        let signer = || event.payload.get("signer").and_then(Value::as_str);
        self.state.is_none_or(|wanted| wanted.as_str() == state)
            && self.request_id.is_none_or(|wanted| wanted == event.request_id)
            && self.signer.is_none_or(|wanted| signer() == Some(&*address_text(&wanted)))
    }

    fn said(event: &StoredEvent) -> Result<Said, End> {
        let broken = || {
            tracing::error!(sequence = event.sequence, "an event of a transaction cannot be read");
            Problem::new(ProblemKind::Internal, "an event of a transaction cannot be read")
        };
        let change = change_of(event).ok_or_else(broken)?;
        let json = serde_json::to_string(&change).map_err(|_| broken())?;
        Ok(Said::Event { number: change.sequence.0, json })
    }
}

fn change_of(event: &StoredEvent) -> Option<TransactionChange> {
    let field = |name: &str| event.payload.get(name);
    let text = |name: &str| field(name).and_then(Value::as_str).map(str::to_owned);
    Some(TransactionChange {
        sequence: SequenceNumber(event.sequence?),
        transaction_id: event.target_id.as_deref()?.parse().ok()?,
        version: event.version,
        request_id: event.request_id,
        user_id: event.user_id,
        chain_id: field("chain_id")?.as_u64()?,
        signer: text("signer")?,
        nonce: field("nonce").and_then(Value::as_u64),
        tx_hash: text("tx_hash"),
        block_number: field("block_number").and_then(Value::as_u64),
        from: text("from").and_then(|state| state.parse().ok()),
        status: text("to")?.parse().ok()?,
        because: text("because").unwrap_or_default(),
        why: text("why"),
        time: event.timestamp,
    })
}

/// Changes of transactions (SSE)
///
/// Each change of your tenant's transactions as it gets its number, as a [TransactionChange](#/components/schemas/TransactionChange) in `data`, with the number as `id`; those of platform signers and
/// those that users signed. An `EventSource` that loses its connection comes again with `Last-Event-ID` and misses nothing; any other client sends that header, or `after`. In quiet
/// times there is a comment every ten seconds, with an `id` alone. The stream ends with an event `end` ([StreamEnd](#/components/schemas/StreamEnd) as `data`), and lasts as long as its
/// credential.
#[utoipa::path(
    get,
    operation_id = "stream_transactions",
    path = "/chain/tx/stream",
    tag = "relayer",
    params(ChangesQuery, Resumed),
    responses(
        (status = 200, description = "Changes, until either side ends it; `data` is a [TransactionChange](#/components/schemas/TransactionChange)", content_type = "text/event-stream", body = ServerSentEvent),
        StreamProblems
    )
)]
pub(crate) async fn transactions(
    State(state): State<ApiState>,
    caller: Caller,
    presented: Presented,
    resumed: Resumed,
    Query(query): Query<ChangesQuery>,
) -> Result<Response, Problem> {
    stream_of(&state, &caller, presented, &resumed, query).await
}

/// Changes of transactions (WebSocket)
///
/// As `/chain/tx/stream`: each text message is a [TransactionChange](#/components/schemas/TransactionChange), with `tx_hash`, `request_id` and `status`. Connect again with `after` set to the last `sequence` that was
/// received. Who you are, and why it ends, is said as at `/api/v1/events/ws`.
#[utoipa::path(
    get,
    operation_id = "socket_transactions",
    path = "/ws/txs",
    tag = "relayer",
    params(ChangesQuery, Offered),
    responses(
        (status = 101, description = "Changes, until either side closes"),
        SocketProblems
    )
)]
pub(crate) async fn transactions_socket(
    State(state): State<ApiState>,
    presented: Presented,
    offered: Offered,
    Query(query): Query<ChangesQuery>,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<Response, Problem> {
    socket_of(state, presented, offered, query, upgrade).await
}

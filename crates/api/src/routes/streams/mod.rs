//! Live events: `GET /api/v1/events/stream` (server-sent events) and `GET /api/v1/events/ws` (WebSocket); transactions' changes: `GET /chain/tx/stream` and `GET /ws/txs`;
//! confirmed blocks: `GET /api/v1/chains/{chain_id}/blocks/stream`.
//!
//! All are one [`Subscription`](subscription::Subscription) over a feed of the process ([`plimsoll_store::feed`], where it is argued why nothing is missed and nothing told twice) and
//! differ in what is heard and in how it is written down. What all keep:
//!
//! - *A stream is a cursor.* Every event carries its number; whoever connects again `after` the last number gets exactly what follows. Where a filter passes over events, the
//!   number moves along with the heartbeats, so that a quiet filter does not begin far back.
//! - *A slow reader is only late.* What it has not taken is not kept for it: at most a page of its own, and a few frames on their way. One that takes nothing at all is cut off
//!   with its connection ([`crate::stall`]), and the task that writes for it ends.
//! - *Who may not listen any more does not*: the credential is looked at again at every [pulse](StreamOptions::pulse_ms), as if it had just been sent. A revocation therefore ends a stream as
//!   soon as it would refuse a request, and so does the end of an access token's ten minutes.
//! - *They are bounded* ([`Streams`]): in all, and for each tenant; they take no slot of the requests that are worked on, and no connection to the database while they wait.

mod admission;
mod blocks;
mod socket;
mod sse;
mod subscription;
mod transactions;

use plimsoll_bus::StoredEvent;
use plimsoll_identity::Permission;
use plimsoll_identity::Permission::{EventsRead, RelayerRead};

pub use self::admission::StreamOptions;
pub(crate) use self::admission::{Slot, Streams};
pub(crate) use self::blocks::{__path_blocks, blocks};
pub(crate) use self::socket::{__path_socket, socket};
pub(crate) use self::sse::{__path_stream, stream};
use self::subscription::{End, Said};
pub(crate) use self::transactions::{
    __path_transactions, __path_transactions_socket, transactions, transactions_socket,
};
use crate::gateway::Access::{Anybody, Needs};
use crate::gateway::{Declaration, Routes};
use crate::problem::Problem;
use crate::query::{Fields, Parameters, bigint, text};
use crate::state::ApiState;

pub(super) fn routes() -> Routes<ApiState> {
    Routes::default()
        .read(Declaration::read("/api/v1/events/stream", Needs(EventsRead)).stream(), stream)
        .read(
            Declaration::read("/api/v1/chains/{chain_id}/blocks/stream", Needs(EventsRead)).stream(),
            blocks,
        )
        // A browser cannot send `Authorization` here: the handler itself asks, before it says anything.
        .read(Declaration::read("/api/v1/events/ws", Anybody).stream(), socket)
        .read(Declaration::read("/chain/tx/stream", Needs(RelayerRead)).stream(), transactions)
        .read(Declaration::read("/ws/txs", Anybody).stream(), transactions_socket)
}

/// What may be asked of a stream of events.
#[derive(Debug, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct StreamQuery {
    /// Begin after this number: 0 for all that is kept. Left out: what is yet to come. `Last-Event-ID` counts before it.
    #[param(value_type = Option<u64>)]
    pub(super) after: Option<i64>,
    /// What happened: an event's type, or with a full stop at its end all types that begin so.
    #[param(rename = "type", max_length = 255, pattern = "^[^\\u0000]+$", example = "identity.user.")]
    event_type: Option<String>,
    /// What it happened to, in words.
    #[param(max_length = 255, pattern = "^[^\\u0000]+$")]
    subject: Option<String>,
    /// The kind of thing that it happened to.
    #[param(max_length = 255, pattern = "^[^\\u0000]+$")]
    target_type: Option<String>,
    /// Which of them.
    #[param(max_length = 255, pattern = "^[^\\u0000]+$")]
    target_id: Option<String>,
}

impl Parameters for StreamQuery {
    const KNOWN: &'static [&'static str] = &["after", "type", "subject", "target_type", "target_id"];

    fn read(mut fields: Fields) -> Result<Self, Problem> {
        let query = Self {
            after: fields.take("after", bigint),
            event_type: fields.take("type", text),
            subject: fields.take("subject", text),
            target_type: fields.take("target_type", text),
            target_id: fields.take("target_id", text),
        };
        fields.finish()?;
        Ok(query)
    }
}

/// What of a tenant's events is asked for, and in which form.
trait Wanted: Parameters + Send + 'static {
    /// What one needs to hear it.
    const PERMISSION: Permission;

    /// After which number; none: what is yet to come.
    fn after(&mut self) -> &mut Option<i64>;

    /// Whether the event passes every filter.
    fn wants(&self, event: &StoredEvent) -> bool;

    /// As it is written down.
    fn said(event: &StoredEvent) -> Result<Said, End>;
}

impl Wanted for StreamQuery {
    const PERMISSION: Permission = EventsRead;

    fn after(&mut self) -> &mut Option<i64> {
        &mut self.after
    }

    fn said(event: &StoredEvent) -> Result<Said, End> {
        subscription::envelope(event)
    }

    fn wants(&self, event: &StoredEvent) -> bool {
        let is =
            |wanted: &Option<String>, found: Option<&String>| wanted.is_none() || wanted.as_ref() == found;
        let is_type = self.event_type.as_ref().is_none_or(|wanted| {
            *wanted == event.event_type || wanted.ends_with('.') && event.event_type.starts_with(wanted)
        });
        is_type
            && is(&self.subject, event.subject.as_ref())
            && is(&self.target_type, event.target_type.as_ref())
            && is(&self.target_id, event.target_id.as_ref())
    }
}

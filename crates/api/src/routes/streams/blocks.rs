//! `GET /api/v1/chains/{chain_id}/blocks/stream`: a chain's confirmed blocks, for whoever only wants stable ones (spec 3 task 3.4).

use axum::extract::{Path, State};
use axum::response::Response;
use plimsoll_identity::Permission::EventsRead;
use plimsoll_journal::{Mark, MarkKind, MarksChannel, MarksClosed, MarksError};
use plimsoll_types::api::{BlockMark, BlockMarkKind};

use super::sse::{Resumed, respond};
use super::subscription::{End, Heard, Said, Subscription};
use crate::gateway::{Caller, Presented};
use crate::openapi::{ChainStreamProblems, ServerSentEvent};
use crate::problem::{Problem, ProblemKind};
use crate::query::{Fields, Parameters, Query, bigint};
use crate::repo::RepoError;
use crate::state::ApiState;

/// What may be asked of a stream of blocks.
#[derive(Debug, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct BlocksQuery {
    /// Begin after this record of the chain's journal: 0 for all that was ever confirmed. Left out: what is yet to come. `Last-Event-ID` counts before it.
    #[param(value_type = Option<u64>)]
    after: Option<i64>,
}

impl Parameters for BlocksQuery {
    const KNOWN: &'static [&'static str] = &["after"];

    fn read(mut fields: Fields) -> Result<Self, Problem> {
        let query = Self { after: fields.take("after", bigint) };
        fields.finish()?;
        Ok(query)
    }
}

/// Confirmed blocks (SSE)
///
/// Each confirmed block of a chain, in order and once, with the journal's `seq` as `id`: at the head every block, in a backfill the last of each range. A reorganisation that goes deeper
/// than the confirmations takes blocks back (`retracted`, newest first) before it confirms others; past `final` nothing is taken back. An `EventSource` that loses its connection comes
/// again with `Last-Event-ID` and misses nothing. In quiet times there is a comment every ten seconds, with an `id` alone. The stream ends with an event `end`
/// ([StreamEnd](#/components/schemas/StreamEnd) as `data`), and lasts as long as its credential. A client that reads slowly is late, and nobody else is.
#[utoipa::path(
    get,
    path = "/api/v1/chains/{chain_id}/blocks/stream",
    tag = "chains",
    params(
        ("chain_id" = u64, Path, description = "The chain's EIP-155 id", example = 31_337),
        BlocksQuery,
        Resumed
    ),
    responses(
        (status = 200, description = "Blocks, until either side ends it; `data` is a [BlockMark](#/components/schemas/BlockMark)", content_type = "text/event-stream", body = ServerSentEvent),
        ChainStreamProblems
    )
)]
pub(crate) async fn blocks(
    State(state): State<ApiState>,
    caller: Caller,
    presented: Presented,
    Path(chain_id): Path<String>,
    resumed: Resumed,
    Query(query): Query<BlocksQuery>,
) -> Result<Response, Problem> {
    let chain_id = bigint(&chain_id)
        .map_err(|reason| Problem::new(ProblemKind::InvalidParameter, format!("`chain_id`: {reason}")))?
        .unsigned_abs();
    let after = resumed.last_event_id.or(query.after);
    let slot = state.streams().enter(Some(caller.tenant_id))?;
    let listener = presented.admit(&state, EventsRead).await?;
    let channel =
        state.marks().subscribe(chain_id, after).await.map_err(|error| End::from(error).refuse())?;
    Ok(respond(Subscription::open(&state, listener, slot, Blocks { chain_id, channel })))
}

/// A chain's confirmed blocks.
#[derive(Debug)]
struct Blocks {
    chain_id: u64,
    channel: MarksChannel,
}

impl Heard for Blocks {
    async fn next(&mut self) -> Result<Option<Said>, End> {
        let mark = self.channel.next().await?;
        said(self.chain_id, &mark).map(Some)
    }

    fn cursor(&self) -> i64 {
        self.channel.cursor()
    }
}

fn said(chain_id: u64, mark: &Mark) -> Result<Said, End> {
    let Mark { seq, kind, block } = mark;
    let told = BlockMark {
        kind: match kind {
            MarkKind::Confirmed => BlockMarkKind::Confirmed,
            MarkKind::Retracted => BlockMarkKind::Retracted,
            MarkKind::Final => BlockMarkKind::Final,
        },
        chain_id,
        number: block.number,
        hash: block.hash,
        parent_hash: block.parent_hash,
        time: block.time,
        journal_seq: seq.unsigned_abs(),
    };
    let json = serde_json::to_string(&told).map_err(|error| {
        tracing::error!(%error, chain_id, seq, "a block has no JSON form");
        Problem::new(ProblemKind::Internal, "a block has no JSON form")
    })?;
    Ok(Said::Event { number: *seq, json })
}

impl From<MarksClosed> for End {
    fn from(error: MarksClosed) -> Self {
        Self::of(error, |error| match error {
            MarksError::UnknownChain { chain_id } => Problem::unknown_chain(chain_id),
            MarksError::Database(error) => RepoError::from(error).into(),
            MarksError::Read(error) => {
                tracing::error!(%error, "the journal cannot be read");
                Problem::new(ProblemKind::Internal, "the journal cannot be read")
            }
        })
    }
}

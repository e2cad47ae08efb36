//! What the bus is told: one event a posting, and one a conflict, in the transaction that books them (spec 2 §3.4, `ledger.events`).
//!
//! A posting's event is named after it, so there is one. It says what happened and refers to the posting for its lines, which may be many; all events of a batch are one statement.

use plimsoll_bus::{Event, Keys, MAX_EVENTS, PublishError, publish_all};
use plimsoll_types::hash_text;
use serde_json::json;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::batch::Posted;
use crate::error::PostError;
use crate::posting::{Correction, Posting};

/// Who says so.
const SOURCE: &str = "/plimsoll/ledger";
/// What it happens to.
const TARGET: &str = "posting";

/// Publishes what came of these postings, in the transaction that booked them.
pub(crate) async fn publish<'a>(
    conn: &mut PgConnection,
    outcomes: impl IntoIterator<Item = (&'a Posting, &'a Result<Posted, PostError>)>,
) -> Result<(), sqlx::Error> {
    let mut events: Vec<_> =
        outcomes.into_iter().filter_map(|(posting, outcome)| event(posting, outcome)).collect();
    while !events.is_empty() {
        let rest = events.split_off(events.len().min(MAX_EVENTS));
        publish_all(conn, events).await.map_err(|error| match error {
            PublishError::Database(error) => error,
            // Of one of them, which is then found by halving.
            other => sqlx::Error::Encode(other.to_string().into()),
        })?;
        events = rest;
    }
    Ok(())
}

fn event(posting: &Posting, outcome: &Result<Posted, PostError>) -> Option<Event> {
    let draft = posting.draft();
    let (posting_id, event_id, what) = match outcome {
        Ok(posted) if !posted.is_replay => {
            let is_reversal = matches!(draft.correction, Some((Correction::Reverses(_), _)));
            let what = if is_reversal { "reversed" } else { "posted" };
            (posted.posting_id, posted.posting_id, what)
        }
        Err(PostError::Conflict { posting_id, .. }) => (*posting_id, Uuid::now_v7(), "conflict"),
        Ok(_) | Err(_) => return None,
    };
    let (reverses, compensates) = match draft.correction {
        Some((Correction::Reverses(id), _)) => (Some(id), None),
        Some((Correction::Compensates(id), _)) => (None, Some(id)),
        None => (None, None),
    };
    let on_chain = draft.on_chain;
    let payload = json!({
        "operation_type": draft.operation_type,
        "domain": draft.domain,
        "checksum": hash_text(&posting.checksum()),
        "lines": draft.lines.len(),
        "chain_id": on_chain.map(|on| on.chain_id),
        "chain_tx_hash": on_chain.and_then(|on| on.tx_hash).map(|hash| hash_text(&hash)),
        "chain_block_number": on_chain.and_then(|on| on.block).map(|(number, _)| number),
        "reverses": reverses,
        "compensates": compensates,
    });
    Some(
        Event::new(SOURCE, format!("ledger.posting.{what}"), payload)
            .with_id(event_id.to_string())
            .with_target(TARGET, posting_id.to_string())
            .demanding(Keys::Tenant)
            .in_context(draft.context.clone()),
    )
}

//! What the bus is told: one event a posting, and one a conflict, in the transaction that books them (spec 2 §3.4, `ledger.events`).
//!
//! A posting's event is staged by the database, in the statement that writes the posting (`publish_postings`): whoever writes one, there is an event exactly if there is the posting. It is named after it, says what
//! happened, and refers to the posting for its lines, which may be many. A conflict leaves no posting; its event is staged here.

use plimsoll_bus::{EVENTS, Event, Keys, MAX_EVENTS, PublishError, publish_all};
use plimsoll_types::hash_text;
use serde_json::json;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::posting::{Correction, Posting};

/// Who says so.
const SOURCE: &str = "/plimsoll/ledger";
/// What it happens to.
const TARGET: &str = "posting";

/// Wakes who numbers events: those of postings were staged, in a transaction that will soon commit.
pub(crate) fn announce_postings() {
    EVENTS.announce_staged();
}

/// Publishes conflicts, in the transaction that found them: what came under another's key, and the posting that has the key.
pub(crate) async fn publish_conflicts(
    conn: &mut PgConnection,
    conflicts: &[(&Posting, Uuid)],
) -> Result<(), sqlx::Error> {
    for conflicts in conflicts.chunks(MAX_EVENTS) {
        let events = conflicts.iter().map(|(posting, posting_id)| event(posting, *posting_id)).collect();
        publish_all(conn, events).await.map_err(|error| match error {
            PublishError::Database(error) => error,
            // Of one of them, which is then found by halving.
            other => sqlx::Error::Encode(other.to_string().into()),
        })?;
    }
    Ok(())
}

fn event(posting: &Posting, posting_id: Uuid) -> Event {
    let draft = posting.draft();
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
    Event::new(SOURCE, "ledger.posting.conflict", payload)
        .with_target(TARGET, posting_id.to_string())
        .demanding(Keys::Tenant)
        .in_context(draft.context.clone())
}

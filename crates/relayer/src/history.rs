//! The history of a transaction: each change of its state, published on the bus in the transaction that makes it.
//!
//! An event is named after the transaction and its version (UUIDv5), so it is published once, and the event that caused it, which is that of the version before, is known without
//! a look.

use plimsoll_bus::{Event, Keys, MAX_EVENTS, PublishError, publish_all};
use plimsoll_types::{Context, TransactionState, hash_text};
use serde_json::json;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::reason::Reason;
use crate::repo::{self, Changed};

/// Who says so.
const SOURCE: &str = "/plimsoll/relayer";
/// What it happens to.
pub(crate) const TARGET: &str = "transaction";

/// The id of the event of a transaction's version.
pub(crate) fn event_id(transaction_id: Uuid, version: i32) -> String {
    Uuid::new_v5(&transaction_id, &version.to_be_bytes()).to_string()
}

/// Publishes these changes, all out of one state, in the transaction that made them; each in its own name.
pub(crate) async fn publish(
    conn: &mut PgConnection,
    from: Option<TransactionState>,
    because: &str,
    changes: Vec<(Context, &Changed)>,
) -> Result<(), PublishError> {
    let events: Vec<_> =
        changes.into_iter().map(|(context, change)| event(context, from, because, change)).collect();
    for part in events.chunks(MAX_EVENTS) {
        publish_all(conn, part.to_vec()).await?;
    }
    Ok(())
}

/// The same, all in the name of one part of the relayer.
pub(crate) async fn publish_as(
    conn: &mut PgConnection,
    actor: &str,
    from: Option<TransactionState>,
    because: &str,
    changes: &[Changed],
) -> Result<(), PublishError> {
    let changes = changes.iter().map(|change| (change.context(actor), change)).collect();
    publish(conn, from, because, changes).await
}

/// Publishes why a transaction reverted in its block, in the transaction that keeps it. Its state stays what it is.
pub(crate) async fn publish_reason(
    conn: &mut PgConnection,
    actor: &str,
    change: &Changed,
    reason: &Reason,
) -> Result<(), PublishError> {
    let because = "it was found out why it reverted";
    let mut event = event(change.context(actor), Some(change.state), because, change);
    event.event_type = format!("relayer.{TARGET}.reverted");
    event.payload["revert"] = json!({ "code": reason.code, "text": reason.text, "source": reason.source });
    publish_all(conn, vec![event]).await?;
    Ok(())
}

fn event(context: Context, from: Option<TransactionState>, because: &str, change: &Changed) -> Event {
    let payload = json!({
        "chain_id": change.chain_id,
        "signer": change.signer,
        "from": from,
        "to": change.state,
        "because": because,
        "why": change.end_why,
        "nonce": change.nonce,
        "tx_hash": change.tx_hash.as_deref().and_then(|bytes| repo::hash(bytes).ok()).map(|hash| hash_text(&hash)),
        "block_number": change.block_number,
    });
    let event_type = format!("relayer.transaction.{}", change.state);
    let keys = if change.tenant_id.is_some() { Keys::Tenant } else { Keys::Platform };
    Event {
        version: Some(i64::from(change.version)),
        context: Some(context),
        ..Event::new(SOURCE, event_type, payload)
            .with_id(event_id(change.id, change.version))
            .with_target(TARGET, change.id.to_string())
            .demanding(keys)
    }
}

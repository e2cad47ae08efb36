//! The history of a job: each step is published on the bus in the transaction that takes it.
//!
//! An event is named after the job and its version (UUIDv5), so it is published once, and the event that caused it is known without a look.

use plimsoll_bus::{Event, Keys, PublishError, publish};
use plimsoll_types::address_text;
use serde_json::json;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::job::Job;
use crate::state::Status;

const SOURCE: &str = "/plimsoll/retry";
const TARGET: &str = "cache_retry_job";

/// The id of the event of a job's version.
pub(crate) fn event_id(job_id: Uuid, version: i32) -> String {
    Uuid::new_v5(&job_id, format!("version {version}").as_bytes()).to_string()
}

/// Publishes a job's newest step. `from`: none when there was no job before.
pub(crate) async fn publish_step(
    conn: &mut PgConnection,
    actor: &str,
    from: Option<Status>,
    because: &str,
    job: &Job,
) -> Result<(), sqlx::Error> {
    let payload = json!({
        "chain_id": job.chain_id,
        "user": address_text(&job.key.user),
        "asset": job.key.asset.as_ref().map(address_text),
        "view_addr": address_text(&job.key.view),
        "from": from,
        "to": job.status,
        "because": because,
        "attempts": job.attempts,
        "reason_code": job.reason_code,
        "reason": job.reason_text,
        "transaction_id": job.transaction_id,
    });
    let event = Event {
        version: Some(i64::from(job.version)),
        context: Some(job.context(actor)),
        ..Event::new(SOURCE, format!("retry.job.{}", job.status), payload)
            .with_id(event_id(job.id, job.version))
            .with_target(TARGET, job.id.to_string())
            .demanding(Keys::Tenant)
    };
    match publish(conn, event).await {
        Ok(_) => Ok(()),
        Err(PublishError::Database(error)) => Err(error),
        // What we write ourselves is bounded and has its keys.
        Err(other) => Err(sqlx::Error::Encode(other.to_string().into())),
    }
}

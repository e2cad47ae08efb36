//! Who did what: the audit log, a hash-linked stream.
//!
//! [`record`] writes an entry into the caller's transaction, with the digest of all that it says (below). The sequencer numbers the entries and links them
//! ([`plimsoll_store::sequencer`]). So a change of an entry shows in its digest, a change of both in the hash, and a change of all three, a removal or an
//! insertion in the link of the next row; the last hash stands beside the counter. [`verify`] finds the first such row. Whoever can rewrite every row after it and the
//! counter can hide it from this check: keep the head's hash, which `plimsoll verify audit` prints, elsewhere as well.
//!
//! # The digest
//! SHA-256 over `plimsoll audit row v1\n` and these fields, in this order: tenant_id, request_id, user_id, actor, action, target_type, target_id, before, after, tx_id,
//! reason, correlation_id, recorded_at. A field that is NULL is a byte 0; any other is a byte 1, its length in bytes (8 bytes, most significant first), and the bytes: a UUID's 16, a
//! text's UTF-8, a time's microseconds since 1970 (8 bytes, two's complement, most significant first), a JSON value's canonical form.
//!
//! JSON is canonical with no space, an object's names in the order of their UTF-8 bytes, texts escaped as little as JSON allows (`"`, `\`, and control characters: `\b \f \n \r \t`,
//! else `\u00xx`), and a number as its digits without zeros at either end, then `e` and the power of ten: 1200 is `12e2`, 0.50 is `5e-1`, zero is `0`. So it is the same
//! for the value that was written and for what `jsonb` made of it.

mod digest;
mod read;
mod verify;
mod watch;

use plimsoll_store::Stream;
use plimsoll_store::sequencer::Hash;
use plimsoll_types::Context;
use serde_json::Value;
use sqlx::PgConnection;
use time::OffsetDateTime;

use self::digest::{CanonicalError, canonical, row_digest};
pub use self::read::{
    Filter, PAGE_MAX_ROWS, Page, Recorded, SCAN_ROWS, by_request, page, page_back, waiting,
};
pub use self::verify::{AuditReport, Break, VerifyError, verify};
pub use self::watch::Watch;
use crate::event::to_micros;
use crate::keys::{Keys, MissingKeys};
use crate::publish::has_nul;
use crate::repo::audit as repo;

/// The stream of all audit entries.
pub static AUDIT_LOG: Stream = Stream::new(
    "audit_log",
    "audit_staging",
    &[
        "tenant_id",
        "request_id",
        "user_id",
        "actor",
        "action",
        "target_type",
        "target_id",
        "before",
        "after",
        "tx_id",
        "reason",
        "correlation_id",
        "recorded_at",
        "digest",
    ],
)
.linked();

/// The most that `before` and `after` may take, each, as JSON text.
pub const MAX_STATE_BYTES: usize = 256 * 1024;

/// What is put on record.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// What was done, as `identity.user.suspend`.
    pub action: String,
    /// The kind of thing that it was done to, and which of them.
    pub target_type: String,
    /// Which of them.
    pub target_id: String,
    /// Its state before; `None` where there was none. Secrets are left out by the caller.
    pub before: Option<Value>,
    /// Its state after.
    pub after: Option<Value>,
    /// The transaction of the ledger or the chain, where there is one.
    pub tx_id: Option<String>,
    /// Why, in the actor's words.
    pub reason: Option<String>,
    /// The keys that it cannot be without.
    pub keys: Keys,
    /// Who, for whom and in which story; the task's ([`crate::context`]) unless given.
    pub context: Option<Context>,
}

impl Entry {
    /// An action on a thing, by a user of a tenant, in the context of the task.
    #[must_use]
    pub fn new(
        action: impl Into<String>,
        target_type: impl Into<String>,
        target_id: impl Into<String>,
    ) -> Self {
        Self {
            action: action.into(),
            target_type: target_type.into(),
            target_id: target_id.into(),
            before: None,
            after: None,
            tx_id: None,
            reason: None,
            keys: Keys::default(),
            context: None,
        }
    }

    /// With the thing's state before and after.
    #[must_use]
    pub fn with_change(self, before: Option<Value>, after: Option<Value>) -> Self {
        Self { before, after, ..self }
    }

    /// With the actor's reason.
    #[must_use]
    pub fn with_reason(self, reason: impl Into<String>) -> Self {
        Self { reason: Some(reason.into()), ..self }
    }

    /// With the keys that it demands.
    #[must_use]
    pub fn demanding(self, keys: Keys) -> Self {
        Self { keys, ..self }
    }

    /// In this context instead of the task's.
    #[must_use]
    pub fn in_context(self, context: Context) -> Self {
        Self { context: Some(context), ..self }
    }
}

/// Why nothing was recorded. What is to be audited must then not happen either: roll back.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// A key is missing.
    #[error(transparent)]
    MissingKeys(#[from] MissingKeys),
    /// A field cannot be kept.
    #[error("an audit entry's {field} {problem}")]
    Invalid {
        /// Which.
        field: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// The database's own error; the transaction is lost.
    #[error("recording for the audit: {0}")]
    Database(#[from] sqlx::Error),
}

/// An entry as it is kept, but for number and link.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) context: Context,
    pub(crate) action: String,
    pub(crate) target_type: String,
    pub(crate) target_id: String,
    /// JSON text, in whatever form.
    pub(crate) before: Option<String>,
    pub(crate) after: Option<String>,
    pub(crate) tx_id: Option<String>,
    pub(crate) reason: Option<String>,
    pub(crate) recorded_at: OffsetDateTime,
}

/// Records `entry` in the caller's transaction: it is on record if and only if what it tells of is committed.
///
/// # Errors
/// See [`RecordError`].
pub async fn record(conn: &mut PgConnection, entry: Entry) -> Result<(), RecordError> {
    record_all(conn, vec![entry]).await
}

/// Records several, in their order, in one statement.
///
/// # Errors
/// See [`RecordError`]; none is recorded then.
pub async fn record_all(conn: &mut PgConnection, entries: Vec<Entry>) -> Result<(), RecordError> {
    let rows = entries.into_iter().map(row_of).collect::<Result<Vec<_>, _>>()?;
    repo::stage(conn, &rows).await?;
    AUDIT_LOG.announce_staged();
    Ok(())
}

fn row_of(entry: Entry) -> Result<(Row, Hash), RecordError> {
    let context = entry.keys.resolve(entry.context, AUDIT_LOG.name())?;
    let row = Row {
        context,
        before: state("before", entry.before.as_ref())?,
        after: state("after", entry.after.as_ref())?,
        action: text("action", entry.action)?,
        target_type: text("target_type", entry.target_type)?,
        target_id: text("target_id", entry.target_id)?,
        tx_id: entry.tx_id.map(|id| text("tx_id", id)).transpose()?,
        reason: entry.reason.map(|reason| text("reason", reason)).transpose()?,
        recorded_at: to_micros(OffsetDateTime::now_utc()),
    };
    let digest = row_digest(&row)
        .map_err(|error| RecordError::Invalid { field: "state", problem: error.to_string() })?;
    Ok((row, digest))
}

fn text(field: &'static str, text: String) -> Result<String, RecordError> {
    match text.contains('\0') {
        true => Err(RecordError::Invalid {
            field,
            problem: "contains a NUL character, which Postgres does not keep".into(),
        }),
        false => Ok(text),
    }
}

/// In canonical form, which says at once whether it can be read back.
fn state(field: &'static str, value: Option<&Value>) -> Result<Option<String>, RecordError> {
    let Some(value) = value else { return Ok(None) };
    let invalid = |problem: String| RecordError::Invalid { field, problem };
    if has_nul(value) {
        return Err(invalid("contains a NUL character, which Postgres does not keep".into()));
    }
    let json = canonical(&value.to_string()).map_err(|error: CanonicalError| invalid(error.to_string()))?;
    if json.len() > MAX_STATE_BYTES {
        return Err(invalid(format!(
            "has {} bytes, more than {MAX_STATE_BYTES}: record what changed, not everything",
            json.len()
        )));
    }
    Ok(Some(json))
}

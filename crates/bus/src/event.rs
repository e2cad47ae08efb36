use plimsoll_store::Stream;
use plimsoll_types::{CloudEvent, ContentType, Context, SpecVersion};
use serde_json::Value;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::keys::Keys;

/// The stream of all events. A process with the role of sequencer numbers it.
pub static EVENTS: Stream = Stream::new(
    "events",
    "events_staging",
    &[
        "event_id",
        "tenant_id",
        "source",
        "event_type",
        "subject",
        "timestamp",
        "actor_id",
        "target_id",
        "target_type",
        "version",
        "payload",
        "request_id",
        "user_id",
        "correlation_id",
        "causation_id",
        "recorded_at",
    ],
);

/// An event that is about to be published.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// Unique in its tenant for ever, 1 to 255 characters. A new UUID (version 7) unless given; what a fold publishes is named by UUIDv5 from (fold, chain, seq).
    pub event_id: String,
    /// Which part of Plimsoll says so, as a relative URI: `/plimsoll/identity`.
    pub source: String,
    /// What happened, as `identity.user.created`.
    pub event_type: String,
    /// What it happened to, for people and for filters.
    pub subject: Option<String>,
    /// When it happened, to the microsecond.
    pub timestamp: OffsetDateTime,
    /// The kind of thing that it happened to, and which of them.
    pub target: Option<(String, String)>,
    /// That thing's version after the event.
    pub version: Option<i64>,
    /// What belongs to this type of event.
    pub payload: Value,
    /// The keys that it cannot be without.
    pub keys: Keys,
    /// The three keys, the actor and the ids of causality; those of the task ([`crate::context`]) unless given.
    pub context: Option<Context>,
}

impl Event {
    /// An event that happened now, to a user's tenant, in the context of the task.
    #[must_use]
    pub fn new(source: impl Into<String>, event_type: impl Into<String>, payload: Value) -> Self {
        Self {
            event_id: Uuid::now_v7().to_string(),
            source: source.into(),
            event_type: event_type.into(),
            subject: None,
            timestamp: to_micros(OffsetDateTime::now_utc()),
            target: None,
            version: None,
            payload,
            keys: Keys::default(),
            context: None,
        }
    }

    /// Under an id that a repetition will have too.
    #[must_use]
    pub fn with_id(self, event_id: impl Into<String>) -> Self {
        Self { event_id: event_id.into(), ..self }
    }

    /// With what it happened to.
    #[must_use]
    pub fn with_target(self, target_type: impl Into<String>, target_id: impl Into<String>) -> Self {
        Self { target: Some((target_type.into(), target_id.into())), ..self }
    }

    /// With the keys that it demands.
    #[must_use]
    pub fn demanding(self, keys: Keys) -> Self {
        Self { keys, ..self }
    }

    /// In this context instead of the task's: for whoever writes for many.
    #[must_use]
    pub fn in_context(self, context: Context) -> Self {
        Self { context: Some(context), ..self }
    }
}

/// What Postgres keeps of a time.
pub(crate) fn to_micros(time: OffsetDateTime) -> OffsetDateTime {
    time.replace_microsecond(time.microsecond()).unwrap_or(time)
}

/// An event that was published.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredEvent {
    /// Its number; `None` while it is in the queue.
    pub sequence: Option<i64>,
    /// See [`Event::event_id`].
    pub event_id: String,
    /// Whose it is; `None` for the platform's own.
    pub tenant_id: Option<Uuid>,
    /// See [`Event::source`].
    pub source: String,
    /// See [`Event::event_type`].
    pub event_type: String,
    /// See [`Event::subject`].
    pub subject: Option<String>,
    /// See [`Event::timestamp`].
    pub timestamp: OffsetDateTime,
    /// Who acted.
    pub actor_id: String,
    /// Which thing it happened to.
    pub target_id: Option<String>,
    /// Of what kind.
    pub target_type: Option<String>,
    /// See [`Event::version`].
    pub version: Option<i64>,
    /// See [`Event::payload`].
    pub payload: Value,
    /// The request that caused it.
    pub request_id: Uuid,
    /// For which user.
    pub user_id: Option<Uuid>,
    /// The story that it belongs to.
    pub correlation_id: String,
    /// The event that caused it.
    pub causation_id: Option<String>,
    /// When it was staged, by the database's clock.
    pub recorded_at: OffsetDateTime,
}

impl StoredEvent {
    /// The context in which its effects happen: its own keys and story, caused by it, with another actor.
    #[must_use]
    pub fn effect_context(&self, actor: impl Into<String>) -> Context {
        Context {
            request_id: self.request_id,
            tenant_id: self.tenant_id,
            user_id: self.user_id,
            actor: actor.into(),
            correlation_id: self.correlation_id.clone(),
            causation_id: Some(self.event_id.clone()),
        }
    }

    /// As it leaves the house; `None` while it has no number.
    #[must_use]
    pub fn to_cloud_event(&self) -> Option<CloudEvent> {
        let event = self.clone();
        Some(CloudEvent {
            specversion: SpecVersion::V1,
            id: event.event_id,
            source: event.source,
            event_type: event.event_type,
            subject: event.subject,
            time: event.timestamp,
            datacontenttype: ContentType::Json,
            sequence: event.sequence?,
            correlationid: event.correlation_id,
            causationid: event.causation_id,
            requestid: event.request_id,
            tenantid: event.tenant_id,
            userid: event.user_id,
            actorid: event.actor_id,
            targettype: event.target_type,
            targetid: event.target_id,
            version: event.version,
            recordedtime: event.recorded_at,
            data: event.payload,
        })
    }
}

impl From<CloudEvent> for StoredEvent {
    fn from(event: CloudEvent) -> Self {
        Self {
            sequence: Some(event.sequence),
            event_id: event.id,
            tenant_id: event.tenantid,
            source: event.source,
            event_type: event.event_type,
            subject: event.subject,
            timestamp: event.time,
            actor_id: event.actorid,
            target_id: event.targetid,
            target_type: event.targettype,
            version: event.version,
            payload: event.data,
            request_id: event.requestid,
            user_id: event.userid,
            correlation_id: event.correlationid,
            causation_id: event.causationid,
            recorded_at: event.recordedtime,
        }
    }
}

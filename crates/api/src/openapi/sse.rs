//! What a stream is made of.

use utoipa::openapi::schema::{ObjectBuilder, Schema, Type};
use utoipa::openapi::{KnownFormat, RefOr, SchemaFormat};
use utoipa::{PartialSchema, ToSchema};

/// An event of a stream as its reader has it, which fills in what the stream leaves out (WHATWG HTML, server-sent events).
pub(crate) struct ServerSentEvent;

impl PartialSchema for ServerSentEvent {
    fn schema() -> RefOr<Schema> {
        let text = |about: &str| ObjectBuilder::new().schema_type(Type::String).description(Some(about));
        let retry = ObjectBuilder::new()
            .schema_type(Type::Integer)
            .format(Some(SchemaFormat::KnownFormat(KnownFormat::Int64)))
            .description(Some("How soon to connect again after the connection was lost, in milliseconds."));
        ObjectBuilder::new()
            .schema_type(Type::Object)
            .description(Some(
                "An event of a stream as its reader has it, which fills in what the stream leaves out (server-sent events).",
            ))
            .property("id", text("Where to go on: send it as `Last-Event-ID`."))
            .property("event", text("`message`, or `end` for the last one."))
            .property("data", text("JSON.").content_media_type("application/json"))
            .property("retry", retry)
            .required("data")
            .into()
    }
}

impl ToSchema for ServerSentEvent {}

//! `GET /openapi.json`.

use std::sync::LazyLock;

use axum::Json;
use serde_json::Value;

/// Made once: the handlers do not change while the process runs.
pub(crate) static DOCUMENT: LazyLock<Value> = LazyLock::new(|| {
    serde_json::to_value(crate::openapi()).expect("the document has string keys and finite numbers alone")
});

/// This API, as an OpenAPI 3.1 document
///
/// The same as `plimsoll openapi` prints.
#[utoipa::path(get, path = "/openapi.json", tag = "operations", responses((status = 200, description = "The document", body = Object)))]
pub(crate) async fn document() -> Json<&'static Value> {
    Json(&DOCUMENT)
}

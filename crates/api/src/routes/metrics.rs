//! `GET /metrics`: the process's metrics, with the database's marks as of now.

use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;

use crate::state::ApiState;

/// The Prometheus text exposition format, version 0.0.4.
const PROMETHEUS_TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Metrics for Prometheus
///
/// Counters and histograms of this process; gauges of chains, folds and leases as the database has them now. `database_up` is 0 when
/// it did not answer.
#[utoipa::path(get, path = "/metrics", tag = "operations", responses((status = 200, description = "Prometheus text", body = String, content_type = "text/plain")))]
pub(crate) async fn metrics(State(state): State<ApiState>) -> impl IntoResponse {
    state.collector().collect().await;
    ([(CONTENT_TYPE, PROMETHEUS_TEXT)], state.prometheus().render())
}

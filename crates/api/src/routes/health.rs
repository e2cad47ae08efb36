//! `GET /healthz`: the process is alive. It asks nothing of anyone else: a restart does not mend a database.

/// The process is alive
///
/// Says nothing about the database or the chains: see `/readyz`. For a liveness probe.
#[utoipa::path(get, path = "/healthz", tag = "operations", responses((status = 200, description = "It is", body = String, content_type = "text/plain")))]
pub(crate) async fn healthz() -> &'static str {
    "alive\n"
}

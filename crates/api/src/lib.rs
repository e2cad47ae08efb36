//! The HTTP front: routes, problems, OpenAPI, health and metrics.

use serde::{Deserialize, Serialize};

/// An error, as RFC 9457 `application/problem+json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Problem {
    /// The kind of problem: a stable URI, for programs.
    #[serde(rename = "type")]
    #[cfg_attr(feature = "openapi", schema(example = "urn:plimsoll:problem:unknown-chain"))]
    pub kind: String,
    /// The kind of problem, for people: the same text each time.
    #[cfg_attr(feature = "openapi", schema(example = "The chain is not followed"))]
    pub title: String,
    /// The HTTP status.
    #[cfg_attr(feature = "openapi", schema(example = 404))]
    pub status: u16,
    /// What happened this time.
    #[cfg_attr(feature = "openapi", schema(example = "chain 5 is not followed; these are: 31337"))]
    pub detail: String,
    /// The path that was asked for.
    #[cfg_attr(feature = "openapi", schema(example = "/api/v1/chains/5"))]
    pub instance: String,
    /// The request's id: give it when you ask for help; the logs carry it.
    #[cfg_attr(feature = "openapi", schema(example = "7f1b3c52-9a39-4a0e-8f5e-3f1f0a4be4a1"))]
    pub request_id: String,
    /// What to do.
    #[cfg_attr(
        feature = "openapi",
        schema(example = "ask `/api/v1/chains` for the chains that are followed")
    )]
    pub remedy: String,
    /// Each parameter that is wrong, and why; absent when none is to blame.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parameters: Vec<FieldProblem>,
}

/// A parameter that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct FieldProblem {
    /// Its name.
    #[cfg_attr(feature = "openapi", schema(example = "limit"))]
    pub name: String,
    /// Why.
    #[cfg_attr(feature = "openapi", schema(example = "`0` is not a whole number from 1 to 500"))]
    pub reason: String,
}

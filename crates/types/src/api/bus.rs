//! Events of the bus as a graph, and as a stream.

use std::fmt;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::CloudEvent;

/// An event's number in the stream, written as the envelope's `sequence` is: with leading zeros, so that texts compare as numbers do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "openapi", schema(value_type = String, pattern = "^[0-9]{19}$", example = "0000000000000004711"))]
pub struct SequenceNumber(pub i64);

impl fmt::Display for SequenceNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:019}", self.0)
    }
}

impl Serialize for SequenceNumber {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for SequenceNumber {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        text.parse().map(Self).map_err(|error| {
            D::Error::custom(format_args!("{text:?} is not a whole number of 64 bits: {error}"))
        })
    }
}

/// The events of one story, and which caused which.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct CausalityGraph {
    /// The story.
    #[cfg_attr(feature = "openapi", schema(example = "5f0c7f0e-6a54-4d0b-9f2c-6f7a1d2b3c4d"))]
    pub correlation_id: String,
    /// Its events, in the order of the stream: the earliest 1,000.
    pub nodes: Vec<CloudEvent>,
    /// From each cause to its effect, in the order of the effects.
    pub edges: Vec<CausalityEdge>,
    /// The events that none of the graph caused: where the story begins, or a part of it whose cause is not yours to see.
    pub roots: Vec<SequenceNumber>,
    /// Whether the story goes on beyond `nodes`.
    pub truncated: bool,
}

/// What caused what: the `sequence` of two nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct CausalityEdge {
    /// The cause.
    pub cause: SequenceNumber,
    /// The effect.
    pub effect: SequenceNumber,
}

/// The last thing that a stream says: why it ends, and where to go on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct StreamEnd {
    /// The kind of reason: stable, for programs. `shutting-down`, or the last part of a problem's `type`.
    #[cfg_attr(feature = "openapi", schema(example = "shutting-down"))]
    pub code: String,
    /// The reason, for people.
    #[cfg_attr(feature = "openapi", schema(example = "the server ends; connect again"))]
    pub detail: String,
    /// All up to this number was sent, or is not asked for: connect again with `after` set to it.
    pub after: SequenceNumber,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_written_as_the_envelope_writes_it_and_comes_back() {
        let json = serde_json::to_string(&SequenceNumber(4711)).unwrap();
        assert_eq!(json, "\"0000000000000004711\"");
        assert_eq!(serde_json::from_str::<SequenceNumber>(&json).unwrap(), SequenceNumber(4711));
        assert!(serde_json::from_str::<SequenceNumber>("\"x\"").is_err());
    }
}

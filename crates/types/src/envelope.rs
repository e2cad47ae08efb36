use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;
use time::OffsetDateTime;
use uuid::Uuid;

/// An event as it leaves the house: a CloudEvents 1.0 envelope in the JSON event format (<https://cloudevents.io>, core specification 1.0.2), with the
/// extension attributes of spec 4 §2. Attributes without a value are left out.
///
/// CloudEvents knows integers of 32 bits only, so the two longer ones are strings: `sequence` has a fixed width, as the extension "sequence"
/// wants it (a comparison of the texts is one of the numbers), `version` is plain decimal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct CloudEvent {
    /// The version of CloudEvents.
    pub specversion: SpecVersion,
    /// The event's id: unique in its tenant.
    pub id: String,
    /// Which part of Plimsoll says so.
    pub source: String,
    /// What happened, as `identity.user.created`.
    #[serde(rename = "type")]
    pub event_type: String,
    /// What it happened to, for people and for filters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// When it happened.
    #[serde(with = "time::serde::rfc3339")]
    pub time: OffsetDateTime,
    /// The type of `data`.
    pub datacontenttype: ContentType,
    /// The event's number in the stream.
    #[serde(serialize_with = "padded", deserialize_with = "number")]
    #[cfg_attr(feature = "openapi", schema(value_type = String, example = "0000000000000004711"))]
    pub sequence: i64,
    /// The story that it belongs to.
    pub correlationid: String,
    /// The event that caused it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub causationid: Option<String>,
    /// The request that caused it.
    pub requestid: Uuid,
    /// Whose it is; left out for the platform's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenantid: Option<Uuid>,
    /// For which user; left out where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub userid: Option<Uuid>,
    /// Who acted.
    pub actorid: String,
    /// The kind of thing that it happened to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub targettype: Option<String>,
    /// Which of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub targetid: Option<String>,
    /// That thing's version after the event.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        serialize_with = "decimal",
        deserialize_with = "some_number"
    )]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, example = "3"))]
    pub version: Option<i64>,
    /// When Plimsoll wrote it down.
    #[serde(with = "time::serde::rfc3339")]
    pub recordedtime: OffsetDateTime,
    /// What belongs to this type of event.
    pub data: Value,
}

/// The versions of CloudEvents that we speak.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum SpecVersion {
    /// 1.0.
    #[default]
    #[serde(rename = "1.0")]
    V1,
}

/// The types of `data` that we speak.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum ContentType {
    /// JSON.
    #[default]
    #[serde(rename = "application/json")]
    Json,
}

/// i64::MAX has 19 digits.
#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn padded<S: Serializer>(number: &i64, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(&format_args!("{number:019}"))
}

#[allow(clippy::ref_option, reason = "serde's signature")]
fn decimal<S: Serializer>(number: &Option<i64>, to: S) -> Result<S::Ok, S::Error> {
    match number {
        Some(number) => to.collect_str(number),
        None => to.serialize_none(),
    }
}

fn number<'de, D: Deserializer<'de>>(from: D) -> Result<i64, D::Error> {
    let text = String::deserialize(from)?;
    text.parse()
        .map_err(|error| D::Error::custom(format_args!("{text:?} is not a whole number of 64 bits: {error}")))
}

fn some_number<'de, D: Deserializer<'de>>(from: D) -> Result<Option<i64>, D::Error> {
    number(from).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn event() -> CloudEvent {
        CloudEvent {
            specversion: SpecVersion::V1,
            id: "evt_123".into(),
            source: "/plimsoll/identity".into(),
            event_type: "identity.user.created".into(),
            subject: Some("user/7".into()),
            time: OffsetDateTime::from_unix_timestamp(1_700_000_000).unwrap(),
            datacontenttype: ContentType::Json,
            sequence: 4711,
            correlationid: "story".into(),
            causationid: Some("evt_122".into()),
            requestid: Uuid::from_u128(1),
            tenantid: Some(Uuid::from_u128(2)),
            userid: None,
            actorid: "cli:root".into(),
            targettype: Some("user".into()),
            targetid: Some("7".into()),
            version: Some(i64::MAX),
            recordedtime: OffsetDateTime::from_unix_timestamp(1_700_000_001).unwrap(),
            data: json!({ "name": "Ada" }),
        }
    }

    #[test]
    fn an_envelope_has_the_attributes_of_cloudevents_and_comes_back_as_itself() {
        let json = serde_json::to_value(event()).unwrap();
        assert_eq!(
            json,
            json!({
                "specversion": "1.0", "id": "evt_123", "source": "/plimsoll/identity", "type": "identity.user.created",
                "subject": "user/7", "time": "2023-11-14T22:13:20Z", "datacontenttype": "application/json",
                "sequence": "0000000000000004711", "correlationid": "story", "causationid": "evt_122",
                "requestid": "00000000-0000-0000-0000-000000000001", "tenantid": "00000000-0000-0000-0000-000000000002",
                "actorid": "cli:root", "targettype": "user", "targetid": "7", "version": "9223372036854775807",
                "recordedtime": "2023-11-14T22:13:21Z", "data": { "name": "Ada" },
            })
        );
        assert_eq!(serde_json::from_value::<CloudEvent>(json).unwrap(), event());
        let bare = CloudEvent {
            subject: None,
            causationid: None,
            tenantid: None,
            targettype: None,
            targetid: None,
            version: None,
            ..event()
        };
        let text = serde_json::to_string(&bare).unwrap();
        assert!(!text.contains("null"), "{text}");
        assert_eq!(serde_json::from_str::<CloudEvent>(&text).unwrap(), bare);
    }

    #[test]
    fn attribute_names_are_lower_case_letters_and_digits_as_cloudevents_demands() {
        let json = serde_json::to_value(event()).unwrap();
        for name in json.as_object().unwrap().keys() {
            assert!(
                name.len() <= 20 && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit()),
                "{name}"
            );
        }
    }

    #[test]
    fn another_version_of_cloudevents_is_refused() {
        let mut json = serde_json::to_value(event()).unwrap();
        json["specversion"] = json!("0.3");
        assert!(serde_json::from_value::<CloudEvent>(json).is_err());
    }
}

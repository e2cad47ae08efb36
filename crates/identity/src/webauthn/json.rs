//! What a browser's `PublicKeyCredential.toJSON` gives (§5.1.1): bytes are base64url.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Deserializer};

/// A new key: `RegistrationResponseJSON`. What else a browser says there is not looked at.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Registration {
    pub(super) raw_id: Base64Url,
    pub(super) response: AttestationResponse,
}

/// A key that was given: `AuthenticationResponseJSON`. What else a browser says there is not looked at.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Assertion {
    pub(super) raw_id: Base64Url,
    pub(super) response: AssertionResponse,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct AttestationResponse {
    #[serde(rename = "clientDataJSON")]
    pub(super) client_data_json: Base64Url,
    pub(super) attestation_object: Base64Url,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct AssertionResponse {
    #[serde(rename = "clientDataJSON")]
    pub(super) client_data_json: Base64Url,
    pub(super) authenticator_data: Base64Url,
    pub(super) signature: Base64Url,
    pub(super) user_handle: Option<Base64Url>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Base64Url(pub(super) Vec<u8>);

impl<'de> Deserialize<'de> for Base64Url {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        let bytes = URL_SAFE_NO_PAD.decode(text.as_bytes());
        bytes.map(Self).map_err(|_| serde::de::Error::custom("not base64url without padding"))
    }
}

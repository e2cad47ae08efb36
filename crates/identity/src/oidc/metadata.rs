//! What a provider says of itself (OpenID Connect Discovery 1.0).

use reqwest::Url;
use serde::Deserialize;

use super::http::safe_url;

/// Where a provider's endpoints are, and what they take.
#[derive(Debug)]
pub(super) struct Metadata {
    pub(super) authorization_endpoint: Url,
    pub(super) token_endpoint: Url,
    pub(super) jwks_uri: Url,
    pub(super) client_authentication: ClientAuthentication,
    /// Its answers name it (RFC 9207).
    pub(super) names_itself: bool,
}

/// How we prove ourselves at the token endpoint (RFC 6749 §2.3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ClientAuthentication {
    Basic,
    Post,
}

#[derive(Deserialize)]
struct Document {
    issuer: String,
    authorization_endpoint: String,
    token_endpoint: String,
    jwks_uri: String,
    token_endpoint_auth_methods_supported: Option<Vec<String>>,
    code_challenge_methods_supported: Option<Vec<String>>,
    #[serde(default)]
    authorization_response_iss_parameter_supported: bool,
}

impl Metadata {
    /// Reads the document of `issuer`. The error says what is wrong with it.
    pub(super) fn parse(issuer: &str, body: &[u8]) -> Result<Self, String> {
        let document: Document = serde_json::from_slice(body)
            .map_err(|error| format!("its discovery document cannot be read: {error}"))?;
        if document.issuer != issuer {
            return Err(format!("it calls itself {:?}: configure the issuer to the letter", document.issuer));
        }
        let endpoint = |name: &str, text: &str| {
            safe_url(text).ok_or_else(|| format!("its {name} is not an https URL: {text:?}"))
        };
        let lists = |list: &Option<Vec<String>>, method: &str| {
            list.as_ref().map(|list| list.iter().any(|offered| offered == method))
        };
        if lists(&document.code_challenge_methods_supported, "S256") == Some(false) {
            return Err("it does not offer PKCE with S256 (RFC 7636)".to_owned());
        }
        let methods = &document.token_endpoint_auth_methods_supported;
        let client_authentication =
            match (lists(methods, "client_secret_basic"), lists(methods, "client_secret_post")) {
                (None | Some(true), _) => ClientAuthentication::Basic,
                (_, Some(true)) => ClientAuthentication::Post,
                _ => return Err("it takes neither client_secret_basic nor client_secret_post".to_owned()),
            };
        Ok(Self {
            authorization_endpoint: endpoint("authorization_endpoint", &document.authorization_endpoint)?,
            token_endpoint: endpoint("token_endpoint", &document.token_endpoint)?,
            jwks_uri: endpoint("jwks_uri", &document.jwks_uri)?,
            client_authentication,
            names_itself: document.authorization_response_iss_parameter_supported,
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const ISSUER: &str = "https://login.example.com";

    fn parse(changes: &Value) -> Result<Metadata, String> {
        let mut document = json!({
            "issuer": ISSUER,
            "authorization_endpoint": "https://login.example.com/auth",
            "token_endpoint": "https://tokens.example.com/token",
            "jwks_uri": "https://login.example.com/jwks",
        });
        document.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        Metadata::parse(ISSUER, document.to_string().as_bytes())
    }

    #[test]
    fn what_a_document_leaves_out_has_the_default_of_the_standard() {
        let metadata = parse(&json!({})).unwrap();
        assert_eq!(metadata.client_authentication, ClientAuthentication::Basic);
        assert!(!metadata.names_itself);
        let post = parse(
            &json!({ "token_endpoint_auth_methods_supported": ["private_key_jwt", "client_secret_post"] }),
        );
        assert_eq!(post.unwrap().client_authentication, ClientAuthentication::Post);
    }

    #[test]
    fn a_document_of_another_or_of_less_than_we_need_is_refused_with_the_reason() {
        for (changes, reason) in [
            (json!({ "issuer": "https://login.example.com/" }), "calls itself"),
            (json!({ "token_endpoint": "http://tokens.example.com/token" }), "token_endpoint"),
            (json!({ "jwks_uri": "http://login.example.com/jwks" }), "jwks_uri"),
            (json!({ "authorization_endpoint": "javascript:alert(1)" }), "authorization_endpoint"),
            (json!({ "code_challenge_methods_supported": ["plain"] }), "PKCE"),
            (json!({ "token_endpoint_auth_methods_supported": ["private_key_jwt"] }), "client_secret_basic"),
            (json!({ "token_endpoint": null }), "cannot be read"),
        ] {
            let said = parse(&changes).unwrap_err();
            assert!(said.contains(reason), "{said}");
        }
    }
}

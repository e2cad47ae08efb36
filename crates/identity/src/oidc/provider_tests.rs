use tokio::time::advance;

use super::*;
use crate::oidc::Provisioning;

/// Nobody listens where it is said to be: whatever it answers is remembered.
fn remembering() -> Provider {
    let issuer = "http://127.0.0.1:1";
    let provider = Provider::new(ProviderConfig {
        tenant_id: Uuid::from_u128(1),
        issuer: issuer.to_owned(),
        client_id: "plimsoll".to_owned(),
        client_secret: SecretString::from("secret"),
        redirect_uri: "https://app.example.com/auth/oidc/callback".to_owned(),
        scopes: Vec::new(),
        second_factor: SecondFactorPolicy::Ours,
        provisioning: Provisioning::Linked,
    })
    .unwrap();
    let document = serde_json::json!({
        "issuer": issuer,
        "authorization_endpoint": format!("{issuer}/auth"),
        "token_endpoint": format!("{issuer}/token"),
        "jwks_uri": format!("{issuer}/jwks"),
    });
    let metadata = Metadata::parse(issuer, document.to_string().as_bytes()).unwrap();
    remember(&provider.0.metadata, now(), metadata);
    remember(&provider.0.keys, now(), ProviderKeys::parse(br#"{"keys":[]}"#).unwrap());
    provider
}

#[tokio::test(start_paused = true)]
async fn what_a_provider_said_is_remembered_for_its_term_and_then_asked_for_anew() {
    let provider = remembering();
    advance(KEYS_TERM.min(METADATA_TERM) - Duration::from_nanos(1)).await;
    let metadata = provider.metadata().await.unwrap();
    provider.keys(&metadata, false).await.unwrap();
    advance(Duration::from_nanos(1)).await;
    assert!(provider.metadata().await.unwrap_err().is_unavailable(), "a withdrawn endpoint ends");
    assert!(provider.keys(&metadata, false).await.unwrap_err().is_unavailable(), "a withdrawn key ends");
}

//! What stands in front of the routes: traces, versions, limits, browsers, hostile requests, secrets, certificates, two listeners.

mod browsers;
mod certificates;
mod hostile;
mod limits;
mod listeners;
mod naming;
mod pki;
mod secrets;

use std::net::IpAddr;
use std::time::Duration;

use axum::body::Body;
use axum::http::Request;
use plimsoll_identity::api_key::{self, NewApiKey};
use plimsoll_identity::{UserKind, directory};
use secrecy::ExposeSecret;
use uuid::Uuid;

use super::{Answer, Api};
use crate::gateway::Peer;

impl Api {
    /// The API key of a new user who may look; `certificate_hash`: it is bound to.
    async fn key(&self, tenant_id: Uuid, certificate_hash: Option<[u8; 32]>) -> String {
        let user = self.user(tenant_id, UserKind::Machine, &["viewer"]).await;
        let mut tx = self.db.tenant_tx(&[tenant_id]).await.unwrap();
        let scopes = directory::permissions_of(&mut tx, tenant_id, user.user_id).await.unwrap();
        tx.commit().await.unwrap();
        let new = NewApiKey {
            tenant_id,
            user_id: user.user_id,
            label: "test",
            scopes,
            lifetime: Duration::from_secs(3_600),
            certificate_hash,
        };
        let mut tx = self.db.begin_worker().await.unwrap();
        let issued = api_key::issue(&mut tx, &new).await.unwrap();
        tx.commit().await.unwrap();
        issued.token.expose_secret().to_owned()
    }

    /// The answer to a GET with these headers, that came from this address.
    async fn get_from(&self, address: &str, path: &str, headers: &[(&str, &str)]) -> Answer {
        let mut request = Request::get(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut request = request.body(Body::empty()).unwrap();
        request.extensions_mut().insert(Peer(address.parse::<IpAddr>().unwrap()));
        self.send(request).await
    }

    async fn get_with(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        self.get_from("192.0.2.1", path, headers).await
    }
}

impl Answer {
    /// All values of a header.
    fn all(&self, name: &str) -> Vec<&str> {
        self.headers.get_all(name).iter().map(|value| value.to_str().unwrap()).collect()
    }

    /// What kind of problem it is; empty for an answer that is none.
    fn kind(&self) -> String {
        let urn = self.json()["type"].as_str().unwrap_or_default().to_owned();
        urn.trim_start_matches("urn:plimsoll:problem:").to_owned()
    }
}

/// `Authorization` with this credential.
fn bearer(credential: &str) -> String {
    format!("Bearer {credential}")
}

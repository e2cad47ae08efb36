//! What is withdrawn while somebody listens ends the stream, at the next look.

use plimsoll_identity::UserKind;
use serde_json::{Value, json};

use super::super::people::Person;
use super::Served;
use super::client::{Socket, Source};

/// An event source and a socket of two who may listen by a role of the tenant's own; each has heard an event.
struct Listening {
    served: Served,
    admin: Person,
    ada: Person,
    bob: Person,
    source: Source,
    socket: Socket,
}

async fn listening() -> Listening {
    let served = Served::quick().await;
    let tenant_id = served.api.tenant_named("acme").await;
    let admin = served.api.person(tenant_id, UserKind::Person, &["admin"]).await;
    let role = json!({ "name": "listener", "permissions": ["events:read", "positions:read"] });
    served.api.post(&admin, "/api/v1/roles", role).await.expect(201);
    let ada = served.api.person(tenant_id, UserKind::Person, &["listener"]).await;
    let bob = served.api.person(tenant_id, UserKind::Person, &["listener"]).await;
    served.say(&ada, 0..1).await;
    served.numbering().await.number_all().await;
    let filter = "?after=0&type=test.";
    let mut source = Source::open(served.addr, &ada.token, filter, None).await;
    let mut socket = Socket::signed_in(served.addr, &bob.token, filter).await;
    assert_eq!(source.numbers(1).await, [0]);
    assert_eq!(socket.event().await.unwrap()["data"]["number"], 0);
    Listening { served, admin, ada, bob, source, socket }
}

impl Listening {
    /// What an administrator does to both.
    async fn to_both(&self, rest: &str, body: Value) {
        for user_id in [self.ada.user_id, self.bob.user_id] {
            let path = format!("/api/v1/users/{user_id}/{rest}");
            self.served.api.post(&self.admin, &path, body.clone()).await.expect(200);
        }
    }

    /// Both are told so, and that is the end.
    async fn end_with(mut self, code: &str, close_code: u16) {
        let end = self.source.event().await.expect("an end that is told");
        assert_eq!(end.event.as_deref(), Some("end"));
        let end = end.data.unwrap();
        assert_eq!((&end["code"], &end["after"]), (&json!(code), &json!("0000000000000000001")), "{end}");
        assert_eq!(self.source.block().await, None);
        let (closed, reason) = self.socket.closed().await;
        assert!(closed == close_code && reason.starts_with(&format!("{code}: ")), "{closed} {reason}");
        self.served.stop().await;
    }
}

#[tokio::test]
async fn who_loses_the_role_hears_no_more() {
    let listening = listening().await;
    listening.to_both("roles/remove", json!({ "role": "listener" })).await;
    listening.end_with("forbidden", 4403).await;
}

#[tokio::test]
async fn whose_role_loses_the_permission_hears_no_more() {
    let listening = listening().await;
    let path = "/api/v1/roles/listener/permissions/remove";
    let body = json!({ "permission": "events:read" });
    listening.served.api.post(&listening.admin, path, body).await.expect(200);
    listening.end_with("forbidden", 4403).await;
}

#[tokio::test]
async fn who_is_suspended_hears_no_more() {
    let listening = listening().await;
    listening.to_both("suspend", json!({})).await;
    listening.end_with("unauthenticated", 4401).await;
}

#[tokio::test]
async fn whose_session_an_administrator_ends_hears_no_more() {
    let listening = listening().await;
    for session_id in [listening.ada.session_id, listening.bob.session_id] {
        let path = format!("/api/v1/sessions/{session_id}/revoke");
        listening.served.api.post(&listening.admin, &path, json!({})).await.expect(200);
    }
    listening.end_with("unauthenticated", 4401).await;
}

//! Live events over real sockets, with a sequencer at work.

mod blocks;
pub(super) mod client;
mod lasting;
mod reconnects;
mod stalled;
mod transactions;
mod withdrawn;

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use plimsoll_bus::{Context, EVENTS, Event, publish};
use plimsoll_journal::Tail;
use plimsoll_store::lease::{Lease, Leases};
use plimsoll_store::{Db, Sequencer, Stream};
use serde_json::json;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::people::Person;
use super::{Api, CHAIN};
use crate::routes::StreamOptions;
use crate::{ApiOptions, bind, serve};

/// A sequencer that numbers when it is told to, or all the time.
pub(super) struct Numbering {
    sequencer: Sequencer,
    lease: Lease,
}

impl Numbering {
    pub(super) async fn of(db: &Db) -> Self {
        Self::of_stream(db, &EVENTS).await
    }

    pub(super) async fn of_stream(db: &Db, stream: &'static Stream) -> Self {
        let leases = Leases::connect(db, "test", Duration::from_secs(600)).await.unwrap();
        let lease = leases.acquire(&Sequencer::lease_name(stream)).await.unwrap().unwrap();
        Self { sequencer: Sequencer::new(stream, db.clone(), leases), lease }
    }

    pub(super) async fn number_all(&mut self) {
        while self.sequencer.drain(&self.lease).await.unwrap().has_more {}
    }
}

/// The API on a socket of its own.
struct Served {
    api: Api,
    tail: Tail,
    addr: SocketAddr,
    cancel: CancellationToken,
    task: JoinHandle<std::io::Result<()>>,
}

impl Served {
    async fn start() -> Self {
        Self::start_with(ApiOptions::default()).await
    }

    /// Whose listeners are looked at so often that a test can wait for it.
    async fn quick() -> Self {
        let streams = StreamOptions { pulse_ms: 20, ..StreamOptions::default() };
        Self::start_with(ApiOptions { streams, ..ApiOptions::default() }).await
    }

    async fn start_with(options: ApiOptions) -> Self {
        let api = Api::start_with(options, Router::new()).await;
        let tail = api.tail.clone();
        let (listener, cancel) =
            (bind("127.0.0.1:0".parse().unwrap()).await.unwrap(), CancellationToken::new());
        let addr = listener.local_addr().unwrap();
        let task = tokio::spawn(serve(listener, api.state.clone(), cancel.clone()));
        Self { api, tail, addr, cancel, task }
    }

    /// Somebody of a new tenant who may read events.
    async fn viewer(&self, tenant: &str) -> Person {
        let tenant_id = self.api.tenant_named(tenant).await;
        self.api.person(tenant_id, plimsoll_identity::UserKind::Person, &["viewer"]).await
    }

    async fn numbering(&self) -> Numbering {
        Numbering::of(&self.api.db).await
    }

    /// Publishes events of `who`, one for each number, in one transaction.
    async fn say(&self, who: &Person, numbers: std::ops::Range<usize>) {
        say(&self.api.db, who, numbers, 0).await;
    }

    async fn stop(self) {
        self.cancel.cancel();
        self.task.await.unwrap().unwrap();
    }
}

async fn say(db: &Db, who: &Person, numbers: std::ops::Range<usize>, filling: usize) {
    let mut tx = db.tenant_tx(&[who.tenant_id]).await.unwrap();
    for number in numbers {
        let kind = if number.is_multiple_of(2) { "test.even" } else { "test.odd" };
        let payload = json!({ "number": number, "filling": "x".repeat(filling) });
        let event =
            Event { subject: Some(format!("thing/{number}")), ..Event::new("/plimsoll/test", kind, payload) };
        let context = Context::new(Uuid::new_v4(), "test").on_behalf_of(who.tenant_id, Some(who.user_id));
        publish(&mut tx, event.with_target("thing", number.to_string()).in_context(context)).await.unwrap();
    }
    tx.commit().await.unwrap();
}

//! What the bus promises, asked of a real database.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod audit;
mod channel;
mod outbox;
mod publish;

use std::time::Duration;

use plimsoll_bus::{Context, EVENTS, Event, Keys, Published, context, publish};
use plimsoll_store::lease::{Lease, Leases};
use plimsoll_store::{Db, Sequencer, Stream, testing};
use serde_json::json;
use uuid::Uuid;

const ONE: Uuid = Uuid::from_u128(1);
const TWO: Uuid = Uuid::from_u128(2);
const USER: Uuid = Uuid::from_u128(7);

/// A database, and a sequencer that numbers when it is told to.
struct House {
    db: Db,
    sequencer: Sequencer,
    lease: Lease,
}

impl House {
    async fn new(stream: &'static Stream) -> Self {
        let db = testing::db().await;
        let leases = Leases::connect(&db, "test", Duration::from_secs(600)).await.unwrap();
        let lease = leases.acquire(&Sequencer::lease_name(stream)).await.unwrap().unwrap();
        Self { sequencer: Sequencer::new(stream, db.clone(), leases), db, lease }
    }

    async fn number_all(&mut self) {
        while self.sequencer.drain(&self.lease).await.unwrap().has_more {}
    }

    /// Publishes so many events of `tenant` in one transaction.
    async fn say(&self, tenant: Uuid, prefix: &str, count: usize) {
        let mut tx = self.db.begin_worker().await.unwrap();
        for number in 0..count {
            let event = event(&format!("{prefix}{number}")).in_context(of(tenant));
            assert!(matches!(publish(&mut tx, event).await.unwrap(), Published::New { .. }));
        }
        tx.commit().await.unwrap();
    }
}

fn of(tenant: Uuid) -> Context {
    Context::new(Uuid::from_u128(100), "test").on_behalf_of(tenant, Some(USER))
}

fn event(event_id: &str) -> Event {
    Event::new("/plimsoll/test", "test.happened", json!({ "amount": "1" })).with_id(event_id)
}

async fn count(db: &Db, table: &'static str) -> i64 {
    sqlx::query_scalar(sqlx::AssertSqlSafe(format!("SELECT count(*) FROM {table}")))
        .fetch_one(db.worker())
        .await
        .unwrap()
}

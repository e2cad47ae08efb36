//! Writes over HTTP while what they stand on is killed under them: Postgres, or the process itself.

use crate::house::{House, Settings, Storage};
use crate::world::{World, seed};
use crate::writer::{Clients, Writer, each_is_there_once};

const CLIENTS: usize = 8;
/// Acknowledged between two kills.
const WRITES_BETWEEN: u64 = 150;
/// What may be said of a write that nobody knows about yet: each asks to come back.
const HONEST: [&str; 4] = ["database-unavailable", "timed-out", "overloaded", "request-in-flight"];
/// What a client makes out where there is no process.
const NOBODY: &str = "nobody answered";
/// No test is so patient: a write that waits for its predecessor's claim to end is stuck.
const LONG_CLAIMS: &str = "\n[idempotency]\nclaim_term_ms = 600000\nwait_ms = 2000\n";

#[tokio::test(flavor = "multi_thread")]
async fn no_acknowledged_write_is_lost_or_doubled_while_postgres_is_killed_twice() {
    let world = World::new(seed(902), 10).await;
    let mut house = House::new(&world, Settings { storage: Storage::Private, ..Settings::default() }).await;
    house.edit(|text| text + LONG_CLAIMS);
    house.start();
    house.catches_up(&world).await;
    let writer = Writer::new(&house).await;
    let clients = Clients::start(&writer, &[house.url("/api/v1/approvals")], CLIENTS);
    for kill in 0..=2 {
        clients.write(&mut house, WRITES_BETWEEN).await;
        if kill < 2 {
            house.kill_postgres();
        }
    }
    let (asked, refusals) = clients.end(&mut house).await;
    for refusal in refusals.keys() {
        assert!(HONEST.iter().any(|kind| refusal.ends_with(kind)), "{refusals:?}\n{}", house.log());
    }
    assert!(!refusals.is_empty(), "no write met a killed Postgres");
    each_is_there_once(&mut house.connect().await.unwrap(), asked, &refusals).await;
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_write_is_lost_doubled_or_stuck_while_the_processes_that_serve_are_killed_in_turn() {
    const KILLS: usize = 6;
    let world = World::new(seed(903), 10).await;
    let mut first = House::new(&world, Settings::default()).await;
    first.edit(|text| text + LONG_CLAIMS);
    first.start();
    first.catches_up(&world).await;
    let mut second = first.beside(&world);
    second.start();
    second.until("the second process to answer", async |house| house.get("/readyz").await).await;
    let writer = Writer::new(&first).await;
    let urls = [first.url("/api/v1/approvals"), second.url("/api/v1/approvals")];
    let clients = Clients::start(&writer, &urls, CLIENTS);
    for kill in 0..KILLS {
        clients.write(&mut first, WRITES_BETWEEN).await;
        // What was in flight in the one that is killed is asked of the other, and of the next one in its place.
        let killed = if kill % 2 == 0 { &mut first } else { &mut second };
        killed.kill();
        killed.start();
        killed.until("the killed process to be back", async |house| house.get("/readyz").await).await;
    }
    clients.write(&mut first, WRITES_BETWEEN).await;
    let (asked, refusals) = clients.end(&mut first).await;
    for refusal in refusals.keys() {
        let is_honest = refusal == NOBODY || HONEST.iter().any(|kind| refusal.ends_with(kind));
        assert!(is_honest, "{refusals:?}\n{}\n{}", first.log(), second.log());
    }
    assert!(refusals.contains_key(NOBODY), "no write met a killed process: {refusals:?}");
    each_is_there_once(&mut first.connect().await.unwrap(), asked, &refusals).await;
    first.stop().await;
    second.stop().await;
}

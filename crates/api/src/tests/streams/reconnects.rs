//! Nothing is missed and nothing told twice, however often a client goes and comes.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::client::{Socket, Source};
use super::{Numbering, Served, say};

const EVENTS: usize = 3_000;

/// Publishes, in transactions of any size, among the events of another tenant, while a sequencer numbers what there is.
async fn traffic(
    served: &Served,
    who: &super::Person,
    other: &super::Person,
    seed: u64,
) -> tokio::task::JoinHandle<()> {
    let (db, who, other) = (served.api.db.clone(), who.clone(), other.clone());
    let mut numbering = Numbering::of(&db).await;
    let mut random = StdRng::seed_from_u64(seed);
    tokio::spawn(async move {
        let mut said = 0;
        while said < EVENTS {
            let count = random.random_range(1..60).min(EVENTS - said);
            say(&db, &who, said..said + count, 0).await;
            say(&db, &other, 0..random.random_range(0..5), 0).await;
            said += count;
            if random.random_bool(0.7) {
                numbering.number_all().await;
            }
        }
        numbering.number_all().await;
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_comes_and_goes_at_any_point_has_each_event_once_in_order() {
    let served = Served::start().await;
    let (ada, bob) = (served.viewer("acme").await, served.viewer("globex").await);
    let traffic = traffic(&served, &ada, &bob, 7).await;
    let mut random = StdRng::seed_from_u64(11);
    let (mut found, mut last, mut connections) = (Vec::new(), 0, 0);
    while found.len() < EVENTS {
        let mut source = Source::open(served.addr, &ada.token, "?after=0", Some(last)).await;
        assert_eq!(source.status, 200, "{}", source.head);
        connections += 1;
        // What else has come by then is lost with the connection.
        for _ in 0..random.random_range(0..200).min(EVENTS - found.len()) {
            let block = source.event().await.unwrap();
            last = block.id.unwrap();
            found.push(block.data.unwrap()["data"]["number"].as_u64().unwrap());
        }
    }
    traffic.await.unwrap();
    assert_eq!(found, (0..EVENTS as u64).collect::<Vec<_>>(), "over {connections} connections");
    assert!(connections > 10, "{connections}");
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_socket_that_comes_and_goes_at_any_point_has_each_event_once_in_order() {
    let served = Served::start().await;
    let (ada, bob) = (served.viewer("acme").await, served.viewer("globex").await);
    let traffic = traffic(&served, &ada, &bob, 13).await;
    let mut random = StdRng::seed_from_u64(17);
    let (mut found, mut last, mut connections) = (Vec::new(), 0, 0);
    while found.len() < EVENTS {
        let mut socket = Socket::signed_in(served.addr, &ada.token, &format!("?after={last}")).await;
        connections += 1;
        for _ in 0..random.random_range(0..200).min(EVENTS - found.len()) {
            let event = socket.event().await.unwrap();
            last = event["sequence"].as_str().unwrap().parse().unwrap();
            found.push(event["data"]["number"].as_u64().unwrap());
        }
    }
    traffic.await.unwrap();
    assert_eq!(found, (0..EVENTS as u64).collect::<Vec<_>>(), "over {connections} connections");
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_does_not_read_is_late_and_nobody_else_is() {
    const LARGE: usize = 8 * 1_024;
    let served = Served::start().await;
    let ada = served.viewer("acme").await;
    let mut numbering = served.numbering().await;
    let mut sleeper = Source::open(served.addr, &ada.token, "?after=0", None).await;
    let mut live = Source::open(served.addr, &ada.token, "?after=0", None).await;
    // Far more than sockets and the ring of the newest events hold.
    for round in 0..40 {
        let numbers = round * 100..(round + 1) * 100;
        say(&served.api.db, &ada, numbers.clone(), LARGE).await;
        numbering.number_all().await;
        let wanted: Vec<u64> = numbers.map(|number| number as u64).collect();
        assert_eq!(live.numbers(100).await, wanted, "nobody waits for the sleeper");
    }
    assert_eq!(sleeper.numbers(4_000).await, (0..4_000).collect::<Vec<_>>());
    served.stop().await;
}

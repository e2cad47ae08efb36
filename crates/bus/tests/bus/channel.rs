use plimsoll_bus::{BufferChannel, ChannelError, Events, Feed, Sight};
use sqlx::ConnectOptions as _;
use tokio_util::sync::CancellationToken;

use super::*;

async fn numbers(channel: &mut BufferChannel, count: usize) -> Vec<i64> {
    let mut numbers = Vec::new();
    while numbers.len() < count {
        numbers.push(channel.next().await.unwrap().sequence.unwrap());
    }
    numbers
}

#[tokio::test]
async fn a_reader_that_comes_back_after_retention_is_told_and_does_not_miss_in_silence() {
    let mut house = House::new(&EVENTS).await;
    // Small partitions, and numbers that are about to reach the second one.
    let mut owner = house.db.urls().owner.connect().await.unwrap();
    let small = "UPDATE plimsoll.partition_policies SET width = 20000, retention = interval '-1 hour' WHERE parent = 'events';
                 UPDATE plimsoll.sequences SET next = 19991 WHERE stream = 'events'";
    sqlx::raw_sql(small).execute(&mut owner).await.unwrap();
    house.say(ONE, "e", 20).await;
    house.number_all().await;
    let (feed, sight) = (Feed::new(Events::new(house.db.clone())), Sight::Tenants(vec![ONE]));
    assert!(feed.subscribe(sight.clone(), Some(19_991)).await.is_ok());
    assert_eq!(plimsoll_store::drop_expired(&house.db.urls().owner).await.unwrap(), ["events_0"]);
    let gone = feed.subscribe(sight.clone(), Some(19_991)).await;
    assert!(matches!(gone, Err(ChannelError::Gone { after: 19_991, first: 20_000 })), "{gone:?}");
    for kept in [None, Some(0), Some(19_999), Some(20_005)] {
        assert!(feed.subscribe(sight.clone(), kept).await.is_ok(), "{kept:?}");
    }
}

#[tokio::test]
async fn a_reader_that_sleeps_stalls_nobody_and_then_misses_nothing() {
    let mut house = House::new(&EVENTS).await;
    house.say(ONE, "before", 10).await;
    house.number_all().await;
    // Far smaller than what comes.
    let feed = Feed::with_capacity(Events::new(house.db.clone()), 16);
    let cancel = CancellationToken::new();
    let running = tokio::spawn({
        let (feed, cancel) = (feed.clone(), cancel.clone());
        async move { feed.run(&cancel).await }
    });
    let everything = Sight::Everything;
    let mut from_the_start = feed.subscribe(everything.clone(), Some(0)).await.unwrap();
    let mut sleeper = feed.subscribe(everything.clone(), None).await.unwrap();
    let mut live = feed.subscribe(everything.clone(), None).await.unwrap();
    let mut of_two = feed.subscribe(Sight::Tenants(vec![TWO]), Some(0)).await.unwrap();
    for round in 0..20_i64 {
        house.say(ONE, &format!("one-{round}-"), 30).await;
        house.say(TWO, &format!("two-{round}-"), 1).await;
        house.number_all().await;
        let first = 11 + round * 31;
        assert_eq!(
            numbers(&mut live, 31).await,
            (first..first + 31).collect::<Vec<_>>(),
            "nobody waits for the sleeper"
        );
    }
    assert_eq!(feed.lag(), 630, "of the one that begins at the start");
    assert_eq!(numbers(&mut sleeper, 620).await, (11..=630).collect::<Vec<_>>());
    assert_eq!(numbers(&mut from_the_start, 630).await, (1..=630).collect::<Vec<_>>());
    assert_eq!(numbers(&mut of_two, 20).await, (1..=20).map(|round| 10 + round * 31).collect::<Vec<_>>());
    assert_eq!(sleeper.cursor(), 630);
    drop(of_two);
    assert_eq!(feed.lag(), 0, "nobody is behind");

    let mut resumed = feed.subscribe(everything.clone(), Some(600)).await.unwrap();
    assert_eq!(numbers(&mut resumed, 30).await, (601..=630).collect::<Vec<_>>());
    let beyond = feed.subscribe(everything, Some(631)).await;
    assert!(matches!(beyond, Err(ChannelError::BeyondEnd { after: 631, head: 630 })));
    cancel.cancel();
    running.await.unwrap().unwrap();
    assert!(matches!(resumed.next().await, Err(ChannelError::Closed)));
}

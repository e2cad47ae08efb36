use plimsoll_bus::outbox::{OutboxError, advance, peek, register, take};

use super::*;

#[tokio::test]
async fn effects_and_cursor_commit_together() {
    let mut house = House::new(&EVENTS).await;
    house.say(ONE, "a", 5).await;
    house.number_all().await;
    let mut tx = house.db.begin_worker().await.unwrap();
    assert!(matches!(take(&mut tx, "nobody", 1).await, Err(OutboxError::UnknownReader { .. })));
    register(&mut tx, "reader", 0).await.unwrap();
    tx.commit().await.unwrap();
    let taken = async |keep: bool| {
        let mut tx = house.db.begin_worker().await.unwrap();
        let events = take(&mut tx, "reader", 3).await.unwrap();
        if keep {
            tx.commit().await.unwrap();
        } else {
            tx.rollback().await.unwrap();
        }
        events.iter().map(|event| event.sequence.unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(taken(false).await, [1, 2, 3]);
    assert_eq!(taken(true).await, [1, 2, 3]);
    assert_eq!(taken(true).await, [4, 5]);
    assert_eq!(taken(true).await, [0; 0]);
}

#[tokio::test]
async fn a_reader_that_sends_elsewhere_notices_another_of_its_name() {
    let mut house = House::new(&EVENTS).await;
    house.say(ONE, "a", 4).await;
    house.number_all().await;
    let mut conn = house.db.worker().acquire().await.unwrap();
    register(&mut conn, "webhooks", 1).await.unwrap();
    register(&mut conn, "webhooks", 0).await.unwrap();
    let batch = peek(&mut conn, "webhooks", 2).await.unwrap();
    assert_eq!((batch.after, batch.through()), (1, 3), "a second registration moves nothing");
    advance(&mut conn, "webhooks", batch.after, batch.through()).await.unwrap();
    assert!(matches!(
        advance(&mut conn, "webhooks", batch.after, batch.through()).await,
        Err(OutboxError::Moved { .. })
    ));
    assert_eq!(peek(&mut conn, "webhooks", 9).await.unwrap().events.len(), 1);
}

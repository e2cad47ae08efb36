use plimsoll_bus::{CloudEvent, PublishError, Sight, StoredEvent, causality, publish_all};

use super::*;

fn existing(published: Published) -> StoredEvent {
    match published {
        Published::Existing(Some(event)) => *event,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_repetition_gets_the_event_that_is_there_wherever_it_is_and_writes_nothing() {
    let mut house = House::new(&EVENTS).await;
    house.say(ONE, "a", 1).await;
    let again = async |house: &House| {
        let mut tx = house.db.tenant_tx(&[ONE]).await.unwrap();
        let published =
            publish(&mut tx, event("a0").in_context(of(ONE)).with_target("other", "content")).await.unwrap();
        tx.commit().await.unwrap();
        existing(published)
    };
    let queued = again(&house).await;
    assert_eq!((queued.sequence, &*queued.event_id, queued.target_id.as_deref()), (None, "a0", None));
    house.number_all().await;
    let numbered = again(&house).await;
    assert_eq!(numbered, StoredEvent { sequence: Some(1), ..queued });
    assert_eq!((count(&house.db, "events_staging").await, count(&house.db, "events").await), (0, 1));
    // Another tenant's id is another id.
    house.say(TWO, "a", 1).await;
}

#[tokio::test]
async fn of_many_that_publish_one_id_at_once_one_writes_and_all_have_the_same_event() {
    let house = House::new(&EVENTS).await;
    let publish_once = async || {
        let mut tx = house.db.tenant_tx(&[ONE]).await.unwrap();
        let published = publish(&mut tx, event("same").in_context(of(ONE))).await.unwrap();
        tx.commit().await.unwrap();
        published
    };
    let all = futures::future::join_all((0..30).map(|_| publish_once())).await;
    let (new, old): (Vec<_>, Vec<_>) =
        all.into_iter().partition(|published| matches!(published, Published::New { .. }));
    assert_eq!((new.len(), old.len()), (1, 29));
    assert!(old.into_iter().all(|published| existing(published).event_id == "same"));
    assert_eq!(count(&house.db, "events_staging").await, 1);
}

#[tokio::test]
async fn what_is_rolled_back_was_never_said_and_its_id_is_free() {
    let house = House::new(&EVENTS).await;
    let mut tx = house.db.tenant_tx(&[ONE]).await.unwrap();
    publish(&mut tx, event("a").in_context(of(ONE))).await.unwrap();
    tx.rollback().await.unwrap();
    let mut tx = house.db.tenant_tx(&[ONE]).await.unwrap();
    let published = publish(&mut tx, event("a").in_context(of(ONE))).await.unwrap();
    assert_eq!(published, Published::New { event_id: "a".into() });
}

#[tokio::test]
async fn a_write_without_its_keys_or_for_another_tenant_is_refused() {
    let house = House::new(&EVENTS).await;
    let mut tx = house.db.tenant_tx(&[ONE]).await.unwrap();
    for (context, keys, word) in [
        (None, Keys::Platform, "request_id"),
        (Some(Context::new(ONE, "test")), Keys::Tenant, "tenant_id"),
        (Some(Context::new(ONE, "test").on_behalf_of(ONE, None)), Keys::User, "user_id"),
    ] {
        let event = Event { context, ..event("a").demanding(keys) };
        match publish(&mut tx, event).await {
            Err(PublishError::MissingKeys(missing)) => {
                assert_eq!((missing.table, missing.key), ("events", word));
            }
            other => panic!("{other:?}"),
        }
    }
    let mut nul = event("a").in_context(of(ONE));
    nul.payload = json!({ "text": ["a\0b"] });
    assert!(matches!(publish(&mut tx, nul).await, Err(PublishError::Invalid { .. })));
    let mut large = event("a").in_context(of(ONE));
    large.payload = json!("x".repeat(plimsoll_bus::MAX_PAYLOAD_BYTES));
    assert!(matches!(publish(&mut tx, large).await, Err(PublishError::TooLarge { .. })));
    // The transaction goes on.
    publish(&mut tx, event("a").in_context(of(ONE))).await.unwrap();
    tx.commit().await.unwrap();
    let mut tx = house.db.tenant_tx(&[ONE]).await.unwrap();
    let error = publish(&mut tx, event("b").in_context(of(TWO))).await.unwrap_err().to_string();
    assert!(error.contains("row-level security"), "{error}");
}

#[tokio::test]
async fn of_many_at_once_each_is_published_once_in_their_order() {
    let mut house = House::new(&EVENTS).await;
    house.say(ONE, "e", 2).await;
    let many =
        |ids: &[&str], tenant| ids.iter().map(|id| event(id).in_context(of(tenant))).collect::<Vec<_>>();
    let mut tx = house.db.begin_worker().await.unwrap();
    let fresh = publish_all(&mut tx, many(&["z", "e1", "a", "z", "e0", "b"], ONE)).await.unwrap();
    assert_eq!(fresh, [true, false, true, false, false, true]);
    assert_eq!(publish_all(&mut tx, many(&["z"], TWO)).await.unwrap(), [true], "an id is its tenant's");
    assert_eq!(publish_all(&mut tx, Vec::new()).await.unwrap(), [false; 0]);
    tx.commit().await.unwrap();
    house.number_all().await;
    let mut conn = house.db.worker().acquire().await.unwrap();
    plimsoll_bus::outbox::register(&mut conn, "all", 0).await.unwrap();
    let found = plimsoll_bus::outbox::peek(&mut conn, "all", 100).await.unwrap().events;
    let ids: Vec<&str> = found.iter().map(|event| &*event.event_id).collect();
    assert_eq!(ids, ["e0", "e1", "z", "a", "b", "z"]);
    let one = event("single").with_target("position", "0x1").in_context(of(ONE));
    let mut tx = house.db.begin_worker().await.unwrap();
    publish_all(&mut tx, vec![Event { event_id: "same".into(), ..one.clone() }]).await.unwrap();
    publish(&mut tx, one).await.unwrap();
    tx.commit().await.unwrap();
    house.number_all().await;
    let mut pair = plimsoll_bus::outbox::peek(&mut conn, "all", 100).await.unwrap().events.split_off(6);
    let (single, mut same) = (pair.pop().unwrap(), pair.pop().unwrap());
    same.recorded_at = single.recorded_at;
    assert_eq!(
        StoredEvent { event_id: "single".into(), sequence: single.sequence, ..same },
        single,
        "every column"
    );

    let mut tx = house.db.tenant_tx(&[ONE]).await.unwrap();
    let one_wrong = vec![event("good").in_context(of(ONE)), event("").in_context(of(ONE))];
    assert!(matches!(publish_all(&mut tx, one_wrong).await, Err(PublishError::Invalid { .. })));
    let too_many = vec![event("x").in_context(of(ONE)); plimsoll_bus::MAX_EVENTS + 1];
    assert!(matches!(publish_all(&mut tx, too_many).await, Err(PublishError::TooMany { events: 1_001 })));
    let thousand = (0..1_000).map(|number| event(&format!("m{number}")).in_context(of(ONE))).collect();
    assert_eq!(publish_all(&mut tx, thousand).await.unwrap(), [true; 1_000]);
}

#[tokio::test]
async fn a_story_is_told_as_a_graph_to_whom_it_concerns_and_every_envelope_comes_back() {
    let mut house = House::new(&EVENTS).await;
    let mut tx = house.db.begin_worker().await.unwrap();
    let story = Context::new(Uuid::from_u128(5), "user:7").on_behalf_of(ONE, Some(USER));
    // request → A → B → C, and A → D of another tenant; nobody passes a context by hand.
    context::scope(story.clone(), async {
        publish(&mut tx, event("A").with_target("position", "0x1")).await.unwrap();
        context::scope(story.clone().caused_by("A"), async {
            publish(&mut tx, Event { version: Some(3), subject: Some("position/0x1".into()), ..event("B") })
                .await
                .unwrap();
        })
        .await;
        context::scope(story.clone().caused_by("B"), async { publish(&mut tx, event("C")).await.unwrap() })
            .await;
        let other = story.clone().on_behalf_of(TWO, None).caused_by("A");
        publish(&mut tx, event("D").in_context(other).demanding(Keys::Tenant)).await.unwrap();
    })
    .await;
    tx.commit().await.unwrap();
    house.say(ONE, "unrelated", 3).await;
    house.number_all().await;

    let story_id = story.correlation_id.clone();
    let mut conn = house.db.worker().acquire().await.unwrap();
    let graph = causality(&mut conn, &Sight::Tenants(vec![ONE]), &story_id).await.unwrap();
    let ids: Vec<&str> = graph.nodes.iter().map(|node| &*node.event_id).collect();
    let edges: Vec<(i64, i64)> = graph.edges.iter().map(|edge| (edge.cause, edge.effect)).collect();
    assert_eq!((ids, edges, &*graph.roots), (vec!["A", "B", "C"], vec![(1, 2), (2, 3)], &[1][..]));
    let all = causality(&mut conn, &Sight::Everything, &story_id).await.unwrap();
    assert_eq!(
        (all.nodes.len(), all.edges.len(), &*all.roots),
        (4, 2, &[1, 4][..]),
        "an id is unique in its tenant: D's cause is not tenant ONE's A"
    );
    let mut tx = house.db.tenant_tx(&[TWO]).await.unwrap();
    let seen = causality(&mut tx, &Sight::Tenants(vec![ONE, TWO]), &story_id).await.unwrap();
    assert_eq!(seen.nodes.len(), 1, "the database confines what the caller asks for");

    let events = plimsoll_bus::outbox::register(&mut conn, "all", 0).await.map(|()| "all").unwrap();
    for event in plimsoll_bus::outbox::peek(&mut conn, events, 100).await.unwrap().events {
        let text = serde_json::to_string(&event.to_cloud_event().unwrap()).unwrap();
        assert_eq!(StoredEvent::from(serde_json::from_str::<CloudEvent>(&text).unwrap()), event);
        assert_eq!(event.effect_context("fold:x").causation_id, Some(event.event_id));
    }
}

//! A route whose keys are claimed by the transaction of the effects alone: what is promised of any route.

use serde_json::json;

use super::{House, ORDERS, answer, post};

#[tokio::test]
async fn line_4_what_was_answered_is_told_whatever_would_be_said_now() {
    let house = House::start().await;
    let body = json!({"outcome": "closing", "name": "a"});
    let first = house.post(ORDERS, "k", &body).await;
    assert_eq!((first.status.as_u16(), first.is_replayed()), (201, false));
    house.post(ORDERS, "other", &body).await.is_problem(400, "invalid-parameter");
    let again = house.post(ORDERS, "k", &body).await;
    assert_eq!((again.status.as_u16(), again.is_replayed()), (201, true));
    assert_eq!((&again.body, again.header("location")), (&first.body, first.header("location")));
    assert_eq!(house.effects().await, 1);
}

#[tokio::test]
async fn line_5_the_key_of_another_request_is_a_mismatch_whether_it_would_be_refused_or_not() {
    let house = House::start().await;
    house.post(ORDERS, "k", &json!({"name": "a"})).await;
    for outcome in ["created", "refused"] {
        let other = house.post(ORDERS, "k", &json!({"outcome": outcome, "name": "b"})).await;
        other.is_problem(422, "idempotency-key-reused");
    }
    assert_eq!((house.effects().await, house.entries().await), (1, 1));
}

#[tokio::test]
async fn line_7_a_refusal_leaves_the_key_free_and_a_rejection_is_kept() {
    let house = House::start().await;
    house.post(ORDERS, "k", &json!({"outcome": "refused"})).await.is_problem(400, "invalid-parameter");
    assert_eq!(house.entries().await, 0);
    assert_eq!(house.post(ORDERS, "k", &json!({"name": "a"})).await.status.as_u16(), 201);
    let body = json!({"outcome": "rejected"});
    let rejected = house.post(ORDERS, "r", &body).await;
    let again = house.post(ORDERS, "r", &body).await;
    assert_eq!((again.is_replayed(), again.status, again.body), (true, rejected.status, rejected.body));
}

#[tokio::test(flavor = "multi_thread")]
async fn line_9_a_hundred_at_once_have_one_effect_and_one_answer() {
    let house = House::start().await;
    let body = json!({"name": "a"});
    let calls: Vec<_> =
        (0..100).map(|_| tokio::spawn(answer(house.router.clone(), post(ORDERS, "k", &body)))).collect();
    let mut answers = Vec::new();
    for call in calls {
        answers.push(call.await.unwrap());
    }
    assert_eq!(answers.iter().filter(|answer| !answer.is_replayed()).count(), 1);
    assert!(answers.iter().all(|answer| answer.status.as_u16() == 201 && answer.body == answers[0].body));
    assert_eq!((house.effects().await, house.entries().await), (1, 1));
}

//! Claims that are written by the transaction of their effects.

use plimsoll_store::idempotency::{lock_all, write_all};

use super::*;

/// The effect and the answer of each that is held, as a batch writer commits them; says which were.
async fn work_all(keys: &Keys, claims: Vec<(Claim, &str)>) -> Vec<bool> {
    let mut tx = keys.db().tenant_tx_by_keys(&[TENANT]).await.unwrap();
    let held = lock_all(&mut tx, &claims.iter().map(|(claim, _)| claim).collect::<Vec<_>>()).await.unwrap();
    let ours: Vec<_> =
        claims.into_iter().zip(&held).filter(|(_, is_held)| **is_held).map(|(ours, _)| ours).collect();
    let responses: Vec<_> = ours.iter().map(|(_, what)| response(what)).collect();
    for (_, what) in &ours {
        put(&mut tx, what).await.unwrap();
    }
    let answers: Vec<_> = ours.iter().map(|(claim, _)| claim).zip(&responses).collect();
    write_all(&mut tx, &answers).await.unwrap();
    tx.commit().await.unwrap();
    for ((claim, _), response) in ours.into_iter().zip(responses) {
        claim.committed(response);
    }
    held
}

async fn rows(keys: &Keys) -> i64 {
    sqlx::query_scalar("SELECT count(*) FROM idempotency_cache").fetch_one(keys.db().worker()).await.unwrap()
}

#[tokio::test]
async fn key_effect_and_answer_are_there_together_or_not_at_all() {
    let urls = database().await;
    let keys = process(&urls, "one", KeyOptions::default()).await;
    let claim = keys.defer(request("k"));
    let mut tx = keys.db().tenant_tx_by_keys(&[TENANT]).await.unwrap();
    assert_eq!(lock_all(&mut tx, &[&claim]).await.unwrap(), [true]);
    put(&mut tx, "lost").await.unwrap();
    drop(tx);
    assert_eq!((rows(&keys).await, effects(&keys).await), (0, 0));
    // The same claim, in another transaction: a batch is halved where one of it cannot be committed.
    assert_eq!(work_all(&keys, vec![(claim, "kept")]).await, [true]);
    assert_eq!(replayed(keys.enter(request("k")).await.unwrap()), "kept");
    // A claim that was never locked left nothing, and gives up nothing.
    drop(keys.defer(request("other")));
    drop(keys.defer(request("k")));
    assert_eq!((rows(&keys).await, effects(&keys).await), (1, 1));
}

#[tokio::test]
async fn of_several_under_one_key_in_one_batch_one_is_held() {
    let urls = database().await;
    let keys = process(&urls, "one", KeyOptions::default()).await;
    let claims = vec![
        (keys.defer(request("k")), "first"),
        (keys.defer(request("other")), "beside"),
        (keys.defer(request("k")), "second"),
    ];
    let held = work_all(&keys, claims).await;
    assert!(held[1] && (held[0] ^ held[2]), "{held:?}");
    assert_eq!(effects(&keys).await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_processes_at_once_the_second_waits_for_the_first_and_is_not_held() {
    let urls = database().await;
    let (one, other) = (
        process(&urls, "one", KeyOptions::default()).await,
        process(&urls, "other", KeyOptions::default()).await,
    );
    let (ours, theirs) = (one.defer(request("k")), other.defer(request("k")));
    let mut tx = one.db().tenant_tx_by_keys(&[TENANT]).await.unwrap();
    assert_eq!(lock_all(&mut tx, &[&ours]).await.unwrap(), [true]);
    let second = tokio::spawn(async move { work_all(&other, vec![(theirs, "other's")]).await });
    let waits = "SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted)";
    while !sqlx::query_scalar::<_, bool>(waits).fetch_one(one.db().worker()).await.unwrap() {
        tokio::task::yield_now().await;
    }
    put(&mut tx, "one's").await.unwrap();
    write_all(&mut tx, &[(&ours, &response("one's"))]).await.unwrap();
    tx.commit().await.unwrap();
    ours.committed(response("one's"));
    assert_eq!(second.await.unwrap(), [false]);
    assert_eq!(replayed(one.enter(request("k")).await.unwrap()), "one's");
    assert_eq!(effects(&one).await, 1);
}

#[tokio::test]
async fn a_key_at_work_is_not_held_and_one_whose_time_is_over_is_taken_anew() {
    let urls = database().await;
    let keys = process(&urls, "one", KeyOptions::default()).await;
    let at_work = claimed(keys.enter(request("k")).await.unwrap());
    assert_eq!(work_all(&keys, vec![(keys.defer(request("k")), "too early")]).await, [false]);
    work(at_work, "first").await.unwrap();
    assert_eq!(work_all(&keys, vec![(keys.defer(request("k")), "again")]).await, [false]);

    let age = "UPDATE idempotency_cache SET expires_at = clock_timestamp()";
    sqlx::query(age).execute(&mut urls.owner.clone().connect().await.unwrap()).await.unwrap();
    let (new, twin) = (keys.defer(request("k")), keys.defer(request("k")));
    let held = work_all(&keys, vec![(new, "anew"), (twin, "anew")]).await;
    assert_eq!(held.iter().filter(|is_held| **is_held).count(), 1, "{held:?}");
    assert_eq!(replayed(keys.enter(request("k")).await.unwrap()), "anew");
    assert_eq!((rows(&keys).await, effects(&keys).await), (1, 2));
}

#[tokio::test]
async fn a_recovery_point_keeps_a_deferred_claim_at_work_until_it_is_given_up() {
    let urls = database().await;
    let options = KeyOptions { wait: Duration::ZERO, ..KeyOptions::default() };
    let keys = process(&urls, "one", options).await;
    let mut claim = keys.defer(request("k"));
    let point = RecoveryPoint { name: "sent".into(), data: json!({"to": "them"}) };
    let mut tx = claim.begin_effects().await.unwrap();
    claim.advance(&mut tx, &point).await.unwrap();
    tx.commit().await.unwrap();
    assert!(matches!(keys.enter(request("k")).await.unwrap(), Entered::InFlight));
    claim.advanced(point.clone());
    let ended = claim.ended();
    drop(claim);
    ended.await;
    let resumed = claimed(keys.enter(request("k")).await.unwrap());
    assert_eq!(resumed.recovery_point(), Some(&point));
    work(resumed, "done").await.unwrap();
    assert_eq!(replayed(keys.enter(request("k")).await.unwrap()), "done");
}

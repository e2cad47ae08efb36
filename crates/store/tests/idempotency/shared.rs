//! Many who come at once.

use futures::future::join_all;
use plimsoll_store::PoolSizes;

use super::round_trips::counting_db;
use super::*;

fn of(tenant: u128, principal: &str, key: &str) -> Request {
    let mut request = request(key);
    request.scope.tenant_id = (tenant > 0).then(|| Uuid::from_u128(tenant));
    request.scope.principal = principal.into();
    request
}

#[tokio::test(flavor = "multi_thread")]
async fn those_who_come_while_one_looks_share_the_next_transaction() {
    let urls = database().await;
    let (db, count) = counting_db(&urls, PoolSizes { app: 1, worker: 2 }).await;
    let keys = Keys::new(db, "one", KeyOptions::default());
    drop(keys.enter(request("first")).await.unwrap());
    let before = count.load(std::sync::atomic::Ordering::SeqCst);
    let claims = join_all((0..300).map(|n| keys.enter(request(&format!("k{n}"))))).await;
    let trips = count.load(std::sync::atomic::Ordering::SeqCst) - before;
    // One that looks alone, and then all others: two transactions, and one more for all that one does not take; beside them the first claim's giving up.
    assert!(trips < 30, "{trips} round trips for 300 keys");
    claims.into_iter().for_each(|claim| drop(claimed(claim.unwrap())));
}

#[tokio::test]
async fn of_those_who_come_together_with_one_key_one_works_and_all_others_get_its_answer() {
    let urls = database().await;
    let keys = process(&urls, "one", KeyOptions::default()).await;
    // The same text of another principal, another tenant, or the platform, is another key.
    let scopes = [(1, "user:ada"), (1, "user:bob"), (2, "user:ada"), (0, "user:ada")];
    let asked = (0..160).map(|n| {
        let (tenant, principal) = scopes[n % scopes.len()];
        let (keys, request) = (keys.clone(), of(tenant, principal, "same"));
        tokio::spawn(async move {
            match keys.enter(request).await.unwrap() {
                Entered::Claimed(claim) => {
                    // All others are on their way by then.
                    tokio::task::yield_now().await;
                    let scope = claim.scope().clone();
                    let answer = format!("{:?} {}", scope.tenant_id, scope.principal);
                    let mut tx = claim.begin_effects().await.unwrap();
                    claim.write(&mut tx, &response(&answer)).await.unwrap();
                    tx.commit().await.unwrap();
                    claim.committed(response(&answer));
                    (true, answer)
                }
                other => (false, replayed(other)),
            }
        })
    });
    let answers: Vec<_> = join_all(asked).await.into_iter().map(Result::unwrap).collect();
    assert_eq!(answers.iter().filter(|(worked, _)| *worked).count(), scopes.len());
    for (n, (_, answer)) in answers.iter().enumerate() {
        let (tenant, principal) = scopes[n % scopes.len()];
        let tenant = (tenant > 0).then(|| Uuid::from_u128(tenant));
        assert_eq!(*answer, format!("{tenant:?} {principal}"));
    }
}

#[tokio::test]
async fn one_that_cannot_be_looked_at_fails_none_of_its_neighbours() {
    let urls = database().await;
    let keys = process(&urls, "one", KeyOptions::default()).await;
    let looks = (0..40).map(|n| keys.enter(of(1, if n == 7 { "" } else { "user:ada" }, &format!("k{n}"))));
    let looked = join_all(looks).await;
    for (n, looked) in looked.into_iter().enumerate() {
        match looked {
            Ok(entered) if n != 7 => drop(claimed(entered)),
            Err(IdempotencyError::Database(error)) if n == 7 => {
                assert!(error.to_string().contains("principal"), "{error}");
            }
            other => panic!("{n}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn whoever_goes_away_while_others_look_leaves_no_claim_behind() {
    let urls = database().await;
    let keys = process(&urls, "one", KeyOptions::default()).await;
    let looks: Vec<_> = (0..40)
        .map(|n| {
            let keys = keys.clone();
            tokio::spawn(async move { keys.enter(request(&format!("k{n}"))).await.unwrap() })
        })
        .collect();
    // Its look is queued, or on its way, or over.
    tokio::task::yield_now().await;
    looks.iter().for_each(tokio::task::JoinHandle::abort);
    for look in looks {
        // What came before the end was had.
        if let Ok(entered) = look.await {
            drop(claimed(entered));
        }
    }
    for n in 0..40 {
        drop(claimed(keys.enter(request(&format!("k{n}"))).await.unwrap()));
    }
}

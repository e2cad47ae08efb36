//! Claims of processes that are gone, of such as are there, and of such as only seemed gone.

use plimsoll_store::PoolSizes;
use sqlx::Connection;

use super::*;

/// No test takes so long: whoever gets a claim did not wait for its term.
const HOUR: Duration = Duration::from_secs(3_600);
const PATIENT: KeyOptions = KeyOptions { ttl: HOUR, wait: Duration::from_secs(60), claim_term: HOUR };
const HASTY: KeyOptions = KeyOptions { wait: Duration::ZERO, ..PATIENT };

async fn owner(urls: &DatabaseUrls) -> PgConnection {
    urls.owner.connect().await.unwrap()
}

/// The sessions of the process that claimed the only key there is.
async fn sessions(owner: &mut PgConnection) -> Vec<i32> {
    sqlx::query_scalar(
        "SELECT pid FROM pg_locks, idempotency_cache
         WHERE locktype = 'advisory' AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
           AND granted AND objsubid = 1 AND (classid::bigint << 32) | objid::bigint = presence
         ORDER BY pid",
    )
    .fetch_all(owner)
    .await
    .unwrap()
}

async fn end(owner: &mut PgConnection, sessions: &[i32]) {
    for session in sessions {
        let ended: bool = sqlx::query_scalar("SELECT pg_terminate_backend($1, 10000)")
            .bind(session)
            .fetch_one(&mut *owner)
            .await
            .unwrap();
        assert!(ended, "session {session} does not end");
    }
}

#[tokio::test]
async fn a_claim_of_a_process_that_is_gone_is_taken_long_before_its_term_is_over() {
    let urls = database().await;
    let (one, other) = (process(&urls, "one", PATIENT).await, process(&urls, "other", PATIENT).await);
    let claim = claimed(one.enter(request("k")).await.unwrap());
    let point = RecoveryPoint { name: "half".into(), data: json!({"way": "through"}) };
    let mut tx = claim.begin_effects().await.unwrap();
    put(&mut tx, "first half").await.unwrap();
    claim.advance(&mut tx, &point).await.unwrap();
    tx.commit().await.unwrap();
    // Whoever dies gives nothing up.
    std::mem::forget(claim);
    one.db().close().await;
    let claim = claimed(other.enter(request("k")).await.unwrap());
    assert_eq!(claim.recovery_point(), Some(&point));
    work(claim, "second half").await.unwrap();
    assert_eq!(effects(&other).await, 2);
}

#[tokio::test]
async fn a_claim_is_not_taken_while_one_session_of_its_process_is_left() {
    let urls = database().await;
    let one = process(&urls, "one", PATIENT).await;
    let other = process(&urls, "other", HASTY).await;
    let (first, second) = (one.db().begin_worker().await.unwrap(), one.db().begin_worker().await.unwrap());
    drop((first, second));
    let claim = claimed(one.enter(request("k")).await.unwrap());
    let mut owner = owner(&urls).await;
    let mut left = sessions(&mut owner).await;
    assert!(left.len() >= 3, "each session of both pools says that it is there: {left:?}");
    loop {
        // Those who look do not take each other for somebody who is gone, nor for the holder for good.
        let looks = futures::future::join_all((0..5).map(|_| other.enter(request("k")))).await;
        for look in looks {
            assert!(matches!(look.unwrap(), Entered::InFlight), "{left:?}");
        }
        let [ended, rest @ ..] = left.as_slice() else { unreachable!() };
        if rest.is_empty() {
            break;
        }
        end(&mut owner, &[*ended]).await;
        left = rest.to_vec();
    }
    work(claim, "done by one").await.unwrap();
    assert_eq!(replayed(other.enter(request("k")).await.unwrap()), "done by one");
}

#[tokio::test]
async fn who_was_frozen_and_cut_off_until_another_took_over_commits_nothing_when_it_wakes() {
    let urls = database().await;
    let (one, other) = (process(&urls, "one", PATIENT).await, process(&urls, "other", PATIENT).await);
    let mut owner = owner(&urls).await;
    for (key, begun) in [("before its transaction", false), ("within its transaction", true)] {
        let frozen = claimed(one.enter(request(key)).await.unwrap());
        let tx = if begun { Some(frozen.begin_effects().await.unwrap()) } else { None };
        let all = sessions(&mut owner).await;
        assert!(!all.is_empty());
        end(&mut owner, &all).await;
        let taken = claimed(other.enter(request(key)).await.unwrap());
        // It wakes: what it had begun is gone with its sessions, and it cannot begin anew.
        if let Some(mut tx) = tx {
            let written = async {
                put(&mut tx, "done by the frozen").await?;
                frozen.write(&mut tx, &response("done by the frozen")).await?;
                Ok::<_, IdempotencyError>(tx.commit().await?)
            };
            assert!(matches!(written.await, Err(IdempotencyError::Database(_))), "{key}");
        }
        let woken = work(frozen, "done by the frozen").await;
        assert!(matches!(woken, Err(IdempotencyError::Fenced { .. })), "{key}: {woken:?}");
        work(taken, key).await.unwrap();
        assert_eq!(replayed(one.enter(request(key)).await.unwrap()), key);
        sqlx::raw_sql("DELETE FROM idempotency_cache").execute(&mut owner).await.unwrap();
    }
    assert_eq!(effects(&one).await, 2);
}

/// As where the database was away when a claim was to be given up.
#[tokio::test]
async fn a_claim_that_could_not_be_given_up_is_had_by_its_own_process_at_once_and_by_others_once_it_can() {
    let urls = database().await;
    let (one, other) = (process(&urls, "one", PATIENT).await, process(&urls, "other", PATIENT).await);
    let mut owner = owner(&urls).await;
    let stays = "CREATE FUNCTION stays() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'it stays'; END $$;
                 CREATE TRIGGER stays BEFORE DELETE ON idempotency_cache FOR EACH ROW EXECUTE FUNCTION stays()";
    sqlx::raw_sql(stays).execute(&mut owner).await.unwrap();
    drop(claimed(one.enter(request("k")).await.unwrap()));
    drop(claimed(one.enter(request("k")).await.unwrap()));
    let waiting = tokio::spawn({
        let other = other.clone();
        async move { other.enter(request("k")).await.unwrap() }
    });
    while other.waiting() == 0 {
        tokio::task::yield_now().await;
    }
    sqlx::raw_sql("DROP TRIGGER stays ON idempotency_cache").execute(&mut owner).await.unwrap();
    work(claimed(waiting.await.unwrap()), "done by other").await.unwrap();
    assert_eq!(effects(&one).await, 1);
}

#[tokio::test]
async fn two_that_share_their_pools_do_not_take_each_others_claims() {
    let urls = database().await;
    let one = process(&urls, "one", PATIENT).await;
    let beside = Keys::new(one.db().clone(), "beside", HASTY);
    let claim = claimed(one.enter(request("k")).await.unwrap());
    assert!(matches!(beside.enter(request("k")).await.unwrap(), Entered::InFlight));
    work(claim, "done by one").await.unwrap();
    assert_eq!(replayed(beside.enter(request("k")).await.unwrap()), "done by one");
}

#[tokio::test]
async fn a_session_that_waits_for_a_lock_ends_with_its_client() {
    let urls = database().await;
    let db = Db::connect_with(&urls, PoolSizes { app: 1, worker: 1 }).await.unwrap();
    let mut owner = owner(&urls).await;
    sqlx::raw_sql("SELECT pg_advisory_lock(42)").execute(&mut owner).await.unwrap();
    let mut client = db.app().acquire().await.unwrap().detach();
    sqlx::raw_sql("SET statement_timeout = 0").execute(&mut client).await.unwrap();
    let session: i32 = sqlx::query_scalar("SELECT pg_backend_pid()").fetch_one(&mut client).await.unwrap();
    let waiting = tokio::spawn(async move {
        let waited = sqlx::raw_sql("SELECT pg_advisory_lock(42)").execute(&mut client).await;
        client.close().await.unwrap();
        waited
    });
    let is = async |owner: &mut PgConnection, what: &str| -> bool {
        sqlx::query_scalar(
            "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE pid = $1 AND ($2 = 'there' OR wait_event_type = 'Lock'))",
        )
        .bind(session)
        .bind(what)
        .fetch_one(owner)
        .await
        .unwrap()
    };
    while !is(&mut owner, "waiting").await {
        tokio::task::yield_now().await;
    }
    waiting.abort();
    assert!(waiting.await.unwrap_err().is_cancelled());
    while is(&mut owner, "there").await {
        tokio::task::yield_now().await;
    }
}

//! Many at once, over several processes, some of which are cut off: nothing is lost, nothing doubled, and none fails its neighbours.

use futures::future::join_all;
use plimsoll_ledger::{Draft, Intake, PostError, Posting, Refusal};
use plimsoll_store::testing::{Polling, drop_after};
use plimsoll_types::Amount;

use crate::support::Books;

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_equal_requests_at_once_through_two_processes_are_one_posting() {
    let books = Books::new().await;
    let other = Intake::start(books.db.clone());
    let draft = books.transfer(books.cash[0], books.cash[1], 3);
    let posts = (0..100).map(|n| {
        let intake = if n % 2 == 0 { &books.intake } else { &other };
        intake.post(Posting::new(draft.clone()).unwrap())
    });
    let posted: Vec<_> = join_all(posts).await.into_iter().map(Result::unwrap).collect();
    assert!(posted.iter().all(|it| it.posting_id == posted[0].posting_id));
    assert_eq!(posted.iter().filter(|it| !it.is_replay).count(), 1);
    assert_eq!(books.holds(books.cash[0]).await, ("3".into(), 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_that_differ_under_one_key_in_one_batch_one_is_booked_and_the_other_told() {
    let books = Books::new().await;
    let one = books.transfer(books.cash[0], books.cash[1], 3);
    let mut other = one.clone();
    other.lines.iter_mut().for_each(|line| line.amount = Amount::from(4_u64));
    let posts = [one, other].map(|draft| books.intake.post(Posting::new(draft).unwrap()));
    let [first, second] = <[_; 2]>::try_from(join_all(posts).await).unwrap();
    let (booked, told) = if first.is_ok() { (first, second) } else { (second, first) };
    assert!(!booked.unwrap().is_replay);
    assert!(matches!(told, Err(PostError::Conflict { .. })), "{told:?}");
    assert_eq!(books.count("SELECT count(*) FROM bf_events").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn opposite_transfers_on_a_few_accounts_through_three_processes_all_come_through() {
    let books = Books::new().await;
    let intakes: Vec<_> = (0..3).map(|_| Intake::start(books.db.clone())).collect();
    let posts = (0..600).map(|n| {
        let (one, other) = (books.cash[n % 4], books.cash[(n + 1 + n / 4 % 3) % 4]);
        let draft = if n % 2 == 0 { books.transfer(one, other, 1) } else { books.transfer(other, one, 2) };
        intakes[n % 3].post(Posting::new(draft).unwrap())
    });
    for posted in join_all(posts).await {
        assert!(!posted.unwrap().is_replay);
    }
    assert_eq!(books.count("SELECT count(*) FROM ledger_postings").await, 600);
    books.agree().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_refused_fails_none_of_the_batch() {
    let books = Books::new().await;
    let posts = (0..200).map(|n| {
        // The user has nothing: to take from them is refused.
        let draft = if n % 5 == 0 {
            books.transfer(books.user, books.cash[0], 1)
        } else {
            books.transfer(books.cash[0], books.cash[1], 1)
        };
        books.intake.post(Posting::new(draft).unwrap())
    });
    let (booked, refused): (Vec<_>, Vec<_>) = join_all(posts).await.into_iter().partition(Result::is_ok);
    assert_eq!((booked.len(), refused.len()), (160, 40));
    let limits = |it: &Result<_, _>| matches!(it, Err(PostError::Refused(Refusal::Limit { .. })));
    assert!(refused.iter().all(limits));
    books.agree().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_database_alone_finds_wrong_fails_none_of_the_batch() {
    let books = Books::new().await;
    let posts = (0..50).map(|n| {
        let mut draft = books.transfer(books.cash[0], books.cash[1], 1);
        if n == 17 {
            // Postgres has no such character in a text.
            draft.context.correlation_id = "a\0b".into();
        }
        books.intake.post(Posting::new(draft).unwrap())
    });
    let outcomes = join_all(posts).await;
    let failed: Vec<_> = (0..50).filter(|n| outcomes[*n].is_err()).collect();
    assert_eq!(failed, [17], "{:?}", outcomes[17]);
    assert_eq!(books.holds(books.cash[0]).await, ("49".into(), 49));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_cut_off_while_waiting_finds_it_booked_once_when_asking_again() {
    let books = Books::new().await;
    for polls in 0..12 {
        let draft = books.transfer(books.cash[0], books.cash[1], 1);
        let posting = Posting::new(draft.clone()).unwrap();
        drop_after(polls, Polling::Restless, books.intake.post(posting)).await;
        books.book(draft.clone()).await;
        books.book(draft).await;
    }
    assert_eq!(books.holds(books.cash[0]).await, ("12".into(), 12));
    books.agree().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_that_are_ended_all_the_time_lose_and_double_nothing() {
    let books = Books::new().await;
    let drafts: Vec<Draft> =
        (0..300).map(|n| books.transfer(books.cash[n % 4], books.cash[(n + 1) % 4], 1)).collect();
    let ending = async {
        let mut owner = sqlx::ConnectOptions::connect(&books.db.urls().owner).await.unwrap();
        // Each time that some more came through.
        for booked in (0..).step_by(5) {
            while books.count("SELECT count(*) FROM ledger_postings").await < booked {
                tokio::task::yield_now().await;
            }
            let end = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE usename = 'plimsoll_app' AND datname = current_database()";
            let _: i64 = sqlx::query_scalar(end).fetch_one(&mut owner).await.unwrap();
        }
    };
    let posting = async {
        for chunk in drafts.chunks(30) {
            let posts = chunk.iter().map(|draft| async {
                // Not known whether it is on record: asked again, as it says.
                while books.intake.post(Posting::new(draft.clone()).unwrap()).await.is_err() {}
            });
            join_all(posts).await;
        }
    };
    tokio::select! {
        () = posting => {}
        () = ending => {}
    }
    assert_eq!(books.count("SELECT count(*) FROM ledger_postings").await, 300);
    books.agree().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_period_is_not_closed_under_a_posting_that_counts_in_it() {
    let books = Books::new().await;
    let now = time::OffsetDateTime::now_utc();
    let closing = books.close(now);
    let posts = (0..50).map(|_| {
        let draft = Draft { effective_at: Some(now), ..books.transfer(books.cash[0], books.cash[1], 1) };
        books.intake.post(Posting::new(draft).unwrap())
    });
    let (posted, _) = tokio::join!(join_all(posts), closing);
    assert!(posted.iter().all(Result::is_ok));
    // Whoever was booked before it was closed counts in it, and whoever came after does not: by their order on the account.
    let out_of_order = books
        .count(
            "SELECT count(*) FROM ledger_entries e JOIN ledger_postings p USING (posting_id)
             JOIN ledger_entries f ON f.account_id = e.account_id AND f.account_version = e.account_version + 1 JOIN ledger_postings q ON q.posting_id = f.posting_id
             WHERE p.booked_at > p.effective_at AND q.booked_at = q.effective_at",
        )
        .await;
    assert_eq!(out_of_order, 0);
}

//! A period is closed once, by somebody, for a reason, and does not change after that.

use std::sync::atomic::{AtomicBool, Ordering};

use futures::future::join_all;
use plimsoll_ledger::period::{CloseError, Closing, close, closings};
use plimsoll_ledger::report::{Moment, Scope, trial_balance};
use plimsoll_ledger::{Draft, Intake, Posting};
use plimsoll_types::Context;
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use crate::fold::Fold;
use crate::sealing::{seal_all, sealer};
use crate::support::Books;

/// What each account held in the periods up to then, as the report has it.
async fn booked(books: &Books, through: OffsetDateTime) -> Vec<(Uuid, String)> {
    let mut tx = books.db.tenant_snapshot(&[books.tenant_id]).await.unwrap();
    let scope = Scope { tenant_id: books.tenant_id, domain: None, currency: None };
    let moment = Moment { booked_at: Some(through), ..Moment::default() };
    let page = trial_balance(&mut tx, &scope, moment, None, 1_000).await.unwrap();
    page.into_iter().map(|it| (it.account_id, it.balance.to_string())).collect()
}

/// What a closing kept is what is booked by then, line by line.
async fn kept_is_booked(books: &Books, closing: &Closing) {
    let fold = Fold::of(books).await;
    let moment = Moment { booked_at: Some(closing.closed_through), ..Moment::default() };
    for (account, held) in booked(books, closing.closed_through).await {
        assert_eq!(held, fold.balance(account, moment).to_string(), "{account} at {closing:?}");
    }
    let before: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM (SELECT max(account_version) FROM ledger_closing_balances WHERE closed_through = $1 GROUP BY account_id) AS it",
    )
    .bind(closing.closed_through)
    .fetch_one(books.db.worker())
    .await
    .unwrap();
    assert!(before > 0, "no balance was kept");
}

#[tokio::test]
async fn a_closed_period_keeps_its_balances_whatever_comes_late() {
    let books = Books::new().await;
    let now = OffsetDateTime::now_utc();
    let at = |days: i64| Some(now - Duration::days(days));
    let book = |days, amount| {
        books.book(Draft { effective_at: at(days), ..books.transfer(books.cash[0], books.cash[1], amount) })
    };
    book(9, 1).await;
    book(5, 2).await;
    book(7, 4).await;
    let first = books.close(now - Duration::days(6)).await;
    assert_eq!(first.reason, "the period is over");
    let of = |debit: &str| vec![(books.cash[0], debit.to_owned()), (books.cash[1], format!("-{debit}"))];
    let some = |held: Vec<(Uuid, String)>| -> Vec<_> { held.into_iter().filter(|it| it.1 != "0").collect() };
    assert_eq!(some(booked(&books, first.closed_through).await), of("5"));
    book(8, 8).await;
    book(1, 16).await;
    let second = books.close(now - Duration::days(2)).await;
    book(8, 32).await;
    assert_eq!(some(booked(&books, first.closed_through).await), of("5"));
    // What came late after the first counts in the second: from its first moment on.
    assert_eq!(some(booked(&books, first.closed_through + Duration::MICROSECOND).await), of("13"));
    assert_eq!(some(booked(&books, second.closed_through).await), of("15"));
    assert_eq!(some(booked(&books, now).await), of("63"));
    for closing in [&first, &second] {
        kept_is_booked(&books, closing).await;
    }
    let mut tx = books.db.tenant_tx(&[books.tenant_id]).await.unwrap();
    let all = closings(&mut tx, books.tenant_id, None, 10).await.unwrap();
    assert_eq!(all, [second.clone(), first.clone()]);
    let before = closings(&mut tx, books.tenant_id, Some(second.closed_through), 10).await.unwrap();
    assert_eq!(before, [first]);
}

#[tokio::test]
async fn the_log_of_the_size_that_a_closing_names_has_all_of_the_period() {
    let books = Books::new().await;
    let (sealer, lease) = sealer(&books).await;
    for n in 0..9 {
        books.book(books.transfer(books.cash[0], books.cash[1], 1)).await;
        if n == 3 {
            seal_all(&sealer, &lease).await;
        }
    }
    let closing = books.close(OffsetDateTime::now_utc()).await;
    assert_eq!(closing.log_size, 9);
    books.book(books.transfer(books.cash[0], books.cash[1], 1)).await;
    seal_all(&sealer, &lease).await;
    let beyond: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM ledger_leaves JOIN ledger_postings USING (posting_id) WHERE booked_at <= $1 AND leaf_index >= $2",
    )
    .bind(closing.closed_through)
    .bind(9_i64)
    .fetch_one(books.db.worker())
    .await
    .unwrap();
    assert_eq!(beyond, 0);
}

#[tokio::test]
async fn a_period_is_closed_by_one_request_with_a_reason_when_it_has_passed() {
    let books = Books::new().await;
    let context = || books.draft(Vec::new()).context;
    let through = OffsetDateTime::now_utc() - Duration::days(1);
    let asked = context();
    let first = close(&books.db, through, "month", &asked).await.unwrap();
    assert_eq!(close(&books.db, through, "month", &asked).await.unwrap(), first);
    let refused = |through, reason, context: Context| {
        let db = books.db.clone();
        async move { close(&db, through, reason, &context).await.unwrap_err() }
    };
    let other = refused(through + Duration::HOUR, "month", asked.clone()).await;
    assert!(
        matches!(other, CloseError::Conflict { closed_through, .. } if closed_through == first.closed_through),
        "{other}"
    );
    let other = refused(through, "another reason", asked).await;
    assert!(matches!(other, CloseError::Conflict { .. }), "{other}");
    for earlier in [Duration::ZERO, Duration::HOUR] {
        let other = refused(through - earlier, "month", context()).await;
        assert!(matches!(other, CloseError::Closed { .. }), "{other}");
    }
    let other = refused(OffsetDateTime::now_utc() + Duration::HOUR, "month", context()).await;
    assert!(matches!(other, CloseError::Future { .. }), "{other}");
    let other = refused(through + Duration::HOUR, "", context()).await;
    assert!(matches!(other, CloseError::Reason { characters: 0 }), "{other}");
    let nobodys = Context { tenant_id: None, ..context() };
    let other = refused(through + Duration::HOUR, "month", nobodys).await;
    assert!(matches!(other, CloseError::NoTenant), "{other}");
    let strangers = Context { tenant_id: Some(Uuid::new_v4()), ..context() };
    let other = refused(through + Duration::HOUR, "month", strangers).await;
    assert!(matches!(other, CloseError::NoBooks { .. }), "{other}");
    assert_eq!(books.count("SELECT count(*) FROM ledger_closings").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn periods_are_closed_while_others_post_without_end_and_each_posting_counts_in_one() {
    let books = Books::new().await;
    let intakes = [books.intake.clone(), Intake::start(books.db.clone()), Intake::start(books.db.clone())];
    let is_over = AtomicBool::new(false);
    let posting = async {
        let without_end = intakes.iter().enumerate().map(|(n, intake)| {
            let (books, is_over) = (&books, &is_over);
            async move {
                while !is_over.load(Ordering::Relaxed) {
                    let posts = (0..20).map(|back| {
                        let effective_at = Some(OffsetDateTime::now_utc() - Duration::seconds(back));
                        let transfer = books.transfer(books.cash[n], books.cash[n + 1], 1);
                        intake.post(Posting::new(Draft { effective_at, ..transfer }).unwrap())
                    });
                    for posted in join_all(posts).await {
                        posted.unwrap();
                    }
                }
            }
        });
        join_all(without_end).await;
    };
    let closing = async {
        let mut all = Vec::new();
        for n in 1..=8 {
            while books.count("SELECT count(*) FROM ledger_postings").await < n * 60 {
                tokio::task::yield_now().await;
            }
            all.push(books.close(OffsetDateTime::now_utc() - Duration::milliseconds(5)).await);
        }
        is_over.store(true, Ordering::Relaxed);
        all
    };
    let ((), closings) = tokio::join!(posting, closing);
    for closing in &closings {
        kept_is_booked(&books, closing).await;
    }
    let late = books.count("SELECT count(*) FROM ledger_postings WHERE booked_at > effective_at").await;
    assert!(late > 0, "nothing came late: too little to tell anything");
    books.agree().await;
}

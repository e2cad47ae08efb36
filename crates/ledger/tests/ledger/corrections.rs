//! What was wrong is taken back as it was booked, once, or made good; and each finds the other.

use alloy_primitives::B256;
use futures::future::join_all;
use plimsoll_ledger::{
    AsOf, Correction, Direction, Draft, Intake, Invalid, Line, Links, OnChain, Origin, PostError, Posted,
    Posting, Refusal, balance, links, reversal,
};
use plimsoll_types::{Amount, Balance, Context};
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use crate::support::{Books, WETH, line};

fn somebody(books: &Books) -> Context {
    books.draft(Vec::new()).context
}

async fn made(books: &Books, posting: Uuid, context: Context) -> Result<Posting, PostError> {
    let mut tx = books.db.tenant_tx(&[books.tenant_id]).await.unwrap();
    reversal(&mut tx, posting, "booked twice", context, Origin::Request).await
}

async fn reverse(books: &Books, posting: Uuid, context: Context) -> Result<Posted, PostError> {
    books.intake.post(made(books, posting, context).await?).await
}

async fn linked(books: &Books, posting: Uuid) -> Option<Links> {
    let mut tx = books.db.tenant_tx(&[books.tenant_id]).await.unwrap();
    links(&mut tx, books.tenant_id, posting).await.unwrap()
}

#[tokio::test]
async fn a_reversed_posting_has_never_been_at_any_time_and_block() {
    let books = Books::new().await;
    let happened = OffsetDateTime::now_utc() - Duration::days(3);
    let weth = |account_id, direction| Line {
        account_id,
        direction,
        amount: Amount::from(3_u64),
        currency: WETH.into(),
        entry_type: "REWARD".into(),
    };
    let lines = vec![
        line(books.cash[0], Direction::Debit, 10),
        weth(books.weth[0], Direction::Debit),
        line(books.cash[1], Direction::Credit, 4),
        line(books.cash[1], Direction::Credit, 6),
        weth(books.weth[1], Direction::Credit),
    ];
    let hash = B256::repeat_byte(7);
    let user = Uuid::new_v4();
    let mut draft = Draft {
        effective_at: Some(happened),
        on_chain: Some(OnChain { chain_id: 1, tx_hash: Some(hash), block: Some((9, hash)) }),
        internal_tx_id: Some(Uuid::new_v4()),
        ..books.draft(lines)
    };
    draft.context.user_id = Some(user);
    let wrong = books.book(draft).await;
    let known_at = OffsetDateTime::now_utc();
    let later = Draft { effective_at: Some(happened), ..books.transfer(books.cash[0], books.cash[1], 1) };
    books.book(later).await;
    let reversing = reverse(&books, wrong, somebody(&books)).await.unwrap().posting_id;

    let of = |accounts: [Uuid; 2], as_of| {
        let books = &books;
        async move {
            let mut tx = books.db.tenant_tx(&[books.tenant_id]).await.unwrap();
            let mut held = Vec::new();
            for account in accounts {
                held.push(balance(&mut tx, account, as_of).await.unwrap().unwrap());
            }
            held
        }
    };
    let at = |at| AsOf { effective_at: Some(at), ..AsOf::default() };
    let block = |number| AsOf { block_number: Some(number), ..AsOf::default() };
    let nothing = [0, 0].map(Balance::from);
    for as_of in [at(happened), at(happened - Duration::SECOND), block(8), block(9), AsOf::default()] {
        assert_eq!(of(books.weth, as_of).await, nothing, "{as_of:?}");
    }
    let at_then = AsOf { recorded_at: Some(known_at), ..at(happened) };
    assert_eq!(of(books.weth, at_then).await, [3, -3].map(Balance::from), "what was on record stays so");
    assert_eq!(of([books.cash[0], books.cash[1]], at(happened)).await, [1, -1].map(Balance::from));
    let reversing_user: Option<Uuid> =
        sqlx::query_scalar("SELECT user_id FROM ledger_postings WHERE posting_id = $1")
            .bind(reversing)
            .fetch_one(books.db.worker())
            .await
            .unwrap();
    assert_eq!(reversing_user, Some(user), "it is the user's whose posting it was");

    let back = Links {
        corrects: Some((Correction::Reverses(wrong), "booked twice".into())),
        reversed_by: None,
        compensated_by: Vec::new(),
    };
    assert_eq!(linked(&books, reversing).await, Some(back));
    assert_eq!(linked(&books, wrong).await.unwrap().reversed_by, Some(reversing));
    books.agree().await;
}

#[tokio::test]
async fn the_same_request_gets_the_same_reversal_and_another_is_told_of_it() {
    let books = Books::new().await;
    let wrong = books.book(books.transfer(books.cash[0], books.cash[1], 5)).await;
    let context = somebody(&books);
    let first = reverse(&books, wrong, context.clone()).await.unwrap();
    let again = reverse(&books, wrong, context).await.unwrap();
    assert_eq!((again.posting_id, again.is_replay), (first.posting_id, true));
    match reverse(&books, wrong, somebody(&books)).await {
        Err(PostError::Refused(Refusal::Reversed { posting_id, by })) => {
            assert_eq!((posting_id, by), (wrong, first.posting_id));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(books.holds(books.cash[0]).await, ("0".into(), 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_who_reverse_one_posting_at_once_one_does_and_the_others_are_told_which() {
    let books = Books::new().await;
    let intakes = [books.intake.clone(), Intake::start(books.db.clone()), Intake::start(books.db.clone())];
    for _ in 0..12 {
        let wrong = books.book(books.transfer(books.cash[0], books.cash[1], 5)).await;
        let mut reversals = Vec::new();
        for _ in 0..9 {
            reversals.push(made(&books, wrong, somebody(&books)).await.unwrap());
        }
        let posts = reversals.into_iter().enumerate().map(|(n, posting)| intakes[n % 3].post(posting));
        let (booked, told): (Vec<_>, Vec<_>) = join_all(posts).await.into_iter().partition(Result::is_ok);
        assert_eq!(booked.len(), 1);
        let by = booked[0].as_ref().unwrap().posting_id;
        for told in told {
            match told {
                Err(PostError::Refused(Refusal::Reversed { posting_id, by: first })) => {
                    assert_eq!((posting_id, first), (wrong, by));
                }
                other => panic!("{other:?}"),
            }
        }
    }
    books.agree().await;
}

#[tokio::test]
async fn what_is_not_there_or_is_a_reversal_is_not_reversed() {
    let books = Books::new().await;
    let other = Books::of_another(&books.db).await;
    let theirs = other.book(other.transfer(other.cash[0], other.cash[1], 5)).await;
    let wrong = books.book(books.transfer(books.cash[0], books.cash[1], 5)).await;
    let reversing = reverse(&books, wrong, somebody(&books)).await.unwrap().posting_id;
    for posting_id in [theirs, Uuid::new_v4()] {
        match reverse(&books, posting_id, somebody(&books)).await {
            Err(PostError::Refused(refusal)) => assert_eq!(refusal, Refusal::UnknownPosting { posting_id }),
            other => panic!("{other:?}"),
        }
    }
    match reverse(&books, reversing, somebody(&books)).await {
        Err(PostError::Refused(refusal)) => {
            assert_eq!(refusal, Refusal::IsReversal { posting_id: reversing });
        }
        other => panic!("{other:?}"),
    }
    let mut tx = books.db.tenant_tx(&[books.tenant_id]).await.unwrap();
    let without_reason = reversal(&mut tx, wrong, "", somebody(&books), Origin::Request).await;
    assert!(matches!(without_reason, Err(PostError::Invalid(Invalid::Text { .. }))), "{without_reason:?}");
    let nobodys = Context { tenant_id: None, ..somebody(&books) };
    let nobodys = reversal(&mut tx, wrong, "wrong", nobodys, Origin::Request).await;
    assert!(matches!(nobodys, Err(PostError::Invalid(Invalid::NoTenant))), "{nobodys:?}");
    // Nor is one written by hand.
    let by_hand = Draft {
        correction: Some((Correction::Reverses(wrong), "wrong".into())),
        ..books.transfer(books.cash[1], books.cash[0], 5)
    };
    assert_eq!(Posting::new(by_hand).unwrap_err(), Invalid::Reversal { posting_id: wrong });
}

#[tokio::test]
async fn limits_and_closed_accounts_bind_a_reversal_that_is_asked_for_and_not_the_chains() {
    let books = Books::new().await;
    let deposit = books.book(books.transfer(books.cash[0], books.user, 100)).await;
    books.book(books.transfer(books.user, books.cash[0], 60)).await;
    match reverse(&books, deposit, somebody(&books)).await {
        Err(PostError::Refused(Refusal::Limit { account_id, balance, .. })) => {
            assert_eq!((account_id, balance), (books.user, Balance::from(-60)));
        }
        other => panic!("{other:?}"),
    }
    let closed = books.book(books.transfer(books.cash[2], books.cash[3], 1)).await;
    let mut tx = books.db.tenant_tx(&[books.tenant_id]).await.unwrap();
    sqlx::query("UPDATE accounts SET closed_at = now() WHERE account_id = $1")
        .bind(books.cash[3])
        .execute(&mut *tx)
        .await
        .unwrap();
    tx.commit().await.unwrap();
    match reverse(&books, closed, somebody(&books)).await {
        Err(PostError::Refused(refusal)) => {
            assert_eq!(refusal, Refusal::Closed { account_id: books.cash[3] });
        }
        other => panic!("{other:?}"),
    }
    for posting in [deposit, closed] {
        let mut tx = books.db.tenant_tx(&[books.tenant_id]).await.unwrap();
        let chains = reversal(&mut tx, posting, "its block is gone", somebody(&books), Origin::Chain).await;
        books.intake.post(chains.unwrap()).await.unwrap();
    }
    assert_eq!(books.holds(books.user).await, ("60".into(), 3));
    books.agree().await;
}

#[tokio::test]
async fn what_is_reversed_of_a_closed_period_counts_in_the_open_one_with_its_own_time() {
    let books = Books::new().await;
    let now = OffsetDateTime::now_utc();
    let happened = now - Duration::days(3);
    let draft = Draft { effective_at: Some(happened), ..books.transfer(books.cash[0], books.cash[1], 5) };
    let wrong = books.book(draft).await;
    let closing = books.close(now - Duration::days(1)).await;
    let reversing = reverse(&books, wrong, somebody(&books)).await.unwrap().posting_id;
    let times = "SELECT effective_at, booked_at FROM ledger_postings WHERE posting_id = $1";
    let mut found = Vec::new();
    for posting in [wrong, reversing] {
        let times: (OffsetDateTime, OffsetDateTime) =
            sqlx::query_as(times).bind(posting).fetch_one(books.db.worker()).await.unwrap();
        found.push(times);
    }
    assert_eq!((found[0].0, found[0].0), (found[0].1, found[1].0));
    assert_eq!(found[1].1, closing.closed_through + Duration::MICROSECOND);
}

#[tokio::test]
async fn what_makes_a_posting_good_says_so_and_is_found_from_it() {
    let books = Books::new().await;
    let wrong = books.book(books.transfer(books.cash[0], books.cash[1], 5)).await;
    let makes_good = |posting, amount| Draft {
        correction: Some((Correction::Compensates(posting), "one too many".into())),
        ..books.transfer(books.cash[1], books.cash[0], amount)
    };
    let first = books.book(makes_good(wrong, 1)).await;
    let second = books.book(makes_good(wrong, 2)).await;
    let reversing = reverse(&books, first, somebody(&books)).await.unwrap().posting_id;
    let found = linked(&books, wrong).await.unwrap();
    assert_eq!((found.compensated_by, found.corrects), (vec![first, second], None));
    let found = linked(&books, first).await.unwrap();
    assert_eq!(found.corrects, Some((Correction::Compensates(wrong), "one too many".into())));
    assert_eq!(found.reversed_by, Some(reversing));
    assert_eq!(linked(&books, Uuid::new_v4()).await, None);

    for (posting_id, expected) in [
        (reversing, Refusal::IsReversal { posting_id: reversing }),
        (books.tenant_id, Refusal::UnknownPosting { posting_id: books.tenant_id }),
    ] {
        match books.intake.post(Posting::new(makes_good(posting_id, 1)).unwrap()).await {
            Err(PostError::Refused(refusal)) => assert_eq!(refusal, expected),
            other => panic!("{other:?}"),
        }
    }
    books.agree().await;
}

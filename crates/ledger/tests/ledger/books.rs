//! What is asked for is booked once, or refused, and says why.

use plimsoll_ledger::{Direction, Draft, Line, OnChain, Origin, PostError, Posting, Refusal};
use plimsoll_types::{Amount, Balance};
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use crate::support::{Books, USDC, WETH, line};

async fn refusal(books: &Books, draft: Draft) -> Refusal {
    match books.intake.post(Posting::new(draft).unwrap()).await {
        Err(PostError::Refused(refusal)) => refusal,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_posting_moves_its_accounts_and_is_there_with_its_lines() {
    let books = Books::new().await;
    let [from, to] = [books.cash[0], books.cash[1]];
    let posting = books.book(books.transfer(to, from, 70)).await;
    books.book(books.transfer(to, from, 5)).await;
    assert_eq!(books.holds(to).await, ("75".into(), 2));
    assert_eq!(books.holds(from).await, ("-75".into(), 2));
    let lines: Vec<(i16, String, String, i64, String)> = sqlx::query_as(
        "SELECT sequence, debit::text, credit::text, account_version, balance_after::text FROM ledger_entries WHERE posting_id = $1 ORDER BY sequence",
    )
    .bind(posting)
    .fetch_all(books.db.worker())
    .await
    .unwrap();
    let expected = [(1, "70", "0", 1, "70"), (2, "0", "70", 1, "-70")];
    let expected: Vec<_> =
        expected.map(|(n, d, c, v, b)| (n, d.to_owned(), c.to_owned(), v, b.to_owned())).into();
    assert_eq!(lines, expected);
    books.agree().await;
}

#[tokio::test]
async fn a_posting_in_several_currencies_and_twice_on_one_account_moves_each() {
    let books = Books::new().await;
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
    books.book(books.draft(lines)).await;
    assert_eq!(books.holds(books.cash[1]).await, ("-10".into(), 2));
    assert_eq!(books.holds(books.weth[0]).await, ("3".into(), 1));
    books.agree().await;
}

#[tokio::test]
async fn the_same_request_is_the_same_posting_and_another_is_a_conflict_on_record() {
    let books = Books::new().await;
    let asked = books.transfer(books.cash[0], books.cash[1], 7);
    let post = |draft: Draft| async { books.intake.post(Posting::new(draft).unwrap()).await };
    let first = post(asked.clone()).await.unwrap();
    let again = post(asked.clone()).await.unwrap();
    assert_eq!((again.posting_id, again.is_replay, first.is_replay), (first.posting_id, true, false));
    // Who asks, and in which story, is not what is asked for.
    let mut in_another_story = asked.clone();
    in_another_story.context.correlation_id = "another".into();
    assert_eq!(post(in_another_story).await.unwrap().posting_id, first.posting_id);

    let mut other = asked.clone();
    other.lines[0].amount = Amount::from(8_u64);
    other.lines[1].amount = Amount::from(8_u64);
    match post(other).await {
        Err(PostError::Conflict { posting_id, request_id, .. }) => {
            assert_eq!((posting_id, request_id), (first.posting_id, asked.context.request_id));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(books.holds(books.cash[0]).await, ("7".into(), 1));
    let conflicts: Vec<(String, Uuid)> = sqlx::query_as("SELECT status, posting_id FROM bf_events")
        .fetch_all(books.db.worker())
        .await
        .unwrap();
    assert_eq!(conflicts, [("conflict".to_owned(), first.posting_id)]);

    // Another operation, or another user, is another key.
    let mut elsewhere = asked.clone();
    elsewhere.operation_type = "fee".into();
    let mut users = asked.clone();
    users.context.user_id = Some(Uuid::new_v4());
    for draft in [elsewhere, users] {
        assert!(!post(draft).await.unwrap().is_replay);
    }
    assert_eq!(books.holds(books.cash[0]).await, ("21".into(), 3));
}

#[tokio::test]
async fn what_the_accounts_do_not_allow_is_refused_and_leaves_them_as_they_were() {
    let books = Books::new().await;
    let other = Books::of_another(&books.db).await;
    let (cash, user) = (books.cash[0], books.user);
    books.book(books.transfer(cash, user, 100)).await;

    let over = books.transfer(user, cash, 101);
    let limit =
        Refusal::Limit { account_id: user, balance: Balance::from(-1), min: "0".into(), max: "-".into() };
    assert_eq!(refusal(&books, over.clone()).await, limit);
    let theirs = books.transfer(cash, other.cash[0], 1);
    assert_eq!(refusal(&books, theirs).await, Refusal::UnknownAccount { account_id: other.cash[0] });
    let mut wrong = books.transfer(cash, books.weth[0], 1);
    let refused = refusal(&books, wrong.clone()).await;
    assert_eq!(
        refused,
        Refusal::Currency { account_id: books.weth[0], currency: WETH.into(), given: USDC.into() }
    );
    wrong = Draft { domain: "reward".into(), ..books.transfer(cash, user, 1) };
    assert_eq!(refusal(&books, wrong).await, Refusal::Domain { account_id: cash, domain: "cash".into() });
    let all = |direction| Line {
        amount: Amount((alloy_primitives::U256::ONE << 255) - alloy_primitives::U256::ONE),
        ..line(cash, direction, 1)
    };
    let lines = vec![all(Direction::Debit), Line { account_id: books.cash[1], ..all(Direction::Credit) }];
    assert_eq!(refusal(&books, books.draft(lines)).await, Refusal::Overflow { account_id: cash });

    sqlx::query("UPDATE accounts SET closed_at = now() WHERE account_id = $1")
        .bind(books.cash[1])
        .execute(&mut *books.db.tenant_tx(&[books.tenant_id]).await.unwrap())
        .await
        .unwrap();
    assert_eq!((books.holds(cash).await, books.holds(user).await), (("100".into(), 1), ("-100".into(), 1)));

    // What the chain did is booked all the same.
    let draft = Draft { origin: Origin::Chain, ..over };
    books.book(draft).await;
    assert_eq!(books.holds(user).await, ("1".into(), 2));
    // And back in steps, though it is beyond its limit after the first.
    books.book(books.transfer(books.cash[1], user, 1)).await;
    books.agree().await;
}

#[tokio::test]
async fn a_closed_account_takes_no_request() {
    let books = Books::new().await;
    let mut tx = books.db.tenant_tx(&[books.tenant_id]).await.unwrap();
    sqlx::query("UPDATE accounts SET closed_at = now() WHERE account_id = $1")
        .bind(books.cash[1])
        .execute(&mut *tx)
        .await
        .unwrap();
    tx.commit().await.unwrap();
    let draft = books.transfer(books.cash[0], books.cash[1], 1);
    assert_eq!(refusal(&books, draft.clone()).await, Refusal::Closed { account_id: books.cash[1] });
    books.book(Draft { origin: Origin::Chain, ..draft }).await;
}

#[tokio::test]
async fn a_tenant_without_books_is_told_so() {
    let books = Books::new().await;
    let mut draft = books.transfer(books.cash[0], books.cash[1], 1);
    let nobody = Uuid::new_v4();
    draft.context.tenant_id = Some(nobody);
    match books.intake.post(Posting::new(draft).unwrap()).await {
        Err(PostError::NoBooks { tenant_id }) => assert_eq!(tenant_id, nobody),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn what_happened_in_a_closed_period_is_booked_after_it_with_its_own_time() {
    let books = Books::new().await;
    let now = OffsetDateTime::now_utc();
    let closed = now - Duration::days(1);
    books.close(closed).await;
    let happened = now - Duration::days(3);
    let draft = Draft { effective_at: Some(happened), ..books.transfer(books.cash[0], books.cash[1], 1) };
    let posting = books.book(draft).await;
    let (effective_at, booked_at): (OffsetDateTime, OffsetDateTime) =
        sqlx::query_as("SELECT effective_at, booked_at FROM ledger_postings WHERE posting_id = $1")
            .bind(posting)
            .fetch_one(books.db.worker())
            .await
            .unwrap();
    assert!((effective_at - happened).abs() < Duration::MILLISECOND && booked_at > closed);
    // In the open period the two are the same.
    let draft = Draft { effective_at: Some(now), ..books.transfer(books.cash[0], books.cash[1], 1) };
    let posting = books.book(draft).await;
    let is_same: bool =
        sqlx::query_scalar("SELECT effective_at = booked_at FROM ledger_postings WHERE posting_id = $1")
            .bind(posting)
            .fetch_one(books.db.worker())
            .await
            .unwrap();
    assert!(is_same);
}

#[tokio::test]
async fn balances_carry_the_highest_block_that_a_line_of_theirs_is_of() {
    let books = Books::new().await;
    let at = |number: u64| OnChain {
        chain_id: 42_161,
        tx_hash: None,
        block: Some((number, alloy_primitives::B256::repeat_byte(u8::try_from(number).unwrap()))),
    };
    for block in [Some(7), Some(5), None] {
        let on_chain = block.map(at);
        let draft =
            Draft { on_chain, origin: Origin::Chain, ..books.transfer(books.cash[0], books.cash[1], 1) };
        books.book(draft).await;
    }
    let stands: (i64, Vec<u8>) = sqlx::query_as(
        "SELECT last_updated_block, last_updated_block_hash FROM asset_balances WHERE account_id = $1",
    )
    .bind(books.cash[0])
    .fetch_one(books.db.worker())
    .await
    .unwrap();
    assert_eq!(stands, (7, vec![7; 32]));
    let lines: Vec<(Option<i64>, Option<i64>)> = sqlx::query_as(
        "SELECT chain_block_number, latest_block FROM ledger_entries WHERE account_id = $1 ORDER BY account_version",
    )
    .bind(books.cash[0])
    .fetch_all(books.db.worker())
    .await
    .unwrap();
    assert_eq!(lines, [(Some(7), Some(7)), (Some(5), Some(7)), (None, Some(7))]);
}

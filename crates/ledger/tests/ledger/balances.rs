//! What an account held, at any time and block, is the sum of the lines that count.

use alloy_primitives::B256;
use futures::future::join_all;
use plimsoll_ledger::{AsOf, Draft, OnChain, Origin, Posting, balance};
use plimsoll_types::Balance;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use crate::support::Books;

async fn held(books: &Books, account: Uuid, as_of: AsOf) -> Option<String> {
    let mut tx = books.db.tenant_tx(&[books.tenant_id]).await.unwrap();
    balance(&mut tx, account, as_of).await.unwrap().map(|held: Balance| held.to_string())
}

/// The same, by looking at every line.
async fn summed(books: &Books, account: Uuid, as_of: AsOf) -> String {
    let lines: Vec<(String, OffsetDateTime, OffsetDateTime, Option<i64>)> = sqlx::query_as(
        "SELECT (debit - credit)::text, effective_at, recorded_at, chain_block_number FROM ledger_entries WHERE account_id = $1 ORDER BY account_version",
    )
    .bind(account)
    .fetch_all(books.db.worker())
    .await
    .unwrap();
    let mut highest = None;
    let mut sum = 0_i64;
    for (change, effective_at, recorded_at, block) in lines {
        highest = highest.max(block);
        let counts = as_of.effective_at.is_none_or(|at| effective_at <= at)
            && as_of.recorded_at.is_none_or(|at| recorded_at <= at)
            && as_of
                .block_number
                .is_none_or(|at| block.or(highest).is_none_or(|block| block <= i64::try_from(at).unwrap()));
        sum += if counts { change.parse::<i64>().unwrap() } else { 0 };
    }
    sum.to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn at_every_time_and_block_it_is_what_the_lines_sum_to() {
    let books = Books::new().await;
    let mut random = StdRng::seed_from_u64(7);
    let start = OffsetDateTime::from_unix_timestamp(1_900_000_000).unwrap();
    let [account, other] = [books.cash[0], books.cash[1]];
    let mut recorded = Vec::new();
    for n in 0..120_u64 {
        let back = if random.random_bool(0.2) { random.random_range(0..40) } else { 0 };
        let effective_at = Some(start + Duration::seconds(i64::try_from(n).unwrap() - back));
        let block =
            random.random_bool(0.6).then(|| (n / 3 + random.random_range(0..4), B256::repeat_byte(1)));
        let on_chain = block.map(|block| OnChain { chain_id: 1, tx_hash: None, block: Some(block) });
        let amount = random.random_range(1..50);
        let draft = if random.random_bool(0.5) {
            books.transfer(account, other, amount)
        } else {
            books.transfer(other, account, amount)
        };
        let posting = books.book(Draft { effective_at, on_chain, origin: Origin::Chain, ..draft }).await;
        let at: OffsetDateTime =
            sqlx::query_scalar("SELECT recorded_at FROM ledger_postings WHERE posting_id = $1")
                .bind(posting)
                .fetch_one(books.db.worker())
                .await
                .unwrap();
        recorded.push(at);
    }
    let late = books.count("SELECT count(*) FROM ledger_entries WHERE effective_at < latest_effective_at OR chain_block_number < latest_block").await;
    assert!(late > 20, "{late} lines are late: too few to tell anything");
    for _ in 0..200 {
        let as_of = AsOf {
            effective_at: random
                .random_bool(0.6)
                .then(|| start + Duration::seconds(random.random_range(-45..125))),
            recorded_at: random.random_bool(0.4).then(|| recorded[random.random_range(0..120)]),
            block_number: random.random_bool(0.5).then(|| random.random_range(0..45)),
        };
        assert_eq!(
            held(&books, account, as_of).await,
            Some(summed(&books, account, as_of).await),
            "{as_of:?}"
        );
    }
    assert_eq!(held(&books, account, AsOf::default()).await, Some(books.holds(account).await.0));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_stands_at_the_highest_block_of_its_lines_whatever_shares_their_statement() {
    let books = Books::new().await;
    let post = |block: u64| {
        let block = Some((block, B256::repeat_byte(u8::try_from(block).unwrap())));
        let on_chain = Some(OnChain { chain_id: 1, tx_hash: None, block });
        let draft = Draft { on_chain, ..books.transfer(books.cash[0], books.cash[1], 1) };
        books.intake.post(Posting::new(draft).unwrap())
    };
    for posted in join_all((1..=60).map(post)).await {
        posted.unwrap();
    }
    let shared = "SELECT max(lines) FROM (SELECT count(*) AS lines FROM ledger_postings GROUP BY xmin) t";
    assert!(books.count(shared).await > 1, "some share a statement");
    post(7).await.unwrap();
    let stands: (i64, Vec<u8>) = sqlx::query_as(
        "SELECT last_updated_block, last_updated_block_hash FROM asset_balances WHERE account_id = $1",
    )
    .bind(books.cash[0])
    .fetch_one(books.db.worker())
    .await
    .unwrap();
    assert_eq!(stands, (60, vec![60; 32]));
}

#[tokio::test]
async fn before_its_first_line_an_account_held_nothing_and_one_of_others_is_none() {
    let books = Books::new().await;
    let other = Books::of_another(&books.db).await;
    books.book(books.transfer(books.cash[0], books.cash[1], 5)).await;
    let before = AsOf { effective_at: Some(OffsetDateTime::UNIX_EPOCH), ..AsOf::default() };
    assert_eq!(held(&books, books.cash[0], before).await.as_deref(), Some("0"));
    assert_eq!(held(&books, books.cash[2], AsOf::default()).await.as_deref(), Some("0"));
    assert_eq!(held(&books, other.cash[0], AsOf::default()).await, None);
}

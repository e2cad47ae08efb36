//! Reports over all accounts are what the lines say, and sum to nothing.

use std::collections::BTreeMap;

use alloy_primitives::aliases::I512;
use plimsoll_ledger::report::{
    After, BalanceSheet, Moment, Scope, balance_sheets, income, time_of_block, totals, trial_balance,
};
use plimsoll_ledger::{AccountClass, Draft, open};
use plimsoll_store::Tx;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use time::{Duration, OffsetDateTime};

use crate::fold::Fold;
use crate::support::{Books, USDC, WETH, account};

fn scope(books: &Books) -> Scope {
    Scope { tenant_id: books.tenant_id, domain: None, currency: None }
}

async fn snapshot(books: &Books) -> Tx {
    books.db.tenant_snapshot(&[books.tenant_id]).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn at_every_moment_each_account_is_what_its_lines_sum_to_and_all_of_them_are_nothing() {
    let books = Books::new().await;
    let mut random = StdRng::seed_from_u64(5);
    let start = OffsetDateTime::now_utc() - Duration::days(10);
    let accounts: Vec<_> = books.cash.iter().copied().chain([books.user]).collect();
    let mut times = vec![start];
    for n in 0..120_i64 {
        let back = if random.random_bool(0.25) { random.random_range(0..60) } else { 0 };
        let effective_at = Some(start + Duration::minutes(n - back));
        let [debit, credit] = [0; 2].map(|_| accounts[random.random_range(0..accounts.len())]);
        let draft = Draft {
            effective_at,
            origin: plimsoll_ledger::Origin::Chain,
            ..books.transfer(debit, credit, random.random_range(1..50))
        };
        books.book(draft).await;
        times.push(OffsetDateTime::now_utc());
        if n % 31 == 30 {
            let closing = books.close(start + Duration::minutes(n - 20)).await;
            times.extend([closing.closed_through, closing.closed_through + Duration::MICROSECOND]);
        }
    }
    times.extend((0..40).map(|_| start + Duration::minutes(random.random_range(-70..140))));
    let fold = Fold::of(&books).await;
    let mut tx = snapshot(&books).await;
    for _ in 0..150 {
        let mut at = || random.random_bool(0.5).then(|| times[random.random_range(0..times.len())]);
        let moment = Moment { effective_at: at(), booked_at: at(), recorded_at: at() };
        // In pages of three.
        let mut after: Option<After> = None;
        let mut seen = 0;
        loop {
            let page = trial_balance(&mut tx, &scope(&books), moment, after.as_ref(), 3).await.unwrap();
            for it in &page {
                let expected = fold.balance(it.account_id, moment);
                assert_eq!(it.balance.to_string(), expected.to_string(), "{} at {moment:?}", it.name);
            }
            seen += page.len();
            let Some(last) = page.last() else { break };
            let (domain, name, currency) = (last.domain.clone(), last.name.clone(), last.currency.clone());
            after = Some(After { domain, name, currency });
        }
        assert_eq!(seen, 7, "accounts at {moment:?}");
        let found = totals(&mut tx, &scope(&books), moment).await.unwrap();
        let mut sums: BTreeMap<_, (I512, u64)> = BTreeMap::new();
        for total in &found {
            let sum = sums.entry((&total.domain, &total.currency)).or_default();
            sum.0 += I512::from_raw(total.debits) - I512::from_raw(total.credits);
            sum.1 += total.accounts;
        }
        assert!(sums.values().all(|(sum, _)| sum.is_zero()), "{moment:?}: {found:?}");
        assert_eq!(sums.values().map(|it| it.1).sum::<u64>(), 7);
        assert!(balance_sheets(&found).iter().all(|sheet| sheet.difference().is_zero()));
    }
}

#[tokio::test]
async fn a_balance_sheet_has_what_is_had_against_what_it_is_owed_to_or_earned_by() {
    let books = Books::new().await;
    let fees = account("fees", AccountClass::Income, USDC);
    let gas = account("gas spent", AccountClass::Expense, USDC);
    let capital = account("capital", AccountClass::Equity, USDC);
    open(&books.db, books.tenant_id, &[], &[fees.clone(), gas.clone(), capital.clone()]).await.unwrap();
    let now = OffsetDateTime::now_utc();
    let book = |days, debit, credit, amount| {
        books.book(Draft {
            effective_at: Some(now - Duration::days(days)),
            ..books.transfer(debit, credit, amount)
        })
    };
    book(9, books.cash[0], capital.account_id, 1_000).await;
    book(8, books.cash[0], books.user, 500).await;
    book(5, books.cash[1], fees.account_id, 70).await;
    book(2, gas.account_id, books.cash[0], 20).await;
    let sum = |value: i64| I512::try_from(value).unwrap();
    let sheet = |assets, liabilities, equity, result| BalanceSheet {
        domain: "cash".into(),
        currency: USDC.into(),
        assets: sum(assets),
        liabilities: sum(liabilities),
        equity: sum(equity),
        result: sum(result),
    };
    let in_usdc = Scope { currency: Some(USDC.into()), ..scope(&books) };
    let at = |days| Moment { effective_at: Some(now - Duration::days(days)), ..Moment::default() };
    let mut tx = snapshot(&books).await;
    for (days, expected) in [
        (10, sheet(0, 0, 0, 0)),
        (8, sheet(1_500, 500, 1_000, 0)),
        (5, sheet(1_570, 500, 1_000, 70)),
        (0, sheet(1_550, 500, 1_000, 50)),
    ] {
        let found = balance_sheets(&totals(&mut tx, &in_usdc, at(days)).await.unwrap());
        assert_eq!(found, [expected], "{days} days ago");
    }
    let both = balance_sheets(&totals(&mut tx, &scope(&books), Moment::default()).await.unwrap());
    assert_eq!(both.iter().map(|it| it.currency.as_str()).collect::<Vec<_>>(), [USDC, WETH]);

    let came = income(&mut tx, &in_usdc, at(5), at(0), None, 10).await.unwrap();
    let came: Vec<_> = came.iter().map(|it| (it.name.as_str(), it.balance.to_string())).collect();
    assert_eq!(came, [("fees", "0".to_owned()), ("gas spent", "20".to_owned())]);
    let came = income(&mut tx, &in_usdc, at(10), at(0), None, 1).await.unwrap();
    assert_eq!((came.len(), came[0].balance.to_string().as_str()), (1, "-70"));
}

#[tokio::test]
async fn a_report_has_the_tenants_own_accounts_and_those_of_the_books_and_currency_asked_for() {
    let books = Books::new().await;
    let other = Books::of_another(&books.db).await;
    let mut tx = snapshot(&books).await;
    let all = |tenant_id, domain: Option<&str>, currency: Option<&str>| Scope {
        tenant_id,
        domain: domain.map(Into::into),
        currency: currency.map(Into::into),
    };
    for (scope, expected) in [
        (all(books.tenant_id, None, None), 7),
        (all(books.tenant_id, Some("cash"), Some(WETH)), 2),
        (all(books.tenant_id, Some("reward"), None), 0),
        (all(other.tenant_id, None, None), 0),
    ] {
        let page = trial_balance(&mut tx, &scope, Moment::default(), None, 100).await.unwrap();
        assert_eq!(page.len(), expected, "{scope:?}");
        let found = totals(&mut tx, &scope, Moment::default()).await.unwrap();
        assert_eq!(found.iter().map(|it| it.accounts).sum::<u64>(), expected as u64, "{scope:?}");
    }
}

#[tokio::test]
async fn the_ledgers_of_the_platform_and_of_rewards_are_their_domains_lines_for_their_tenant() {
    let books = Books::new().await;
    let mut accounts = Vec::new();
    for domain in ["platform", "reward"] {
        for name in ["one", "other"] {
            let of = account(name, AccountClass::Asset, USDC);
            accounts.push(plimsoll_ledger::NewAccount { domain: domain.into(), ..of });
        }
    }
    open(&books.db, books.tenant_id, &[], &accounts).await.unwrap();
    books.book(books.transfer(books.cash[0], books.cash[1], 1)).await;
    for pair in accounts.chunks(2) {
        let draft = books.transfer(pair[0].account_id, pair[1].account_id, 2);
        books.book(Draft { domain: pair[0].domain.clone(), ..draft }).await;
    }
    let other = Books::of_another(&books.db).await;
    for (view, domain) in [("platform_ledger", "platform"), ("reward_ledger", "reward")] {
        for (tenant, expected) in [(&books, 2), (&other, 0)] {
            let mut tx = tenant.db.tenant_tx(&[tenant.tenant_id]).await.unwrap();
            let lines: Vec<(String, i16)> =
                sqlx::query_as(sqlx::AssertSqlSafe(format!("SELECT domain, sequence FROM {view}")))
                    .fetch_all(&mut *tx)
                    .await
                    .unwrap();
            assert_eq!(lines.len(), expected, "{view}");
            assert!(lines.iter().all(|line| line.0 == domain), "{view}");
        }
    }
}

#[tokio::test]
async fn a_block_that_nobody_has_seen_has_no_time() {
    let books = Books::new().await;
    let mut tx = snapshot(&books).await;
    assert_eq!(time_of_block(&mut tx, 1, 7).await.unwrap(), None);
}

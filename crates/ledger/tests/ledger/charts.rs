//! Books begin with the accounts of a chart, and with what each held.

use alloy_primitives::B256;
use plimsoll_ledger::chart::{
    ChartError, LENDING, OPENING_BALANCES, account_named, open_chart, open_user, opening_balance,
};
use plimsoll_ledger::{
    AccountClass, AccountType, AsOf, Currency, OnChain, PostError, Posted, Refusal, balance,
};
use plimsoll_types::{Balance, Context};
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use crate::support::{Books, USDC, WETH};

fn currency(name: &str) -> Currency {
    Currency { currency: name.into(), chain_id: None, token_address: None, decimals: 6, name: name.into() }
}

async fn named(books: &Books, name: &str, currency: &str) -> Uuid {
    let mut tx = books.db.tenant_tx(&[books.tenant_id]).await.unwrap();
    account_named(&mut tx, books.tenant_id, "cash", name, currency).await.unwrap().unwrap()
}

async fn began_with(
    books: &Books,
    account: Uuid,
    held: i64,
    at: OffsetDateTime,
    context: Context,
) -> Result<Posted, PostError> {
    let mut tx = books.db.tenant_tx(&[books.tenant_id]).await.unwrap();
    let block = OnChain { chain_id: 1, tx_hash: None, block: Some((7, B256::repeat_byte(7))) };
    let posting = opening_balance(&mut tx, account, Balance::from(held), at, Some(block), context).await?;
    drop(tx);
    books.intake.post(posting).await
}

#[tokio::test]
async fn opening_a_chart_again_opens_what_is_missing_and_nothing_else() {
    let books = Books::new().await;
    let slots = LENDING.accounts.len() as u64;
    let open = |currencies: Vec<Currency>| {
        let books = &books;
        async move { open_chart(&books.db, books.tenant_id, &LENDING, &currencies).await.unwrap() }
    };
    assert_eq!(open(vec![currency(USDC)]).await, slots);
    let fees = named(&books, "fees", USDC).await;
    assert_eq!(open(vec![currency(USDC)]).await, 0);
    assert_eq!(open(vec![currency(USDC), currency(WETH)]).await, slots);
    assert_eq!(named(&books, "fees", USDC).await, fees);
    assert_eq!(
        books.count("SELECT count(*) FROM ledger_charts WHERE chart = 'lending' AND version = 1").await,
        1
    );

    let user = Uuid::new_v4();
    for expected in [LENDING.users.len() as u64, 0] {
        let opened = open_user(&books.db, books.tenant_id, &LENDING, user, &[USDC]).await.unwrap();
        assert_eq!(opened, expected);
    }
    let deposits = named(&books, &format!("deposits {user}"), USDC).await;
    let cash = named(&books, "strategy", USDC).await;
    match books.intake.post(plimsoll_ledger::Posting::new(books.transfer(deposits, cash, 1)).unwrap()).await {
        Err(PostError::Refused(Refusal::Limit { account_id, .. })) => assert_eq!(account_id, deposits),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_chart_does_not_take_another_account_for_its_own() {
    let books = Books::new().await;
    let suspense = crate::support::account("suspense", AccountClass::Liability, USDC);
    plimsoll_ledger::open(&books.db, books.tenant_id, &[], &[suspense]).await.unwrap();
    match open_chart(&books.db, books.tenant_id, &LENDING, &[currency(USDC)]).await {
        Err(ChartError::Differs { name, domain, account_type, class, .. }) => {
            assert_eq!((name.as_str(), domain.as_str()), ("suspense", "cash"));
            assert_eq!((account_type, class), (AccountType::Suspense, AccountClass::Asset));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(books.count("SELECT count(*) FROM accounts WHERE name = 'fees'").await, 0);
}

#[tokio::test]
async fn every_domain_of_the_chart_has_its_opening_balances_and_its_suspense_and_no_name_twice() {
    let all: Vec<_> = LENDING.accounts.iter().chain(LENDING.users).collect();
    for slot in &all {
        let has = |name| all.iter().filter(|it| it.domain == slot.domain && it.name == name).count();
        assert_eq!((has(OPENING_BALANCES), has("suspense"), has(slot.name)), (1, 1, 1), "{slot:?}");
    }
}

#[tokio::test]
async fn an_account_begins_with_a_balance_once() {
    let books = Books::new().await;
    open_chart(&books.db, books.tenant_id, &LENDING, &[currency(USDC)]).await.unwrap();
    let context = || books.draft(Vec::new()).context;
    let at = OffsetDateTime::now_utc() - Duration::days(30);
    let [had, owed] = [named(&books, "protocol", USDC).await, named(&books, "protocol debt", USDC).await];
    let first = began_with(&books, had, 900, at, context()).await.unwrap();
    began_with(&books, owed, -400, at, context()).await.unwrap();
    let again = began_with(&books, had, 900, at, context()).await.unwrap();
    assert_eq!((again.posting_id, again.is_replay), (first.posting_id, true));
    for (held, at) in [(901, at), (900, at + Duration::HOUR)] {
        match began_with(&books, had, held, at, context()).await {
            Err(PostError::Conflict { posting_id, .. }) => assert_eq!(posting_id, first.posting_id),
            other => panic!("{other:?}"),
        }
    }
    let equity = named(&books, OPENING_BALANCES, USDC).await;
    let mut tx = books.db.tenant_tx(&[books.tenant_id]).await.unwrap();
    for (account, held) in [(had, 900), (owed, -400), (equity, -500)] {
        for (at, held) in [(at, held), (at - Duration::SECOND, 0)] {
            let as_of = AsOf { effective_at: Some(at), ..AsOf::default() };
            assert_eq!(balance(&mut tx, account, as_of).await.unwrap(), Some(Balance::from(held)));
        }
    }
    drop(tx);

    // Nothing is no balance; and there must be something for it to stand against.
    let nothing = began_with(&books, named(&books, "gas", USDC).await, 0, at, context()).await;
    assert!(matches!(nothing, Err(PostError::Invalid(_))), "{nothing:?}");
    match began_with(&books, books.weth[0], 5, at, context()).await {
        Err(PostError::Refused(refusal)) => {
            assert_eq!(refusal, Refusal::NoOpeningBalances { domain: "cash".into(), currency: WETH.into() });
        }
        other => panic!("{other:?}"),
    }
    match began_with(&books, Uuid::nil(), 5, at, context()).await {
        Err(PostError::Refused(refusal)) => {
            assert_eq!(refusal, Refusal::UnknownAccount { account_id: Uuid::nil() });
        }
        other => panic!("{other:?}"),
    }
    books.agree().await;
}

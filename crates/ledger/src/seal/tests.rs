//! The bell between those who book and the sealer of their process.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

use std::time::Duration;

use plimsoll_store::Db;
use plimsoll_types::{Amount, Context};
use uuid::Uuid;

use super::{STAGED, woken};
use crate::{AccountClass, AccountType, Currency, Direction, Draft, Intake, Line, NewAccount, Posting, open};

/// What has not come to pass by then never will.
const HANGS_AFTER: Duration = Duration::from_secs(60);

/// A tenant's books with two accounts.
async fn books(db: &Db) -> (Uuid, [Uuid; 2]) {
    let tenant_id = Uuid::new_v4();
    sqlx::query("INSERT INTO tenants (tenant_id, name) VALUES ($1, 'acme')")
        .bind(tenant_id)
        .execute(db.worker())
        .await
        .unwrap();
    let currency = Currency {
        currency: "USDC".into(),
        chain_id: None,
        token_address: None,
        decimals: 6,
        name: "USD Coin".into(),
    };
    let accounts = ["one", "other"].map(|name| NewAccount {
        account_id: Uuid::new_v4(),
        name: name.into(),
        account_type: AccountType::Platform,
        class: AccountClass::Asset,
        domain: "cash".into(),
        currency: "USDC".into(),
        user_id: None,
        chain_id: None,
        address: None,
        min_balance: None,
        max_balance: None,
    });
    open(db, tenant_id, &[currency], &accounts).await.unwrap();
    (tenant_id, accounts.map(|account| account.account_id))
}

#[tokio::test]
async fn whoever_books_wakes_the_sealer_of_its_process_which_does_not_wake_by_itself() {
    let db = plimsoll_store::testing::db().await;
    let (tenant_id, [debit, credit]) = books(&db).await;
    let mut staged = STAGED.subscribe();
    staged.mark_unchanged();
    let mut waking = Box::pin(woken(&mut staged));
    assert!(futures::poll!(&mut waking).is_pending(), "nothing is booked yet");

    let mut context = Context::new(Uuid::new_v4(), "test");
    context.tenant_id = Some(tenant_id);
    let line = |account_id, direction| Line::new(account_id, direction, Amount::from(7_u64), "USDC", "TRADE");
    let lines = vec![line(debit, Direction::Debit), line(credit, Direction::Credit)];
    let posting = Posting::new(Draft::new(context, "transfer", "cash", lines)).unwrap();
    Intake::start(db).post(posting).await.unwrap();
    // Who looks at the queue now and then would find it too, but later; this one waits for the bell alone.
    tokio::time::timeout(HANGS_AFTER, waking).await.expect("whoever books rings");
}

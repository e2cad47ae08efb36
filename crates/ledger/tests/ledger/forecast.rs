//! A process works the next batch out on what it has booked before; what others did meanwhile counts all the same. And each posting is an event.

use plimsoll_ledger::{Intake, PostError, Posting, Refusal};
use serde_json::{Value, json};

use crate::raw::{Raw, as_app, why};
use crate::support::Books;

#[tokio::test]
async fn what_another_process_booked_meanwhile_is_counted() {
    let books = Books::new().await;
    let other = Intake::start(books.db.clone());
    for amount in 1..=5 {
        for intake in [&books.intake, &other] {
            let draft = books.transfer(books.cash[0], books.cash[1], amount);
            intake.post(Posting::new(draft).unwrap()).await.unwrap();
        }
    }
    assert_eq!(books.holds(books.cash[0]).await, ("30".into(), 10));
    books.agree().await;
}

#[tokio::test]
async fn an_account_that_somebody_closed_or_limited_meanwhile_takes_nothing_more() {
    let books = Books::new().await;
    let [one, other] = [books.cash[0], books.cash[1]];
    books.book(books.transfer(one, other, 5)).await;
    books.book(books.transfer(one, other, 5)).await;
    let refused = async |change: &str| {
        as_app(&books, &format!("UPDATE accounts SET {change} WHERE account_id = '{one}'")).await.unwrap();
        books.intake.post(Posting::new(books.transfer(one, other, 5)).unwrap()).await
    };
    let limited = refused("max_balance = 12").await;
    assert!(matches!(limited, Err(PostError::Refused(Refusal::Limit { .. }))), "{limited:?}");
    let closed = refused("max_balance = NULL, closed_at = clock_timestamp()").await;
    assert!(matches!(closed, Err(PostError::Refused(Refusal::Closed { .. }))), "{closed:?}");
    assert!(refused("closed_at = NULL").await.is_ok());
    assert_eq!(books.holds(one).await, ("15".into(), 3));
}

#[tokio::test]
async fn a_posting_is_an_event_in_the_transaction_that_writes_it_whoever_does() {
    let books = Books::new().await;
    let events = async || -> Vec<(String, String, Value)> {
        sqlx::query_as("SELECT event_id, event_type, payload FROM events_staging ORDER BY staging_id")
            .fetch_all(books.db.worker())
            .await
            .unwrap()
    };
    let posting = Posting::new(books.transfer(books.cash[2], books.cash[3], 5)).unwrap();
    let checksum = posting.checksum().to_string();
    let booked = books.intake.post(posting.clone()).await.unwrap().posting_id;
    assert!(books.intake.post(posting).await.unwrap().is_replay);
    let raw = Raw::new(&books);
    assert_eq!(why(as_app(&books, &raw.header(books.tenant_id)).await), "ledger_postings_lines");
    as_app(&books, &raw.whole(books.tenant_id)).await.unwrap();

    let [first, second] = &events().await[..] else { panic!("two postings, and {:?}", events().await) };
    let payload = json!({
        "operation_type": "transfer", "domain": "cash", "checksum": checksum, "lines": 2, "chain_id": null, "chain_tx_hash": null,
        "chain_block_number": null, "reverses": null, "compensates": null,
    });
    assert_eq!(*first, (booked.to_string(), "ledger.posting.posted".into(), payload));
    assert_eq!((&second.0, &*second.1), (&raw.posting_id.to_string(), "ledger.posting.posted"));
}

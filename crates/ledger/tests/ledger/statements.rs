//! A statement is what the lines of its window say, whatever came late.

use plimsoll_ledger::statement::{By, Statement, StatementError, Window, statement};
use plimsoll_ledger::{Correction, Draft, Origin, Posting, reversal};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use crate::fold::Fold;
use crate::support::Books;

/// All pages of a statement: its opening balance, each line's version and the balance after it, its closing balance.
pub(crate) async fn pages(
    books: &Books,
    account: Uuid,
    window: Window,
    limit: u16,
) -> (String, Vec<(i64, String)>, String) {
    let mut tx = books.db.tenant_snapshot(&[books.tenant_id]).await.unwrap();
    let mut lines = Vec::new();
    let mut cursor = None;
    let mut before: Option<Statement> = None;
    loop {
        let page =
            statement(&mut tx, books.tenant_id, account, window, cursor, limit).await.unwrap().unwrap();
        let expected = before.as_ref().map_or(page.opening, |page| page.lines.last().unwrap().balance);
        assert_eq!(page.brought_forward, expected, "{window:?} from {cursor:?}");
        assert!(page.lines.len() <= usize::from(limit));
        lines.extend(page.lines.iter().map(|line| (line.account_version, line.balance.to_string())));
        cursor = page.next;
        if cursor.is_none() {
            return (page.opening.to_string(), lines, page.closing.to_string());
        }
        before = Some(page);
    }
}

/// A statement as [`pages`] gives it, by looking at every line.
pub(crate) fn folded(fold: &Fold, account: Uuid, window: Window) -> (String, Vec<(i64, String)>, String) {
    let (opening, lines, closing) = fold.statement(account, window);
    let lines = lines.into_iter().map(|(version, balance)| (version, balance.to_string()));
    (opening.to_string(), lines.collect(), closing.to_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn by_every_time_and_in_pages_of_any_size_it_is_what_the_lines_say() {
    let books = Books::new().await;
    let mut random = StdRng::seed_from_u64(11);
    let start = OffsetDateTime::now_utc() - Duration::days(10);
    let mut times = vec![start];
    for n in 0..150_i64 {
        let back = if random.random_bool(0.25) { random.random_range(0..60) } else { 0 };
        let effective_at = Some(start + Duration::minutes(n - back));
        let (debit, credit) = if random.random_bool(0.5) { (0, 1) } else { (1, 0) };
        let amount = random.random_range(1..50);
        let draft = books.transfer(books.cash[debit], books.cash[credit], amount);
        books.book(Draft { effective_at, origin: Origin::Chain, ..draft }).await;
        times.push(OffsetDateTime::now_utc());
        if n % 37 == 36 {
            let closing = books.close(start + Duration::minutes(n - 20)).await;
            times.extend([closing.closed_through, closing.closed_through + Duration::MICROSECOND]);
        }
    }
    times.extend((0..40).map(|_| start + Duration::minutes(random.random_range(-70..170))));
    let fold = Fold::of(&books).await;
    let late = books.count("SELECT count(*) FROM ledger_postings WHERE booked_at > effective_at").await;
    assert!(late > 10, "{late} postings came late: too few to tell anything");
    for n in 0..240_u16 {
        let by = [By::Effective, By::Booked, By::Recorded][usize::from(n % 3)];
        let mut ends = [0; 2].map(|_| times[random.random_range(0..times.len())]);
        ends.sort();
        let window = Window { by, after: ends[0], through: ends[1] };
        let limit = random.random_range(1..70);
        let found = pages(&books, books.cash[0], window, limit).await;
        assert_eq!(found, folded(&fold, books.cash[0], window), "{window:?}");
    }
}

#[tokio::test]
async fn its_lines_say_what_they_are_of_and_what_they_put_right() {
    let books = Books::new().await;
    let draft = books.transfer(books.cash[0], books.cash[1], 5);
    let request = draft.context.request_id;
    let wrong = books.book(draft).await;
    let mut tx = books.db.tenant_tx(&[books.tenant_id]).await.unwrap();
    let context = books.draft(Vec::new()).context;
    let reversing = reversal(&mut tx, wrong, "booked twice", context, Origin::Request).await.unwrap();
    drop(tx);
    let reversing: Posting = reversing;
    books.intake.post(reversing).await.unwrap();
    let window = Window {
        by: By::Recorded,
        after: OffsetDateTime::UNIX_EPOCH,
        through: OffsetDateTime::now_utc() + Duration::DAY,
    };
    let mut tx = books.db.tenant_snapshot(&[books.tenant_id]).await.unwrap();
    let of = statement(&mut tx, books.tenant_id, books.cash[1], window, None, 10).await.unwrap().unwrap();
    assert_eq!((of.name.as_str(), of.currency.as_str(), of.lines.len()), ("cash 1", "USDC", 2));
    let [first, second] = [&of.lines[0], &of.lines[1]];
    assert_eq!((first.posting_id, first.request_id, first.sequence), (wrong, request, 2));
    assert_eq!((first.balance.to_string().as_str(), &first.corrects), ("-5", &None));
    assert_eq!(second.corrects, Some((Correction::Reverses(wrong), "booked twice".into())));
    assert_eq!(second.operation_type, plimsoll_ledger::REVERSAL);

    let other = Books::of_another(&books.db).await;
    let theirs = statement(&mut tx, other.tenant_id, other.cash[0], window, None, 10).await.unwrap();
    assert_eq!(theirs, None, "another tenant's account");
    let backwards = Window { after: window.through, through: window.after, ..window };
    let refused = statement(&mut tx, books.tenant_id, books.cash[0], backwards, None, 10).await;
    assert!(matches!(refused, Err(StatementError::Window { .. })), "{refused:?}");
}

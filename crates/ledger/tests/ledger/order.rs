//! Several lines of an account in one statement: each follows on the one before it, in the database too.

use crate::raw::{Raw, TIME, as_app, why};
use crate::support::Books;

/// Two postings of 5 on the same two accounts, one after the other, in one statement.
fn two_at_once(books: &Books, breaking: impl Fn(&mut [Raw; 2])) -> String {
    let mut both = [Raw::new(books), Raw::new(books)];
    for line in &mut both[1].lines {
        (line.version, line.balance) = (2, line.balance * 2);
    }
    breaking(&mut both);
    let [first, second] = both;
    let [(before, rows), (_, more)] = [first.entries(), second.entries()].map(|entries| {
        let (before, rows) = entries.split_once("VALUES").unwrap();
        (before.to_owned(), rows.to_owned())
    });
    let headers = [&first, &second].map(|raw| raw.header(books.tenant_id));
    format!("WITH one AS ({}), other AS ({}) {before} VALUES {rows}, {more}", headers[0], headers[1])
}

#[tokio::test]
async fn within_a_statement_each_line_of_an_account_follows_on_the_one_before_it() {
    let books = Books::new().await;
    let later = "'2030-01-02T00:00:00Z'";
    for (what, statement) in [
        ("leaves a version out", two_at_once(&books, |both| both[1].lines[0].version = 3)),
        ("says another balance", two_at_once(&books, |both| both[1].lines[0].balance = 11)),
        ("says another latest time", two_at_once(&books, |both| both[1].lines[0].latest = later)),
        ("says another latest block", two_at_once(&books, |both| both[1].lines[0].latest_block = "4")),
        ("forgets the latest time", two_at_once(&books, |both| both[0].lines[0].latest = later)),
    ] {
        let taken = as_app(&books, &statement).await;
        assert!(taken.is_err(), "what {what} is taken");
        assert_eq!(why(taken), "ledger_entries_follow", "{what}");
    }
    // The second was recorded before the first, which the header says as well as the lines.
    let earlier = "'2029-12-31T00:00:00Z'";
    let back = two_at_once(&books, |both| {
        (both[0].recorded_at, both[1].recorded_at) = (TIME, earlier);
        both[1].lines.iter_mut().for_each(|line| line.recorded_at = earlier);
    });
    assert_eq!(why(as_app(&books, &back).await), "ledger_entries_follow");
    as_app(&books, &two_at_once(&books, |_| ())).await.unwrap();
    assert_eq!(books.holds(books.cash[0]).await, ("10".into(), 2));
    books.agree().await;
}

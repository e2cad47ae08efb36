//! What the database refuses from the application's roles, whatever the program above it does: each in raw SQL.

use uuid::Uuid;

use crate::raw::{Raw, TIME, TIME_S, as_app, as_worker, why};
use crate::support::Books;

#[tokio::test]
async fn nobody_changes_or_removes_what_is_booked() {
    let books = Books::new().await;
    books.book(books.transfer(books.cash[0], books.cash[1], 9)).await;
    const INSUFFICIENT_PRIVILEGE: &str = "42501";
    for table in
        ["ledger_postings", "ledger_entries", "bf_events", "ledger_leaves", "ledger_tiles", "asset_balances"]
    {
        for statement in [format!("DELETE FROM {table}"), format!("TRUNCATE {table}")] {
            assert_eq!(why(as_app(&books, &statement).await), INSUFFICIENT_PRIVILEGE, "{statement}");
            assert_eq!(why(as_worker(&books.db, &statement).await), INSUFFICIENT_PRIVILEGE, "{statement}");
        }
    }
    for statement in [
        "UPDATE ledger_postings SET reason = 'x'",
        "UPDATE ledger_postings SET digest = digest",
        "UPDATE ledger_entries SET debit = 1",
        "UPDATE ledger_entries SET balance_after = 1",
        "UPDATE ledger_leaves SET entry_hash = entry_hash",
        "UPDATE asset_balances SET raw_balance = 1",
        // The right to this one is there, since it is needed for holding rows.
        "UPDATE asset_balances SET version = version",
        "UPDATE asset_balances SET version = version + 1 WHERE version > 1000",
        "INSERT INTO asset_balances (account_id, tenant_id, token_address) SELECT account_id, tenant_id, token_address FROM asset_balances",
        "UPDATE accounts SET currency = 'WETH'",
        "UPDATE ledger_checkpoints SET root_hash = root_hash",
    ] {
        assert_eq!(why(as_app(&books, statement).await), INSUFFICIENT_PRIVILEGE, "{statement}");
        assert_eq!(why(as_worker(&books.db, statement).await), INSUFFICIENT_PRIVILEGE, "{statement}");
    }
    books.agree().await;
}

#[tokio::test]
async fn only_whole_postings_that_balance_and_follow_are_taken() {
    let books = Books::new().await;
    let other = Books::of_another(&books.db).await;
    let tenant = books.tenant_id;
    let theirs = other.book(other.transfer(other.cash[2], other.cash[3], 1)).await;
    let broken = |breaking: &dyn Fn(&mut Raw)| {
        let mut raw = Raw::new(&books);
        breaking(&mut raw);
        raw.whole(tenant)
    };
    const ROW_SECURITY: &str = "42501";
    let mut otherwise = Vec::new();
    for (what, statement, expected) in [
        (
            "does not balance",
            broken(&|raw| (raw.lines[0].debit, raw.lines[0].balance) = (6, 6)),
            "ledger_entries_balance",
        ),
        (
            "balances over two currencies only",
            broken(&|raw| (raw.lines[1].currency, raw.lines[1].account) = ("WETH", books.weth[0])),
            "ledger_entries_balance",
        ),
        ("has a line less than it says", broken(&|raw| raw.line_count = 3), "ledger_entries_posting"),
        (
            "has a line more than it says",
            broken(&|raw| {
                raw.line_count = 2;
                raw.lines[1].sequence = 3;
            }),
            "ledger_entries_posting",
        ),
        ("has a line in place 0", broken(&|raw| raw.lines[0].sequence = 0), "ledger_entries_sequence_check"),
        (
            "has a line of nothing",
            broken(&|raw| (raw.lines[0].debit, raw.lines[0].balance) = (0, 0)),
            "ledger_entries_check",
        ),
        ("has a line on both sides", broken(&|raw| raw.lines[0].credit = 5), "ledger_entries_check"),
        (
            "is on an account that is not there",
            broken(&|raw| raw.lines[0].account = Uuid::nil()),
            "ledger_entries_follow",
        ),
        (
            "is on another tenant's account",
            broken(&|raw| raw.lines[0].account = other.cash[0]),
            "ledger_entries_follow",
        ),
        ("has another tenant's line", broken(&|raw| raw.lines[0].tenant = other.tenant_id), ROW_SECURITY),
        (
            "is in another currency than its account",
            broken(&|raw| raw.lines.iter_mut().for_each(|line| line.currency = "WETH")),
            "ledger_entries_follow",
        ),
        ("leaves a version out", broken(&|raw| raw.lines[0].version = 2), "ledger_entries_follow"),
        ("says another balance", broken(&|raw| raw.lines[0].balance = 6), "ledger_entries_follow"),
        (
            "says that it happened at two times",
            broken(&|raw| {
                (raw.lines[0].effective_at, raw.lines[0].latest) = ("'2029-01-01Z'", "'2029-01-01Z'");
            }),
            "ledger_entries_posting",
        ),
        (
            "says another latest time",
            broken(&|raw| raw.lines[0].latest = "'2031-01-01Z'"),
            "ledger_entries_follow",
        ),
        (
            "says another latest block",
            broken(&|raw| raw.lines[0].latest_block = "4"),
            "ledger_entries_follow",
        ),
        (
            "leaves a place out",
            broken(&|raw| {
                raw.line_count = 3;
                raw.lines[1].sequence = 3;
            }),
            "ledger_entries_posting",
        ),
        (
            "says that it was written at two times",
            broken(&|raw| raw.lines[0].recorded_at = "'2030-01-02Z'"),
            "ledger_entries_posting",
        ),
        (
            "happened at another time than its lines",
            broken(&|raw| {
                raw.lines
                    .iter_mut()
                    .for_each(|line| (line.effective_at, line.latest) = ("'2029-01-01Z'", "'2029-01-01Z'"));
            }),
            "ledger_entries_posting",
        ),
        (
            "was written at another time than its lines",
            broken(&|raw| raw.lines.iter_mut().for_each(|line| line.recorded_at = "'2030-01-02Z'")),
            "ledger_entries_posting",
        ),
        (
            "is of another block than its lines",
            broken(&|raw| raw.lines.iter_mut().for_each(|line| (line.block, line.latest_block) = ("4", "4"))),
            "ledger_entries_posting",
        ),
        (
            "is of a block and is not",
            broken(&|raw| (raw.lines[0].block, raw.lines[0].latest_block) = ("4", "4")),
            "ledger_entries_posting",
        ),
        (
            "has two lines of one version",
            broken(&|raw| raw.lines[1].account = books.cash[0]),
            "ledger_entries_account_id_account_version_key",
        ),
        (
            "compensates another tenant's posting",
            broken(&|raw| raw.target = format!("NULL, '{theirs}', 'why'")),
            "ledger_postings_target",
        ),
        (
            "reverses nothing that there is",
            broken(&|raw| raw.target = "gen_random_uuid(), NULL, 'why'".into()),
            "ledger_postings_target",
        ),
        (
            "reverses without a reason",
            broken(&|raw| raw.target = "gen_random_uuid(), NULL, NULL".into()),
            "ledger_postings_check1",
        ),
        ("is another tenant's", Raw::new(&books).whole(other.tenant_id), ROW_SECURITY),
        ("has no lines", Raw::new(&books).header(tenant), "ledger_postings_lines"),
        ("is lines alone", Raw::new(&books).entries(), "ledger_entries_posting"),
    ] {
        let found = why(as_app(&books, &statement).await);
        if found != expected {
            otherwise.push((what, expected, found));
        }
    }
    // Whom no row security binds, the checks bind all the same.
    let of_another = broken(&|raw| {
        for (line, account) in raw.lines.iter_mut().zip(&other.cash) {
            (line.tenant, line.account) = (other.tenant_id, *account);
        }
    });
    let found = why(as_worker(&books.db, &of_another).await);
    if found != "ledger_entries_posting" {
        otherwise.push(("has another tenant's lines, by the worker", "ledger_entries_posting", found));
    }
    assert!(otherwise.is_empty(), "refused for something else: {otherwise:#?}");
    // What is not broken is taken; and a line that is put to it afterwards is not.
    let raw = Raw::new(&books);
    as_app(&books, &raw.whole(tenant)).await.unwrap();
    let mut more = Raw { posting_id: raw.posting_id, ..Raw::new(&books) };
    for (line, sequence) in more.lines.iter_mut().zip(3..) {
        (line.sequence, line.version, line.balance) = (sequence, 2, line.balance * 2);
    }
    assert_eq!(why(as_app(&books, &more.entries()).await), "ledger_entries_posting");
    assert_eq!(books.holds(books.cash[0]).await, ("5".into(), 1));
    books.agree().await;
}

/// A posting of 5 that happened when raw ones do.
async fn original(books: &Books) -> Uuid {
    let at = time::OffsetDateTime::from_unix_timestamp(TIME_S).unwrap();
    let draft = books.transfer(books.cash[0], books.cash[1], 5);
    books.book(plimsoll_ledger::Draft { effective_at: Some(at), ..draft }).await
}

/// Its mirror, whose lines are the accounts' `version` and leave `balance` on the first.
fn mirror(books: &Books, target: Uuid, version: u8, balance: i8) -> Raw {
    let mut raw = Raw::new(books);
    raw.target = format!("'{target}', NULL, 'wrong'");
    for (line, balance) in raw.lines.iter_mut().zip([balance, -balance]) {
        (line.debit, line.credit) = (line.credit, line.debit);
        (line.version, line.balance) = (version, balance);
    }
    raw
}

#[tokio::test]
async fn time_does_not_go_back_in_an_accounts_history() {
    let books = Books::new().await;
    as_app(&books, &Raw::new(&books).whole(books.tenant_id)).await.unwrap();
    let mut earlier = Raw::new(&books);
    for line in &mut earlier.lines {
        (line.version, line.balance) = (2, line.balance * 2);
    }
    let statement = earlier.whole(books.tenant_id);
    let before = "'2029-12-31T00:00:00Z'";
    let happened_before = statement.replace(TIME, before).replace(
        &format!("{before}, {before}, {before}, NULL, NULL, sha256"),
        &format!("{before}, {TIME}, {before}, NULL, NULL, sha256"),
    );
    assert_eq!(why(as_app(&books, &happened_before).await), "ledger_entries_follow");
    as_app(&books, &statement).await.unwrap();
    // The clock is behind these lines: what is booked now is recorded with the last of them.
    books.book(books.transfer(books.cash[0], books.cash[1], 5)).await;
    books.agree().await;
}

#[tokio::test]
async fn a_posting_is_reversed_once_and_a_reversal_never() {
    let books = Books::new().await;
    let first = original(&books).await;
    let reversing = mirror(&books, first, 2, 0);
    as_app(&books, &reversing.whole(books.tenant_id)).await.unwrap();
    let again = mirror(&books, first, 3, -5).whole(books.tenant_id);
    assert_eq!(why(as_app(&books, &again).await), "ledger_postings_reverses");
    let mut back = mirror(&books, reversing.posting_id, 3, 5);
    back.lines.iter_mut().for_each(|line| (line.debit, line.credit) = (line.credit, line.debit));
    assert_eq!(why(as_app(&books, &back.whole(books.tenant_id)).await), "ledger_postings_target");
}

#[tokio::test]
async fn a_reversal_is_the_mirror_of_its_original_and_nothing_else() {
    let books = Books::new().await;
    let first = original(&books).await;
    type Breaking<'a> = &'a dyn Fn(&mut Raw);
    let not_mirrored: [(&str, Breaking<'_>); 8] = [
        ("of less", &|raw| {
            for (line, balance) in raw.lines.iter_mut().zip([1, -1]) {
                (line.debit, line.credit) = (line.debit.min(4), line.credit.min(4));
                line.balance = balance;
            }
        }),
        ("of the same side", &|raw| {
            for (line, balance) in raw.lines.iter_mut().zip([10, -10]) {
                (line.debit, line.credit, line.balance) = (line.credit, line.debit, balance);
            }
        }),
        ("on another account", &|raw| {
            raw.lines[0].account = books.cash[2];
            (raw.lines[0].version, raw.lines[0].balance) = (1, -5);
        }),
        ("in another order", &|raw| (raw.lines[0].sequence, raw.lines[1].sequence) = (2, 1)),
        ("of more lines", &|raw| {
            let more = Raw::new(&books).lines;
            raw.lines.extend(more);
            for (line, (sequence, account, balance)) in
                raw.lines[2..].iter_mut().zip([(3, books.cash[2], 5), (4, books.cash[3], -5)])
            {
                (line.sequence, line.account, line.balance) = (sequence, account, balance);
            }
            raw.line_count = 4;
        }),
        ("in other books", &|raw| raw.domain = "reward"),
        ("of another time", &|raw| {
            (raw.effective_at, raw.booked_at) = ("'2030-01-02Z'", "'2030-01-02Z'");
            raw.lines
                .iter_mut()
                .for_each(|line| (line.effective_at, line.latest) = ("'2030-01-02Z'", "'2030-01-02Z'"));
        }),
        ("of a transaction", &|raw| raw.chain = "1, sha256(''), NULL, NULL"),
    ];
    let mut otherwise = Vec::new();
    for (what, breaking) in not_mirrored {
        let mut raw = mirror(&books, first, 2, 0);
        breaking(&mut raw);
        let found = why(as_app(&books, &raw.whole(books.tenant_id)).await);
        if found != "ledger_postings_mirror" {
            otherwise.push((what, found));
        }
    }
    assert!(otherwise.is_empty(), "refused for something else: {otherwise:#?}");
    as_app(&books, &mirror(&books, first, 2, 0).whole(books.tenant_id)).await.unwrap();
    books.agree().await;
}

#[tokio::test]
async fn nothing_is_booked_into_a_closed_period_and_none_is_opened_again() {
    let books = Books::new().await;
    let close = |through: &str| {
        format!(
            "INSERT INTO ledger_closings (tenant_id, closed_through, reason, request_id, created_by, correlation_id)
             VALUES ('{}', {through}, 'year', gen_random_uuid(), 'me', 'c')",
            books.tenant_id
        )
    };
    const BEFORE: &str = "'2019-06-01Z'";
    as_app(&books, &close("'2020-01-01Z'")).await.unwrap();
    let late = |booked_at: &'static str| {
        let mut raw = Raw::new(&books);
        (raw.effective_at, raw.booked_at) = (BEFORE, booked_at);
        raw.lines.iter_mut().for_each(|line| (line.effective_at, line.latest) = (BEFORE, BEFORE));
        raw.whole(books.tenant_id)
    };
    assert_eq!(why(as_app(&books, &late(BEFORE)).await), "ledger_postings_period");
    for booked_at in ["'2019-07-01Z'", "'2020-01-01Z'", "'2020-01-02Z'"] {
        assert_eq!(why(as_app(&books, &late(booked_at)).await), "ledger_postings_late", "{booked_at}");
    }
    let mut put_off = Raw::new(&books);
    put_off.booked_at = "'2031-01-01Z'";
    assert_eq!(why(as_app(&books, &put_off.whole(books.tenant_id)).await), "ledger_postings_late");
    as_app(&books, &late("'2020-01-01T00:00:00.000001Z'")).await.unwrap();

    assert_eq!(why(as_app(&books, &close("'2019-12-31Z'")).await), "ledger_closings_order");
    assert_eq!(why(as_app(&books, &close("'2020-01-01Z'")).await), "ledger_closings_order");
    assert_eq!(why(as_app(&books, &close("now() + interval '1 hour'")).await), "ledger_closings_past");
    const INSUFFICIENT_PRIVILEGE: &str = "42501";
    for statement in [
        "UPDATE ledger_books SET closed_through = '2021-01-01Z'",
        "UPDATE ledger_books SET closed_through = '2019-01-01Z'",
        "UPDATE ledger_closings SET reason = 'x'",
        "DELETE FROM ledger_closings",
        "UPDATE ledger_closing_balances SET balance = 0",
        "DELETE FROM ledger_closing_balances",
        "INSERT INTO ledger_closing_balances SELECT tenant_id, closed_through, gen_random_uuid(), 1, 0 FROM ledger_closings",
    ] {
        assert_eq!(why(as_app(&books, statement).await), INSUFFICIENT_PRIVILEGE, "{statement}");
        assert_eq!(why(as_worker(&books.db, statement).await), INSUFFICIENT_PRIVILEGE, "{statement}");
    }
}

#[tokio::test]
async fn a_tenant_sees_its_own_books_alone() {
    let books = Books::new().await;
    let other = Books::of_another(&books.db).await;
    books.book(books.transfer(books.cash[0], books.cash[1], 5)).await;
    for table in [
        "accounts",
        "asset_balances",
        "ledger_postings",
        "ledger_entries",
        "ledger_staging",
        "ledger_books",
        "ledger_lines",
    ] {
        let statement = format!("SELECT FROM {table} WHERE tenant_id = '{}'", books.tenant_id);
        assert_eq!(as_app(&other, &statement).await.unwrap(), 0, "{table}");
        assert!(as_app(&books, &statement).await.unwrap() > 0, "{table}");
    }
}

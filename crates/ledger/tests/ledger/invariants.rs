//! What the database refuses from the application's roles, whatever the program above it does: each in raw SQL.

use plimsoll_store::Db;
use sqlx::{AssertSqlSafe, PgConnection};
use uuid::Uuid;

use crate::support::Books;

/// As the app, confined to the tenant.
async fn as_app(books: &Books, statement: &str) -> Result<u64, sqlx::Error> {
    let mut tx = books.db.tenant_tx(&[books.tenant_id]).await?;
    let done = execute(&mut tx, statement).await?;
    tx.commit().await?;
    Ok(done)
}

async fn as_worker(db: &Db, statement: &str) -> Result<u64, sqlx::Error> {
    let mut tx = db.begin_worker().await?;
    let done = execute(&mut tx, statement).await?;
    tx.commit().await?;
    Ok(done)
}

async fn execute(conn: &mut PgConnection, statement: &str) -> Result<u64, sqlx::Error> {
    Ok(sqlx::query(AssertSqlSafe(statement)).execute(conn).await?.rows_affected())
}

/// What it was refused for: the constraint's name, or the state.
fn why(refused: Result<u64, sqlx::Error>) -> String {
    let error = refused.expect_err("the database takes it");
    let database = error.as_database_error().unwrap_or_else(|| panic!("{error}"));
    let code = database.code().unwrap_or_default().into_owned();
    database.constraint().map_or(code, str::to_owned)
}

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

/// A posting of the tenant's and its lines, as raw SQL that would be taken; each part may be given otherwise.
struct Raw {
    posting_id: Uuid,
    line_count: u8,
    booked_at: &'static str,
    target: String,
    lines: Vec<RawLine>,
}

struct RawLine {
    sequence: u8,
    account: Uuid,
    tenant: Uuid,
    debit: u8,
    credit: u8,
    currency: &'static str,
    version: u8,
    balance: i8,
    effective_at: &'static str,
    latest: &'static str,
    recorded_at: &'static str,
    block: &'static str,
    latest_block: &'static str,
}

const TIME: &str = "'2030-01-01T00:00:00Z'";

impl Raw {
    /// The first posting on the two accounts.
    fn new(books: &Books) -> Self {
        let line = |sequence, account, debit, credit, balance| RawLine {
            sequence,
            account,
            tenant: books.tenant_id,
            debit,
            credit,
            currency: "USDC",
            version: 1,
            balance,
            effective_at: TIME,
            latest: TIME,
            recorded_at: TIME,
            block: "NULL",
            latest_block: "NULL",
        };
        let lines = vec![line(1, books.cash[0], 5, 0, 5), line(2, books.cash[1], 0, 5, -5)];
        Self {
            posting_id: Uuid::new_v4(),
            line_count: 2,
            booked_at: TIME,
            target: "NULL, NULL, NULL".into(),
            lines,
        }
    }

    fn header(&self, tenant: Uuid) -> String {
        format!(
            "INSERT INTO ledger_postings (posting_id, tenant_id, request_id, operation_type, checksum, domain, effective_at, booked_at, recorded_at, reverses, compensates, reason,
                                          created_by, correlation_id, metadata, line_count, digest)
             VALUES ('{}', '{tenant}', gen_random_uuid(), 'raw', sha256(''), 'cash', {TIME}, {}, {TIME}, {}, 'me', 'c', '{{}}', {}, sha256(''))",
            self.posting_id, self.booked_at, self.target, self.line_count,
        )
    }

    fn entries(&self) -> String {
        let rows = self.lines.iter().map(|it| {
            format!(
                "('{}', {}, '{}', '{}', {}, {}, '{}', 'TRADE', {}, {}, {}, {}, {}, {}, {}, sha256(''))",
                self.posting_id,
                it.sequence,
                it.tenant,
                it.account,
                it.debit,
                it.credit,
                it.currency,
                it.version,
                it.balance,
                it.effective_at,
                it.latest,
                it.recorded_at,
                it.block,
                it.latest_block,
            )
        });
        let rows: Vec<_> = rows.collect();
        format!(
            "INSERT INTO ledger_entries (posting_id, sequence, tenant_id, account_id, debit, credit, currency, entry_type, account_version, balance_after, effective_at,
                                         latest_effective_at, recorded_at, chain_block_number, latest_block, checksum) VALUES {}",
            rows.join(", ")
        )
    }

    fn whole(&self, tenant: Uuid) -> String {
        format!("WITH header AS ({}) {}", self.header(tenant), self.entries())
    }
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
    let first = books.book(books.transfer(books.cash[0], books.cash[1], 5)).await;
    let reversal = |target: Uuid, version: u8, balance: i8| {
        let mut raw = Raw::new(&books);
        raw.target = format!("'{target}', NULL, 'wrong'");
        for (line, balance) in raw.lines.iter_mut().zip([balance, -balance]) {
            (line.debit, line.credit) = (line.credit, line.debit);
            (line.version, line.balance) = (version, balance);
        }
        raw
    };
    let reversing = reversal(first, 2, 0);
    as_app(&books, &reversing.whole(books.tenant_id)).await.unwrap();
    let again = reversal(first, 3, -5).whole(books.tenant_id);
    assert_eq!(why(as_app(&books, &again).await), "ledger_postings_reverses");
    let back = reversal(reversing.posting_id, 3, -5).whole(books.tenant_id);
    assert_eq!(why(as_app(&books, &back).await), "ledger_postings_target");
}

#[tokio::test]
async fn nothing_is_booked_into_a_closed_period_and_none_is_opened_again() {
    let books = Books::new().await;
    as_app(&books, "UPDATE ledger_books SET closed_through = '2030-01-01Z'").await.unwrap();
    let statement = Raw::new(&books).whole(books.tenant_id);
    assert_eq!(why(as_app(&books, &statement).await), "ledger_postings_period");
    let back = "UPDATE ledger_books SET closed_through = '2029-12-31Z'";
    assert_eq!(why(as_app(&books, back).await), "ledger_books_closed");
    let mut later = Raw::new(&books);
    later.booked_at = "'2030-01-01T00:00:00.000001Z'";
    as_app(&books, &later.whole(books.tenant_id)).await.unwrap();
}

#[tokio::test]
async fn a_tenant_sees_its_own_books_alone() {
    let books = Books::new().await;
    let other = Books::of_another(&books.db).await;
    books.book(books.transfer(books.cash[0], books.cash[1], 5)).await;
    for table in
        ["accounts", "asset_balances", "ledger_postings", "ledger_entries", "ledger_staging", "ledger_books"]
    {
        let statement = format!("SELECT FROM {table} WHERE tenant_id = '{}'", books.tenant_id);
        assert_eq!(as_app(&other, &statement).await.unwrap(), 0, "{table}");
        assert!(as_app(&books, &statement).await.unwrap() > 0, "{table}");
    }
}

//! Postings from a file: all of it is sound, or nothing is booked; and however often, once.

use plimsoll_ledger::import::{Checked, Format, Import, ImportError, Imported};
use plimsoll_ledger::{Draft, Origin, REVERSAL, period, read, reversal};
use plimsoll_types::{Amount, Context};
use uuid::Uuid;

use crate::sealing::{seal_all, sealer};
use crate::support::{Books, USDC};

const POSTINGS: &str = "SELECT count(*) FROM ledger_postings";

fn import(books: &Books, format: Format) -> Import<'_> {
    let context = Context::new(Uuid::new_v4(), "cli:test").on_behalf_of(books.tenant_id, None);
    Import { db: &books.db, tenant_id: books.tenant_id, context, format }
}

async fn check(books: &Books, format: Format, text: &str) -> Checked {
    import(books, format).check(text.as_bytes(), |_| {}).await.unwrap()
}

/// Checks and books it.
async fn run(books: &Books, format: Format, text: &str) -> Result<Imported, ImportError> {
    let import = import(books, format);
    let checked = import.check(text.as_bytes(), |_| {}).await?;
    import.book(checked, text.as_bytes(), &books.intake, |_| {}).await
}

/// Line, field and the beginning of what is wrong, each.
async fn problems(books: &Books, format: Format, text: &str) -> Vec<(u64, String, String)> {
    let found = check(books, format, text).await.problems;
    assert!(found.iter().all(|problem| !problem.remedy.is_empty()), "{found:#?}");
    found.into_iter().map(|problem| (problem.line, problem.field, problem.what)).collect()
}

fn told(found: &[(u64, String, String)], line: u64, field: &str, part: &str) {
    let is_it =
        |(at, name, what): &&(u64, String, String)| *at == line && name == field && what.contains(part);
    assert!(found.iter().any(|problem| is_it(&problem)), "line {line}, {field}, {part:?}: {found:#?}");
}

/// What the tenant's log has, as it is exported.
async fn exported(books: &Books) -> String {
    let (sealer, lease) = sealer(books).await;
    seal_all(&sealer, &lease).await;
    let mut tx = books.db.tenant_tx(&[books.tenant_id]).await.unwrap();
    let size = read::sealed(&mut tx, books.tenant_id).await.unwrap();
    let mut out = Vec::new();
    for posting in read::export(&mut tx, books.tenant_id, &read::Filter::default(), 0..size).await.unwrap() {
        posting.write_json(&mut out).unwrap();
    }
    lease.release().await.unwrap();
    String::from_utf8(out).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_accountant_writes_is_booked_once_however_often_it_is_imported() {
    let books = Books::new().await;
    let text = "\u{feff}voucher,effective_at,account,debit,credit,currency,description\r\n\
                2026-001,2026-01-31,cash 0,100,,USDC,\"rent, January\"\r\n\
                ,,cash 1,,60,USDC,\r\n\
                ,,cash 2,,40,USDC,\r\n\
                2026-002,2026-02-01T08:00:00Z,cash 0,,5,USDC,\r\n\
                2026-002,2026-02-01T08:00:00Z,cash 1,5,,USDC,\r\n";
    let checked = check(&books, Format::Csv, text).await;
    assert_eq!(
        (checked.postings, checked.lines, checked.repeated, checked.problem_count),
        (2, 5, 0, 0),
        "{checked:#?}"
    );
    assert_eq!(books.count(POSTINGS).await, 0, "a dry run books nothing");

    assert_eq!(run(&books, Format::Csv, text).await.unwrap(), Imported { posted: 2, repeated: 0 });
    assert_eq!(run(&books, Format::Csv, text).await.unwrap(), Imported { posted: 0, repeated: 2 });
    assert_eq!(check(&books, Format::Csv, text).await.fresh(), 0);
    let held = [
        books.holds(books.cash[0]).await,
        books.holds(books.cash[1]).await,
        books.holds(books.cash[2]).await,
    ];
    assert_eq!(held, [("95".to_owned(), 2), ("-55".to_owned(), 2), ("-40".to_owned(), 1)]);
    let kept: (String, String, String) = sqlx::query_as(
        "SELECT metadata::json->>'voucher', metadata::json->>'description', to_char(effective_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI') FROM ledger_postings ORDER BY effective_at LIMIT 1",
    )
    .fetch_one(books.db.worker())
    .await
    .unwrap();
    assert_eq!(kept, ("2026-001".into(), "rent, January".into(), "2026-01-31 00:00".into()));
    books.agree().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn all_that_is_wrong_is_told_with_its_line_and_nothing_is_booked() {
    let books = Books::new().await;
    let header = "voucher,account,debit,credit,currency,effective_at,tenant_id,chain_tx_hash,chain_id\n";
    let rows = [
        "fine,cash 0,1,,USDC,,,,",                                      // 2
        "fine,cash 1,,1,USDC,,,,",                                      // 3
        "point,cash 0,12.50,,USDC,,,,",                                 // 4
        "point,cash 1,,13,USDC,,,,",                                    // 5
        "name,cash 0,1,,USDC,,,,",                                      // 6
        "name,casch 1,,1,USDC,,,,",                                     // 7
        "sum,cash 0,2,,USDC,,,,",                                       // 8
        "sum,cash 1,,1,USDC,,,,",                                       // 9
        "both,cash 0,1,1,USDC,,,,",                                     // 10
        "both,cash 1,,1,USDC,,,,",                                      // 11
        "when,cash 0,1,,USDC,31.1.2026,,,",                             // 12
        "when,cash 1,,1,USDC,,,,",                                      // 13
        "whose,cash 0,1,,USDC,,00000000-0000-0000-0000-000000000001,,", // 14
        "whose,cash 1,,1,USDC,,,,",                                     // 15
        "one,cash 0,1,,USDC,,,,",                                       // 16
        "chain,cash 0,1,,USDC,,,0x12,",                                 // 17
        "chain,cash 1,,1,USDC,,,,0",                                    // 18
        "short,cash 0,1",                                               // 19
        "less,cash 0,,1,USDC,,,,",                                      // 20
        "less,user,1,,USDC,,,,",                                        // 21
        "fine,cash 0,2,,USDC,,,,",                                      // 22
        "fine,cash 1,,2,USDC,,,,",                                      // 23
    ];
    let text = format!("{header}{}\n", rows.join("\n"));
    let found = problems(&books, Format::Csv, &text).await;
    told(&found, 4, "debit", "\"12.50\" is no whole number");
    assert_eq!(
        found.iter().filter(|(line, ..)| *line == 4).count(),
        1,
        "what is wrong is told once: {found:#?}"
    );
    told(&found, 7, "account", "no account \"casch 1\" in USDC");
    told(&found, 8, "lines", "debits of 2 and credits of 1");
    told(&found, 10, "debit", "one amount, on one side");
    told(&found, 12, "effective_at", "\"31.1.2026\" is no time");
    told(&found, 14, "tenant_id", "is of tenant 00000000");
    told(&found, 16, "lines", "this one has 1");
    told(&found, 17, "chain_tx_hash", "is no hash");
    told(&found, 18, "chain_id", "something else");
    told(&found, 19, "the row", "3 fields");
    told(&found, 21, "amount", "would hold -1");
    told(&found, 22, "request_id", "line 2 has the same");
    let refused = run(&books, Format::Csv, &text).await.unwrap_err();
    assert!(matches!(refused, ImportError::Unsound(count) if count >= 12), "{refused}");
    assert_eq!(books.count(POSTINGS).await, 0);

    for (text, field, part) in [
        ("{\"voucher\": 1}", "lines", "no list"),
        ("[1]", "the line", "no JSON object"),
        ("{\"voucher\": \"a\", \"lines\": [1, 2]}", "lines", "no object"),
        ("{\"voucher\": \"a\", \"amuont\": 1, \"lines\": []}", "amuont", "no such field"),
        ("{\"voucher\": \"a\", \"reason\": \"x\", \"lines\": []}", "reason", "puts another right"),
        (
            "{\"voucher\": \"a\", \"lines\": [{\"account\": \"cash 0\", \"debit\": 1.5, \"currency\": \"USDC\"}]}",
            "lines[0].debit",
            "\"1.5\"",
        ),
        ("{\"lines\": []}", "request_id", "`voucher`"),
        (
            "{\"voucher\": \"a\", \"lines\": [{\"account\": \"cash\\u00000\", \"debit\": 1, \"currency\": \"USDC\"}]}",
            "lines[0].account",
            "NUL character",
        ),
        (
            "{\"voucher\": \"a\", \"compensates\": \"00000000-0000-0000-0000-000000000001\", \"lines\": []}",
            "reason",
            "says why",
        ),
        (
            "{\"voucher\": \"a\", \"reason\": \"x\", \"reverses\": \"00000000-0000-0000-0000-000000000001\", \"compensates\": \"00000000-0000-0000-0000-000000000001\", \"lines\": []}",
            "compensates",
            "reverses another, or makes one good",
        ),
        (
            "{\"voucher\": \"a\", \"operation_type\": \"fund\", \"reason\": \"x\", \"reverses\": \"00000000-0000-0000-0000-000000000001\", \"lines\": []}",
            "operation_type",
            "`reversal`",
        ),
        (
            "{\"voucher\": \"a\", \"chain_id\": 1, \"chain_block_number\": 7, \"lines\": []}",
            "chain_block_hash",
            "its hash",
        ),
        ("{\"voucher\": \"a\", \"chain_id\": 0, \"lines\": []}", "chain_id", "of a chain"),
    ] {
        told(&problems(&books, Format::JsonLines, &format!("\n{text}\n")).await, 2, field, part);
    }
    let text = "voucher,account,debit,credit,currency\n\"a,cash 0,1,,USDC\n";
    told(&problems(&books, Format::Csv, text).await, 2, "the line", "never closed");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_the_header_is_told_once_and_a_row_names_its_column() {
    let books = Books::new().await;
    let rows = "a,cash 0,1,,USDC\n,cash 1,,1,USDC\n".repeat(2);
    let text = format!("voucher,account,debit,credit,curency,voucher,\n{rows}");
    let wrong = [
        (1, "currency".to_owned(), "the header has no such column".to_owned()),
        (1, "voucher".to_owned(), "the header has this column twice".to_owned()),
        (1, "curency".to_owned(), "there is no such field".to_owned()),
    ];
    assert_eq!(problems(&books, Format::Csv, &text).await, wrong);
    let found = problems(&books, Format::Csv, &format!("debit\n{rows}")).await;
    let fields: Vec<_> = found.iter().map(|(line, field, _)| (*line, field.as_str())).collect();
    assert_eq!(fields, [(1, "voucher"), (1, "account"), (1, "currency"), (1, "debit")]);

    // A posting of one row, and the empty column that a spreadsheet leaves.
    let text = "voucher,account,direction,amount,currency,\na,cash 0,debit,1,,\n";
    let found = problems(&books, Format::Csv, text).await;
    assert_eq!(found, [(2, "currency".to_owned(), "it is missing".to_owned())]);
    let refused = run(&books, Format::Csv, text).await.unwrap_err().to_string();
    assert_eq!(refused, "1 thing is wrong with the file, and nothing of it was booked");
}

#[tokio::test(flavor = "multi_thread")]
async fn our_own_export_is_repeated_in_these_books_and_booked_in_others_with_what_it_puts_right() {
    let books = Books::new().await;
    let first = books.book(books.transfer(books.cash[0], books.cash[1], 10)).await;
    let mut tx = books.db.tenant_tx(&[books.tenant_id]).await.unwrap();
    let context = books.draft(Vec::new()).context;
    let back = reversal(&mut tx, first, "the wrong account", context, Origin::Request).await.unwrap();
    drop(tx);
    books.intake.post(back).await.unwrap();
    let on_day = Draft {
        effective_at: Some(time::macros::datetime!(2026-01-31 12:00 UTC)),
        ..books.transfer(books.cash[0], books.cash[2], 7)
    };
    books.book(on_day).await;
    let text = exported(&books).await;
    assert_eq!(run(&books, Format::JsonLines, &text).await.unwrap(), Imported { posted: 0, repeated: 3 });

    // The same books elsewhere: other ids.
    let others = Books::of_another(&books.db).await;
    let mut text = text.replace(&books.tenant_id.to_string(), &others.tenant_id.to_string());
    for (here, there) in books.cash.iter().zip(&others.cash) {
        text = text.replace(&here.to_string(), &there.to_string());
    }
    assert_eq!(run(&others, Format::JsonLines, &text).await.unwrap(), Imported { posted: 3, repeated: 0 });
    assert_eq!(run(&others, Format::JsonLines, &text).await.unwrap(), Imported { posted: 0, repeated: 3 });
    assert_eq!(others.holds(others.cash[0]).await, ("7".to_owned(), 3));
    let reversals: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM ledger_postings r JOIN ledger_postings o ON o.posting_id = r.reverses AND o.tenant_id = r.tenant_id WHERE r.tenant_id = $1 AND r.operation_type = $2",
    )
    .bind(others.tenant_id)
    .bind(REVERSAL)
    .fetch_one(books.db.worker())
    .await
    .unwrap();
    assert_eq!(reversals, 1);
    books.agree().await;

    // What it puts right is nowhere.
    let alone = text.lines().find(|line| line.contains("\"reversal\"")).unwrap();
    let alone = alone.replace(&first.to_string(), &Uuid::new_v4().to_string());
    let id: serde_json::Value = serde_json::from_str(&alone).unwrap();
    let alone = alone.replace(id["request_id"].as_str().unwrap(), &Uuid::new_v4().to_string());
    told(&problems(&others, Format::JsonLines, &alone).await, 1, "reverses", "none of the tenant's");
}

/// A posting a line: so much into what the user has, and out again.
fn in_and_out(pairs: u64) -> String {
    let line = |n: u64, debit: &str, credit: &str| {
        format!(
            "{{\"voucher\":\"{n}{debit}\",\"lines\":[{{\"account\":\"{debit}\",\"debit\":\"9\",\"currency\":\"{USDC}\"}},{{\"account\":\"{credit}\",\"credit\":9,\"currency\":\"{USDC}\"}}]}}\n"
        )
    };
    (0..pairs).map(|n| line(n, "cash 0", "user") + &line(n, "user", "cash 0")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_that_was_interrupted_goes_on_and_each_part_finds_what_it_needs_above_it() {
    let books = Books::new().await;
    let text = in_and_out(1_300);
    let half: String = text.lines().take(1_111).map(|line| format!("{line}\n")).collect();
    assert_eq!(run(&books, Format::JsonLines, &half).await.unwrap(), Imported { posted: 1_111, repeated: 0 });
    assert_eq!(
        run(&books, Format::JsonLines, &text).await.unwrap(),
        Imported { posted: 1_489, repeated: 1_111 }
    );
    assert_eq!(books.holds(books.user).await, ("0".to_owned(), 2_600));
    books.agree().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_somebody_else_takes_meanwhile_stops_it_at_that_line_with_what_is_above_it_on_record() {
    let books = Books::new().await;
    let deposit = books.transfer(books.cash[0], books.user, 9);
    books.book(deposit).await;
    let out = in_and_out(1).lines().nth(1).unwrap().to_owned();
    let text = format!(
        "{}{out}\n",
        in_and_out(600).lines().skip(2).map(|line| format!("{line}\n")).collect::<String>()
    );
    let import = import(&books, Format::JsonLines);
    let checked = import.check(text.as_bytes(), |_| {}).await.unwrap();
    assert_eq!(checked.problem_count, 0, "{checked:#?}");
    books.book(books.transfer(books.user, books.cash[0], 9)).await;
    let mut last = Imported::default();
    let stopped = import.book(checked, text.as_bytes(), &books.intake, |done| last = done).await.unwrap_err();
    let ImportError::Stopped(problem) = stopped else { panic!("{stopped}") };
    assert_eq!((problem.line, problem.field.as_str()), (1_199, "amount"), "{problem}");
    assert_eq!(last.posted, 1_000, "the windows before it");
    assert_eq!(books.count(POSTINGS).await, 2 + 1_198, "and what stands above it in its own");
    books.agree().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_posting_under_a_key_on_record_is_a_problem_and_the_same_is_none() {
    let books = Books::new().await;
    let draft = books.transfer(books.cash[0], books.cash[1], 4);
    let (request_id, posting_id) = (draft.context.request_id, books.book(draft).await);
    let line = |amount: Amount| {
        format!(
            "{{\"request_id\":\"{request_id}\",\"operation_type\":\"transfer\",\"lines\":[{{\"account_id\":\"{}\",\"direction\":\"debit\",\"amount\":\"{amount}\",\"currency\":\"USDC\",\"entry_type\":\"TRADE\"}},\
             {{\"account_id\":\"{}\",\"direction\":\"credit\",\"amount\":\"{amount}\",\"currency\":\"USDC\",\"entry_type\":\"TRADE\"}}]}}\n",
            books.cash[0], books.cash[1]
        )
    };
    let marked = format!("\u{feff}{}", line(Amount::from(4_u64)));
    assert_eq!(check(&books, Format::JsonLines, &marked).await.repeated, 1);
    let found = problems(&books, Format::JsonLines, &line(Amount::from(5_u64))).await;
    told(&found, 1, "request_id", &posting_id.to_string());

    // The same, where it comes between looking and booking.
    let draft = books.transfer(books.cash[0], books.cash[1], 6);
    let text =
        line(Amount::from(7_u64)).replace(&request_id.to_string(), &draft.context.request_id.to_string());
    let import = import(&books, Format::JsonLines);
    let checked = import.check(text.as_bytes(), |_| {}).await.unwrap();
    let posting_id = books.book(draft).await;
    let stopped = import.book(checked, text.as_bytes(), &books.intake, |_| {}).await.unwrap_err();
    let ImportError::Stopped(problem) = stopped else { panic!("{stopped}") };
    assert!(problem.field == "request_id" && problem.what.contains(&posting_id.to_string()), "{problem}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_rows_of_a_csv_export_are_repeated_in_the_books_that_they_are_from() {
    let books = Books::new().await;
    let at = time::macros::datetime!(2026-01-31 12:00:00.123456 UTC);
    let mut draft = Draft { effective_at: Some(at), ..books.transfer(books.cash[0], books.cash[2], 7) };
    draft.metadata.insert("note".into(), "a, \"b\"".into());
    let (request, id) = (draft.context.request_id, books.book(draft).await);
    // As `GET /api/v1/ledger/export?format=csv` writes it.
    let header = "leaf_index,posting_id,request_id,user_id,operation_type,domain,effective_at,booked_at,recorded_at,internal_tx_id,trace_id,chain_id,chain_tx_hash,chain_block_number,chain_block_hash,reverses,compensates,reason,created_by,correlation_id,causation_id,metadata,sequence,account_id,debit,credit,currency,entry_type,account_version,balance_after,checksum";
    let posting = format!(
        "0,{id},{request},,transfer,cash,2026-01-31T12:00:00.123456Z,2026-01-31T12:00:00.123456Z,2026-11-22T00:00:00Z,,,,,,,,,,test,{request},,\"{{\"\"note\"\":\"\"a, \\\"\"b\\\"\"\"\"}}\""
    );
    let [debit, credit] = [books.cash[0], books.cash[2]];
    let rows = format!(
        "{header}\r\n{posting},1,{debit},7,0,USDC,TRADE,1,7,0x00\r\n{posting},2,{credit},0,7,USDC,TRADE,1,-7,0x00\r\n"
    );
    let checked = check(&books, Format::Csv, &rows).await;
    assert_eq!((checked.postings, checked.repeated, checked.problem_count), (1, 1, 0), "{checked:#?}");
    assert_eq!(run(&books, Format::Csv, &rows).await.unwrap(), Imported { posted: 0, repeated: 1 });
}

#[tokio::test(flavor = "multi_thread")]
async fn what_happened_in_a_closed_period_is_told_beforehand_and_counts_in_the_open_one() {
    let books = Books::new().await;
    let through = time::macros::datetime!(2026-01-31 23:59:59.999999 UTC);
    let context = Context::new(Uuid::new_v4(), "cli:test").on_behalf_of(books.tenant_id, None);
    period::close(&books.db, through, "January", &context).await.unwrap();
    let text = "voucher,effective_at,account,debit,credit,currency\n\
                v1,2026-01-05,cash 0,1,,USDC\n,,cash 1,,1,USDC\n\
                v2,2026-02-05,cash 0,1,,USDC\n,,cash 1,,1,USDC\n";
    let checked = check(&books, Format::Csv, text).await;
    assert_eq!((checked.postings, checked.late, checked.problem_count), (2, 1, 0), "{checked:#?}");
    assert_eq!(run(&books, Format::Csv, text).await.unwrap(), Imported { posted: 2, repeated: 0 });
    let late = "SELECT count(*) FROM ledger_postings WHERE booked_at > effective_at AND effective_at = '2026-01-05Z'";
    assert_eq!(books.count(late).await, 1);
    assert_eq!(books.count("SELECT count(*) FROM ledger_postings WHERE booked_at = effective_at").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_without_books_is_told_how_to_open_them() {
    let books = Books::new().await;
    let nobody = Uuid::new_v4();
    let import = Import { tenant_id: nobody, ..import(&books, Format::Csv) };
    let checked = import.check("voucher\n".as_bytes(), |_| {}).await.unwrap();
    let [problem] = &checked.problems[..] else { panic!("{checked:#?}") };
    assert!(problem.field == "the books" && problem.remedy.contains("chart open"), "{problem}");
}

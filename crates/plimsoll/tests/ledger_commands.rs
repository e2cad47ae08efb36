//! `plimsoll ledger` as an accountant meets it: a chart, postings, an import, corrections, a closed period, reports.

#![allow(clippy::unwrap_used)] // a panic is a failed test

mod common;

use common::{CHAIN_ID, Ended, Place, configuration, node_of_chain};
use plimsoll_identity::tenant;
use plimsoll_store::{Db, PoolSizes, testing};
use serde_json::Value;
use sqlx::ConnectOptions as _;
use uuid::Uuid;

const POSTINGS: &str = "SELECT count(*) FROM ledger_postings";
const CONFLICTS: &str =
    "SELECT count(*) FROM bf_events WHERE status = 'conflict' AND created_by LIKE 'cli:%'";
const CONFLICT_EVENTS: &str =
    "SELECT count(*) FROM events_staging WHERE event_type = 'ledger.posting.conflict'";

struct House {
    place: Place,
    db: Db,
}

impl House {
    /// Two tenants; acme has the books of the lending chart in USDC.
    async fn new() -> Self {
        let urls = testing::database().await;
        let place = Place::new();
        let url = urls.owner.to_url_lossy();
        place.write("plimsoll.toml", &configuration(node_of_chain(CHAIN_ID), &format!("url = \"{url}\"")));
        let db = Db::connect_with(&urls, PoolSizes { app: 2, worker: 2 }).await.unwrap();
        let mut tx = db.begin_worker().await.unwrap();
        tenant::create(&mut tx, Uuid::now_v7(), "acme").await.unwrap();
        tenant::create(&mut tx, Uuid::now_v7(), "globex").await.unwrap();
        tx.commit().await.unwrap();
        let house = Self { place, db };
        house.done("chart open lending --tenant acme --currency USDC --decimals 6");
        house
    }

    fn run(&self, line: &str) -> Ended {
        let words: Vec<_> = ["ledger"].into_iter().chain(line.split(' ')).collect();
        self.place.run(&words)
    }

    /// What it prints when it ends well.
    fn done(&self, line: &str) -> String {
        let ended = self.run(line);
        assert_eq!(ended.code, 0, "{line}: {ended:#?}");
        ended.out
    }

    fn json(&self, line: &str) -> Value {
        serde_json::from_str(&self.done(&format!("{line} --json"))).unwrap()
    }

    async fn count(&self, of: &'static str) -> i64 {
        sqlx::query_scalar(of).fetch_one(self.db.worker()).await.unwrap()
    }

    /// Entries of the audit log of this action, by a command, with the reason that was given.
    async fn audited(&self, action: &str) -> i64 {
        let sql = "SELECT count(*) FROM audit_staging WHERE action = $1 AND actor LIKE 'cli:%' AND reason = 'ticket-42'";
        sqlx::query_scalar(sql).bind(action).fetch_one(self.db.worker()).await.unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_posting_is_rehearsed_booked_once_shown_and_taken_back_on_record() {
    let house = House::new().await;
    let request = Uuid::new_v4();
    let line = format!(
        "post --tenant acme --debit strategy=70 --debit gas=30 --credit capital=100 --operation-type fund --description first --request-id {request} --reason ticket-42"
    );
    let dry = house.done(&format!("{line} --dry-run"));
    assert!(
        dry.starts_with("would post fund to the books of acme\n") && dry.contains("debit 70 USDC strategy"),
        "{dry}"
    );
    assert_eq!(house.count(POSTINGS).await, 0);
    house
        .run("post --tenant acme --debit strategy=70 --credit capital=71")
        .fails(2, &["debits of 70 and credits of 71"]);
    house
        .run("post --tenant acme --debit stratgey=70 --credit capital=70")
        .fails(2, &["no account \"stratgey\"", "ledger accounts"]);
    house.run("post --tenant acme --debit strategy=1.5 --credit capital=1").fails(2, &["no whole number"]);
    house
        .run("post --tenant globex --debit strategy=1 --credit capital=1")
        .fails(2, &["no account \"strategy\""]);

    let told = house.json(&line);
    let id = told["target_id"].as_str().unwrap();
    house.run(&line).fails(1, &["nothing to do", id]);
    let another = line.replace("strategy=70", "strategy=71").replace("capital=100", "capital=101");
    house.run(&format!("{another} --dry-run")).fails(1, &["was used for another fund", id]);
    assert_eq!((house.count(CONFLICTS).await, house.count(CONFLICT_EVENTS).await), (0, 0));
    house.run(&another).fails(1, &["was used for another fund", id]);
    assert_eq!(house.count(POSTINGS).await, 1);
    assert_eq!((house.count(CONFLICTS).await, house.count(CONFLICT_EVENTS).await), (1, 1), "it is on record");
    assert_eq!(house.audited("ledger.post").await, 1);

    let voucher = house.done(&format!("voucher {id} --tenant acme"));
    for part in [
        "operation",
        "fund",
        "cli:",
        "strategy     70",
        "100  USDC      POSTING",
        "{\"description\":\"first\"}",
    ] {
        assert!(voucher.contains(part), "{part:?} is not in\n{voucher}");
    }
    assert_eq!(house.json(&format!("voucher {id} --tenant acme"))["posting"]["operation_type"], "fund");
    let spec_5 = "SELECT count(*) FROM vouchers WHERE amount = 70";
    assert_eq!(house.count(spec_5).await, 0, "it is divided among three accounts");

    house
        .run(&format!("reverse {id} --tenant acme --reason ticket-42"))
        .fails(2, &["cannot be undone", "--yes"]);
    house
        .run(&format!("reverse {request} --tenant acme --reason x --yes"))
        .fails(1, &["no posting", "ledger entries"]);
    let dry = house.done(&format!("reverse {id} --tenant acme --reason ticket-42 --dry-run"));
    assert!(dry.contains("is_reversed: no → yes"), "{dry}");
    let back = house.json(&format!("reverse {id} --tenant acme --reason ticket-42 --yes"));
    house
        .run(&format!("reverse {id} --tenant acme --reason again --yes"))
        .fails(1, &["was reversed before", back["target_id"].as_str().unwrap()]);
    assert_eq!((house.count(POSTINGS).await, house.audited("ledger.reverse").await), (2, 1));
    assert!(house.done(&format!("voucher {id} --tenant acme")).contains(back["target_id"].as_str().unwrap()));
    house.db.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_checked_as_a_whole_booked_on_record_and_repeated_without_booking() {
    let house = House::new().await;
    let good = "voucher,effective_at,account,debit,credit,currency\nv1,2026-01-05,strategy,90,,USDC\nv1,,capital,,90,USDC\nv2,2026-01-06,gas spent,4,,USDC\nv2,,strategy,,4,USDC\n";
    house.place.write("books.csv", good);
    house
        .place
        .write("bad.csv", &good.replace("capital,,90", "capitel,,90").replace("2026-01-06", "6.1.2026"));
    house.place.write("books.txt", good);

    house.run("import books.txt --tenant acme").fails(2, &["--format csv"]);
    house.run("import nothing.csv --tenant acme").fails(2, &["nothing.csv"]);
    let bad = house.run("import bad.csv --tenant acme");
    bad.fails(1, &["2 things are wrong with the file, and nothing of it was booked"]);
    for part in [
        "line 3, account: ",
        "\"capitel\"",
        "line 4, effective_at: \"6.1.2026\" is no time: write it as 2026-01-31",
    ] {
        assert!(bad.out.contains(part), "{part:?} is not in\n{}", bad.out);
    }
    let dry = house.done("import books.csv --tenant acme --dry-run");
    assert_eq!(
        dry,
        "2 postings with 4 lines: would post 2, 0 are on record\nnothing was changed (dry run)\n"
    );
    assert_eq!((house.count(POSTINGS).await, house.audited("ledger.import").await), (0, 0));

    let done = house.done("import books.txt --format csv --tenant acme --reason ticket-42");
    assert!(done.starts_with("2 posted, 0 on record before, 0 in conflict\nrequest "), "{done}");
    let again = house.json("import books.csv --tenant acme --reason ticket-42");
    assert_eq!(
        (&again["imported"]["posted"], &again["imported"]["repeated"]),
        (&0.into(), &2.into()),
        "{again:#}"
    );
    assert_eq!((house.count(POSTINGS).await, house.audited("ledger.import").await), (2, 1));
    let caused = "SELECT count(*) FROM ledger_postings p JOIN audit_staging a ON a.request_id::text = p.causation_id WHERE a.action = 'ledger.import'";
    assert_eq!(house.count(caused).await, 2, "each posting names the import");
    assert_eq!(house.count("SELECT count(*) FROM vouchers WHERE amount IN (90, 4)").await, 2);
    house.db.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn reports_say_what_was_booked_and_a_closed_period_stays_as_it_was() {
    let house = House::new().await;
    let post = |debit: &str, credit: &str, at: &str| {
        house.done(&format!(
            "post --tenant acme --debit {debit} --credit {credit} --effective-at {at}T12:00:00Z"
        ));
    };
    post("strategy=1000", "capital=1000", "2026-01-05");
    post("strategy=25", "fees=25", "2026-01-20");
    post("losses=5", "strategy=5", "2026-02-02");

    let january = "2026-01-31T23:59:59.999999Z";
    let statement = house.done(&format!("statement strategy --tenant acme --through {january}"));
    let lines: Vec<&str> = statement.lines().collect();
    assert_eq!(lines[0], "strategy (asset) of cash, in USDC");
    assert!(lines[3].contains("2026-01-05T12:00:00Z") && lines[3].contains("1000"), "{statement}");
    assert!(
        lines.last().unwrap().contains("closing balance") && lines.last().unwrap().contains("1025"),
        "{statement}"
    );
    let income = house.json("statement fees --tenant acme");
    assert_eq!(
        (&income["closing"], &income["lines"][0]["credit"]),
        (&"25".into(), &"25".into()),
        "{income:#}"
    );
    let first = house.done(&format!("statement strategy --tenant acme --through {january} --limit 1"));
    assert!(first.contains("there is more: --after-line 1") && !first.contains("closing"), "{first}");

    house
        .run(&format!("close --tenant acme --through {january} --reason ticket-42"))
        .fails(2, &["cannot be undone"]);
    house
        .run("close --tenant acme --through 2999-01-01T00:00:00Z --reason x --yes")
        .fails(1, &["in the future"]);
    let dry = house.done(&format!("close --tenant acme --through {january} --reason ticket-42 --dry-run"));
    assert!(dry.contains(&format!("→ {january}")), "{dry}");
    assert_eq!(house.done("closings --tenant acme"), "no period is closed yet\n");
    house.done(&format!("close --tenant acme --through {january} --reason ticket-42 --yes"));
    house
        .run(&format!("close --tenant acme --through {january} --reason x --yes"))
        .fails(1, &["closed through"]);
    assert_eq!(
        (
            house.json("closings --tenant acme")[0]["reason"].as_str(),
            house.audited("ledger.period.close").await
        ),
        (Some("ticket-42"), 1)
    );

    let trial = format!("trial-balance --tenant acme --domain cash --booked-at {january}");
    let before = house.done(&trial);
    let total = before.lines().find(|line| line.trim_start().starts_with("total")).unwrap();
    assert_eq!(total.split_whitespace().collect::<Vec<_>>(), ["total", "1025", "1025"], "{before}");
    post("strategy=7", "fees=7", "2026-01-21");
    assert_eq!(house.done(&trial), before, "what comes late counts later");
    assert!(house.done("statement fees --tenant acme").contains("operator, late"));

    let sheets = house.json("balance-sheet --tenant acme --domain cash");
    assert_eq!(
        (&sheets[0]["assets"], &sheets[0]["equity"], &sheets[0]["result"], &sheets[0]["difference"]),
        (&"1027".into(), &"1000".into(), &"27".into(), &"0".into()),
        "{sheets:#}"
    );
    assert!(house.done("balance-sheet --tenant acme --domain cash").contains("cash, in USDC\n"));
    house.db.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chart_is_opened_again_without_effect_and_accounts_fit_on_a_screen() {
    let house = House::new().await;
    house.run("chart open lending --tenant acme --currency USDC").fails(1, &["nothing to do"]);
    house.run("chart open landing --tenant acme --currency USDC").fails(2, &["did you mean \"lending\"?"]);
    house
        .run("chart open lending --tenant acme --currency EUR")
        .fails(2, &["no currency \"EUR\"", "--decimals"]);
    let user = Uuid::new_v4();
    let opened = house
        .json(&format!("chart open lending --tenant acme --currency USDC --user {user} --reason ticket-42"));
    assert_eq!(opened["after"]["accounts_opened"], 3, "{opened:#}");
    assert_eq!(house.audited("ledger.chart.open").await, 1);
    assert!(house.done("chart show").contains("deposits <user>"));

    let long = "eip155:42161/erc20:0x82af49447d8a07e3bd95bd0d56f35241523fbab1";
    house.done(&format!("chart open lending --tenant acme --currency {long} --decimals 18"));
    let fits = |shown: &str| {
        let widest = shown.lines().map(|line| line.chars().count()).max().unwrap();
        assert!(widest <= 120, "{widest} columns:\n{shown}");
    };
    for list in ["accounts --tenant acme", "balances --tenant acme"] {
        let shown = house.done(list);
        fits(&shown);
        assert!(shown.contains(&format!("cash, in {long}\n")), "{shown}");
    }
    assert_eq!(house.done("entries --tenant acme"), "there is no such posting\n");
    let line = format!(
        "--debit strategy=90000000000000000000 --credit capital=90000000000000000000 --currency {long}"
    );
    let posted = house.json(&format!("post --tenant acme {line} --operation-type fund"));
    let entries = house.done("entries --tenant acme");
    fits(&entries);
    for part in [posted["target_id"].as_str().unwrap(), "  fund  ", "90000000000000000000", "0x82af…bab1"] {
        assert!(entries.contains(part), "{part:?} is not in\n{entries}");
    }
    assert_eq!(house.json("entries --tenant acme")[0]["lines"][0]["currency"], long);
    let first = house.done("accounts --tenant acme --limit 1");
    assert!(first.contains("there may be more: --after "), "{first}");
    house.db.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_posting_says_for_whom_and_what_it_makes_good_and_is_found_by_what_it_is() {
    let house = House::new().await;
    let post = |line: &str| -> String {
        let told = house.json(&format!("post --tenant acme {line}"));
        told["target_id"].as_str().unwrap().to_owned()
    };
    let (user, request) = (Uuid::new_v4(), Uuid::new_v4());
    let first = post(&format!(
        "--debit strategy=70 --credit capital=70 --user {user} --request-id {request} --operation-type fund --entry-type TRADE --effective-at 2026-01-05T12:00:00Z"
    ));
    let good = post(&format!(
        "--debit strategy=2 --credit capital=2 --compensates {first} --reason short --effective-at 2026-02-05T12:00:00Z"
    ));
    let voucher = |id: &str| house.json(&format!("voucher {id} --tenant acme"))["posting"].clone();
    let (shown, made_good) = (voucher(&first), voucher(&good));
    assert_eq!(
        (&shown["user_id"], &shown["compensated_by"][0]),
        (&user.to_string().into(), &good.as_str().into())
    );
    assert_eq!(shown["lines"][0]["entry_type"], "TRADE");
    assert_eq!((&made_good["compensates"], &made_good["reason"]), (&first.as_str().into(), &"short".into()));
    house.run(&format!("voucher {first} --tenant globex")).fails(1, &["no posting"]);
    let back = house.json(&format!("reverse {good} --tenant acme --reason twice --yes"));
    assert_eq!(voucher(back["target_id"].as_str().unwrap())["reason"], "twice");

    let found = |filter: &str| -> Vec<String> {
        let entries = house.json(&format!("entries --tenant acme {filter}"));
        let ids =
            entries.as_array().unwrap().iter().map(|entry| entry["posting_id"].as_str().unwrap().to_owned());
        ids.collect()
    };
    let reversal = back["target_id"].as_str().unwrap();
    assert_eq!(found("--limit 2"), [reversal, &*good]);
    assert_eq!(found(&format!("--below {good}")), [&*first]);
    assert_eq!(found(&format!("--request-id {request}")), [&*first]);
    assert_eq!(found("--operation-type fund"), [&*first]);
    assert_eq!(found("--until 2026-01-31T00:00:00Z"), [&*first]);
    assert_eq!(found("--since 2026-01-31T00:00:00Z"), [reversal, &*good]);
    let account = shown["lines"][0]["account_id"].as_str().unwrap();
    assert_eq!(found(&format!("--account {account}")), [reversal, &*good, &*first]);
    assert_eq!(found(&format!("--account {}", Uuid::new_v4())), Vec::<String>::new());
    house.db.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_goes_on_where_its_page_ended_and_asks_by_which_time() {
    let house = House::new().await;
    let post = |amount: u64, at: &str| {
        house.done(&format!(
            "post --tenant acme --debit strategy={amount} --credit capital={amount} --effective-at {at}T12:00:00Z"
        ));
    };
    let close = |through: &str| {
        house.done(&format!("close --tenant acme --through {through}T23:59:59.999999Z --reason x --yes"));
    };
    (1..=3).for_each(|day| post(day, &format!("2026-01-0{day}")));
    close("2026-01-01");
    close("2026-01-02");
    post(10, "2026-01-01");

    let balances = |asked: &str| -> Vec<String> {
        let statement = house.json(&format!("statement strategy --tenant acme {asked}"));
        let lines = statement["lines"]
            .as_array()
            .unwrap()
            .iter()
            .map(|line| line["balance"].as_str().unwrap().to_owned());
        lines.collect()
    };
    assert_eq!(balances("--through 2026-01-02T23:59:59Z"), ["1", "3", "13"]);
    assert_eq!(
        balances("--through 2026-01-02T23:59:59Z --by booked"),
        ["1", "3"],
        "what comes late counts later"
    );
    assert_eq!(balances("--by recorded --after 2026-02-01T00:00:00Z"), ["1", "3", "6", "16"]);
    assert_eq!(balances("--after 2026-01-02T00:00:00Z"), ["13", "16"]);
    assert_eq!(balances("--limit 2"), ["1", "3"]);
    let next = house.json("statement strategy --tenant acme --limit 2")["next_after_line"].clone();
    assert_eq!(balances(&format!("--limit 2 --after-line {next}")), ["6", "16"]);

    let closings =
        |asked: &str| house.json(&format!("closings --tenant acme {asked}")).as_array().unwrap().len();
    assert_eq!((closings("--limit 1"), closings("--limit 9")), (1, 2));
    let assets =
        |asked: &str| house.json(&format!("balance-sheet --tenant acme {asked}"))[0]["assets"].clone();
    assert_eq!(
        (assets("--effective-at 2026-01-01T23:59:59Z"), assets("--domain cash")),
        ("11".into(), "16".into())
    );
    house.db.close().await;
}

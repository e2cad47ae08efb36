//! Backfills as an operator asks for them: from a real node, of a journal that the program itself has written.

#![allow(clippy::unwrap_used)] // a panic is a failed test

mod common;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};

use alloy_primitives::keccak256;
use common::{CHAIN_ID, Ended, Place, configuration};
use plimsoll_store::{DatabaseUrls, testing};
use plimsoll_testkit::anvil::{Anvil, AnvilOptions};
use plimsoll_testkit::node::Node;
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, ConnectOptions as _};

const BELL: &str = "0x00000000000000000000000000000000000000a1";
const REQUEST: &str = "0190b0a4-0000-7000-8000-000000000042";
const OTHER: &str = "0190b0a4-0000-7000-8000-000000000043";

/// A node with a contract that says `Rung()` whenever it is called, and is called in blocks 1 to 6; block 7 is empty.
async fn chain() -> Anvil {
    let anvil = Anvil::start(&AnvilOptions { chain_id: CHAIN_ID, ..AnvilOptions::default() }).await.unwrap();
    let topic = keccak256("Rung()");
    let code = format!("0x7f{topic:x}60006000a100");
    anvil.raw("anvil_setCode", json!([BELL, code])).await.unwrap();
    for _ in 0..6 {
        ring(&anvil).await;
    }
    anvil.mine(1).await.unwrap();
    anvil
}

async fn ring(node: &Node) {
    let from = node.accounts().await.unwrap()[0];
    node.raw("eth_sendTransaction", json!([{ "from": from, "to": BELL }])).await.unwrap();
    node.mine(1).await.unwrap();
}

/// A place whose configuration follows the contract from block 1 on, one block being enough to make the one below it final.
fn place(node: &Node, urls: &DatabaseUrls) -> Place {
    let place = Place::new();
    let address = node.url().trim_start_matches("http://").parse().unwrap();
    let database = format!("url = \"{}\"", urls.owner.to_url_lossy());
    place.write("abi.json", r#"[{"type":"event","name":"Rung","anonymous":false,"inputs":[]}]"#);
    let text = configuration(address, &database)
        .replace("name = \"test\"", "name = \"test\"\nconfirmations = 0\nfinality_depth = 1");
    place.write(
        "plimsoll.toml",
        &format!(
            "{text}\n[[chain.contract]]\nname = \"Bell\"\naddress = \"{BELL}\"\nabi = \"abi.json\"\nstart_block = 1\n\
             tenant = \"0198c5a1-7d2e-7c3a-9a55-3f1f0c6d2b10\"\n"
        ),
    );
    place
}

fn backfill(place: &Place, words: &[&str]) -> Ended {
    place.run(&[&["backfill"][..], words].concat())
}

/// `backfill` with the chain and these blocks.
fn ask(place: &Place, from: &str, to: &str, more: &[&str]) -> Ended {
    let chain = CHAIN_ID.to_string();
    backfill(place, &[&["--chain", &chain, "--from", from, "--to", to][..], more].concat())
}

async fn count(urls: &DatabaseUrls, what: &str) -> i64 {
    let mut owner = urls.owner.connect().await.unwrap();
    let statement = format!("SELECT count(*) FROM plimsoll.{what}");
    sqlx::query_scalar(AssertSqlSafe(statement)).fetch_one(&mut owner).await.unwrap()
}

/// The audit entries of backfills: request, action, target, reason, the state before and after.
async fn entries(urls: &DatabaseUrls) -> Vec<String> {
    let mut owner = urls.owner.connect().await.unwrap();
    sqlx::query_scalar(
        "SELECT concat_ws(' ', request_id, action, target_id, reason, before->>'state', after->>'state')
         FROM plimsoll.audit_staging WHERE target_type = 'backfill' ORDER BY staging_id",
    )
    .fetch_all(&mut owner)
    .await
    .unwrap()
}

/// The journal reaches block 7, and block 6 is final in it.
fn is_followed(place: &Place) -> bool {
    let status = place.run(&["chain", "status", "--json"]);
    let chains: Value = serde_json::from_str(&status.out).unwrap_or_default();
    chains[0]["head_number"] == 7 && chains[0]["final_number"] == 6
}

/// A node, a database with a journal of its chain, and nobody who follows it any more.
async fn house() -> (Anvil, DatabaseUrls, Place) {
    let (anvil, urls) = (chain().await, testing::database().await);
    let place = place(&anvil, &urls);
    follow(&place);
    (anvil, urls, place)
}

/// Follows the chain to its end.
fn follow(place: &Place) {
    let running = place.start("ingest runs");
    while !is_followed(place) {}
    running.signal("TERM");
    let (code, log) = running.end();
    assert_eq!(code, Some(0), "{log}");
}

/// A node before this one that tells of no log in even blocks. Each connection asks one question at a time.
fn hiding(node: &Node) -> SocketAddr {
    let (listener, url) = (TcpListener::bind("127.0.0.1:0").unwrap(), node.url().to_owned());
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let url = url.clone();
            std::thread::spawn(move || hide(stream.unwrap(), &url));
        }
    });
    address
}

fn hide(stream: TcpStream, url: &str) -> Option<()> {
    let server = TcpStream::connect(url.trim_start_matches("http://")).ok()?;
    let (mut asked, mut answered) = (BufReader::new(stream), BufReader::new(server));
    loop {
        let question = message(&mut asked)?;
        let head = format!(
            "POST / HTTP/1.1\r\nhost: node\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
            question.len()
        );
        answered.get_mut().write_all(&[head.as_bytes(), &question].concat()).ok()?;
        let mut answer: Value = serde_json::from_slice(&message(&mut answered)?).ok()?;
        let all = match &mut answer {
            Value::Array(all) => all.iter_mut().collect(),
            one => vec![one],
        };
        for one in all {
            if let Some(logs) = one["result"].as_array_mut() {
                logs.retain(|log| {
                    !log["logIndex"].is_string()
                        || log["blockNumber"]
                            .as_str()
                            .is_none_or(|number| "13579bdf".contains(&number[number.len() - 1..]))
                });
            }
        }
        let answer = answer.to_string();
        let head = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
            answer.len()
        );
        asked.get_mut().write_all(format!("{head}{answer}").as_bytes()).ok()?;
    }
}

/// The body of an HTTP message that says how long it is.
fn message(reader: &mut BufReader<TcpStream>) -> Option<Vec<u8>> {
    let mut length = 0;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        let line = line.trim().to_lowercase();
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
        if line.is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(body)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_node_hid_is_found_by_the_process_that_follows_the_chain_and_then_all_agrees() {
    let (anvil, urls) = (chain().await, testing::database().await);
    let place = place(&anvil, &urls);
    let honest = std::fs::read_to_string(place.path("plimsoll.toml")).unwrap();
    let (node, liar) = (anvil.url().trim_start_matches("http://"), hiding(&anvil).to_string());
    let trusting = honest.replace(node, &liar).replace(
        "confirmations = 0",
        "confirmations = 0\nhead_completeness = \"trusted\"\nbackfill_completeness = \"trusted\"",
    );
    assert!(trusting.contains(&liar) && trusting.contains("trusted"));
    place.write("plimsoll.toml", &trusting);
    follow(&place);
    assert_eq!(count(&urls, "chain_live").await, 3);

    place.write("plimsoll.toml", &honest);
    place.run(&["verify", "completeness"]).fails(1, &["differ in 3 events"]);
    let preview = ask(&place, "1", "6", &["--dry-run"]);
    assert!(
        preview.out.contains("wanted in 6 blocks, 6 were asked for it before, 0 at this level"),
        "{preview:#?}"
    );
    assert!(preview.out.contains("6 events, 3 not in the journal"), "{preview:#?}");

    let running = place.start("ingest runs");
    let limited = ask(&place, "1", "6", &["--limit", "2", "--wait", "--request-id", REQUEST]);
    limited.fails(
        3,
        &["stopped at its limit, with 3 of 6 blocks looked at", &format!("backfill resume {REQUEST}")],
    );
    let resumed = backfill(&place, &["resume", REQUEST]);
    assert_eq!(resumed.code, 0, "{resumed:#?}");
    let done = backfill(&place, &["show", REQUEST, "--wait", "--json"]);
    assert_eq!(done.code, 0, "{done:#?}");
    let done: Value = serde_json::from_str(&done.out).unwrap();
    assert_eq!((&done["state"], &done["found"], &done["next"]), (&json!("done"), &json!(3), &Value::Null));
    let again = ask(&place, "1", "6", &["--wait", "--json", "--parallel", "4"]);
    assert_eq!(again.code, 0, "{again:#?}");
    let again: Value = serde_json::from_str(&again.out).unwrap();
    assert_eq!((&again["state"], &again["found"]), (&json!("done"), &json!(0)));
    running.signal("TERM");
    let (code, log) = running.end();
    assert_eq!(code, Some(0), "{log}");
    assert!(log.contains(REQUEST), "each step is logged with its request: {log}");

    assert_eq!(count(&urls, "chain_live").await, 6);
    let verified = place.run(&["verify", "completeness"]);
    assert_eq!(verified.code, 0, "{verified:#?}");
    let replayed = place.run(&["replay", "views"]);
    assert_eq!(replayed.code, 0, "{replayed:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_is_put_on_record_once_and_with_an_audit_entry() {
    let (_anvil, urls, place) = house().await;
    let words = [
        "--contract",
        "Bell",
        "--limit",
        "3",
        "--parallel",
        "2",
        "--reason",
        "ticket 42",
        "--request-id",
        REQUEST,
    ];
    let first = ask(&place, "2", "6", &words);
    assert_eq!(first.code, 0, "{first:#?}");
    assert!(first.out.contains("no process follows this chain just now"), "{first:#?}");
    assert!(first.out.ends_with(&format!("request {REQUEST}\n")), "{first:#?}");
    // By its address it is the same contract.
    let words = ["--contract", BELL, "--limit", "3", "--parallel", "2", "--request-id", REQUEST];
    let again = ask(&place, "2", "6", &words);
    assert_eq!(again.code, 0, "{again:#?}");
    assert!(again.out.starts_with("asked for before: ") && again.out.contains("it is queued"), "{again:#?}");
    ask(&place, "2", "5", &words)
        .fails(1, &[REQUEST, "is another one: blocks 2 to 6", "`--request-id` of its own"]);
    assert_eq!(count(&urls, "backfills").await, 1);
    assert_eq!(entries(&urls).await, [format!("{REQUEST} backfill.request {REQUEST} ticket 42 queued")]);

    let made = ask(&place, "1", "6", &["--json"]);
    let made: Value = serde_json::from_str(&made.out).unwrap();
    assert_eq!(
        (&made["from"], &made["state"], &made["contracts"]),
        (&json!(1), &json!("queued"), &Value::Null)
    );
    let listed = backfill(&place, &["list", "--json"]);
    let listed: Value = serde_json::from_str(&listed.out).unwrap();
    let ids: Vec<_> =
        listed.as_array().unwrap().iter().map(|it| it["request_id"].as_str().unwrap()).collect();
    assert_eq!(ids, [made["request_id"].as_str().unwrap(), REQUEST]);
    let shown = backfill(&place, &["show", REQUEST]);
    assert!(shown.code == 0 && shown.out.contains("ticket 42") && shown.out.contains(BELL), "{shown:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operators_word_about_a_request_is_on_record_too() {
    let (_anvil, urls, place) = house().await;
    assert_eq!(ask(&place, "2", "6", &["--request-id", REQUEST]).code, 0);
    let turn = |verb: &str, more: &[&str]| {
        backfill(&place, &[&[verb, REQUEST, "--request-id", OTHER][..], more].concat())
    };
    turn("resume", &[]).fails(1, &["is queued: there is nothing to resume", "goes on by itself"]);
    let dry = turn("cancel", &["--dry-run"]);
    assert!(dry.code == 0 && dry.out.contains("state: queued → cancelled"), "{dry:#?}");
    assert_eq!(entries(&urls).await.len(), 1);

    let cancelled = turn("cancel", &["--reason", "the wrong blocks"]);
    assert!(cancelled.code == 0 && cancelled.out.contains("state: queued → cancelled"), "{cancelled:#?}");
    turn("cancel", &[]).fails(1, &["has ended already: it is cancelled"]);
    let resumed = turn("resume", &[]);
    assert!(resumed.code == 0 && resumed.out.contains("state: cancelled → queued"), "{resumed:#?}");
    assert_eq!(
        entries(&urls).await[1..],
        [
            format!("{OTHER} backfill.cancel {REQUEST} the wrong blocks queued cancelled"),
            format!("{OTHER} backfill.resume {REQUEST} cancelled queued")
        ]
    );
    // Nobody is there to work it off.
    backfill(&place, &["show", REQUEST, "--wait"])
        .fails(3, &["no process follows chain 31337", "`plimsoll run`"]);
    assert_eq!(backfill(&place, &["cancel", REQUEST]).code, 0);
    let waited = backfill(&place, &["show", REQUEST, "--wait"]);
    waited.fails(1, &["was cancelled, with 0 of 5 blocks looked at", &format!("backfill resume {REQUEST}")]);
    for verb in ["show", "cancel", "resume"] {
        backfill(&place, &[verb, OTHER])
            .fails(1, &["no backfill with the request id", "plimsoll backfill list"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_asked_for_is_refused_with_a_remedy_and_leaves_nothing() {
    let (_anvil, urls, place) = house().await;
    for dry in [&[][..], &["--dry-run"]] {
        let refused = |from: &str, to: &str, more: &[&str], code: i32, parts: &[&str]| {
            ask(&place, from, to, &[more, dry].concat()).fails(code, parts);
        };
        refused("5", "4", &[], 2, &["block 5 is above block 4", "exchange `--from` and `--to`"]);
        refused("2", "7", &[], 2, &["block 7 is above 6, the last final one", "up to 6"]);
        refused("0", "6", &[], 2, &["nothing is followed below block 1", "--from 1"]);
        refused("2", "6", &["--contract", "Bel"], 2, &["no contract \"Bel\"", "did you mean \"Bell\"?"]);
        refused(
            "2",
            "6",
            &["--contract", "0x00000000000000000000000000000000000000a2"],
            2,
            &["no contract", "its contracts are Bell"],
        );
        refused("2", "6", &["--limit", "0"], 2, &["--limit"]);
        refused("2", "6", &["--parallel", "1000"], 2, &["--parallel"]);
    }
    backfill(&place, &["--chain", "5", "--from", "1", "--to", "2"])
        .fails(2, &["chain 5 is not configured", "31337"]);
    backfill(&place, &["--chain", "5", "--from", "1"]).fails(2, &["--to <BLOCK>"]);
    ask(&place, "2", "6", &["--wait", "--dry-run"]).fails(2, &["cannot be used with"]);
    assert_eq!((count(&urls, "backfills").await, entries(&urls).await.len()), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_preview_says_what_is_covered_and_what_it_would_take_and_puts_nothing_on_record() {
    let (_anvil, urls, place) = house().await;
    let tables =
        ["backfills", "audit_staging", "journal", "chain_events", "completeness_certificates", "anomalies"];
    let mut before = Vec::new();
    for table in tables {
        before.push(count(&urls, table).await);
    }
    let shown = ask(&place, "2", "6", &["--dry-run"]);
    assert_eq!(shown.code, 0, "{shown:#?}");
    for part in [
        "blocks 2 to 6 of chain 31337: 5 blocks, to be proven at level bloom",
        &format!("logs of {BELL}: wanted in 5 blocks, 5 were asked for it before, 5 at this level"),
        "looked at 5 blocks in 1 ranges: 5 events, 0 not in the journal",
        "estimates:",
        "events on the chain   about 5",
        "not in the journal    about 0",
        "nothing was put on record (dry run)",
    ] {
        assert!(shown.out.contains(part), "`{part}` is not in\n{}", shown.out);
    }
    let preview = ask(&place, "2", "6", &["--dry-run", "--contract", "Bell", "--json"]);
    let preview: Value = serde_json::from_str(&preview.out).unwrap();
    assert_eq!(
        (&preview["blocks"], &preview["estimate"]["log_requests"]),
        (&json!(5), &json!(1)),
        "{preview}"
    );
    assert_eq!(preview["estimate"]["header_requests"], 8, "{preview}");

    // What the journal lacks shows.
    let mut owner = urls.owner.connect().await.unwrap();
    sqlx::raw_sql("DELETE FROM plimsoll.chain_live WHERE block_number = 4")
        .execute(&mut owner)
        .await
        .unwrap();
    let holed = ask(&place, "2", "6", &["--dry-run"]);
    assert!(holed.out.contains("5 events, 1 not in the journal"), "{holed:#?}");
    for (table, rows) in tables.into_iter().zip(before) {
        assert_eq!(count(&urls, table).await, rows, "{table}");
    }
}

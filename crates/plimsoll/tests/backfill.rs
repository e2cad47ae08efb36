//! Backfills as an operator asks for them: from a real node, of a journal that the program itself has written.

#![allow(clippy::unwrap_used)] // a panic is a failed test

mod common;

use common::bell::{BELL, Deceived, count, deceived, house};
use common::{CHAIN_ID, Ended, Place};
use plimsoll_store::DatabaseUrls;
use serde_json::{Value, json};
use sqlx::ConnectOptions as _;

const REQUEST: &str = "0190b0a4-0000-7000-8000-000000000042";
const OTHER: &str = "0190b0a4-0000-7000-8000-000000000043";

fn backfill(place: &Place, words: &[&str]) -> Ended {
    place.run(&[&["backfill"][..], words].concat())
}

/// `backfill` with the chain and these blocks.
fn ask(place: &Place, from: &str, to: &str, more: &[&str]) -> Ended {
    let chain = CHAIN_ID.to_string();
    backfill(place, &[&["--chain", &chain, "--from", from, "--to", to][..], more].concat())
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

#[tokio::test(flavor = "multi_thread")]
async fn what_a_node_hid_is_found_by_the_process_that_follows_the_chain_and_then_all_agrees() {
    let Deceived { anvil: _anvil, urls, place, honest, .. } = deceived().await;
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
async fn what_a_second_look_finds_missing_it_has_repaired_and_a_third_is_clean() {
    let Deceived { anvil, urls, place, trusting, .. } = deceived().await;
    // The node that hides stays, and nothing is proven unless it is asked for; beside it there is an honest one now.
    let honest =
        format!("[[chain.endpoint]]\nname = \"honest\"\nrpc = \"{}\"\n\n[[chain.contract]]", anvil.url());
    place.write("plimsoll.toml", &trusting.replace("[[chain.contract]]", &honest));
    let look =
        |more: &[&str]| place.run(&[&["verify", "completeness", "--level", "receipts"][..], more].concat());

    look(&[]).fails(1, &["differ in 3 events", "`--repair`"]);
    let dry = look(&["--repair", "--dry-run"]);
    dry.fails(1, &["differ in 3 events"]);
    let told = "would ask for blocks 2 to 6 of chain 31337, at level receipts\nnothing was put on record (dry run)\n";
    assert!(dry.out.ends_with(told), "{dry:#?}");
    assert_eq!((count(&urls, "backfills").await, entries(&urls).await.len()), (0, 0));

    let asked = look(&["--repair", "--reason", "ticket 42", "--json"]);
    asked.fails(1, &["plimsoll backfill show ID --wait"]);
    let asked: Value = serde_json::from_str(&asked.out).unwrap();
    assert_eq!(asked[0]["holes"], json!([{ "from": 2, "to": 6 }]), "{asked:#}");
    let repair = &asked[0]["repair"];
    let request = repair["backfills"][0]["request_id"].as_str().unwrap();
    assert_eq!(
        (&repair["backfills"][0]["level"], repair["backfills"].as_array().unwrap().len()),
        (&json!("receipts"), 1)
    );
    assert!(repair["waits"].as_str().is_some_and(|why| why.contains("no process follows")), "{repair:#}");
    assert_eq!(entries(&urls).await, [format!("{request} backfill.request {request} ticket 42 queued")]);
    // Once is enough.
    let again = look(&["--repair"]);
    let told =
        format!("repair: blocks 2 to 6 of chain 31337, at level receipts (queued), request {request}\n");
    assert!(again.code == 1 && again.out.contains(&told), "{again:#?}");
    assert_eq!((count(&urls, "backfills").await, entries(&urls).await.len()), (1, 1));

    let running = place.start("ingest runs");
    let done = backfill(&place, &["show", request, "--wait", "--json"]);
    assert_eq!(done.code, 0, "{done:#?}");
    let done: Value = serde_json::from_str(&done.out).unwrap();
    assert_eq!((&done["state"], &done["found"]), (&json!("done"), &json!(3)), "{done:#}");
    running.signal("TERM");
    let (code, log) = running.end();
    assert_eq!(code, Some(0), "{log}");

    let clean = look(&["--repair"]);
    assert!(clean.code == 0 && clean.out.ends_with("nothing to repair\n"), "{clean:#?}");
    assert_eq!((count(&urls, "backfills").await, count(&urls, "chain_live").await), (1, 6));
    let replayed = place.run(&["replay", "views"]);
    assert_eq!(replayed.code, 0, "{replayed:#?}");
    look(&["--dry-run"]).fails(2, &["--repair"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_chain_that_has_halted_a_request_says_why_it_waits_and_nobody_waits_with_it() {
    let (_anvil, urls, place) = house().await;
    assert_eq!(ask(&place, "2", "6", &["--request-id", REQUEST]).code, 0);
    let told = |words: &[&str], what: &str| {
        let shown = backfill(&place, words);
        assert!(shown.code == 0 && shown.out.contains(what), "{shown:#?}");
    };
    told(&["show", REQUEST], "no process follows this chain just now");
    let mut owner = urls.owner.connect().await.unwrap();
    sqlx::raw_sql("UPDATE plimsoll.chains SET state = 'halted', halt = '{\"kind\": \"deep_reorg\"}'")
        .execute(&mut owner)
        .await
        .unwrap();
    let what = "chain 31337 has halted";
    told(&["show", REQUEST], what);
    told(&["list"], what);
    for words in [&["show", REQUEST, "--json"][..], &["list", "--json"]] {
        told(words, &format!("\"waits\": \"{what}"));
        told(words, "plimsoll chain resume --chain 31337");
    }
    let asked = ask(&place, "2", "6", &[]);
    assert!(asked.code == 0 && asked.out.contains(what), "{asked:#?}");
    backfill(&place, &["show", REQUEST, "--wait"]).fails(3, &[what, "plimsoll chain resume --chain 31337"]);
    // What is over does not wait.
    assert_eq!(backfill(&place, &["cancel", REQUEST]).code, 0);
    let shown = backfill(&place, &["show", REQUEST]);
    assert!(shown.code == 0 && !shown.out.contains("halted"), "{shown:#?}");
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

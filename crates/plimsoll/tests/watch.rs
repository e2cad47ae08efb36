//! A sender that is added while a chain is followed, by the built program, from a real node.

#![allow(clippy::unwrap_used)] // a panic is a failed test

mod common;

use std::time::{Duration, Instant};

use alloy_primitives::{Address, Bytes};
use common::bell::{count, hang, place};
use common::{CHAIN_ID, Place};
use plimsoll_store::testing;
use plimsoll_testkit::anvil::{Anvil, AnvilOptions, Mining};
use plimsoll_testkit::node::Call;
use serde_json::Value;

/// What has not come to pass by then never will.
const HANGS_AFTER: Duration = Duration::from_secs(90);

/// A transaction each, in a block with another on top, so that it is final.
async fn send(anvil: &Anvil, senders: &[Address]) {
    for from in senders {
        anvil.send(&Call { from: *from, to: Some(Address::ZERO), data: Bytes::new() }).await.unwrap();
    }
    anvil.mine(2).await.unwrap();
}

/// Until it is so.
async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let begun = Instant::now();
    while !is_so().await {
        assert!(begun.elapsed() < HANGS_AFTER, "waiting for {what}");
    }
}

/// What `plimsoll chain watch` tells.
fn watch(place: &Place, sender: Address, more: &[&str]) -> Value {
    let (chain, sender) = (CHAIN_ID.to_string(), sender.to_string());
    let asked = place
        .run(&[&["chain", "watch", "--chain", &chain, "--sender", &sender, "--json"][..], more].concat());
    assert_eq!(asked.code, 0, "{asked:#?}");
    serde_json::from_str(&asked.out).unwrap()
}

fn head(place: &Place) -> Option<u64> {
    let status = place.run(&["chain", "status", "--json"]);
    serde_json::from_str::<Value>(&status.out).ok()?[0]["head_number"].as_u64()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sender_that_is_added_while_it_runs_is_acknowledged_and_followed_whoever_dies() {
    let options =
        AnvilOptions { chain_id: CHAIN_ID, mining: Mining::OnDemand, accounts: 3, ..AnvilOptions::default() };
    let anvil = Anvil::start(&options).await.unwrap();
    hang(&anvil).await;
    let [ada, stranger] = anvil.accounts().await.unwrap()[..2] else { panic!("two accounts") };
    let both = [ada, stranger];
    let urls = testing::database().await;
    let place = place(&anvil, &urls);
    send(&anvil, &both).await;

    let running = place.start("ingest runs");
    until("block 2", async || head(&place) == Some(2)).await;
    let asked = watch(&place, ada, &["--reason", "ticket 42"]);
    assert_eq!(
        (&asked["action"], &asked["after"]["since"]),
        (&"sender.watch".into(), &3.into()),
        "{asked:#}"
    );
    let mut told = Value::Null;
    until("the acknowledgement", async || {
        told = watch(&place, ada, &[]);
        told["acknowledged_from"].is_u64()
    })
    .await;
    assert_eq!(told["acknowledged_from"], 3, "{told:#}");

    // As it comes.
    let included = "journal WHERE kind = 'included'";
    send(&anvil, &both).await;
    until("the first one", async || count(&urls, included).await == 1).await;

    // Killed, and while nobody is there.
    running.signal("KILL");
    assert_eq!(running.end().0, None);
    send(&anvil, &both).await;
    let running = place.start("ingest runs");
    until("what came meanwhile", async || count(&urls, included).await == 2).await;
    send(&anvil, &both).await;
    until("what comes then", async || count(&urls, included).await == 3).await;
    assert_eq!(watch(&place, ada, &[])["acknowledged_from"], 3);

    // What lies before comes late.
    let asked = watch(&place, ada, &["--since", "0"]);
    assert_eq!(asked["after"]["since"], 0, "{asked:#}");
    let late = "journal WHERE kind = 'late_included'";
    until("its past", async || count(&urls, late).await == 1).await;
    running.signal("TERM");
    let (code, log) = running.end();
    assert_eq!(code, Some(0), "{log}");
    // Once for each word that changed something, numbered already or not.
    let entries = async |table| count(&urls, &format!("{table} WHERE action = 'sender.watch'")).await;
    assert_eq!(entries("audit_staging").await + entries("audit_log").await, 2);
    let ours = format!("chain_tx_meta WHERE sender = '{}'", plimsoll_types::address_text(&ada));
    assert_eq!((count(&urls, "chain_tx_meta").await, count(&urls, &ours).await), (4, 4));
    let verified = place.run(&["verify", "completeness"]);
    assert_eq!(verified.code, 0, "{verified:#?}");
}

//! Numbers of a chain's state on the command line, from a real node.

#![allow(clippy::unwrap_used)] // a panic is a failed test

mod common;

use alloy_primitives::{Address, B256};
use common::{CHAIN_ID, Ended, Place, configuration, node_of_chain};
use plimsoll_store::testing;
use plimsoll_testkit::anvil::{Anvil, AnvilOptions};
use plimsoll_testkit::node::Node;
use serde_json::{Value, json};
use sqlx::ConnectOptions as _;

const RICH: &str = "0x00000000000000000000000000000000000000b2";
/// Returns (1, -5), whatever it is asked.
const PAIR: &str = "0x00000000000000000000000000000000000000a1";
const PAIR_CODE: &str = "0x60015f5260041960205260405ff3";
const PAIR_ABI: &str = r#"[{"type":"event","name":"Moved","anonymous":false,"inputs":[]},
    {"type":"function","name":"position","stateMutability":"view","inputs":[{"name":"user","type":"address"}],
     "outputs":[{"name":"debt","type":"uint256"},{"name":"skew","type":"int256"}]}]"#;

/// Makes a block in which the account gets so much.
async fn block(node: &Node, wei: u64) -> B256 {
    let from = node.accounts().await.unwrap()[0];
    let transfer = json!([{ "from": from, "to": RICH, "value": format!("{wei:#x}") }]);
    node.raw("eth_sendTransaction", transfer).await.unwrap();
    node.mine(1).await.unwrap();
    node.block_hash(node.block_number().await.unwrap()).await.unwrap().unwrap()
}

/// A node on whose chain the account had 5 wei after block 1, and 6 after block 2.
async fn chain() -> (Anvil, [B256; 2]) {
    let anvil = Anvil::start(&AnvilOptions { chain_id: CHAIN_ID, ..AnvilOptions::default() }).await.unwrap();
    anvil.raw("anvil_setCode", json!([PAIR, PAIR_CODE])).await.unwrap();
    let blocks = [block(&anvil, 5).await, block(&anvil, 1).await];
    (anvil, blocks)
}

/// A place whose configuration follows the contract on that chain.
fn place(node: &Node, database: &str) -> Place {
    let place = Place::new();
    let address = node.url().trim_start_matches("http://").parse().unwrap();
    place.write("abi.json", PAIR_ABI);
    place.write(
        "plimsoll.toml",
        &format!(
            "{}\n[[chain.contract]]\nname = \"Pair\"\naddress = \"{PAIR}\"\nabi = \"abi.json\"\nstart_block = 0\n\
             tenant = \"0198c5a1-7d2e-7c3a-9a55-3f1f0c6d2b10\"\n",
            configuration(address, database)
        ),
    );
    place
}

fn probe(place: &Place, block: &str, more: &[&str]) -> Ended {
    let chain = CHAIN_ID.to_string();
    place.run(&[&["probe", "--chain", &chain, "--block", block][..], more].concat())
}

/// The block and the numbers of a report in JSON.
fn report(ended: &Ended) -> (u64, B256, Vec<Value>) {
    let report: Value =
        serde_json::from_str(&ended.out).unwrap_or_else(|error| panic!("{error}: {ended:#?}"));
    assert_eq!(report["chain_id"], CHAIN_ID);
    assert!(report["state_root"].as_str().unwrap().starts_with("0x"), "{report}");
    let numbers = report["probes"].as_array().unwrap().iter().map(|probe| probe["value"].clone()).collect();
    let hash = report["block_hash"].as_str().unwrap().parse().unwrap();
    (report["block_number"].as_u64().unwrap(), hash, numbers)
}

#[tokio::test(flavor = "multi_thread")]
async fn numbers_are_told_with_the_block_that_they_are_of() {
    let (anvil, [first, second]) = chain().await;
    let place = place(&anvil, "");
    for (asked, number, hash, wei) in [
        ("1", 1, first, "5"),
        (&first.to_string(), 1, first, "5"),
        ("2", 2, second, "6"),
        ("head", 2, second, "6"),
    ] {
        let ended = probe(&place, asked, &["--native", RICH, "--json"]);
        assert_eq!(ended.code, 0, "{ended:#?}");
        assert_eq!(report(&ended), (number, hash, vec![json!(wei)]), "{asked}");
    }

    let (by_types, by_name) = (
        format!("{PAIR}:position(address)({RICH}) -> (uint256,int256).1"),
        format!("Pair:position({RICH}).debt"),
    );
    let ended = probe(&place, "1", &["--call", &by_types, "--call", &by_name, "--native", RICH]);
    assert_eq!(ended.code, 0, "{ended:#?}");
    let lines: Vec<&str> = ended.out.lines().collect();
    assert!(lines[0].starts_with(&format!("chain {CHAIN_ID}: block 1 is {first}")), "{ended:#?}");
    let numbers: Vec<&str> = lines[3..].iter().filter_map(|line| line.split_whitespace().last()).collect();
    assert_eq!(numbers, ["5", "-5", "1"], "{ended:#?}");
    assert!(!place.path("plimsoll-data").exists(), "no database is made for a look at a node");
}

#[tokio::test(flavor = "multi_thread")]
async fn probes_are_declared_in_a_file() {
    let (anvil, _) = chain().await;
    let place = place(&anvil, "");
    let declared = json!([
        { "kind": "native", "account": RICH },
        { "kind": "erc20", "token": PAIR, "holder": RICH },
        { "kind": "call", "contract": "Pair", "function": "position", "arguments": [RICH], "output": "skew", "direct": true },
    ]);
    place.write("probes.json", &declared.to_string());
    let ended = probe(&place, "head", &["--file", "probes.json", "--json"]);
    assert_eq!((ended.code, report(&ended).2), (0, vec![json!("6"), json!("1"), json!("-5")]), "{ended:#?}");
    place.write("probes.json", r#"[{ "kind": "native" }]"#);
    probe(&place, "head", &["--file", "probes.json"]).fails(2, &["probes.json: ", "missing field `account`"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_unknown_is_told_with_its_reason_and_ends_with_3() {
    let (anvil, _) = chain().await;
    let place = place(&anvil, "");
    let empty = Address::repeat_byte(0xee).to_string().to_lowercase();
    let nothing = format!("{empty}:{RICH}");
    let ended = probe(&place, "head", &["--native", RICH, "--erc20", &nothing, "--json"]);
    ended.fails(3, &["1 of 2 numbers are unknown"]);
    assert_eq!(report(&ended).2, [json!("6"), Value::Null]);
    assert!(ended.out.contains("nothing_returned"), "{ended:#?}");
    let table = probe(&place, "head", &["--erc20", &nothing]);
    assert!(table.out.contains("there is no contract at this address"), "{table:#?}");

    probe(&place, "7", &["--native", RICH]).fails(1, &["has no block 7 yet", "--block head"]);
    let gone = B256::repeat_byte(7).to_string();
    probe(&place, &gone, &["--native", RICH]).fails(1, &["does not have block", "[block_unknown]"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_question_is_told_apart_from_a_wrong_answer() {
    let (anvil, _) = chain().await;
    let place = place(&anvil, "");
    for (arguments, parts) in [
        (&[][..], &["required arguments", "--native <ACCOUNT>"][..]),
        (&["--native", "0x12"], &["native 0x12: `0x12` is not an address"]),
        (&["--erc20", RICH], &["does not name an account"]),
        (&["--call", "Pair:skew()"], &["unknown function", "position(address)"]),
        (&["--call", "Pair:position(7).debt"], &["argument 1 of position(address)"]),
        (&["--call", "Pair"], &["`--call`: `Pair` is not a function"]),
        (&["--native", RICH, "--multicall", "0x12"], &["or `none`"]),
    ] {
        probe(&place, "head", arguments).fails(2, parts);
    }
    probe(&place, "latest", &["--native", RICH]).fails(2, &["`head`, `confirmed` or `final`"]);
    place
        .run(&["probe", "--chain", "5", "--block", "head", "--native", RICH])
        .fails(2, &["chain 5 is not configured"]);

    let elsewhere = Place::new();
    elsewhere.write("plimsoll.toml", &configuration(node_of_chain(1), ""));
    probe(&elsewhere, "head", &["--native", RICH]).fails(2, &["serves chain 1, not 31337"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_blocks_where_plimsoll_stands_are_those_of_the_journal() {
    let (anvil, [first, second]) = chain().await;
    let urls = testing::database().await;
    let place = place(&anvil, &format!("url = \"{}\"", urls.owner.to_url_lossy()));
    probe(&place, "final", &["--native", RICH])
        .fails(1, &["has no final block yet", "plimsoll chain status"]);

    place.write("plimsoll.toml", &{
        let text = std::fs::read_to_string(place.path("plimsoll.toml")).unwrap();
        text.replace("name = \"test\"", "name = \"test\"\nconfirmations = 0\nfinality_depth = 1")
    });
    let running = place.start("ingest runs");
    let expected = [("confirmed", second, "6"), ("final", first, "5")];
    for (block, hash, wei) in expected {
        let found = loop {
            let ended = probe(&place, block, &["--native", RICH, "--json"]);
            if ended.code == 0 && report(&ended).1 == hash {
                break report(&ended);
            }
        };
        assert_eq!(found.2, [json!(wei)]);
    }
    running.signal("TERM");
    let (code, log) = running.end();
    assert_eq!(code, Some(0), "{log}");
}

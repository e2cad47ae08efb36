//! A chain with one contract on it, a bell, and a journal of it that the program itself has written.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};

use alloy_primitives::keccak256;
use plimsoll_store::{DatabaseUrls, testing};
use plimsoll_testkit::anvil::{Anvil, AnvilOptions};
use plimsoll_testkit::node::Node;
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, ConnectOptions as _};

use super::{CHAIN_ID, Place, configuration};

pub(crate) const BELL: &str = "0x00000000000000000000000000000000000000a1";

/// A node with a contract that says `Rung()` whenever it is called, and is called in blocks 1 to 6; block 7 is empty.
pub(crate) async fn chain() -> Anvil {
    let anvil = Anvil::start(&AnvilOptions { chain_id: CHAIN_ID, ..AnvilOptions::default() }).await.unwrap();
    hang(&anvil).await;
    for _ in 0..6 {
        ring(&anvil).await;
    }
    anvil.mine(1).await.unwrap();
    anvil
}

/// Puts the contract there.
pub(crate) async fn hang(node: &Node) {
    let topic = keccak256("Rung()");
    let code = format!("0x7f{topic:x}60006000a100");
    node.raw("anvil_setCode", json!([BELL, code])).await.unwrap();
}

pub(crate) async fn ring(node: &Node) {
    let from = node.accounts().await.unwrap()[0];
    node.raw("eth_sendTransaction", json!([{ "from": from, "to": BELL }])).await.unwrap();
    node.mine(1).await.unwrap();
}

/// A place whose configuration follows the contract from block 1 on, one block being enough to make the one below it final.
pub(crate) fn place(node: &Node, urls: &DatabaseUrls) -> Place {
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

pub(crate) async fn count(urls: &DatabaseUrls, what: &str) -> i64 {
    let mut owner = urls.owner.connect().await.unwrap();
    let statement = format!("SELECT count(*) FROM plimsoll.{what}");
    sqlx::query_scalar(AssertSqlSafe(statement)).fetch_one(&mut owner).await.unwrap()
}

/// The journal reaches block 7, and block 6 is final in it.
fn is_followed(place: &Place) -> bool {
    let status = place.run(&["chain", "status", "--json"]);
    let chains: Value = serde_json::from_str(&status.out).unwrap_or_default();
    chains[0]["head_number"] == 7 && chains[0]["final_number"] == 6
}

/// A node, a database with a journal of its chain, and nobody who follows it any more.
pub(crate) async fn house() -> (Anvil, DatabaseUrls, Place) {
    let (anvil, urls) = (chain().await, testing::database().await);
    let place = place(&anvil, &urls);
    follow(&place);
    (anvil, urls, place)
}

/// Follows the chain to its end.
pub(crate) fn follow(place: &Place) {
    let running = place.start("ingest runs");
    while !is_followed(place) {}
    running.signal("TERM");
    let (code, log) = running.end();
    assert_eq!(code, Some(0), "{log}");
}

/// A node before this one that tells of no log in even blocks. Each connection asks one question at a time.
pub(crate) fn hiding(node: &Node) -> SocketAddr {
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

/// A journal that was followed from a node that hides, at a level that does not show it.
pub(crate) struct Deceived {
    pub(crate) anvil: Anvil,
    pub(crate) urls: DatabaseUrls,
    pub(crate) place: Place,
    /// The configuration with the node itself and the levels that are the default.
    pub(crate) honest: String,
    /// The one that was followed with.
    pub(crate) trusting: String,
}

pub(crate) async fn deceived() -> Deceived {
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
    Deceived { anvil, urls, place, honest, trusting }
}

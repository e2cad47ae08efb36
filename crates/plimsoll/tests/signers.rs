//! Signers on the command line: a key is made, configured, and found to sign; or what is wrong with it is said.

#![allow(clippy::unwrap_used)] // a panic is a failed test

mod common;

use std::os::unix::fs::PermissionsExt as _;

use common::{CHAIN_ID, Place, configuration, node_of_chain};
use plimsoll_store::testing;
use sqlx::ConnectOptions as _;

const CHAIN: &str = "[[chain]]\nchain_id = 1\nname = \"one\"\nrpc = \"http://127.0.0.1:1\"\n";
const NEW: &[&str] = &["signers", "new", "--keystore", "key.json", "--password-file", "password"];

/// A place with a new key in it, and the key's address.
fn with_key() -> (Place, String) {
    let place = Place::new();
    place.write("password", "hunter2\n");
    let made = place.run(NEW);
    assert_eq!(made.code, 0, "{made:#?}");
    let address = made.out.trim().to_owned();
    assert!(address.starts_with("0x") && address.len() == 42, "{made:#?}");
    (place, address)
}

fn signer(name: &str, address: &str, key: &str) -> String {
    format!(
        "[[signers]]\nname = \"{name}\"\nchain = \"one\"\naddress = \"{address}\"\n[signers.key]\n{key}\n"
    )
}

fn keystore(address: &str) -> String {
    signer("local", address, "keystore = \"key.json\"\npassword_file = \"password\"")
}

#[test]
fn a_new_key_is_its_owners_alone_and_signs_once_it_is_configured() {
    let (place, address) = with_key();
    let mode = std::fs::metadata(place.path("key.json")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let written = std::fs::read_to_string(place.path("key.json")).unwrap();
    let json: serde_json::Value = serde_json::from_str(&written).unwrap();
    assert_eq!(json["version"], 3);
    assert_eq!(json["address"].as_str(), Some(&*address[2..].to_lowercase()));

    place.write("plimsoll.toml", &format!("{CHAIN}{}", keystore(&address)));
    let checked = place.run(&["signers", "check"]);
    assert_eq!(checked.code, 0, "{checked:#?}");
    assert_eq!(checked.out, format!("local ({address} on chain 1) signs\n"));

    // It is written once, and nothing takes its place.
    place.run(NEW).fails(1, &["key.json cannot be written", "name a file that does not exist"]);
    assert_eq!(std::fs::read_to_string(place.path("key.json")).unwrap(), written);
}

#[test]
fn a_password_that_is_none_makes_no_key() {
    let place = Place::new();
    place.run(NEW).fails(2, &["the password file password cannot be read"]);
    place.write("password", " \n");
    place.run(NEW).fails(2, &["the password file password is empty"]);
    assert!(!place.path("key.json").exists());
}

#[test]
fn signers_that_do_not_sign_are_told_each_with_its_place_and_what_to_do() {
    let (place, address) = with_key();
    place.write("wrong", "hunter3");
    let other = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8";
    let wrong = keystore(&address).replace("local", "wrong").replace("\"password\"", "\"wrong\"");
    let remote = signer("remote", other, "web3signer = \"http://127.0.0.1:1/hunter2\"\ntoken = \"hunter2\"");
    place.write("plimsoll.toml", &format!("{CHAIN}{wrong}{remote}"));
    let checked = place.run(&["signers", "check"]);
    assert!(!checked.err.contains("hunter"), "{checked:#?}");
    checked.fails(
        1,
        &[
            &format!("wrong ({address} on chain 1) does not sign"),
            "key.json does not open with this password, or was altered",
            "where: ./plimsoll.toml:10:12",
            &format!("remote ({other} on chain 1) does not sign"),
            "the remote signer at http://127.0.0.1:1 did not sign",
            "2 of 2 signers do not sign",
        ],
    );
}

#[test]
fn config_check_finds_what_is_wrong_with_a_key_without_opening_it() {
    let (place, address) = with_key();
    let other = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8";
    let remote = |name: &str, key: &str| signer(name, other, &format!("web3signer = {key}"));
    let cases = [
        (keystore(other), vec![&*address, other, "name the keystore of that address"]),
        (keystore(&address).replace("key.json", "none.json"), vec!["none.json cannot be read", ":10:12: "]),
        (keystore(&address).replace("key.json", "password"), vec!["password is no keystore"]),
        (remote("a", "\"ftp://signer.example\""), vec!["`web3signer`: it is no `http://` or `https://` URL"]),
        (
            remote("a", "\"http://signer.example\"\ntoken = \"hunter2\""),
            vec!["`token`: to another machine it travels by `https://` alone"],
        ),
        (
            remote("a", "\"https://signer.example\"\nca_file = \"none.pem\""),
            vec!["none.pem\" cannot be read"],
        ),
        (
            remote("a", "\"https://signer.example\"\nca_file = \"password\""),
            vec!["`ca_file`: the authorities' file"],
        ),
        (
            remote(
                "a",
                "\"https://signer.example\"\nclient_cert_file = \"key.json\"\nclient_key_file = \"password\"",
            ),
            vec!["`client_cert_file`: the client's certificate and key are no"],
        ),
    ];
    for (signer, parts) in cases {
        place.write("plimsoll.toml", &format!("{CHAIN}{signer}"));
        let checked = place.run(&["config", "check"]);
        assert!(!checked.err.contains("hunter2"), "{checked:#?}");
        checked.fails(1, &parts);
    }
    place.write("plimsoll.toml", &format!("{CHAIN}{}", keystore(&address)));
    let right = place.run(&["config", "check"]);
    assert_eq!(right.code, 0, "{right:#?}");
    assert!(right.err.contains("has no [[signers.grants]]: no tenant may use it"), "{right:#?}");
    let shown = place.run(&["config", "show"]);
    assert!(shown.out.contains("keystore = \"key.json\"") && !shown.out.contains("hunter2"), "{shown:#?}");
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn a_process_with_signers_writes_no_core_file_and_cannot_allow_itself_one() {
    let urls = testing::database().await;
    let (place, address) = with_key();
    let node = configuration(node_of_chain(CHAIN_ID), &format!("url = \"{}\"", urls.owner.to_url_lossy()));
    let signer = keystore(&address).replace("\"one\"", "\"test\"");
    place.write("plimsoll.toml", &format!("{node}{signer}"));
    let running = place.start("the API listens");
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", running.pid())).unwrap();
    let of_core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(of_core.split_whitespace().collect::<Vec<_>>()[4..], ["0", "0", "bytes"], "soft and hard");
    running.signal("TERM");
    let (code, log) = running.end();
    assert_eq!(code, Some(0), "{log}");
    assert!(!log.contains("hunter2"), "{log}");
}

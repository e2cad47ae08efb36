//! The command line as its users meet it: help, exit codes, messages.

mod common;

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;

use common::{CHAIN_ID, Place, configuration, node_of_chain};

#[test]
fn every_help_page_reads_as_it_was_written() {
    let place = Place::new();
    let pages: &[&[&str]] = &[
        &[],
        &["run"],
        &["migrate"],
        &["verify", "views"],
        &["verify", "completeness"],
        &["verify", "audit"],
        &["replay", "views"],
        &["replay", "books"],
        &["backfill"],
        &["backfill", "list"],
        &["backfill", "show"],
        &["backfill", "cancel"],
        &["backfill", "resume"],
        &["probe"],
        &["fold"],
        &["fold", "skip"],
        &["chain"],
        &["chain", "resume"],
        &["fence"],
        &["signers"],
        &["signers", "new"],
        &["signers", "check"],
        &["signers", "list"],
        &["signers", "show"],
        &["signers", "rotate"],
        &["tx"],
        &["tx", "list"],
        &["tx", "show"],
        &["tx", "submit"],
        &["tx", "cancel"],
        &["ledger"],
        &["ledger", "post"],
        &["ledger", "reverse"],
        &["ledger", "import"],
        &["ledger", "statement"],
        &["ledger", "trial-balance"],
        &["ledger", "close"],
        &["ledger", "chart", "open"],
        &["relayer"],
        &["relayer", "halts"],
        &["relayer", "halt"],
        &["relayer", "resume"],
        &["relayer", "reconcile"],
        &["config"],
        &["config", "check"],
        &["backup"],
        &["restore"],
        &["completions"],
    ];
    let mut help = String::new();
    for page in pages {
        let ended = place.run(&[page, &["--help"][..]].concat());
        assert_eq!(ended.code, 0, "{ended:#?}");
        help.push_str(&format!("$ plimsoll {}\n{}\n", [page, &["--help"][..]].concat().join(" "), ended.out));
    }
    insta::assert_snapshot!("help", help);
}

#[test]
fn the_example_is_printed_as_the_file_beside_the_sources() {
    let ended = Place::new().run(&["config", "example"]);
    assert_eq!((ended.code, ended.out.as_str()), (0, include_str!("../../../plimsoll.example.toml")));
}

#[test]
fn the_openapi_document_and_the_completions_need_no_configuration() {
    let place = Place::new();
    let document = place.run(&["openapi"]);
    assert_eq!(document.code, 0, "{document:#?}");
    let document: serde_json::Value = serde_json::from_str(&document.out).unwrap();
    assert!(document["paths"].as_object().unwrap().contains_key("/api/v1/positions"), "{document}");
    for shell in ["bash", "zsh", "fish"] {
        let script = place.run(&["completions", shell]);
        assert!(script.code == 0 && script.out.contains("plimsoll"), "{script:#?}");
    }
    assert_eq!(place.run(&["--version"]).out, format!("plimsoll {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn a_bad_command_line_ends_with_2() {
    let place = Place::new();
    place.run(&["rum"]).fails(2, &["unrecognized subcommand", "run"]);
    place.run(&["run", "--roles", "ingst"]).fails(2, &["ingst", "ingest"]);
    place
        .run(&["chain", "resume", "--chain", "1", "--operator", "", "--reason", "x"])
        .fails(2, &["operator"]);
}

#[test]
fn a_bad_configuration_ends_a_check_with_1_and_everything_else_with_2_and_touches_nothing() {
    let place = Place::new();
    place.write("plimsoll.toml", "[[chain]]\nchain_id = \"one\"\nnam = \"x\"\n");
    place.run(&["config", "check"]).fails(
        1,
        &[
            "4 problems",
            "plimsoll.toml:2:12: ",
            "plimsoll.toml:3:1: unknown key `chain[0].nam`",
            "did you mean `name`?",
            "lacks `rpc`",
        ],
    );
    for command in [
        &["run"][..],
        &["migrate"],
        &["verify", "views"],
        &["verify", "audit"],
        &["replay", "views"],
        &["replay", "books"],
        &["fold", "status"],
        &["backup", "x"],
    ] {
        place.run(command).fails(2, &["plimsoll.toml:2:12"]);
    }
    assert!(!place.path("plimsoll-data").exists());
}

#[test]
fn a_check_reads_the_files_that_only_the_api_reads_and_says_all_that_is_wrong_with_them() {
    let place = Place::new();
    let chain = "[[chain]]\nchain_id = 1\nname = \"one\"\nrpc = \"http://127.0.0.1:1\"\n";
    let lines = "[api]\ntls_cert_file = \"cert.pem\"\ntls_key_file = \"key.pem\"\n\n[identity]\nkeys_dir = \"keys\"\npassword_file = \"operators\"\n";
    place.write("plimsoll.toml", &format!("{lines}\n{chain}"));
    place.write("cert.pem", "none");
    place.write("key.pem", "none");
    place.write("operators", "ada:secret\n");
    let alone = std::fs::Permissions::from_mode(0o600);
    std::fs::set_permissions(place.path("operators"), alone).unwrap();
    std::fs::create_dir(place.path("keys")).unwrap();
    place.run(&["config", "check"]).fails(
        1,
        &[
            "3 problems",
            "plimsoll.toml:2:17: ./cert.pem has no certificate in it",
            "plimsoll.toml:6:12: `identity.keys_dir`: the key file",
            "signing.pem",
            "plimsoll.toml:7:17: `identity.password_file`: line 1 of the password file is not",
            "remedy: write a line for each operator, `login:tenant:user:$argon2id$…`",
        ],
    );
    // What does without them does not ask.
    assert_eq!(place.run(&["config", "show"]).code, 0);
    place.write("plimsoll.toml", &format!("[identity]\nkeys_dir = \"not there yet\"\n\n{chain}"));
    assert_eq!(place.run(&["config", "check"]).code, 0);
    assert!(!place.path("not there yet").exists(), "a check makes nothing");
}

#[test]
fn a_missing_file_says_how_to_write_one() {
    let place = Place::new();
    place
        .run(&["run"])
        .fails(2, &["./plimsoll.toml: there is no such file", "plimsoll config example > plimsoll.toml"]);
    place
        .run(&["run", "--config", "other.toml"])
        .fails(2, &["other.toml: the configuration file cannot be read"]);
    place
        .run_with(&["run"], &[("PLIMSOLL_CONFIG", "third.toml")])
        .fails(2, &["third.toml: the configuration file"]);
}

#[test]
fn a_variable_that_is_no_text_is_not_passed_over() {
    use std::os::unix::ffi::OsStrExt as _;
    let place = Place::new();
    place.write("plimsoll.toml", &configuration(node_of_chain(CHAIN_ID), ""));
    let bytes = std::ffi::OsStr::from_bytes(b"\xff\xfe");
    let output = place.command(&["config", "check"]).env("PLIMSOLL_API__LISTEN", bytes).output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains("PLIMSOLL_API__LISTEN: its value is no text"), "{told}");
}

#[test]
fn a_port_in_use_is_found_out_before_anything_is_touched() {
    let place = Place::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = taken.local_addr().unwrap().to_string();
    let text = configuration(node_of_chain(CHAIN_ID), "").replace("127.0.0.1:0", &listen);
    place.write("plimsoll.toml", &text);
    place
        .run(&["run"])
        .fails(1, &["the port is in use", &listen, "where: ./plimsoll.toml:5:10", "api.listen"]);
    assert!(!place.path("plimsoll-data").exists());
}

#[test]
fn a_data_directory_that_cannot_be_written_is_named() {
    let place = Place::new();
    place.write(
        "plimsoll.toml",
        &configuration(node_of_chain(CHAIN_ID), "data_dir = \"/proc/plimsoll-data\""),
    );
    place.run(&["run"]).fails(1, &["/proc/plimsoll-data", "where: ./plimsoll.toml:2:12"]);
}

#[test]
fn a_database_that_was_never_made_is_not_made_by_a_look() {
    let place = Place::new();
    place.write("plimsoll.toml", &configuration(node_of_chain(CHAIN_ID), ""));
    for command in [&["fold", "status"][..], &["chain", "status"], &["verify", "views"], &["replay", "views"]]
    {
        place.run(command).fails(1, &["no private cluster", "plimsoll-data"]);
    }
    assert!(!place.path("plimsoll-data").exists());
}

#[test]
fn a_chain_that_is_not_configured_is_refused_with_those_that_are() {
    let place = Place::new();
    place.write("plimsoll.toml", &configuration(node_of_chain(CHAIN_ID), ""));
    let started = place.start("the API listens");
    place.run(&["verify", "views", "--chain", "7"]).fails(2, &["chain 7 is not configured", "31337"]);
    started.signal("TERM");
    assert_eq!(started.end().0, Some(0));
}

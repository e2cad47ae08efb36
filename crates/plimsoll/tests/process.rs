//! The running process: what it refuses, and how it ends.

#![allow(clippy::unwrap_used)] // a panic is a failed test

mod common;

use common::{CHAIN_ID, Place, configuration, node_of_chain};
use plimsoll_store::{DatabaseUrls, testing};
use sqlx::ConnectOptions as _;

/// The setting that names this database.
fn named(urls: &DatabaseUrls) -> String {
    format!("url = \"{}\"", urls.owner.to_url_lossy())
}

async fn execute(urls: &DatabaseUrls, statement: &'static str) {
    let mut owner = urls.owner.connect().await.unwrap();
    sqlx::raw_sql(statement).execute(&mut owner).await.unwrap();
}

async fn tables(urls: &DatabaseUrls) -> i64 {
    let mut owner = urls.owner.connect().await.unwrap();
    sqlx::query_scalar("SELECT count(*) FROM pg_class WHERE relnamespace = to_regnamespace('plimsoll')")
        .fetch_one(&mut owner)
        .await
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_of_another_chain_ends_the_process_and_leaves_no_trace_of_that_chain() {
    let place = Place::new();
    let urls = testing::database().await;
    place.write("plimsoll.toml", &configuration(node_of_chain(1), &named(&urls)));
    place.run(&["run"]).fails(
        1,
        &[
            "the endpoint serves chain 1, the configuration says 31337",
            "where: ./plimsoll.toml:8:12",
            "correct `chain_id`",
        ],
    );
    let mut owner = urls.owner.connect().await.unwrap();
    let chains: i64 =
        sqlx::query_scalar("SELECT count(*) FROM plimsoll.chains").fetch_one(&mut owner).await.unwrap();
    assert_eq!(chains, 0);
    place
        .run(&["config", "check", "--online"])
        .fails(1, &["serves chain 1, not 31337", "plimsoll.toml:8:12", "write `chain_id = 1`"]);
    place.run(&["verify", "views"]).fails(2, &["serves chain 1, not 31337"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_of_a_newer_version_is_left_alone() {
    let place = Place::new();
    let urls = testing::database().await;
    execute(
        &urls,
        "INSERT INTO plimsoll._sqlx_migrations (version, description, success, checksum, execution_time) VALUES (9999, 'later', true, '', 0)",
    )
    .await;
    let before = tables(&urls).await;
    place.write("plimsoll.toml", &configuration(node_of_chain(CHAIN_ID), &named(&urls)));
    for command in [&["run"][..], &["migrate"], &["fold", "status"]] {
        place
            .run(command)
            .fails(1, &["schema version 9999", "where: ./plimsoll.toml:2:7", "nothing was changed"]);
    }
    assert_eq!(tables(&urls).await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_database_of_ones_own_is_migrated_only_when_asked() {
    let place = Place::new();
    let urls = testing::empty_database().await;
    place.write("plimsoll.toml", &configuration(node_of_chain(CHAIN_ID), &named(&urls)));
    place.run(&["run"]).fails(1, &["run `plimsoll migrate`"]);
    assert_eq!(tables(&urls).await, 0);
    let migrated = place.run(&["migrate"]);
    assert!(migrated.code == 0 && migrated.out.contains("applied 1 ground"), "{migrated:#?}");
    let again = place.run(&["migrate"]);
    assert!(again.code == 0 && !again.out.contains("applied"), "{again:#?}");
    assert_eq!(place.run(&["fold", "status"]).out, "no fold has run yet\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_not_there_is_a_finding_of_the_online_check() {
    let place = Place::new();
    place.write(
        "plimsoll.toml",
        &configuration(
            node_of_chain(CHAIN_ID),
            "url = \"postgres://nobody:hunter2@localhost/x?host=/nonexistent\"",
        ),
    );
    let ended = place.run(&["config", "check", "--online"]);
    ended.fails(1, &["cannot connect to the database", "/nonexistent", "plimsoll.toml:2:7"]);
    assert!(!ended.err.contains("hunter2"), "{ended:#?}");
}

#[test]
fn a_database_that_refuses_connections_is_named_with_the_true_cause_and_waited_for_only_by_run() {
    let place = Place::new();
    let away = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let url = format!("url = \"postgres://nobody:hunter2@{away}/x\"");
    place.write("plimsoll.toml", &configuration(node_of_chain(CHAIN_ID), &url));
    let ended = place.run(&["verify", "views"]);
    ended.fails(1, &["cannot connect to the database x", "Connection refused", "where: ./plimsoll.toml:2:7"]);
    assert!(!ended.err.contains("hunter2"), "{ended:#?}");
    let running = place.start("not reachable yet");
    running.signal("TERM");
    let (code, log) = running.end();
    assert!(code == Some(0) && log.contains("Connection refused"), "{log}");
}

#[test]
fn a_node_that_is_away_is_a_finding_with_one_remedy() {
    let place = Place::new();
    let away = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    place.write("plimsoll.toml", &configuration(away, ""));
    let ended = place.run(&["config", "check", "--online"]);
    ended.fails(1, &["plimsoll.toml:10:7: eth_chainId at", "remedy: check that the node runs"]);
    assert!(!ended.err.contains("What to do"), "{ended:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn tenants_and_their_contracts_are_written_as_configured() {
    const ABI: &str = r#"[{"type":"event","name":"Ping","anonymous":false,"inputs":[]}]"#;
    let place = Place::new();
    let urls = testing::database().await;
    place.write("abi.json", ABI);
    let text = configuration(node_of_chain(CHAIN_ID), &named(&urls));
    let contract = |name: &str, digit: &str, tenant: &str| {
        format!(
            "[[chain.contract]]\nname = \"{name}\"\naddress = \"0x{}\"\nabi = \"abi.json\"\nstart_block = 5\ntenant = \"{tenant}\"\n",
            digit.repeat(40)
        )
    };
    let tenant = |name: &str| {
        format!("[[tenant]]\nid = \"0198c5a1-7d2e-7c3a-9a55-3f1f0c6d2b10\"\nname = \"{name}\"\n")
    };
    let seen = async || {
        let mut owner = urls.owner.connect().await.unwrap();
        let rows: Vec<(String, String)> = sqlx::query_as(
            "SELECT t.name, c.name FROM plimsoll.tenants t JOIN plimsoll.tenant_contracts c USING (tenant_id) ORDER BY c.name",
        )
        .fetch_all(&mut owner)
        .await
        .unwrap();
        rows
    };
    let other = "0198c5a1-7d2e-7c3a-9a55-3f1f0c6d2b11";
    for (text, expected) in [
        (
            text.clone() + &contract("A", "1", "acme") + &contract("B", "2", other) + &tenant("acme"),
            vec![("acme", "A"), (other, "B")],
        ),
        (text + &contract("C", "1", "globex") + &tenant("globex"), vec![("globex", "C")]),
    ] {
        place.write("plimsoll.toml", &text);
        let running = place.start("the API listens");
        running.signal("INT");
        let (code, log) = running.end();
        assert_eq!(code, Some(0), "{log}");
        let expected: Vec<_> = expected.into_iter().map(|(t, c)| (t.to_owned(), c.to_owned())).collect();
        assert_eq!(seen().await, expected);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_away_is_waited_for_and_a_signal_ends_it_cleanly() {
    let place = Place::new();
    let urls = testing::database().await;
    let away = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    place.write("plimsoll.toml", &configuration(away, &named(&urls)));
    let running = place.start("failed; trying again");
    running.signal("TERM");
    let (code, log) = running.end();
    assert_eq!(code, Some(0), "{log}");
    assert!(log.contains("role=\"ingest\"") && log.contains("ended"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_private_database_is_made_served_and_stopped_with_the_process() {
    let place = Place::new();
    place.write(
        "plimsoll.toml",
        &(configuration(node_of_chain(CHAIN_ID), "") + "\n[logging]\nformat = \"json\"\n"),
    );
    let running = place.start("the API listens");
    place.run(&["run"]).fails(1, &["is in use by process"]);
    let beside = place.run(&["chain", "status"]);
    assert!(beside.code == 0, "{beside:#?}");
    running.signal("INT");
    let (code, log) = running.end();
    assert_eq!(code, Some(0), "{log}");
    for line in log.lines() {
        serde_json::from_str::<serde_json::Value>(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    }
    assert!(!place.path("plimsoll-data/postgres/postmaster.pid").exists());
    let alone = place.run(&["chain", "status"]);
    assert!(alone.code == 0, "{alone:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_never_answers_does_not_hold_up_the_end() {
    let place = Place::new();
    let urls = testing::database().await;
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    place.write("plimsoll.toml", &configuration(silent.local_addr().unwrap(), &named(&urls)));
    let running = place.start("the API listens");
    let asked = silent.accept().unwrap();
    running.signal("TERM");
    let (code, log) = running.end();
    drop(asked);
    assert_eq!(code, Some(0), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_replaces_nothing_makes_nothing_and_its_restoration_is_fenced_in_plain_words() {
    let place = Place::new();
    place.write("plimsoll.toml", &configuration(node_of_chain(CHAIN_ID), ""));
    place.run(&["backup", "a.backup"]).fails(1, &["no private cluster"]);
    assert!(!place.path("plimsoll-data").exists() && !place.path("a.backup").exists());

    let running = place.start("the API listens");
    assert_eq!(place.run(&["backup", "a.backup"]).code, 0);
    let before = std::fs::read(place.path("a.backup")).unwrap();
    place.run(&["backup", "a.backup"]).fails(2, &["a.backup is there already", "name another file"]);
    assert_eq!(std::fs::read(place.path("a.backup")).unwrap(), before);
    place.run(&["backup", "none/b.backup"]).fails(1, &["none/", "in a directory that exists"]);
    place
        .run(&["chain", "resume", "--chain", "7", "--operator", "ada", "--reason", "why not"])
        .fails(1, &["chain 7 was never followed here"]);
    running.signal("TERM");
    assert_eq!(running.end().0, Some(0));

    place
        .run(&["restore", "b.backup", "--data-dir", "again"])
        .fails(1, &["b.backup", "in a directory that exists"]);
    let restored = place.run(&["restore", "a.backup", "--data-dir", "again"]);
    assert!(restored.code == 0 && restored.out.contains("it is fenced"), "{restored:#?}");
    let variables = [("PLIMSOLL_DATABASE__DATA_DIR", "again")];
    let status = place.run_with(&["fence", "status"], &variables);
    assert!(status.out.starts_with("fenced since 2") && status.out.contains("Z: restored"), "{status:#?}");
    let lifted = place.run_with(&["fence", "lift", "--operator", "ada", "--reason", "looked"], &variables);
    assert_eq!(lifted.code, 0, "{lifted:#?}");
    assert_eq!(place.run_with(&["fence", "status"], &variables).out, "not fenced\n");
}

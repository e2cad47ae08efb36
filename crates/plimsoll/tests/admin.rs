//! `plimsoll admin` as an operator meets it: every leaf that there is, refusals, confirmations, and the first link of all.

#![allow(clippy::unwrap_used)] // a panic is a failed test

mod admin_house;
mod common;

use std::io::Write as _;
use std::process::Stdio;

use admin_house::{House, REASON, REQUEST};
use common::{CHAIN_ID, Place, configuration, node_of_chain};
use plimsoll_identity::keys::{KeyTexts, Keys, generate_pem};
use plimsoll_identity::token::Tokens;
use plimsoll_identity::{Authenticator, UserStatus, bootstrap, directory};
use plimsoll_store::{Cluster, Db};
use secrecy::SecretString;
use serde_json::Value;
use uuid::Uuid;

/// The words that lead to every leaf below `admin`, with the leaf's help page, as the program itself tells them.
fn leaves(place: &Place) -> Vec<(Vec<String>, String)> {
    let (mut leaves, mut open) = (vec![], vec![vec!["admin".to_owned()]]);
    while let Some(path) = open.pop() {
        let words: Vec<&str> = path.iter().map(String::as_str).chain(["--help"]).collect();
        let help = place.run(&words);
        assert_eq!(help.code, 0, "{help:#?}");
        let names = help.out.lines().skip_while(|line| *line != "Commands:").skip(1);
        let names =
            names.take_while(|line| !line.is_empty()).filter_map(|line| line.split_whitespace().next());
        let below: Vec<&str> = names.filter(|name| *name != "help").collect();
        if below.is_empty() {
            leaves.push((path, help.out));
        } else {
            open.extend(below.into_iter().map(|name| [&path[..], &[name.to_owned()]].concat()));
        }
    }
    leaves.sort();
    leaves
}

#[tokio::test(flavor = "multi_thread")]
async fn every_leaf_that_reads_changes_nothing_and_every_other_leaves_one_audit_entry() {
    let place = Place::new();
    let (mut reads, mut writes) = (0, 0);
    for (path, help) in leaves(&place) {
        let house = House::new().await;
        let leaf = path[1..].join(" ");
        let sample = house.sample(&leaf).unwrap_or_else(|| panic!("`{leaf}` has no sample: give it one"));
        let words: Vec<&str> = path.iter().chain(&sample).map(String::as_str).collect();
        let before = house.state().await;
        let is_write = help.contains("--dry-run");
        if !is_write {
            let ended = house.place.run(&words);
            assert_eq!(ended.code, 0, "{leaf}: {ended:#?}");
            assert_eq!(
                house.changed(&before).await,
                Vec::<String>::new(),
                "`{leaf}` has no --dry-run, so it only reads"
            );
            reads += 1;
            house.close().await;
            continue;
        }
        let reason = ["--reason", REASON, "--request-id", REQUEST];
        let yes: &[&str] = if help.contains("--yes") { &["--yes"] } else { &[] };
        let words = [&words[..], &reason, yes].concat();
        let dry = house.place.run(&[&words[..], &["--dry-run"]].concat());
        assert_eq!(dry.code, 0, "{leaf}: {dry:#?}");
        assert!(dry.out.starts_with("would ") && dry.out.contains("nothing was changed"), "{leaf}: {dry:#?}");
        assert!(
            !dry.out.contains("plk_") && !dry.out.contains("plb_"),
            "a secret that is rolled back: {dry:#?}"
        );
        assert_eq!(house.changed(&before).await, Vec::<String>::new(), "{leaf}, dry");

        let ended = house.place.run(&words);
        assert_eq!(ended.code, 0, "{leaf}: {ended:#?}");
        assert!(
            ended.out.starts_with("done: ") && ended.out.contains(&format!("request {REQUEST}")),
            "{leaf}: {ended:#?}"
        );
        let changed = house.changed(&before).await;
        assert!(changed.len() > 1 && changed.contains(&"audit_staging".to_owned()), "{leaf}: {changed:?}");
        let entries = house.entries().await;
        let [entry] = &entries[..] else { panic!("{leaf} left {} audit entries, not one", entries.len()) };
        assert!(entry.actor.starts_with("cli:") && entry.actor != "cli:", "{leaf}: {entry:?}");
        assert_eq!(
            (&*entry.request_id.to_string(), entry.reason.as_deref()),
            (REQUEST, Some(REASON)),
            "{leaf}"
        );
        assert_eq!(
            entry.tenant_id.is_none(),
            leaf.contains("idempotency") && house.is_platform(&sample),
            "{leaf}"
        );
        let secret = ended.out.split_whitespace().find(|word| word.contains("plk_") || word.contains("plb_"));
        if let Some(secret) = secret {
            let secret = secret.rsplit(['_', '=']).next().unwrap();
            assert!(
                secret.len() >= 64 && !house.dump().await.contains(secret),
                "{leaf}: a secret was stored"
            );
        }
        writes += 1;
        house.close().await;
    }
    assert!(reads >= 14 && writes >= 18, "the walk has lost its way: {reads} leaves read, {writes} write");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_says_why_and_what_to_do_and_changes_nothing() {
    let house = House::new().await;
    let before = house.state().await;
    let (ada, agent, nobody) = (house.ada.to_string(), house.agent.to_string(), Uuid::now_v7().to_string());
    let (key, session) = (&*house.key_id, house.session_id.to_string());
    let wrong_checksum = "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAeD";
    let whole_key = format!("plk_{key}_{}", "a".repeat(64));
    for (words, code, parts) in [
        (
            vec!["users", "list", "--tenant", "acmee"],
            2,
            vec!["no tenant \"acmee\"", "did you mean \"acme\"?"],
        ),
        (
            vec!["users", "list", "--tenant", "hooli"],
            2,
            vec!["no tenant \"hooli\"", "the tenants are acme, globex"],
        ),
        (vec!["users", "list"], 2, vec!["several tenants", "acme, globex"]),
        (vec!["users", "show", "--tenant", "acme", "ada"], 2, vec!["invalid value 'ada' for '<USER>'"]),
        (
            vec!["users", "show", "--tenant", "acme", &nobody],
            1,
            vec![&nobody, "plimsoll admin users list --tenant"],
        ),
        (
            vec!["users", "show", "--tenant", "globex", &ada],
            1,
            vec!["the tenant globex has no user", "another tenant's?"],
        ),
        (
            vec!["users", "assign", "--tenant", "acme", &ada, "opperator"],
            1,
            vec!["no role \"opperator\"", "roles list"],
        ),
        (
            vec!["users", "assign", "--tenant", "acme", &agent, "operator"],
            1,
            vec!["agent can hold nothing that writes"],
        ),
        (vec!["users", "assign", "--tenant", "acme", &ada, "operator"], 1, vec!["changes nothing"]),
        (vec!["users", "unassign", "--tenant", "acme", &ada, "admin"], 1, vec!["does not have the role"]),
        (
            vec!["users", "link", "--tenant", "acme", &ada, "--chain", "1", "--address", wrong_checksum],
            2,
            vec!["checksum"],
        ),
        (vec!["users", "suspend", "--tenant", "acme", &ada], 2, vec!["--reason"]),
        (
            vec!["users", "suspend", "--tenant", "acme", &ada, "--reason", "x"],
            2,
            vec!["no terminal", "--yes"],
        ),
        (vec!["users", "activate", "--tenant", "acme", &ada], 1, vec!["changes nothing"]),
        (
            vec!["keys", "revoke", "--tenant", "acme", "0123", "--reason", "x", "--yes"],
            1,
            vec!["no key \"0123\"", "keys list"],
        ),
        (vec!["keys", "revoke", "--tenant", "globex", key, "--reason", "x", "--yes"], 1, vec!["no key"]),
        (
            vec!["keys", "revoke", "--tenant", "acme", &whole_key, "--reason", "x", "--yes"],
            2,
            vec!["looks like a whole key", "rotate"],
        ),
        (
            vec![
                "keys",
                "issue",
                "--tenant",
                "acme",
                "--user",
                &ada,
                "--label",
                "x",
                "--scopes",
                "ledger:post",
            ],
            1,
            vec!["can do no more than its user"],
        ),
        (
            vec![
                "keys",
                "issue",
                "--tenant",
                "acme",
                "--user",
                &ada,
                "--label",
                "x",
                "--scopes",
                "ledger:reed",
            ],
            2,
            vec!["ledger:read"],
        ),
        (
            vec![
                "keys",
                "issue",
                "--tenant",
                "acme",
                "--user",
                &ada,
                "--label",
                "x",
                "--scopes",
                "ledger:read",
                "--for",
                "500d",
            ],
            2,
            vec!["400 days"],
        ),
        (
            vec!["keys", "rotate", "--tenant", "acme", key, "--grace", "soon", "--reason", "x", "--yes"],
            2,
            vec!["30m, 24h, 90d"],
        ),
        (
            vec!["roles", "grant", "--tenant", "acme", "viewer", "users:read"],
            1,
            vec!["built in", "roles create"],
        ),
        (
            vec!["roles", "create", "--tenant", "acme", "bot", "--agent", "--permissions", "ledger:post"],
            2,
            vec!["nothing that writes"],
        ),
        (vec!["roles", "create", "--tenant", "acme", "Clerk"], 2, vec!["no name for a role"]),
        (
            vec!["sessions", "revoke", "--tenant", "globex", &session, "--reason", "x", "--yes"],
            1,
            vec!["no session", "sessions list"],
        ),
        (
            vec!["sessions", "revoke", "--tenant", "acme", "--reason", "x", "--yes"],
            2,
            vec!["<SESSION|--user"],
        ),
        (vec!["tenants", "create", "acme"], 1, vec!["\"acme\" already"]),
        (vec!["tenants", "create", " x"], 1, vec!["control characters", "choose another name"]),
        (vec!["idempotency", "show", "99"], 1, vec!["no idempotency entry 99"]),
        (vec!["audit", "show", &nobody], 1, vec![&nobody, "leaves none"]),
        (vec!["audit", "list", "--from", "yesterday"], 2, vec!["2026-01-31"]),
        (vec!["init", "--tenant", "acme"], 2, vec!["api.listen", "--url"]),
        (vec!["init", "--tenant", "acmee", "--url", "https://p.example"], 2, vec!["did you mean \"acme\"?"]),
    ] {
        let ended = house.place.run(&[&["admin"], &words[..]].concat());
        ended.fails(code, &parts);
        assert!(!ended.err.contains("aaaaaaaa"), "a secret is repeated: {}", ended.err);
        assert_eq!(house.changed(&before).await, Vec::<String>::new(), "{words:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_undone_is_done_once_its_name_is_typed_and_not_before() {
    let house = House::new().await;
    let before = house.state().await;
    let words = ["admin", "keys", "revoke", "--tenant", "acme", &house.key_id, "--reason", "gone"];
    for (typed, code) in [("yes", 1), ("", 1), (&*house.key_id, 0)] {
        // `script` is a terminal.
        let program = house.place.command(&words);
        let line: Vec<String> =
            program.get_args().map(|word| format!("'{}'", word.to_string_lossy())).collect();
        let mut child = std::process::Command::new("script")
            .args(["-qec", &format!("timeout {}", line.join(" ")), "/dev/null"])
            .current_dir(house.place.path(""))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(format!("{typed}\n").as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        let told = String::from_utf8(output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(code), "{typed:?}: {told}");
        assert!(
            told.contains("state: in force → revoked") && told.contains("This cannot be undone"),
            "{told}"
        );
        assert_eq!(house.changed(&before).await.is_empty(), code == 1, "{typed:?}");
    }
    assert_eq!(house.entries().await.len(), 1, "the rehearsals left none");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_put_on_record_is_not_done() {
    let house = House::new().await;
    house.owner("ALTER TABLE plimsoll.audit_staging ADD CHECK (action <> 'identity.user.suspend')").await;
    let before = house.state().await;
    let ada = house.ada.to_string();
    let ended =
        house.place.run(&["admin", "users", "suspend", "--tenant", "acme", &ada, "--reason", "x", "--yes"]);
    ended.fails(1, &["recording for the audit"]);
    assert_eq!(house.changed(&before).await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_was_issued_opens_until_it_is_revoked() {
    let house = House::new().await;
    let ada = house.ada.to_string();
    let tokens = Tokens::new(
        Keys::load(&KeyTexts { signing: generate_pem(), verifying: vec![] }).unwrap(),
        "https://plimsoll.example",
        "plimsoll",
    );
    // One that remembers nothing, as another process would.
    let who = async |key: &str| {
        Authenticator::with_memory(house.db.clone(), tokens.clone(), std::time::Duration::ZERO)
            .authenticate(key, None)
            .await
    };
    let json = |words: &[&str]| -> Value {
        let ended = house.place.run(&[&["admin", "keys"], words, &["--tenant", "acme", "--json"]].concat());
        assert_eq!(ended.code, 0, "{ended:#?}");
        serde_json::from_str(&ended.out).unwrap()
    };
    let issued = json(&["issue", "--user", &ada, "--label", "ci", "--scopes", "ledger:read"]);
    let (id, key) = (issued["target_id"].as_str().unwrap(), issued["key"].as_str().unwrap());
    assert_eq!(who(key).await.unwrap().user_id, house.ada);
    let rotated = json(&["rotate", id, "--grace", "0", "--reason", "leaked", "--yes"]);
    assert!(who(key).await.is_err(), "its grace was nothing");
    let key = rotated["key"].as_str().unwrap();
    assert!(who(key).await.is_ok());
    let revoked = json(&["revoke", id, "--reason", "gone", "--yes"]);
    assert_eq!(
        (&revoked["before"]["state"], &revoked["after"]["state"]),
        (&"in force".into(), &"revoked".into())
    );
    assert!(who(key).await.is_err());
    let listed = json(&["list"]);
    assert!(listed.as_array().unwrap().iter().all(|listed| listed["key_id"] != id), "{listed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_suspension_ends_the_sessions_and_an_activation_does_not_bring_them_back() {
    let house = House::new().await;
    let ada = house.ada.to_string();
    let suspended = house
        .place
        .run(&["admin", "users", "suspend", "--tenant", "acme", &ada, "--reason", "left", "--yes"]);
    assert!(
        suspended.out.contains("status: active → suspended\n  sessions_in_force: 1 → 0"),
        "{suspended:#?}"
    );
    assert_eq!(house.place.run(&["admin", "users", "activate", "--tenant", "acme", &ada]).code, 0);
    let user =
        directory::user(&mut house.db.begin_worker().await.unwrap(), house.acme, house.ada).await.unwrap();
    assert_eq!(user.status, UserStatus::Active);
    let sessions = house.place.run(&["admin", "sessions", "list", "--tenant", "acme", "--json"]);
    assert_eq!(sessions.out, "[]\n");
}

/// A place with a private cluster that was never started.
fn fresh(tenants: &str) -> Place {
    let place = Place::new();
    place.write("plimsoll.toml", &format!("{tenants}\n{}", configuration(node_of_chain(CHAIN_ID), "")));
    place
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_command_of_all_prints_one_link_that_makes_the_administrator() {
    const TENANT: &str = "[[tenant]]\nid = \"0a53ecb3-3a5d-4c3f-9a32-09a9a1e9b6f0\"\nname = \"acme\"";
    for (tenants, made) in [(TENANT, false), ("", true)] {
        let place = fresh(tenants);
        let words = ["admin", "init", "--tenant", "acme", "--url", "https://p.example/"];
        let dry = place.run(&[&words[..], &["--dry-run"]].concat());
        assert!(dry.code == 0 && !dry.out.contains("https://p.example"), "{dry:#?}");
        let ended = place.run(&words);
        assert_eq!(ended.code, 0, "{ended:#?}");
        let links: Vec<&str> =
            ended.out.lines().filter(|line| line.starts_with("https://p.example/init#token=plb_")).collect();
        let [link] = links[..] else { panic!("not one link: {ended:#?}") };
        assert!(ended.out.contains("good once, for 60 minutes, until "), "{ended:#?}");
        assert_eq!(ended.out.contains("name it in the configuration"), made, "{ended:#?}");

        let cluster = Cluster::start(&place.path("plimsoll-data")).await.unwrap();
        let db = Db::connect(&cluster.urls()).await.unwrap();
        let mut tx = db.begin_worker().await.unwrap();
        let token = SecretString::from(link.rsplit('=').next().unwrap());
        let admin = bootstrap::redeem(&mut tx, &token, "ada").await.unwrap();
        tx.commit().await.unwrap();
        // Beside the one that runs it.
        place.run(&words).fails(1, &["acme has an administrator already", "users list"]);
        let listed = place.run(&["admin", "users", "list", "--role", "admin", "--json"]);
        let listed: Value = serde_json::from_str(&listed.out).unwrap();
        assert_eq!(listed[0]["user_id"], admin.user_id.to_string());
        if !made {
            place
                .run(&["admin", "tenants", "rename", "Acme"])
                .fails(2, &["from the configuration", "[[tenant]]"]);
        }
        db.close().await;
        cluster.stop().await.unwrap();
    }
}

#[test]
fn a_look_makes_no_cluster_and_a_link_knows_where_it_leads() {
    let place = fresh("");
    place.run(&["admin", "users", "list"]).fails(1, &["no private cluster"]);
    assert!(!place.path("plimsoll-data").exists());
    for (listen, base) in
        [("127.0.0.1:8081", "http://127.0.0.1:8081/"), ("0.0.0.0:8081", "http://localhost:8081/")]
    {
        let listening = [("PLIMSOLL_API__LISTEN", listen)];
        let ended = place.run_with(&["admin", "init", "--tenant", "acme", "--json"], &listening);
        assert_eq!(ended.code, 0, "{ended:#?}");
        let told: Value = serde_json::from_str(&ended.out).unwrap();
        assert!(told["link"].as_str().unwrap().starts_with(base), "{told}");
    }
}

#[test]
fn every_help_page_reads_as_it_was_written() {
    let place = Place::new();
    let mut pages = vec![place.run(&["admin", "--help"]).out];
    pages.extend(
        leaves(&place)
            .into_iter()
            .map(|(path, help)| format!("$ plimsoll {} --help\n{help}", path.join(" "))),
    );
    insta::assert_snapshot!("admin_help", pages.join("\n"));
}

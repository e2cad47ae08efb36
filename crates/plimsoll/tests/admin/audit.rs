//! The audit log on the command line: found by request, listed, followed, and exported, while a process numbers it.

use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::house::{House, REQUEST};

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

fn numbers(entries: &Value) -> Vec<i64> {
    entries.as_array().unwrap().iter().map(|entry| entry["sequence"].as_i64().unwrap()).collect()
}

fn assign(house: &House, role: &str, more: &[&str]) {
    let ada = house.ada.to_string();
    let words = ["admin", "users", "assign", "--tenant", "acme", &ada, role];
    let ended = house.place.run(&[&words[..], more].concat());
    assert_eq!(ended.code, 0, "{ended:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_is_found_before_it_has_its_number_and_a_list_says_that_some_wait() {
    let house = House::new().await;
    assign(&house, "viewer", &["--request-id", REQUEST, "--reason", "ticket 42"]);
    let shown = house.place.run(&["admin", "audit", "show", REQUEST]);
    for part in
        ["waits for its number", "identity.role.assign", "ticket 42", &house.ada.to_string(), "\"viewer\""]
    {
        assert!(shown.out.contains(part), "{part}: {shown:#?}");
    }
    let entries = json(&house.place.run(&["admin", "audit", "show", REQUEST, "--json"]).out);
    assert_eq!((&entries[0]["sequence"], &entries[0]["hash"]), (&Value::Null, &Value::Null));
    assert_eq!(entries[0]["after"]["roles"], serde_json::json!(["operator", "viewer"]));
    for leaf in ["list", "tail"] {
        let listed = house.place.run(&["admin", "audit", leaf]);
        assert!(listed.code == 0 && listed.err.contains("1 more wait for their numbers"), "{listed:#?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_exported_is_what_verifies_and_appears_whole() {
    let house = House::new().await;
    let running = house.place.start("numbers the stream");
    let place = &house.place;
    for role in ["viewer", "accountant", "approver"] {
        assign(&house, role, &[]);
    }
    assert_eq!(place.run(&["admin", "tenants", "create", "initech"]).code, 0);
    let verified = loop {
        let verified = json(&place.run(&["verify", "audit", "--json"]).out);
        if verified["rows"] == 4 {
            break verified;
        }
    };

    let exported = place.run(&["admin", "audit", "export", "--out", "audit.jsonl"]);
    assert_eq!(exported.code, 0, "{exported:#?}");
    let head = verified["head_hash"].as_str().unwrap();
    assert!(
        exported.out.contains("4 entries, numbers 1 to 4") && exported.out.contains(head),
        "{exported:#?}"
    );
    let lines: Vec<Value> =
        std::fs::read_to_string(place.path("audit.jsonl")).unwrap().lines().map(json).collect();
    assert_eq!(numbers(&Value::Array(lines.clone())), [1, 2, 3, 4]);
    for pair in lines.windows(2) {
        assert_eq!(pair[0]["hash"], pair[1]["prev_hash"]);
    }
    assert_eq!(lines[3]["hash"], head);
    let mode = std::fs::metadata(place.path("audit.jsonl")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "it tells who did what");

    place
        .run(&["admin", "audit", "export", "--out", "audit.jsonl"])
        .fails(2, &["audit.jsonl exists already"]);
    place
        .run(&["admin", "audit", "export", "--out", "no/audit.jsonl"])
        .fails(1, &["no/", "a directory that exists"]);
    place
        .run(&["admin", "audit", "export", "--out", "x.jsonl", "--tenant", "acmee"])
        .fails(2, &["did you mean"]);
    // A log that cannot be read to its end leaves no file.
    house.owner("ALTER TABLE plimsoll.audit_log RENAME COLUMN actor TO author").await;
    let broken = place.run(&["admin", "audit", "export", "--out", "broken.jsonl"]);
    assert_eq!(broken.code, 1, "{broken:#?}");
    house.owner("ALTER TABLE plimsoll.audit_log RENAME COLUMN author TO actor").await;
    let left = std::fs::read_dir(place.path("")).unwrap().map(|entry| entry.unwrap().file_name());
    let left: Vec<String> =
        left.map(|name| name.to_string_lossy().into_owned()).filter(|name| name.contains("jsonl")).collect();
    assert_eq!(left, ["audit.jsonl"]);

    let day = |after: i64| (time::OffsetDateTime::now_utc() + time::Duration::days(after)).date().to_string();
    for (range, expected) in [
        (vec!["--from", "2", "--to", "3"], vec![2, 3]),
        (vec!["--tenant", "acme"], vec![1, 2, 3]),
        (vec!["--tenant", "acme", "--from", "3"], vec![3]),
        (vec!["--tenant", "globex"], vec![]),
        (vec!["--from", &day(-1), "--to", &day(2)], vec![1, 2, 3, 4]),
        (vec!["--from", &day(2)], vec![]),
        (vec!["--action", "tenant."], vec![4]),
        (vec!["--target-type", "user", "--target", &house.ada.to_string()], vec![1, 2, 3]),
        (vec!["--actor", "nobody"], vec![]),
        (vec!["--from", "5"], vec![]),
    ] {
        let listed = place.run(&[&["admin", "audit", "list", "--json"], &range[..]].concat());
        assert_eq!(numbers(&json(&listed.out)), expected, "{range:?}");
        let out = format!("range-{}.jsonl", range.join("").replace('/', ""));
        let exported =
            place.run(&[&["admin", "audit", "export", "--json", "--out", &out], &range[..]].concat());
        let told = json(&exported.out);
        assert_eq!(
            (told["entries"].as_u64(), told["last"].as_i64()),
            (Some(expected.len() as u64), expected.last().copied())
        );
        assert_eq!(told["head_hash"], head, "the head is the whole log's");
        assert_eq!(std::fs::read_to_string(place.path(&out)).unwrap().lines().count(), expected.len());
    }
    let part = place.run(&["admin", "audit", "list", "--limit", "2"]);
    assert!(part.out.lines().count() == 3 && part.err.contains("go on with `--from 3`"), "{part:#?}");
    let tail = place.run(&["admin", "audit", "tail", "--rows", "2", "--json"]);
    let tail: Vec<Value> = tail.out.lines().map(json).collect();
    assert_eq!(numbers(&Value::Array(tail)), [3, 4]);
    running.signal("TERM");
    assert_eq!(running.end().0, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tail_that_follows_tells_what_comes_until_it_is_interrupted() {
    let house = House::new().await;
    let running = house.place.start("numbers the stream");
    assign(&house, "viewer", &[]);
    let mut follower = Command::new(env!("CARGO_BIN_EXE_plimsoll"))
        .args(["admin", "audit", "tail", "--follow", "--json", "--tenant", "acme"])
        .current_dir(house.place.path(""))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(follower.stdout.take().unwrap()).lines();
    assert_eq!(json(&lines.next().unwrap().unwrap())["sequence"], 1);
    assign(&house, "approver", &[]);
    assert_eq!(json(&lines.next().unwrap().unwrap())["sequence"], 2);
    Command::new("kill").args(["-INT", &follower.id().to_string()]).status().unwrap();
    assert_eq!(follower.wait().unwrap().code(), Some(0));
    running.signal("TERM");
    assert_eq!(running.end().0, Some(0));
}

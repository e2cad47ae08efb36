//! What is refused, why, and what has to be typed before it is not.

use std::io::Write as _;
use std::process::Stdio;

use uuid::Uuid;

use crate::house::{House, ISSUER};

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
            vec!["users", "factors", "remove", "--tenant", "acme", &ada, "totp", "--reason", "x", "--yes"],
            1,
            vec!["no second factor totp", "factors list"],
        ),
        (
            vec!["users", "factors", "remove", "--tenant", "acme", &ada, "phone", "--reason", "x", "--yes"],
            2,
            vec!["`totp`, or `webauthn:`"],
        ),
        (vec!["users", "factors", "list", "--tenant", "globex", &ada], 1, vec!["another tenant's?"]),
        (
            vec![
                "users",
                "identities",
                "link",
                "--tenant",
                "acme",
                &agent,
                "--issuer",
                ISSUER,
                "--subject",
                "ada",
            ],
            1,
            vec!["belongs to another user", "identities unlink"],
        ),
        (
            vec![
                "users",
                "identities",
                "link",
                "--tenant",
                "acme",
                &ada,
                "--issuer",
                ISSUER,
                "--subject",
                "ada",
            ],
            1,
            vec!["changes nothing"],
        ),
        (
            vec![
                "users",
                "identities",
                "unlink",
                "--tenant",
                "acme",
                &agent,
                "--issuer",
                ISSUER,
                "--subject",
                "ada",
            ],
            1,
            vec!["is not \"ada\"", "identities list"],
        ),
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

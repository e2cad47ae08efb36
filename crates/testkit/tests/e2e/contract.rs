//! The API against its own document: schemathesis makes requests of every kind that `/openapi.json` allows, and of kinds that it does not, follows
//! the document's links from one answer to the next request, and holds each answer against it. Once for each of three roles, each with a key
//! of its own. Every check is on for every operation, but for those in [`NOT_MADE_UP`] and for cursors, which [`beginnings`] does without. It does not read
//! `application/jsonl`: that the lines of the audit export are what the document says is held by the API's own tests.

use std::fmt::Write as _;
use std::path::PathBuf;

use serde_json::{Value, json};
use uuid::Uuid;

use crate::house::{House, Settings, admin};
use crate::world::{World, seed};

const ADMINISTRATOR: &str = "admin";
const ROLES: [&str; 3] = ["viewer", "operator", ADMINISTRATOR];
/// Requests made up for each operation, beside those that follow from the document's examples and limits.
const EXAMPLES: u32 = 5;
/// Stories made of links, each so many steps long at most. Which links a story takes is chance, whatever the seed: `PLIMSOLL_STORIES` asks for more, which come to what
/// another story must have made first.
const STORIES: u32 = 10;
const STEPS: u32 = 10;

/// These refuse requests however well they are made: two speak WebSocket, a ceremony wants a security key that signs, and what calldata may say is the called contract's to know. All other
/// checks hold for them too; that they take what is right is tested where there is a client for it (the API's tests of streams, of second factors and of users' transactions).
const NOT_MADE_UP: [&str; 5] = [
    "/api/v1/events/ws",
    "/ws/txs",
    "/chain/tx/prepare",
    "/auth/second-factor/webauthn/registration/finish",
    "/auth/second-factor/webauthn/assertion/finish",
];
/// They do not end by themselves: of each answer so much is read.
const ENDLESS: [&str; 3] =
    ["/api/v1/events/stream", "/api/v1/chains/{chain_id}/blocks/stream", "/chain/tx/stream"];
/// Whoever asks for these well is nobody afterwards: they come last.
const ENDS_SESSION: [&str; 2] = ["/auth/logout", "/api/v1/sessions/{session_id}/revoke"];
/// What a request that is made well may get: what schemathesis expects, and the one answer with 422, that its idempotency key belongs to another
/// request, which no schema can say of a key.
const WELL_MADE: &str = r#"["2xx", "3xx", "401", "403", "404", "409", "422", "429", "5xx"]"#;
/// Parameters by which one goes on where one was: nobody can make up a value that was given.
const CURSORS: [&str; 3] = ["cursor", "after", "Last-Event-ID"];

/// The ends of ranges, which may not lie before their beginnings.
const RANGE_ENDS: [&str; 1] = ["to_block"];

/// Somebody with a role: a user, and what they prove that with.
struct Somebody {
    tenant_id: String,
    user_id: String,
    /// A key with all that the role allows; an administrator's access token, since what they do wants a second factor.
    credential: String,
}

fn is_cursor(parameter: &Value) -> bool {
    CURSORS.iter().any(|name| parameter["name"] == *name)
}

/// The paths where one can go on from a cursor.
fn continued(document: &Value) -> Vec<&str> {
    let goes_on = |item: &Value| {
        let operations = item.as_object().unwrap().values();
        operations
            .flat_map(|operation| operation["parameters"].as_array().into_iter().flatten())
            .any(is_cursor)
    };
    let paths = document["paths"].as_object().unwrap().iter();
    paths.filter(|(_, item)| goes_on(item)).map(|(path, _)| path.as_str()).collect()
}

/// The document of what begins anew, with what OpenAPI cannot say of two parameters at once: that positions need one of two, and that a range
/// ends where it begins or later.
fn beginnings(mut document: Value) -> Value {
    let positions = document["paths"]["/api/v1/positions"]["get"]["parameters"].as_array_mut().unwrap();
    positions.iter_mut().find(|parameter| parameter["name"] == "user").unwrap()["required"] = true.into();
    for item in document["paths"].as_object_mut().unwrap().values_mut() {
        for operation in item.as_object_mut().unwrap().values_mut() {
            if let Some(parameters) = operation["parameters"].as_array_mut() {
                let is_end = |parameter: &Value| RANGE_ENDS.iter().any(|name| parameter["name"] == *name);
                parameters.retain(|parameter| !is_cursor(parameter) && !is_end(parameter));
            }
            for response in operation["responses"].as_object_mut().unwrap().values_mut() {
                response.as_object_mut().unwrap().remove("links");
            }
        }
    }
    document
}

/// What schemathesis reads: of these paths nothing that is made up need be taken.
fn configuration(who: &Somebody, not_made_up: &[&str]) -> String {
    let Somebody { tenant_id, user_id, .. } = who;
    let asked = std::env::var("PLIMSOLL_STORIES")
        .ok()
        .map(|text| text.parse().expect("PLIMSOLL_STORIES is a number"));
    let stories: u32 = asked.unwrap_or(STORIES);
    // The keys of a write are nearly always the caller's own: else no write would ever be done.
    let mut text = format!(
        "[generation]\nmax-examples = {EXAMPLES}\n\
         [phases.stateful]\nmax-steps = {STEPS}\ngeneration.max-examples = {stories}\n\
         [checks.positive_data_acceptance]\nexpected-statuses = {WELL_MADE}\n\
         [dictionaries.tenant]\nvalues = [\"{tenant_id}\"]\n[dictionaries.user]\nvalues = [\"{user_id}\"]\n\
         [parameters]\n\"body.tenant_id\" = {{ dictionary = \"tenant\", probability = 0.9 }}\n\
         \"body.user_id\" = {{ dictionary = \"user\", probability = 0.9 }}\n\
"
    );
    for path in ENDLESS {
        writeln!(
            text,
            "[[operations]]\ninclude-path = \"{path}\"\nrequest-timeout = 1.0\nmax-stream-events = 3"
        )
        .unwrap();
    }
    for path in not_made_up {
        writeln!(text, "[[operations]]\ninclude-path = \"{path}\"").unwrap();
        writeln!(text, "checks.positive_data_acceptance.enabled = false").unwrap();
    }
    text
}

fn schemathesis() -> PathBuf {
    std::env::var_os("PLIMSOLL_SCHEMATHESIS").map(PathBuf::from).expect(
        "PLIMSOLL_SCHEMATHESIS names the program: `cargo xtask test integration` installs and names it",
    )
}

/// Runs it in the house with this configuration; every check passes, or the test fails with all that it said.
async fn holds(house: &House, who: &Somebody, what: &str, configuration: &str, arguments: &[&str]) {
    std::fs::write(house.path("schemathesis.toml"), configuration).unwrap();
    let mut run = tokio::process::Command::new(schemathesis());
    run.current_dir(house.path(""))
        .arg("run")
        .args(arguments)
        .args(["--seed", "1", "--no-color"])
        .args(["--header", &format!("Authorization: Bearer {}", who.credential)])
        .stdin(std::process::Stdio::null())
        .kill_on_drop(true);
    let output = run.output().await.unwrap();
    assert!(
        output.status.success(),
        "{what}:\n{}{}\n{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
        house.log()
    );
}

async fn somebody(house: &House, role: &str) -> Somebody {
    let shown = admin(house, &["roles", "show", role]).await;
    let scopes: Vec<&str> = shown["permissions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|permission| permission.as_str().unwrap())
        .collect();
    let user = admin(house, &["users", "create", "--name", role, "--kind", "machine", "--role", role]).await;
    let user_id = user["target_id"].as_str().unwrap().to_owned();
    let issued =
        admin(house, &["keys", "issue", "--user", &user_id, "--label", role, "--scopes", &scopes.join(",")])
            .await;
    Somebody {
        tenant_id: tenant(house).await,
        user_id,
        credential: issued["key"].as_str().unwrap().to_owned(),
    }
}

async fn tenant(house: &House) -> String {
    let tenants = admin(house, &["tenants", "list"]).await;
    tenants[0]["tenant_id"].as_str().unwrap().to_owned()
}

/// The first administrator, signed in by their link, with a second factor on record as if it had been given.
async fn administrator(house: &House) -> Somebody {
    let told = admin(house, &["init"]).await;
    let (_, token) = told["link"].as_str().unwrap().split_once("#token=").unwrap();
    let body = json!({"method": "bootstrap", "token": token, "display_name": "Ada Lovelace"});
    let asked = reqwest::Client::new()
        .post(house.url("/auth/login"))
        .header("content-type", "application/json")
        .body(body.to_string());
    let answer = asked.send().await.unwrap();
    assert_eq!(answer.status(), 200);
    let tokens: Value = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap();
    let mut conn = house.connect().await.unwrap();
    let user_id: Uuid = sqlx::query_scalar("UPDATE sessions SET second_factor_at = now() RETURNING user_id")
        .fetch_one(&mut conn)
        .await
        .unwrap();
    let credential = tokens["access_token"].as_str().unwrap().to_owned();
    Somebody { tenant_id: tenant(house).await, user_id: user_id.to_string(), credential }
}

/// Else it would have been tested how strangers are turned away.
async fn is_still_somebody(house: &House, who: &Somebody, role: &str) {
    let authorization = format!("Bearer {}", who.credential);
    let asked = reqwest::Client::new().get(house.url("/auth/session")).header("authorization", authorization);
    assert_eq!(asked.send().await.unwrap().status(), 200, "the {role} shut themselves out");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_is_as_the_document_says_for_each_of_three_roles() {
    let world = World::new(seed(901), 20).await;
    let mut house = House::new(&world, Settings::default()).await;
    house.start();
    house.catches_up(&world).await;
    let (_, document) = house.get("/openapi.json").await.unwrap();
    let continued = continued(&document);
    std::fs::write(house.path("beginnings.json"), beginnings(document.clone()).to_string()).unwrap();
    let listed = ["--include-path", "/api/v1/sessions"];
    let ends: Vec<&str> =
        ENDS_SESSION.iter().flat_map(|path| ["--include-path", path]).chain(listed).collect();
    let others: Vec<&str> = ENDS_SESSION.iter().flat_map(|path| ["--exclude-path", path]).collect();
    let begun: Vec<&str> = continued.iter().flat_map(|path| ["--include-path", path]).collect();
    for role in ROLES {
        let who = match role {
            ADMINISTRATOR => administrator(&house).await,
            _ => somebody(&house, role).await,
        };
        let (document, base) = (house.url("/openapi.json"), house.url(""));
        let configured = configuration(&who, &[&NOT_MADE_UP[..], &continued].concat());
        let all = [&document, "--phases", "examples,coverage,fuzzing,stateful"];
        holds(&house, &who, role, &configured, &[&all[..], &others].concat()).await;
        is_still_somebody(&house, &who, role).await;

        let what = format!("{role}, without cursors");
        let beginnings = ["beginnings.json", "--url", &base, "--phases", "examples,coverage,fuzzing"];
        let not_made_up = configuration(&who, &NOT_MADE_UP);
        holds(&house, &who, &what, &not_made_up, &[&beginnings[..], &begun].concat()).await;
        is_still_somebody(&house, &who, role).await;

        holds(&house, &who, &format!("{role}, at last"), &configured, &[&all[..], &ends].concat()).await;
    }
    house.stop().await;
}

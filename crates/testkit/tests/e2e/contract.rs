//! The API against its own document: schemathesis makes requests of every kind that `/openapi.json` allows, and of kinds that it does not, and
//! holds each answer against it. Once for each of three roles, each with a key of its own.

use std::path::PathBuf;

use serde_json::Value;

use crate::house::{House, Settings, admin};
use crate::world::{World, seed};

const ROLES: [&str; 3] = ["viewer", "operator", "admin"];
/// Requests made up for each operation, beside those that follow from the document's examples and limits.
const EXAMPLES: &str = "5";

/// Beside pages, whose cursors nobody can make up, these refuse requests however well they are made: one speaks WebSocket, and a ceremony wants a
/// security key. All other checks hold for them too.
const NOT_MADE_UP: [&str; 3] = [
    "/api/v1/events/ws",
    "/auth/second-factor/webauthn/registration/finish",
    "/auth/second-factor/webauthn/assertion/finish",
];

/// What schemathesis reads: every check, for all operations but as [`NOT_MADE_UP`] says.
fn configuration(document: &Value) -> String {
    let has_cursor = |item: &Value| {
        item.as_object().unwrap().values().any(|operation| {
            operation["parameters"]
                .as_array()
                .into_iter()
                .flatten()
                .any(|parameter| parameter["name"] == "cursor")
        })
    };
    document["paths"]
        .as_object()
        .unwrap()
        .iter()
        .filter(|(path, item)| NOT_MADE_UP.contains(&path.as_str()) || has_cursor(item))
        .map(|(path, _)| {
            format!(
                "[[operations]]\ninclude-path = \"{path}\"\nchecks.positive_data_acceptance.enabled = false\n"
            )
        })
        .collect()
}

fn schemathesis() -> PathBuf {
    std::env::var_os("PLIMSOLL_SCHEMATHESIS").map(PathBuf::from).expect(
        "PLIMSOLL_SCHEMATHESIS names the program: `cargo xtask test integration` installs and names it",
    )
}

/// A key in the name of a new user who has this role, with all that the role allows.
async fn key(house: &House, role: &str) -> String {
    let shown = admin(house, &["roles", "show", role]).await;
    let scopes: Vec<&str> = shown["permissions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|permission| permission.as_str().unwrap())
        .collect();
    let user = admin(house, &["users", "create", "--name", role, "--kind", "machine", "--role", role]).await;
    let user_id = user["target_id"].as_str().unwrap();
    let issued =
        admin(house, &["keys", "issue", "--user", user_id, "--label", role, "--scopes", &scopes.join(",")])
            .await;
    issued["key"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_is_as_the_document_says_for_each_of_three_roles() {
    let world = World::new(seed(901), 20).await;
    let mut house = House::new(&world, Settings::default()).await;
    house.start();
    house.catches_up(&world).await;
    let (_, document) = house.get("/openapi.json").await.unwrap();
    std::fs::write(house.path("schemathesis.toml"), configuration(&document)).unwrap();
    for role in ROLES {
        let key = key(&house, role).await;
        let mut run = tokio::process::Command::new(schemathesis());
        run.current_dir(house.path(""))
            .arg("run")
            .arg(house.url("/openapi.json"))
            // It does not end, and each request to it would be waited for: it has tests of its own.
            .args(["--exclude-path", "/api/v1/events/stream"])
            .args(["--phases", "examples,coverage,fuzzing", "--max-examples", EXAMPLES])
            .args(["--seed", "1", "--no-color", "--header", &format!("Authorization: Bearer {key}")])
            .stdin(std::process::Stdio::null())
            .kill_on_drop(true);
        let output = run.output().await.unwrap();
        assert!(
            output.status.success(),
            "as {role}:\n{}{}\n{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr),
            house.log()
        );
    }
    house.stop().await;
}

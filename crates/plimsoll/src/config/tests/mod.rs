//! What the tests of the configuration share: a directory of files, and configurations to change one thing in.

mod every_key;
mod listed;
mod meaning;
mod mistakes;

use std::fmt::Write as _;
use std::path::Path;

use tempfile::TempDir;

use super::load::Environment;
use super::*;

const TRANSFER: &str = r#"{"type":"event","name":"Transfer","anonymous":false,"inputs":[{"name":"from","type":"address","indexed":true},{"name":"to","type":"address","indexed":true},{"name":"value","type":"uint256","indexed":false}]}"#;

/// A directory with the files that the cases below speak of.
fn directory() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let abi = format!("[{TRANSFER}]");
    for (name, content) in [
        ("token.json", abi.as_str()),
        ("artifact.json", &format!(r#"{{"bytecode":"0x","abi":{abi}}}"#)),
        ("broken.json", "[{\"type\":\n oops"),
        ("number.json", "7"),
        ("package.json", r#"{"name":"not an artifact"}"#),
        ("not-abi.json", r#"[{"type":"event"}]"#),
        (
            "no-events.json",
            r#"[{"type":"function","name":"f","inputs":[],"outputs":[],"stateMutability":"view"}]"#,
        ),
        (
            "wrong-view.json",
            r#"[{"type":"event","name":"UserPositionCachedV2","anonymous":false,"inputs":[{"name":"user","type":"address","indexed":true},{"name":"asset","type":"address","indexed":false},{"name":"collateral","type":"uint256","indexed":false},{"name":"debt","type":"uint256","indexed":false},{"name":"version","type":"uint64","indexed":false},{"name":"ts","type":"uint256","indexed":false}]}]"#,
        ),
        ("secret", "hunter2\n"),
        ("empty", "\n"),
    ] {
        std::fs::write(dir.path().join(name), content).unwrap();
    }
    dir
}

fn load_text(dir: &Path, text: &str, environment: &[(&str, &str)]) -> Loaded {
    let file = dir.join("plimsoll.toml");
    std::fs::write(&file, text).unwrap();
    let environment: Environment =
        environment.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    load(&file, true, &environment)
}

const CHAIN: &str = "[[chain]]\nchain_id = 1\nname = \"one\"\nrpc = \"http://localhost:8545\"\n";
const TENANT: &str = "[[tenant]]\nid = \"0198c5a1-7d2e-7c3a-9a55-3f1f0c6d2b10\"\nname = \"acme\"\n";

fn contract(changes: &[(&str, &str)]) -> String {
    let mut text = format!("{TENANT}{CHAIN}[[chain.contract]]\n");
    for (key, value) in [
        ("name", "\"Token\""),
        ("address", "\"0x5FbDB2315678afecb367f032d93F642f64180aa3\""),
        ("abi", "\"token.json\""),
        ("start_block", "0"),
        ("tenant", "\"acme\""),
    ] {
        let value = changes.iter().find(|(k, _)| *k == key).map_or(value, |(_, v)| v);
        writeln!(text, "{key} = {value}").unwrap();
    }
    text
}

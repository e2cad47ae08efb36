//! Every setting of the schema is read from its variable, shown in the example, and told in the documentation.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::{TRANSFER, contract, directory, load_text};
use crate::config::read::{Checked, Group, Setting};
use crate::config::schema::{Absent, Key, Kind, Section, VARIABLE_PREFIX, all, variable};
use crate::config::settings::ROOT;
use crate::config::{EXAMPLE, Origin};

/// What a provider cannot be without.
const PROVIDER: [(&str, &str); 5] = [
    ("PLIMSOLL_IDENTITY__PROVIDER__0__NAME", "acme"),
    ("PLIMSOLL_IDENTITY__PROVIDER__0__TENANT", "0198c5a1-7d2e-7c3a-9a55-3f1f0c6d2b11"),
    ("PLIMSOLL_IDENTITY__PROVIDER__0__ISSUER", "https://login.example.com"),
    ("PLIMSOLL_IDENTITY__PROVIDER__0__CLIENT_ID", "plimsoll"),
    ("PLIMSOLL_IDENTITY__PROVIDER__0__CLIENT_SECRET", "hunter2"),
];

/// What a signer cannot be without, whose key is in a keystore.
const SIGNER: [(&str, &str); 5] = [
    ("PLIMSOLL_SIGNERS__0__NAME", "retrier"),
    ("PLIMSOLL_SIGNERS__0__CHAIN", "one"),
    ("PLIMSOLL_SIGNERS__0__ADDRESS", "0x5fbdb2315678afecb367f032d93f642f64180aa3"),
    ("PLIMSOLL_SIGNERS__0__KEY__KEYSTORE", "key.json"),
    ("PLIMSOLL_SIGNERS__0__KEY__PASSWORD", "hunter2"),
];
/// What a grant cannot be without.
const GRANT: [(&str, &str); 4] = [
    ("PLIMSOLL_SIGNERS__0__GRANTS__0__TENANT", "acme"),
    ("PLIMSOLL_SIGNERS__0__GRANTS__0__TARGETS", "*"),
    ("PLIMSOLL_SIGNERS__0__GRANTS__0__METHODS", "*"),
    ("PLIMSOLL_SIGNERS__0__GRANTS__0__MAX_GAS_WEI_PER_DAY", "1"),
];

/// What has to be given beside this setting of a signer.
fn beside_of_a_signer(path: &str, name: &str) -> Vec<(&'static str, &'static str)> {
    const WEB3SIGNER: (&str, &str) = ("PLIMSOLL_SIGNERS__0__KEY__WEB3SIGNER", "https://localhost");
    let is_of_keystore = ["keystore", "password", "password_file"].iter().any(|key| path.ends_with(key));
    let is_remote = path.contains(".key.") && !is_of_keystore;
    let mut beside: Vec<_> =
        SIGNER.into_iter().filter(|(other, _)| !is_remote || !other.contains("__KEY__")).collect();
    if is_remote {
        beside.push(WEB3SIGNER);
    }
    if path.ends_with("password_file") {
        beside.retain(|(other, _)| !other.ends_with("PASSWORD"));
    }
    if path.contains(".client_") {
        beside.push(("PLIMSOLL_SIGNERS__0__KEY__CLIENT_CERT_FILE", "cert.pem"));
        beside.push(("PLIMSOLL_SIGNERS__0__KEY__CLIENT_KEY_FILE", "key.pem"));
    }
    if path.contains(".grants[0].") {
        beside.extend(GRANT);
    }
    if path.ends_with("max_value_wei") {
        beside.push(("PLIMSOLL_SIGNERS__0__GRANTS__0__MAX_VALUE_WEI_PER_DAY", "unlimited"));
    }
    beside.retain(|(other, _)| *other != name);
    beside
}

/// Each key of the schema, set by its variable, is read from there.
#[test]
fn every_setting_can_be_given_by_its_variable() {
    let dir = directory();
    for (path, key) in all() {
        let path = path.replace("[]", "[0]");
        let value = match (path.as_str(), key.kind) {
            ("database.url", _) => "postgres://localhost/x".into(),
            ("telemetry.headers", _) => "api-key: hunter2".into(),
            ("ledger.signing_key", _) => "07".repeat(32),
            (_, Kind::Secret) => "hunter2".into(),
            (_, Kind::SecretPath) => "secret".into(),
            ("chain[0].rpc" | "chain[0].endpoint[0].rpc", _) => "ws://localhost".into(),
            ("chain[0].contract[0].abi", _) => "artifact.json".into(),
            ("chain[0].contract[0].address", _) => "0x5fbdb2315678afecb367f032d93f642f64180aa4".into(),
            (
                "chain[0].books"
                | "chain[0].contract[0].tenant"
                | "identity.provider[0].tenant"
                | "tenant[0].id",
                _,
            ) => "0198c5a1-7d2e-7c3a-9a55-3f1f0c6d2b11".into(),
            ("api.listen" | "api.internal_listen", _) => "127.0.0.1:1".into(),
            ("api.trusted_proxies", _) => "10.0.0.0/8".into(),
            ("api.cors_origins", _) => "https://console.example".into(),
            ("identity.provider[0].issuer", _) => "https://login.example.org".into(),
            ("api.public_url" | "api.node_url", _) => "https://plimsoll.example".into(),
            ("telemetry.endpoint", _) => "http://localhost:4318".into(),
            ("logging.level", _) => "debug".into(),
            ("signers[0].address", _) => "0x5fbdb2315678afecb367f032d93f642f64180aa4".into(),
            ("signers[0].chain", _) => "1".into(),
            ("signers[0].grants[0].tenant", _) => "0198c5a1-7d2e-7c3a-9a55-3f1f0c6d2b11".into(),
            ("signers[0].grants[0].methods", _) => "none,0x12345678,transfer(address)".into(),
            ("retry.signers", _) => "retrier".into(),
            (_, Kind::Wei { .. }) => "1000000000000000000000".into(),
            (_, Kind::Choice(words)) => words[words.len() - 1].to_owned(),
            ("chain[0].finality_depth" | "chain[0].backfill_max_blocks", _) => "500".into(),
            ("api.request_timeout_ms", _) => "12000".into(),
            ("idempotency.claim_term_ms", _) => "20000".into(),
            (_, Kind::Integer { min, .. }) => (min + 3).to_string(),
            (_, Kind::Texts) => "0x5fbdb2315678afecb367f032d93f642f64180aa4".into(),
            (_, Kind::Text | Kind::Name | Kind::Url | Kind::Path) => "changed".to_owned(),
        };
        let name = variable(&path);
        let mut environment = vec![(name.as_str(), value.as_str())];
        if path == "identity.webauthn_domain" {
            environment.push(("PLIMSOLL_API__PUBLIC_URL", "https://app.changed:8443"));
        }
        if path == "tenant[0].name" {
            environment.push(("PLIMSOLL_CHAIN__0__CONTRACT__0__TENANT", "changed"));
        }
        if path.starts_with("chain[0].endpoint[0]") && !path.contains("rpc") {
            environment.push(("PLIMSOLL_CHAIN__0__ENDPOINT__0__RPC", "ws://localhost"));
        }
        if path.starts_with("api.tls_") || path.starts_with("api.client_") {
            let together = [
                ("PLIMSOLL_API__TLS_CERT_FILE", "cert.pem"),
                ("PLIMSOLL_API__TLS_KEY_FILE", "key.pem"),
                ("PLIMSOLL_API__CLIENT_CA_FILE", "ca.pem"),
            ];
            environment.extend(together.into_iter().filter(|(other, _)| *other != name));
        }
        if path.starts_with("ledger.signing_key") {
            environment.push(("PLIMSOLL_LEDGER__LOG_NAME", "books.example.com"));
        }
        if path.starts_with("identity.provider[0]") {
            let others = PROVIDER.iter().filter(|(variable, _)| !name.starts_with(variable));
            environment.extend(others);
        }
        if path.starts_with("signers[0]") {
            environment.extend(beside_of_a_signer(&path, &name));
        }
        if path == "retry.signers" {
            environment.extend(SIGNER);
        }
        let loaded = load_text(dir.path(), &contract(&[]), &environment);
        let given = setting_at(&loaded.root, &path);
        assert_eq!(given.origin, Origin::Variable(name.clone()), "{path}");
        let read = match &given.value {
            Checked::Text(text) => text.clone(),
            Checked::Integer(number) => number.to_string(),
            Checked::Texts(texts) => texts.iter().map(|(t, _)| t.as_str()).collect::<Vec<_>>().join(","),
        };
        assert_eq!(read, value, "{name}");
        // `hunter2` in a file is no URL, no key and no header: that one problem is the proof that the file was read.
        let problems = loaded.problems.to_string();
        assert_eq!(
            problems.is_empty(),
            !matches!(
                path.as_str(),
                "database.url_file"
                    | "chain[0].rpc_file"
                    | "chain[0].endpoint[0].rpc_file"
                    | "identity.seal_key_file"
                    | "identity.former_seal_key_file"
                    | "telemetry.headers_file"
                    | "ledger.signing_key_file"
            ),
            "{name}: {problems}"
        );
    }
}

fn setting_at<'a>(root: &'a Group, path: &str) -> &'a Setting {
    let mut group = root;
    let (tables, name) = path.rsplit_once('.').unwrap();
    for table in tables.split('.') {
        let table = table.split('[').next().unwrap();
        group = group.group(table).unwrap_or_else(|| panic!("no table {table} of {path}"));
    }
    group.setting(name).unwrap_or_else(|| panic!("no setting {path}"))
}

/// The keys that a text in the example's form names, as `chain[].rpc`, commented out or not.
fn keys_of_example() -> BTreeSet<String> {
    let mut table = String::new();
    let mut keys = BTreeSet::new();
    let lists = |header: &str| header.replace("chain.", "chain[].").replace("signers.", "signers[].");
    for line in EXAMPLE.lines() {
        let bare = line.strip_prefix("# ").unwrap_or(line);
        if let Some(header) = bare.strip_prefix("[[").and_then(|l| l.strip_suffix("]]")) {
            table = lists(header) + "[]";
        } else if let Some(header) = bare.strip_prefix('[').and_then(|l| l.strip_suffix(']')) {
            table = lists(header);
        } else if let Some((name, _)) = bare.split_once(" = ")
            && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
            && !table.is_empty()
        {
            keys.insert(format!("{table}.{name}"));
        }
    }
    keys
}

#[test]
fn the_example_names_every_setting_and_no_other() {
    let schema: BTreeSet<String> = all().into_iter().map(|(path, _)| path).collect();
    assert_eq!(keys_of_example(), schema);
}

#[test]
fn the_example_is_right_as_it_stands_and_with_every_default_spelt_out() {
    let dir = directory();
    std::fs::create_dir(dir.path().join("abi")).unwrap();
    std::fs::write(dir.path().join("abi/PositionView.json"), format!("[{TRANSFER}]")).unwrap();
    let as_it_stands = load_text(dir.path(), EXAMPLE, &[]);
    assert_eq!(as_it_stands.problems.to_string(), "");
    for (path, key) in all() {
        let shown = match key.absent {
            Absent::DefaultInteger(number) => format!("{} = {number}\n", key.name),
            Absent::Default(text) => format!("{} = \"{text}\"\n", key.name),
            Absent::Required | Absent::Optional => continue,
        };
        assert!(EXAMPLE.contains(&shown), "the example does not show the default of {path}: {shown}");
    }
}

#[test]
fn the_documentation_has_a_line_for_every_setting_as_it_is() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/configuration.md");
    let documentation = std::fs::read_to_string(path).unwrap();
    let (before, rest) =
        documentation.split_once("<!-- settings -->\n").expect("the mark of the settings' beginning");
    let (_, after) = rest.split_once("<!-- end of settings -->").expect("the mark of their end");
    let mut tables = String::new();
    documented(&ROOT, "", "", &mut tables);
    let expected = format!("{before}<!-- settings -->\n{tables}\n<!-- end of settings -->{after}");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(path, &expected).unwrap();
    }
    assert!(
        documentation == expected || std::env::var_os("UPDATE_DOCS").is_some(),
        "docs/configuration.md is behind the schema: run this test with UPDATE_DOCS=1"
    );
}

/// `in_variables` is the path with the first entry of each list.
fn documented(section: &'static Section, path: &str, in_variables: &str, out: &mut String) {
    for inner in section.sections {
        let header = if path.is_empty() { inner.name.to_owned() } else { format!("{path}.{}", inner.name) };
        let brackets = if inner.repeated { format!("[[{header}]]") } else { format!("[{header}]") };
        let mut table = format!(
            "\n### `{brackets}`\n\n| key | value | default | what it is |\n| --- | --- | --- | --- |\n"
        );
        for key in inner.keys {
            writeln!(
                table,
                "| `{}` | {} | {} | {} |",
                key.name,
                key.kind.wanted(),
                default_of(key),
                key.about
            )
            .unwrap();
        }
        let entry = format!("{in_variables}{}{}", inner.name, if inner.repeated { "[0]" } else { "" });
        let example = variable(&format!("{entry}.{}", inner.keys[0].name));
        writeln!(table, "\nVariables: `{example}` and so on.").unwrap();
        assert!(example.starts_with(VARIABLE_PREFIX));
        out.push_str(&table);
        documented(inner, &header, &format!("{entry}."), out);
    }
}

fn default_of(key: &Key) -> String {
    match key.absent {
        Absent::Required => "**required**".into(),
        Absent::Optional => "none".into(),
        Absent::Default(text) => format!("`\"{text}\"`"),
        Absent::DefaultInteger(number) => format!("`{number}`"),
    }
}

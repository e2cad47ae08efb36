use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;

use plimsoll_api::Clients;
use tempfile::TempDir;

use super::load::Environment;
use super::read::{Checked, Group, Setting};
use super::schema::{Absent, Key, Kind, Section, VARIABLE_PREFIX, all, variable};
use super::settings::ROOT;
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

/// A title, a file, and the environment.
type Case = (&'static str, String, Vec<(&'static str, &'static str)>);

/// Every mistake and its message, in one table that is read as a whole.
#[test]
fn every_mistake_is_answered_with_its_place_and_a_remedy() {
    let dir = directory();
    let with = |text: &str| format!("{text}\n{CHAIN}");
    let cases: Vec<Case> = vec![
        ("no chain", String::new(), vec![]),
        ("not TOML", "[api\nlisten = 127.0.0.1:80\n".into(), vec![]),
        ("a key twice", with("[api]\nlisten = \"127.0.0.1:1\"\nlisten = \"127.0.0.1:2\""), vec![]),
        ("a table that is none", with("[databse]\nurl = \"postgres://localhost/x\""), vec![]),
        ("a key that is none", with("[api]\n  lisen = \"127.0.0.1:80\"\n  verbose = true"), vec![]),
        ("a key in the wrong table", CHAIN.replace("rpc =", "listen =") + "rpc = \"http://localhost\"\n", vec![]),
        ("a text for a number", CHAIN.to_owned() + "confirmations = \"twelve\"\n", vec![]),
        ("a number for a text", CHAIN.replace("\"one\"", "1"), vec![]),
        ("a fraction", CHAIN.to_owned() + "confirmations = 1.5\n", vec![]),
        ("a number below the range", CHAIN.to_owned() + "poll_interval_ms = 1\n", vec![]),
        ("a number above the range", CHAIN.to_owned() + "max_concurrent_requests = 99999999999999999999999\n", vec![]),
        ("a negative number", CHAIN.to_owned() + "finality_depth = -1\n", vec![]),
        ("a table for a list of tables", "[chain]\nchain_id = 1\n".into(), vec![]),
        ("a value for a table", format!("api = \"127.0.0.1:80\"\n{CHAIN}"), vec![]),
        ("a list of texts for tables", "chain = [\"mainnet\"]\n".into(), vec![]),
        ("a missing key", "[[chain]]\nrpc = \"http://localhost\"\n".into(), vec![]),
        ("an empty text", CHAIN.replace("\"one\"", "\"\""), vec![]),
        ("confirmed after final", CHAIN.to_owned() + "confirmations = 65\n", vec![]),
        ("a first span above the largest", CHAIN.to_owned() + "backfill_max_blocks = 50\n", vec![]),
        ("one chain id twice", format!("{CHAIN}\n{CHAIN}"), vec![]),
        ("no RPC", CHAIN.replace("rpc = \"http://localhost:8545\"\n", ""), vec![]),
        ("an RPC of another kind", CHAIN.replace("http://", "ftp://user:hunter2@"), vec![]),
        ("an RPC's port out of range", CHAIN.replace("localhost:8545", "user:hunter2@localhost:85450/hunter2"), vec![]),
        ("an RPC given twice", CHAIN.to_owned() + "rpc_file = \"secret\"\n", vec![]),
        ("a secret's file that is missing", CHAIN.replace("rpc = \"http://localhost:8545\"", "rpc_file = \"none\""), vec![]),
        ("a secret's file that is empty", with("[database]\nurl = \"postgres://localhost/x\"\napp_password_file = \"empty\""), vec![]),
        ("two databases", with("[database]\nurl = \"postgres://localhost/x\"\ndata_dir = \"here\""), vec![]),
        ("a data directory that is a file", with("[database]\ndata_dir = \"token.json\""), vec![]),
        ("a data directory below a file", with("[database]\ndata_dir = \"token.json/data\""), vec![]),
        ("a list of chains that is empty", "chain = []\n".into(), vec![]),
        ("another database system", with("[database]\nurl = \"mysql://root:hunter2@localhost/x\""), vec![]),
        ("a tenant's id that is no UUID", format!("{}{CHAIN}", TENANT.replace("0198c5a1-", "acme-")), vec![]),
        ("one tenant twice", format!("{TENANT}{TENANT}{CHAIN}"), vec![]),
        ("a port out of range", with("[api]\nlisten = \"127.0.0.1:80800\""), vec![]),
        ("a host name to listen on", with("[api]\nlisten = \"localhost:8080\""), vec![]),
        ("no port", with("[api]\nlisten = \"127.0.0.1\""), vec![]),
        ("a certificate without its key", with("[api]\ntls_cert_file = \"cert.pem\""), vec![]),
        ("a key without its certificate", with("[api]\ntls_key_file = \"key.pem\""), vec![]),
        ("authorities without TLS", with("[api]\nclient_ca_file = \"ca.pem\""), vec![]),
        ("certificates required of nobody", with("[api]\nclient_certificates = \"require\""), vec![]),
        ("an internal address that is the public one", with("[api]\ninternal_listen = \"127.0.0.1:8080\""), vec![]),
        ("an internal address that others reach", with("[api]\ninternal_listen = \"10.1.1.1:8081\""), vec![]),
        ("origins that are none", with("[api]\ncors_origins = [\"https://ok.example\", \"https://x.example/path\", \"*\", \"https://X.example\"]"), vec![]),
        ("a proxy that is a name", with("[api]\ntrusted_proxies = [\"10.0.0.0/8\", \"::1\", \"proxy.example\"]"), vec![]),
        ("a provider without its secret", with("[[identity.provider]]\nname = \"acme\"\ntenant = \"0198c5a1-7d2e-7c3a-9a55-3f1f0c6d2b11\"\nissuer = \"https://login.example.com\"\nclient_id = \"plimsoll\""), vec![]),
        ("a provider whose name fits no path, and whose tenant is nobody", with("[[identity.provider]]\nname = \"Acme & Co\"\ntenant = \"nobody\"\nissuer = \"https://login.example.com\"\nclient_id = \"plimsoll\"\nclient_secret = \"hunter2\""), vec![]),
        ("a sealing key that is not there", with("[identity]\nseal_key_file = \"nowhere\""), vec![]),
        ("a log format that is none", with("[logging]\nformat = \"jsn\""), vec![]),
        ("a log level that is none", with("[logging]\nlevel = \"info,plimsoll=loud\""), vec![]),
        ("an address that is too short", contract(&[("address", "\"0x5FbDB2315678afecb367f032d93F642f64180aa\"")]), vec![]),
        ("an address with a slip in it", contract(&[("address", "\"0x5FbDB2315678afecb367f032d93F642f64180aA3\"")]), vec![]),
        ("an address with a letter O in it", contract(&[("address", "\"0x5FbDB2315678afecb367fO32d93F642f64180aa3\"")]), vec![]),
        ("an address without 0x", contract(&[("address", "\"5FbDB2315678afecb367f032d93F642f64180aa3\"")]), vec![]),
        ("a watched sender that is none", CHAIN.to_owned() + "watched_senders = [\"0x1\", 2]\n", vec![]),
        (
            "one contract twice",
            contract(&[]) + contract(&[]).split_once("[[chain.contract]]").map(|(_, rest)| format!("[[chain.contract]]{rest}")).unwrap().as_str(),
            vec![],
        ),
        ("an ABI file that is missing", contract(&[("abi", "\"abi/none.json\"")]), vec![]),
        ("an ABI file that is not JSON", contract(&[("abi", "\"broken.json\"")]), vec![]),
        ("an ABI file that is a number", contract(&[("abi", "\"number.json\"")]), vec![]),
        ("an ABI file without abi", contract(&[("abi", "\"package.json\"")]), vec![]),
        ("an ABI file that is no ABI", contract(&[("abi", "\"not-abi.json\"")]), vec![]),
        ("an ABI without events", contract(&[("abi", "\"no-events.json\"")]), vec![]),
        ("an ABI whose view event differs", contract(&[("abi", "\"wrong-view.json\"")]), vec![]),
        ("a tenant that is misspelt", contract(&[("tenant", "\"acmee\"")]), vec![]),
        ("a tenant that is unknown", contract(&[("tenant", "\"globex\"")]), vec![]),
        ("a variable that is no setting", CHAIN.into(), vec![("PLIMSOLL_API__LISEN", "127.0.0.1:1"), ("PLIMSOLL_DATABSE__URL", "x")]),
        (
            "a variable with one underscore too few",
            CHAIN.into(),
            vec![("PLIMSOLL_API_LISTEN", "127.0.0.1:1"), ("PLIMSOLL_CHAIN_0_MAX_LAG_MS", "1"), ("PLIMSOLL_DATABASE_URL", "x")],
        ),
        ("a variable that is no text", CHAIN.into(), vec![("PLIMSOLL_API__LISTEN", "\u{fffd}"), ("DATABASE_URL", "hunter\u{fffd}")]),
        ("a variable of the wrong kind", CHAIN.into(), vec![("PLIMSOLL_CHAIN__0__CONFIRMATIONS", "many")]),
        ("a variable that skips an entry", CHAIN.into(), vec![("PLIMSOLL_CHAIN__2__NAME", "three")]),
        ("a variable without the entry's number", CHAIN.into(), vec![("PLIMSOLL_CHAIN__NAME", "one")]),
        ("a variable that goes on after the setting", CHAIN.into(), vec![("PLIMSOLL_API__LISTEN__PORT", "1")]),
        ("a DATABASE_URL that is none", CHAIN.into(), vec![("DATABASE_URL", "localhost:hunter2")]),
        (
            "many at once",
            "[api]\nlisten = 8080\n\n[[chain]]\nname = \"a\"\nchian_id = 5\nrpc = \"localhost\"\nconfirmations = 100\n\n[verify]\nrows_per_second = 0\n".into(),
            vec![("PLIMSOLL_LEASES__TERM_MS", "1")],
        ),
    ];
    let place = format!("{}/", dir.path().display());
    let mut report = String::new();
    for (title, text, environment) in cases {
        let loaded = load_text(dir.path(), &text, &environment);
        assert!(
            !loaded.problems.is_empty() && loaded.config.is_none(),
            "{title}: no problem was found in\n{text}"
        );
        writeln!(report, "## {title}\n{}\n", loaded.problems.to_string().replace(&place, "")).unwrap();
    }
    assert!(!report.contains("hunter"), "a secret is in a message:\n{report}");
    insta::assert_snapshot!("mistakes", report);
}

#[test]
fn an_internal_listener_that_others_reach_demands_certificates_and_one_that_they_do_not_is_plain() {
    let dir = directory();
    let api = |lines: &str| {
        let loaded = load_text(dir.path(), &format!("[api]\n{lines}\n{CHAIN}"), &[]);
        assert_eq!(loaded.problems.to_string(), "", "{lines}");
        loaded.config.unwrap().api
    };
    let tls = "tls_cert_file = \"c.pem\"\ntls_key_file = \"/k.pem\"";
    let plain = api("");
    assert!(plain.tls.is_none() && plain.internal.is_none());
    assert_eq!(plain.public_url, "http://127.0.0.1:8080");
    let encrypted = api(tls);
    assert_eq!(encrypted.public_url, "https://127.0.0.1:8080");
    let files = encrypted.tls.unwrap();
    assert_eq!((files.certificate, files.key), (dir.path().join("c.pem"), "/k.pem".into()));
    assert!(matches!(files.clients, Clients::NotAsked));
    let certified = |lines: &str| api(&format!("{tls}\nclient_ca_file = \"ca.pem\"\n{lines}"));
    let asked = certified("internal_listen = \"127.0.0.1:8081\"");
    assert!(matches!(asked.tls.unwrap().clients, Clients::Asked(_)));
    assert!(asked.internal.unwrap().tls.is_none());
    let required = certified("client_certificates = \"require\"\ninternal_listen = \"[::]:8081\"");
    assert!(matches!(required.tls.unwrap().clients, Clients::Required(_)));
    let internal = certified("internal_listen = \"10.1.1.1:8081\"").internal.unwrap();
    assert!(
        matches!(internal.tls.unwrap().clients, Clients::Required(path) if path == dir.path().join("ca.pem"))
    );
}

#[test]
fn a_limit_is_what_was_written_and_nothing_where_it_is_zero() {
    let dir = directory();
    let limits = |lines: &str| {
        let loaded = load_text(dir.path(), &format!("[api]\n{lines}\n{CHAIN}"), &[]);
        assert_eq!(loaded.problems.to_string(), "", "{lines}");
        loaded.config.unwrap().api.rate_limits
    };
    let usual = limits("");
    assert_eq!((usual.address.interval, usual.address.burst), (Duration::from_millis(10), 200));
    assert_eq!((usual.sign_in.interval, usual.sign_in.burst), (Duration::from_secs(3), 10));
    let none = limits("user_requests_per_second = 0\ntenant_burst = 7");
    assert_eq!((none.user.interval, none.tenant.burst), (Duration::ZERO, 7));
}

#[test]
fn a_file_that_is_missing_is_an_error_only_when_it_was_named() {
    let dir = directory();
    let file = dir.path().join("none.toml");
    let named = load(&file, true, &Environment::new());
    assert!(named.problems.to_string().contains("cannot be read"), "{}", named.problems);

    let environment = [("CHAIN_ID", "5"), ("NAME", "five"), ("RPC", "http://localhost")]
        .map(|(key, value)| (format!("PLIMSOLL_CHAIN__0__{key}"), value.to_owned()));
    let loaded = load(&file, false, &environment.into());
    assert_eq!(loaded.problems.to_string(), "");
    assert_eq!(loaded.config.unwrap().chains[0].chain_id, 5);
}

#[test]
fn a_file_that_is_no_configuration_file_says_what_it_is() {
    let dir = directory();
    let told = |file: &Path| load(file, true, &Environment::new()).problems.to_string();
    assert!(told(dir.path()).contains("this is a directory"));
    let file = dir.path().join("picture.png");
    std::fs::write(&file, b"\x89PNG\xff").unwrap();
    assert!(told(&file).contains("no text in UTF-8"));
}

#[test]
fn the_port_of_a_url_is_not_looked_for_in_passwords_and_addresses() {
    let dir = directory();
    for url in
        ["http://u:99999@localhost/", "http://[::1:99999]", "http://[::1]:8545", "wss://node/99999:99999"]
    {
        let loaded = load_text(dir.path(), &CHAIN.replace("http://localhost:8545", url), &[]);
        assert_eq!(loaded.problems.to_string(), "", "{url}");
    }
}

#[test]
fn a_secret_that_every_user_may_read_deserves_a_word() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = directory();
    let text =
        format!("[database]\nurl = \"postgres://localhost/x\"\napp_password_file = \"secret\"\n{CHAIN}");
    let noted = |mode| {
        let secret = dir.path().join("secret");
        std::fs::set_permissions(secret, std::fs::Permissions::from_mode(mode)).unwrap();
        let loaded = load_text(dir.path(), &text, &[]);
        assert_eq!(loaded.problems.to_string(), "");
        loaded.notes.iter().any(|note| note.contains("plimsoll.toml:3:21") && note.contains("chmod o-r"))
    };
    assert_eq!([0o644, 0o640, 0o600].map(noted), [true, false, false]);
}

#[test]
fn a_variable_of_an_orchestrator_is_no_setting() {
    let dir = directory();
    let loaded = load_text(
        dir.path(),
        CHAIN,
        &[
            ("PLIMSOLL_SERVICE_HOST", "10.0.0.1"),
            ("PLIMSOLL_PORT", "tcp://10.0.0.1:80"),
            ("PLIMSOLL_API_SERVICE_HOST", "10.0.0.1"),
            ("PLIMSOLL_API_PORT", "tcp://10.0.0.1:80"),
            ("PLIMSOLL_CONFIG", "plimsoll.toml"),
            ("SOMEBODY_ELSES", "\u{fffd}"),
        ],
    );
    assert_eq!(loaded.problems.to_string(), "");
}

#[test]
fn the_database_is_the_one_that_was_named_most_expressly() {
    let dir = directory();
    let url = |text: &str, environment: &[(&str, &str)]| match load_text(
        dir.path(),
        &format!("{text}\n{CHAIN}"),
        environment,
    )
    .config
    .unwrap()
    .database
    .source
    {
        DatabaseSource::Url(url) => url.expose().to_owned(),
        DatabaseSource::Private(path) => path.file_name().unwrap().to_str().unwrap().to_owned(),
    };
    let general = ("DATABASE_URL", "postgres://localhost/general");
    let ours = ("PLIMSOLL_DATABASE__URL", "postgres://localhost/ours");
    assert_eq!(url("", &[]), "plimsoll-data");
    assert_eq!(url("", &[general]), general.1);
    assert_eq!(url("[database]\ndata_dir = \"here\"", &[general]), "here");
    assert_eq!(
        url("[database]\nurl = \"postgres://localhost/file\"", &[general]),
        "postgres://localhost/file"
    );
    assert_eq!(url("[database]\ndata_dir = \"here\"", &[general, ours]), ours.1);
    assert_eq!(
        url("[database]\nurl = \"postgres://localhost/file\"", &[("PLIMSOLL_DATABASE__DATA_DIR", "there")]),
        "there"
    );
}

#[test]
fn a_secret_in_a_file_is_read_without_its_line_end_and_never_shown() {
    let dir = directory();
    let text = format!(
        "[database]\nurl = \"postgres://u:hunter2@db:1/x\"\napp_password_file = \"secret\"\nworker_password = \"hunter2\"\n{CHAIN}"
    );
    let loaded = load_text(dir.path(), &text, &[]);
    let shown = loaded.show();
    assert!(!shown.contains("hunter2"), "{shown}");
    let config = loaded.config.unwrap();
    assert_eq!(config.database.app_password.as_ref().unwrap().expose(), "hunter2");
    assert!(!format!("{config:?}").contains("hunter2"));
    insta::assert_snapshot!("show", shown.replace(&format!("{}/", dir.path().display()), ""));
}

#[test]
fn an_artifact_and_a_bare_abi_are_the_same_abi() {
    let dir = directory();
    let digest = |file| {
        load_text(dir.path(), &contract(&[("abi", file)]), &[]).config.unwrap().chains[0].contracts[0]
            .abi_digest
    };
    assert_eq!(digest("\"token.json\""), digest("\"artifact.json\""));
}

/// What a provider cannot be without.
const PROVIDER: [(&str, &str); 5] = [
    ("PLIMSOLL_IDENTITY__PROVIDER__0__NAME", "acme"),
    ("PLIMSOLL_IDENTITY__PROVIDER__0__TENANT", "0198c5a1-7d2e-7c3a-9a55-3f1f0c6d2b11"),
    ("PLIMSOLL_IDENTITY__PROVIDER__0__ISSUER", "https://login.example.com"),
    ("PLIMSOLL_IDENTITY__PROVIDER__0__CLIENT_ID", "plimsoll"),
    ("PLIMSOLL_IDENTITY__PROVIDER__0__CLIENT_SECRET", "hunter2"),
];

/// Each key of the schema, set by its variable, is read from there.
#[test]
fn every_setting_can_be_given_by_its_variable() {
    let dir = directory();
    for (path, key) in all() {
        let path = path.replace("[]", "[0]");
        let value = match (path.as_str(), key.kind) {
            ("database.url", _) => "postgres://localhost/x".into(),
            (_, Kind::Secret) => "hunter2".into(),
            (_, Kind::SecretPath) => "secret".into(),
            ("chain[0].rpc", _) => "ws://localhost".into(),
            ("chain[0].contract[0].abi", _) => "artifact.json".into(),
            ("chain[0].contract[0].address", _) => "0x5fbdb2315678afecb367f032d93f642f64180aa4".into(),
            ("chain[0].contract[0].tenant" | "identity.provider[0].tenant" | "tenant[0].id", _) => {
                "0198c5a1-7d2e-7c3a-9a55-3f1f0c6d2b11".into()
            }
            ("api.listen" | "api.internal_listen", _) => "127.0.0.1:1".into(),
            ("api.trusted_proxies", _) => "10.0.0.0/8".into(),
            ("api.cors_origins", _) => "https://console.example".into(),
            ("api.public_url", _) => "https://plimsoll.example".into(),
            ("logging.level", _) => "debug".into(),
            (_, Kind::Choice(words)) => words[words.len() - 1].to_owned(),
            ("chain[0].finality_depth" | "chain[0].backfill_max_blocks", _) => "500".into(),
            (_, Kind::Integer { min, .. }) => (min + 3).to_string(),
            (_, Kind::Texts) => "0x5fbdb2315678afecb367f032d93f642f64180aa4".into(),
            (_, Kind::Text | Kind::Url | Kind::Path) => "changed".to_owned(),
        };
        let name = variable(&path);
        let mut environment = vec![(name.as_str(), value.as_str())];
        if path == "tenant[0].name" {
            environment.push(("PLIMSOLL_CHAIN__0__CONTRACT__0__TENANT", "changed"));
        }
        if path.starts_with("api.tls_") || path.starts_with("api.client_") {
            let together = [
                ("PLIMSOLL_API__TLS_CERT_FILE", "cert.pem"),
                ("PLIMSOLL_API__TLS_KEY_FILE", "key.pem"),
                ("PLIMSOLL_API__CLIENT_CA_FILE", "ca.pem"),
            ];
            environment.extend(together.into_iter().filter(|(other, _)| *other != name));
        }
        if path.starts_with("identity.provider[0]") {
            let others = PROVIDER.iter().filter(|(variable, _)| !name.starts_with(variable));
            environment.extend(others);
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
        // `hunter2` in a file is no URL: that one problem is the proof that the file was read.
        let problems = loaded.problems.to_string();
        assert_eq!(
            problems.is_empty(),
            !matches!(path.as_str(), "database.url_file" | "chain[0].rpc_file"),
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
    for line in EXAMPLE.lines() {
        let bare = line.strip_prefix("# ").unwrap_or(line);
        if let Some(header) = bare.strip_prefix("[[").and_then(|l| l.strip_suffix("]]")) {
            table = header.replace("chain.contract", "chain[].contract") + "[]";
        } else if let Some(header) = line.strip_prefix('[').and_then(|l| l.strip_suffix(']')) {
            header.clone_into(&mut table);
        } else if let Some((name, _)) = bare.split_once(" = ")
            && name.chars().all(|c| c.is_ascii_lowercase() || c == '_')
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
    documented(&ROOT, "", &mut tables);
    let expected = format!("{before}<!-- settings -->\n{tables}\n<!-- end of settings -->{after}");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(path, &expected).unwrap();
    }
    assert!(
        documentation == expected || std::env::var_os("UPDATE_DOCS").is_some(),
        "docs/configuration.md is behind the schema: run this test with UPDATE_DOCS=1"
    );
}

fn documented(section: &'static Section, path: &str, out: &mut String) {
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
        let in_variables = header
            .split('.')
            .map(|t| if inner.repeated { format!("{t}[]") } else { t.into() })
            .collect::<Vec<_>>();
        let example =
            variable(&format!("{}.{}", in_variables.join("."), inner.keys[0].name)).replace("__N__", "__0__");
        writeln!(table, "\nVariables: `{example}` and so on.").unwrap();
        assert!(example.starts_with(VARIABLE_PREFIX));
        out.push_str(&table);
        documented(inner, &header, out);
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

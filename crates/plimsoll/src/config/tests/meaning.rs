//! What a right configuration means: where values come from, what they become, and what is never shown of them.

use std::num::NonZeroU32;
use std::path::Path;
use std::time::Duration;

use alloy_primitives::address;
use plimsoll_api::Clients;
use plimsoll_relayer::fees::Pricing;
use plimsoll_relayer::grant::{Allowed, ForeignUse, Grant, Grantee, Limit, Method, SignerPolicy};
use plimsoll_store::idempotency::KeyOptions;

use super::{CHAIN, contract, directory, load_text};
use crate::config::load::Environment;
use crate::config::{DatabaseSource, OnStaleData, Secret, SignerKey, load};

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
fn a_signer_is_as_it_was_written_and_what_is_not_granted_is_not() {
    let dir = directory();
    let text = format!(
        r#"{}
[chain.relayer]
resend_after_blocks = 5
gas_pricing = "gas_price"
max_fee_per_gas_wei = 90_000_000_000

[relayer]
bump_after_blocks = 9
resend_after_blocks = 4
min_priority_fee_per_gas_wei = "1_000_000_000"
on_stale_data = "hold_all"

[[signers]]
name = "retrier"
chain = 1
simulate = "always"
address = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8"
max_fee_per_gas_wei = "2_000_000_000"
on_foreign_use = "replace"

[signers.key]
keystore = "keys/retrier.json"
password_file = "secret"

[[signers.grants]]
tenant = "acme"
targets = ["0x5FbDB2315678afecb367f032d93F642f64180aa3", "create"]
methods = ["transfer(address,uint256)", "0x12345678", "none"]
max_value_wei = 1_000_000_000_000_000_000
max_value_wei_per_day = "unlimited"
max_gas_wei_per_day = "50000000000000000000"

[[signers.grants]]
tenant = "*"
targets = ["*"]
methods = ["*"]
max_gas_wei_per_day = "1"

[[signers]]
name = "remote"
chain = "one"
address = "0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC"
window = 1
[signers.key]
web3signer = "https://signer.example/hunter2"
token = "hunter2"
client_cert_file = "cert.pem"
client_key_file = "/key.pem"
"#,
        contract(&[])
    );
    let loaded = load_text(dir.path(), &text, &[]);
    assert_eq!(loaded.problems.to_string(), "");
    assert!(!loaded.show().contains("hunter2"), "{}", loaded.show());
    let note = loaded.notes.last().expect("a signer that nobody may use");
    assert!(note.contains("`signers[1]` has no [[signers.grants]]: no tenant may use it"), "{note}");
    let config = loaded.config.unwrap();
    let relayer = &config.chains[0].relayer;
    // Its own, those of all chains, those of nobody.
    assert_eq!((relayer.resend_after_blocks, relayer.bump_after_blocks), (5, 9));
    assert_eq!(
        (relayer.policy_interval, relayer.resend_after),
        (Duration::from_secs(1), Duration::from_secs(30))
    );
    assert_eq!((relayer.pricing, relayer.on_stale_data), (Some(Pricing::GasPrice), OnStaleData::HoldAll));
    assert_eq!(
        (relayer.max_fee_per_gas_wei, relayer.min_priority_fee_per_gas_wei),
        (90_000_000_000, 1_000_000_000)
    );
    assert!(config.signers[0].simulates && !config.signers[1].simulates);
    let [retrier, remote] = &config.signers[..] else { panic!("{:?}", config.signers) };
    let wei = |text: &str| Limit::Wei(text.parse().unwrap());
    let transfer = Method::Selector([0xa9, 0x05, 0x9c, 0xbb].into());
    let own = Grant {
        grantee: Grantee::Tenant("0198c5a1-7d2e-7c3a-9a55-3f1f0c6d2b10".parse().unwrap()),
        targets: Allowed::Only([address!("0x5FbDB2315678afecb367f032d93F642f64180aa3")].into()),
        may_create: true,
        methods: Allowed::Only(
            [transfer, Method::Selector([0x12, 0x34, 0x56, 0x78].into()), Method::Plain].into(),
        ),
        max_value_wei: wei("1000000000000000000"),
        max_value_wei_per_day: Limit::None,
        max_gas_wei_per_day: wei("50000000000000000000"),
    };
    let everybodys = Grant {
        grantee: Grantee::Everybody,
        targets: Allowed::Any,
        may_create: false,
        methods: Allowed::Any,
        max_value_wei: wei("0"),
        max_value_wei_per_day: wei("0"),
        max_gas_wei_per_day: wei("1"),
    };
    let policy = SignerPolicy {
        name: "retrier".into(),
        chain_id: 1,
        address: address!("0x70997970C51812dc3A010C7d01b50e0d17dc79C8"),
        window: NonZeroU32::new(64).unwrap(),
        max_fee_per_gas_wei: Some(2_000_000_000),
        on_foreign_use: ForeignUse::Replace,
        grants: vec![own, everybodys],
    };
    assert_eq!(retrier.policy, policy);
    let SignerKey::Keystore { path, password, .. } = &retrier.key else { panic!("{:?}", retrier.key) };
    assert_eq!((path, password.expose()), (&dir.path().join("keys/retrier.json"), "hunter2"));
    assert_eq!((remote.policy.window.get(), remote.policy.on_foreign_use), (1, ForeignUse::Requeue));
    assert_eq!(
        (remote.policy.max_fee_per_gas_wei, &remote.policy.grants[..]),
        (Some(90_000_000_000), &[][..])
    );
    let SignerKey::Remote(key) = &remote.key else { panic!("{:?}", remote.key) };
    assert_eq!(key.identity, Some((dir.path().join("cert.pem"), "/key.pem".into())));
    assert_eq!(key.token.as_ref().map(Secret::expose), Some("hunter2"));
    assert!(!format!("{:?}", config.signers).contains("hunter2"));
}

#[test]
fn idempotency_is_as_it_was_written() {
    let dir = directory();
    let text = format!("[idempotency]\nttl_hours = 48\nwait_ms = 0\nclaim_term_ms = 15001\n{CHAIN}");
    let environment = [("PLIMSOLL_IDEMPOTENCY__WAIT_MS", "250")];
    let options = load_text(dir.path(), &text, &environment).config.unwrap().idempotency;
    assert_eq!(
        (options.ttl.as_secs(), options.wait.as_millis(), options.claim_term.as_millis()),
        (172_800, 250, 15_001)
    );
    let options = load_text(dir.path(), CHAIN, &[]).config.unwrap().idempotency;
    assert_eq!(options, KeyOptions::default());
}

#[test]
fn spans_go_to_the_path_for_them_with_the_headers_that_were_given() {
    let dir = directory();
    let telemetry = |lines: &str| {
        let loaded = load_text(dir.path(), &format!("[telemetry]\n{lines}\n{CHAIN}"), &[]);
        assert_eq!(loaded.problems.to_string(), "", "{lines}");
        assert!(!loaded.show().contains("hunter2"), "{}", loaded.show());
        loaded.config.unwrap().telemetry
    };
    assert!(telemetry("headers = \"api-key: hunter2\"\nsample_one_in = 5").collector.is_none());
    for (endpoint, url) in [
        ("http://localhost:4318", "http://localhost:4318/v1/traces"),
        ("https://otlp.example/", "https://otlp.example/v1/traces"),
        ("https://otlp.example/otlp/?key=hunter2", "https://otlp.example/otlp/v1/traces?key=hunter2"),
        ("https://otlp.example/v1/traces", "https://otlp.example/v1/traces"),
    ] {
        let collector = telemetry(&format!("endpoint = \"{endpoint}\"")).collector.unwrap();
        assert_eq!(collector.url.expose(), url);
        assert!(collector.headers.is_empty());
    }
    let headers = "\"\"\"\nAuthorization: Basic hunter2==\n\nx-org:  7 \n\"\"\"";
    let told = telemetry(&format!("endpoint = \"http://localhost\"\nheaders = {headers}"));
    assert_eq!((told.sample_one_in.get(), &*told.service_name), (1, "plimsoll"));
    let headers = told.collector.unwrap().headers;
    assert_eq!([&headers["authorization"], &headers["x-org"]], ["Basic hunter2==", "7"]);
    assert!(headers.values().all(reqwest::header::HeaderValue::is_sensitive));
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

#[test]
fn what_is_final_is_as_it_is_written_or_as_the_chain_is_known() {
    let dir = directory();
    let finality = |chain_id: u64, lines: &str| {
        let text = CHAIN.replace("chain_id = 1\n", &format!("chain_id = {chain_id}\n{lines}"));
        let loaded = load_text(dir.path(), &text, &[]);
        assert_eq!(loaded.problems.to_string(), "", "{lines}");
        loaded.config.unwrap().chains.remove(0).finality.to_string()
    };
    for known in [1, 11_155_111, 42_161, 421_614] {
        assert_eq!(finality(known, ""), "finalized", "{known}");
        assert_eq!(finality(known, "finality_depth = 70\n"), "70 blocks", "{known}");
    }
    assert_eq!(finality(31_337, ""), "64 blocks");
    assert_eq!(finality(31_337, "finality_age_s = 900\n"), "900 s");
    assert_eq!(finality(31_337, "finality_age_s = 900\nfinality = \"safe\"\n"), "safe");
}

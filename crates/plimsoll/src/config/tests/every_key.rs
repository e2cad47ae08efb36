//! Every key of the schema, given what it cannot be: the message says where, which key, what is expected, and what to do.

use std::fmt::Write as _;

use super::{directory, load_text};
use crate::config::schema::{Absent, Key, Kind, all};

/// A configuration with one of each table that there may be several of.
const WHOLE: &str = r#"[[tenant]]
id = "0198c5a1-7d2e-7c3a-9a55-3f1f0c6d2b10"
name = "acme"

[[chain]]
chain_id = 1
name = "one"
rpc = "http://localhost:8545"

[[chain.endpoint]]
rpc = "http://localhost:8546"

[[chain.contract]]
name = "Token"
address = "0x5FbDB2315678afecb367f032d93F642f64180aa3"
abi = "token.json"
start_block = 0
tenant = "acme"

[chain.relayer]
bump_after_blocks = 9

[[identity.provider]]
name = "acme"
tenant = "acme"
issuer = "https://login.example.com"
client_id = "plimsoll"
client_secret = "hunter2"

[[signers]]
name = "retrier"
chain = "one"
address = "0x70997970c51812dc3a010c7d01b50e0d17dc79c8"

[signers.key]
keystore = "key.json"
password = "hunter2"

[[signers.grants]]
tenant = "acme"
targets = ["*"]
methods = ["*"]
max_gas_wei_per_day = "1"
"#;

/// [`WHOLE`] with this key set in its (first) table, and the line on which it stands.
fn with(path: &str, value: &str) -> (String, usize) {
    let (table, key) = path.rsplit_once('.').unwrap();
    let table = table.replace("[]", "");
    let headers = [format!("[[{table}]]"), format!("[{table}]")];
    let mut lines: Vec<String> = WHOLE.lines().map(str::to_owned).collect();
    let at = match lines.iter().position(|line| headers.contains(line)) {
        Some(header) => {
            let end = lines[header + 1..].iter().position(|line| line.starts_with('['));
            let end = end.map_or(lines.len(), |end| header + 1 + end);
            let given = lines[header..end].iter().position(|line| line.starts_with(&format!("{key} = ")));
            match given {
                Some(given) => {
                    lines.remove(header + given);
                    header + given
                }
                None => header + 1,
            }
        }
        None => {
            lines.insert(0, headers[1].clone());
            1
        }
    };
    lines.insert(at, format!("{key} = {value}"));
    (lines.join("\n"), at + 1)
}

/// What a value of this kind cannot be.
fn wrong(kind: Kind) -> Vec<String> {
    let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
    match kind {
        Kind::Integer { min, max } => {
            let mut wrong: Vec<String> =
                texts(&["\"many\"", "1.5", "true", "[1]", "-1", "{}", "99999999999999999999999"]);
            wrong.extend(min.checked_sub(1).map(|below| below.to_string()));
            wrong.push((u128::from(max) + 1).to_string());
            wrong
        }
        Kind::Wei { .. } => texts(&[
            "\"many\"",
            "\"-1\"",
            "\"1e18\"",
            "\"0x10\"",
            "\"1.5\"",
            "1.5",
            "-1",
            "true",
            "\"\"",
            "[1]",
            "{}",
            "\"115792089237316195423570985008687907853269984665640564039457584007913129639936\"",
        ]),
        Kind::Choice(_) => texts(&["7", "true", "\"neither\"", "\"\"", "[]"]),
        Kind::Texts => texts(&["7", "\"one\"", "[7]", "[\"\"]", "{}"]),
        Kind::Name => texts(&["true", "\"\"", "[\"a\"]", "{}", "2026-05-01"]),
        Kind::Text | Kind::Secret | Kind::Url | Kind::Path | Kind::SecretPath => {
            texts(&["7", "true", "\"\"", "[\"a\"]", "{}", "2026-05-01"])
        }
    }
}

/// What is said of a configuration in which this key has this value. It is one problem, at the value.
fn said(path: &str, value: &str) -> String {
    let dir = directory();
    let (text, line) = with(path, value);
    // A key signs logs of a name.
    let name = [("PLIMSOLL_LEDGER__LOG_NAME", "books.example.com")];
    let environment = if path.starts_with("ledger.signing_key") { &name[..] } else { &[] };
    let loaded = load_text(dir.path(), &text, environment);
    let said = loaded.problems.to_string().replace(&format!("{}/", dir.path().display()), "");
    let case = format!("{path} = {value}: {said}");
    assert_eq!(loaded.problems.len(), 1, "{case}");
    assert!(loaded.config.is_none(), "{case}");
    let (place, rest) = said.split_once(": ").expect(&case);
    let (what, remedy) = rest.split_once("\n  remedy: ").expect(&case);
    let columns = text.lines().nth(line - 1).unwrap().chars().count();
    let column = place.strip_prefix(&format!("plimsoll.toml:{line}:")).expect(&case);
    assert!((1..=columns).contains(&column.parse().unwrap()), "{case}");
    let named = path.replace("[]", "[0]");
    assert!(what.contains(&format!("`{named}`")), "the key is not named: {case}");
    assert!(remedy.len() > 10 && !remedy.contains('\n'), "no remedy: {case}");
    assert!(!said.contains("hunter2"), "a secret: {case}");
    said
}

#[test]
fn a_value_of_the_wrong_kind_or_out_of_range_is_named_with_what_is_expected() {
    for (path, key) in all() {
        for value in wrong(key.kind) {
            let said = said(&path, &value);
            let expected = match (&*value, key.kind) {
                ("\"\"", _) => "is empty".to_owned(),
                ("[\"\"]", _) => "has an empty text in it".to_owned(),
                ("[7]", Kind::Texts) => "holds the number 7, where a text is expected".to_owned(),
                (_, kind) => format!("where {} is expected", kind.wanted()),
            };
            assert!(said.contains(&expected), "{expected}: {said}");
            // Whoever knows the key's name alone learns what it is for, or has the whole line to write.
            let is_told = said.contains(key.about) || said.contains(&format!("`{} = ", key.name));
            assert!(is_told || value == "[\"\"]" || value == "[7]", "{said}");
        }
    }
}

/// What the keys of these tables cannot be, beside what their kind says; for one without, why any value will do.
const MEANINGS: &[(&str, Result<&str, &str>)] = &[
    ("api.listen", Ok("\"localhost:8080\"")),
    ("api.public_url", Ok("\"plimsoll.example\"")),
    ("api.node_url", Ok("\"node-a.plimsoll.example\"")),
    ("api.tls_cert_file", Ok("\"cert.pem\"")),
    ("api.tls_key_file", Ok("\"key.pem\"")),
    ("api.client_ca_file", Ok("\"ca.pem\"")),
    ("api.client_certificates", Ok("\"require\"")),
    ("api.internal_listen", Ok("\"0.0.0.0\"")),
    ("api.trusted_proxies", Ok("[\"proxy.example\"]")),
    ("api.cors_origins", Ok("[\"*\"]")),
    ("api.anonymous_reads", Err("a choice")),
    ("identity.keys_dir", Err("it need not be there: `config check` looks into one that is")),
    ("identity.registration", Err("a choice")),
    ("identity.seal_key_file", Ok("\"secret\"")),
    ("identity.former_seal_key_file", Ok("\"secret\"")),
    ("identity.password_file", Err("read where the API is served, and by `config check`")),
    ("identity.webauthn_domain", Ok("\"https://plimsoll.example\"")),
    ("identity.webauthn_user_verification", Err("a choice")),
    ("identity.provider[].name", Ok("\"Acme & Co\"")),
    ("identity.provider[].tenant", Ok("\"nobody\"")),
    ("identity.provider[].issuer", Ok("\"login.example.com\"")),
    ("identity.provider[].client_id", Err("the provider's own affair")),
    ("identity.provider[].client_secret", Err("the provider's own affair")),
    ("identity.provider[].client_secret_file", Ok("\"secret\"")),
    ("identity.provider[].scopes", Ok("[\"profile email\"]")),
    ("identity.provider[].second_factor_amr", Err("the provider's own affair")),
    ("identity.provider[].second_factor_acr", Err("the provider's own affair")),
    ("identity.provider[].provisioning", Err("a choice")),
    ("identity.provider[].role", Err("the database knows which there are")),
    ("ledger.log_name", Ok("\"two words\"")),
    ("ledger.signing_key", Ok("\"hunter2\"")),
    ("ledger.signing_key_file", Ok("\"secret\"")),
    ("signers[].name", Err("people's own affair")),
    ("signers[].chain", Ok("\"two\"")),
    ("signers[].address", Ok("\"0x70997970C51812dc3A010C7d01b50e0d17dc79c8\"")),
    ("signers[].max_fee_per_gas_wei", Err("a number")),
    ("signers[].on_foreign_use", Err("a choice")),
    ("signers[].key.keystore", Err("read where keys are opened, and by `config check`")),
    ("signers[].key.password", Err("the keystore's own affair")),
    ("signers[].key.password_file", Ok("\"secret\"")),
    ("signers[].key.web3signer", Ok("\"https://localhost\"")),
    ("signers[].key.identifier", Ok("\"0x04\"")),
    ("signers[].key.token", Ok("\"hunter2\"")),
    ("signers[].key.token_file", Ok("\"secret\"")),
    ("signers[].key.ca_file", Ok("\"ca.pem\"")),
    ("signers[].simulate", Err("a choice")),
    ("relayer.max_fee_per_gas_wei", Err("a number")),
    ("relayer.min_priority_fee_per_gas_wei", Err("a number")),
    ("relayer.gas_pricing", Err("a choice")),
    ("relayer.on_stale_data", Err("a choice")),
    ("signers[].key.client_cert_file", Ok("\"cert.pem\"")),
    ("signers[].key.client_key_file", Ok("\"key.pem\"")),
    ("signers[].grants[].tenant", Ok("\"nobody\"")),
    ("signers[].grants[].targets", Ok("[\"*\", \"0x1\"]")),
    ("signers[].grants[].methods", Ok("[\"transfer(address,uint)\"]")),
    ("signers[].grants[].max_value_wei", Ok("\"1\"")),
    ("signers[].grants[].max_value_wei_per_day", Err("a number")),
    ("signers[].grants[].max_gas_wei_per_day", Err("a number")),
];

#[test]
fn a_value_that_means_nothing_is_named_with_what_would() {
    let tables = ["api.", "identity.", "ledger.", "signers[].", "relayer."];
    let keys: Vec<(String, &Key)> =
        all().into_iter().filter(|(path, _)| tables.iter().any(|table| path.starts_with(table))).collect();
    let mut report = String::new();
    for (path, key) in &keys {
        let meaning = MEANINGS.iter().find(|(known, _)| known == path).map(|(_, meaning)| meaning);
        match (meaning, key.kind) {
            // Its range is all.
            (None, Kind::Integer { .. }) => {
                assert!(matches!(key.absent, Absent::DefaultInteger(_)), "{path}");
            }
            (None, _) => panic!("what can {path} not be?"),
            (Some(Err(_)), _) => {}
            (Some(Ok(value)), _) => writeln!(report, "{}\n", said(path, value)).unwrap(),
        }
    }
    let stale = MEANINGS.iter().find(|(known, _)| !keys.iter().any(|(path, _)| path == known));
    assert_eq!(stale, None, "no such key");
    insta::assert_snapshot!("meanings", report);
}

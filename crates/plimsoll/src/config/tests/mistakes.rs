//! Every mistake that a person makes has an answer that says where it is and what to do.

use std::fmt::Write as _;

use super::{CHAIN, TENANT, contract, directory, load_text};

/// A title, a file, and the environment.
type Case = (&'static str, String, Vec<(&'static str, &'static str)>);

const KEY: &str = "[signers.key]\nkeystore = \"key.json\"\npassword = \"hunter2\"\n";
const GRANT: &str = "[[signers.grants]]\ntenant = \"acme\"\ntargets = [\"0x5FbDB2315678afecb367f032d93F642f64180aa3\"]\nmethods = [\"none\"]\nmax_gas_wei_per_day = \"1\"\n";

/// A tenant, a chain, and a signer with this key and these grants.
fn with_signer(key: &str, grants: &str) -> String {
    format!(
        "{TENANT}{CHAIN}[[signers]]\nname = \"retrier\"\nchain = \"one\"\naddress = \"0x70997970c51812dc3a010c7d01b50e0d17dc79c8\"\n{key}\n{grants}\n"
    )
}

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
        ("confirmed after final", CHAIN.to_owned() + "confirmations = 65\nfinality = \"depth\"\n", vec![]),
        ("a first span above the largest", CHAIN.to_owned() + "backfill_max_blocks = 50\n", vec![]),
        ("one chain id twice", format!("{CHAIN}\n{CHAIN}"), vec![]),
        ("an endpoint without RPC", CHAIN.to_owned() + "[[chain.endpoint]]\nname = \"a\"\n", vec![]),
        (
            "two endpoints of one name, one with a limit of nothing",
            CHAIN.to_owned()
                + "[[chain.endpoint]]\nname = \"a\"\nrpc = \"http://a\"\n[[chain.endpoint]]\nname = \"a\"\nrpc = \"b\"\nrequests_per_second = 0\n",
            vec![],
        ),
        ("no RPC", CHAIN.replace("rpc = \"http://localhost:8545\"\n", ""), vec![]),
        ("an RPC of another kind", CHAIN.replace("http://", "ftp://user:hunter2@"), vec![]),
        ("an RPC's port out of range", CHAIN.replace("localhost:8545", "user:hunter2@localhost:85450/hunter2"), vec![]),
        ("an RPC given twice", CHAIN.to_owned() + "rpc_file = \"secret\"\n", vec![]),
        ("a secret's file that is missing", CHAIN.replace("rpc = \"http://localhost:8545\"", "rpc_file = \"none\""), vec![]),
        ("a secret's file that is empty", with("[database]\nurl = \"postgres://localhost/x\"\napp_password_file = \"empty\""), vec![]),
        ("two databases", with("[database]\nurl = \"postgres://localhost/x\"\ndata_dir = \"here\""), vec![]),
        ("a ledger's name and key that are both none", with("[ledger]\nlog_name = \"two words\"\nsigning_key = \"hunter2\""), vec![]),
        ("a ledger's key that is none, without a name", with("[ledger]\nsigning_key = \"hunter2\""), vec![]),
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
        ("a duplicate that waits longer than a request may take", with("[idempotency]\nwait_ms = 15000"), vec![]),
        ("a duplicate that waits longer than a claim lasts", with("[idempotency]\nclaim_term_ms = 20000\nwait_ms = 20000"), vec![]),
        ("a duplicate and a claim at odds with a request", with("[idempotency]\nclaim_term_ms = 10000\nwait_ms = 20000"), vec![]),
        ("a claim that ends before its request", with("[api]\nrequest_timeout_ms = 20000\n[idempotency]\nclaim_term_ms = 20000"), vec![]),
        ("a request that may take longer than a claim lasts", with("[api]\nrequest_timeout_ms = 30000"), vec![]),
        ("a request that may take less than a duplicate waits, by a variable", CHAIN.into(), vec![("PLIMSOLL_API__REQUEST_TIMEOUT_MS", "9000")]),
        ("answers that are not kept", with("[idempotency]\nttl_hours = 0"), vec![]),
        ("a log format that is none", with("[logging]\nformat = \"jsn\""), vec![]),
        ("a log level that is none", with("[logging]\nlevel = \"info,plimsoll=loud\""), vec![]),
        ("a collector that is no URL", with("[telemetry]\nendpoint = \"localhost:4318\""), vec![]),
        ("a collector that speaks something else", with("[telemetry]\nendpoint = \"grpc://hunter2@localhost:4317\""), vec![]),
        ("headers that are none", with("[telemetry]\nheaders = \"\"\"\nAuthorization: Bearer hunter2\nhunter2\n\"\"\""), vec![]),
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
        ("a retry by nobody", with_signer(KEY, "[retry]\nsigners = [\"retreir\"]"), vec![]),
        (
            "a retry by two of a chain",
            with_signer(KEY, "[[signers]]\nname = \"other\"\nchain = \"one\"\naddress = \"0x3c44cdddb6a900fa2b585dd299e03d12fa4293bc\"\n")
                + KEY
                + "[retry]\nsigners = [\"retrier\", \"other\"]\n",
            vec![],
        ),
        ("a signer without its key", with_signer("", ""), vec![]),
        ("a signer with two keys", with_signer("[signers.key]\nkeystore = \"key.json\"\npassword = \"hunter2\"\nweb3signer = \"https://signer.example/hunter2\"", ""), vec![]),
        ("a keystore without its password", with_signer("[signers.key]\nkeystore = \"key.json\"", ""), vec![]),
        ("a keystore with a token", with_signer("[signers.key]\nkeystore = \"key.json\"\npassword = \"hunter2\"\ntoken = \"hunter2\"", ""), vec![]),
        ("a remote signer with a password", with_signer("[signers.key]\nweb3signer = \"https://signer.example\"\npassword = \"hunter2\"", ""), vec![]),
        ("a certificate for a remote signer without its key", with_signer("[signers.key]\nweb3signer = \"https://signer.example\"\nclient_cert_file = \"cert.pem\"", ""), vec![]),
        ("a signer on a chain that is misspelt", with_signer(KEY, "").replace("chain = \"one\"", "chain = \"oen\""), vec![]),
        ("a signer on a chain that is none", with_signer(KEY, "").replace("chain = \"one\"", "chain = \"2\""), vec![]),
        ("one signer twice", format!("{}{}", with_signer(KEY, ""), with_signer(KEY, "").split_once("[[signers]]").map(|(_, rest)| format!("[[signers]]{}", rest.replace("retrier", "other"))).unwrap()), vec![]),
        ("a grant without its lists", with_signer(KEY, "[[signers.grants]]\ntenant = \"acme\""), vec![]),
        ("a grant that grants nothing", with_signer(KEY, &GRANT.replace("\"0x5FbDB2315678afecb367f032d93F642f64180aa3\"", "").replace("\"none\"", "")), vec![]),
        ("a grant to a target that is none", with_signer(KEY, &GRANT.replace("64180aa3", "64180")), vec![]),
        ("a grant of methods that are none", with_signer(KEY, &GRANT.replace("none", "transfer")), vec![]),
        ("a grant of a selector that is too long", with_signer(KEY, &GRANT.replace("none", "0x1234567890")), vec![]),
        ("a grant of a method with names in it", with_signer(KEY, &GRANT.replace("none", "transfer(address to, uint256 amount)")), vec![]),
        ("two grants to one tenant", with_signer(KEY, &format!("{GRANT}{GRANT}")), vec![]),
        ("a grant of more at once than in a day", with_signer(KEY, &format!("{GRANT}max_value_wei = \"2\"\nmax_value_wei_per_day = \"1\"")), vec![]),
        ("a grant without limit at once, and none in a day", with_signer(KEY, &format!("{GRANT}max_value_wei = \"unlimited\"")), vec![]),
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

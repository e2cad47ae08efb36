//! A real OpenID Connect provider (`provider.mjs`), and a person with a browser at it. The tests of the routes in `api` use it too.

use std::collections::HashMap;
use std::path::PathBuf;
use std::process::Stdio;

use plimsoll_identity::oidc::{Callback, ProviderConfig, Provisioning, SecondFactorPolicy};
use reqwest::header::{COOKIE, LOCATION, SET_COOKIE};
use reqwest::{Client, RequestBuilder, Url, redirect};
use secrecy::SecretString;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use uuid::Uuid;

/// Redirects and forms between the first page and the last.
const MAX_STEPS: usize = 20;

/// The provider's process; it ends with this value.
pub(crate) struct TestProvider {
    child: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
    hello: Value,
}

impl TestProvider {
    pub(crate) async fn start() -> Self {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../identity/tests/identity/provider.mjs");
        let mut child = Command::new("node")
            .arg(script)
            .arg(modules())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("Node is there: `cargo xtask setup` sees to it");
        let input = child.stdin.take().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut provider = Self { child, input, output, hello: Value::Null };
        provider.hello = provider.answer().await;
        provider
    }

    /// The issuer with its client `plimsoll`, for a tenant whose users are linked first.
    pub(crate) fn config(&self, tenant_id: Uuid) -> ProviderConfig {
        let text = |name: &str| self.hello[name].as_str().unwrap().to_owned();
        ProviderConfig {
            tenant_id,
            issuer: text("issuer"),
            client_id: "plimsoll".to_owned(),
            client_secret: SecretString::from(text("client_secret")),
            redirect_uri: text("redirect_uri"),
            scopes: vec!["profile".to_owned()],
            second_factor: SecondFactorPolicy::Ours,
            provisioning: Provisioning::Linked,
        }
    }

    pub(crate) fn issuer(&self) -> &str {
        self.hello["issuer"].as_str().unwrap()
    }

    pub(crate) async fn faults(&mut self, faults: Value) {
        self.command(json!({ "faults": faults })).await;
    }

    pub(crate) async fn rotate(&mut self) {
        self.command(json!({ "rotate": true })).await;
    }

    /// How often a path was asked for.
    pub(crate) async fn asked(&mut self, path: &str) -> u64 {
        self.command(json!({})).await["asked"][path].as_u64().unwrap_or_default()
    }

    pub(crate) async fn kill(&mut self) {
        self.child.kill().await.unwrap();
    }

    async fn command(&mut self, command: Value) -> Value {
        self.input.write_all(format!("{command}\n").as_bytes()).await.unwrap();
        self.answer().await
    }

    async fn answer(&mut self) -> Value {
        loop {
            let line =
                self.output.next_line().await.unwrap().expect("the provider runs; what it said is above");
            if let Some(answer) = line.strip_prefix("> ") {
                return serde_json::from_str(answer).unwrap();
            }
        }
    }
}

/// Where `oidc-provider` is: PLIMSOLL_NODE_MODULES, else where `cargo xtask setup` puts it.
fn modules() -> PathBuf {
    let named = std::env::var_os("PLIMSOLL_NODE_MODULES").filter(|path| !path.is_empty()).map(PathBuf::from);
    let modules = named
        .unwrap_or_else(|| [env!("CARGO_MANIFEST_DIR"), "../../target/tools/node_modules"].iter().collect());
    let package = modules.join("oidc-provider");
    assert!(
        package.is_dir(),
        "{} is not there: run `cargo xtask setup`, or name a node_modules directory that has it in PLIMSOLL_NODE_MODULES",
        package.display()
    );
    modules
}

/// Signs in as `login` and allows what is asked, and returns the query that the browser is sent back with.
pub(crate) async fn sign_in_there(url: &str, login: &str) -> HashMap<String, String> {
    let client = Client::builder().redirect(redirect::Policy::none()).no_proxy().build().unwrap();
    let mut cookies = HashMap::new();
    let mut url = Url::parse(url).unwrap();
    let mut request = client.get(url.clone());
    for _ in 0..MAX_STEPS {
        let (location, page) = step(request, &mut cookies).await;
        if let Some(location) = location {
            url = url.join(&location).unwrap();
            if url.host_str() == Some("app.example.com") {
                return url.query_pairs().into_owned().collect();
            }
            request = client.get(url.clone());
            continue;
        }
        let action =
            between(&page, "action=\"", "\"").unwrap_or_else(|| panic!("a page without a form: {page}"));
        let prompt = between(&page, "name=\"prompt\" value=\"", "\"").unwrap();
        let form = form_urlencoded::Serializer::new(String::new())
            .extend_pairs([("prompt", prompt), ("login", login), ("password", "anything")])
            .finish();
        url = url.join(action).unwrap();
        request =
            client.post(url.clone()).header("content-type", "application/x-www-form-urlencoded").body(form);
    }
    panic!("the provider goes round in circles at {url}");
}

/// The callback that a query is.
pub(crate) fn callback(query: &HashMap<String, String>) -> Callback {
    serde_json::from_value(json!(query)).unwrap()
}

async fn step(request: RequestBuilder, cookies: &mut HashMap<String, String>) -> (Option<String>, String) {
    let cookie = cookies.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("; ");
    let response = request.header(COOKIE, cookie).send().await.unwrap();
    for set in response.headers().get_all(SET_COOKIE) {
        let (name, value) = set.to_str().unwrap().split(';').next().unwrap().split_once('=').unwrap();
        cookies.insert(name.to_owned(), value.to_owned());
    }
    let location = response.headers().get(LOCATION).map(|location| location.to_str().unwrap().to_owned());
    (location, response.text().await.unwrap())
}

fn between<'a>(text: &'a str, before: &str, after: &str) -> Option<&'a str> {
    Some(text.split_once(before)?.1.split_once(after)?.0)
}

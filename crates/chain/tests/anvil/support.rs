//! An Anvil process, and a contract on it whose logs and state are known.

use std::{
    env,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use alloy_primitives::{Address, B256, Bytes, U256, hex};
use plimsoll_chain::{EndpointConfig, LogFilter, Rpc};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
};

/// Called with a word, stores it and logs it under [`TOPIC`]; called with nothing, returns the stored word.
const STORE: &[u8] = &hex!("36600f5760005460005260206000f35b60003580600055600052602a60206000a100");

/// Reverts with the word 7 as its reason.
const REVERTER: &[u8] = &hex!("600760005260206000fd");

/// The only topic of the logs of [`STORE`].
pub(crate) const TOPIC: B256 = B256::with_last_byte(0x2a);

/// A running Anvil, killed when dropped. Mines only on demand.
pub(crate) struct Anvil {
    _process: Child,
    pub(crate) port: u16,
}

impl Anvil {
    pub(crate) async fn start() -> Self {
        let mut process = Command::new(binary())
            .args(["--port", "0", "--no-mining"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .kill_on_drop(true)
            .spawn()
            .expect("anvil starts; if it is missing, run `cargo xtask setup`");
        let mut lines = BufReader::new(process.stdout.take().expect("stdout is piped")).lines();
        let port = loop {
            let line = lines
                .next_line()
                .await
                .expect("anvil's output is readable")
                .expect("anvil says where it listens");
            if let Some(address) = line.trim().strip_prefix("Listening on ") {
                break address
                    .rsplit(':')
                    .next()
                    .and_then(|port| port.parse().ok())
                    .expect("a port at the end");
            }
        };
        // Its output is read on, or the pipe would fill and stop it.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Self { _process: process, port }
    }

    pub(crate) fn http(&self) -> EndpointConfig {
        patient(format!("http://127.0.0.1:{}", self.port))
    }

    pub(crate) fn ws(&self) -> EndpointConfig {
        patient(format!("ws://127.0.0.1:{}", self.port))
    }

    pub(crate) async fn rpc(&self) -> Rpc {
        Rpc::connect(&self.http()).await.expect("anvil answers")
    }
}

/// Generous limits: a loaded machine must not fail a test.
pub(crate) fn patient(url: String) -> EndpointConfig {
    EndpointConfig { request_timeout: Duration::from_secs(60), max_retries: 3, ..EndpointConfig::new(url) }
}

fn binary() -> PathBuf {
    if let Some(path) = env::var_os("PLIMSOLL_ANVIL") {
        return path.into();
    }
    let on_path = env::var_os("PATH")
        .and_then(|path| env::split_paths(&path).map(|dir| dir.join("anvil")).find(|file| file.is_file()));
    on_path.unwrap_or_else(|| {
        let tool = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../../target/tools/node_modules/@foundry-rs/anvil-linux-amd64/bin/anvil");
        assert!(
            tool.is_file(),
            "no anvil in PLIMSOLL_ANVIL, on PATH or at {}: run `cargo xtask setup`",
            tool.display()
        );
        tool
    })
}

/// The contract [`STORE`] on a chain, and what can be done with it.
pub(crate) struct Store {
    pub(crate) rpc: Rpc,
    pub(crate) address: Address,
    sender: Value,
}

impl Store {
    pub(crate) async fn deploy(rpc: &Rpc) -> Self {
        let accounts = rpc.raw_request("eth_accounts", json!([])).await.expect("anvil has accounts");
        let mut store = Self { rpc: rpc.clone(), address: Address::ZERO, sender: accounts[0].clone() };
        store.address = store.create(STORE).await;
        store
    }

    /// Deploys the contract that always reverts.
    pub(crate) async fn deploy_reverter(&self) -> Address {
        self.create(REVERTER).await
    }

    /// Sends a transaction that stores and logs a word; it waits for a block.
    pub(crate) async fn put(&self, word: u64) -> B256 {
        let data = format!("0x{word:064x}");
        self.send(json!({"from": self.sender, "to": self.address, "data": data, "gas": "0x30d40"})).await
    }

    /// Mines a block of everything that waits and returns its hash.
    pub(crate) async fn mine(&self) -> B256 {
        self.rpc.raw_request("evm_mine", json!([])).await.expect("anvil mines");
        self.rpc.head().await.expect("there is a head").hash
    }

    /// A block with one log for each word.
    pub(crate) async fn block_of(&self, words: &[u64]) -> B256 {
        for word in words {
            self.put(*word).await;
        }
        self.mine().await
    }

    pub(crate) fn filter(&self) -> LogFilter {
        LogFilter::of_addresses([self.address])
    }

    async fn create(&self, runtime: &[u8]) -> Address {
        let len = u8::try_from(runtime.len()).expect("a tiny contract");
        let mut init = vec![0x60, len, 0x80, 0x60, 0x0b, 0x60, 0x00, 0x39, 0x60, 0x00, 0xf3];
        init.extend_from_slice(runtime);
        let hash = self
            .send(json!({"from": self.sender, "data": Bytes::from(init).to_string(), "gas": "0x7a120"}))
            .await;
        self.mine().await;
        let receipts = self.rpc.receipts(&[hash]).await.expect("the receipt is readable");
        receipts[0].as_ref().and_then(|receipt| receipt.contract_address).expect("the contract is there")
    }

    async fn send(&self, tx: Value) -> B256 {
        let hash = self.rpc.raw_request("eth_sendTransaction", json!([tx])).await.expect("anvil takes it");
        hash.as_str().and_then(|hash| hash.parse().ok()).expect("a hash")
    }
}

/// The word as 32 bytes.
pub(crate) fn word(value: u64) -> Bytes {
    U256::from(value).to_be_bytes::<32>().into()
}

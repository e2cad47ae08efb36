//! The built program, run as a user runs it: a directory, a configuration, and nothing of our own environment.

#![allow(dead_code, clippy::unwrap_used)] // each test file uses its part; a panic here is a failed test

pub(crate) mod bell;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

use tempfile::TempDir;

/// A program that hangs is ended after this long, and its exit code is then `timeout`'s, 124.
const HANG_LIMIT_S: &str = "120";

pub(crate) const CHAIN_ID: u64 = 31_337;

/// Where a test runs the program.
pub(crate) struct Place {
    dir: TempDir,
}

impl Place {
    /// A directory that also the private Postgres's user may enter.
    pub(crate) fn new() -> Self {
        let permissions = std::fs::Permissions::from_mode(0o755);
        Self { dir: tempfile::Builder::new().permissions(permissions).tempdir().unwrap() }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }

    /// The program with these arguments, in this directory.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("timeout");
        command
            .args(["--foreground", HANG_LIMIT_S, env!("CARGO_BIN_EXE_plimsoll")])
            .args(arguments)
            .current_dir(self.dir.path());
        for (name, _) in std::env::vars_os() {
            let name = name.to_string_lossy().into_owned();
            if name.starts_with("PLIMSOLL_") && !name.starts_with("PLIMSOLL_PG")
                || name == "DATABASE_URL"
                || name == "RUST_LOG"
            {
                command.env_remove(name);
            }
        }
        command.env("COLUMNS", "100").stdin(Stdio::null());
        command
    }

    /// Runs it to its end.
    pub(crate) fn run(&self, arguments: &[&str]) -> Ended {
        Ended::of(&self.command(arguments).output().unwrap(), &self.dir)
    }

    /// Runs it to its end with these variables.
    pub(crate) fn run_with(&self, arguments: &[&str], variables: &[(&str, &str)]) -> Ended {
        Ended::of(&self.command(arguments).envs(variables.iter().copied()).output().unwrap(), &self.dir)
    }

    /// Starts `run` and returns when a line of its log contains `text`.
    pub(crate) fn start(&self, text: &str) -> Running {
        let mut command = Command::new(env!("CARGO_BIN_EXE_plimsoll"));
        let template = self.command(&["run"]);
        command
            .arg("run")
            .current_dir(self.dir.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        for (name, value) in template.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        let mut child = Ending(command.spawn().unwrap());
        let mut log = BufReader::new(child.0.stderr.take().unwrap());
        let mut seen = String::new();
        while !seen.contains(text) {
            let mut line = String::new();
            assert!(log.read_line(&mut line).unwrap() > 0, "it ended before it logged `{text}`:\n{seen}");
            seen.push_str(&line);
        }
        // Read on, so that its log never blocks it.
        let rest = std::thread::spawn(move || {
            let mut rest = String::new();
            log.read_to_string(&mut rest).map(|_| rest)
        });
        Running { child, seen, rest }
    }
}

/// Killed with the test that started it, if it has not ended before.
struct Ending(Child);

impl Drop for Ending {
    fn drop(&mut self) {
        let _has_ended = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A program that runs.
pub(crate) struct Running {
    child: Ending,
    seen: String,
    rest: std::thread::JoinHandle<std::io::Result<String>>,
}

impl Running {
    /// Sends a signal, by its name.
    pub(crate) fn signal(&self, name: &str) {
        let status =
            Command::new("kill").args([format!("-{name}"), self.child.0.id().to_string()]).status().unwrap();
        assert!(status.success());
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.0.id()
    }

    /// Its exit code, and all that it logged.
    pub(crate) fn end(mut self) -> (Option<i32>, String) {
        let code = self.child.0.wait().unwrap().code();
        (code, self.seen + &self.rest.join().unwrap().unwrap())
    }
}

/// How a run ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ended {
    fn of(output: &Output, dir: &TempDir) -> Self {
        let here = format!("{}/", dir.path().display());
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).replace(&here, "");
        Self {
            code: output.status.code().unwrap_or(-1),
            out: text(&output.stdout),
            err: text(&output.stderr),
        }
    }

    /// Asserts the exit code, and that the message has each of these parts.
    pub(crate) fn fails(&self, code: i32, parts: &[&str]) {
        assert_eq!(self.code, code, "{self:#?}");
        for part in parts {
            assert!(self.err.contains(part), "`{part}` is not in the message:\n{}", self.err);
        }
    }
}

/// A configuration of one chain behind this node, the API on any free port.
pub(crate) fn configuration(node: SocketAddr, database: &str) -> String {
    format!(
        "[database]\n{database}\n\n[api]\nlisten = \"127.0.0.1:0\"\n\n\
         [[chain]]\nchain_id = {CHAIN_ID}\nname = \"test\"\nrpc = \"http://{node}\"\n"
    )
}

/// A node that knows one thing: its chain's id. Everything else it refuses, as nodes do.
pub(crate) fn node_of_chain(chain_id: u64) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            std::thread::spawn(move || answer(stream.unwrap(), chain_id));
        }
    });
    address
}

fn answer(stream: TcpStream, chain_id: u64) -> Option<()> {
    let mut reader = BufReader::new(stream);
    loop {
        let mut length = 0;
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).ok()? == 0 {
                return None;
            }
            let line = line.trim().to_lowercase();
            if let Some(value) = line.strip_prefix("content-length:") {
                length = value.trim().parse().ok()?;
            }
            if line.is_empty() {
                break;
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).ok()?;
        let request: serde_json::Value = serde_json::from_slice(&body).ok()?;
        let one = |request: &serde_json::Value| match request["method"].as_str() {
            Some("eth_chainId") => {
                serde_json::json!({ "jsonrpc": "2.0", "id": request["id"], "result": format!("{chain_id:#x}") })
            }
            _ => {
                serde_json::json!({ "jsonrpc": "2.0", "id": request["id"], "error": { "code": -32601, "message": "method not found" } })
            }
        };
        let reply = match &request {
            serde_json::Value::Array(batch) => batch.iter().map(one).collect::<Vec<_>>().into(),
            request => one(request),
        }
        .to_string();
        let head = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
            reply.len()
        );
        reader.get_mut().write_all(format!("{head}{reply}").as_bytes()).ok()?;
    }
}

//! A remote signer as web3signer's OpenAPI document describes it, over bare TCP or TLS, with a curve of its own; and its bad days.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use alloy_primitives::{hex, keccak256};
use k256::ecdsa::SigningKey;
use tokio::io::{
    AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader,
};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

/// How it answers a request to sign.
#[derive(Clone, Debug)]
pub(crate) enum Mood {
    /// As web3signer does.
    Signs,
    /// As a hardware module may: with the high `s`, and a `v` of 0 or 1.
    SignsHigh,
    /// With another key than it was asked for.
    SignsWithAnother,
    /// With this status and text.
    Says(u16, Vec<u8>),
    /// Not at all.
    Silent,
    /// By closing the connection.
    HangsUp,
}

/// A request as it came in.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) line: String,
    pub(crate) authorization: Option<String>,
}

/// A running signer; gone when dropped.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    state: Arc<State>,
    task: JoinHandle<()>,
}

struct State {
    key: SigningKey,
    mood: Mutex<Mood>,
    asked: Mutex<Vec<Asked>>,
    connections: AtomicUsize,
    under_way: AtomicUsize,
    most_under_way: AtomicUsize,
}

impl Server {
    pub(crate) async fn start(key: SigningKey, tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State {
            key,
            mood: Mutex::new(Mood::Signs),
            asked: Mutex::default(),
            connections: AtomicUsize::new(0),
            under_way: AtomicUsize::new(0),
            most_under_way: AtomicUsize::new(0),
        });
        let served = Arc::clone(&state);
        let task = tokio::spawn(async move {
            // Connections end with the task that accepts them.
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (state, tls) = (Arc::clone(&served), tls.clone());
                state.connections.fetch_add(1, Ordering::SeqCst);
                connections.spawn(async move {
                    match tls {
                        None => serve(stream, &state).await,
                        Some(tls) => {
                            if let Ok(stream) = tls.accept(stream).await {
                                serve(stream, &state).await;
                            }
                        }
                    }
                });
            }
        });
        Self { address, state, task }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn set(&self, mood: Mood) {
        *self.state.mood.lock().unwrap() = mood;
    }

    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.state.asked.lock().unwrap().clone()
    }

    pub(crate) fn connections(&self) -> usize {
        self.state.connections.load(Ordering::SeqCst)
    }

    pub(crate) fn most_under_way(&self) -> usize {
        self.state.most_under_way.load(Ordering::SeqCst)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What it calls its key: the public key, uncompressed, without the mark of that.
pub(crate) fn identifier(key: &SigningKey) -> String {
    hex::encode_prefixed(&key.verifying_key().to_encoded_point(false).as_bytes()[1..])
}

async fn serve(stream: impl AsyncRead + AsyncWrite + Unpin, state: &State) {
    let mut stream = BufReader::new(stream);
    loop {
        let mut head = Vec::new();
        let mut line = String::new();
        while stream.read_line(&mut line).await.is_ok_and(|read| read > 2) {
            head.push(std::mem::take(&mut line).trim_end().to_owned());
        }
        if head.is_empty() {
            return;
        }
        let header = |name: &str| {
            head.iter().find_map(|line| {
                let (given, value) = line.split_once(": ")?;
                given.eq_ignore_ascii_case(name).then(|| value.to_owned())
            })
        };
        let length = header("content-length").map_or(0, |length| length.parse().unwrap());
        let mut body = vec![0; length];
        stream.read_exact(&mut body).await.unwrap();
        state
            .asked
            .lock()
            .unwrap()
            .push(Asked { line: head[0].clone(), authorization: header("authorization") });
        let under_way = state.under_way.fetch_add(1, Ordering::SeqCst) + 1;
        state.most_under_way.fetch_max(under_way, Ordering::SeqCst);
        // Whoever else was sent by now comes in before this one is answered.
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
        let answer = state.answer(&head[0], &body);
        if matches!(*state.mood.lock().unwrap(), Mood::Silent) {
            std::future::pending::<()>().await;
        }
        state.under_way.fetch_sub(1, Ordering::SeqCst);
        let Some((status, content)) = answer else { return };
        let head =
            format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\nLocation: /upcheck\r\n\r\n", content.len());
        if stream.write_all(&[head.as_bytes(), &content].concat()).await.is_err() {
            return;
        }
        stream.flush().await.unwrap();
    }
}

impl State {
    /// A status and a body; `None`: the connection is closed.
    fn answer(&self, line: &str, body: &[u8]) -> Option<(u16, Vec<u8>)> {
        let identifier = identifier(&self.key);
        match line.split(' ').collect::<Vec<_>>()[..] {
            ["GET", "/upcheck", _] => Some((200, b"OK".to_vec())),
            ["GET", "/api/v1/eth1/publicKeys", _] => {
                let other = self::identifier(&another());
                Some((200, serde_json::to_vec(&[other, identifier]).unwrap()))
            }
            ["POST", path, _] => {
                let mood = self.mood.lock().unwrap().clone();
                if let Mood::Says(status, text) = mood {
                    return Some((status, text));
                }
                let Some(asked) = path.strip_prefix("/api/v1/eth1/sign/") else {
                    return Some((400, Vec::new()));
                };
                if asked != identifier {
                    return Some((404, b"Public Key not found".to_vec()));
                }
                let body: serde_json::Value = serde_json::from_slice(body).ok()?;
                let data = hex::decode(body["data"].as_str()?.strip_prefix("0x")?).ok()?;
                match mood {
                    Mood::Signs => Some((200, signature(&self.key, &data, false))),
                    Mood::SignsHigh => Some((200, signature(&self.key, &data, true))),
                    Mood::SignsWithAnother => Some((200, signature(&another(), &data, false))),
                    Mood::Says(..) | Mood::Silent | Mood::HangsUp => None,
                }
            }
            _ => Some((404, Vec::new())),
        }
    }
}

pub(crate) fn another() -> SigningKey {
    SigningKey::from_slice(&[0x11; 32]).unwrap()
}

fn signature(key: &SigningKey, data: &[u8], is_high: bool) -> Vec<u8> {
    let (signature, recovery) = key.sign_prehash_recoverable(keccak256(data).as_slice()).unwrap();
    let (r, s) = signature.split_scalars();
    let (s, parity, base) =
        if is_high { (-s, !recovery.is_y_odd(), 0) } else { (s, recovery.is_y_odd(), 27) };
    let signature = k256::ecdsa::Signature::from_scalars(r, s).unwrap();
    let v = base + u8::from(parity);
    hex::encode_prefixed([&signature.to_bytes()[..], &[v]].concat()).into_bytes()
}

//! Clients, as simple as they can be.

use std::net::SocketAddr;

use futures::{SinkExt, StreamExt};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::{TcpSocket, TcpStream};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::{Error, Message};

pub(super) const STREAM: &str = "/api/v1/events/stream";
pub(super) const SOCKET: &str = "/api/v1/events/ws";

/// An `EventSource`.
pub(super) struct Source {
    pub(super) status: u16,
    pub(super) head: String,
    lines: Lines<BufReader<TcpStream>>,
}

/// A block of a stream.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Block {
    pub(super) id: Option<i64>,
    pub(super) event: Option<String>,
    pub(super) data: Option<Value>,
    pub(super) comment: Option<String>,
}

impl Source {
    pub(super) async fn open(addr: SocketAddr, token: &str, query: &str, last_event_id: Option<i64>) -> Self {
        Self::open_path(addr, STREAM, token, query, last_event_id).await
    }

    /// HTTP/1.0: the body is as it is, and ends with the connection.
    pub(super) async fn open_path(
        addr: SocketAddr,
        path: &str,
        token: &str,
        query: &str,
        last_event_id: Option<i64>,
    ) -> Self {
        let mut socket = TcpStream::connect(addr).await.unwrap();
        let last = last_event_id.map(|id| format!("last-event-id: {id}\r\n")).unwrap_or_default();
        let request = format!(
            "GET {path}{query} HTTP/1.0\r\nhost: test\r\nauthorization: Bearer {token}\r\n{last}\r\n"
        );
        socket.write_all(request.as_bytes()).await.unwrap();
        let mut lines = BufReader::new(socket).lines();
        let mut head = String::new();
        loop {
            match lines.next_line().await.unwrap() {
                Some(line) if !line.is_empty() => head.extend([line.as_str(), "\n"]),
                _ => break,
            }
        }
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap();
        Self { status, head, lines }
    }

    /// Everything to the end, as text.
    pub(super) async fn rest(&mut self) -> String {
        let mut rest = String::new();
        while let Ok(Some(line)) = self.lines.next_line().await {
            rest.extend([line.as_str(), "\n"]);
        }
        rest
    }

    /// The next block; `None` at the end. An error is an end too: the other side may be gone.
    pub(super) async fn block(&mut self) -> Option<Block> {
        let mut block = Block::default();
        loop {
            let line = self.lines.next_line().await.ok()??;
            if line.is_empty() {
                return Some(block);
            }
            let (name, value) = line.split_once(": ").unwrap();
            match name {
                "id" => block.id = Some(value.parse().unwrap()),
                "event" => block.event = Some(value.to_owned()),
                "data" => block.data = Some(serde_json::from_str(value).unwrap()),
                "" => block.comment = Some(value.to_owned()),
                "retry" => {}
                other => panic!("a field {other}"),
            }
        }
    }

    /// The next event; what is no event is passed over.
    pub(super) async fn event(&mut self) -> Option<Block> {
        loop {
            let block = self.block().await?;
            if block.data.is_some() {
                return Some(block);
            }
        }
    }

    /// The numbers that the publisher gave the next events.
    pub(super) async fn numbers(&mut self, count: usize) -> Vec<u64> {
        let mut numbers = Vec::new();
        while numbers.len() < count {
            numbers.push(self.event().await.unwrap().data.unwrap()["data"]["number"].as_u64().unwrap());
        }
        numbers
    }
}

/// A connection of somebody who asks, sees the first line of the answer, and then takes nothing more. What the system keeps for them is little.
pub(crate) async fn sleeper(addr: SocketAddr, request: &str, first_line: &str) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4_096).unwrap();
    let mut socket = socket.connect(addr).await.unwrap();
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut line = vec![0; first_line.len()];
    socket.read_exact(&mut line).await.unwrap();
    assert_eq!(String::from_utf8_lossy(&line), first_line);
    socket
}

/// A WebSocket.
pub(super) struct Socket(pub(super) WebSocketStream<TcpStream>);

impl Socket {
    pub(super) async fn open(
        addr: SocketAddr,
        query: &str,
        headers: &[(&'static str, String)],
    ) -> Result<Self, Error> {
        let mut request = format!("ws://{addr}{SOCKET}{query}").into_client_request()?;
        for (name, value) in headers {
            request.headers_mut().insert(*name, value.parse().unwrap());
        }
        let socket = TcpStream::connect(addr).await.unwrap();
        tokio_tungstenite::client_async(request, socket).await.map(|(socket, _)| Self(socket))
    }

    /// At another path.
    pub(super) async fn open_at(addr: SocketAddr, path: &str, token: &str, query: &str) -> Self {
        let mut request = format!("ws://{addr}{path}{query}").into_client_request().unwrap();
        let authorization = format!("Bearer {token}").parse().unwrap();
        request.headers_mut().insert("authorization", authorization);
        let socket = TcpStream::connect(addr).await.unwrap();
        Self(tokio_tungstenite::client_async(request, socket).await.unwrap().0)
    }

    pub(super) async fn signed_in(addr: SocketAddr, token: &str, query: &str) -> Self {
        Self::open(addr, query, &[("authorization", format!("Bearer {token}"))]).await.unwrap()
    }

    pub(super) async fn say(&mut self, text: &str) {
        self.0.send(Message::text(text)).await.unwrap();
    }

    /// The next envelope; `None` at the end.
    pub(super) async fn event(&mut self) -> Option<Value> {
        loop {
            match self.0.next().await?.ok()? {
                Message::Text(text) => return Some(serde_json::from_str(&text).unwrap()),
                Message::Close(_) => return None,
                _ => {}
            }
        }
    }

    /// How it was closed.
    pub(super) async fn closed(mut self) -> (u16, String) {
        loop {
            match self.0.next().await.unwrap().unwrap() {
                Message::Close(Some(CloseFrame { code, reason })) => {
                    return (code.into(), reason.to_string());
                }
                Message::Close(None) => panic!("without a reason"),
                _ => {}
            }
        }
    }
}

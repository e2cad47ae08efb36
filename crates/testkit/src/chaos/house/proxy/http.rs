//! As much of HTTP/1.1 as a client of JSON-RPC needs. A server's library would not let an answer break off in its midst.

use std::fmt::Write as _;
use std::io::{Error, ErrorKind, Result};

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;

/// No head of a request is longer.
const MAX_HEAD_BYTES: u64 = 64 * 1024;
/// No question is longer.
const MAX_BODY_BYTES: usize = 16 * 1024 * 1024;

/// A connection, with what of the next request has arrived.
pub(super) type Connection = BufReader<TcpStream>;

/// What is answered.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) content_type: &'static str,
    pub(super) retry_after_s: Option<u64>,
    pub(super) body: Vec<u8>,
}

impl Answer {
    pub(super) fn json(body: Vec<u8>) -> Self {
        Self { status: 200, content_type: "application/json", retry_after_s: None, body }
    }

    /// As a proxy of somebody's puts it.
    pub(super) fn html(status: u16) -> Self {
        let body = format!("<html><head><title>{status}</title></head><body><h1>{status}</h1></body></html>");
        Self { status, content_type: "text/html", retry_after_s: None, body: body.into_bytes() }
    }

    pub(super) fn too_many(retry_after_s: Option<u64>) -> Self {
        Self { status: 429, content_type: "text/plain", retry_after_s, body: b"slow down".to_vec() }
    }
}

/// The next request's body; none when the client has left.
pub(super) async fn read(connection: &mut Connection) -> Result<Option<Vec<u8>>> {
    let mut length = None;
    let mut left = MAX_HEAD_BYTES;
    loop {
        let mut line = String::new();
        let read = (&mut *connection).take(left).read_line(&mut line).await?;
        if read == 0 {
            return Ok(None);
        }
        left -= read as u64;
        let line = line.trim_end();
        if line.is_empty() {
            break;
        }
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().ok();
        }
    }
    let length: usize = length.ok_or_else(|| Error::new(ErrorKind::InvalidData, "no Content-Length"))?;
    if length > MAX_BODY_BYTES {
        return Err(Error::new(ErrorKind::InvalidData, "a question of this length"));
    }
    let mut body = vec![0; length];
    connection.read_exact(&mut body).await?;
    Ok(Some(body))
}

/// Sends the head, and of the body so many bytes.
pub(super) async fn write(connection: &mut Connection, answer: &Answer, bytes: usize) -> Result<()> {
    let Answer { status, content_type, retry_after_s, body } = answer;
    let mut head = format!(
        "HTTP/1.1 {status} Told\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\n",
        body.len()
    );
    if let Some(seconds) = retry_after_s {
        write!(head, "Retry-After: {seconds}\r\n").map_err(Error::other)?;
    }
    head.push_str("\r\n");
    let stream = connection.get_mut();
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(&body[..bytes.min(body.len())]).await?;
    stream.flush().await
}

/// Returns when the client has left, or says more without having been answered.
pub(super) async fn left(connection: &mut Connection) {
    // Whatever it is, nothing is answered any more.
    _ = connection.fill_buf().await;
}

//! A client that writes and reads over one keep-alive connection, and takes nothing on trust that it is told.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use uuid::Uuid;

/// Larger than any answer here.
const ANSWER_MAX_BYTES: usize = 64 * 1024;
/// The server's own limit on a request is well below.
const ANSWER_LIMIT: Duration = Duration::from_secs(60);
/// A write that was begun is asked for until it is acknowledged, but no longer than this after the end.
const LAST_WRITE_LIMIT: Duration = Duration::from_secs(60);
/// Characters of an answer that are quoted.
const QUOTED_CHARS: usize = 300;
const PROBLEM: &str = "urn:plimsoll:problem:";

/// What all clients do.
pub(super) struct Work {
    address: SocketAddr,
    reads: Vec<Vec<u8>>,
    head: String,
    body: Value,
    next: AtomicI64,
}

/// Waits until the server answers: its port is taken long before.
pub(super) async fn until_served(address: SocketAddr) -> Result<()> {
    let answer = Connection::to(address).ask(b"GET /healthz HTTP/1.1\r\nhost: bench\r\n\r\n").await?;
    ensure!(answer.status == 200, "the server says {} {}", answer.status, answer.body);
    Ok(())
}

/// What one of them saw.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// Numbers of writes, and when each was acknowledged.
    pub(super) acknowledged: Vec<(i64, Instant)>,
    /// Positions that were read.
    pub(super) reads: u64,
    /// What it was told instead of an answer, and how often.
    pub(super) refusals: BTreeMap<String, u64>,
    /// What it must not have been told.
    pub(super) dishonest: Vec<String>,
}

impl Seen {
    pub(super) fn add(&mut self, other: Self) {
        self.acknowledged.extend(other.acknowledged);
        self.reads += other.reads;
        for (refusal, times) in other.refusals {
            *self.refusals.entry(refusal).or_default() += times;
        }
        self.dishonest.extend(other.dishonest);
    }

    /// Whether it was served; what it was told instead is kept.
    fn take(&mut self, told: Told) -> bool {
        match told {
            Told::Served => return true,
            Told::Refused(why) => *self.refusals.entry(why).or_default() += 1,
            Told::Dishonest(what) => self.dishonest.push(what),
        }
        false
    }
}

/// What an answer comes to.
#[derive(Debug, PartialEq, Eq)]
enum Told {
    /// It is what was asked for.
    Served,
    /// Come back later, as a problem says.
    Refused(String),
    /// Anything else.
    Dishonest(String),
}

impl Work {
    pub(super) fn new(
        address: SocketAddr,
        users: &[String],
        key: &str,
        tenant_id: &Value,
        user_id: &Value,
    ) -> Self {
        let read = |user: &String| {
            format!("GET /api/v1/positions?user={user} HTTP/1.1\r\nhost: bench\r\n\r\n").into_bytes()
        };
        let head = format!(
            "POST /api/v1/approvals HTTP/1.1\r\nhost: bench\r\nauthorization: Bearer {key}\r\ncontent-type: application/json\r\n"
        );
        let body = json!({"tenant_id": tenant_id, "user_id": user_id, "action": "retry:request", "term_seconds": 3_600});
        Self { address, reads: users.iter().map(read).collect(), head, body, next: AtomicI64::new(0) }
    }

    fn write(&self, number: i64) -> Vec<u8> {
        let mut body = self.body.clone();
        body["request_id"] = json!(Uuid::new_v4());
        body["body"] = json!({"number": number});
        let (head, body) = (&self.head, body.to_string());
        format!("{head}idempotency-key: write-{number}\r\ncontent-length: {}\r\n\r\n{body}", body.len())
            .into_bytes()
    }

    /// Writes and reads in turn until the time is over; the last write is seen through.
    pub(super) async fn run(self: Arc<Self>, until: Instant) -> Seen {
        let (mut seen, mut connection) = (Seen::default(), Connection::to(self.address));
        while Instant::now() < until {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            let write = self.write(number);
            loop {
                if seen.take(Told::by(connection.ask(&write).await, 201, "\"approval_id\"")) {
                    seen.acknowledged.push((number, Instant::now()));
                    break;
                }
                if Instant::now() > until + LAST_WRITE_LIMIT {
                    seen.dishonest.push(format!("write {number} was never acknowledged"));
                    return seen;
                }
            }
            let read = &self.reads[usize::try_from(number).unwrap_or(0) % self.reads.len()];
            seen.reads += u64::from(seen.take(Told::by(connection.ask(read).await, 200, "\"version\"")));
        }
        seen
    }
}

impl Told {
    /// Served is who gets this status, and a body with this in it.
    fn by(answer: Result<Answer>, status: u16, part: &str) -> Self {
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) => return Self::Dishonest(format!("no answer: {error:#}")),
        };
        if answer.status == status && answer.body.contains(part) {
            return Self::Served;
        }
        let problem: Value = serde_json::from_str(&answer.body).unwrap_or_default();
        let kind = problem["type"].as_str().and_then(|kind| kind.strip_prefix(PROBLEM));
        match (answer.status, kind) {
            (409, Some(kind @ "request-in-flight")) | (429 | 503, Some(kind)) if answer.is_problem => {
                Self::Refused(format!("{} {kind}", answer.status))
            }
            _ => {
                let text: String = answer.body.chars().take(QUOTED_CHARS).collect();
                Self::Dishonest(format!("{}: {text}", answer.status))
            }
        }
    }
}

#[derive(Debug)]
struct Answer {
    status: u16,
    is_problem: bool,
    body: String,
}

/// A connection that is opened when it is needed.
struct Connection {
    address: SocketAddr,
    stream: Option<TcpStream>,
    buffer: Vec<u8>,
}

impl Connection {
    fn to(address: SocketAddr) -> Self {
        Self { address, stream: None, buffer: vec![0; ANSWER_MAX_BYTES] }
    }

    /// One request and its whole answer. After an error, or where the server says so, the next one opens another.
    async fn ask(&mut self, request: &[u8]) -> Result<Answer> {
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => {
                let stream = TcpStream::connect(self.address).await.context("cannot connect")?;
                stream.set_nodelay(true)?;
                stream
            }
        };
        let exchange = exchange(&mut stream, request, &mut self.buffer);
        let (answer, is_last) =
            tokio::time::timeout(ANSWER_LIMIT, exchange).await.context("nothing in time")??;
        if !is_last {
            self.stream = Some(stream);
        }
        Ok(answer)
    }
}

async fn exchange(stream: &mut TcpStream, request: &[u8], buffer: &mut [u8]) -> Result<(Answer, bool)> {
    stream.write_all(request).await?;
    let mut filled = 0;
    loop {
        let read = stream.read(&mut buffer[filled..]).await?;
        ensure!(read > 0, "the connection ended after {filled} bytes of an answer");
        filled += read;
        if let Some(whole) = parsed(&buffer[..filled])? {
            return Ok(whole);
        }
    }
}

/// The answer, and whether it is the connection's last; `None` while some of it is missing.
fn parsed(bytes: &[u8]) -> Result<Option<(Answer, bool)>> {
    let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else { return Ok(None) };
    let head = std::str::from_utf8(&bytes[..end])?.to_ascii_lowercase();
    let header = |name: &str| {
        let value =
            |line: &str| line.strip_prefix(name)?.strip_prefix(':').map(|value| value.trim().to_owned());
        head.lines().find_map(value)
    };
    let length: usize = header("content-length").context("an answer has a length")?.parse()?;
    let body = &bytes[end + 4..];
    if body.len() < length {
        return Ok(None);
    }
    if body.len() > length {
        bail!("there is more than the answer");
    }
    let status = head.split_whitespace().nth(1).context("an answer has a status")?.parse()?;
    let is_problem = header("content-type").is_some_and(|kind| kind.starts_with("application/problem+json"));
    let is_last = header("connection").is_some_and(|value| value.contains("close"));
    Ok(Some((Answer { status, is_problem, body: std::str::from_utf8(body)?.to_owned() }, is_last)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(text: &str) -> Told {
        let answer = parsed(text.as_bytes()).map(|whole| whole.expect("it is whole").0);
        Told::by(answer, 201, "\"approval_id\"")
    }

    fn answer(status: &str, kind: &str, body: &str) -> String {
        format!("HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\r\n{body}", body.len())
    }

    #[test]
    fn only_what_asks_to_come_back_is_an_honest_refusal() {
        const JSON: &str = "application/json";
        const PROBLEM_JSON: &str = "application/problem+json";
        let problem = |kind: &str| format!(r#"{{"type":"urn:plimsoll:problem:{kind}"}}"#);
        assert_eq!(told(&answer("201 Created", JSON, r#"{"approval_id":"a"}"#)), Told::Served);
        for (status, kind) in [
            ("503 Service Unavailable", "database-unavailable"),
            ("429 Too Many Requests", "too-many-requests"),
            ("409 Conflict", "request-in-flight"),
        ] {
            let expected = Told::Refused(format!("{} {kind}", &status[..3]));
            assert_eq!(told(&answer(status, PROBLEM_JSON, &problem(kind))), expected);
        }
        for (status, content_type, body) in [
            ("201 Created", JSON, "{}".to_owned()),
            ("200 OK", JSON, r#"{"approval_id":"a"}"#.to_owned()),
            ("409 Conflict", PROBLEM_JSON, problem("conflict")),
            ("503 Service Unavailable", "text/plain", problem("overloaded")),
            ("503 Service Unavailable", PROBLEM_JSON, String::new()),
            ("500 Internal Server Error", PROBLEM_JSON, problem("internal")),
            ("504 Gateway Timeout", PROBLEM_JSON, problem("timed-out")),
        ] {
            let told = told(&answer(status, content_type, &body));
            assert!(matches!(told, Told::Dishonest(_)), "{status}: {told:?}");
        }
        assert!(matches!(Told::by(Err(anyhow::anyhow!("reset")), 201, ""), Told::Dishonest(_)));
    }

    #[test]
    fn an_answer_is_whole_when_its_length_is_there_and_the_last_one_if_it_says_so() {
        let text = "HTTP/1.1 503 Service Unavailable\r\nconnection: close\r\ncontent-length: 2\r\n\r\n{}";
        for cut in 0..text.len() {
            assert!(parsed(&text.as_bytes()[..cut]).unwrap().is_none(), "{cut}");
        }
        let (answer, is_last) = parsed(text.as_bytes()).unwrap().unwrap();
        assert_eq!((answer.status, answer.body.as_str(), is_last), (503, "{}", true));
        assert!(parsed(format!("{text}x").as_bytes()).is_err());
    }
}

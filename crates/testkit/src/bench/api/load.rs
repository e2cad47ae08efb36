//! A client that asks for positions over keep-alive connections, in a loop or by the clock.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Larger than any answer with one position.
const ANSWER_MAX_BYTES: usize = 16 * 1024;

/// The requests, made beforehand.
pub(super) struct Load {
    address: SocketAddr,
    requests: Arc<[Vec<u8>]>,
}

impl Load {
    pub(super) fn new(address: SocketAddr, users: &[String]) -> Self {
        let request = |user: &String| {
            format!("GET /api/v1/positions?user={user} HTTP/1.1\r\nhost: bench\r\n\r\n").into_bytes()
        };
        Self { address, requests: users.iter().map(request).collect() }
    }

    /// As fast as answers come on so many connections: how long each took.
    pub(super) async fn at_full(&self, connections: usize, duration: Duration) -> Result<Vec<Duration>> {
        let until = Instant::now() + duration;
        self.run(connections, move |_| {
            let now = Instant::now();
            (now < until).then_some(now)
        })
        .await
    }

    /// At a steady rate: how long each took, from when it was due.
    pub(super) async fn at_rate(
        &self,
        connections: usize,
        rate: f64,
        duration: Duration,
    ) -> Result<Vec<Duration>> {
        let began = Instant::now();
        self.run(connections, move |number| {
            #[allow(clippy::cast_precision_loss)] // fewer than 2^53 requests
            let due = Duration::from_secs_f64(number as f64 / rate);
            (due < duration).then_some(began + due)
        })
        .await
    }

    /// Request number `n` goes out at `due(n)`, or as soon after it as a connection is free; the first `None` ends it.
    async fn run(
        &self,
        connections: usize,
        due: impl Fn(usize) -> Option<Instant> + Clone + Send + 'static,
    ) -> Result<Vec<Duration>> {
        let next = Arc::new(AtomicUsize::new(0));
        let mut clients = Vec::new();
        for _ in 0..connections {
            let mut stream = TcpStream::connect(self.address).await?;
            stream.set_nodelay(true)?;
            let (next, due, requests) = (Arc::clone(&next), due.clone(), Arc::clone(&self.requests));
            clients.push(tokio::spawn(async move {
                let mut took = Vec::new();
                let mut buffer = vec![0; ANSWER_MAX_BYTES];
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let Some(at) = due(number) else { return Ok::<_, anyhow::Error>(took) };
                    tokio::time::sleep_until(at.into()).await;
                    ask(&mut stream, &requests[number % requests.len()], &mut buffer).await?;
                    took.push(at.elapsed());
                }
            }));
        }
        let mut all = Vec::new();
        for client in clients {
            all.extend(client.await??);
        }
        Ok(all)
    }
}

/// One request and its whole answer, which must be a 200 with one position.
async fn ask(stream: &mut TcpStream, request: &[u8], buffer: &mut [u8]) -> Result<()> {
    stream.write_all(request).await?;
    let mut filled = 0;
    loop {
        let read = stream.read(&mut buffer[filled..]).await?;
        ensure!(read > 0, "the server closed a connection");
        filled += read;
        let Some(head) = buffer[..filled].windows(4).position(|bytes| bytes == b"\r\n\r\n") else { continue };
        let text = std::str::from_utf8(&buffer[..head])?;
        let length: usize = text
            .lines()
            .find_map(|line| {
                line.to_ascii_lowercase().strip_prefix("content-length:").map(str::trim).map(str::parse)
            })
            .context("an answer has a length")??;
        if filled < head + 4 + length {
            continue;
        }
        let body = &buffer[head + 4..filled];
        if !text.starts_with("HTTP/1.1 200") || !body.windows(9).any(|bytes| bytes == b"\"version\"") {
            bail!("not a position: {}", String::from_utf8_lossy(&buffer[..filled]));
        }
        return Ok(());
    }
}

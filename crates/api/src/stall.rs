//! A connection whose other side takes nothing for too long is broken off, whatever it is sent: an answer, a stream of events, an export.
//!
//! What is written waits in the system's buffer, in ours, and then for the client. A client that never takes it would hold its connection, its stream's place and
//! the task that writes for as long as it answers probes, which it may do for ever. Here a write that finds no room begins a wait, and the next byte that goes ends it;
//! past the limit the write fails, and with it everything above: the connection ends, the body is dropped, and whoever makes it sees that nobody is there.
//!
//! A slow client is none of these: each byte that it takes begins a new wait.

use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

/// A stream to which writing takes at most so long at a time.
#[derive(Debug)]
pub(crate) struct Unstalled<S> {
    stream: S,
    limit: Duration,
    /// Until when the other side has to take something; none while there is room.
    wait: Option<Pin<Box<Sleep>>>,
}

impl<S: AsyncWrite + Unpin> Unstalled<S> {
    pub(crate) fn new(stream: S, limit: Duration) -> Self {
        Self { stream, limit, wait: None }
    }

    /// What a write came to; one that has to wait, waits no longer than the limit.
    fn bounded<T>(&mut self, context: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.wait = None;
            return written;
        }
        let limit = self.limit;
        let wait = self.wait.get_or_insert_with(|| Box::pin(sleep(limit)));
        ready!(wait.as_mut().poll(context));
        self.wait = None;
        metrics::counter!("connections_stalled_total").increment(1);
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client takes nothing")))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Unstalled<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.bounded(context, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, parts);
        self.bounded(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Unstalled<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    const LIMIT: Duration = Duration::from_secs(30);

    #[tokio::test(start_paused = true)]
    async fn a_slow_reader_is_waited_for_as_long_as_it_takes_something() {
        let (ours, mut theirs) = duplex(8);
        let mut ours = Unstalled::new(ours, LIMIT);
        let reading = tokio::spawn(async move {
            let (mut read, mut buffer) = (0, [0; 4]);
            while read < 80 {
                sleep(LIMIT - Duration::from_millis(1)).await;
                read += theirs.read(&mut buffer).await.unwrap();
            }
        });
        ours.write_all(&[7; 80]).await.unwrap();
        reading.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_takes_nothing_is_cut_off_at_the_limit_and_reading_waits_as_long_as_it_likes() {
        let (ours, mut theirs) = duplex(8);
        let mut ours = Unstalled::new(ours, LIMIT);
        let began = tokio::time::Instant::now();
        let error = ours.write_all(&[7; 80]).await.unwrap_err();
        assert_eq!((error.kind(), began.elapsed()), (io::ErrorKind::TimedOut, LIMIT));
        theirs.read_exact(&mut [0; 8]).await.unwrap();
        ours.write_all(&[7; 8]).await.expect("what goes again goes");
        let patient = tokio::time::timeout(LIMIT * 100, ours.read(&mut [0; 8])).await;
        assert!(patient.is_err(), "nobody said anything, and nothing broke");
    }
}

//! Writes what a node answers to a file, in the order of the answers, for [`Replayer`](super::Replayer).

use std::{
    fs::File,
    io::{self, BufWriter, Write},
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
};

use alloy_json_rpc::{RequestPacket, ResponsePacket, ResponsePayload};
use alloy_transport::{BoxTransport, TransportError, TransportErrorKind, TransportFut};
use tower::{Service, ServiceExt};

use super::tape::{FrameHead, Kind, MAGIC, key};

/// Buffer in front of the file, bytes.
const BUFFER_BYTES: usize = 1024 * 1024;

/// Passes requests on and records each with its answer, JSON-RPC errors included. A request that gets no
/// answer leaves no trace; a recording that cannot be written fails the request.
#[derive(Clone)]
pub struct Recorder {
    inner: BoxTransport,
    file: Tape,
}

type Tape = Arc<Mutex<BufWriter<File>>>;

/// Ends a recording.
#[derive(Clone)]
pub struct RecorderHandle {
    file: Tape,
}

impl Recorder {
    /// Records into a new file at `path`, replacing one that is there.
    ///
    /// # Errors
    /// The file cannot be made or written.
    pub fn create(inner: BoxTransport, path: &Path) -> io::Result<(Self, RecorderHandle)> {
        let mut file = BufWriter::with_capacity(BUFFER_BYTES, File::create(path)?);
        file.write_all(MAGIC)?;
        let file = Arc::new(Mutex::new(file));
        Ok((Self { inner, file: file.clone() }, RecorderHandle { file }))
    }
}

impl RecorderHandle {
    /// Writes what is buffered. Until then the end of the file may be missing.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn flush(&self) -> io::Result<()> {
        self.file.lock().unwrap_or_else(PoisonError::into_inner).flush()
    }
}

fn write(file: &Tape, key: &str, kind: Kind, answer: &str) -> io::Result<()> {
    let head = FrameHead { key_bytes: key.len(), kind, answer_bytes: answer.len() }
        .to_bytes()
        .ok_or_else(|| io::Error::other("a request too long to record"))?;
    let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
    file.write_all(&head)?;
    file.write_all(key.as_bytes())?;
    file.write_all(answer.as_bytes())
}

fn record(
    file: &Tape,
    keys: &[(alloy_json_rpc::Id, String)],
    packet: &ResponsePacket,
) -> Result<(), TransportError> {
    for response in packet.responses() {
        // An answer to nothing that was asked is left to the client to complain about.
        let Some((_, key)) = keys.iter().find(|(id, _)| *id == response.id) else { continue };
        let written = match &response.payload {
            ResponsePayload::Success(result) => write(file, key, Kind::Result, result.get()),
            ResponsePayload::Failure(error) => {
                let error = serde_json::to_string(error).map_err(TransportError::ser_err)?;
                write(file, key, Kind::Error, &error)
            }
        };
        written.map_err(TransportErrorKind::custom)?;
    }
    Ok(())
}

impl Service<RequestPacket> for Recorder {
    type Response = ResponsePacket;
    type Error = TransportError;
    type Future = TransportFut<'static>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), TransportError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, packet: RequestPacket) -> Self::Future {
        let Self { inner, file } = self.clone();
        let keys: Vec<_> =
            packet.requests().iter().map(|request| (request.id().clone(), key(request))).collect();
        Box::pin(async move {
            let answer = inner.oneshot(packet).await?;
            record(&file, &keys, &answer)?;
            Ok(answer)
        })
    }
}

//! Answers from a recording.
//!
//! Only the index is in memory; answers are read from the file, that is from the page cache, so that a
//! recording of any size weighs nothing in what a benchmark measures.

use std::{
    collections::HashMap,
    fs::File,
    io::{self, BufReader, Read, Seek, SeekFrom},
    os::unix::fs::FileExt,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};

use alloy_json_rpc::{
    ErrorPayload, RequestPacket, Response, ResponsePacket, ResponsePayload, SerializedRequest,
};
use alloy_transport::{TransportError, TransportErrorKind, TransportFut};
use serde_json::value::RawValue;
use tower::Service;

use super::{
    PARSE_INLINE_BYTES, TransportFailure,
    tape::{FRAME_HEAD_BYTES, FrameHead, Kind, MAGIC, key},
};
use crate::error::excerpt;

/// Why a recording cannot be replayed.
#[derive(Debug, thiserror::Error)]
pub enum TapeError {
    /// The file cannot be read.
    #[error("the recording cannot be read: {0}")]
    Io(#[from] io::Error),
    /// It is not a recording, or of another version.
    #[error("the file is no recording of this version; record it again")]
    Magic,
    /// It ends in the middle of a frame or holds nonsense.
    #[error("the recording is damaged at byte {0} (was the recorder flushed?); record it again")]
    Damaged(u64),
}

/// Gives the recorded answers to the recorded requests, matched by method and parameters. A request recorded
/// several times gets its answers in the recorded order, the last one for ever after. An unknown request is a
/// local error that names it.
#[derive(Clone)]
pub struct Replayer {
    tape: Arc<Tape>,
}

struct Tape {
    file: File,
    index: HashMap<String, Answers>,
}

#[derive(Default)]
struct Answers {
    places: Vec<Place>,
    next: AtomicUsize,
}

#[derive(Clone, Copy)]
struct Place {
    offset: u64,
    len: usize,
    kind: Kind,
}

impl Replayer {
    /// Reads the index of the recording at `path`.
    ///
    /// # Errors
    /// See [`TapeError`].
    pub fn open(path: &Path) -> Result<Self, TapeError> {
        let file = File::open(path)?;
        let len = file.metadata()?.len();
        let mut reader = BufReader::new(file.try_clone()?);
        let mut magic = [0; MAGIC.len()];
        if len < magic.len() as u64 {
            return Err(TapeError::Magic);
        }
        reader.read_exact(&mut magic)?;
        if magic != *MAGIC {
            return Err(TapeError::Magic);
        }

        let mut index: HashMap<String, Answers> = HashMap::new();
        let mut at = magic.len() as u64;
        while at < len {
            let damaged = || TapeError::Damaged(at);
            if len - at < FRAME_HEAD_BYTES as u64 {
                return Err(damaged());
            }
            let mut head = [0; FRAME_HEAD_BYTES];
            reader.read_exact(&mut head)?;
            let head = FrameHead::from_bytes(&head).ok_or_else(damaged)?;
            let offset = at + FRAME_HEAD_BYTES as u64 + head.key_bytes as u64;
            let end =
                offset.checked_add(head.answer_bytes as u64).filter(|end| *end <= len).ok_or_else(damaged)?;
            let mut key = vec![0; head.key_bytes];
            reader.read_exact(&mut key)?;
            let key = String::from_utf8(key).map_err(|_| damaged())?;
            index.entry(key).or_default().places.push(Place {
                offset,
                len: head.answer_bytes,
                kind: head.kind,
            });
            reader.seek_relative(i64::try_from(head.answer_bytes).map_err(|_| damaged())?)?;
            at = end;
        }
        debug_assert_eq!(reader.stream_position().ok(), Some(at));
        reader.seek(SeekFrom::Start(0))?;
        Ok(Self { tape: Arc::new(Tape { file, index }) })
    }

    /// How many different requests it can answer.
    #[must_use]
    pub fn requests(&self) -> usize {
        self.tape.index.len()
    }
}

impl Tape {
    fn place(&self, request: &SerializedRequest) -> Result<Place, TransportError> {
        let key = key(request);
        let answers = self.index.get(&key).ok_or_else(|| {
            TransportFailure::Local(format!(
                "the recording has no answer to {}; record it again",
                excerpt(&key.replace('\n', " "))
            ))
        })?;
        let turn = answers.next.fetch_add(1, Ordering::Relaxed).min(answers.places.len() - 1);
        Ok(answers.places[turn])
    }

    fn answer(&self, request: &SerializedRequest, place: Place) -> Result<Response, TransportError> {
        let mut bytes = vec![0; place.len];
        self.file.read_exact_at(&mut bytes, place.offset).map_err(TransportErrorKind::custom)?;
        let text = String::from_utf8(bytes).map_err(TransportErrorKind::custom)?;
        let payload = match place.kind {
            Kind::Result => RawValue::from_string(text).map(ResponsePayload::Success),
            Kind::Error => serde_json::from_str::<ErrorPayload>(&text).map(ResponsePayload::Failure),
        };
        Ok(Response { id: request.id().clone(), payload: payload.map_err(TransportErrorKind::custom)? })
    }

    fn packet(&self, packet: &RequestPacket, places: &[Place]) -> Result<ResponsePacket, TransportError> {
        match packet {
            RequestPacket::Single(request) => Ok(ResponsePacket::Single(self.answer(request, places[0])?)),
            RequestPacket::Batch(requests) => Ok(ResponsePacket::Batch(
                requests
                    .iter()
                    .zip(places)
                    .map(|(request, place)| self.answer(request, *place))
                    .collect::<Result<_, _>>()?,
            )),
        }
    }
}

impl Service<RequestPacket> for Replayer {
    type Response = ResponsePacket;
    type Error = TransportError;
    type Future = TransportFut<'static>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), TransportError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, packet: RequestPacket) -> Self::Future {
        let tape = self.tape.clone();
        Box::pin(async move {
            let places =
                packet.requests().iter().map(|request| tape.place(request)).collect::<Result<Vec<_>, _>>()?;
            if places.iter().map(|place| place.len).sum::<usize>() < PARSE_INLINE_BYTES {
                return tape.packet(&packet, &places);
            }
            tokio::task::spawn_blocking(move || tape.packet(&packet, &places))
                .await
                .map_err(TransportErrorKind::custom)?
        })
    }
}

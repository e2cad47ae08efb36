//! The file of a recording: a magic line, then frames of
//! `key length (u32) | kind (u8) | answer length (u64) | key | answer`, little endian.
//!
//! Lengths first, so that an index is made by skipping over the answers, and binary, so that an answer is kept
//! byte for byte. A key is the method, a newline and the parameters as they were sent.

use alloy_json_rpc::SerializedRequest;

/// First bytes of a recording; the number is the version of the format.
pub(super) const MAGIC: &[u8; 16] = b"plimsoll-tape/1\n";

/// Bytes before the key of a frame.
pub(super) const FRAME_HEAD_BYTES: usize = 4 + 1 + 8;

/// A key longer than this means a damaged file, bytes.
const MAX_KEY_BYTES: usize = 64 * 1024 * 1024;

/// What kind of answer a frame holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// The `result` of a JSON-RPC answer.
    Result,
    /// Its `error` object.
    Error,
}

/// The fixed part of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FrameHead {
    pub(super) key_bytes: usize,
    pub(super) kind: Kind,
    pub(super) answer_bytes: usize,
}

impl FrameHead {
    pub(super) fn to_bytes(self) -> Option<[u8; FRAME_HEAD_BYTES]> {
        let mut bytes = [0; FRAME_HEAD_BYTES];
        bytes[..4].copy_from_slice(&u32::try_from(self.key_bytes).ok()?.to_le_bytes());
        bytes[4] = match self.kind {
            Kind::Result => 0,
            Kind::Error => 1,
        };
        bytes[5..].copy_from_slice(&u64::try_from(self.answer_bytes).ok()?.to_le_bytes());
        Some(bytes)
    }

    /// `None` if the bytes are no frame's head.
    pub(super) fn from_bytes(bytes: &[u8; FRAME_HEAD_BYTES]) -> Option<Self> {
        let [k0, k1, k2, k3, kind, answer @ ..] = *bytes;
        let head = Self {
            key_bytes: usize::try_from(u32::from_le_bytes([k0, k1, k2, k3])).ok()?,
            kind: match kind {
                0 => Kind::Result,
                1 => Kind::Error,
                _ => return None,
            },
            answer_bytes: usize::try_from(u64::from_le_bytes(answer)).ok()?,
        };
        (head.key_bytes <= MAX_KEY_BYTES).then_some(head)
    }
}

/// What identifies a request, whatever its id.
pub(super) fn key(request: &SerializedRequest) -> String {
    format!("{}\n{}", request.method(), request.params().map_or("", serde_json::value::RawValue::get))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_head_survives_the_way_to_the_file_and_back() {
        for kind in [Kind::Result, Kind::Error] {
            let head = FrameHead { key_bytes: 0x0102_0304 >> 4, kind, answer_bytes: 0x05_0607_0809 };
            assert_eq!(FrameHead::from_bytes(&head.to_bytes().unwrap()), Some(head));
        }
        let mut damaged = FrameHead { key_bytes: 1, kind: Kind::Result, answer_bytes: 1 }.to_bytes().unwrap();
        damaged[4] = 9;
        assert_eq!(FrameHead::from_bytes(&damaged), None);
        assert_eq!(FrameHead::from_bytes(&[0xff; FRAME_HEAD_BYTES]), None);
    }
}

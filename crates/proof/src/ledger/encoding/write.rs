//! Writing the encoding, and hashing it.

use alloy_primitives::B256;
use uuid::Uuid;

use super::{LINE_TAG, POSTING_TAG, SealedLine, SealedPosting};
use crate::ledger::sha256;

/// What the encoding has no room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unencodable {
    /// A text whose length the encoding cannot say.
    #[error("`{field}` has {bytes} bytes: the seal takes at most {max_bytes}")]
    TooLong {
        /// The field.
        field: &'static str,
        /// Its length.
        bytes: usize,
        /// The limit.
        max_bytes: u32,
    },
    /// More lines than a posting can have.
    #[error("a posting of {lines} lines: the seal takes at most {max}", max = u16::MAX)]
    TooManyLines {
        /// How many.
        lines: usize,
    },
}

/// Hashes lines and postings, one after the other, in one buffer that it keeps.
#[derive(Debug, Default)]
pub struct Encoder {
    buffer: Vec<u8>,
}

impl Encoder {
    /// With an empty buffer, which grows to the longest posting that it meets.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// `SHA-256("plimsoll ledger line v1\n" ‖ line)`.
    ///
    /// # Errors
    /// Where a text is too long.
    pub fn line_checksum<T: AsRef<str>>(&mut self, line: &SealedLine<T>) -> Result<B256, Unencodable> {
        self.start(LINE_TAG);
        line.encode(&mut self.buffer)?;
        Ok(sha256(&self.buffer))
    }

    /// `SHA-256("plimsoll posting v1\n" ‖ body)`; the checksums are those of its lines, in order.
    ///
    /// # Errors
    /// Where a text is too long, or there are too many lines.
    pub fn posting_digest<T: AsRef<str>>(
        &mut self,
        posting: &SealedPosting<T>,
        line_checksums: &[B256],
    ) -> Result<B256, Unencodable> {
        self.start(POSTING_TAG);
        posting.encode(line_checksums, &mut self.buffer)?;
        Ok(sha256(&self.buffer))
    }

    fn start(&mut self, tag: &[u8]) {
        self.buffer.clear();
        self.buffer.extend_from_slice(tag);
    }
}

impl<T: AsRef<str>> SealedLine<T> {
    /// Appends the line's encoding.
    ///
    /// # Errors
    /// Where a text is too long; `out` then ends in the middle.
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<(), Unencodable> {
        out.extend_from_slice(self.posting_id.as_bytes());
        out.extend_from_slice(&self.sequence.to_be_bytes());
        out.extend_from_slice(self.account_id.as_bytes());
        out.push(self.direction.to_byte());
        out.extend_from_slice(&self.amount.to_be_bytes::<32>());
        text(out, "currency", self.currency.as_ref())?;
        text(out, "entry_type", self.entry_type.as_ref())?;
        out.extend_from_slice(&self.account_version.to_be_bytes());
        out.extend_from_slice(&self.balance_after.to_be_bytes::<32>());
        Ok(())
    }
}

impl<T: AsRef<str>> SealedPosting<T> {
    /// Appends the posting's body; the checksums are those of its lines, in order.
    ///
    /// # Errors
    /// Where a text is too long, or there are too many lines; `out` then ends in the middle.
    pub fn encode(&self, line_checksums: &[B256], out: &mut Vec<u8>) -> Result<(), Unencodable> {
        let lines = u16::try_from(line_checksums.len())
            .map_err(|_| Unencodable::TooManyLines { lines: line_checksums.len() })?;
        out.extend_from_slice(self.tenant_id.as_bytes());
        out.extend_from_slice(self.posting_id.as_bytes());
        optional_uuid(out, self.user_id);
        out.extend_from_slice(self.request_id.as_bytes());
        text(out, "operation_type", self.operation_type.as_ref())?;
        out.extend_from_slice(self.request_checksum.as_slice());
        text(out, "domain", self.domain.as_ref())?;
        optional_uuid(out, self.internal_tx_id);
        optional_uuid(out, self.trace_id);
        for time in [self.effective_at_us, self.booked_at_us, self.recorded_at_us] {
            out.extend_from_slice(&time.to_be_bytes());
        }
        optional_u64(out, self.chain_id);
        optional_hash(out, self.chain_tx_hash);
        optional_u64(out, self.chain_block_number);
        optional_hash(out, self.chain_block_hash);
        optional_uuid(out, self.reverses);
        optional_uuid(out, self.compensates);
        optional_text(out, "reason", self.reason.as_ref())?;
        text(out, "created_by", self.created_by.as_ref())?;
        text(out, "correlation_id", self.correlation_id.as_ref())?;
        optional_text(out, "causation_id", self.causation_id.as_ref())?;
        let metadata = self.metadata.as_ref();
        let bytes = u32::try_from(metadata.len()).map_err(|_| Unencodable::TooLong {
            field: "metadata",
            bytes: metadata.len(),
            max_bytes: u32::MAX,
        })?;
        out.extend_from_slice(&bytes.to_be_bytes());
        out.extend_from_slice(metadata.as_bytes());
        out.extend_from_slice(&lines.to_be_bytes());
        for checksum in line_checksums {
            out.extend_from_slice(checksum.as_slice());
        }
        Ok(())
    }
}

fn optional(out: &mut Vec<u8>, value: Option<&[u8]>) {
    out.push(u8::from(value.is_some()));
    out.extend_from_slice(value.unwrap_or_default());
}

fn optional_uuid(out: &mut Vec<u8>, value: Option<Uuid>) {
    optional(out, value.as_ref().map(|id| id.as_bytes().as_slice()));
}

fn optional_u64(out: &mut Vec<u8>, value: Option<u64>) {
    optional(out, value.map(u64::to_be_bytes).as_ref().map(<[u8; 8]>::as_slice));
}

fn optional_hash(out: &mut Vec<u8>, value: Option<B256>) {
    optional(out, value.as_ref().map(B256::as_slice));
}

fn optional_text<T: AsRef<str>>(
    out: &mut Vec<u8>,
    field: &'static str,
    value: Option<&T>,
) -> Result<(), Unencodable> {
    out.push(u8::from(value.is_some()));
    value.map_or(Ok(()), |value| text(out, field, value.as_ref()))
}

fn text(out: &mut Vec<u8>, field: &'static str, value: &str) -> Result<(), Unencodable> {
    let bytes = u16::try_from(value.len()).map_err(|_| Unencodable::TooLong {
        field,
        bytes: value.len(),
        max_bytes: u16::MAX.into(),
    })?;
    out.extend_from_slice(&bytes.to_be_bytes());
    out.extend_from_slice(value.as_bytes());
    Ok(())
}

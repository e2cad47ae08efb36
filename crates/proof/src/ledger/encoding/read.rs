//! Reading the encoding back: strictly, so that one value has one encoding, and without taking more memory than there are bytes.

use alloy_primitives::{B256, I256, U256};
use uuid::Uuid;

use super::{Direction, SealedLine, SealedPosting};

/// Why bytes are no encoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Undecodable {
    /// They end too soon.
    #[error("the encoding ends at byte {at}, in the middle of `{field}`")]
    Ends {
        /// The field that is cut off.
        field: &'static str,
        /// How many bytes there are.
        at: usize,
    },
    /// A byte that says what follows, and says nothing that is known.
    #[error("`{field}` at byte {at} begins with {byte:#04x}")]
    Kind {
        /// The field.
        field: &'static str,
        /// Where it begins.
        at: usize,
        /// The byte.
        byte: u8,
    },
    /// A text that is not UTF-8.
    #[error("`{field}`, up to byte {at}, is not UTF-8")]
    Text {
        /// The field.
        field: &'static str,
        /// Where it ends.
        at: usize,
    },
    /// More bytes than the encoding has.
    #[error("{bytes} bytes follow the encoding")]
    Rest {
        /// How many.
        bytes: usize,
    },
}

impl<'a> SealedLine<&'a str> {
    /// Reads a line that [`SealedLine::encode`] wrote.
    ///
    /// # Errors
    /// Where the bytes are no line, or more than one.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, Undecodable> {
        let mut input = Input { bytes, at: 0 };
        let line = Self {
            posting_id: input.uuid("posting_id")?,
            sequence: u16::from_be_bytes(input.array("sequence")?),
            account_id: input.uuid("account_id")?,
            direction: input.direction()?,
            amount: U256::from_be_bytes(input.array::<32>("amount")?),
            currency: input.text("currency")?,
            entry_type: input.text("entry_type")?,
            account_version: input.u64("account_version")?,
            balance_after: I256::from_be_bytes(input.array::<32>("balance_after")?),
        };
        input.end(line)
    }
}

impl<'a> SealedPosting<&'a str> {
    /// Reads a body that [`SealedPosting::encode`] wrote: the posting, and its lines' checksums.
    ///
    /// # Errors
    /// Where the bytes are no body, or more than one.
    pub fn decode(bytes: &'a [u8]) -> Result<(Self, Vec<B256>), Undecodable> {
        let mut input = Input { bytes, at: 0 };
        let posting = Self {
            tenant_id: input.uuid("tenant_id")?,
            posting_id: input.uuid("posting_id")?,
            user_id: input.optional("user_id", Input::uuid)?,
            request_id: input.uuid("request_id")?,
            operation_type: input.text("operation_type")?,
            request_checksum: input.hash("request_checksum")?,
            domain: input.text("domain")?,
            internal_tx_id: input.optional("internal_tx_id", Input::uuid)?,
            trace_id: input.optional("trace_id", Input::uuid)?,
            effective_at_us: i64::from_be_bytes(input.array("effective_at")?),
            booked_at_us: i64::from_be_bytes(input.array("booked_at")?),
            recorded_at_us: i64::from_be_bytes(input.array("recorded_at")?),
            chain_id: input.optional("chain_id", Input::u64)?,
            chain_tx_hash: input.optional("chain_tx_hash", Input::hash)?,
            chain_block_number: input.optional("chain_block_number", Input::u64)?,
            chain_block_hash: input.optional("chain_block_hash", Input::hash)?,
            reverses: input.optional("reverses", Input::uuid)?,
            compensates: input.optional("compensates", Input::uuid)?,
            reason: input.optional("reason", Input::text)?,
            created_by: input.text("created_by")?,
            correlation_id: input.text("correlation_id")?,
            causation_id: input.optional("causation_id", Input::text)?,
            metadata: input.metadata()?,
        };
        let lines = u16::from_be_bytes(input.array("lines")?);
        // Taken as one piece, so that nothing is allocated for lines that are not there.
        let checksums = input.take("lines", usize::from(lines) * B256::len_bytes())?;
        let checksums = checksums.chunks_exact(B256::len_bytes()).map(B256::from_slice).collect();
        input.end((posting, checksums))
    }
}

struct Input<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Input<'a> {
    fn take(&mut self, field: &'static str, len: usize) -> Result<&'a [u8], Undecodable> {
        let (taken, rest) = self
            .bytes
            .split_at_checked(len)
            .ok_or(Undecodable::Ends { field, at: self.at + self.bytes.len() })?;
        self.bytes = rest;
        self.at += len;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], Undecodable> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(field, N)?);
        Ok(array)
    }

    fn u64(&mut self, field: &'static str) -> Result<u64, Undecodable> {
        self.array(field).map(u64::from_be_bytes)
    }

    fn uuid(&mut self, field: &'static str) -> Result<Uuid, Undecodable> {
        self.array(field).map(Uuid::from_bytes)
    }

    fn hash(&mut self, field: &'static str) -> Result<B256, Undecodable> {
        self.array(field).map(B256::new)
    }

    fn text(&mut self, field: &'static str) -> Result<&'a str, Undecodable> {
        let len = u16::from_be_bytes(self.array(field)?);
        self.utf8(field, usize::from(len))
    }

    fn metadata(&mut self) -> Result<&'a str, Undecodable> {
        const FIELD: &str = "metadata";
        let len = u32::from_be_bytes(self.array(FIELD)?);
        // Where an address has fewer bits than that, no text is so long.
        self.utf8(FIELD, usize::try_from(len).unwrap_or(usize::MAX))
    }

    fn utf8(&mut self, field: &'static str, len: usize) -> Result<&'a str, Undecodable> {
        let bytes = self.take(field, len)?;
        str::from_utf8(bytes).map_err(|_| Undecodable::Text { field, at: self.at })
    }

    fn optional<V>(
        &mut self,
        field: &'static str,
        value: impl FnOnce(&mut Self, &'static str) -> Result<V, Undecodable>,
    ) -> Result<Option<V>, Undecodable> {
        let at = self.at;
        match self.array(field)? {
            [0] => Ok(None),
            [1] => value(self, field).map(Some),
            [byte] => Err(Undecodable::Kind { field, at, byte }),
        }
    }

    fn direction(&mut self) -> Result<Direction, Undecodable> {
        const FIELD: &str = "direction";
        let at = self.at;
        let [byte] = self.array(FIELD)?;
        Direction::from_byte(byte).ok_or(Undecodable::Kind { field: FIELD, at, byte })
    }

    fn end<V>(self, value: V) -> Result<V, Undecodable> {
        match self.bytes.len() {
            0 => Ok(value),
            bytes => Err(Undecodable::Rest { bytes }),
        }
    }
}

//! Rows for `COPY … FROM STDIN (FORMAT binary)`, encoded as they are produced.
//!
//! COPY is the fastest way into Postgres, and its binary form spares both sides the text: a 256-bit amount goes from limbs to
//! Postgres's base-10000 digits with a handful of divisions. A row is announced with [`CopyBuffer::row`] and then filled with as
//! many `put_…` calls as it has columns, in the order of the statement's column list; the types must be the columns' own, as
//! binary COPY converts nothing (an `integer` column wants [`CopyBuffer::put_i32`], not `put_i64`).
//!
//! Layout: PostgreSQL documentation, "COPY", section "Binary Format"; numeric as in `numeric_send` of the server.

use plimsoll_types::Amount;
use sqlx::PgConnection;
use sqlx::postgres::PgTransactionManager;
use sqlx_core::transaction::TransactionManager;
use time::OffsetDateTime;
use uuid::Uuid;

/// Signature, flags, length of the header extension.
const HEADER: [u8; 19] = *b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
const TRAILER: [u8; 2] = (-1_i16).to_be_bytes();
/// What is handed to the connection at a time: bounds the driver's write buffer.
const CHUNK_BYTES: usize = 256 * 1024;
/// 2000-01-01, where Postgres counts from, in microseconds since 1970.
const POSTGRES_EPOCH_UNIX_MICROS: i64 = 946_684_800_000_000;
/// Four base-10000 digits at a time.
const TEN_POW_16: u64 = 10_000_000_000_000_000;
const OUTSIDE_OF_A_TRANSACTION: &str = "COPY outside of a transaction: begin one with Db::begin_worker";
/// 2^256 has 78 decimal digits: 20 of base 10000.
const MAX_DIGITS: usize = 20;

/// Rows on their way into one table.
#[derive(Debug, Clone)]
pub struct CopyBuffer {
    bytes: Vec<u8>,
    rows: u64,
    missing_columns: i16,
}

impl Default for CopyBuffer {
    fn default() -> Self {
        Self::new()
    }
}

impl CopyBuffer {
    /// An empty buffer.
    #[must_use]
    pub fn new() -> Self {
        Self::with_capacity(0)
    }

    /// An empty buffer with room for `bytes`.
    #[must_use]
    pub fn with_capacity(bytes: usize) -> Self {
        let mut buffer = Vec::with_capacity(bytes.max(HEADER.len()));
        buffer.extend_from_slice(&HEADER);
        Self { bytes: buffer, rows: 0, missing_columns: 0 }
    }

    /// Size so far, header included.
    #[must_use]
    pub fn len_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Rows begun so far.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Whether no row was begun.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// Forgets the rows and keeps the memory.
    pub fn clear(&mut self) {
        self.bytes.truncate(HEADER.len());
        self.rows = 0;
        self.missing_columns = 0;
    }

    /// Begins a row of `columns` columns.
    pub fn row(&mut self, columns: i16) {
        debug_assert_eq!(self.missing_columns, 0, "the row before this one lacks columns");
        self.bytes.extend_from_slice(&columns.to_be_bytes());
        self.rows += 1;
        self.missing_columns = columns;
    }

    fn fixed<const N: usize>(&mut self, value: [u8; N]) {
        self.begin_field(N);
        self.bytes.extend_from_slice(&value);
    }

    fn begin_field(&mut self, length: usize) {
        debug_assert!(self.missing_columns > 0, "more values than the row has columns");
        self.missing_columns -= 1;
        let length = i32::try_from(length).expect("a field is below Postgres's own limit of 1 GiB");
        self.bytes.extend_from_slice(&length.to_be_bytes());
    }

    /// NULL, for a column of any type.
    pub fn put_null(&mut self) {
        debug_assert!(self.missing_columns > 0, "more values than the row has columns");
        self.missing_columns -= 1;
        self.bytes.extend_from_slice(&(-1_i32).to_be_bytes());
    }

    /// `Some` through `put`, `None` as NULL: `rows.put_opt(name, CopyBuffer::put_text)`.
    pub fn put_opt<T>(&mut self, value: Option<T>, put: impl FnOnce(&mut Self, T)) {
        match value {
            Some(value) => put(self, value),
            None => self.put_null(),
        }
    }

    /// `smallint`.
    pub fn put_i16(&mut self, value: i16) {
        self.fixed(value.to_be_bytes());
    }

    /// `integer`.
    pub fn put_i32(&mut self, value: i32) {
        self.fixed(value.to_be_bytes());
    }

    /// `bigint`.
    pub fn put_i64(&mut self, value: i64) {
        self.fixed(value.to_be_bytes());
    }

    /// `boolean`.
    pub fn put_bool(&mut self, value: bool) {
        self.fixed([u8::from(value)]);
    }

    /// `text`, and the label of an enum. Postgres refuses a text with a NUL in it.
    pub fn put_text(&mut self, value: &str) {
        self.put_bytea(value.as_bytes());
    }

    /// `bytea`.
    pub fn put_bytea(&mut self, value: &[u8]) {
        self.begin_field(value.len());
        self.bytes.extend_from_slice(value);
    }

    /// `text` of the form `0x…`, lower-case: how addresses are kept.
    pub fn put_hex_text(&mut self, value: &[u8]) {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        self.begin_field(2 + 2 * value.len());
        self.bytes.extend_from_slice(b"0x");
        self.bytes.extend(
            value.iter().flat_map(|byte| [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]),
        );
    }

    /// `uuid`.
    pub fn put_uuid(&mut self, value: Uuid) {
        self.fixed(value.into_bytes());
    }

    /// `jsonb`, from its JSON text.
    pub fn put_jsonb(&mut self, json: &[u8]) {
        const VERSION: u8 = 1;
        self.begin_field(1 + json.len());
        self.bytes.push(VERSION);
        self.bytes.extend_from_slice(json);
    }

    /// `timestamptz`, to the microsecond.
    pub fn put_timestamptz(&mut self, value: OffsetDateTime) {
        self.put_timestamptz_unix_micros(value.unix_timestamp() * 1_000_000 + i64::from(value.microsecond()));
    }

    /// `timestamptz`, from microseconds since 1970.
    pub fn put_timestamptz_unix_micros(&mut self, micros: i64) {
        self.put_i64(micros - POSTGRES_EPOCH_UNIX_MICROS);
    }

    /// `numeric` of scale 0.
    pub fn put_numeric_u64(&mut self, value: u64) {
        self.put_numeric_u256([value, 0, 0, 0]);
    }

    /// `numeric` of scale 0.
    pub fn put_amount(&mut self, value: &Amount) {
        self.put_numeric_u256(*value.0.as_limbs());
    }

    /// `numeric` of scale 0, from 32 bytes, most significant first (a word of the EVM).
    pub fn put_numeric_u256_be(&mut self, word: &[u8; 32]) {
        let limb = |at: usize| word[at..at + 8].iter().fold(0_u64, |limb, byte| limb << 8 | u64::from(*byte));
        self.put_numeric_u256([limb(24), limb(16), limb(8), limb(0)]);
    }

    /// `numeric` of scale 0, from four limbs, least significant first.
    pub fn put_numeric_u256(&mut self, mut limbs: [u64; 4]) {
        // Least significant first. Each round takes off four digits and leaves a quotient that is 10^16 times smaller, so
        // that five rounds are always enough.
        let mut digits = [0_u16; MAX_DIGITS];
        let mut used = 0;
        let mut top = 4;
        loop {
            while top > 0 && limbs[top - 1] == 0 {
                top -= 1;
            }
            if top == 0 {
                break;
            }
            let mut part = divide(&mut limbs[..top], TEN_POW_16);
            for _ in 0..4 {
                digits[used] = low_digit(&mut part);
                used += 1;
            }
        }
        while used > 0 && digits[used - 1] == 0 {
            used -= 1;
        }
        // Postgres keeps neither leading nor trailing zero digits: the weight says how many were dropped.
        let trailing = digits[..used].iter().take_while(|digit| **digit == 0).count();
        let kept = &digits[trailing..used];
        let count = u16::try_from(kept.len()).expect("at most 20 digits");
        let weight = u16::try_from(used.saturating_sub(1)).expect("at most 20 digits");

        self.begin_field(8 + 2 * kept.len());
        self.bytes.extend_from_slice(&count.to_be_bytes());
        self.bytes.extend_from_slice(&weight.to_be_bytes());
        self.bytes.extend_from_slice(&[0; 4]); // positive, no decimals shown
        self.bytes.extend(kept.iter().rev().flat_map(|digit| digit.to_be_bytes()));
    }

    /// Sends everything through `statement` (a `COPY … FROM STDIN (FORMAT binary)`) and returns the number of rows that the
    /// server took. Nothing is sent for an empty buffer. Only within a transaction: the driver loses count of the answers when the future is
    /// dropped half way, and a [`Tx`](crate::Tx) that is dropped with it sees to that.
    ///
    /// # Errors
    /// When no transaction is open, and the database's: a type that does not fit, a violated constraint, a lost connection. The
    /// statement had no effect then.
    pub async fn write(mut self, conn: &mut PgConnection, statement: &str) -> Result<u64, sqlx::Error> {
        self.write_and_clear(conn, statement).await
    }

    /// As [`CopyBuffer::write`], and leaves the buffer empty with its memory kept, when it succeeds.
    ///
    /// # Errors
    /// As [`CopyBuffer::write`].
    pub async fn write_and_clear(
        &mut self,
        conn: &mut PgConnection,
        statement: &str,
    ) -> Result<u64, sqlx::Error> {
        debug_assert_eq!(self.missing_columns, 0, "the last row lacks columns");
        if self.is_empty() {
            return Ok(0);
        }
        if PgTransactionManager::get_transaction_depth(conn) == 0 {
            return Err(sqlx::Error::Configuration(OUTSIDE_OF_A_TRANSACTION.into()));
        }
        let mut copy = conn.copy_in_raw(statement).await?;
        for chunk in self.bytes.chunks(CHUNK_BYTES) {
            copy.send(chunk).await?;
        }
        copy.send(&TRAILER[..]).await?;
        let rows = copy.finish().await?;
        self.clear();
        Ok(rows)
    }
}

/// Divides in place and returns the remainder. Limbs are least significant first.
fn divide(limbs: &mut [u64], divisor: u64) -> u64 {
    if let [limb] = limbs {
        let remainder = *limb % divisor;
        *limb /= divisor;
        return remainder;
    }
    let mut remainder = 0_u64;
    for limb in limbs.iter_mut().rev() {
        let dividend = u128::from(remainder) << 64 | u128::from(*limb);
        let quotient = dividend / u128::from(divisor);
        remainder = u64::try_from(dividend % u128::from(divisor)).expect("a remainder is below its divisor");
        *limb =
            u64::try_from(quotient).expect("the remainder above was below the divisor, so the quotient fits");
    }
    remainder
}

fn low_digit(part: &mut u64) -> u16 {
    let digit = u16::try_from(*part % 10_000).expect("below 10000");
    *part /= 10_000;
    digit
}

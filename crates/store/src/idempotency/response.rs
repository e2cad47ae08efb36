//! An answer as it is kept, and given again.

use serde_json::Value;

use super::IdempotencyError;

/// The largest body that is kept. An answer of a write is small; what is large is read by a GET.
pub const RESPONSE_MAX_BYTES: usize = 256 * 1024;

/// An answer to a write: whole, not a stream, and final, not a failure of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

/// What there is to give again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Replay {
    /// The first answer.
    Response(Response),
    /// The first answer carried a secret and was not kept.
    Withheld {
        /// Its status.
        status: u16,
    },
}

impl Response {
    /// An answer with this status, these content headers and this body.
    ///
    /// # Errors
    /// [`IdempotencyError::NotAnOutcome`] for a status below 200 or above 499: a 5xx is tried again, not frozen.
    /// [`IdempotencyError::ResponseTooLarge`] above [`RESPONSE_MAX_BYTES`]. [`IdempotencyError::Header`] for a value that is not printable
    /// ASCII: it could not be sent.
    pub fn new(status: u16, headers: Vec<(String, String)>, body: Vec<u8>) -> Result<Self, IdempotencyError> {
        if !(200..500).contains(&status) {
            return Err(IdempotencyError::NotAnOutcome { status });
        }
        if let Some((name, _)) =
            headers.iter().find(|(_, value)| !value.bytes().all(|byte| (b' '..=b'~').contains(&byte)))
        {
            return Err(IdempotencyError::Header { name: name.clone() });
        }
        if body.len() > RESPONSE_MAX_BYTES {
            return Err(IdempotencyError::ResponseTooLarge { bytes: body.len() });
        }
        Ok(Self { status, headers, body })
    }

    /// The HTTP status.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.status
    }

    /// Whether nothing was done, so that the answer carries no secret that was made.
    #[must_use]
    pub fn is_refusal(&self) -> bool {
        self.status >= 400
    }

    /// Names and values of the content headers.
    #[must_use]
    pub fn headers(&self) -> &[(String, String)] {
        &self.headers
    }

    /// The body's bytes.
    #[must_use]
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    pub(super) fn status_column(&self) -> i16 {
        i16::try_from(self.status).expect("an answer's status is at most 499")
    }

    pub(super) fn headers_json(&self) -> Value {
        self.headers.iter().map(|(name, value)| Value::from(vec![name.as_str(), value.as_str()])).collect()
    }

    /// From the columns of a row that is done.
    pub(super) fn from_row(status: i16, headers: Value, body: Vec<u8>) -> Option<Self> {
        let headers = serde_json::from_value(headers).ok()?;
        Self::new(u16::try_from(status).ok()?, headers, body).ok()
    }
}

use std::fmt;

use alloy_primitives::{B256, hex};
use uuid::Uuid;

/// A request's id as the chain carries it: 32 bytes.
///
/// Its text is the UUID when the first 16 bytes are zero (the UUID's bytes, left-padded: how Plimsoll puts a
/// `request_id` on chain), else the 32 bytes in hexadecimal. All zero means that there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(B256);

impl RequestId {
    /// Reads the on-chain form; `None` when it is all zero.
    #[must_use]
    pub fn from_chain(bytes: B256) -> Option<Self> {
        (!bytes.is_zero()).then_some(Self(bytes))
    }

    /// The on-chain form of a UUID.
    #[must_use]
    pub fn from_uuid(uuid: Uuid) -> Self {
        let mut bytes = [0; 32];
        bytes[16..].copy_from_slice(uuid.as_bytes());
        Self(B256::new(bytes))
    }

    /// The 32 bytes for the function's or event's `requestId`.
    #[must_use]
    pub fn to_chain(self) -> B256 {
        self.0
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (padding, tail) = self.0.split_at(16);
        match Uuid::from_slice(tail) {
            Ok(uuid) if padding.iter().all(|b| *b == 0) => write!(f, "{uuid}"),
            _ => f.write_str(&hex::encode_prefixed(self.0)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uuid_goes_to_the_chain_and_comes_back_as_itself() {
        let uuid = Uuid::from_u128(0x0123_4567_89ab_4cde_8f01_2345_6789_abcd);
        let id = RequestId::from_chain(RequestId::from_uuid(uuid).to_chain()).unwrap();
        assert_eq!(id.to_string(), uuid.to_string());
    }

    #[test]
    fn other_bytes_stay_hexadecimal_and_zero_is_none() {
        let id = RequestId::from_chain(B256::repeat_byte(0xab)).unwrap();
        assert_eq!(id.to_string(), format!("0x{}", "ab".repeat(32)));
        assert_eq!(RequestId::from_chain(B256::ZERO), None);
    }
}

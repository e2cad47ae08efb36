//! What browser and authenticator say, taken apart: client data (WebAuthn §5.8.1), authenticator data (§6.1), attestation objects (§6.5.4).
//! Pure. Nothing here trusts a length.

use ciborium::Value;
use serde::Deserialize;

use super::key::PublicKey;

const RP_ID_HASH_BYTES: usize = 32;
const AAGUID_BYTES: usize = 16;
/// WebAuthn §4, credential id.
const MAX_CREDENTIAL_ID_BYTES: usize = 1023;
/// Attestation statements nest a few levels; nothing that we read nests more.
const CBOR_DEPTH: usize = 16;

const USER_PRESENT: u8 = 1;
const USER_VERIFIED: u8 = 1 << 2;
const BACKUP_ELIGIBLE: u8 = 1 << 3;
const BACKED_UP: u8 = 1 << 4;
const ATTESTED: u8 = 1 << 6;
const EXTENDED: u8 = 1 << 7;

/// What the browser says it asked for.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ClientData {
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) challenge: String,
    pub(super) origin: String,
    #[serde(default)]
    pub(super) cross_origin: bool,
}

/// What the authenticator says.
#[derive(Debug)]
pub(super) struct AuthenticatorData<'a> {
    pub(super) rp_id_hash: &'a [u8],
    pub(super) is_user_present: bool,
    pub(super) is_user_verified: bool,
    pub(super) sign_count: u32,
    pub(super) attested: Option<Attested<'a>>,
}

/// A new credential.
#[derive(Debug)]
pub(super) struct Attested<'a> {
    pub(super) credential_id: &'a [u8],
    /// `None` when it is of a kind that we did not ask for.
    pub(super) key: Option<PublicKey>,
}

impl<'a> AuthenticatorData<'a> {
    /// `None` unless it is that, whole, and nothing after it.
    pub(super) fn parse(bytes: &'a [u8]) -> Option<Self> {
        let (rp_id_hash, rest) = bytes.split_at_checked(RP_ID_HASH_BYTES)?;
        let (&[flags, a, b, c, d], mut rest) = rest.split_first_chunk::<5>()?;
        if flags & BACKED_UP != 0 && flags & BACKUP_ELIGIBLE == 0 {
            return None;
        }
        let mut attested = None;
        if flags & ATTESTED != 0 {
            let (_, after) = rest.split_at_checked(AAGUID_BYTES)?;
            let (length, after) = after.split_first_chunk::<2>()?;
            let length = usize::from(u16::from_be_bytes(*length));
            let (credential_id, after) = after.split_at_checked(length)?;
            if credential_id.is_empty() || length > MAX_CREDENTIAL_ID_BYTES {
                return None;
            }
            rest = after;
            attested = Some(Attested { credential_id, key: PublicKey::from_cose(&cbor(&mut rest)?) });
        }
        if flags & EXTENDED != 0 && !cbor(&mut rest)?.is_map() {
            return None;
        }
        rest.is_empty().then_some(Self {
            rp_id_hash,
            is_user_present: flags & USER_PRESENT != 0,
            is_user_verified: flags & USER_VERIFIED != 0,
            sign_count: u32::from_be_bytes([a, b, c, d]),
            attested,
        })
    }
}

/// The authenticator data of an attestation object. Its statement is not looked at: we ask for none (§5.4.7), and any maker's key will do.
pub(super) fn attested_data(mut object: &[u8]) -> Option<Vec<u8>> {
    let fields = cbor(&mut object)?.into_map().ok()?;
    if !object.is_empty() {
        return None;
    }
    let data = fields.into_iter().find(|(name, _)| name.as_text() == Some("authData"))?.1;
    data.into_bytes().ok()
}

/// The next CBOR value; `bytes` is what follows it.
fn cbor(bytes: &mut &[u8]) -> Option<Value> {
    ciborium::de::from_reader_with_recursion_limit(bytes, CBOR_DEPTH).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn authenticator_data_is_read_whole_or_not_at_all() {
        let mut bytes = vec![7; 32];
        bytes.extend([USER_PRESENT | USER_VERIFIED, 0, 0, 1, 2]);
        let data = AuthenticatorData::parse(&bytes).unwrap();
        assert_eq!((data.is_user_present, data.is_user_verified, data.sign_count), (true, true, 258));
        for length in 0..bytes.len() {
            assert!(AuthenticatorData::parse(&bytes[..length]).is_none(), "{length} bytes");
        }
        bytes.push(0);
        assert!(AuthenticatorData::parse(&bytes).is_none(), "a byte too many");
        bytes.pop();
        bytes[32] |= EXTENDED;
        assert!(AuthenticatorData::parse(&bytes).is_none(), "extensions that are not there");
        bytes.push(0x80);
        assert!(AuthenticatorData::parse(&bytes).is_none(), "extensions that are no map");
        bytes[37] = 0xa0;
        assert!(AuthenticatorData::parse(&bytes).is_some());
        bytes[32] |= BACKED_UP;
        assert!(AuthenticatorData::parse(&bytes).is_none(), "backed up, and cannot be (§6.1.3)");
        bytes[32] |= BACKUP_ELIGIBLE;
        assert!(AuthenticatorData::parse(&bytes).is_some());
    }

    #[test]
    fn a_credential_has_an_id_of_1_to_1023_bytes() {
        for (length, is_read) in [(0_u16, false), (1, true), (1_023, true), (1_024, false)] {
            let mut bytes = vec![7; 32];
            bytes.extend([USER_PRESENT | ATTESTED, 0, 0, 0, 0]);
            bytes.extend([0; AAGUID_BYTES]);
            bytes.extend(length.to_be_bytes());
            bytes.extend(vec![1; length.into()]);
            // The key: a map of nothing, which is of no kind that we ask for.
            bytes.push(0xa0);
            assert_eq!(AuthenticatorData::parse(&bytes).is_some(), is_read, "{length}");
        }
    }

    #[test]
    fn an_attestation_object_is_one_map_and_nests_a_few_levels() {
        let object = |depth: usize| {
            let statement = (0..depth).fold(Value::Null, |inner, _| Value::Array(vec![inner]));
            let fields = [("attStmt", statement), ("authData", Value::Bytes(vec![1, 2]))];
            let fields = fields.map(|(name, value)| (Value::from(name), value)).to_vec();
            let mut bytes = Vec::new();
            ciborium::into_writer(&Value::Map(fields), &mut bytes).unwrap();
            bytes
        };
        assert_eq!(attested_data(&object(8)), Some(vec![1, 2]));
        assert_eq!(attested_data(&object(CBOR_DEPTH + 1)), None);
        assert_eq!(attested_data(&[object(8), vec![0]].concat()), None, "something follows it");
    }

    #[test]
    fn a_value_that_nests_without_end_is_no_value() {
        assert!(attested_data(&[0x81; 100_000]).is_none());
        assert!(attested_data(&[0x9b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]).is_none());
        assert!(attested_data(&[0x5b, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]).is_none());
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300), flags in any::<u8>()) {
            let _ = attested_data(&bytes);
            let mut bytes = bytes;
            if let Some(at) = bytes.get_mut(32) {
                *at = flags;
            }
            let _ = AuthenticatorData::parse(&bytes);
        }
    }
}

//! A call that a user authorised with a signature, and a signer of ours hands to the contract that takes it (`contracts/src/Forwarder.sol`): EIP-712, good once for each request's id.
//!
//! The signature is the user's word for exactly this call under exactly this request's id, on one chain and for one contract, until its deadline. The contract looks at all of it again; what is
//! looked at here only keeps a signer of ours from paying for what would revert.

use alloy_primitives::{Address, B256, Bytes, Signature, U256, hex, keccak256};
use plimsoll_chain::abi::Contracts;
use plimsoll_types::{RequestId, address_text};
use serde_json::{Value, json};

use crate::keys;
use crate::request::Call;

const DOMAIN_NAME: &str = "PlimsollForwarder";
const DOMAIN_VERSION: &str = "1";
const DOMAIN_TYPE: &str =
    "EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)";
const REQUEST_TYPE: &str =
    "ForwardRequest(address from,address to,bytes data,bytes32 requestId,uint256 deadline)";
const EXECUTE: &str = "execute(address,address,bytes,bytes32,uint256,bytes)";
const SIGNATURE_BYTES: usize = 65;

/// A call that a user authorises.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForwardRequest {
    /// The chain on which it is good.
    pub chain_id: u64,
    /// The contract that takes it.
    pub forwarder: Address,
    /// The user.
    pub from: Address,
    /// Who is called.
    pub to: Address,
    /// Calldata.
    pub data: Bytes,
    /// The request.
    pub request_id: RequestId,
    /// Until when it is good, in seconds since 1970, by the chain's clock.
    pub deadline: u64,
}

/// Why a signature authorises nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unauthorized {
    /// It has another length.
    #[error("has {0} bytes, and a signature has {SIGNATURE_BYTES}")]
    Length(usize),
    /// It is no signature that a contract takes.
    #[error("is no signature: {0}")]
    Garbled(&'static str),
    /// Somebody else signed, or something else was signed.
    #[error(
        "is not of {} over these fields, but of {}: sign what `/chain/tx/prepare` gives as `typed_data`", address_text(.expected), address_text(.found)
    )]
    Other {
        /// Who was to sign.
        expected: Address,
        /// Who did, if this is what was signed.
        found: Address,
    },
}

/// Whether this is a contract that is known, and takes users' authorisations.
#[must_use]
pub fn takes_authorizations(contracts: &Contracts, forwarder: &Address) -> bool {
    let selector = &keccak256(EXECUTE)[..4];
    contracts
        .get(forwarder)
        .is_some_and(|contract| contract.abi.functions().any(|function| function.selector() == selector))
}

impl ForwardRequest {
    /// What the user signs the hash of (EIP-712, `encode`).
    #[must_use]
    pub fn digest(&self) -> B256 {
        let domain = keccak256(words(&[
            keccak256(DOMAIN_TYPE),
            keccak256(DOMAIN_NAME),
            keccak256(DOMAIN_VERSION),
            number(self.chain_id),
            self.forwarder.into_word(),
        ]));
        let request = keccak256(words(&[
            keccak256(REQUEST_TYPE),
            self.from.into_word(),
            self.to.into_word(),
            keccak256(&self.data),
            self.request_id.to_chain(),
            number(self.deadline),
        ]));
        keccak256([&[0x19, 0x01], domain.as_slice(), request.as_slice()].concat())
    }

    /// The same, as wallets take it (`eth_signTypedData_v4`).
    #[must_use]
    pub fn typed_data(&self) -> Value {
        let field = |name: &str, kind: &str| json!({ "name": name, "type": kind });
        json!({
            "types": {
                "EIP712Domain": [
                    field("name", "string"), field("version", "string"), field("chainId", "uint256"), field("verifyingContract", "address"),
                ],
                "ForwardRequest": [
                    field("from", "address"), field("to", "address"), field("data", "bytes"), field("requestId", "bytes32"), field("deadline", "uint256"),
                ],
            },
            "primaryType": "ForwardRequest",
            "domain": {
                "name": DOMAIN_NAME, "version": DOMAIN_VERSION, "chainId": self.chain_id, "verifyingContract": address_text(&self.forwarder),
            },
            "message": {
                "from": address_text(&self.from),
                "to": address_text(&self.to),
                "data": hex::encode_prefixed(&self.data),
                "requestId": self.request_id.to_chain(),
                "deadline": self.deadline.to_string(),
            },
        })
    }

    /// The call that hands it to its contract, if this is the user's signature of it.
    ///
    /// # Errors
    /// It is not.
    pub fn call(&self, signature: &[u8]) -> Result<Call, Unauthorized> {
        let bytes: &[u8; SIGNATURE_BYTES] =
            signature.try_into().map_err(|_| Unauthorized::Length(signature.len()))?;
        let is_odd = match bytes[64] {
            0 | 27 => false,
            1 | 28 => true,
            _ => return Err(Unauthorized::Garbled("its `v` is none")),
        };
        let read = Signature::from_bytes_and_parity(&bytes[..64], is_odd);
        if read.normalize_s().is_some() {
            return Err(Unauthorized::Garbled("its `s` is in the upper half"));
        }
        let found = keys::signer_of(&self.digest(), &read)
            .ok_or(Unauthorized::Garbled("it is on no point of the curve"))?;
        if found != self.from {
            return Err(Unauthorized::Other { expected: self.from, found });
        }
        // As the contract's `ecrecover` takes it.
        let mut taken = *bytes;
        taken[64] = 27 + u8::from(is_odd);
        Ok(Call { to: Some(self.forwarder), value: U256::ZERO, data: self.execute(&taken) })
    }

    fn execute(&self, signature: &[u8]) -> Bytes {
        const HEADS: u64 = 6 * 32;
        let data = tail(&self.data);
        let signature_at = HEADS + u64::try_from(data.len()).unwrap_or(u64::MAX);
        let heads = words(&[
            self.from.into_word(),
            self.to.into_word(),
            number(HEADS),
            self.request_id.to_chain(),
            number(self.deadline),
            number(signature_at),
        ]);
        [&keccak256(EXECUTE)[..4], &heads, &data, &tail(signature)].concat().into()
    }
}

fn number(value: u64) -> B256 {
    U256::from(value).into()
}

fn words(words: &[B256]) -> Vec<u8> {
    words.iter().flat_map(|word| word.0).collect()
}

/// Bytes as the ABI has them behind the heads: their number, then they, filled up to whole words.
fn tail(bytes: &[u8]) -> Vec<u8> {
    let mut out = number(u64::try_from(bytes.len()).unwrap_or(u64::MAX)).to_vec();
    out.extend_from_slice(bytes);
    out.resize(out.len().next_multiple_of(32), 0);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::Secret;
    use uuid::Uuid;

    fn request(from: Address) -> ForwardRequest {
        ForwardRequest {
            chain_id: 31_337,
            forwarder: Address::repeat_byte(0xf0),
            from,
            to: Address::repeat_byte(0x70),
            data: Bytes::from_static(&[1, 2, 3, 4, 5]),
            request_id: RequestId::from_uuid(Uuid::from_u128(7)),
            deadline: 1_900_000_000,
        }
    }

    #[test]
    fn only_its_users_signature_over_every_field_authorises_it() {
        let secret = Secret::random();
        let request = request(secret.address());
        let signature = secret.sign(&request.digest()).as_bytes();
        let call = request.call(&signature).unwrap();
        assert_eq!((call.to, call.value), (Some(request.forwarder), U256::ZERO));
        assert_eq!((call.data.len() - 4) % 32, 0);
        // Parity as 0 and 1, as some wallets have it, is the same call.
        let mut plain = signature;
        plain[64] -= 27;
        assert_eq!(request.call(&plain).unwrap(), call);

        let changes: [fn(&mut ForwardRequest); 7] = [
            |r| r.chain_id = 1,
            |r| r.forwarder = Address::ZERO,
            |r| r.from = Address::ZERO,
            |r| r.to = Address::ZERO,
            |r| r.data = Bytes::new(),
            |r| r.request_id = RequestId::from_uuid(Uuid::from_u128(8)),
            |r| r.deadline += 1,
        ];
        for (place, change) in changes.iter().enumerate() {
            let mut other = request.clone();
            change(&mut other);
            assert!(matches!(other.call(&signature), Err(Unauthorized::Other { .. })), "change {place}");
        }
        assert_eq!(request.call(&signature[..64]), Err(Unauthorized::Length(64)));
        let mut odd = signature;
        odd[64] = 29;
        assert!(matches!(request.call(&odd), Err(Unauthorized::Garbled(_))));
    }
}

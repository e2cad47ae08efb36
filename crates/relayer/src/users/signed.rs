//! A signed transaction, read: who signed what, as consensus decodes it (EIP-155, EIP-2718, EIP-2930, EIP-1559). What would not be valid in any block is refused here.

use alloy_primitives::{Address, B256, Bytes, Signature, U256, keccak256};
use alloy_rlp::{Decodable, EMPTY_STRING_CODE, Encodable, Header};

use crate::fees::Fees;
use crate::keys;
use crate::request::{Call, DATA_MAX_BYTES};

const ACCESS_LIST: u8 = 1;
const DYNAMIC_FEE: u8 = 2;
/// A list begins with at least this (RLP); below it stands a type.
const FIRST_OF_A_LIST: u8 = 0xc0;

/// A transaction with the signature of its sender.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedTransaction {
    /// For which chain alone.
    pub chain_id: u64,
    /// Who signed.
    pub sender: Address,
    /// The sender's nonce.
    pub nonce: u64,
    /// What is offered.
    pub fees: Fees,
    /// Gas.
    pub gas_limit: u64,
    /// What it does.
    pub call: Call,
    /// Its bytes, whole.
    pub raw: Bytes,
    /// Their hash.
    pub tx_hash: B256,
}

/// Why bytes are no signed transaction that can be sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// They are not the encoding of a transaction.
    #[error("is not a transaction as consensus encodes it: {0}")]
    Encoding(&'static str),
    /// A type that is not taken here.
    #[error("is of type {0}: those of types 0, 1 and 2 are taken")]
    Kind(u8),
    /// It is good on every chain.
    #[error("is signed for no chain in particular, and could be sent on any (EIP-155)")]
    NoChain,
    /// Nobody signed it.
    #[error("has no valid signature: {0}")]
    Signature(&'static str),
    /// A number that no transaction has.
    #[error("has a {0} that no transaction has")]
    Range(&'static str),
}

impl From<alloy_rlp::Error> for Unreadable {
    fn from(_: alloy_rlp::Error) -> Self {
        Self::Encoding("a field is missing, too long, or not in its shortest form")
    }
}

/// What stands in a transaction before its signature.
struct Body {
    chain_id: Option<u64>,
    nonce: u64,
    fees: Fees,
    gas_limit: u64,
    call: Call,
}

impl SignedTransaction {
    /// Reads one.
    ///
    /// # Errors
    /// [`Unreadable`].
    pub fn read(raw: &Bytes) -> Result<Self, Unreadable> {
        let (body, signature, signed) = match raw.first() {
            None => return Err(Unreadable::Encoding("there is nothing")),
            Some(&first) if first >= FIRST_OF_A_LIST => legacy(raw)?,
            Some(&kind @ (ACCESS_LIST | DYNAMIC_FEE)) => typed(kind, raw)?,
            Some(&kind) => return Err(Unreadable::Kind(kind)),
        };
        let chain_id = body.chain_id.ok_or(Unreadable::NoChain)?;
        if signature.normalize_s().is_some() {
            return Err(Unreadable::Signature(
                "its `s` is in the upper half, where no chain takes it (EIP-2)",
            ));
        }
        let sender = keys::signer_of(&keccak256(&signed), &signature)
            .ok_or(Unreadable::Signature("it is on no point of the curve"))?;
        for (name, value) in [("chain id", chain_id), ("nonce", body.nonce), ("gas limit", body.gas_limit)] {
            if i64::try_from(value).is_err() {
                return Err(Unreadable::Range(name));
            }
        }
        if body.gas_limit == 0 {
            return Err(Unreadable::Range("gas limit"));
        }
        if body.call.data.len() > DATA_MAX_BYTES {
            return Err(Unreadable::Range("calldata"));
        }
        let Body { nonce, fees, gas_limit, call, .. } = body;
        if fees.max_priority_fee_per_gas.is_some_and(|tip| tip > fees.max_fee_per_gas) {
            return Err(Unreadable::Range("tip above its maximum"));
        }
        Ok(Self { chain_id, sender, nonce, fees, gas_limit, call, tx_hash: keccak256(raw), raw: raw.clone() })
    }
}

type Parts = (Body, Signature, Vec<u8>);

/// The fields of the list that this is, whole.
fn fields(mut bytes: &[u8]) -> Result<&[u8], Unreadable> {
    let payload = Header::decode_bytes(&mut bytes, true)?;
    match bytes {
        [] => Ok(payload),
        _ => Err(Unreadable::Encoding("something stands behind it")),
    }
}

fn call(fields: &mut &[u8]) -> Result<Call, Unreadable> {
    let to = match fields.first() {
        Some(&EMPTY_STRING_CODE) => {
            *fields = &fields[1..];
            None
        }
        _ => Some(Address::decode(fields)?),
    };
    Ok(Call { to, value: U256::decode(fields)?, data: Bytes::decode(fields)? })
}

fn legacy(raw: &[u8]) -> Result<Parts, Unreadable> {
    let all = fields(raw)?;
    let mut rest = all;
    let nonce = u64::decode(&mut rest)?;
    let fees = Fees { max_fee_per_gas: u128::decode(&mut rest)?, max_priority_fee_per_gas: None };
    let gas_limit = u64::decode(&mut rest)?;
    let call = call(&mut rest)?;
    let mut signed = all[..all.len() - rest.len()].to_vec();
    let v = u128::decode(&mut rest)?;
    let (chain_id, is_odd) = match v {
        27 | 28 => return Err(Unreadable::NoChain),
        35.. => {
            let id = u64::try_from((v - 35) / 2).map_err(|_| Unreadable::Range("chain id"))?;
            (id, (v - 35) % 2 == 1)
        }
        _ => return Err(Unreadable::Signature("its `v` is none")),
    };
    let signature = signature(&mut rest, is_odd)?;
    chain_id.encode(&mut signed);
    signed.extend([EMPTY_STRING_CODE; 2]);
    let body = Body { chain_id: Some(chain_id), nonce, fees, gas_limit, call };
    Ok((body, signature, listed(&signed)))
}

fn typed(kind: u8, raw: &[u8]) -> Result<Parts, Unreadable> {
    let all = fields(&raw[1..])?;
    let mut rest = all;
    let chain_id = u64::decode(&mut rest)?;
    let nonce = u64::decode(&mut rest)?;
    let tip = if kind == DYNAMIC_FEE { Some(u128::decode(&mut rest)?) } else { None };
    let fees = Fees { max_fee_per_gas: u128::decode(&mut rest)?, max_priority_fee_per_gas: tip };
    let gas_limit = u64::decode(&mut rest)?;
    let call = call(&mut rest)?;
    access_list(&mut rest)?;
    let signed = all[..all.len() - rest.len()].to_vec();
    let is_odd = bool::decode(&mut rest)?;
    let signature = signature(&mut rest, is_odd)?;
    let body = Body { chain_id: Some(chain_id), nonce, fees, gas_limit, call };
    Ok((body, signature, [&[kind], &listed(&signed)[..]].concat()))
}

/// Passes over an access list, each entry of which is an address and its slots (EIP-2930).
fn access_list(rest: &mut &[u8]) -> Result<(), Unreadable> {
    let mut entries = Header::decode_bytes(rest, true)?;
    while !entries.is_empty() {
        let mut entry = Header::decode_bytes(&mut entries, true)?;
        Address::decode(&mut entry)?;
        let mut slots = Header::decode_bytes(&mut entry, true)?;
        while !slots.is_empty() {
            B256::decode(&mut slots)?;
        }
        if !entry.is_empty() {
            return Err(Unreadable::Encoding(
                "an entry of its access list has more than an address and slots",
            ));
        }
    }
    Ok(())
}

/// The rest: `r` and `s`.
fn signature(rest: &mut &[u8], is_odd: bool) -> Result<Signature, Unreadable> {
    let (r, s) = (U256::decode(rest)?, U256::decode(rest)?);
    match rest {
        [] => Ok(Signature::new(r, s, is_odd)),
        _ => Err(Unreadable::Encoding("it has more fields than a transaction")),
    }
}

fn listed(payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(payload.len() + 9);
    Header { list: true, payload_length: payload.len() }.encode(&mut out);
    out.extend_from_slice(payload);
    out
}

#[cfg(test)]
mod tests {
    use alloy_primitives::hex;
    use proptest::prelude::{any, prop_assert_eq, proptest};

    use super::*;
    use crate::envelope::Unsigned;
    use crate::keys::Secret;

    const KEY: [u8; 32] = hex!("ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80");

    fn unsigned(tip: Option<u128>, to: Option<Address>) -> Unsigned {
        Unsigned {
            chain_id: 31_337,
            nonce: 7,
            fees: Fees { max_fee_per_gas: 30, max_priority_fee_per_gas: tip },
            gas_limit: 100_000,
            call: Call { to, value: U256::from(5), data: Bytes::from_static(&[1, 2, 3]) },
        }
    }

    fn signed(unsigned: &Unsigned) -> Bytes {
        let secret = Secret::new(&KEY).unwrap();
        unsigned.signed(&secret.sign(&keccak256(unsigned.payload()))).raw
    }

    #[test]
    fn what_was_signed_is_read_back_with_its_signer() {
        for tip in [None, Some(2)] {
            for to in [None, Some(Address::repeat_byte(9))] {
                let unsigned = unsigned(tip, to);
                let raw = signed(&unsigned);
                let read = SignedTransaction::read(&raw).unwrap();
                let Unsigned { chain_id, nonce, fees, gas_limit, call } = unsigned;
                let sender = Secret::new(&KEY).unwrap().address();
                let tx_hash = keccak256(&raw);
                let expected =
                    SignedTransaction { chain_id, sender, nonce, fees, gas_limit, call, raw, tx_hash };
                assert_eq!(read, expected);
            }
        }
    }

    /// EIP-155's own example.
    #[test]
    fn the_example_of_the_standard_is_read() {
        let raw = hex!(
            "f86c098504a817c800825208943535353535353535353535353535353535353535880de0b6b3a76400008025a028ef61340bd939bc2195fe537567866003e1a15d3c71ff63e1590620aa636276a067cbe9d8997f761aecb703304b3800ccf555c9f3dc64214b297fb1966a3b6d83"
        );
        let read = SignedTransaction::read(&raw.into()).unwrap();
        assert_eq!((read.chain_id, read.nonce, read.gas_limit), (1, 9, 21_000));
        assert_eq!(read.sender, alloy_primitives::address!("9d8A62f656a8d1615C1294fd71e9CFb3E4855A4F"));
    }

    #[test]
    fn no_byte_can_be_changed_cut_off_or_added_and_be_the_same_senders() {
        let sender = Secret::new(&KEY).unwrap().address();
        for tip in [None, Some(2)] {
            let raw = signed(&unsigned(tip, Some(Address::repeat_byte(9))));
            for place in 0..raw.len() {
                let mut other = raw.to_vec();
                other[place] ^= 1;
                let read = SignedTransaction::read(&other.into());
                assert!(read.is_err() || read.is_ok_and(|read| read.sender != sender), "byte {place}");
                assert!(SignedTransaction::read(&raw.slice(..place)).is_err(), "{place} bytes of it");
            }
            let more = [&raw[..], &[0]].concat();
            assert!(SignedTransaction::read(&more.into()).is_err());
        }
    }

    #[test]
    fn what_no_chain_takes_is_refused_and_says_why() {
        let said = |raw: &[u8]| SignedTransaction::read(&raw.to_vec().into()).unwrap_err().to_string();
        assert!(said(&[]).contains("nothing"));
        assert!(said(&[3, 0xc0]).contains("type 3"));
        assert!(said(&[4]).contains("type 4"));
        let mut none = unsigned(Some(2), None);
        none.gas_limit = 0;
        assert!(said(&signed(&none)).contains("gas limit"));
        let mut upside_down = unsigned(Some(2), None);
        upside_down.fees.max_fee_per_gas = 1;
        assert!(said(&signed(&upside_down)).contains("tip above"));
        // Before EIP-155 a signature was good on every chain.
        let unsigned = unsigned(None, None);
        let mut fields = Vec::new();
        unsigned.nonce.encode(&mut fields);
        unsigned.fees.max_fee_per_gas.encode(&mut fields);
        unsigned.gas_limit.encode(&mut fields);
        fields.push(EMPTY_STRING_CODE);
        unsigned.call.value.encode(&mut fields);
        unsigned.call.data.encode(&mut fields);
        for part in [U256::from(27), U256::from(1), U256::from(1)] {
            part.encode(&mut fields);
        }
        assert!(said(&listed(&fields)).contains("EIP-155"));
    }

    proptest! {
        #[test]
        fn whatever_comes_is_read_or_refused_and_what_is_read_is_written_so(bytes in proptest::collection::vec(any::<u8>(), 0..300), kind in 0_u8..4) {
            let listed = [&[kind][..], &listed(&bytes)].concat();
            for raw in [bytes, listed] {
                if let Ok(read) = SignedTransaction::read(&raw.clone().into()) {
                    prop_assert_eq!(&read.raw[..], &raw[..]);
                }
            }
        }

        #[test]
        fn whatever_is_signed_is_read_back(
            chain_id in 1..u64::MAX / 4, nonce in 0..u64::MAX / 2, fee: u128, tip in proptest::option::of(any::<u128>()), gas_limit in 1..u64::MAX / 2,
            to in proptest::option::of(any::<[u8; 20]>()), value: [u8; 32], data in proptest::collection::vec(any::<u8>(), 0..200)
        ) {
            let fees = Fees { max_fee_per_gas: fee, max_priority_fee_per_gas: tip.map(|tip| tip.min(fee)) };
            let call = Call { to: to.map(Address::from), value: U256::from_be_bytes(value), data: data.into() };
            let unsigned = Unsigned { chain_id, nonce, fees, gas_limit, call };
            let read = SignedTransaction::read(&signed(&unsigned)).unwrap();
            let SignedTransaction { chain_id, sender, nonce, fees, gas_limit, call, .. } = read;
            prop_assert_eq!(Unsigned { chain_id, nonce, fees, gas_limit, call }, unsigned);
            prop_assert_eq!(sender, Secret::new(&KEY).unwrap().address());
        }
    }
}

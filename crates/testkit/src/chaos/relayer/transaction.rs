//! Transactions as the simulated nodes read them, by a reading of their own; and a key whose signatures cost nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use alloy_primitives::{Address, B256, Bytes, Signature, TxKind, U256, keccak256};
use alloy_rlp::{Buf as _, Decodable, Header};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use plimsoll_relayer::envelope::Unsigned;
use plimsoll_relayer::fees::Fees;
use plimsoll_relayer::keys::{Key, KeyError};
use plimsoll_relayer::request::Call;
use tokio::time::sleep;
use uuid::Uuid;

use super::world::CHAIN_ID;

/// The type of transactions with a base fee.
const DYNAMIC_FEE: u8 = 2;
/// What a call of the counter begins with that counts its request.
const PERFORM: [u8; 4] = [0x50, 0x45, 0x52, 0x46];
/// What begins a call that always reverts.
const FAIL: [u8; 4] = [0x46, 0x41, 0x49, 0x4c];

/// A signed transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Signed {
    pub(super) hash: B256,
    pub(super) sender: Address,
    pub(super) nonce: u64,
    pub(super) to: Option<Address>,
    pub(super) value: U256,
    pub(super) data: Bytes,
    pub(super) gas_limit: u64,
    pub(super) max_fee: u128,
    pub(super) tip: u128,
}

/// What a call does on the simulated chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    /// Nothing.
    None,
    /// It counts the request.
    Counts(Uuid),
    /// It reverts.
    Reverts,
}

/// The calldata with this effect.
pub(super) fn calldata(effect: Effect) -> Bytes {
    match effect {
        Effect::None => Bytes::new(),
        Effect::Counts(id) => [&PERFORM[..], &[0; 16], id.as_bytes()].concat().into(),
        Effect::Reverts => FAIL.into(),
    }
}

/// What this calldata does.
pub(super) fn effect(data: &[u8]) -> Effect {
    match data {
        data if data.starts_with(&FAIL) => Effect::Reverts,
        data if data.starts_with(&PERFORM) && data.len() == 36 => {
            Effect::Counts(Uuid::from_slice(&data[20..]).expect("16 bytes"))
        }
        _ => Effect::None,
    }
}

impl Signed {
    /// What a pool must be sure of, in wei.
    pub(super) fn max_cost(&self) -> U256 {
        U256::from(self.gas_limit) * U256::from(self.max_fee) + self.value
    }

    /// Reads the bytes of a transaction of this chain; none if they are none.
    pub(super) fn read(raw: &[u8]) -> Option<Self> {
        let hash = keccak256(raw);
        let is_dynamic = raw.first() == Some(&DYNAMIC_FEE);
        let mut rest = if is_dynamic { &raw[1..] } else { raw };
        let header = Header::decode(&mut rest).ok()?;
        if !header.list || header.payload_length != rest.len() {
            return None;
        }
        if is_dynamic && field::<u64>(&mut rest)? != CHAIN_ID {
            return None;
        }
        let nonce = field(&mut rest)?;
        let (tip, max_fee) = if is_dynamic {
            (field(&mut rest)?, field(&mut rest)?)
        } else {
            let price = field(&mut rest)?;
            (price, price)
        };
        let gas_limit = field(&mut rest)?;
        let to = field::<TxKind>(&mut rest)?.into_to();
        let (value, data) = (field(&mut rest)?, field(&mut rest)?);
        if is_dynamic {
            let list = Header::decode(&mut rest).ok()?;
            rest.advance(list.payload_length);
        }
        let _parity: u128 = field(&mut rest)?;
        let _r: U256 = field(&mut rest)?;
        // As `Pen` signs: see there.
        let sender = Address::from_word(field::<U256>(&mut rest)?.into());
        rest.is_empty().then_some(Self { hash, sender, nonce, to, value, data, gas_limit, max_fee, tip })
    }
}

fn field<T: Decodable>(rest: &mut &[u8]) -> Option<T> {
    T::decode(rest).ok()
}

/// A key of the simulated chain, where a signature is the hash of what was signed and the name of who signed it: nobody forges here, and
/// thousands of runs sign millions of times. What it does is done at once, where it was asked for, so that nothing depends on other threads.
#[derive(Clone, Debug)]
pub(super) struct Pen {
    address: Address,
    is_away: Arc<AtomicBool>,
    takes: Duration,
}

impl Pen {
    /// A key that takes so long to sign: a remote signer has its own ways, and somebody's hardware behind it.
    pub(super) fn new(address: Address, takes: Duration) -> Self {
        Self { address, is_away: Arc::default(), takes }
    }

    /// Cannot be reached, or can be again.
    pub(super) fn goes_away(&self, is_away: bool) {
        self.is_away.store(is_away, Ordering::Relaxed);
    }

    fn answer(&self, payload: &[u8]) -> Result<Signature, KeyError> {
        if self.is_away.load(Ordering::Relaxed) {
            return Err(KeyError::Unavailable { at: "the pen".to_owned(), why: "it is away".to_owned() });
        }
        Ok(self.signature(payload))
    }

    fn signature(&self, payload: &[u8]) -> Signature {
        Signature::new(keccak256(payload).into(), self.address.into_word().into(), false)
    }

    /// A transaction of somebody who has the same key.
    pub(super) fn writes(&self, nonce: u64, fees: Fees, gas_limit: u64, call: Call) -> Signed {
        let unsigned = Unsigned { chain_id: CHAIN_ID, nonce, fees, gas_limit, call };
        let signed = unsigned.signed(&self.signature(&unsigned.payload()));
        Signed::read(&signed.raw).expect("what was just written can be read")
    }
}

impl Key for Pen {
    fn address(&self) -> Address {
        self.address
    }

    fn sign<'a>(&'a self, payload: &'a [u8]) -> BoxFuture<'a, Result<Signature, KeyError>> {
        async move {
            sleep(self.takes).await;
            self.answer(payload)
        }
        .boxed()
    }

    fn sign_all<'a>(&'a self, payloads: &'a [Vec<u8>]) -> BoxFuture<'a, Vec<Result<Signature, KeyError>>> {
        async move {
            sleep(self.takes).await;
            payloads.iter().map(|payload| self.answer(payload)).collect()
        }
        .boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_relayer_writes_is_read_as_it_was_meant() {
        let pen = Pen::new(Address::repeat_byte(7), Duration::ZERO);
        for (fees, tip) in [(Some(3), 3), (None, 9)] {
            let fees = Fees { max_fee_per_gas: 9, max_priority_fee_per_gas: fees };
            let id = Uuid::from_u128(77);
            let call = Call {
                to: Some(Address::repeat_byte(1)),
                value: U256::from(5),
                data: calldata(Effect::Counts(id)),
            };
            let read = pen.writes(4, fees, 21_000, call.clone());
            assert_eq!((read.sender, read.nonce, read.max_fee, read.tip), (pen.address, 4, 9, tip));
            assert_eq!((read.to, read.value, read.gas_limit), (call.to, call.value, 21_000));
            assert_eq!(effect(&read.data), Effect::Counts(id));
        }
        assert_eq!(effect(&calldata(Effect::None)), Effect::None);
        assert_eq!(effect(&calldata(Effect::Reverts)), Effect::Reverts);
    }
}

//! Transactions as consensus encodes them: what is signed, what is sent, and its hash (EIP-155, EIP-1559, EIP-2718).

use alloy_primitives::{B256, Bytes, Signature, keccak256};
use alloy_rlp::{EMPTY_STRING_CODE, Encodable, Header};

use crate::request::Call;

/// The type of transactions with a base fee (EIP-1559).
const DYNAMIC_FEE: u8 = 2;

/// What is offered for a unit of gas, in wei.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offer {
    /// Where blocks have a base fee (EIP-1559).
    Dynamic {
        /// At most so much altogether.
        max_fee_per_gas: u128,
        /// Of that, to whoever makes the block.
        max_priority_fee_per_gas: u128,
    },
    /// Where they have none.
    Legacy {
        /// So much.
        gas_price: u128,
    },
}

impl Offer {
    /// The most that a unit of gas may cost.
    #[must_use]
    pub fn max(self) -> u128 {
        match self {
            Self::Dynamic { max_fee_per_gas, .. } => max_fee_per_gas,
            Self::Legacy { gas_price } => gas_price,
        }
    }

    /// The part for whoever makes the block, where it is told apart.
    #[must_use]
    pub fn tip(self) -> Option<u128> {
        match self {
            Self::Dynamic { max_priority_fee_per_gas, .. } => Some(max_priority_fee_per_gas),
            Self::Legacy { .. } => None,
        }
    }
}

/// A transaction before it is signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsigned {
    /// The chain.
    pub chain_id: u64,
    /// The signer's nonce.
    pub nonce: u64,
    /// What is offered.
    pub offer: Offer,
    /// Gas.
    pub gas_limit: u64,
    /// What it does.
    pub call: Call,
}

/// A transaction as it is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signed {
    /// The bytes.
    pub raw: Bytes,
    /// Its hash, by which the chain will know it.
    pub tx_hash: B256,
}

impl Unsigned {
    /// What is signed: the hash of these bytes is.
    #[must_use]
    pub fn payload(&self) -> Vec<u8> {
        self.encode(|out| {
            if matches!(self.offer, Offer::Legacy { .. }) {
                self.chain_id.encode(out);
                out.extend([EMPTY_STRING_CODE; 2]);
            }
        })
    }

    /// The transaction with this signature.
    #[must_use]
    pub fn signed(&self, signature: &Signature) -> Signed {
        let is_odd = u64::from(signature.v());
        let raw = self.encode(|out| {
            match self.offer {
                Offer::Dynamic { .. } => is_odd.encode(out),
                Offer::Legacy { .. } => (u128::from(self.chain_id) * 2 + 35 + u128::from(is_odd)).encode(out),
            }
            signature.r().encode(out);
            signature.s().encode(out);
        });
        Signed { tx_hash: keccak256(&raw), raw: raw.into() }
    }

    fn encode(&self, tail: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
        let mut fields = Vec::with_capacity(self.call.data.len() + 192);
        match self.offer {
            Offer::Dynamic { max_fee_per_gas, max_priority_fee_per_gas } => {
                self.chain_id.encode(&mut fields);
                self.nonce.encode(&mut fields);
                max_priority_fee_per_gas.encode(&mut fields);
                max_fee_per_gas.encode(&mut fields);
            }
            Offer::Legacy { gas_price } => {
                self.nonce.encode(&mut fields);
                gas_price.encode(&mut fields);
            }
        }
        self.gas_limit.encode(&mut fields);
        match &self.call.to {
            Some(to) => to.encode(&mut fields),
            None => fields.push(EMPTY_STRING_CODE),
        }
        self.call.value.encode(&mut fields);
        self.call.data.encode(&mut fields);
        if matches!(self.offer, Offer::Dynamic { .. }) {
            Header { list: true, payload_length: 0 }.encode(&mut fields); // no access list
        }
        tail(&mut fields);

        let mut out = Vec::with_capacity(fields.len() + 10);
        if matches!(self.offer, Offer::Dynamic { .. }) {
            out.push(DYNAMIC_FEE);
        }
        Header { list: true, payload_length: fields.len() }.encode(&mut out);
        out.extend(fields);
        out
    }
}

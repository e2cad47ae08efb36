//! Transactions as consensus encodes them: what is signed, what is sent, and its hash (EIP-155, EIP-1559, EIP-2718).

use alloy_primitives::{B256, Bytes, Signature, keccak256};
use alloy_rlp::{EMPTY_STRING_CODE, Encodable, Header};

use crate::fees::Fees;
use crate::request::Call;

/// The type of transactions with a base fee (EIP-1559).
const DYNAMIC_FEE: u8 = 2;

/// A transaction before it is signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsigned {
    /// The chain.
    pub chain_id: u64,
    /// The signer's nonce.
    pub nonce: u64,
    /// What is offered.
    pub fees: Fees,
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
            if !self.is_dynamic() {
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
            if self.is_dynamic() {
                is_odd.encode(out);
            } else {
                (u128::from(self.chain_id) * 2 + 35 + u128::from(is_odd)).encode(out);
            }
            signature.r().encode(out);
            signature.s().encode(out);
        });
        Signed { tx_hash: keccak256(&raw), raw: raw.into() }
    }

    /// Whether it has a tip of its own.
    fn is_dynamic(&self) -> bool {
        self.fees.max_priority_fee_per_gas.is_some()
    }

    fn encode(&self, tail: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
        let mut fields = Vec::with_capacity(self.call.data.len() + 192);
        if let Some(max_priority_fee_per_gas) = self.fees.max_priority_fee_per_gas {
            self.chain_id.encode(&mut fields);
            self.nonce.encode(&mut fields);
            max_priority_fee_per_gas.encode(&mut fields);
        } else {
            self.nonce.encode(&mut fields);
        }
        self.fees.max_fee_per_gas.encode(&mut fields);
        self.gas_limit.encode(&mut fields);
        match &self.call.to {
            Some(to) => to.encode(&mut fields),
            None => fields.push(EMPTY_STRING_CODE),
        }
        self.call.value.encode(&mut fields);
        self.call.data.encode(&mut fields);
        if self.is_dynamic() {
            Header { list: true, payload_length: 0 }.encode(&mut fields); // no access list
        }
        tail(&mut fields);

        let mut out = Vec::with_capacity(fields.len() + 10);
        if self.is_dynamic() {
            out.push(DYNAMIC_FEE);
        }
        Header { list: true, payload_length: fields.len() }.encode(&mut out);
        out.extend(fields);
        out
    }
}

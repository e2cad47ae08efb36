//! How a transaction of each type is encoded: what its hash is of, and what the trie of transactions holds.

use alloy_primitives::{Address, B256, U256, keccak256};
use alloy_rlp::{EMPTY_STRING_CODE, Encodable};

use super::{AccessListItem, Authorization, Transaction};
use crate::{rlp, tx_type};

/// Why a transaction's encoding cannot be told from what the node gave.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unencodable {
    /// Nobody here knows how it is encoded.
    #[error("it is not known how {} are encoded", tx_type::name(*.0))]
    UnknownType(
        /// The type.
        u8,
    ),
    /// A transaction from before Nitro: what its hash was made of is gone.
    #[error("the hashes of {} do not follow from their fields", tx_type::name(*.0))]
    HashApart(
        /// The type.
        u8,
    ),
    /// A transaction without a signature, such as Anvil makes for an impersonated account: its hash is that of something else, and
    /// how it came about is the node's affair.
    #[error("the transaction has no signature, and its hash is not that of its fields")]
    Unsigned,
    /// A field that the type has is not there.
    #[error("{} have `{field}`, and this one does not", tx_type::name(*.tx_type))]
    Missing {
        /// The type.
        tx_type: u8,
        /// The field's name in the answer.
        field: &'static str,
    },
}

impl Transaction {
    /// The transaction as consensus encodes it: EIP-2718 and the EIP of its type, the yellow paper for type 0,
    /// `core/types/arb_types.go` of Nitro's go-ethereum for Arbitrum's own.
    ///
    /// # Errors
    /// Where the type is not known, or a field of it is missing.
    pub fn encode(&self) -> Result<Vec<u8>, Unencodable> {
        let mut out = Vec::with_capacity(self.input.len() + 256);
        let start = self.begin(&mut out);
        self.encode_fields(&mut out)?;
        if self.is_signed() {
            self.need(self.parity_field(), "v")?.encode(&mut out);
            self.need(self.r.as_ref(), "r")?.encode(&mut out);
            self.need(self.s.as_ref(), "s")?.encode(&mut out);
        }
        rlp::close_list(&mut out, start);
        Ok(out)
    }

    /// The hash that the fields have, whatever was claimed.
    ///
    /// # Errors
    /// As [`Transaction::encode`].
    pub fn compute_hash(&self) -> Result<B256, Unencodable> {
        self.encode().map(keccak256)
    }

    /// What the sender signed: the fields without the signature, and with the chain for type 0 where it is protected (EIP-155).
    pub(super) fn signing_hash(&self, protected: Option<U256>) -> Result<B256, Unencodable> {
        let mut out = Vec::with_capacity(self.input.len() + 256);
        let start = self.begin(&mut out);
        self.encode_fields(&mut out)?;
        if let Some(chain_id) = protected {
            chain_id.encode(&mut out);
            out.extend([EMPTY_STRING_CODE; 2]);
        }
        rlp::close_list(&mut out, start);
        Ok(keccak256(out))
    }

    /// Whether transactions of the type carry a signature. Arbitrum's own come from the parent chain, or from within.
    pub(super) fn is_signed(&self) -> bool {
        self.tx_type <= 4
    }

    /// Whether the signature is of zeros, which no key makes.
    pub(crate) fn has_empty_signature(&self) -> bool {
        self.is_signed() && self.r == Some(U256::ZERO) && self.s == Some(U256::ZERO)
    }

    /// The signature's first part.
    pub(super) fn parity_field(&self) -> Option<&U256> {
        if self.tx_type == 0 { self.v.as_ref() } else { self.y_parity.as_ref().or(self.v.as_ref()) }
    }

    fn begin(&self, out: &mut Vec<u8>) -> usize {
        if self.tx_type != 0 {
            out.push(self.tx_type);
        }
        out.len()
    }

    fn need<'a, T>(&self, field: Option<&'a T>, name: &'static str) -> Result<&'a T, Unencodable> {
        field.ok_or(Unencodable::Missing { tx_type: self.tx_type, field: name })
    }

    /// All but the signature.
    fn encode_fields(&self, out: &mut Vec<u8>) -> Result<(), Unencodable> {
        match self.tx_type {
            0 => {
                self.nonce.encode(out);
                self.need(self.gas_price.as_ref(), "gasPrice")?.encode(out);
                self.encode_call(out);
            }
            1 => {
                self.chain_id()?.encode(out);
                self.nonce.encode(out);
                self.need(self.gas_price.as_ref(), "gasPrice")?.encode(out);
                self.encode_call(out);
                encode_access_list(&self.access_list, out);
            }
            2..=4 => {
                self.chain_id()?.encode(out);
                self.nonce.encode(out);
                self.need(self.max_priority_fee_per_gas.as_ref(), "maxPriorityFeePerGas")?.encode(out);
                self.need(self.max_fee_per_gas.as_ref(), "maxFeePerGas")?.encode(out);
                self.encode_call(out);
                encode_access_list(&self.access_list, out);
                if self.tx_type == 3 {
                    self.need(self.max_fee_per_blob_gas.as_ref(), "maxFeePerBlobGas")?.encode(out);
                    encode_words(&self.blob_versioned_hashes, out);
                }
                if self.tx_type == 4 {
                    rlp::list(out, |out| self.authorization_list.iter().for_each(|item| item.encode(out)));
                }
            }
            0x64..=0x6a => self.encode_arbitrum_fields(out)?,
            0x78 => return Err(Unencodable::HashApart(self.tx_type)),
            unknown => return Err(Unencodable::UnknownType(unknown)),
        }
        Ok(())
    }

    /// Arbitrum's own types, as Nitro encodes them.
    fn encode_arbitrum_fields(&self, out: &mut Vec<u8>) -> Result<(), Unencodable> {
        self.chain_id()?.encode(out);
        match self.tx_type {
            0x64 => {
                self.request_id()?.encode(out);
                self.from.encode(out);
                self.need(self.to.as_ref(), "to")?.encode(out);
                self.value.encode(out);
            }
            0x65 => {
                self.from.encode(out);
                self.nonce.encode(out);
                self.fee_cap()?.encode(out);
                self.encode_call(out);
            }
            0x66 => {
                self.request_id()?.encode(out);
                self.from.encode(out);
                self.fee_cap()?.encode(out);
                self.encode_call(out);
            }
            0x68 => {
                self.nonce.encode(out);
                self.from.encode(out);
                self.fee_cap()?.encode(out);
                self.encode_call(out);
                self.need(self.ticket_id.as_ref(), "ticketId")?.encode(out);
                self.need(self.refund_to.as_ref(), "refundTo")?.encode(out);
                self.need(self.max_refund.as_ref(), "maxRefund")?.encode(out);
                self.need(self.submission_fee_refund.as_ref(), "submissionFeeRefund")?.encode(out);
            }
            0x69 => {
                self.request_id()?.encode(out);
                self.from.encode(out);
                self.need(self.l1_base_fee.as_ref(), "l1BaseFee")?.encode(out);
                self.need(self.deposit_value.as_ref(), "depositValue")?.encode(out);
                self.fee_cap()?.encode(out);
                self.gas.encode(out);
                encode_recipient(self.retry_to.as_ref(), out);
                self.need(self.retry_value.as_ref(), "retryValue")?.encode(out);
                self.need(self.beneficiary.as_ref(), "beneficiary")?.encode(out);
                self.need(self.max_submission_fee.as_ref(), "maxSubmissionFee")?.encode(out);
                self.need(self.refund_to.as_ref(), "refundTo")?.encode(out);
                self.need(self.retry_data.as_ref(), "retryData")?.encode(out);
            }
            0x6a => self.input.encode(out),
            unknown => return Err(Unencodable::UnknownType(unknown)),
        }
        Ok(())
    }

    /// Gas, recipient, value and calldata, which stand together in every type that has them.
    fn encode_call(&self, out: &mut Vec<u8>) {
        self.gas.encode(out);
        encode_recipient(self.to.as_ref(), out);
        self.value.encode(out);
        self.input.encode(out);
    }

    fn chain_id(&self) -> Result<&U256, Unencodable> {
        self.need(self.chain_id.as_ref(), "chainId")
    }

    fn request_id(&self) -> Result<&B256, Unencodable> {
        self.need(self.request_id.as_ref(), "requestId")
    }

    /// Nitro tells an Arbitrum type's fee cap as `maxFeePerGas`, or only as `gasPrice`, depending on its version.
    fn fee_cap(&self) -> Result<&U256, Unencodable> {
        self.need(self.max_fee_per_gas.as_ref().or(self.gas_price.as_ref()), "maxFeePerGas")
    }
}

/// An address, or nothing where a contract is created.
fn encode_recipient(to: Option<&Address>, out: &mut Vec<u8>) {
    match to {
        Some(to) => to.encode(out),
        None => out.push(EMPTY_STRING_CODE),
    }
}

fn encode_words(words: &[B256], out: &mut Vec<u8>) {
    rlp::list(out, |out| words.iter().for_each(|word| word.encode(out)));
}

fn encode_access_list(items: &[AccessListItem], out: &mut Vec<u8>) {
    rlp::list(out, |out| {
        for item in items {
            rlp::list(out, |out| {
                item.address.encode(out);
                encode_words(&item.storage_keys, out);
            });
        }
    });
}

impl Authorization {
    fn encode(&self, out: &mut Vec<u8>) {
        rlp::list(out, |out| {
            self.chain_id.encode(out);
            self.address.encode(out);
            self.nonce.encode(out);
            self.y_parity.encode(out);
            self.r.encode(out);
            self.s.encode(out);
        });
    }
}

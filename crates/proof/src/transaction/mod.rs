//! One transaction, as nodes report it, and what its fields make of it: encoding, hash, sender.

mod encode;
mod sender;

use alloy_primitives::{Address, B256, Bytes, U256};
use serde::{Deserialize, Deserializer, de::IgnoredAny};

use crate::hex;

pub use encode::Unencodable;
pub use sender::SenderFault;

/// A transaction in the JSON of `eth_getBlockBy…` with full transactions. Which of the optional fields there must be depends on
/// the type; the others do not count.
#[derive(Clone, Debug, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Transaction {
    /// Hash, as claimed.
    #[serde(deserialize_with = "hex::required")]
    pub hash: B256,
    /// Type (EIP-2718).
    #[serde(rename = "type", default, deserialize_with = "hex::or_default")]
    pub tx_type: u8,
    /// Block, as claimed.
    #[serde(default, deserialize_with = "hex::optional")]
    pub block_hash: Option<B256>,
    /// Position in the block, as claimed.
    #[serde(default, deserialize_with = "hex::optional")]
    pub transaction_index: Option<u32>,
    /// Sender, as claimed.
    #[serde(deserialize_with = "hex::required")]
    pub from: Address,
    /// Recipient; none when it creates a contract.
    #[serde(default, deserialize_with = "hex::optional")]
    pub to: Option<Address>,
    /// The sender's nonce.
    #[serde(deserialize_with = "hex::required")]
    pub nonce: u64,
    /// Upper bound of the gas.
    #[serde(deserialize_with = "hex::required")]
    pub gas: u64,
    /// Wei.
    #[serde(deserialize_with = "hex::required")]
    pub value: U256,
    /// Calldata.
    #[serde(deserialize_with = "hex::required")]
    pub input: Bytes,
    /// Chain.
    #[serde(default, deserialize_with = "hex::optional")]
    pub chain_id: Option<U256>,
    /// Wei per gas. Of the types with `max_fee_per_gas` it is what was paid, which consensus does not keep.
    #[serde(default, deserialize_with = "hex::optional")]
    pub gas_price: Option<U256>,
    /// Wei per gas (EIP-1559).
    #[serde(default, deserialize_with = "hex::optional")]
    pub max_fee_per_gas: Option<U256>,
    /// Wei per gas (EIP-1559).
    #[serde(default, deserialize_with = "hex::optional")]
    pub max_priority_fee_per_gas: Option<U256>,
    /// Wei per blob gas (EIP-4844).
    #[serde(default, deserialize_with = "hex::optional")]
    pub max_fee_per_blob_gas: Option<U256>,
    /// Blobs (EIP-4844).
    #[serde(default, deserialize_with = "hex::list")]
    pub blob_versioned_hashes: Vec<B256>,
    /// Whether the answer has the blobs themselves, which consensus does not keep with the transaction.
    #[serde(rename = "blobs", default, deserialize_with = "is_there")]
    pub has_blobs: bool,
    /// Addresses and slots announced beforehand (EIP-2930).
    #[serde(default, deserialize_with = "or_empty")]
    pub access_list: Vec<AccessListItem>,
    /// Accounts that let code be set (EIP-7702).
    #[serde(default, deserialize_with = "or_empty")]
    pub authorization_list: Vec<Authorization>,
    /// Signature: parity, with the chain for type 0 (EIP-155).
    #[serde(default, deserialize_with = "hex::optional")]
    pub v: Option<U256>,
    /// Signature: parity.
    #[serde(default, deserialize_with = "hex::optional")]
    pub y_parity: Option<U256>,
    /// Signature.
    #[serde(default, deserialize_with = "hex::optional")]
    pub r: Option<U256>,
    /// Signature.
    #[serde(default, deserialize_with = "hex::optional")]
    pub s: Option<U256>,
    /// Arbitrum: the message from the parent chain.
    #[serde(default, deserialize_with = "hex::optional")]
    pub request_id: Option<B256>,
    /// Arbitrum: the retryable that is retried.
    #[serde(default, deserialize_with = "hex::optional")]
    pub ticket_id: Option<B256>,
    /// Arbitrum: who gets what is left.
    #[serde(default, deserialize_with = "hex::optional")]
    pub refund_to: Option<Address>,
    /// Arbitrum: wei.
    #[serde(default, deserialize_with = "hex::optional")]
    pub max_refund: Option<U256>,
    /// Arbitrum: wei.
    #[serde(default, deserialize_with = "hex::optional")]
    pub submission_fee_refund: Option<U256>,
    /// Arbitrum: the parent chain's base fee, wei per gas.
    #[serde(default, deserialize_with = "hex::optional")]
    pub l1_base_fee: Option<U256>,
    /// Arbitrum: wei.
    #[serde(default, deserialize_with = "hex::optional")]
    pub deposit_value: Option<U256>,
    /// Arbitrum: recipient of the retryable; none when it creates a contract.
    #[serde(default, deserialize_with = "hex::optional")]
    pub retry_to: Option<Address>,
    /// Arbitrum: wei.
    #[serde(default, deserialize_with = "hex::optional")]
    pub retry_value: Option<U256>,
    /// Arbitrum: calldata of the retryable.
    #[serde(default, deserialize_with = "hex::optional")]
    pub retry_data: Option<Bytes>,
    /// Arbitrum: who may cancel the retryable.
    #[serde(default, deserialize_with = "hex::optional")]
    pub beneficiary: Option<Address>,
    /// Arbitrum: wei.
    #[serde(default, deserialize_with = "hex::optional")]
    pub max_submission_fee: Option<U256>,
}

/// An address, and slots of it, announced beforehand (EIP-2930).
#[derive(Clone, Debug, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AccessListItem {
    /// The contract.
    #[serde(deserialize_with = "hex::required")]
    pub address: Address,
    /// Its slots.
    #[serde(default, deserialize_with = "hex::list")]
    pub storage_keys: Vec<B256>,
}

/// An account's consent to have its code set (EIP-7702).
#[derive(Clone, Debug, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Authorization {
    /// Chain; zero: any.
    #[serde(deserialize_with = "hex::required")]
    pub chain_id: U256,
    /// Where the code is.
    #[serde(deserialize_with = "hex::required")]
    pub address: Address,
    /// The account's nonce.
    #[serde(deserialize_with = "hex::required")]
    pub nonce: u64,
    /// Signature: parity.
    #[serde(alias = "v", deserialize_with = "hex::required")]
    pub y_parity: U256,
    /// Signature.
    #[serde(deserialize_with = "hex::required")]
    pub r: U256,
    /// Signature.
    #[serde(deserialize_with = "hex::required")]
    pub s: U256,
}

fn is_there<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    Option::<IgnoredAny>::deserialize(deserializer).map(|value| value.is_some())
}

fn or_empty<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<T>, D::Error> {
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}

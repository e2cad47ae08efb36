//! A block's header, its encoding and its hash.

mod wire;

use std::ops::Deref;

use alloy_primitives::{Address, B64, B256, Bloom, Bytes, U256, keccak256};
use alloy_rlp::{Decodable, Encodable, Error};

use crate::{Finding, rlp};

/// A header as a node told it, with the hash that the node gave it.
///
/// Required is what any EVM chain has; without the others the header can be read but not proved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// Hash of this block, as claimed.
    pub hash: B256,
    /// Hash of the block before.
    pub parent_hash: B256,
    /// Hash of the list of uncles (`sha3Uncles`).
    pub uncles_hash: Option<B256>,
    /// Who was paid for the block.
    pub miner: Option<Address>,
    /// Root of the state after this block.
    pub state_root: B256,
    /// Root of the trie of transactions.
    pub transactions_root: B256,
    /// Root of the trie of receipts.
    pub receipts_root: B256,
    /// Bloom filter over the addresses and topics of the block's logs.
    pub logs_bloom: Bloom,
    /// Difficulty; zero since the merge, one on Arbitrum.
    pub difficulty: Option<U256>,
    /// Height.
    pub number: u64,
    /// Upper bound of `gas_used`.
    pub gas_limit: u64,
    /// Gas used by the block's transactions.
    pub gas_used: u64,
    /// Seconds since the Unix epoch.
    pub timestamp: u64,
    /// At will of who made the block. On Arbitrum (Nitro) the root of the messages to the parent chain.
    pub extra_data: Option<Bytes>,
    /// Proof of work, or randomness since the merge. On Arbitrum (Nitro) the count of messages to the parent chain, its block
    /// number and the version of ArbOS.
    pub mix_hash: Option<B256>,
    /// Proof of work. On Arbitrum (Nitro) the count of messages from the parent chain.
    pub nonce: Option<B64>,
    /// Wei per gas (EIP-1559, London).
    pub base_fee_per_gas: Option<U256>,
    /// Root of the trie of withdrawals (EIP-4895, Shanghai).
    pub withdrawals_root: Option<B256>,
    /// Gas used by blobs (EIP-4844, Cancun).
    pub blob_gas_used: Option<u64>,
    /// What the price of blob gas follows from (EIP-4844, Cancun).
    pub excess_blob_gas: Option<u64>,
    /// Root of the parent beacon block (EIP-4788, Cancun).
    pub parent_beacon_block_root: Option<B256>,
    /// Hash of the requests to the consensus layer (EIP-7685, Prague).
    pub requests_hash: Option<B256>,
    /// Hash of the block's access list (EIP-7928, Amsterdam).
    pub block_access_list_hash: Option<B256>,
    /// The beacon chain's slot (EIP-7843, Amsterdam).
    pub slot_number: Option<u64>,
    /// Names of fields of the answer that are known neither as a header's nor as what nodes add to it. A later fork's header
    /// has some.
    pub unknown_fields: Vec<String>,
}

/// Ethereum's forks that changed the header, oldest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fork {
    /// The fifteen fields of the beginning. Arbitrum's blocks before Nitro too.
    Frontier,
    /// `baseFeePerGas`. Arbitrum Nitro's headers are of this form.
    London,
    /// `withdrawalsRoot`.
    Shanghai,
    /// `blobGasUsed`, `excessBlobGas`, `parentBeaconBlockRoot`.
    Cancun,
    /// `requestsHash`.
    Prague,
    /// `blockAccessListHash`, `slotNumber`.
    Amsterdam,
}

/// Why a header is not proven.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeaderFault {
    /// A field that every header has.
    #[error("the header has no `{field}`, which its hash covers")]
    Missing {
        /// Its name in the answer.
        field: &'static str,
    },
    /// A later fork's field is there, an earlier one's is not: no fork of Ethereum has such a header.
    #[error("the header has `{present}` and not `{missing}`, which comes before it")]
    Gap {
        /// The earlier field.
        missing: &'static str,
        /// The later field.
        present: &'static str,
    },
    /// The fields do not give the hash.
    #[error("the header's fields ({fork:?}) hash to {computed}, not to {claimed}{}", beside(.unknown_fields))]
    Hash {
        /// The hash in the answer.
        claimed: B256,
        /// The hash of the fields.
        computed: B256,
        /// The form that the fields have.
        fork: Fork,
        /// Fields that the hash may cover and this version does not know.
        unknown_fields: Vec<String>,
    },
}

fn beside(unknown_fields: &[String]) -> String {
    if unknown_fields.is_empty() {
        String::new()
    } else {
        format!("; the unknown fields may count: {}", unknown_fields.join(", "))
    }
}

impl HeaderFault {
    /// Whether the header is wrong, or merely of a form that is not known. A header with a wrong hash and a field that is not
    /// known counts as unproven, so that a fork does not make every endpoint a liar.
    #[must_use]
    pub fn finding(&self) -> Finding {
        match self {
            Self::Hash { unknown_fields, .. } if unknown_fields.is_empty() => Finding::Contradiction,
            Self::Hash { .. } | Self::Missing { .. } | Self::Gap { .. } => Finding::Unproven,
        }
    }
}

impl Header {
    /// The newest fork all of whose fields the header has.
    #[must_use]
    pub fn fork(&self) -> Fork {
        [
            (Fork::Amsterdam, self.slot_number.is_some()),
            (Fork::Prague, self.requests_hash.is_some()),
            (Fork::Cancun, self.parent_beacon_block_root.is_some()),
            (Fork::Shanghai, self.withdrawals_root.is_some()),
            (Fork::London, self.base_fee_per_gas.is_some()),
        ]
        .into_iter()
        .find_map(|(fork, present)| present.then_some(fork))
        .unwrap_or(Fork::Frontier)
    }

    /// The header as consensus encodes it (yellow paper, section 4.4, and the EIPs of its fields).
    ///
    /// # Errors
    /// Where a field is missing, or the fields are no beginning of the forks' order.
    pub fn encode(&self) -> Result<Vec<u8>, HeaderFault> {
        /// Longer than a header with as much `extraData` as Ethereum allows.
        const USUAL_BYTES: usize = 1024;

        let missing = |field| HeaderFault::Missing { field };
        let uncles_hash = self.uncles_hash.as_ref().ok_or(missing("sha3Uncles"))?;
        let miner = self.miner.as_ref().ok_or(missing("miner"))?;
        let difficulty = self.difficulty.as_ref().ok_or(missing("difficulty"))?;
        let extra_data = self.extra_data.as_ref().ok_or(missing("extraData"))?;
        let mix_hash = self.mix_hash.as_ref().ok_or(missing("mixHash"))?;
        let nonce = self.nonce.as_ref().ok_or(missing("nonce"))?;
        let later = self.later_fields()?;

        let mut out = Vec::with_capacity(USUAL_BYTES);
        rlp::list(&mut out, |out| {
            let fields: [&dyn Encodable; 15] = [
                &self.parent_hash,
                uncles_hash,
                miner,
                &self.state_root,
                &self.transactions_root,
                &self.receipts_root,
                &self.logs_bloom,
                difficulty,
                &self.number,
                &self.gas_limit,
                &self.gas_used,
                &self.timestamp,
                extra_data,
                mix_hash,
                nonce,
            ];
            for field in fields.into_iter().chain(later) {
                field.encode(out);
            }
        });
        Ok(out)
    }

    /// The fields that forks added, as far as they are there: they must be a beginning of the forks' order.
    fn later_fields(&self) -> Result<impl Iterator<Item = &dyn Encodable>, HeaderFault> {
        fn erased<T: Encodable>(field: Option<&T>) -> Option<&dyn Encodable> {
            field.map(|field| field as &dyn Encodable)
        }

        let fields = [
            ("baseFeePerGas", erased(self.base_fee_per_gas.as_ref())),
            ("withdrawalsRoot", erased(self.withdrawals_root.as_ref())),
            ("blobGasUsed", erased(self.blob_gas_used.as_ref())),
            ("excessBlobGas", erased(self.excess_blob_gas.as_ref())),
            ("parentBeaconBlockRoot", erased(self.parent_beacon_block_root.as_ref())),
            ("requestsHash", erased(self.requests_hash.as_ref())),
            ("blockAccessListHash", erased(self.block_access_list_hash.as_ref())),
            ("slotNumber", erased(self.slot_number.as_ref())),
        ];
        let mut absent = None;
        for (name, field) in &fields {
            match (absent, field) {
                (Some(missing), Some(_)) => return Err(HeaderFault::Gap { missing, present: name }),
                (None, None) => absent = Some(*name),
                _ => {}
            }
        }
        Ok(fields.into_iter().map_while(|(_, field)| field))
    }

    /// The hash that the fields have, whatever was claimed.
    ///
    /// # Errors
    /// As [`Header::encode`].
    pub fn compute_hash(&self) -> Result<B256, HeaderFault> {
        self.encode().map(keccak256)
    }

    /// Shows that the fields have the hash that the node gave.
    ///
    /// Whoever asked for a block by its hash still compares that with the header's.
    ///
    /// # Errors
    /// Where they do not, or that cannot be told.
    pub fn prove(self) -> Result<ProvenHeader, HeaderFault> {
        let computed = self.compute_hash()?;
        if computed == self.hash {
            Ok(ProvenHeader(self))
        } else {
            let (claimed, fork) = (self.hash, self.fork());
            Err(HeaderFault::Hash { claimed, computed, fork, unknown_fields: self.unknown_fields })
        }
    }
}

/// A header whose fields have its hash: whoever trusts the hash trusts them. The only way to one is through the check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProvenHeader(Header);

impl ProvenHeader {
    /// Reads a header as consensus encodes it. Its hash is that of the bytes.
    ///
    /// # Errors
    /// Where the bytes are not the canonical encoding of a header that this version knows.
    pub fn decode(bytes: &[u8]) -> Result<Self, Error> {
        let mut rest = bytes;
        let mut fields = rlp::take_list(&mut rest)?;
        rlp::end(rest)?;
        let fields = &mut fields;
        // Struct fields are evaluated in the order in which they are written: that of the encoding.
        let header = Header {
            hash: keccak256(bytes),
            parent_hash: B256::decode(fields)?,
            uncles_hash: Some(B256::decode(fields)?),
            miner: Some(Address::decode(fields)?),
            state_root: B256::decode(fields)?,
            transactions_root: B256::decode(fields)?,
            receipts_root: B256::decode(fields)?,
            logs_bloom: Bloom::decode(fields)?,
            difficulty: Some(U256::decode(fields)?),
            number: u64::decode(fields)?,
            gas_limit: u64::decode(fields)?,
            gas_used: u64::decode(fields)?,
            timestamp: u64::decode(fields)?,
            extra_data: Some(Bytes::decode(fields)?),
            mix_hash: Some(B256::decode(fields)?),
            nonce: Some(B64::decode(fields)?),
            base_fee_per_gas: rlp::take_optional(fields)?,
            withdrawals_root: rlp::take_optional(fields)?,
            blob_gas_used: rlp::take_optional(fields)?,
            excess_blob_gas: rlp::take_optional(fields)?,
            parent_beacon_block_root: rlp::take_optional(fields)?,
            requests_hash: rlp::take_optional(fields)?,
            block_access_list_hash: rlp::take_optional(fields)?,
            slot_number: rlp::take_optional(fields)?,
            unknown_fields: Vec::new(),
        };
        rlp::end(fields)?;
        Ok(Self(header))
    }

    /// The header itself.
    #[must_use]
    pub fn into_inner(self) -> Header {
        self.0
    }
}

impl Deref for ProvenHeader {
    type Target = Header;

    fn deref(&self) -> &Header {
        &self.0
    }
}

#[cfg(test)]
mod tests;

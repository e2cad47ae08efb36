//! A header in the JSON of `eth_getBlockBy…`. What else a block has is skipped; names that nobody knows are noted.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{Error, IgnoredAny, MapAccess, Visitor},
};

use super::Header;
use crate::hex::{FromHexDigits, Hex};

/// More names that nobody knows are not noted: one is enough to say that this is no header of a known fork.
const MAX_UNKNOWN_FIELDS: usize = 8;
/// Of a name that nobody knows, so much is noted.
const MAX_NAME_CHARS: usize = 40;

#[derive(Deserialize)]
#[serde(field_identifier, rename_all = "camelCase")]
enum Name {
    Hash,
    ParentHash,
    Sha3Uncles,
    Miner,
    StateRoot,
    TransactionsRoot,
    ReceiptsRoot,
    LogsBloom,
    Difficulty,
    Number,
    GasLimit,
    GasUsed,
    Timestamp,
    ExtraData,
    MixHash,
    Nonce,
    BaseFeePerGas,
    WithdrawalsRoot,
    BlobGasUsed,
    ExcessBlobGas,
    ParentBeaconBlockRoot,
    RequestsHash,
    BlockAccessListHash,
    SlotNumber,
    // What a block's JSON has beside its header: the body, sizes, and what Nitro and OpenEthereum add.
    #[serde(
        alias = "uncles",
        alias = "withdrawals",
        alias = "size",
        alias = "totalDifficulty",
        alias = "author",
        alias = "l1BlockNumber",
        alias = "sendCount",
        alias = "sendRoot"
    )]
    Transactions,
    Unknown(String),
}

/// A field's value once read; none when null or missing.
struct Slot<T>(Option<Option<T>>);

impl<T: FromHexDigits> Slot<T> {
    fn read<'de, A: MapAccess<'de>>(&mut self, map: &mut A, name: &'static str) -> Result<(), A::Error> {
        let value = map.next_value::<Option<Hex<T>>>()?.map(|hex| hex.0);
        match self.0.replace(value) {
            None => Ok(()),
            Some(_) => Err(A::Error::duplicate_field(name)),
        }
    }

    fn required<E: Error>(self, name: &'static str) -> Result<T, E> {
        match self.0 {
            Some(Some(value)) => Ok(value),
            Some(None) => Err(E::custom(format_args!("a pending block (its {name} is null)"))),
            None => Err(E::missing_field(name)),
        }
    }

    fn optional(self) -> Option<T> {
        self.0.flatten()
    }
}

impl<'de> Deserialize<'de> for Header {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Fields)
    }
}

struct Fields;

/// Declares a slot for each field, fills them from the map, and gives them back by name.
macro_rules! read_fields {
    ($map:ident, $unknown:ident, $($name:ident: $slot:ident = $json:literal),* $(,)?) => {
        $(let mut $slot = Slot(None);)*
        while let Some(name) = $map.next_key::<Name>()? {
            match name {
                $(Name::$name => $slot.read(&mut $map, $json)?,)*
                Name::Transactions => drop($map.next_value::<IgnoredAny>()?),
                Name::Unknown(name) => {
                    $map.next_value::<IgnoredAny>()?;
                    if $unknown.len() < MAX_UNKNOWN_FIELDS {
                        $unknown.push(name.chars().take(MAX_NAME_CHARS).collect());
                    }
                }
            }
        }
    };
}

impl<'de> Visitor<'de> for Fields {
    type Value = Header;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a block's header")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Header, A::Error> {
        let mut unknown_fields = Vec::new();
        read_fields! {
            map, unknown_fields,
            Hash: hash = "hash",
            ParentHash: parent_hash = "parentHash",
            Sha3Uncles: uncles_hash = "sha3Uncles",
            Miner: miner = "miner",
            StateRoot: state_root = "stateRoot",
            TransactionsRoot: transactions_root = "transactionsRoot",
            ReceiptsRoot: receipts_root = "receiptsRoot",
            LogsBloom: logs_bloom = "logsBloom",
            Difficulty: difficulty = "difficulty",
            Number: number = "number",
            GasLimit: gas_limit = "gasLimit",
            GasUsed: gas_used = "gasUsed",
            Timestamp: timestamp = "timestamp",
            ExtraData: extra_data = "extraData",
            MixHash: mix_hash = "mixHash",
            Nonce: nonce = "nonce",
            BaseFeePerGas: base_fee_per_gas = "baseFeePerGas",
            WithdrawalsRoot: withdrawals_root = "withdrawalsRoot",
            BlobGasUsed: blob_gas_used = "blobGasUsed",
            ExcessBlobGas: excess_blob_gas = "excessBlobGas",
            ParentBeaconBlockRoot: parent_beacon_block_root = "parentBeaconBlockRoot",
            RequestsHash: requests_hash = "requestsHash",
            BlockAccessListHash: block_access_list_hash = "blockAccessListHash",
            SlotNumber: slot_number = "slotNumber",
        }
        Ok(Header {
            hash: hash.required("hash")?,
            parent_hash: parent_hash.required("parentHash")?,
            uncles_hash: uncles_hash.optional(),
            miner: miner.optional(),
            state_root: state_root.required("stateRoot")?,
            transactions_root: transactions_root.required("transactionsRoot")?,
            receipts_root: receipts_root.required("receiptsRoot")?,
            logs_bloom: logs_bloom.required("logsBloom")?,
            difficulty: difficulty.optional(),
            number: number.required("number")?,
            gas_limit: gas_limit.required("gasLimit")?,
            gas_used: gas_used.required("gasUsed")?,
            timestamp: timestamp.required("timestamp")?,
            extra_data: extra_data.optional(),
            mix_hash: mix_hash.optional(),
            nonce: nonce.optional(),
            base_fee_per_gas: base_fee_per_gas.optional(),
            withdrawals_root: withdrawals_root.optional(),
            blob_gas_used: blob_gas_used.optional(),
            excess_blob_gas: excess_blob_gas.optional(),
            parent_beacon_block_root: parent_beacon_block_root.optional(),
            requests_hash: requests_hash.optional(),
            block_access_list_hash: block_access_list_hash.optional(),
            slot_number: slot_number.optional(),
            unknown_fields,
        })
    }
}

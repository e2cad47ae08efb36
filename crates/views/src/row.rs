//! The mirrors' rows in memory, and the undo entries that hold the row before.

use std::borrow::Cow;

use alloy_primitives::{Address, B256, U256};
use plimsoll_journal::{Event, Record};
use plimsoll_types::{Amount, RequestId, address_text, hash_text, parse_address, parse_hash};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

/// Which event a row's value is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    pub(crate) block_number: u64,
    pub(crate) block_hash: B256,
    pub(crate) tx_hash: B256,
    pub(crate) log_index: u32,
    pub(crate) journal_seq: i64,
}

impl Stamp {
    pub(crate) fn of(record: &Record, event: &Event) -> Self {
        Self {
            block_number: event.block_number,
            block_hash: event.block_hash,
            tx_hash: event.tx_hash,
            log_index: event.log_index,
            journal_seq: record.seq,
        }
    }

    /// Its place on the chain.
    pub(crate) fn place(&self) -> (u64, u32) {
        (self.block_number, self.log_index)
    }
}

/// The key of a `position_cache_mirror` row within its chain, ordered as the table's primary key is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct PositionKey {
    pub(crate) user: Address,
    pub(crate) asset: Address,
    pub(crate) contract: Address,
}

/// A `position_cache_mirror` row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PositionRow {
    pub(crate) tenant_id: Option<Uuid>,
    pub(crate) collateral: U256,
    pub(crate) debt: U256,
    pub(crate) version: u64,
    pub(crate) last_request_id: Option<RequestId>,
    pub(crate) last_seq: Option<u64>,
    pub(crate) stamp: Stamp,
}

/// The key of a `view_mirror` row within its chain.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct MirrorKey {
    pub(crate) contract: Address,
    pub(crate) view: Cow<'static, str>,
    pub(crate) key: String,
}

/// A `view_mirror` row; the value is JSON text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MirrorRow {
    pub(crate) tenant_id: Option<Uuid>,
    pub(crate) value: String,
    pub(crate) stamp: Stamp,
}

/// What an event replaced, and so what taking it back restores: no row before means that there is none again.
///
/// It names its row itself, so that it can be restored under a configuration that does not follow the contract any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Undo {
    Position { key: PositionKey, before: Option<PositionRow> },
    Mirror { key: MirrorKey, before: Option<MirrorRow> },
}

#[derive(Serialize, Deserialize)]
struct StampJson {
    block_number: u64,
    block_hash: String,
    tx_hash: String,
    log_index: u32,
    journal_seq: i64,
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "table", rename_all = "snake_case")]
enum UndoJson {
    PositionCacheMirror { contract: String, user: String, asset: String, before: Option<PositionJson> },
    ViewMirror { contract: String, view: String, key: String, before: Option<MirrorJson> },
}

#[derive(Serialize, Deserialize)]
struct PositionJson {
    tenant_id: Option<Uuid>,
    collateral: Amount,
    debt: Amount,
    version: Amount,
    last_request_id: Option<String>,
    last_seq: Option<Amount>,
    stamp: StampJson,
}

#[derive(Serialize, Deserialize)]
struct MirrorJson {
    tenant_id: Option<Uuid>,
    value: Value,
    stamp: StampJson,
}

impl StampJson {
    fn of(stamp: &Stamp) -> Self {
        Self {
            block_number: stamp.block_number,
            block_hash: hash_text(&stamp.block_hash),
            tx_hash: hash_text(&stamp.tx_hash),
            log_index: stamp.log_index,
            journal_seq: stamp.journal_seq,
        }
    }

    fn read(self) -> Result<Stamp, String> {
        Ok(Stamp {
            block_number: self.block_number,
            block_hash: parse_hash(&self.block_hash).map_err(|error| error.to_string())?,
            tx_hash: parse_hash(&self.tx_hash).map_err(|error| error.to_string())?,
            log_index: self.log_index,
            journal_seq: self.journal_seq,
        })
    }
}

impl Undo {
    pub(crate) fn to_json(&self) -> Value {
        let json = match self {
            Self::Position { key, before } => UndoJson::PositionCacheMirror {
                contract: address_text(&key.contract),
                user: address_text(&key.user),
                asset: address_text(&key.asset),
                before: before.as_ref().map(|row| PositionJson {
                    tenant_id: row.tenant_id,
                    collateral: Amount(row.collateral),
                    debt: Amount(row.debt),
                    version: row.version.into(),
                    last_request_id: row.last_request_id.map(|id| hash_text(&id.to_chain())),
                    last_seq: row.last_seq.map(Amount::from),
                    stamp: StampJson::of(&row.stamp),
                }),
            },
            Self::Mirror { key, before } => UndoJson::ViewMirror {
                contract: address_text(&key.contract),
                view: key.view.clone().into_owned(),
                key: key.key.clone(),
                before: before.as_ref().map(|row| MirrorJson {
                    tenant_id: row.tenant_id,
                    value: serde_json::from_str(&row.value)
                        .expect("a mirrored value is JSON: written here, or read from jsonb"),
                    stamp: StampJson::of(&row.stamp),
                }),
            },
        };
        serde_json::to_value(json).expect("an undo is strings and integers: always JSON")
    }

    /// Its row's key alone, as every entry of it has it.
    pub(crate) fn key_json(&self) -> Value {
        let mut json = self.to_json();
        if let Some(entry) = json.as_object_mut() {
            entry.remove("before");
        }
        json
    }

    pub(crate) fn from_json(json: Value) -> Result<Self, String> {
        let address = |text: &str| parse_address(text).map_err(|error| error.to_string());
        let u64_of = |amount: Amount| amount.to_u64().ok_or_else(|| format!("{amount} is above 2^64-1"));
        Ok(match serde_json::from_value(json).map_err(|error| error.to_string())? {
            UndoJson::PositionCacheMirror { contract, user, asset, before } => Self::Position {
                key: PositionKey {
                    contract: address(&contract)?,
                    user: address(&user)?,
                    asset: address(&asset)?,
                },
                before: before
                    .map(|row| {
                        Ok::<_, String>(PositionRow {
                            tenant_id: row.tenant_id,
                            collateral: row.collateral.0,
                            debt: row.debt.0,
                            version: u64_of(row.version)?,
                            last_request_id: row
                                .last_request_id
                                .as_deref()
                                .map(parse_request_id)
                                .transpose()?,
                            last_seq: row.last_seq.map(u64_of).transpose()?,
                            stamp: row.stamp.read()?,
                        })
                    })
                    .transpose()?,
            },
            UndoJson::ViewMirror { contract, view, key, before } => Self::Mirror {
                key: MirrorKey { contract: address(&contract)?, view: view.into(), key },
                before: before
                    .map(|row| {
                        Ok::<_, String>(MirrorRow {
                            tenant_id: row.tenant_id,
                            value: row.value.to_string(),
                            stamp: row.stamp.read()?,
                        })
                    })
                    .transpose()?,
            },
        })
    }
}

/// Reads what [`RequestId`] displays.
pub(crate) fn parse_request_id(text: &str) -> Result<RequestId, String> {
    if let Ok(uuid) = Uuid::try_parse(text) {
        return Ok(RequestId::from_uuid(uuid));
    }
    parse_hash(text)
        .ok()
        .and_then(RequestId::from_chain)
        .ok_or_else(|| format!("`{text}` is not a request id"))
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn stamp() -> Stamp {
        Stamp {
            block_number: 7,
            block_hash: B256::repeat_byte(1),
            tx_hash: B256::repeat_byte(2),
            log_index: 3,
            journal_seq: 11,
        }
    }

    #[test]
    fn an_undo_survives_its_json() {
        let key = PositionKey {
            contract: Address::repeat_byte(1),
            user: Address::repeat_byte(2),
            asset: Address::repeat_byte(3),
        };
        let row = PositionRow {
            tenant_id: Some(Uuid::from_u128(5)),
            collateral: U256::MAX,
            debt: U256::ZERO,
            version: u64::MAX,
            last_request_id: RequestId::from_chain(B256::repeat_byte(9)),
            last_seq: Some(u64::MAX),
            stamp: stamp(),
        };
        let mirror =
            MirrorKey { contract: Address::repeat_byte(4), view: "asset_stats".into(), key: String::new() };
        let value = MirrorRow { tenant_id: None, value: r#"{"price":"1"}"#.into(), stamp: stamp() };
        for undo in [
            Undo::Position { key, before: Some(row) },
            Undo::Position {
                key,
                before: Some(PositionRow { last_request_id: None, last_seq: None, ..row }),
            },
            Undo::Position { key, before: None },
            Undo::Mirror { key: mirror.clone(), before: Some(value) },
            Undo::Mirror { key: mirror, before: None },
        ] {
            assert_eq!(Undo::from_json(undo.to_json()), Ok(undo));
        }
    }

    #[test]
    fn a_request_id_is_read_back_from_either_of_its_texts() {
        for bytes in [B256::repeat_byte(0xab), B256::left_padding_from(&[0x77; 16])] {
            let id = RequestId::from_chain(bytes).unwrap();
            assert_eq!(parse_request_id(&id.to_string()), Ok(id));
        }
        assert!(parse_request_id("nonsense").is_err());
    }
}

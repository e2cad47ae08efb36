//! What waits for a signer, as its holder reads it.

use std::cmp::Ordering;

use alloy_primitives::B256;
use plimsoll_types::{Amount, address_text};
use sqlx::PgConnection;
use uuid::Uuid;

use super::{address, hash, to_i64, to_u64, to_u128};
use crate::request::{Call, SignerId};

/// A request that waits for a nonce.
#[derive(Clone, Debug)]
pub struct Queued {
    /// The transaction's id.
    pub id: Uuid,
    /// For whom.
    pub tenant_id: Option<Uuid>,
    /// What it does.
    pub call: Call,
    /// Gas, where it was said.
    pub gas_limit: Option<u64>,
    /// Wei for a unit of gas that must not be exceeded.
    pub max_fee_limit: Option<u128>,
    /// Its priority.
    pub priority: i16,
    /// The last block in which it may enter.
    pub valid_until_block: Option<u64>,
    /// The block that it was decided on.
    pub as_of_block_hash: Option<B256>,
    /// Its time is over, by the database's clock.
    pub is_late: bool,
    /// What the journal has of the block that it was decided on.
    pub decided_on: DecidedOn,
    /// Somebody asked for its end: why.
    pub called_off: Option<String>,
    /// Whether it is run before it enters; none: as its signer's setting says.
    pub simulate: Option<bool>,
}

/// What the journal has of the block that a request was decided on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecidedOn {
    /// It is in the chain; or the request names none.
    Stands,
    /// It left the chain.
    Left,
    /// The journal does not have it, and may not have come to it: whoever decided may have read a node that was ahead.
    Awaited,
    /// The journal does not have it, in all the time that it takes to come to it.
    Unknown,
}

impl DecidedOn {
    /// `canonical`: whether that is the state in which the journal has it; none: it does not have it. `is_young`: whether the request was accepted less than a minute ago.
    fn of(canonical: Option<bool>, is_young: bool) -> Self {
        match canonical {
            Some(true) => Self::Stands,
            Some(false) => Self::Left,
            None if is_young => Self::Awaited,
            None => Self::Unknown,
        }
    }
}

/// A place in a signer's queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    priority: i16,
    id: Uuid,
}

impl Ord for Place {
    /// As in the queue: the higher priority first, and then the older id.
    fn cmp(&self, other: &Self) -> Ordering {
        other.priority.cmp(&self.priority).then(self.id.cmp(&other.id))
    }
}

impl PartialOrd for Place {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Queued {
    /// Where it is in the queue.
    #[must_use]
    pub fn place(&self) -> Place {
        Place { priority: self.priority, id: self.id }
    }
}

/// The next requests of a signer behind a place, in the order in which they enter its window. Those whose end is asked for are among them whatever is switched off; others that an operator's switch holds back are not among them.
pub(crate) async fn queue(
    conn: &mut PgConnection,
    signer: SignerId,
    behind: Option<Place>,
    limit: usize,
) -> Result<Vec<Queued>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"SELECT id, tenant_id, to_address, value_wei AS "value_wei: Amount", data, gas_limit, max_fee_limit AS "max_fee_limit: Amount", priority,
                  valid_until_block, as_of_block_hash, simulate, COALESCE(valid_until < clock_timestamp(), false) AS "is_late!",
                  CASE WHEN as_of_block_hash IS NULL THEN true
                       ELSE (SELECT bool_or(b.state <> 'orphaned') FROM chain_blocks b WHERE b.chain_id = t.chain_id AND b.hash = t.as_of_block_hash)
                  END AS has_its_block, created_at > clock_timestamp() - interval '1 minute' AS "is_young!",
                  CASE WHEN end_wanted IS NOT NULL THEN end_why END AS called_off
           FROM managed_transactions t
           WHERE chain_id = $1 AND signer = $2 AND state = 'pending'
             AND NOT EXISTS (SELECT FROM signers s WHERE s.chain_id = t.chain_id AND s.address = t.signer AND s.rotated_to IS NOT NULL)
             AND ($4::smallint IS NULL OR priority < $4 OR (priority = $4 AND id > $5))
             AND (end_wanted IS NOT NULL
                  OR NOT EXISTS (SELECT FROM kill_switches k WHERE (k.tenant_id IS NULL OR k.tenant_id = t.tenant_id)
                                                               AND (k.signer IS NULL OR (k.chain_id = t.chain_id AND k.signer = t.signer))))
           ORDER BY priority DESC, id LIMIT $3"#,
        to_i64(signer.chain_id),
        address_text(&signer.address),
        i64::try_from(limit).unwrap_or(i64::MAX),
        behind.map(|place| place.priority),
        behind.map(|place| place.id),
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|row| {
            Ok(Queued {
                id: row.id,
                tenant_id: row.tenant_id,
                call: Call {
                    to: row.to_address.as_deref().map(address).transpose()?,
                    value: row.value_wei.0,
                    data: row.data.into(),
                },
                gas_limit: row.gas_limit.map(to_u64).transpose()?,
                max_fee_limit: row.max_fee_limit.map(to_u128).transpose()?,
                priority: row.priority,
                valid_until_block: row.valid_until_block.map(to_u64).transpose()?,
                as_of_block_hash: row.as_of_block_hash.as_deref().map(hash).transpose()?,
                is_late: row.is_late,
                decided_on: DecidedOn::of(row.has_its_block, row.is_young),
                called_off: row.called_off,
                simulate: row.simulate,
            })
        })
        .collect()
}

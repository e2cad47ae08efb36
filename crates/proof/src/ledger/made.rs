//! Postings for tests: any at all, and books that are right.

use std::collections::BTreeMap;

use alloy_primitives::{B256, I256, U256};
use proptest::prelude::*;
use uuid::Uuid;

use super::checkpoint::Checkpoint;
use super::encoding::{Direction, Encoder, SealedLine, SealedPosting};
use super::export::{ExportedLine, ExportedPosting};
use super::log::ChainHead;
use super::tree::Frontier;

pub(super) fn owned_line(line: &SealedLine<&str>) -> SealedLine {
    SealedLine {
        posting_id: line.posting_id,
        sequence: line.sequence,
        account_id: line.account_id,
        direction: line.direction,
        amount: line.amount,
        currency: line.currency.to_owned(),
        entry_type: line.entry_type.to_owned(),
        account_version: line.account_version,
        balance_after: line.balance_after,
    }
}

pub(super) fn owned_posting(posting: &SealedPosting<&str>) -> SealedPosting {
    SealedPosting {
        tenant_id: posting.tenant_id,
        posting_id: posting.posting_id,
        user_id: posting.user_id,
        request_id: posting.request_id,
        operation_type: posting.operation_type.to_owned(),
        request_checksum: posting.request_checksum,
        domain: posting.domain.to_owned(),
        internal_tx_id: posting.internal_tx_id,
        trace_id: posting.trace_id,
        effective_at_us: posting.effective_at_us,
        booked_at_us: posting.booked_at_us,
        recorded_at_us: posting.recorded_at_us,
        chain_id: posting.chain_id,
        chain_tx_hash: posting.chain_tx_hash,
        chain_block_number: posting.chain_block_number,
        chain_block_hash: posting.chain_block_hash,
        reverses: posting.reverses,
        compensates: posting.compensates,
        reason: posting.reason.map(ToOwned::to_owned),
        created_by: posting.created_by.to_owned(),
        correlation_id: posting.correlation_id.to_owned(),
        causation_id: posting.causation_id.map(ToOwned::to_owned),
        metadata: posting.metadata.to_owned(),
    }
}

fn id() -> impl Strategy<Value = Uuid> {
    any::<u128>().prop_map(Uuid::from_u128)
}

pub(super) fn hash() -> impl Strategy<Value = B256> {
    any::<[u8; 32]>().prop_map(B256::new)
}

fn text() -> impl Strategy<Value = String> {
    // With quotes, white space and what is beyond ASCII.
    any::<String>()
}

/// Times that have an RFC 3339 text: of the years 0 to 9999.
fn time() -> impl Strategy<Value = i64> {
    -62_167_219_200_000_000_i64..253_402_300_800_000_000
}

pub(super) fn line() -> impl Strategy<Value = SealedLine> {
    (
        (id(), any::<u16>(), id(), any::<bool>(), any::<[u64; 4]>()),
        (text(), text(), any::<u64>(), any::<[u64; 4]>()),
    )
        .prop_map(
            |(
                (posting_id, sequence, account_id, is_debit, amount),
                (currency, entry_type, account_version, balance),
            )| {
                SealedLine {
                    posting_id,
                    sequence,
                    account_id,
                    direction: if is_debit { Direction::Debit } else { Direction::Credit },
                    amount: U256::from_limbs(amount),
                    currency,
                    entry_type,
                    account_version,
                    balance_after: I256::from_raw(U256::from_limbs(balance)),
                }
            },
        )
}

pub(super) fn posting() -> impl Strategy<Value = SealedPosting> {
    let some = proptest::option::of::<BoxedStrategy<Uuid>>;
    (
        (id(), id(), some(id().boxed()), id(), text(), hash(), text()),
        (some(id().boxed()), some(id().boxed()), [time(), time(), time()]),
        (
            proptest::option::of(any::<u64>()),
            proptest::option::of(hash()),
            proptest::option::of(any::<u64>()),
            proptest::option::of(hash()),
        ),
        (some(id().boxed()), some(id().boxed()), proptest::option::of(text()), text(), text()),
        (proptest::option::of(text()), text()),
    )
        .prop_map(|(keys, ids, chain, story, last)| SealedPosting {
            tenant_id: keys.0,
            posting_id: keys.1,
            user_id: keys.2,
            request_id: keys.3,
            operation_type: keys.4,
            request_checksum: keys.5,
            domain: keys.6,
            internal_tx_id: ids.0,
            trace_id: ids.1,
            effective_at_us: ids.2[0],
            booked_at_us: ids.2[1],
            recorded_at_us: ids.2[2],
            chain_id: chain.0,
            chain_tx_hash: chain.1,
            chain_block_number: chain.2,
            chain_block_hash: chain.3,
            reverses: story.0,
            compensates: story.1,
            reason: story.2,
            created_by: story.3,
            correlation_id: story.4,
            causation_id: last.0,
            // The canonical JSON of a text.
            metadata: serde_json::to_string(&last.1).unwrap(),
        })
}

/// Whose the made books are.
pub(super) const TENANT: Uuid = Uuid::from_u128(7);

/// An account of the made books.
pub(super) fn account(number: usize) -> Uuid {
    Uuid::from_u128(0xacc0_0000 + number as u128)
}

/// Books that are right: so many postings over so many accounts, the same each time.
pub(super) fn books(postings: usize, accounts: usize) -> Vec<ExportedPosting> {
    let mut chance = 1_u64;
    let mut pick = |below: usize| {
        // Knuth's MMIX.
        chance = chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from((chance >> 33) % below as u64).unwrap()
    };
    let mut rows: Vec<_> = (0..postings)
        .map(|number| {
            let posting_id = Uuid::from_u128(0x9057_0000 + number as u128);
            let debited = pick(accounts);
            let credited = (debited + 1 + pick(accounts - 1)) % accounts;
            let amount = U256::from(pick(1_000_000));
            let line = |sequence, of, direction| ExportedLine {
                line: SealedLine {
                    posting_id,
                    sequence,
                    account_id: account(of),
                    direction,
                    amount,
                    currency: "USDT".to_owned(),
                    entry_type: "TRADE".to_owned(),
                    account_version: 0,
                    balance_after: I256::ZERO,
                },
                checksum: B256::ZERO,
            };
            ExportedPosting {
                posting: SealedPosting {
                    tenant_id: TENANT,
                    posting_id,
                    user_id: None,
                    request_id: Uuid::from_u128(number as u128),
                    operation_type: "trade".to_owned(),
                    request_checksum: B256::repeat_byte(1),
                    domain: "cash".to_owned(),
                    internal_tx_id: None,
                    trace_id: None,
                    effective_at_us: 1_795_350_845_123_456,
                    booked_at_us: 1_795_350_845_123_456,
                    recorded_at_us: 1_795_350_845_123_456 + number as i64,
                    chain_id: Some(42_161),
                    chain_tx_hash: Some(B256::repeat_byte(2)),
                    chain_block_number: Some(number as u64),
                    chain_block_hash: Some(B256::repeat_byte(3)),
                    reverses: None,
                    compensates: None,
                    reason: None,
                    created_by: "cli:made".to_owned(),
                    correlation_id: format!("story-{number}"),
                    causation_id: None,
                    metadata: format!(r#"{{"number":{number}}}"#),
                },
                lines: vec![line(1, debited, Direction::Debit), line(2, credited, Direction::Credit)],
                leaf_index: 0,
                prev_entry_hash: B256::ZERO,
                entry_hash: B256::ZERO,
            }
        })
        .collect();
    settle(&mut rows);
    rows
}

/// Works out versions and balances, in the order of the rows, where they are not what they should be.
pub(super) fn settle(rows: &mut [ExportedPosting]) {
    let mut accounts: BTreeMap<Uuid, (u64, I256)> = BTreeMap::new();
    for line in rows.iter_mut().flat_map(|row| &mut row.lines).map(|line| &mut line.line) {
        let (version, balance) = accounts.entry(line.account_id).or_default();
        let amount = I256::try_from(line.amount).unwrap();
        *version += 1;
        match line.direction {
            Direction::Debit => *balance += amount,
            Direction::Credit => *balance -= amount,
        }
        (line.account_version, line.balance_after) = (*version, *balance);
    }
}

/// Seals the rows in their order, as the log does, and as somebody does who may rewrite all of it.
pub(super) fn seal(rows: &mut [ExportedPosting]) -> Checkpoint {
    let (mut encoder, mut tree) = (Encoder::new(), Frontier::new());
    let mut head = ChainHead::new(TENANT);
    for row in rows {
        for line in &mut row.lines {
            line.checksum = encoder.line_checksum(&line.line).unwrap();
        }
        let checksums: Vec<_> = row.lines.iter().map(|line| line.checksum).collect();
        let (entry, hash) = head.append(encoder.posting_digest(&row.posting, &checksums).unwrap());
        (row.leaf_index, row.prev_entry_hash, row.entry_hash) = (entry.index, entry.prev_entry_hash, hash);
        tree.append(hash);
    }
    Checkpoint::new("books.example.com/made", tree.size(), tree.root())
}

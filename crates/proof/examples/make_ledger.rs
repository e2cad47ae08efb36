//! Makes an export of a ledger with its checkpoint and key, to try a verifier on: postings of two lines over 1,000 accounts, the same each time.
//!
//!     cargo run --release -p plimsoll-proof --example make_ledger -- 1000000 <folder>
//!     time cargo run --release -p plimsoll-proof --example verify_ledger -- <folder>/ledger.{jsonl,checkpoint,key}

use std::error::Error;
use std::fs::{File, write};
use std::io::{BufWriter, Write};
use std::path::Path;

use alloy_primitives::{B256, I256, U256};
use plimsoll_proof::ledger::checkpoint::{Checkpoint, NoteSigner, origin};
use plimsoll_proof::ledger::encoding::{Direction, Encoder, SealedLine, SealedPosting};
use plimsoll_proof::ledger::export::{ExportedLine, ExportedPosting};
use plimsoll_proof::ledger::log::ChainHead;
use plimsoll_proof::ledger::tree::Frontier;
use uuid::Uuid;

const ACCOUNTS: usize = 1_000;
const CURRENCY: &str = "42161:0xaf88d065e77c8cc2239327c5edb3a432268e5831";

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let [postings, folder] = arguments.as_slice() else {
        return Err("usage: make_ledger <postings> <folder>".into());
    };
    let (postings, folder) = (postings.parse::<u64>()?, Path::new(folder));
    let tenant_id = Uuid::from_u128(7);
    let (mut head, mut tree, mut encoder) = (ChainHead::new(tenant_id), Frontier::new(), Encoder::new());
    let mut accounts = vec![(0_u64, I256::ZERO); ACCOUNTS];
    let mut file = BufWriter::new(File::create(folder.join("ledger.jsonl"))?);
    let mut json = Vec::new();
    for number in 0..postings {
        let posting_id = Uuid::from_u128(0x9057_0000_0000 + u128::from(number));
        let amount = U256::from(1_000_000_000_000_000_000_u64 + number);
        let debited = usize::try_from(number * 7_919)? % ACCOUNTS;
        let credited = (debited + 1 + usize::try_from(number)? % (ACCOUNTS - 1)) % ACCOUNTS;
        let mut lines = Vec::with_capacity(2);
        for (sequence, direction, account) in
            [(1, Direction::Debit, debited), (2, Direction::Credit, credited)]
        {
            let (version, balance) = &mut accounts[account];
            *version += 1;
            match direction {
                Direction::Debit => *balance += I256::try_from(amount)?,
                Direction::Credit => *balance -= I256::try_from(amount)?,
            }
            let line = SealedLine {
                posting_id,
                sequence,
                account_id: Uuid::from_u128(0xacc0_0000 + account as u128),
                direction,
                amount,
                currency: CURRENCY.to_owned(),
                entry_type: "TRADE".to_owned(),
                account_version: *version,
                balance_after: *balance,
            };
            let checksum = encoder.line_checksum(&line)?;
            lines.push(ExportedLine { line, checksum });
        }
        let posting = made(tenant_id, posting_id, number);
        let digest = encoder.posting_digest(&posting, &[lines[0].checksum, lines[1].checksum])?;
        let (entry, entry_hash) = head.append(digest);
        tree.append(entry_hash);
        let (leaf_index, prev_entry_hash) = (entry.index, entry.prev_entry_hash);
        let exported = ExportedPosting { posting, lines, leaf_index, prev_entry_hash, entry_hash };
        json.clear();
        exported.write_json(&mut json)?;
        file.write_all(&json)?;
    }
    file.flush()?;
    let origin = origin("books.example.com", tenant_id)?;
    let signer = NoteSigner::new(&origin, &[7; 32])?;
    write(
        folder.join("ledger.checkpoint"),
        Checkpoint::new(origin, tree.size(), tree.root()).sign(&signer)?,
    )?;
    write(folder.join("ledger.key"), format!("{}\n", signer.key()))?;
    Ok(())
}

fn made(tenant_id: Uuid, posting_id: Uuid, number: u64) -> SealedPosting {
    let time_us = 1_795_350_845_000_000 + i64::try_from(number).expect("not that many");
    SealedPosting {
        tenant_id,
        posting_id,
        user_id: Some(Uuid::from_u128(3)),
        request_id: Uuid::from_u128(0x4e90_0000_0000 + u128::from(number)),
        operation_type: "trade".to_owned(),
        request_checksum: B256::repeat_byte(1),
        domain: "cash".to_owned(),
        internal_tx_id: Some(Uuid::from_u128(5)),
        trace_id: Some(Uuid::from_u128(6)),
        effective_at_us: time_us,
        booked_at_us: time_us,
        recorded_at_us: time_us,
        chain_id: Some(42_161),
        chain_tx_hash: Some(B256::repeat_byte(2)),
        chain_block_number: Some(150_000_000 + number),
        chain_block_hash: Some(B256::repeat_byte(3)),
        reverses: None,
        compensates: None,
        reason: None,
        created_by: "key:settlement".to_owned(),
        correlation_id: format!("story-{number}"),
        causation_id: None,
        metadata: format!(r#"{{"order":"{number}","venue":"arbitrum"}}"#),
    }
}

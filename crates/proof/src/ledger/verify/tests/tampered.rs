//! Somebody who changes an export, or the rows that it is made from.

use alloy_primitives::{I256, U256};
use proptest::prelude::*;
use uuid::Uuid;

use super::{assert_found, named, sealed, verify};
use crate::ledger::encoding::{Direction, Encoder};
use crate::ledger::export::{ExportedLine, ExportedPosting};
use crate::ledger::log::ChainHead;
use crate::ledger::made::{TENANT, account, seal, settle};
use crate::ledger::verify::{Examined, Fault, Verifier};

/// What somebody does to a line.
type Change = fn(&mut ExportedLine);

#[test]
fn each_field_of_a_posting_is_bound() {
    let (rows, checkpoint) = sealed(8, 3);
    let other = Some(Uuid::from_u128(99));
    let changes: [fn(&mut ExportedPosting, Option<Uuid>); 25] = [
        |row, _| row.posting.tenant_id = Uuid::from_u128(8),
        |row, other| row.posting.posting_id = other.unwrap(),
        |row, other| row.posting.user_id = other,
        |row, other| row.posting.request_id = other.unwrap(),
        |row, _| row.posting.operation_type.push('x'),
        |row, _| row.posting.request_checksum.0[31] ^= 1,
        |row, _| row.posting.domain.push('x'),
        |row, other| row.posting.internal_tx_id = other,
        |row, other| row.posting.trace_id = other,
        |row, _| row.posting.effective_at_us += 1,
        |row, _| row.posting.booked_at_us += 1,
        |row, _| row.posting.recorded_at_us += 1,
        |row, _| row.posting.chain_id = None,
        |row, _| row.posting.chain_tx_hash = None,
        |row, _| row.posting.chain_block_number = Some(99),
        |row, _| row.posting.chain_block_hash = None,
        |row, other| row.posting.reverses = other,
        |row, other| row.posting.compensates = other,
        |row, _| row.posting.reason = Some(String::new()),
        |row, _| row.posting.created_by.push('x'),
        |row, _| row.posting.correlation_id.push('x'),
        |row, _| row.posting.causation_id = Some(String::new()),
        // The same JSON, in another text.
        |row, _| row.posting.metadata = r#"{"number": 4}"#.to_owned(),
        |row, _| row.posting.metadata = "null".to_owned(),
        |row, _| row.lines[0].checksum.0[0] ^= 1,
    ];
    for (number, change) in changes.into_iter().enumerate() {
        let mut rows = rows.clone();
        change(&mut rows[4], other);
        let report = verify(&rows, &checkpoint);
        let first = &report.breaks[0];
        assert_eq!(first.index, Some(4), "change {number}: {report:#?}");
        assert!(report.breaks.iter().all(|found| found.index == Some(4)), "change {number}: {report:#?}");
        assert!(report.root_matches, "the stored hashes are those that were signed");
    }
}

#[test]
fn each_field_of_a_line_is_bound() {
    let (rows, checkpoint) = sealed(8, 3);
    let changes: [(Change, &str); 8] = [
        (|line| line.line.sequence = 3, "LineOrder"),
        (|line| line.line.account_id = account(77), "VersionGap"),
        (|line| line.line.direction = Direction::Debit, "Unbalanced"),
        (|line| line.line.amount += U256::from(1), "Unbalanced"),
        (|line| line.line.currency.push('C'), "Unbalanced"),
        (|line| line.line.entry_type.push('x'), "LineChecksum"),
        (|line| line.line.account_version += 100, "VersionGap"),
        (|line| line.line.balance_after += I256::ONE, "BalanceAfter"),
    ];
    for (change, also) in changes {
        let mut rows = rows.clone();
        change(&mut rows[4].lines[1]);
        let report = verify(&rows, &checkpoint);
        let found = named(&report);
        assert_eq!(found[0], (Some(4), "LineChecksum".to_owned()), "{report:#?}");
        assert!(found.iter().any(|(_, name)| name == also), "{also}: {report:#?}");
        assert!(!found.iter().any(|(_, name)| name == "PostingDigest" || name == "PrevHash"), "{report:#?}");
        // Its checksum with it: then the posting's digest does not hold.
        let line = &mut rows[4].lines[1];
        line.checksum = Encoder::new().line_checksum(&line.line).unwrap();
        let found = named(&verify(&rows, &checkpoint));
        let digest = (Some(4), "PostingDigest".to_owned());
        assert!(
            found.contains(&digest) && !found.iter().any(|(_, name)| name == "LineChecksum"),
            "{found:?}"
        );
    }
}

#[test]
fn a_line_that_is_removed_or_added_or_moved_is_named() {
    let (rows, checkpoint) = sealed(8, 3);
    let mut removed = rows.clone();
    let line = removed[4].lines.pop().unwrap();
    let found = named(&verify(&removed, &checkpoint));
    for name in ["TooFewLines", "Unbalanced", "PostingDigest"] {
        assert!(found.contains(&(Some(4), name.to_owned())), "{name}: {found:?}");
    }
    let mut added = rows.clone();
    added[4].lines.push(line);
    let found = named(&verify(&added, &checkpoint));
    for name in ["LineOrder", "Unbalanced", "PostingDigest", "VersionRepeated"] {
        assert!(found.contains(&(Some(4), name.to_owned())), "{name}: {found:?}");
    }
    let mut moved = rows;
    moved[4].lines.reverse();
    let report = verify(&moved, &checkpoint);
    assert_found(&report, &[(Some(4), "PostingDigest"), (Some(4), "LineOrder"), (Some(4), "LineOrder")]);
}

#[test]
fn the_seal_itself_is_bound() {
    let (rows, checkpoint) = sealed(8, 3);
    let with = |change: fn(&mut ExportedPosting)| {
        let mut rows = rows.clone();
        change(&mut rows[4]);
        verify(&rows, &checkpoint)
    };
    assert_found(&with(|row| row.entry_hash.0[0] ^= 1), &[(Some(4), "PostingDigest"), (None, "Root")]);
    assert_found(
        &with(|row| row.prev_entry_hash.0[0] ^= 1),
        &[(Some(4), "PostingDigest"), (Some(4), "PrevHash")],
    );
    let indexed = with(|row| row.leaf_index = 40);
    assert_eq!(indexed.breaks[0].index, Some(40));
    assert!(named(&indexed).contains(&(None, "Missing".to_owned())), "{indexed:#?}");
    // A posting that was changed and sealed again by itself: the next one follows on another.
    let mut rows = rows;
    rows[4].posting.domain = "reward".to_owned();
    let before = rows[4].prev_entry_hash;
    let mut alone = [rows[4].clone()];
    seal(&mut alone);
    rows[4].lines = alone[0].lines.clone();
    let checksums: Vec<_> = rows[4].lines.iter().map(|line| line.checksum).collect();
    let mut head = ChainHead { tenant_id: TENANT, size: 4, entry_hash: before };
    let digest = Encoder::new().posting_digest(&rows[4].posting, &checksums).unwrap();
    rows[4].entry_hash = head.append(digest).1;
    assert_found(&verify(&rows, &checkpoint), &[(Some(5), "PrevHash"), (None, "Root")]);
}

#[test]
fn postings_that_are_removed_are_missing_by_index() {
    let (rows, checkpoint) = sealed(12, 3);
    for (removed, from, to) in [(0..1, 0, 0), (4..5, 4, 4), (4..9, 4, 8)] {
        let mut rows = rows.clone();
        rows.drain(removed);
        let report = verify(&rows, &checkpoint);
        let missing = report.breaks.iter().find(|found| found.index.is_none()).unwrap();
        assert_eq!(missing.fault, Fault::Missing { from, to });
        let others = report.breaks.iter().filter(|found| found.index.is_some());
        for other in others {
            assert!(matches!(other.fault, Fault::VersionGap { .. }), "{report:#?}");
        }
        assert!(!report.is_sound() && !report.root_matches);
    }
    let report = verify(&rows[..9], &checkpoint);
    assert_found(&report, &[(None, "Truncated")]);
    assert_eq!(report.breaks[0].fault, Fault::Truncated { from: 9, size: 12 });
    assert_found(&verify(&[], &checkpoint), &[(None, "Truncated")]);
}

#[test]
fn postings_that_are_added_are_named() {
    let (rows, checkpoint) = sealed(12, 3);
    // Sealed after the checkpoint.
    let (more, _) = sealed(14, 3);
    assert_eq!(more[..12], rows);
    let report = verify(&more, &checkpoint);
    assert_found(&report, &[(Some(12), "Beyond"), (Some(13), "Beyond")]);
    assert!(report.root_matches);
    // The same again, in the middle and at the end.
    for at in [5, 12] {
        let mut twice = rows.clone();
        twice.insert(at, rows[4].clone());
        assert_found(&verify(&twice, &checkpoint), &[(Some(4), "Repeated")]);
    }
    // Somebody else's.
    let mut foreign = rows.clone();
    foreign[3].posting.tenant_id = Uuid::from_u128(8);
    let report = verify(&foreign, &checkpoint);
    assert_found(&report, &[(Some(3), "PostingDigest"), (Some(3), "Tenant")]);
}

#[test]
fn postings_in_another_order_are_named() {
    let (rows, checkpoint) = sealed(12, 3);
    let mut swapped = rows.clone();
    swapped.swap(4, 5);
    let report = verify(&swapped, &checkpoint);
    assert_found(&report, &[(Some(4), "OutOfOrder")]);
    assert_eq!(report.breaks[0].fault, Fault::OutOfOrder { after: 5 });
    // With each other's place in the log, too.
    let seal_of = |row: &ExportedPosting| (row.leaf_index, row.prev_entry_hash, row.entry_hash);
    let places = [seal_of(&swapped[5]), seal_of(&swapped[4])];
    for (row, place) in swapped[4..6].iter_mut().zip(places) {
        (row.leaf_index, row.prev_entry_hash, row.entry_hash) = place;
    }
    let found = named(&verify(&swapped, &checkpoint));
    for index in [4, 5] {
        assert!(found.contains(&(Some(index), "PostingDigest".to_owned())), "{found:?}");
    }
}

#[test]
fn whoever_rewrites_everything_has_another_root() {
    let (rows, checkpoint) = sealed(12, 3);
    let rewrites: [fn(&mut Vec<ExportedPosting>); 4] = [
        |rows| rows[4].lines.iter_mut().for_each(|line| line.line.amount += U256::from(1)),
        |rows| rows.swap(4, 5),
        |rows| {
            let posting = rows[4].clone();
            rows[11] = posting;
        },
        |rows| rows[0].posting.reason = Some("another".to_owned()),
    ];
    for rewrite in rewrites {
        let mut rows = rows.clone();
        rewrite(&mut rows);
        settle(&mut rows);
        let forged = seal(&mut rows);
        assert!(verify(&rows, &forged).is_sound(), "the forgery is a good one");
        assert_found(&verify(&rows, &checkpoint), &[(None, "Root")]);
    }
    // And with one posting less.
    let mut rows = rows;
    rows.remove(4);
    settle(&mut rows);
    seal(&mut rows);
    assert_found(&verify(&rows, &checkpoint), &[(None, "Truncated")]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn a_bit_that_is_changed_anywhere_in_the_file_is_found(
        row in 0_usize..6, at in any::<prop::sample::Index>(), bit in 0_u32..8,
    ) {
        let (rows, checkpoint) = sealed(6, 3);
        let (mut encoder, mut verifier) = (Encoder::new(), Verifier::new(TENANT, &checkpoint));
        for (place, exported) in rows.iter().enumerate() {
            let mut json = Vec::new();
            exported.write_json(&mut json).unwrap();
            json.pop();
            if place == row {
                let at = at.index(json.len());
                json[at] ^= 1 << bit;
            }
            // A reader of lines says so itself where a file is not UTF-8.
            let Ok(json) = str::from_utf8(&json) else { return Ok(()) };
            verifier.add(Examined::read(&mut encoder, place as u64 + 1, json));
        }
        prop_assert!(!verifier.finish().is_sound());
    }

    #[test]
    fn any_rows_removed_doubled_or_moved_are_found(
        size in 2_usize..30, change in 0_u8..3, from in any::<prop::sample::Index>(), to in any::<prop::sample::Index>(),
    ) {
        let (mut rows, checkpoint) = sealed(size, 4);
        let (from, to) = (from.index(size), to.index(size));
        let row = rows[from].clone();
        match change {
            0 => _ = rows.remove(from),
            1 => rows.insert(to, row),
            _ if from == to => return Ok(()),
            _ => {
                rows.remove(from);
                rows.insert(to, row);
            }
        }
        let report = verify(&rows, &checkpoint);
        prop_assert!(!report.is_sound());
    }
}

//! Books under a right seal that are right, or wrong.

use alloy_primitives::{I256, U256};

use super::{assert_found, named, verify};
use crate::ledger::encoding::{Direction, Encoder};
use crate::ledger::export::ExportedPosting;
use crate::ledger::made::{TENANT, account, books, seal, settle};
use crate::ledger::verify::{Examined, Fault, MAX_EARLY_LINES, Verifier};

#[test]
fn books_that_were_sealed_wrong_are_found_under_a_right_seal() {
    let resealed = |change: fn(&mut Vec<ExportedPosting>)| {
        let mut rows = books(12, 3);
        change(&mut rows);
        let checkpoint = seal(&mut rows);
        verify(&rows, &checkpoint)
    };
    let report = resealed(|rows| {
        rows[4].lines[0].line.amount += U256::from(1);
        settle(rows);
    });
    assert_found(&report, &[(Some(4), "Unbalanced")]);
    let report = resealed(|rows| rows[4].lines[0].line.balance_after += I256::ONE);
    let after = report.breaks.iter().map(|found| found.index).collect::<Vec<_>>();
    assert_eq!((after[0], after.len()), (Some(4), 2), "and where it is mended again: {report:#?}");
    let report = resealed(|rows| rows[4].lines[1].line.currency = "USDC".to_owned());
    assert!(named(&report).contains(&(Some(4), "Currency".to_owned())), "{report:#?}");
    let report = resealed(|rows| rows[0].lines[0].line.account_version = 2);
    assert!(!report.is_sound() && report.root_matches, "{report:#?}");
    let report = resealed(|rows| {
        let mut shorter = rows[4].clone();
        shorter.lines.clear();
        rows.push(shorter);
    });
    assert_found(&report, &[(Some(12), "TooFewLines")]);
}

#[test]
fn the_order_of_an_account_is_that_of_its_versions() {
    // Sealed the other way round, as two writers' postings may be.
    let mut rows = books(200, 4);
    for pair in rows.chunks_exact_mut(2) {
        pair.swap(0, 1);
    }
    let checkpoint = seal(&mut rows);
    let report = verify(&rows, &checkpoint);
    assert!(report.is_sound(), "{report:#?}");
}

#[test]
fn what_waits_for_a_missing_version_does_not_fill_the_memory() {
    let mut rows = books(MAX_EARLY_LINES / 2 + 10, 2);
    rows.remove(0);
    let checkpoint = seal(&mut rows);
    let mut verifier = Verifier::new(TENANT, &checkpoint);
    let mut most = 0;
    for row in rows {
        verifier.add(Ok(Examined::examine(&mut Encoder::new(), row)));
        most = most.max(verifier.accounts.waiting());
    }
    assert!(most <= MAX_EARLY_LINES);
    let report = verifier.finish();
    let names = named(&report).into_iter().map(|(_, name)| name).collect::<Vec<_>>();
    assert_eq!(names, ["VersionGap", "VersionGap"], "one for each line of the first posting");
}

#[test]
fn balances_follow_to_the_ends_of_their_range() {
    let mut rows = books(2, 2);
    let set = |rows: &mut Vec<ExportedPosting>, row: usize, amount: U256, after: [I256; 2]| {
        for ((line, direction), balance) in
            rows[row].lines.iter_mut().zip([Direction::Debit, Direction::Credit]).zip(after)
        {
            line.line.account_id = account(usize::from(direction == Direction::Credit));
            (line.line.direction, line.line.amount, line.line.balance_after) = (direction, amount, balance);
            line.line.account_version = row as u64 + 1;
        }
    };
    let most = I256::MAX.into_raw();
    set(&mut rows, 0, most, [I256::MAX, -I256::MAX]);
    set(&mut rows, 1, U256::from(1), [I256::MIN, I256::MIN]);
    let checkpoint = seal(&mut rows);
    let report = verify(&rows, &checkpoint);
    // From the largest, one more is not the smallest; from -2^255+1, one less is -2^255.
    assert_found(&report, &[(Some(1), "BalanceAfter")]);
    let Fault::BalanceAfter { sequence, before, .. } = report.breaks[0].fault else { unreachable!() };
    assert_eq!((sequence, before), (1, I256::MAX));
    assert!(report.breaks[0].to_string().starts_with("posting 00000000-0000-0000-0000-0000905700"));
}

mod books;
mod tampered;

use alloy_primitives::B256;

use super::{Examined, Fault, MAX_BREAKS, Report, Verifier};
use crate::ledger::checkpoint::{Checkpoint, NoteKey, NoteSigner, origin_tenant};
use crate::ledger::encoding::Encoder;
use crate::ledger::export::ExportedPosting;
use crate::ledger::made::{TENANT, books, seal};

/// By way of the file, as an auditor would.
fn verify(rows: &[ExportedPosting], checkpoint: &Checkpoint) -> Report {
    let (mut encoder, mut verifier) = (Encoder::new(), Verifier::new(TENANT, checkpoint));
    for (line, row) in (1..).zip(rows) {
        let mut json = Vec::new();
        row.write_json(&mut json).unwrap();
        let json = str::from_utf8(&json).unwrap().trim_end();
        verifier.add(Examined::read(&mut encoder, line, json));
    }
    let report = verifier.finish();
    assert_eq!(report.break_count, report.breaks.len() as u64);
    assert!(report.root_matches || !report.is_sound());
    report
}

fn sealed(postings: usize, accounts: usize) -> (Vec<ExportedPosting>, Checkpoint) {
    let mut rows = books(postings, accounts);
    let checkpoint = seal(&mut rows);
    (rows, checkpoint)
}

/// What was found, as index and the fault's name; and each break is of the posting that is at that index in `rows`.
fn named(report: &Report) -> Vec<(Option<u64>, String)> {
    let name = |fault: &Fault| {
        let text = format!("{fault:?}");
        text.split([' ', '(']).next().unwrap().to_owned()
    };
    report.breaks.iter().map(|found| (found.index, name(&found.fault))).collect()
}

fn assert_found(report: &Report, expected: &[(Option<u64>, &str)]) {
    let expected: Vec<_> = expected.iter().map(|(index, name)| (*index, (*name).to_owned())).collect();
    assert_eq!(named(report), expected, "{report:#?}");
    assert!(!report.is_sound());
}

#[test]
fn what_another_program_sealed_from_the_documentation_is_sound() {
    let file = |name: &str| {
        let path = format!("{}/testdata/{name}", env!("CARGO_MANIFEST_DIR"));
        std::fs::read_to_string(path).unwrap()
    };
    let (export, note) = (file("ledger.jsonl"), file("ledger.checkpoint"));
    let key: NoteKey = file("ledger.key").trim_end().parse().unwrap();
    let checkpoint =
        Checkpoint::verify(&note, &key, "books.example.com/00000000-0000-0000-0000-000000000007").unwrap();
    assert_eq!(origin_tenant(&checkpoint.origin), Some(TENANT));
    let (mut encoder, mut verifier) = (Encoder::new(), Verifier::new(TENANT, &checkpoint));
    for (line, json) in (1..).zip(export.lines()) {
        let row = ExportedPosting::from_json(line, json).unwrap();
        let mut written = Vec::new();
        row.write_json(&mut written).unwrap();
        assert_eq!(str::from_utf8(&written).unwrap().trim_end(), json);
        verifier.add(Ok(Examined::examine(&mut encoder, row)));
    }
    let report = verifier.finish();
    assert!(report.is_sound(), "{report:#?}");
    assert_eq!((report.postings, report.lines, report.accounts), (3, 10, 6));
    // Ed25519 signs the same the same way everywhere.
    let signer = NoteSigner::new(&checkpoint.origin, &[7; 32]).unwrap();
    assert_eq!(checkpoint.sign(&signer).unwrap(), note);
}

#[test]
fn books_that_nobody_touched_are_sound() {
    for postings in [0, 1, 2, 300] {
        let (rows, checkpoint) = sealed(postings, 5);
        let report = verify(&rows, &checkpoint);
        assert!(report.is_sound(), "{report:#?}");
        let lines = rows.len() as u64 * 2;
        assert_eq!((report.postings, report.lines), (postings as u64, lines));
        assert!(report.accounts <= 5 && (postings < 300 || report.accounts == 5), "{}", report.accounts);
    }
}

#[test]
fn what_cannot_be_read_is_named_by_its_line_and_the_rest_is_checked() {
    let (rows, checkpoint) = sealed(6, 3);
    let (mut encoder, mut verifier) = (Encoder::new(), Verifier::new(TENANT, &checkpoint));
    for (line, row) in (1..).zip(&rows) {
        let mut json = Vec::new();
        row.write_json(&mut json).unwrap();
        let mut json = String::from_utf8(json).unwrap();
        if line == 3 {
            json = json.replace(r#""amount":""#, r#""amount":"-"#);
        }
        verifier.add(Examined::read(&mut encoder, line, json.trim_end()));
    }
    let report = verifier.finish();
    let found = report.breaks[0].to_string();
    assert!(found.contains("line 3, `lines[0].amount`"), "{found}");
    assert!(
        report.breaks.iter().any(|found| found.fault == Fault::Missing { from: 2, to: 2 }),
        "{report:#?}"
    );
}

#[test]
fn breaks_are_counted_beyond_those_that_are_named() {
    let (mut rows, checkpoint) = sealed(MAX_BREAKS + 5, 3);
    rows.iter_mut().for_each(|row| row.posting.domain.push('x'));
    let mut verifier = Verifier::new(TENANT, &checkpoint);
    let mut encoder = Encoder::new();
    rows.into_iter().for_each(|row| verifier.add(Ok(Examined::examine(&mut encoder, row))));
    let report = verifier.finish();
    assert_eq!((report.breaks.len(), report.break_count), (MAX_BREAKS, MAX_BREAKS as u64 + 5));
}

#[test]
fn another_checkpoint_is_not_met() {
    let (rows, checkpoint) = sealed(6, 3);
    for other in [
        Checkpoint { size: 5, ..checkpoint.clone() },
        Checkpoint { size: 7, ..checkpoint.clone() },
        Checkpoint { root: B256::ZERO, ..checkpoint.clone() },
    ] {
        assert!(!verify(&rows, &other).is_sound(), "{other:?}");
    }
}

//! An export that a stranger gives: nothing panics, what is read is written and read again the same, and a posting under whose hash there is
//! another is found out.

#![no_main]

use libfuzzer_sys::fuzz_target;
use plimsoll_proof::ledger::checkpoint::Checkpoint;
use plimsoll_proof::ledger::encoding::Encoder;
use plimsoll_proof::ledger::export::ExportedPosting;
use plimsoll_proof::ledger::verify::{Examined, Verifier};

fuzz_target!(|data: &[u8]| {
    let Ok(text) = str::from_utf8(data) else { return };
    let mut encoder = Encoder::new();
    let checkpoint = Checkpoint::new("books", 3, Default::default());
    let mut verifier = Verifier::new(Default::default(), &checkpoint);
    for (line, json) in (1..).zip(text.lines()) {
        let read = ExportedPosting::from_json(line, json);
        if let Ok(mut posting) = read.clone() {
            let mut written = Vec::new();
            posting.write_json(&mut written).expect("what was read has a line");
            let written = String::from_utf8(written).expect("JSON is UTF-8");
            assert_eq!(ExportedPosting::from_json(line, written.trim_end_matches('\n')).as_ref(), Ok(&posting));
            if Examined::examine(&mut encoder, posting.clone()).faults().is_empty() {
                posting.posting.recorded_at_us ^= 1;
                assert!(!Examined::examine(&mut encoder, posting).faults().is_empty());
            }
        }
        verifier.add(read.map(|posting| Examined::examine(&mut encoder, posting)));
    }
    assert!(!verifier.finish().is_sound(), "no entries have that root");
});

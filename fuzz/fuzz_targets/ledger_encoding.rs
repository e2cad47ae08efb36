//! The bytes that a posting or a line of it is sealed as: nothing panics, and what is read is written the same, so that no two encode alike.

#![no_main]

use libfuzzer_sys::fuzz_target;
use plimsoll_proof::ledger::encoding::{SealedLine, SealedPosting};

fuzz_target!(|data: &[u8]| {
    let mut again = Vec::new();
    if let Ok((posting, line_checksums)) = SealedPosting::decode(data) {
        posting.encode(&line_checksums, &mut again).expect("what was read has room");
        assert_eq!(again, data);
        again.clear();
    }
    if let Ok(line) = SealedLine::decode(data) {
        line.encode(&mut again).expect("what was read has room");
        assert_eq!(again, data);
    }
});

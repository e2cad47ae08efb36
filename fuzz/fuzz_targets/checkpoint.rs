//! A note, a checkpoint or a key that a stranger gives: nothing panics, what is read is written the same, and nobody's signature is right by chance.

#![no_main]

use libfuzzer_sys::fuzz_target;
use plimsoll_proof::ledger::checkpoint::{Checkpoint, NoteKey, NoteSigner, SignedNote};

fuzz_target!(|data: &[u8]| {
    let Ok(text) = str::from_utf8(data) else { return };
    if let Ok(key) = text.parse::<NoteKey>() {
        let again = key.to_string();
        assert_eq!(again.to_lowercase(), text.to_lowercase(), "but for the id's letters");
        assert_eq!(again.parse().as_ref(), Ok(&key));
    }
    if let Ok(note) = SignedNote::parse(text) {
        assert_eq!(note.to_string(), text);
        let ours = NoteSigner::new("books.example.com", &[7; 32]).expect("a name");
        assert!(note.verify(ours.key()).is_err());
        if let Ok(signed) = ours.sign(note.text.clone()) {
            assert_eq!(signed.verify(ours.key()), Ok(()));
            assert_eq!(signed.text, note.text);
        }
    }
    if let Ok(checkpoint) = Checkpoint::parse(text) {
        assert_eq!(checkpoint.text().as_deref(), Ok(text));
    }
});

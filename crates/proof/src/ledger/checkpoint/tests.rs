use alloy_primitives::{B256, hex};
use proptest::prelude::*;
use uuid::Uuid;

use super::{
    Checkpoint, CheckpointFault, KeyFault, MAX_NOTE_BYTES, MAX_SIGNATURES, NoteFault, NoteKey, NoteSigner,
    SignedNote, base64, from_base64, origin, origin_tenant,
};

// Published with Go's `golang.org/x/mod/sumdb/note`.
const GO_KEY: &str = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
const GO_SECRET: &str = "AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz";
const GO_NOTE: &str = "If you think cryptography is the answer to your problem,\n\
    then you don't know what your problem is.\n\
    \n\
    — PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";
/// The example of C2SP's tlog-checkpoint.
const C2SP: &str = "example.com/behind-the-sofa\n\
    20852163\n\
    CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\
    \n\
    — example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n";
const ORIGIN: &str = "books.example.com/00000000-0000-0000-0000-000000000007";

fn signer(name: &str) -> NoteSigner {
    NoteSigner::new(name, &[7; 32]).unwrap()
}

fn checkpoint() -> Checkpoint {
    Checkpoint::new(ORIGIN, 20_852_163, B256::repeat_byte(0xab))
}

#[test]
fn notes_are_those_of_the_go_implementation() {
    let key: NoteKey = GO_KEY.parse().unwrap();
    assert_eq!((key.name(), hex::encode(key.key_id())), ("PeterNeumann", "c74f20a3".to_owned()));
    assert_eq!(key.to_string(), GO_KEY);
    let note = SignedNote::parse(GO_NOTE).unwrap();
    assert_eq!(note.to_string(), GO_NOTE);
    assert_eq!(note.verify(&key), Ok(()));

    let secret = from_base64(GO_SECRET).unwrap();
    let signer = NoteSigner::new("PeterNeumann", secret[1..].try_into().unwrap()).unwrap();
    assert_eq!(signer.key(), &key);
    assert_eq!(signer.sign(note.text).unwrap().to_string(), GO_NOTE);
    assert!(!format!("{signer:?}").contains("secret"), "{signer:?}");
}

#[test]
fn a_checkpoint_is_laid_out_as_c2sp_says() {
    let note = SignedNote::parse(C2SP).unwrap();
    let checkpoint = Checkpoint::parse(&note.text).unwrap();
    let root = hex::decode("0ac5186a91863e8e1d90c808014aa89bf5da8e3ee1d9f07630f0378f68f1ab62").unwrap();
    let expected = Checkpoint::new("example.com/behind-the-sofa", 20_852_163, B256::from_slice(&root));
    assert_eq!(checkpoint, expected);
    assert_eq!(checkpoint.text().as_deref(), Ok(&*note.text));
    assert_eq!(note.signatures[0].key_id, [0x03, 0x3d, 0xe0, 0xae]);
}

#[test]
fn a_signed_checkpoint_is_verified_and_stands_among_witnesses() {
    let tenant_id = Uuid::from_u128(7);
    assert_eq!(origin("books.example.com", tenant_id).as_deref(), Ok(ORIGIN));
    assert_eq!(origin_tenant(ORIGIN), Some(tenant_id));
    let extended =
        Checkpoint { extensions: vec!["continues books.example.com/old 12".to_owned()], ..checkpoint() };
    for checkpoint in [checkpoint(), extended] {
        let signer = signer(ORIGIN);
        let note = checkpoint.sign(&signer).unwrap();
        assert_eq!(Checkpoint::verify(&note, signer.key(), ORIGIN), Ok(checkpoint.clone()));
        // A witness's line, of a kind that is not known here, and one of the same name with another key.
        let witness = format!("— witness.example {}\n", base64(&[9; 76]));
        let cosigned = note.clone() + &witness + &format!("— {ORIGIN} {}\n", base64(&[9; 68]));
        assert_eq!(Checkpoint::verify(&cosigned, signer.key(), ORIGIN), Ok(checkpoint));
        // Without the log's own it says nothing.
        let text = note.split_inclusive('\n').take_while(|line| !line.starts_with('—')).collect::<String>();
        assert!(matches!(
            Checkpoint::verify(&(text + &witness), signer.key(), ORIGIN),
            Err(CheckpointFault::Note(NoteFault::NotSigned { .. }))
        ));
    }
}

#[test]
fn what_another_signed_or_of_another_log_is_refused() {
    let ours = signer(ORIGIN);
    let note = checkpoint().sign(&ours).unwrap();
    // The same name, another key; the same key, another name.
    let stranger = NoteSigner::new(ORIGIN, &[8; 32]).unwrap();
    let renamed = signer("books.example.com");
    for key in [stranger.key(), renamed.key()] {
        let fault = Checkpoint::verify(&note, key, ORIGIN).unwrap_err();
        assert!(matches!(fault, CheckpointFault::Note(NoteFault::NotSigned { .. })), "{fault}");
    }
    let fault = Checkpoint::verify(&note, ours.key(), "books.example.com/other").unwrap_err();
    assert!(matches!(fault, CheckpointFault::Origin { .. }), "{fault}");
    // A second signature of the key's that is false spoils the first.
    let forged = [&ours.key().key_id()[..], &[1; 64]].concat();
    let spoilt = note + &format!("— {ORIGIN} {}\n", base64(&forged));
    let fault = Checkpoint::verify(&spoilt, ours.key(), ORIGIN).unwrap_err();
    assert!(matches!(fault, CheckpointFault::Note(NoteFault::False { .. })), "{fault}");
}

#[test]
fn a_bit_that_is_changed_anywhere_is_found() {
    let signer = signer(ORIGIN);
    let note = checkpoint().sign(&signer).unwrap();
    for at in 0..note.len() {
        for bit in 0..8 {
            let mut bytes = note.clone().into_bytes();
            bytes[at] ^= 1 << bit;
            // What is not UTF-8 does not get as far.
            let Ok(changed) = String::from_utf8(bytes) else { continue };
            assert!(Checkpoint::verify(&changed, signer.key(), ORIGIN).is_err(), "byte {at}, bit {bit}");
        }
    }
}

#[test]
fn only_one_text_says_a_checkpoint() {
    let root = base64(&[0; 32]);
    let read = |text: &str| Checkpoint::parse(text);
    assert_eq!(read(&format!("o\n0\n{root}\n")).unwrap().size, 0);
    assert_eq!(read(&format!("o\n18446744073709551615\n{root}\nmore\n")).unwrap().extensions, ["more"]);
    for size in ["", "00", "01", "+1", "-1", " 1", "1 ", "1e3", "0x1", "18446744073709551616", "١"] {
        let fault = read(&format!("o\n{size}\n{root}\n")).unwrap_err();
        assert!(matches!(fault, CheckpointFault::Size { .. }), "{size}: {fault}");
    }
    let longer = format!("{root}=");
    // The last digit of 32 bytes says two bits less than it could.
    let loose = root.replace("A=", "B=");
    for root in ["", "AAAA", root.trim_end_matches('='), &longer, &loose, &base64(&[0; 33])] {
        let fault = read(&format!("o\n1\n{root}\n")).unwrap_err();
        assert!(matches!(fault, CheckpointFault::Root { .. }), "{root}: {fault}");
    }
    for text in ["", "\n", "o", "o\n", "o\n1\n"] {
        assert!(read(text).is_err(), "{text:?}");
    }
    for text in [format!("\n1\n{root}\n"), format!("o\n1\n{root}\n\n"), format!("o\n1\n{root}\n\nx\n")] {
        assert!(matches!(read(&text), Err(CheckpointFault::Line { .. })), "{text:?}");
    }
    assert_eq!(read(&format!("o\n1\n{root}")), Err(NoteFault::Unterminated.into()));
    let two_lines = Checkpoint::new("a\nb", 1, B256::ZERO);
    assert!(matches!(two_lines.sign(&signer("a")), Err(CheckpointFault::Line { .. })));
}

#[test]
fn what_is_no_note_is_refused() {
    let line = format!("— n {}\n", base64(&[1; 68]));
    let fault = |note: &str| SignedNote::parse(note).unwrap_err();
    assert!(SignedNote::parse(&format!("a\n\nb\n\n{line}{line}")).is_ok());
    assert_eq!(fault("text\n"), NoteFault::NoBlankLine);
    assert_eq!(fault("text\n\n"), NoteFault::Unsigned);
    assert_eq!(fault(&format!("text\n\n{}", line.trim_end())), NoteFault::Unterminated);
    assert_eq!(fault(&format!("te\rxt\n\n{line}")), NoteFault::Control { character: '\r' });
    let many = line.repeat(MAX_SIGNATURES);
    assert_eq!(SignedNote::parse(&format!("text\n\n{many}")).unwrap().signatures.len(), MAX_SIGNATURES);
    assert_eq!(fault(&format!("text\n\n{many}{line}")), NoteFault::TooManySignatures);
    let bytes = MAX_NOTE_BYTES + 1;
    assert_eq!(fault(&"x".repeat(bytes)), NoteFault::TooLong { bytes });
    let good = base64(&[1; 68]);
    for bad in [
        format!("- n {good}"),
        format!("—n {good}"),
        format!("—  {good}"),
        format!("— n+m {good}"),
        format!("— n\u{a0}m {good}"),
        format!("— n  {good}"),
        format!("— n {good} "),
        format!("— n {}", base64(&[1; 4])),
        format!("— n {}", base64(&[1; 3])),
        format!("— n {}", good.replace('=', "")),
        "— n".to_owned(),
        "anything".to_owned(),
    ] {
        assert_eq!(fault(&format!("text\n\n{bad}\n")), NoteFault::Line { found: bad });
    }
    assert_eq!(signer("n").sign("no end".to_owned()), Err(NoteFault::Unterminated));
    assert!(signer("n").sign("te\txt\n".to_owned()).is_err());
}

#[test]
fn what_is_no_key_is_refused() {
    let fault = |text: &str| text.parse::<NoteKey>().unwrap_err();
    for end in 0..GO_KEY.len() {
        assert!(GO_KEY[..end].parse::<NoteKey>().is_err(), "{}", &GO_KEY[..end]);
    }
    assert_eq!(fault(&GO_KEY.replace("c74f20a3", "c74f20a")), KeyFault::Layout);
    assert_eq!(fault(&GO_KEY.replace("c74f20a3", "+74f20a3")), KeyFault::Layout);
    assert_eq!(
        fault(&GO_KEY.replace("c74f20a3", "c74f20a2")),
        KeyFault::Id { found: 0xc74f_20a2, computed: 0xc74f_20a3 }
    );
    assert!(matches!(fault(&GO_KEY.replace("Peter", "Poter")), KeyFault::Id { .. }));
    assert_eq!(fault(&GO_KEY.replace("+ARpc", "+BRpc")), KeyFault::Kind { kind: 5 });
    assert!(matches!(fault(&GO_KEY.replace("Peter", "Peter ")), KeyFault::Name { .. }));
    // The neutral element: everybody's signatures are right under it.
    let mut neutral = [0; 32];
    neutral[0] = 1;
    assert_eq!(NoteKey::new("n", &neutral), Err(KeyFault::Key));
    for name in ["", "a b", "a+b", "a\nb", "a\u{2003}b"] {
        assert!(matches!(NoteKey::new(name, &neutral), Err(KeyFault::Name { .. })), "{name:?}");
        assert!(origin(name, Uuid::nil()).is_err(), "{name:?}");
    }
    for text in ["", "books", "books/7", "/00000000-0000-0000-0000-000000000007"] {
        assert_eq!(origin_tenant(text), None, "{text}");
    }
    assert_eq!(origin_tenant("books/00000000-0000-0000-0000-00000000000A"), None, "one spelling");
    assert_eq!(origin_tenant("books/00000000000000000000000000000007"), None, "one spelling");
}

proptest! {
    #[test]
    fn a_note_that_is_read_is_written_the_same(note in "([a—+ \n]|— n [AQ]{8}\n|\n\n){0,12}") {
        if let Ok(read) = SignedNote::parse(&note) {
            prop_assert_eq!(read.to_string(), note);
        }
    }

    #[test]
    fn a_checkpoint_that_is_read_is_written_the_same(text in "[a0-9\n]{0,9}\n[0-9]{1,3}\n[A-Z]{43}=\n[a\n]{0,3}") {
        if let Ok(read) = Checkpoint::parse(&text) {
            prop_assert_eq!(read.text().unwrap(), text);
        }
    }
}

use alloy_primitives::{B256, I256, U256, hex};
use proptest::prelude::*;
use uuid::Uuid;

use super::{Direction, Encoder, SealedLine, SealedPosting, Undecodable, Unencodable};
use crate::ledger::made;

/// A line, field by field. The checksums were made with another program (Python's `hashlib`).
const LINES: [(&[&str], &str); 2] = [
    (
        &[
            "00000000000000000000000000000002", // posting_id
            "0001",                             // sequence
            "0000000000000000000000000000000a", // account_id
            "00",                               // debit
            "0000000000000000000000000000000000000000000000000000000000000064",
            "0004",
            "55534454", // USDT
            "0007",
            "4445504f534954",   // DEPOSIT
            "0000000000000007", // account_version
            "0000000000000000000000000000000000000000000000000000000000000064",
        ],
        "91911c60bef87dd359ff7ed0d4aff3ae41730d436f35f625783403433d40b271",
    ),
    (
        &[
            "00000000000000000000000000000002",
            "0002",
            "0000000000000000000000000000000b",
            "01", // credit
            "0000000000000000000000000000000000000000000000000000000000000064",
            "0004",
            "55534454",
            "0007",
            "4445504f534954",
            "0000000000000009",
            "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff9c", // -100
        ],
        "ef0b7e9c41448a0b333d825d50b6228cb02bac66cf255f516aa6b33c1f3912d7",
    ),
];

/// A posting with everything and those lines.
const FULL: (&[&str], &str) = (
    &[
        "00000000000000000000000000000001", // tenant_id
        "00000000000000000000000000000002", // posting_id
        "01",
        "00000000000000000000000000000003", // user_id
        "00000000000000000000000000000004", // request_id
        "0007",
        "6465706f736974",                                                   // deposit
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", // request_checksum
        "0004",
        "63617368", // cash
        "01",
        "00000000000000000000000000000005", // internal_tx_id
        "01",
        "00000000000000000000000000000006", // trace_id
        "0005f5e100000000",                 // effective_at
        "fffffffffffffffe",                 // booked_at, two microseconds before 1970
        "0000000000000001",                 // recorded_at
        "01",
        "000000000000a4b1", // chain_id
        "01",
        "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb", // chain_tx_hash
        "01",
        "0000000008f0d180", // chain_block_number
        "01",
        "cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc", // chain_block_hash
        "01",
        "00000000000000000000000000000007", // reverses
        "01",
        "00000000000000000000000000000008", // compensates
        "01",
        "0003",
        "c3a921", // reason: é!
        "0003",
        "636c69", // created_by: cli
        "0002",
        "6331", // correlation_id: c1
        "01",
        "0002",
        "6530", // causation_id: e0
        "00000007",
        "7b2261223a317d", // {"a":1}
        "0002",           // lines
        LINES[0].1,
        LINES[1].1,
    ],
    "5645fa89a784d9ffd6b31b6d813c57f3f644eb76c9f3b9a6761b66903f18db89",
);

/// One of which everything that may be missing is, without lines.
const BARE: (&[&str], &str) = (
    &[
        "00000000000000000000000000000001",
        "00000000000000000000000000000002",
        "00",                               // user_id
        "00000000000000000000000000000004", // request_id
        "0000",                             // operation_type
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
        "0000",             // domain
        "00",               // internal_tx_id
        "00",               // trace_id
        "0000000000000000", // effective_at
        "0000000000000000",
        "0000000000000000",
        "00",       // chain_id
        "00",       // chain_tx_hash
        "00",       // chain_block_number
        "00",       // chain_block_hash
        "00",       // reverses
        "00",       // compensates
        "00",       // reason
        "0000",     // created_by
        "0000",     // correlation_id
        "00",       // causation_id
        "00000000", // metadata
        "0000",     // lines
    ],
    "87e1db923b36f1ce741eeea441e9988c259bf2b1d108d36d71593eb89e65d5fb",
);

fn full() -> SealedPosting<&'static str> {
    SealedPosting {
        user_id: Some(Uuid::from_u128(3)),
        operation_type: "deposit",
        domain: "cash",
        internal_tx_id: Some(Uuid::from_u128(5)),
        trace_id: Some(Uuid::from_u128(6)),
        effective_at_us: 0x0005_f5e1_0000_0000,
        booked_at_us: -2,
        recorded_at_us: 1,
        chain_id: Some(42_161),
        chain_tx_hash: Some(B256::repeat_byte(0xbb)),
        chain_block_number: Some(150_000_000),
        chain_block_hash: Some(B256::repeat_byte(0xcc)),
        reverses: Some(Uuid::from_u128(7)),
        compensates: Some(Uuid::from_u128(8)),
        reason: Some("é!"),
        created_by: "cli",
        correlation_id: "c1",
        causation_id: Some("e0"),
        metadata: r#"{"a":1}"#,
        ..bare()
    }
}

fn bare() -> SealedPosting<&'static str> {
    SealedPosting {
        tenant_id: Uuid::from_u128(1),
        posting_id: Uuid::from_u128(2),
        user_id: None,
        request_id: Uuid::from_u128(4),
        operation_type: "",
        request_checksum: B256::repeat_byte(0xaa),
        domain: "",
        internal_tx_id: None,
        trace_id: None,
        effective_at_us: 0,
        booked_at_us: 0,
        recorded_at_us: 0,
        chain_id: None,
        chain_tx_hash: None,
        chain_block_number: None,
        chain_block_hash: None,
        reverses: None,
        compensates: None,
        reason: None,
        created_by: "",
        correlation_id: "",
        causation_id: None,
        metadata: "",
    }
}

fn lines() -> [SealedLine<&'static str>; 2] {
    let debit = SealedLine {
        posting_id: Uuid::from_u128(2),
        sequence: 1,
        account_id: Uuid::from_u128(10),
        direction: Direction::Debit,
        amount: U256::from(100),
        currency: "USDT",
        entry_type: "DEPOSIT",
        account_version: 7,
        balance_after: I256::unchecked_from(100),
    };
    let credit = SealedLine {
        sequence: 2,
        account_id: Uuid::from_u128(11),
        direction: Direction::Credit,
        account_version: 9,
        balance_after: I256::unchecked_from(-100),
        ..debit.clone()
    };
    [debit, credit]
}

#[test]
fn a_line_is_the_bytes_that_are_written_down_here() {
    let mut encoder = Encoder::new();
    for (line, (fields, checksum)) in lines().iter().zip(LINES) {
        let mut bytes = Vec::new();
        line.encode(&mut bytes).unwrap();
        assert_eq!(hex::encode(&bytes), fields.concat());
        assert_eq!(hex::encode(encoder.line_checksum(line).unwrap()), checksum);
        assert_eq!(SealedLine::decode(&bytes).as_ref(), Ok(line));
    }
}

#[test]
fn a_posting_is_the_bytes_that_are_written_down_here() {
    let mut encoder = Encoder::new();
    let checksums = lines().map(|line| encoder.line_checksum(&line).unwrap());
    for (posting, checksums, (fields, digest)) in [(full(), &checksums[..], FULL), (bare(), &[], BARE)] {
        let mut bytes = Vec::new();
        posting.encode(checksums, &mut bytes).unwrap();
        assert_eq!(hex::encode(&bytes), fields.concat());
        assert_eq!(hex::encode(encoder.posting_digest(&posting, checksums).unwrap()), digest);
        assert_eq!(SealedPosting::decode(&bytes), Ok((posting, checksums.to_vec())));
    }
}

#[test]
fn what_the_encoding_cannot_hold_is_refused() {
    let longest = "x".repeat(65_535);
    let too_long = "x".repeat(65_536);
    let fault = |field| Unencodable::TooLong { field, bytes: 65_536, max_bytes: 65_535 };
    let mut encoder = Encoder::new();
    let [line, _] = lines();
    assert!(encoder.line_checksum(&SealedLine { currency: &*longest, ..line.clone() }).is_ok());
    assert_eq!(
        encoder.line_checksum(&SealedLine { currency: &*too_long, ..line.clone() }),
        Err(fault("currency"))
    );
    assert_eq!(
        encoder.line_checksum(&SealedLine { entry_type: &*too_long, ..line }),
        Err(fault("entry_type"))
    );
    let text = too_long.as_str();
    for (field, posting) in [
        ("operation_type", SealedPosting { operation_type: text, ..bare() }),
        ("domain", SealedPosting { domain: text, ..bare() }),
        ("reason", SealedPosting { reason: Some(text), ..bare() }),
        ("created_by", SealedPosting { created_by: text, ..bare() }),
        ("correlation_id", SealedPosting { correlation_id: text, ..bare() }),
        ("causation_id", SealedPosting { causation_id: Some(text), ..bare() }),
    ] {
        assert_eq!(encoder.posting_digest(&posting, &[]), Err(fault(field)));
    }
    // Metadata has a longer length of its own.
    assert!(encoder.posting_digest(&SealedPosting { metadata: text, ..bare() }, &[]).is_ok());
    let checksums = vec![B256::ZERO; 65_536];
    assert!(encoder.posting_digest(&bare(), &checksums[1..]).is_ok());
    assert_eq!(encoder.posting_digest(&bare(), &checksums), Err(Unencodable::TooManyLines { lines: 65_536 }));
    // What failed leaves nothing behind in the buffer.
    assert_eq!(hex::encode(encoder.posting_digest(&bare(), &[]).unwrap()), BARE.1);
}

#[test]
fn what_was_not_written_here_is_not_read() {
    let bytes = hex::decode(FULL.0.concat()).unwrap();
    for end in 0..bytes.len() {
        assert!(
            matches!(SealedPosting::decode(&bytes[..end]), Err(Undecodable::Ends { at, .. }) if at == end),
            "{end} bytes"
        );
    }
    let more = [&bytes[..], &[0]].concat();
    assert_eq!(SealedPosting::decode(&more), Err(Undecodable::Rest { bytes: 1 }));
    let with = |at: usize, byte: u8| {
        let mut bytes = bytes.clone();
        bytes[at] = byte;
        SealedPosting::decode(&bytes).map(|_| ())
    };
    assert_eq!(with(32, 2), Err(Undecodable::Kind { field: "user_id", at: 32, byte: 2 }));
    // The `d` of the operation, after 16 + 16 + 17 + 16 + 2 bytes.
    assert_eq!(with(67, 0xff), Err(Undecodable::Text { field: "operation_type", at: 74 }));
    let mut line = hex::decode(LINES[0].0.concat()).unwrap();
    line[34] = 2;
    assert_eq!(SealedLine::decode(&line), Err(Undecodable::Kind { field: "direction", at: 34, byte: 2 }));
}

proptest! {
    #[test]
    fn a_line_that_is_encoded_is_read_back(line in made::line()) {
        let mut bytes = Vec::new();
        line.encode(&mut bytes).unwrap();
        let read = SealedLine::decode(&bytes).unwrap();
        prop_assert_eq!(made::owned_line(&read), line);
    }

    #[test]
    fn a_posting_that_is_encoded_is_read_back(
        posting in made::posting(),
        checksums in proptest::collection::vec(any::<[u8; 32]>().prop_map(B256::new), 0..5),
    ) {
        let mut bytes = Vec::new();
        posting.encode(&checksums, &mut bytes).unwrap();
        let (read, read_checksums) = SealedPosting::decode(&bytes).unwrap();
        prop_assert_eq!(made::owned_posting(&read), posting);
        prop_assert_eq!(read_checksums, checksums);
    }

    #[test]
    fn bytes_that_are_read_are_written_the_same(
        posting in made::posting(), at in any::<prop::sample::Index>(), byte: u8,
    ) {
        let mut bytes = Vec::new();
        posting.encode(&[B256::ZERO], &mut bytes).unwrap();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        if let Ok((read, checksums)) = SealedPosting::decode(&bytes) {
            let mut again = Vec::new();
            read.encode(&checksums, &mut again).unwrap();
            prop_assert_eq!(again, bytes);
        }
    }
}

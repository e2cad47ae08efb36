use alloy_primitives::{I256, U256};
use proptest::prelude::*;

use super::{ExportedLine, ExportedPosting, MAX_ROW_BYTES};
use crate::ledger::made;

/// A line of an export, written by hand.
const LINE: &str = concat!(
    r#"{"tenant_id":"00000000-0000-0000-0000-000000000001","posting_id":"00000000-0000-0000-0000-000000000002","#,
    r#""user_id":null,"request_id":"00000000-0000-0000-0000-000000000004","operation_type":"deposit","#,
    r#""checksum":"0xaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa","domain":"cash","#,
    r#""internal_tx_id":null,"trace_id":"00000000-0000-0000-0000-000000000006","#,
    r#""effective_at":"2026-11-22T12:34:05.123456Z","booked_at":"1969-12-31T23:59:59.999998Z","#,
    r#""recorded_at":"2024-02-29T00:00:00.000000Z","chain_id":42161,"#,
    r#""chain_tx_hash":"0xbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb","#,
    r#""chain_block_number":150000000,"chain_block_hash":null,"reverses":null,"compensates":null,"reason":null,"#,
    r#""created_by":"cli","correlation_id":"c1","causation_id":"e0","metadata":{"b":1.50,"a":1e400},"#,
    r#""lines":[{"sequence":1,"account_id":"00000000-0000-0000-0000-00000000000a","direction":"debit","#,
    r#""amount":"115792089237316195423570985008687907853269984665640564039457584007913129639935","#,
    r#""currency":"USDT","entry_type":"DEPOSIT","account_version":18446744073709551615,"#,
    r#""balance_after":"-57896044618658097711785492504343953926634992332820282019728792003956564819968","#,
    r#""checksum":"0xcccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc"}],"leaf_index":0,"#,
    r#""prev_entry_hash":"0x0000000000000000000000000000000000000000000000000000000000000000","#,
    r#""entry_hash":"0xdddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd"}"#,
);

fn with(find: &str, put: &str) -> String {
    assert!(LINE.contains(find), "{find}");
    LINE.replacen(find, put, 1)
}

fn fault(json: &str) -> (String, String) {
    let fault = ExportedPosting::from_json(7, json).expect_err(json);
    assert_eq!(fault.line, 7);
    assert!(fault.to_string().starts_with("line 7"), "{fault}");
    (fault.field, fault.reason)
}

#[test]
fn a_line_is_read_as_it_says_and_written_the_same() {
    let read = ExportedPosting::from_json(1, LINE).unwrap();
    let posting = &read.posting;
    assert_eq!(posting.effective_at_us, 1_795_350_845_123_456);
    assert_eq!(posting.booked_at_us, -2);
    assert_eq!(posting.recorded_at_us, 1_709_164_800_000_000);
    assert_eq!(posting.metadata, r#"{"b":1.50,"a":1e400}"#, "verbatim");
    assert_eq!((posting.chain_id, posting.chain_block_hash), (Some(42_161), None));
    assert_eq!(read.lines[0].line.posting_id, posting.posting_id);
    assert_eq!((read.lines[0].line.amount, read.lines[0].line.balance_after), (U256::MAX, I256::MIN));
    let mut written = Vec::new();
    read.write_json(&mut written).unwrap();
    assert_eq!(String::from_utf8(written).unwrap(), format!("{LINE}\n"));
}

#[test]
fn what_is_missing_unknown_or_twice_is_refused() {
    for (name, field) in [
        (r#""user_id":null,"#, "user_id"),
        (r#""chain_id":42161,"#, "chain_id"),
        (r#""reason":null,"#, "reason"),
        (r#""reverses":null,"#, "reverses"),
        (r#""leaf_index":0,"#, "leaf_index"),
        (r#""currency":"USDT","#, "currency"),
    ] {
        let (_, reason) = fault(&with(name, ""));
        assert!(reason.contains(&format!("missing field `{field}`")), "{field}: {reason}");
        let (_, reason) = fault(&with(name, &name.repeat(2)));
        assert!(reason.contains("duplicate field"), "{field}: {reason}");
    }
    let (field, reason) = fault(&with(r#""domain""#, r#""watermark":1,"domain""#));
    assert!(field == "watermark" && reason.contains("unknown field"), "{field}: {reason}");
    let (field, reason) = fault(&with(r#""currency""#, r#""posting_id":"","currency""#));
    assert!(field == "lines[0].posting_id" && reason.contains("unknown field"), "{field}: {reason}");
}

#[test]
fn a_value_has_one_spelling_and_a_fault_names_its_field() {
    let amount = "115792089237316195423570985008687907853269984665640564039457584007913129639935";
    let balance = "-57896044618658097711785492504343953926634992332820282019728792003956564819968";
    let beyond = format!("{}6", &amount[..77]);
    let below = balance.replace("968", "969");
    for (field, find, puts) in [
        (
            "tenant_id",
            r#"-000000000001""#,
            &[r#"-00000000001""#, r#"-00000000000z""#, r#"-00000000000A""#][..],
        ),
        ("checksum", "0xaaaa", &["0xAaaa", "aaaa", "0xaaa", "0xaaaaa", "0xgaaa"]),
        (
            "effective_at",
            "12:34:05.123456Z",
            &[
                "12:34:05.12345Z",
                "12:34:05.1234567Z",
                "12:34:05Z",
                "12:34:05.123456+00:00",
                "12:34:05.123456z",
                "24:00:00.000000Z",
                "12:34:60.000000Z",
                "+2:34:05.123456Z",
            ],
        ),
        (
            "effective_at",
            "2026-11-22T",
            &["2026-11-31T", "2026-13-22T", "2026-11-22 ", "2025-02-29T", "2026-00-01T"],
        ),
        ("lines[0].amount", amount, &["", "-1", "+1", "01", "00", "1.0", "1e3", "0x1", " 1", &beyond]),
        ("lines[0].balance_after", balance, &["-0", "--1", "-01", "- 1", "+1", "-", &below]),
        ("lines[0].direction", "debit", &["Debit", "DEBIT", "0"]),
        (
            "lines[0].sequence",
            r#""sequence":1"#,
            &[r#""sequence":65536"#, r#""sequence":-1"#, r#""sequence":"1""#],
        ),
        ("leaf_index", r#""leaf_index":0"#, &[r#""leaf_index":1.0"#, r#""leaf_index":null"#]),
        ("domain", r#""cash""#, &["null", "1"]),
        ("user_id", r#""user_id":null"#, &[r#""user_id":"""#, r#""user_id":false"#]),
    ] {
        for put in puts {
            let (named, reason) = fault(&with(find, put));
            assert_eq!(named, field, "{put}: {reason}");
        }
    }
    for more in ["x", " {}", ","] {
        assert_eq!(fault(&format!("{LINE}{more}")).0, "", "{more}");
    }
    for line in ["", "{}", "[]", "null", &LINE[..LINE.len() - 1]] {
        fault(line);
    }
    assert!(fault(&" ".repeat(MAX_ROW_BYTES + 1)).1.contains("at most"));
}

#[test]
fn what_no_line_can_say_is_not_written() {
    let good = ExportedPosting::from_json(1, LINE).unwrap();
    let mut out = b"before\n".to_vec();
    for metadata in ["", "{", "{} {}", "{\n}", " {}", "{} "] {
        let mut bad = good.clone();
        bad.posting.metadata = metadata.to_owned();
        assert_eq!(bad.write_json(&mut out).unwrap_err().field, "metadata", "{metadata:?}");
    }
    for us in [i64::MIN, i64::MAX, -62_167_219_200_000_001, 253_402_300_800_000_000] {
        let mut bad = good.clone();
        bad.posting.booked_at_us = us;
        assert_eq!(bad.write_json(&mut out).unwrap_err().field, "booked_at", "{us}");
    }
    assert_eq!(out, b"before\n");
}

proptest! {
    #[test]
    fn a_posting_that_is_written_is_read_back(
        posting in made::posting(), lines in proptest::collection::vec((made::line(), made::hash()), 0..4),
        leaf_index: u64, prev_entry_hash in made::hash(), entry_hash in made::hash(),
    ) {
        let lines = lines
            .into_iter()
            .map(|(mut line, checksum)| {
                line.posting_id = posting.posting_id;
                ExportedLine { line, checksum }
            })
            .collect();
        let exported = ExportedPosting { posting, lines, leaf_index, prev_entry_hash, entry_hash };
        let mut json = Vec::new();
        exported.write_json(&mut json).unwrap();
        let json = String::from_utf8(json).unwrap();
        let line = json.strip_suffix('\n').unwrap();
        prop_assert!(!line.contains('\n'));
        prop_assert_eq!(ExportedPosting::from_json(1, line).unwrap(), exported);
    }
}

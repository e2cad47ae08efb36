use alloy_primitives::b256;

use super::*;

/// A London header, all zeros but for the fields that tests look at.
fn london() -> String {
    let word = |byte: &str| format!("0x{}", byte.repeat(32));
    format!(
        r#"{{"hash":"{}","parentHash":"{}","sha3Uncles":"{}","miner":"0x{}","stateRoot":"{}","transactionsRoot":"{}",
        "receiptsRoot":"{}","logsBloom":"0x{}","difficulty":"0x0","number":"0x7","gasLimit":"0x1c9c380","gasUsed":"0x5208",
        "timestamp":"0x6b00a99e","extraData":"0x","mixHash":"{}","nonce":"0x0000000000000000","baseFeePerGas":"0x3b9aca00",
        "size":"0x267","uncles":[],"transactions":[{{"hash":"0x00"}}],"totalDifficulty":"0x0"}}"#,
        word("a1"),
        word("a0"),
        word("1d"),
        "00".repeat(20),
        word("c0"),
        word("c1"),
        word("c2"),
        "00".repeat(256),
        word("00"),
    )
    .replace('\n', "")
}

fn read(json: &str) -> Header {
    serde_json::from_str(json).unwrap()
}

/// The header with a hash that is right.
fn rehashed(mut header: Header) -> Header {
    header.hash = header.compute_hash().unwrap();
    header
}

/// A field that `name` gives, before the last brace.
fn with(json: &str, name: &str, value: &str) -> String {
    format!(r#"{},"{name}":"{value}"}}"#, json.strip_suffix('}').unwrap())
}

#[test]
fn a_hash_that_the_fields_do_not_have_is_a_contradiction() {
    let fault = read(&london()).prove().unwrap_err();
    assert_eq!(fault.finding(), Finding::Contradiction);
    let HeaderFault::Hash { claimed, computed, fork, .. } = fault else { panic!("{fault}") };
    assert_eq!(claimed, B256::repeat_byte(0xa1));
    assert_eq!(computed, b256!("007541abd5d9e022b4c2600c572e79b9b1ca5f272920e91d077b44e2c938e670"));
    assert_eq!(fork, Fork::London);
}

#[test]
fn every_field_counts() {
    let word = format!("0x{}", "ee".repeat(32));
    let full = [
        ("withdrawalsRoot", word.as_str()),
        ("blobGasUsed", "0x1"),
        ("excessBlobGas", "0x1"),
        ("parentBeaconBlockRoot", &word),
        ("requestsHash", &word),
        ("blockAccessListHash", &word),
        ("slotNumber", "0x1"),
    ]
    .into_iter()
    .fold(london(), |json, (name, value)| with(&json, name, value));
    let base: serde_json::Value = serde_json::from_str(&full).unwrap();
    let hash = read(&full).compute_hash().unwrap();
    let beside = ["hash", "size", "uncles", "transactions", "totalDifficulty"];
    let mut altered = 0;
    for name in base.as_object().unwrap().keys().filter(|name| !beside.contains(&name.as_str())) {
        let mut json = base.clone();
        let text = json[name].as_str().unwrap();
        let last = if text.ends_with('1') { '2' } else { '1' };
        json[name] =
            if text == "0x" { "0x01".into() } else { format!("{}{last}", &text[..text.len() - 1]).into() };
        assert_ne!(read(&json.to_string()).compute_hash().unwrap(), hash, "{name}");
        altered += 1;
    }
    assert_eq!(altered, 23);
    let lifted = read(&full.replace(r#""size":"0x267""#, r#""size":"0x268""#));
    assert_eq!(lifted.compute_hash().unwrap(), hash, "the size is not in the header");
}

#[test]
fn the_fields_must_be_a_beginning_of_the_forks_order() {
    let gap = read(&with(&london(), "requestsHash", &format!("0x{}", "ee".repeat(32)))).prove().unwrap_err();
    assert_eq!(gap, HeaderFault::Gap { missing: "withdrawalsRoot", present: "requestsHash" });
    assert_eq!(gap.finding(), Finding::Unproven);
    let null = read(&with(&london(), "withdrawalsRoot", "x").replace(r#""x""#, "null"));
    assert_eq!(null.fork(), Fork::London, "null is as good as missing");
}

#[test]
fn a_field_that_every_header_has_is_missed_by_name_and_does_not_hinder_reading() {
    for field in ["sha3Uncles", "miner", "difficulty", "extraData", "mixHash", "nonce"] {
        let mut json: serde_json::Value = serde_json::from_str(&london()).unwrap();
        json.as_object_mut().unwrap().remove(field);
        let fault = read(&json.to_string()).prove().unwrap_err();
        assert_eq!(fault, HeaderFault::Missing { field });
        assert_eq!(fault.finding(), Finding::Unproven);
    }
}

#[test]
fn a_wrong_hash_beside_a_field_that_nobody_knows_is_unproven() {
    let json = with(&london(), "proofOfSomething", "0x1");
    let fault = read(&json).prove().unwrap_err();
    assert_eq!(fault.finding(), Finding::Unproven);
    assert!(fault.to_string().contains("proofOfSomething"), "{fault}");

    let right = rehashed(read(&json));
    assert_eq!(right.unknown_fields, ["proofOfSomething"]);
    right.prove().expect("a field beside a header that hashes right changes nothing");
}

#[test]
fn names_that_nobody_knows_are_noted_within_bounds() {
    let json = (0..100).fold(london(), |json, n| with(&json, &format!("{n}{}", "x".repeat(500)), "0x1"));
    let header = read(&json);
    assert_eq!(header.unknown_fields.len(), 8);
    assert!(header.unknown_fields.iter().all(|name| name.len() == 40));
}

#[test]
fn a_pending_block_and_one_with_a_field_twice_are_refused() {
    for (json, complaint) in [
        (london().replace(r#""number":"0x7""#, r#""number":null"#), "pending block"),
        (with(&london(), "number", "0x8"), "duplicate field `number`"),
        (london().replace(r#""stateRoot""#, r#""stateRoof""#), "missing field `stateRoot`"),
    ] {
        let error = serde_json::from_str::<Header>(&json).unwrap_err().to_string();
        assert!(error.contains(complaint), "{error}");
    }
}

#[test]
fn a_header_is_read_back_from_its_encoding_and_nothing_else_is() {
    let header = rehashed(read(&london()));
    let bytes = header.encode().unwrap();
    let decoded = ProvenHeader::decode(&bytes).unwrap();
    assert_eq!(decoded.into_inner(), header);
    for (what, bytes) in [
        ("cut off", bytes[..bytes.len() - 1].to_vec()),
        ("with a byte behind it", [bytes.as_slice(), &[0x80]].concat()),
        ("empty", Vec::new()),
    ] {
        assert!(ProvenHeader::decode(&bytes).is_err(), "{what}");
    }
}

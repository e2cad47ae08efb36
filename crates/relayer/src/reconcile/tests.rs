//! Tables: what is found, and what is not.

use super::*;

const ID: Uuid = Uuid::from_u128(7);

fn hash(byte: u8) -> B256 {
    B256::repeat_byte(byte)
}

/// Seven consumed, ten given, and a request for each of the three between.
fn ours() -> Ours {
    Ours { next_nonce: 10, consumed_next: 7, bound: [7, 8, 9].into(), folded_to: 100, ..Ours::default() }
}

fn theirs(latest: u64, pending: u64) -> Theirs {
    Theirs { latest: Some(latest), pending: Some(pending), known: HashMap::new() }
}

fn flying(nonce: u64, hashes: &[u8]) -> Flying {
    let tx_hashes = hashes.iter().map(|byte| hash(*byte)).collect();
    Flying { transaction_id: ID, nonce, tx_hashes, is_to_end: false }
}

fn told(ours: &Ours, theirs: &Theirs) -> Vec<(Kind, u64, u64)> {
    let findings = compare(ours, theirs);
    findings.iter().map(|finding| (finding.kind, finding.nonce, finding.until)).collect()
}

#[test]
fn nonces_agree_or_what_does_not_is_named() {
    use Kind::{Behind, Foreign, Gap, Span, Stranger};
    let with = |next_nonce, consumed_next, bound: &[u64]| Ours {
        next_nonce,
        consumed_next,
        bound: bound.iter().copied().collect(),
        ..Ours::default()
    };
    let far = crate::desk::SPAN_MAX;
    for (name, ours, theirs, expected) in [
        ("all agree", ours(), theirs(7, 10), vec![]),
        ("the chain is ahead of the journal", ours(), theirs(9, 10), vec![]),
        ("a pool has not everything", ours(), theirs(7, 7), vec![]),
        ("nobody says anything", ours(), Theirs::default(), vec![]),
        ("a gap", with(10, 7, &[7, 9]), theirs(7, 8), vec![(Gap, 8, 9)]),
        ("two gaps", with(12, 7, &[8, 11]), theirs(7, 7), vec![(Gap, 7, 8), (Gap, 9, 11)]),
        ("a gap that the chain has consumed", with(10, 7, &[8, 9]), theirs(8, 10), vec![]),
        ("the endpoints lag", ours(), theirs(5, 10), vec![(Behind, 5, 7)]),
        ("the chain is ahead of us", ours(), theirs(13, 13), vec![(Foreign, 10, 13)]),
        ("the journal knows it too", with(10, 13, &[]), theirs(13, 13), vec![(Foreign, 10, 13)]),
        ("a signer that is new to us", with(0, 0, &[]), theirs(13, 13), vec![]),
        ("a stranger waits", ours(), theirs(7, 12), vec![(Stranger, 10, 12)]),
        ("used and waiting", ours(), theirs(11, 12), vec![(Foreign, 10, 11), (Stranger, 11, 12)]),
        ("a lie", with(far + 8, 7, &[]), theirs(7, 7), vec![(Span, 7, far + 8)]),
    ] {
        assert_eq!(told(&ours, &theirs), expected, "{name}");
    }
}

#[test]
fn what_is_under_way_is_where_it_should_be_or_said_not_to_be() {
    use Kind::{Displaced, Lost, Unended, Unjournaled};
    let block = |number| Known::InBlock { number, hash: hash(0xbb) };
    let (first, second) = (hash(1), hash(2));
    for (name, latest, is_to_end, known, expected) in [
        ("waiting", 7, false, vec![(first, Known::Nowhere), (second, Known::Waiting)], None),
        ("lost", 7, false, vec![(first, Known::Nowhere), (second, Known::Nowhere)], Some(Lost)),
        ("not everybody answered", 7, false, vec![(first, Known::Nowhere), (second, Known::Unheard)], None),
        ("not asked about", 7, false, vec![(first, Known::Nowhere)], None),
        ("to end", 7, true, vec![(first, Known::Waiting), (second, Known::Nowhere)], Some(Unended)),
        ("included, and not folded yet", 8, false, vec![(first, block(101)), (second, Known::Nowhere)], None),
        (
            "included, and passed",
            8,
            false,
            vec![(first, block(100)), (second, Known::Nowhere)],
            Some(Unjournaled),
        ),
        ("displaced", 8, false, vec![(first, Known::Nowhere), (second, Known::Nowhere)], Some(Displaced)),
        (
            "displaced before it was to end",
            8,
            true,
            vec![(first, Known::Nowhere), (second, Known::Nowhere)],
            Some(Displaced),
        ),
        ("perhaps displaced", 8, false, vec![(first, Known::Nowhere), (second, Known::Unheard)], None),
    ] {
        let flying = Flying { is_to_end, ..flying(7, &[1, 2]) };
        let ours = Ours { flights: vec![flying], ..ours() };
        let theirs = Theirs { known: known.into_iter().collect(), ..theirs(latest, 10) };
        let found: Vec<_> = compare(&ours, &theirs);
        assert_eq!(found.first().map(|finding| finding.kind), expected, "{name}");
        assert!(found.len() <= 1 && found.iter().all(|finding| finding.transaction_id == Some(ID)), "{name}");
    }
}

#[test]
fn what_is_in_a_block_is_in_that_block() {
    use Kind::{Moved, Vanished};
    let landed = Landed { transaction_id: ID, nonce: 5, tx_hash: hash(1), block_hash: hash(0xbb) };
    for (known, expected) in [
        (Some(Known::InBlock { number: 50, hash: hash(0xbb) }), None),
        (Some(Known::InBlock { number: 50, hash: hash(0xcc) }), Some(Moved)),
        (Some(Known::Waiting), Some(Vanished)),
        (Some(Known::Nowhere), Some(Vanished)),
        (Some(Known::Unheard), None),
        (None, None),
    ] {
        let ours = Ours { landed: vec![landed.clone()], ..ours() };
        let known = known.map(|known| (hash(1), known)).into_iter().collect();
        let theirs = Theirs { known, ..theirs(7, 10) };
        let found = compare(&ours, &theirs);
        assert_eq!(found.first().map(|finding| finding.kind), expected, "{theirs:?}");
    }
}

#[test]
fn only_what_is_found_twice_counts() {
    let gap = |nonce, until| Finding::between(Kind::Gap, nonce, until);
    let lost = |id| Finding::about(Kind::Lost, 7, Uuid::from_u128(id));
    let before = [gap(3, 6), lost(1)];
    let now = vec![gap(5, 8), gap(6, 9), lost(1), lost(2), Finding::of(Kind::Behind, 4)];
    assert_eq!(lasting(&before, now), [gap(5, 8), lost(1)]);
    assert_eq!(lasting(&[], vec![lost(1)]), []);
}

#[test]
fn the_summary_says_what_would_be_done() {
    let findings = [
        Finding::between(Kind::Gap, 3, 6),
        Finding::about(Kind::Lost, 7, ID),
        Finding::about(Kind::Lost, 8, Uuid::nil()),
        Finding::between(Kind::Foreign, 10, 13),
    ];
    let summary = Summary::of(&findings);
    assert_eq!(summary, Summary { fill: 3, resend: 2, cancel: 0, stay: 1 });
    assert!(summary.has_repairs() && !Summary::of(&findings[3..]).has_repairs());
    assert_eq!(
        findings[0].to_string(),
        "nonces 3 to 5: no request has this nonce, and what is behind it waits: it is filled"
    );
    assert!(findings[1].to_string().starts_with(&format!("nonce 7 of transaction {ID}: no endpoint knows")));
}

#[test]
fn every_kind_has_a_name_of_its_own_and_is_read_as_it_is_written() {
    let names: BTreeSet<_> = Kind::ALL.iter().map(|kind| kind.as_str()).collect();
    assert_eq!(names.len(), Kind::ALL.len());
    for kind in Kind::ALL {
        assert_eq!(serde_json::to_value(kind).unwrap(), kind.as_str());
    }
}

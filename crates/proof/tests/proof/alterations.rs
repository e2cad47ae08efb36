//! Whatever is altered, left out, added or moved in a block's receipts, its header does not have them any more.

use alloy_primitives::{Address, B256, Bytes};
use plimsoll_proof::{
    Dispute, Finding, LogFilter, Outcome, PlacedLog, Receipt, ReceiptsFault, ReportedReceipt,
};
use proptest::prelude::*;

use crate::made;

/// The root, found where only it can tell.
fn is_root_fault(fault: &ReceiptsFault) -> bool {
    matches!(fault, ReceiptsFault::Root { .. })
}

/// One way to alter a block's receipts; none where there is nothing to alter.
type Alteration = fn(&mut Vec<ReportedReceipt>, usize, usize) -> Option<()>;

fn log_of(receipts: &mut [ReportedReceipt], at: usize, place: usize) -> Option<&mut plimsoll_proof::Log> {
    let logs = &mut receipts.get_mut(at)?.receipt.logs;
    let count = logs.len().max(1);
    logs.get_mut(place % count)
}

const ALTERATIONS: &[(&str, Alteration)] = &[
    ("another status", |receipts, at, _| {
        let outcome = &mut receipts.get_mut(at)?.receipt.outcome;
        *outcome = Outcome::Status(*outcome != Outcome::Status(true));
        Some(())
    }),
    ("a state root for a status", |receipts, at, _| {
        receipts.get_mut(at)?.receipt.outcome = Outcome::StateRoot(B256::ZERO);
        Some(())
    }),
    ("other gas", |receipts, at, _| {
        receipts.get_mut(at)?.receipt.cumulative_gas_used += 1;
        Some(())
    }),
    ("another type", |receipts, at, _| {
        let tx_type = &mut receipts.get_mut(at)?.receipt.tx_type;
        *tx_type = (*tx_type + 1) % 5;
        Some(())
    }),
    ("another bloom", |receipts, at, place| {
        receipts.get_mut(at)?.receipt.bloom[place % 256] ^= 1;
        Some(())
    }),
    ("another contract", |receipts, at, place| {
        log_of(receipts, at, place)?.address = Address::repeat_byte(1);
        Some(())
    }),
    ("another topic", |receipts, at, place| {
        log_of(receipts, at, place)?.topics.last_mut()?[31] ^= 1;
        Some(())
    }),
    ("a topic less", |receipts, at, place| log_of(receipts, at, place)?.topics.pop().map(drop)),
    ("other data", |receipts, at, place| {
        let data = &mut log_of(receipts, at, place)?.data;
        *data = Bytes::from([data.as_ref(), &[0]].concat());
        Some(())
    }),
    ("a log less", |receipts, at, _| receipts.get_mut(at)?.receipt.logs.pop().map(drop)),
    ("a log more", |receipts, at, _| {
        receipts.get_mut(at)?.receipt.logs.push(made::log(9_999));
        Some(())
    }),
    ("logs in another order", |receipts, at, _| {
        let logs = &mut receipts.get_mut(at)?.receipt.logs;
        (logs.len() > 1).then(|| logs.rotate_left(1))
    }),
    ("a receipt less", |receipts, at, _| (at < receipts.len()).then(|| drop(receipts.remove(at)))),
    ("a receipt twice", |receipts, at, _| {
        let twin = receipts.get(at)?.clone();
        receipts.push(twin);
        Some(())
    }),
    ("receipts in another order", |receipts, _, _| (receipts.len() > 1).then(|| receipts.rotate_left(1))),
];

proptest! {
    #[test]
    fn any_alteration_of_the_receipts_is_found(count in 1_u64..40, at in 0_usize..40, place in 0_usize..300, way in 0..ALTERATIONS.len()) {
        let (header, receipts) = made::block(made::receipts(count));
        let (name, alter) = ALTERATIONS[way];
        let mut altered = receipts.clone();
        prop_assume!(alter(&mut altered, at % receipts.len(), place).is_some());
        let fault = header.prove_receipts(altered).unwrap_err();
        prop_assert!(is_root_fault(&fault), "{name}: {fault}");
        prop_assert_eq!(fault.finding(), Finding::Contradiction);
        prop_assert!(header.prove_receipts(receipts).is_ok());
    }

    #[test]
    fn no_other_bytes_are_the_encoding_of_a_receipt(seed in 0_u64..10_000, logs in 0_u64..4, at in any::<prop::sample::Index>(), bit in 0_u8..8) {
        let logs: Vec<_> = (0..logs).map(|place| made::log(seed + place)).collect();
        let receipt = made::reported(0, (seed % 5) as u8, seed % 2 == 0, seed * seed, logs, Vec::new()).receipt;
        let mut bytes = Vec::new();
        receipt.encode(&mut bytes);
        prop_assert_eq!(&Receipt::decode(&bytes).unwrap(), &receipt);
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        if let Ok(other) = Receipt::decode(&bytes) {
            prop_assert_ne!(&other, &receipt);
            let mut again = Vec::new();
            other.encode(&mut again);
            prop_assert_eq!(again, bytes, "what is read is written the same");
        }
    }
}

#[test]
fn every_alteration_is_one_that_the_property_can_make() {
    for (name, alter) in ALTERATIONS {
        let (header, receipts) = made::block(made::receipts(20));
        let mut altered = receipts.clone();
        alter(&mut altered, 18, 1).unwrap_or_else(|| panic!("{name}: there is nothing to alter"));
        assert!(is_root_fault(&header.prove_receipts(altered).unwrap_err()), "{name}");
    }
}

#[test]
fn a_hidden_log_is_told_by_its_receipt_where_the_bloom_was_left() {
    let (header, mut receipts) = made::block(made::receipts(20));
    receipts[7].receipt.logs.pop();
    let fault = header.prove_receipts(receipts).unwrap_err();
    let ReceiptsFault::Root { altered, .. } = &fault else { panic!("{fault}") };
    assert_eq!(*altered, [7]);
    assert!(fault.to_string().contains("number 7"), "{fault}");
}

#[test]
fn a_wrong_root_beside_a_type_that_nobody_knows_is_unproven_and_a_right_one_is_right() {
    let mut receipts = made::receipts(5);
    receipts[3].receipt.tx_type = 0x7e;
    let (header, receipts) = made::block(receipts);
    header.prove_receipts(receipts.clone()).expect("a type byte before the list, as all have had so far");
    for unknown in [0x7e, 0x78] {
        let mut altered = receipts.clone();
        altered[3].receipt.tx_type = unknown;
        altered[0].receipt.cumulative_gas_used += 1;
        let fault = header.prove_receipts(altered).unwrap_err();
        assert_eq!(fault.finding(), Finding::Unproven);
        assert!(fault.to_string().contains(&format!("{unknown:#04x}")), "{fault}");
    }
}

#[test]
fn receipts_that_say_that_they_stand_elsewhere_are_refused() {
    let (header, receipts) = made::block(made::receipts(5));
    let claim = |alter: fn(&mut ReportedReceipt)| {
        let mut altered = receipts.clone();
        alter(&mut altered[3]);
        let fault = header.prove_receipts(altered).unwrap_err();
        assert_eq!(fault.finding(), Finding::Contradiction);
        fault
    };
    assert_eq!(
        claim(|reported| reported.block_hash = B256::repeat_byte(9)),
        ReceiptsFault::OtherBlock { index: 3, claimed: B256::repeat_byte(9) }
    );
    assert_eq!(claim(|reported| reported.tx_index = 4), ReceiptsFault::Displaced { index: 3, claimed: 4 });
    // Receipts 0 to 2 have three logs.
    assert_eq!(
        claim(|reported| reported.log_indexes[1] = 0),
        ReceiptsFault::LogIndex { index: 3, expected: 4, claimed: 0 }
    );
}

#[test]
fn an_empty_block_is_proven_empty() {
    let (header, receipts) = made::block(Vec::new());
    assert_eq!(header.receipts_root, empty_root());
    let proven = header.prove_receipts(receipts).unwrap();
    assert_eq!(proven.logs().count(), 0);
    assert_eq!(proven.inclusion(0), None);
}

/// Hash of the empty string's encoding (yellow paper, appendix D).
fn empty_root() -> B256 {
    alloy_primitives::keccak256([0x80])
}

#[test]
fn logs_that_a_node_hid_invented_or_altered_are_named() {
    let (header, receipts) = made::block(made::receipts(8));
    let proven = header.prove_receipts(receipts).unwrap();
    let all: Vec<PlacedLog<'_>> = proven.logs().collect();
    let everything = LogFilter::default();
    assert_eq!(proven.disputes(&everything, all.clone()), []);

    let hidden: Vec<_> = all.iter().copied().filter(|placed| placed.log_index != 4).collect();
    assert_eq!(proven.disputes(&everything, hidden), [Dispute::Hidden { log_index: 4 }]);
    let last = all[..all.len() - 1].to_vec();
    assert_eq!(proven.disputes(&everything, last), [Dispute::Hidden { log_index: 11 }]);
    let mut twice = all.clone();
    twice.insert(3, all[2]);
    assert_eq!(proven.disputes(&everything, twice), [Dispute::Invented { log_index: 2 }]);
    let mut altered = all.clone();
    altered[5].tx_index += 1;
    altered[6].address = Address::ZERO;
    let disputes = [Dispute::Altered { log_index: 5 }, Dispute::Altered { log_index: 6 }];
    assert_eq!(proven.disputes(&everything, altered), disputes);
    let data = Bytes::from_static(b"another");
    let mut altered = all.clone();
    altered[7].data = &data;
    assert_eq!(proven.disputes(&everything, altered), [Dispute::Altered { log_index: 7 }]);

    let one = LogFilter::new(&[all[3].address], &[]);
    assert_eq!(proven.disputes(&one, [all[3]]), []);
    assert_eq!(proven.disputes(&one, []), [Dispute::Hidden { log_index: 3 }]);
    let unwanted = [Dispute::Invented { log_index: 2 }, Dispute::Hidden { log_index: 3 }];
    assert_eq!(proven.disputes(&one, [all[2]]), unwanted);
}

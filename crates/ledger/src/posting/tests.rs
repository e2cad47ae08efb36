use alloy_primitives::U256;
use proptest::prelude::*;
use serde_json::json;

use super::*;

fn line(direction: Direction, amount: Amount, currency: &str) -> Line {
    Line::new(Uuid::from_u128(1), direction, amount, currency, "TRADE")
}

fn draft(lines: Vec<Line>) -> Draft {
    let context = Context::new(Uuid::from_u128(7), "test").on_behalf_of(Uuid::from_u128(8), None);
    Draft::new(context, "transfer", "cash", lines)
}

fn pair() -> Draft {
    draft([Direction::Debit, Direction::Credit].map(|it| line(it, Amount::from(5_u64), "USDC")).into())
}

#[test]
fn what_does_not_balance_is_no_posting() {
    let (debit, credit) = (Direction::Debit, Direction::Credit);
    let all = Amount(U256::MAX);
    let lines =
        vec![line(debit, all, "A"), line(debit, all, "A"), line(credit, all, "A"), line(credit, all, "A")];
    assert!(Posting::new(draft(lines)).is_ok(), "sums beyond 256 bits are sums");
    let lines = vec![line(debit, Amount::from(5_u64), "A"), line(credit, Amount::from(5_u64), "B")];
    let expected = Invalid::Unbalanced { currency: "A".into(), debits: "5".into(), credits: "0".into() };
    assert_eq!(Posting::new(draft(lines)).unwrap_err(), expected);
}

#[test]
fn what_is_wrong_is_said_with_its_place() {
    let with = |change: &dyn Fn(&mut Draft)| {
        let mut asked = pair();
        change(&mut asked);
        Posting::new(asked).unwrap_err().to_string()
    };
    for (told, found) in [
        ("a posting has a tenant_id", with(&|it| it.context.tenant_id = None)),
        ("from 2 to 512 lines; this one has 1", with(&|it| it.lines.truncate(1))),
        ("this one has 514", with(&|it| it.lines = vec![it.lines.clone(); 257].concat())),
        ("line 2: an amount of 0", with(&|it| it.lines[1].amount = Amount::ZERO)),
        ("line 1, currency: it must not have ' '", with(&|it| it.lines[0].currency = "US DC".into())),
        ("line 2, entry_type: it has 0 characters", with(&|it| it.lines[1].entry_type = String::new())),
        ("operation_type: it has 65 characters", with(&|it| it.operation_type = "x".repeat(65))),
        ("domain: it must not have 'C'", with(&|it| it.domain = "Cash".into())),
        (
            "reason: it has 0",
            with(&|it| it.correction = Some((Correction::Compensates(Uuid::nil()), String::new()))),
        ),
        (
            "ask for its reversal",
            with(&|it| it.correction = Some((Correction::Reverses(Uuid::nil()), "x".into()))),
        ),
        (
            "metadata: 20010 bytes",
            with(&|it| drop(it.metadata.insert("a".into(), json!("x".repeat(20_002))))),
        ),
    ] {
        assert!(found.contains(told), "{found}");
    }
}

#[test]
fn the_checksum_is_of_all_that_is_asked_for_and_of_nothing_else() {
    let checksum = |change: &dyn Fn(&mut Draft)| {
        let mut asked = pair();
        change(&mut asked);
        Posting::checked(asked).unwrap().checksum()
    };
    let same = checksum(&|_| ());
    for change in [
        &|it: &mut Draft| it.context.actor = "another".into(),
        &|it: &mut Draft| it.context.correlation_id = "another".into(),
        &|it: &mut Draft| it.context.causation_id = Some("another".into()),
        &|it: &mut Draft| it.origin = Origin::Chain,
    ] as [&dyn Fn(&mut Draft); 4]
    {
        assert_eq!(checksum(change), same);
    }
    let block = Some((7, B256::ZERO));
    let others: [&dyn Fn(&mut Draft); 14] = [
        &|it| it.domain = "reward".into(),
        &|it| it.internal_tx_id = Some(Uuid::nil()),
        &|it| it.trace_id = Some(Uuid::nil()),
        &|it| it.effective_at = Some(OffsetDateTime::UNIX_EPOCH),
        &|it| it.on_chain = Some(OnChain { chain_id: 1, tx_hash: None, block: None }),
        &|it| it.on_chain = Some(OnChain { chain_id: 1, tx_hash: None, block }),
        &|it| it.on_chain = Some(OnChain { chain_id: 1, tx_hash: Some(B256::ZERO), block: None }),
        &|it| it.correction = Some((Correction::Reverses(Uuid::nil()), "x".into())),
        &|it| it.correction = Some((Correction::Compensates(Uuid::nil()), "x".into())),
        &|it| drop(it.metadata.insert("a".into(), json!(1))),
        &|it| drop(it.metadata.insert("a".into(), json!("1"))),
        &|it| it.lines.reverse(),
        &|it| it.lines[0].account_id = Uuid::nil(),
        &|it| it.lines[0].entry_type = "FEE".into(),
    ];
    let mut seen = vec![same];
    for (number, change) in others.iter().enumerate() {
        let other = checksum(change);
        assert!(!seen.contains(&other), "change {number}");
        seen.push(other);
    }
}

#[test]
fn times_are_as_exact_as_they_are_kept() {
    let at = OffsetDateTime::UNIX_EPOCH + time::Duration::nanoseconds(1_234_567);
    let posting = Posting::new(Draft { effective_at: Some(at), ..pair() }).unwrap();
    assert_eq!(posting.draft().effective_at.unwrap().nanosecond(), 1_234_000);
}

proptest! {
    #[test]
    fn only_what_balances_is_a_posting(amounts in prop::collection::vec((1_u64..5, any::<bool>(), 0_usize..2), 2..8)) {
        let lines: Vec<_> = amounts
            .iter()
            .map(|(amount, is_debit, currency)| {
                let direction = if *is_debit { Direction::Debit } else { Direction::Credit };
                line(direction, Amount::from(*amount), ["A", "B"][*currency])
            })
            .collect();
        let sum = |currency: usize| {
            let of = amounts.iter().filter(|it| it.2 == currency);
            of.map(|it| if it.1 { i64::try_from(it.0).unwrap() } else { -i64::try_from(it.0).unwrap() }).sum::<i64>()
        };
        prop_assert_eq!(Posting::new(draft(lines)).is_ok(), sum(0) == 0 && sum(1) == 0);
    }
}

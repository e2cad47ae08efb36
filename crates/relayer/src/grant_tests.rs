//! What is granted and what is refused, case by case.

use alloy_primitives::{address, keccak256};

use super::*;

const BOOK: Address = address!("0x1111111111111111111111111111111111111111");
const OTHER: Address = address!("0x2222222222222222222222222222222222222222");
const ACME: Uuid = Uuid::from_u128(1);
const GLOBEX: Uuid = Uuid::from_u128(2);

fn selector(signature: &str) -> Method {
    Method::of(&call(signature)).expect("a selector")
}

fn call(signature: &str) -> Vec<u8> {
    keccak256(signature)[..4].to_vec()
}

/// One method of one contract, ten wei at once.
fn grant() -> Grant {
    Grant {
        grantee: Grantee::Tenant(ACME),
        targets: Allowed::Only(BTreeSet::from([BOOK])),
        may_create: false,
        methods: Allowed::Only(BTreeSet::from([selector("retry(address)")])),
        max_value_wei: Limit::Wei(U256::from(10)),
        max_value_wei_per_day: Limit::Wei(U256::from(25)),
        max_gas_wei_per_day: Limit::Wei(U256::from(1_000)),
    }
}

fn policy(grants: Vec<Grant>) -> SignerPolicy {
    SignerPolicy {
        name: "retrier".into(),
        chain_id: 1,
        address: OTHER,
        window: NonZeroU32::new(64).unwrap(),
        max_fee_per_gas_wei: None,
        on_foreign_use: ForeignUse::Requeue,
        grants,
    }
}

type Expected = Result<(), Refusal>;

/// A title, a grant, a transaction's target, data and value, and what becomes of it.
type Case<'a> = (&'a str, &'a Grant, Option<Address>, &'a [u8], u64, Expected);

#[test]
fn a_transaction_is_sent_where_target_method_and_value_are_all_granted() {
    let retry = [call("retry(address)"), vec![0; 32]].concat();
    let (granted, drain) = (grant(), call("drain()"));
    let open = Grant { targets: Allowed::Any, methods: Allowed::Any, max_value_wei: Limit::None, ..grant() };
    let plain = Grant { methods: Allowed::Only(BTreeSet::from([Method::Plain])), ..grant() };
    let creating = Grant { may_create: true, ..grant() };
    let nothing =
        Grant { targets: Allowed::Only(BTreeSet::new()), methods: Allowed::Only(BTreeSet::new()), ..grant() };
    let target = |target| Err(Refusal::Target { target });
    let method = |method| Err(Refusal::Method { method });
    let cases: Vec<Case<'_>> = vec![
        ("what is granted", &granted, Some(BOOK), &retry, 0, Ok(())),
        ("the most that it may carry", &granted, Some(BOOK), &retry, 10, Ok(())),
        (
            "a wei more",
            &granted,
            Some(BOOK),
            &retry,
            11,
            Err(Refusal::Value { asked: U256::from(11), limit: U256::from(10) }),
        ),
        ("another target", &granted, Some(OTHER), &retry, 0, target(OTHER)),
        ("another method", &granted, Some(BOOK), &drain, 0, method(Some(selector("drain()")))),
        ("no data where a method is granted", &granted, Some(BOOK), &[], 1, method(Some(Method::Plain))),
        ("data that is no selector", &granted, Some(BOOK), &retry[..3], 0, method(None)),
        ("no data where that is granted", &plain, Some(BOOK), &[], 1, Ok(())),
        ("data that is no selector, where none is granted", &plain, Some(BOOK), &[0], 0, method(None)),
        (
            "a method where none is granted",
            &plain,
            Some(BOOK),
            &retry,
            0,
            method(Some(selector("retry(address)"))),
        ),
        ("a creation", &granted, None, &retry, 0, Err(Refusal::Creation)),
        ("a creation where any target and method is granted", &open, None, &retry, 0, Err(Refusal::Creation)),
        ("a creation where that is granted", &creating, None, &[0x60], 0, Ok(())),
        (
            "a creation that carries too much",
            &creating,
            None,
            &[0x60],
            11,
            Err(Refusal::Value { asked: U256::from(11), limit: U256::from(10) }),
        ),
        ("anything where everything is granted", &open, Some(OTHER), &[0, 1], u64::MAX, Ok(())),
        ("an empty list", &nothing, Some(BOOK), &retry, 0, target(BOOK)),
    ];
    for (title, grant, target, data, value, expected) in cases {
        assert_eq!(grant.allows(target, data, U256::from(value)), expected, "{title}");
    }
}

#[test]
fn a_day_has_a_budget_of_value_and_one_of_gas() {
    let spending = |value, gas| Spending { value_wei: U256::from(value), gas_wei: U256::from(gas) };
    let value =
        |would_be: u64| Err(Refusal::ValuePerDay { would_be: U256::from(would_be), limit: U256::from(25) });
    let gas =
        |would_be: u64| Err(Refusal::GasPerDay { would_be: U256::from(would_be), limit: U256::from(1_000) });
    let cases: Vec<(&str, Spending, Spending, Expected)> = vec![
        ("the first", spending(0, 0), spending(10, 500), Ok(())),
        ("the last that fits", spending(15, 500), spending(10, 500), Ok(())),
        ("a wei of value too much", spending(16, 0), spending(10, 500), value(26)),
        ("a wei of gas too much", spending(0, 501), spending(10, 500), gas(1_001)),
        ("no value, when the day's is spent and more", spending(30, 0), spending(0, 500), Ok(())),
        ("no value, and too much gas", spending(30, 1_000), spending(0, 1), gas(1_001)),
    ];
    for (title, spent, more, expected) in cases {
        assert_eq!(grant().allows_in_day(spent, more), expected, "{title}");
    }
    let most = Spending { value_wei: U256::MAX, gas_wei: U256::MAX };
    let gas_alone = Spending { gas_wei: U256::MAX, ..Spending::default() };
    for (spent, more) in [(most, spending(1, 0)), (gas_alone, spending(0, 1))] {
        assert!(grant().allows_in_day(spent, more).is_err(), "a sum that has no number is no small one");
    }
    let unlimited = Grant { max_value_wei_per_day: Limit::None, max_gas_wei_per_day: Limit::None, ..grant() };
    assert_eq!(unlimited.allows_in_day(most, most), Ok(()));
}

#[test]
fn a_tenant_has_its_own_grant_or_everybodys_or_none() {
    let everybody = Grant { grantee: Grantee::Everybody, ..grant() };
    let both = policy(vec![everybody.clone(), grant()]);
    assert_eq!(both.grant_of(ACME), Ok(&grant()), "its own comes first, also where it grants less");
    assert_eq!(both.grant_of(GLOBEX), Ok(&everybody));
    let own = policy(vec![grant()]);
    assert_eq!(own.grant_of(GLOBEX), Err(Refusal::NoGrant { signer: "retrier".into() }));
    assert!(policy(Vec::new()).grant_of(ACME).is_err());
}

#[test]
fn a_refusal_says_what_was_asked_and_what_is_granted() {
    let refusal = |data: &[u8]| grant().allows(Some(BOOK), data, U256::ZERO).unwrap_err().to_string();
    assert_eq!(refusal(&call("drain()")), "the signer may not call the method 0x9890220b for this tenant");
    assert_eq!(refusal(&[]), "the signer may not make a plain transfer, without data, for this tenant");
    assert_eq!(refusal(&[1]), "the signer may not send data that is shorter than a selector for this tenant");
}

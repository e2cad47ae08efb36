//! The rules against the very ABIs of the contracts.

use std::sync::Arc;

use alloy_dyn_abi::DynSolValue;
use alloy_json_abi::{Event as EventItem, JsonAbi};
use alloy_primitives::{Address, B256, U256};
use plimsoll_chain::Topics;
use plimsoll_chain::abi::{Contract, Contracts};
use plimsoll_journal::{Event, Transaction};
use plimsoll_types::{Amount, RequestId};
use uuid::Uuid;

use super::*;
use crate::posting::Direction::{Credit, Debit};

const OURS: Uuid = Uuid::from_u128(1);
const MANAGER: Address = Address::repeat_byte(0xc1);
const ENGINE: Address = Address::repeat_byte(0xc2);
const LIQUIDATOR: Address = Address::repeat_byte(0xc3);
const USER: Address = Address::repeat_byte(0x11);
const TOKEN: Address = Address::repeat_byte(0xa1);
const OTHER_TOKEN: Address = Address::repeat_byte(0xa2);

fn contract(name: &str, address: Address, artifact: &str) -> Contract {
    let artifact: serde_json::Value = serde_json::from_str(artifact).unwrap();
    let abi: JsonAbi = serde_json::from_value(artifact["abi"].clone()).unwrap();
    Contract::new(name, address, OURS, 0, Arc::new(abi))
}

fn lending() -> Contracts {
    Contracts::new([
        contract("manager", MANAGER, include_str!("../../../../contracts/artifacts/CollateralManager.json")),
        contract("engine", ENGINE, include_str!("../../../../contracts/artifacts/LendingEngineCore.json")),
        contract(
            "liquidator",
            LIQUIDATOR,
            include_str!("../../../../contracts/artifacts/LiquidationDebtManager.json"),
        ),
    ])
}

fn rule(name: &str) -> &'static Rule {
    RULES.iter().find(|rule| rule.name == name).unwrap()
}

fn number(value: u64) -> DynSolValue {
    DynSolValue::Uint(U256::from(value), 256)
}

/// A log of a rule's event.
fn log(rule: &Rule, contract: Address, values: Vec<DynSolValue>) -> Event {
    let item = EventItem::parse(rule.event).unwrap();
    let mut topics = vec![item.selector()];
    let mut body = Vec::new();
    for (input, value) in item.inputs.iter().zip(values) {
        if input.indexed { topics.push(value.as_word().unwrap()) } else { body.push(value) }
    }
    Event {
        id: 1,
        block_number: 7,
        block_hash: B256::repeat_byte(7),
        tx_hash: B256::repeat_byte(8),
        tx_index: 0,
        log_index: 3,
        contract,
        topics: Topics::new(&topics).unwrap(),
        data: DynSolValue::Tuple(body).abi_encode_params().into(),
    }
}

fn moved(rule_name: &str, contract: Address, amount: u64) -> Event {
    let request = DynSolValue::FixedBytes(RequestId::from_uuid(Uuid::from_u128(9)).to_chain(), 32);
    log(rule(rule_name), contract, vec![USER.into(), TOKEN.into(), number(amount), request])
}

/// Direction, kind and name of account, token and amount of each line.
fn shown(ruled: &Ruled) -> Vec<String> {
    let line = |entry: &Entry| {
        let side = if entry.direction == Debit { "debit" } else { "credit" };
        let Account { name, class, token, .. } = &entry.account;
        let token = token.map_or_else(|| "native".into(), |token| format!("{:#04x}", token.0[0]));
        format!("{side} {class:?} {} {token} {}", name.split(" of ").next().unwrap(), entry.amount)
    };
    ruled.lines.iter().map(line).collect()
}

#[test]
fn every_rule_is_about_an_event_that_a_contract_of_the_demo_has_and_balances_in_every_token() {
    let names: std::collections::BTreeSet<_> = RULES.iter().map(|rule| rule.name).collect();
    assert_eq!(names.len(), RULES.len(), "a name is of one rule");
    for rule in RULES {
        let item = EventItem::parse(rule.event).unwrap();
        let contracts = lending();
        let has_it = |contract: &Contract| {
            contract.abi.events().any(|own| {
                own.selector() == item.selector()
                    && own.inputs.iter().map(|it| it.indexed).eq(item.inputs.iter().map(|it| it.indexed))
            })
        };
        assert_eq!(contracts.iter().filter(|it| has_it(it)).count(), 1, "{}", rule.name);
        for line in rule.lines {
            let same = |other: &&RuleLine| (other.amount, other.token) == (line.amount, line.token);
            let of =
                |direction| rule.lines.iter().filter(same).filter(|it| it.direction == direction).count();
            assert_eq!(of(Debit), of(Credit), "{}", rule.name);
        }
    }
}

#[test]
fn what_each_event_means_is_written_down_here_once_more() {
    let plans = Plans::new(&lending(), &[OURS], RULES);
    let book = |event: Event| plans.of(&event).unwrap().unwrap();
    let held = |at: Address| format!("held by {}", plimsoll_types::address_text(&at));
    let (custody, liquidity) = (held(MANAGER), held(ENGINE));
    for (name, contract, debit, credit) in [
        ("lending.deposit", MANAGER, format!("Asset {custody}"), "Liability collateral".to_owned()),
        ("lending.withdraw", MANAGER, "Liability collateral".into(), format!("Asset {custody}")),
        ("lending.borrow", ENGINE, "Asset debt".into(), format!("Asset {liquidity}")),
        ("lending.repay", ENGINE, format!("Asset {liquidity}"), "Asset debt".into()),
        ("lending.reward", ENGINE, "Expense rewards paid".into(), format!("Asset {liquidity}")),
    ] {
        let (tenant_id, ruled) = book(moved(name, contract, 500));
        assert_eq!((tenant_id, ruled.rule), (OURS, name));
        assert_eq!(ruled.request_id.unwrap().to_string(), Uuid::from_u128(9).to_string());
        assert_eq!(shown(&ruled), [format!("debit {debit} 0xa1 500"), format!("credit {credit} 0xa1 500")]);
    }
    let liquidation = |seized: u64| {
        let zero = DynSolValue::FixedBytes(B256::ZERO, 32);
        let values = vec![
            USER.into(),
            TOKEN.into(),
            OTHER_TOKEN.into(),
            Address::ZERO.into(),
            number(40),
            number(seized),
            zero,
        ];
        log(rule("lending.liquidate"), LIQUIDATOR, values)
    };
    let (_, ruled) = book(liquidation(3));
    let paid = [format!("debit Asset {liquidity} 0xa1 40"), "credit Asset debt 0xa1 40".into()];
    let taken = ["debit Liability collateral 0xa2 3".to_owned(), format!("credit Asset {custody} 0xa2 3")];
    assert_eq!(shown(&ruled), [&paid[..], &taken].concat());
    assert_eq!(ruled.request_id, None);
    let (_, ruled) = book(liquidation(0));
    assert_eq!(shown(&ruled), paid, "a line of nothing is left out");
    assert_eq!(plans.of(&moved("lending.deposit", MANAGER, 0)), Ok(None), "and a posting of nothing");
}

#[test]
fn what_no_rule_is_about_is_not_booked_and_what_a_rule_cannot_read_is_told() {
    let plans = Plans::new(&lending(), &[OURS], RULES);
    assert_eq!(plans.of(&moved("lending.deposit", Address::repeat_byte(0xee), 5)), Ok(None), "of a stranger");
    assert_eq!(plans.of(&moved("lending.deposit", ENGINE, 5)), Ok(None), "no event of that contract");
    let strangers = Plans::new(&lending(), &[Uuid::from_u128(2)], RULES);
    assert_eq!(strangers.of(&moved("lending.deposit", MANAGER, 5)), Ok(None), "another tenant's contract");

    let mut broken = moved("lending.deposit", MANAGER, 5);
    broken.data = vec![1].into();
    let error = plans.of(&broken).unwrap_err();
    assert!(matches!(error, RuleError::Undecodable { rule: "lending.deposit", .. }), "{error}");
    let alone = Contracts::new(lending().iter().filter(|it| it.address == LIQUIDATOR).cloned());
    let alone = Plans::new(&alone, &[OURS], RULES);
    let zero = DynSolValue::FixedBytes(B256::ZERO, 32);
    let values =
        vec![USER.into(), TOKEN.into(), TOKEN.into(), Address::ZERO.into(), number(4), number(3), zero];
    let error = alone.of(&log(rule("lending.liquidate"), LIQUIDATOR, values)).unwrap_err();
    assert!(matches!(error, RuleError::Keeper { found: 0, .. }), "{error}");
}

#[test]
fn gas_is_what_left_the_sender_whether_the_transaction_succeeded_or_not() {
    let transaction = |paid: u64, succeeded| Transaction {
        id: 1,
        block_number: 7,
        block_hash: B256::repeat_byte(7),
        tx_hash: B256::repeat_byte(8),
        tx_index: 0,
        sender: USER,
        to: None,
        nonce: 0,
        succeeded,
        gas_used: Amount::from(paid),
        effective_gas_price: Amount::from(1_u64),
        gas_paid_wei: Amount::from(paid),
        request_id: None,
    };
    for succeeded in [true, false] {
        let ruled = gas(&transaction(21_000, succeeded)).unwrap();
        assert_eq!(
            shown(&ruled),
            ["debit Expense gas spent native 21000", "credit Asset native coin native 21000"]
        );
    }
    assert_eq!(gas(&transaction(0, true)), None);
}

use std::sync::Arc;

use alloy_json_abi::JsonAbi;
use alloy_primitives::{Bytes, U256, keccak256};
use serde_json::json;
use uuid::Uuid;

use super::*;
use crate::abi::Contract;

const CONTRACT: &str = "0x00000000000000000000000000000000000000c0";
const HOLDER: &str = "0xd8da6bf26964af9d7eed9e03e53415d37aa96045";

fn contracts() -> Contracts {
    let abi = JsonAbi::parse([
        "function supply() view returns (uint256)",
        "function position(address user) view returns (uint256 debt, int128 skew, bool healthy)",
        "function of(address user) view returns (uint256)",
        "function of(address user, uint256 at) view returns (uint256)",
        "function accrue() returns (uint256)",
    ]);
    let contract = Contract::new("Pool", CONTRACT.parse().unwrap(), Uuid::nil(), 0, Arc::new(abi.unwrap()));
    Contracts::new([contract])
}

fn call(function: &str, arguments: &[&str], output: Option<&str>) -> DeclaredProbe {
    DeclaredProbe::Call {
        contract: CONTRACT.to_owned(),
        function: DeclaredFunction::Text(function.to_owned()),
        arguments: arguments.iter().map(ToString::to_string).collect(),
        output: output.map(ToOwned::to_owned),
        direct: false,
    }
}

/// A call of a contract that is not followed.
fn elsewhere(function: &str, arguments: &[&str]) -> DeclaredProbe {
    let DeclaredProbe::Call { function, arguments, output, direct, .. } = call(function, arguments, None)
    else {
        panic!("it is a call")
    };
    DeclaredProbe::Call { contract: HOLDER.to_owned(), function, arguments, output, direct }
}

fn view(declared: &DeclaredProbe) -> View {
    match declared.check(&contracts()).unwrap().question {
        Question::View(view) => view,
        Question::Native(_) => panic!("{declared:?} is a call"),
    }
}

fn wrong(declared: &DeclaredProbe) -> String {
    declared.check(&contracts()).unwrap_err().to_string()
}

fn calldata(signature: &str, words: &[U256]) -> Bytes {
    let words = words.iter().flat_map(U256::to_be_bytes::<32>);
    keccak256(signature)[..4].iter().copied().chain(words).collect()
}

#[test]
fn a_function_is_declared_in_short_in_solidity_s_words_by_name_or_as_an_abi_item() {
    let holder = U256::from_str_radix(&HOLDER[2..], 16).unwrap();
    let item: DeclaredFunction = serde_json::from_value(json!({
        "type": "function", "name": "of", "stateMutability": "view",
        "inputs": [{ "name": "user", "type": "address" }],
        "outputs": [{ "name": "", "type": "int256" }],
    }))
    .unwrap();
    let item = DeclaredProbe::Call {
        contract: CONTRACT.to_owned(),
        function: item,
        arguments: vec![HOLDER.to_owned()],
        output: None,
        direct: false,
    };
    let asks = |signature: &str, words: &[U256]| calldata(signature, words);
    for (declared, data, outputs, place) in [
        (call("of(address)", &[HOLDER], None), asks("of(address)", &[holder]), "(uint256)", 0),
        (elsewhere("any(address)", &[HOLDER]), asks("any(address)", &[holder]), "(uint256)", 0),
        (call("supply()(int128)", &[], None), asks("supply()", &[]), "(int128)", 0),
        (
            call(" two(uint8) ( bool , int24 ) ", &["0x7"], Some("1")),
            asks("two(uint8)", &[U256::from(7)]),
            "(bool,int24)",
            1,
        ),
        (
            call(
                "function at(uint256 a) external view returns (bytes memory b, uint64 c)",
                &["9"],
                Some("c"),
            ),
            asks("at(uint256)", &[U256::from(9)]),
            "(bytes,uint64)",
            1,
        ),
        (call("supply", &[], None), asks("supply()", &[]), "(uint256)", 0),
        (
            call("position", &[HOLDER], Some("skew")),
            asks("position(address)", &[holder]),
            "(uint256,int128,bool)",
            1,
        ),
        // What a followed contract's ABI says of it need not be said again.
        (
            call("position(address)", &[HOLDER], Some("debt")),
            asks("position(address)", &[holder]),
            "(uint256,int128,bool)",
            0,
        ),
        (item, asks("of(address)", &[holder]), "(int256)", 0),
    ] {
        let view = view(&declared);
        assert_eq!((view.data, view.place), (data, place), "{declared:?}");
        assert_eq!(view.outputs, DynSolType::parse(outputs).unwrap(), "{declared:?}");
    }
}

#[test]
fn what_is_wrong_is_said_with_what_would_be_right() {
    for (declared, parts) in [
        (call("suply", &[], None), &["unknown function `suply`", "the ABI of Pool has", "supply()"][..]),
        (
            call("suply()", &[], None),
            &["unknown function `suply()`", "the ABI of Pool has", "(types returned)"],
        ),
        (call("of", &[HOLDER], None), &["there are several", "of(address), of(address,uint256)"]),
        (
            call("of(address", &[HOLDER], None),
            &["`of(address` is not a function", "a parenthesis is missing"],
        ),
        (call("of(adress)", &[HOLDER], None), &["of(adress)", "adress"]),
        (call("of(address)", &[], None), &["of(address) takes 1 argument, and none is given"]),
        (call("supply()", &["1", "2"], None), &["supply() takes no argument, and 2 are given"]),
        (
            call("of(address)", &["7"], None),
            &["argument 1 of of(address), `7`, is not address", "40 hexadecimal digits"],
        ),
        (
            call("at(uint8,uint8)(uint8)", &["1", "256"], None),
            &["argument 2 of at(uint8,uint8), `256`, is not uint8"],
        ),
        (call("name()(string)", &[], None), &["name() returns (string)", "`string` is no integer"]),
        (
            call("position", &[HOLDER], None),
            &["(uint256 debt, int128 skew, bool healthy)", "say which value"],
        ),
        (call("position", &[HOLDER], Some("healthy")), &["`bool healthy` is no integer"]),
        (call("position", &[HOLDER], Some("3")), &["there is no value `3`"]),
        (call("accrue", &[], None), &["accrue() may change state", "`direct`"]),
        (call("accrue()", &[], None), &["accrue() may change state", "`direct`"]),
        (DeclaredProbe::Native { account: "0x12".into() }, &["`0x12` is not an address"]),
    ] {
        let error = wrong(&declared);
        for part in parts {
            assert!(error.contains(part), "`{part}` is not in: {error}");
        }
    }
    for (contract, part) in
        [(HOLDER, "its ABI is not configured"), ("Pond", "no contract of that name is followed")]
    {
        let elsewhere = DeclaredProbe::parse_call(&format!("{contract}:of({HOLDER})")).unwrap();
        assert!(wrong(&elsewhere).contains(part), "{}", wrong(&elsewhere));
    }
}

#[test]
fn a_contract_that_is_followed_may_be_named() {
    let declared = DeclaredProbe::parse_call(&format!("Pool:position({HOLDER}).debt")).unwrap();
    assert_eq!(view(&declared), view(&call("position", &[HOLDER], Some("debt"))));
}

#[test]
fn a_function_that_may_change_state_is_asked_alone_or_not_at_all() {
    let DeclaredProbe::Call { contract, function, arguments, output, .. } = call("accrue", &[], None) else {
        panic!("it is a call")
    };
    let direct = DeclaredProbe::Call { contract, function, arguments, output, direct: true };
    assert!(view(&direct).direct);
}

#[test]
fn a_mistyped_address_is_refused_where_its_letter_case_shows_it() {
    let right = "0xd8dA6BF26964aF9D7eEd9e03E53415D37aA96045";
    for good in [right, HOLDER, &format!("0x{}", HOLDER[2..].to_uppercase())] {
        assert!(DeclaredProbe::Native { account: good.to_owned() }.check(&contracts()).is_ok(), "{good}");
    }
    let mistyped = right.replace("26964", "26965");
    let checks = [
        DeclaredProbe::Native { account: mistyped.clone() },
        DeclaredProbe::Erc20 { token: HOLDER.to_owned(), holder: mistyped.clone() },
        call("of(address)", &[&mistyped], None),
    ];
    for declared in checks {
        assert!(wrong(&declared).contains("checksum"), "{}", wrong(&declared));
    }
}

#[test]
fn a_declaration_is_data_and_says_what_is_not_one() {
    let declared: DeclaredProbe = serde_json::from_value(json!({
        "kind": "call", "contract": CONTRACT, "function": "position", "arguments": [HOLDER], "output": "debt",
    }))
    .unwrap();
    assert_eq!(declared, call("position", &[HOLDER], Some("debt")));
    let back: DeclaredProbe = serde_json::from_value(serde_json::to_value(&declared).unwrap()).unwrap();
    assert_eq!(back, declared);
    for (bad, part) in [
        (json!({ "kind": "erc721", "token": HOLDER }), "unknown variant `erc721`"),
        (json!({ "kind": "erc20", "token": HOLDER }), "missing field `holder`"),
        (json!({ "kind": "native", "account": HOLDER, "block": 7 }), "unknown field `block`"),
        (
            json!({ "kind": "call", "contract": CONTRACT, "function": 7 }),
            "expected a function: `name(types)`",
        ),
        (
            json!({ "kind": "call", "contract": CONTRACT, "function": "of", "arguments": [7] }),
            "expected a string",
        ),
    ] {
        let error = serde_json::from_value::<DeclaredProbe>(bad).unwrap_err().to_string();
        assert!(error.contains(part), "`{part}` is not in: {error}");
    }
}

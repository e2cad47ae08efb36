//! The table of declarations against the table of spec 1 §5.4, transcribed in `contracts/events.json`.

#![allow(missing_docs, clippy::unwrap_used)]

use alloy_json_abi::{Event, Function};
use plimsoll_views::{DECLARATIONS, Mode};
use serde_json::Value;

const EVENTS: &str = include_str!("../../../contracts/events.json");

fn parsed() -> Vec<Event> {
    DECLARATIONS.iter().map(|declaration| Event::parse(declaration.event).unwrap()).collect()
}

#[test]
fn every_event_of_the_spec_is_declared_with_its_indexed_parameters_and_names() {
    let events: Vec<Value> = serde_json::from_str(EVENTS).unwrap();
    assert!(!events.is_empty());
    let declared = parsed();
    for event in events {
        let signature = event["signature"].as_str().unwrap();
        let found = declared.iter().find(|declared| declared.signature() == signature);
        let found = found.unwrap_or_else(|| panic!("no declaration of {signature}"));
        let names = |indexed: bool| {
            let wanted = found.inputs.iter().filter(|input| input.indexed == indexed);
            wanted.map(|input| Value::from(input.name.as_str())).collect::<Vec<_>>()
        };
        let given = |list: &str| {
            event[list].as_array().unwrap().iter().map(|p| p["name"].clone()).collect::<Vec<_>>()
        };
        assert_eq!((names(true), names(false)), (given("indexed"), given("data")), "{signature}");
    }
}

#[test]
fn a_declaration_is_sound_in_itself() {
    for (declaration, event) in DECLARATIONS.iter().zip(parsed()) {
        let name = &event.name;
        let parameter = |wanted: &str| event.inputs.iter().find(|input| input.name == wanted);
        for input in &event.inputs {
            let is_dynamic = matches!(input.ty.as_str(), "bytes" | "string");
            assert!(!input.ty.contains(['[', '(']), "{name}: {} is not elementary", input.name);
            assert!(!(input.indexed && is_dynamic), "{name}: {} is an indexed dynamic parameter", input.name);
        }
        for key in declaration.key {
            assert!(parameter(key).is_some(), "{name} has no parameter {key}");
        }
        let needed: &[&str] = match declaration.mode {
            Mode::Position { .. } => &["user", "asset", "collateral", "debt", "version"],
            Mode::Replay | Mode::Push => &["user", "asset", "requestId", "seq"],
            Mode::Failure { view } => &["user", "reason", view],
            Mode::Mirror { .. } | Mode::Trail | Mode::Ignored => &[],
        };
        for needed in needed {
            assert!(parameter(needed).is_some(), "{name} lacks {needed}, which its mode needs");
        }
        for getter in declaration.mode.getters() {
            let getter = Function::parse(getter).unwrap();
            assert!(
                getter.inputs.iter().all(|input| declaration.key.contains(&input.name.as_str())),
                "{name}: {}",
                getter.name
            );
            assert!(!getter.outputs.is_empty(), "{name}: {}", getter.name);
            for output in &getter.outputs {
                let field =
                    parameter(&output.name).unwrap_or_else(|| panic!("{name}: {} is no field", output.name));
                assert_eq!(field.ty, output.ty, "{name}: {}", output.name);
            }
        }
    }
}

#[test]
fn what_a_contract_keeps_can_be_proved_field_by_field() {
    for (declaration, event) in DECLARATIONS.iter().zip(parsed()) {
        if !matches!(declaration.mode, Mode::Mirror { .. }) {
            continue;
        }
        let proved: Vec<_> = declaration
            .mode
            .getters()
            .iter()
            .flat_map(|getter| Function::parse(getter).unwrap().outputs)
            .map(|output| output.name)
            .collect();
        for input in &event.inputs {
            let name = input.name.as_str();
            let is_trace = matches!(name, "requestId" | "seq");
            assert!(
                declaration.key.contains(&name) || proved.iter().any(|p| p == name) || is_trace,
                "{}: no getter proves {name}",
                event.name
            );
        }
    }
}

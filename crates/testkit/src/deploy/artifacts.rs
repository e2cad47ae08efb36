//! The compiled contracts, as they are committed.

use std::sync::{Arc, LazyLock};

use alloy_json_abi::JsonAbi;
use alloy_primitives::Bytes;
use serde::Deserialize;

/// A compiled contract.
#[derive(Clone, Debug)]
pub struct Artifact {
    /// Its name.
    pub name: &'static str,
    /// Its ABI.
    pub abi: Arc<JsonAbi>,
    /// Its creation code, without constructor arguments.
    pub bytecode: Bytes,
}

#[derive(Deserialize)]
struct File {
    abi: JsonAbi,
    bytecode: Bytes,
}

macro_rules! artifacts {
    ($($name:literal),+ $(,)?) => {
        &[$(($name, include_str!(concat!("../../../../contracts/artifacts/", $name, ".json")))),+]
    };
}

const FILES: &[(&str, &str)] = artifacts![
    "AccessControlView",
    "CollateralManager",
    "EventHistoryManager",
    "FeeRouterView",
    "Forwarder",
    "HealthView",
    "LendingEngineCore",
    "LiquidationDebtManager",
    "MockERC20",
    "MockMulticall3",
    "MockPriceFeed",
    "ModuleHealthView",
    "PositionLoad",
    "PositionView",
    "Registry",
    "RequestCounter",
    "StatisticsView",
    "VaultRouter",
    "ViewCache",
];

static ARTIFACTS: LazyLock<Vec<Artifact>> = LazyLock::new(|| {
    FILES
        .iter()
        .map(|(name, text)| {
            let file: File = serde_json::from_str(text).expect("a committed artifact is `{abi, bytecode}`");
            Artifact { name, abi: Arc::new(file.abi), bytecode: file.bytecode }
        })
        .collect()
});

/// All of them.
#[must_use]
pub fn all() -> &'static [Artifact] {
    &ARTIFACTS
}

/// The contract so named.
///
/// # Panics
///
/// When there is none: a name is a constant of this crate.
#[must_use]
pub fn artifact(name: &str) -> &'static Artifact {
    ARTIFACTS
        .iter()
        .find(|artifact| artifact.name == name)
        .unwrap_or_else(|| panic!("no contract is named {name}"))
}

/// Spec 1 §5.4 as a table: every event, its canonical signature and what is indexed.
pub const EVENTS_JSON: &str = include_str!("../../../../contracts/events.json");

#[cfg(test)]
mod tests {
    use super::*;
    use alloy_primitives::keccak256;
    use std::collections::BTreeSet;

    #[derive(Deserialize)]
    struct Row {
        contract: String,
        event: String,
        signature: String,
        indexed: Vec<Parameter>,
        data: Vec<Parameter>,
    }

    #[derive(Deserialize)]
    struct Parameter {
        name: String,
        r#type: String,
    }

    /// Events that the contracts have beyond the table: administration, the tokens', and a retry of a health push that fails again.
    const BEYOND_THE_TABLE: &[&str] = &[
        "CollateralManager.Deposited",
        "CollateralManager.Withdrawn",
        "Forwarder.Forwarded",
        "HealthView.HealthPushFailed",
        "LendingEngineCore.Borrowed",
        "LendingEngineCore.Repaid",
        "LendingEngineCore.RewardPaid",
        "LiquidationDebtManager.Liquidated",
        "MockERC20.Approval",
        "MockERC20.Transfer",
        "Registry.AdminSet",
        "Registry.ModuleSet",
        "Registry.OwnershipTransferred",
        "RequestCounter.Performed",
    ];

    fn table() -> Vec<Row> {
        serde_json::from_str(EVENTS_JSON).unwrap()
    }

    #[test]
    fn every_event_of_the_table_is_in_its_contract_with_the_same_topic0_and_indexed_set() {
        for row in table() {
            let abi = &artifact(&row.contract).abi;
            let events = abi
                .event(&row.event)
                .unwrap_or_else(|| panic!("{} has no event {}", row.contract, row.event));
            let event = &events[0];
            assert_eq!(events.len(), 1, "{}.{} is overloaded", row.contract, row.event);
            assert!(!event.anonymous);
            assert_eq!(event.selector(), keccak256(&row.signature), "{}.{}", row.contract, row.signature);
            let parameters = |indexed: bool| -> Vec<(String, String)> {
                let inputs = event.inputs.iter().filter(|input| input.indexed == indexed);
                inputs.map(|input| (input.name.clone(), input.ty.clone())).collect()
            };
            let listed = |list: &[Parameter]| -> Vec<(String, String)> {
                list.iter().map(|parameter| (parameter.name.clone(), parameter.r#type.clone())).collect()
            };
            assert_eq!(parameters(true), listed(&row.indexed), "{}.{}: indexed", row.contract, row.event);
            assert_eq!(parameters(false), listed(&row.data), "{}.{}: data", row.contract, row.event);
        }
    }

    #[test]
    fn every_event_of_a_contract_is_in_the_table_or_known_to_be_beyond_it() {
        let rows = table();
        let in_table: BTreeSet<(&str, &str)> = rows.iter().map(|row| (&*row.contract, &*row.event)).collect();
        let beyond: BTreeSet<String> = all()
            .iter()
            .filter(|artifact| artifact.name != "PositionLoad") // the position view again, with more functions
            .flat_map(|artifact| artifact.abi.events().map(move |event| (artifact.name, event.name.as_str())))
            .filter(|event| !in_table.contains(event))
            .map(|(contract, event)| format!("{contract}.{event}"))
            .collect();
        assert_eq!(beyond, BEYOND_THE_TABLE.iter().map(ToString::to_string).collect());
    }
}

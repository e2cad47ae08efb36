//! ABI files: is it one, does it know an event, and does it know the events of the views as the views expect them?

use std::path::Path;
use std::sync::Arc;

use alloy_json_abi::{Event, JsonAbi};
use alloy_primitives::{B256, keccak256};
use plimsoll_views::DECLARATIONS;
use serde_json::Value;

use super::problem::Problems;
use super::source::{Origin, shorten};

/// No compiler's artifact is larger.
const MAX_ABI_BYTES: u64 = 64 * 1024 * 1024;

/// Reads and checks the ABI file that stands at `origin`; `given` is its path as it was written.
pub(super) fn read(
    path: &Path,
    given: &str,
    origin: &Origin,
    contract: &str,
    problems: &mut Problems,
) -> Option<(Arc<JsonAbi>, B256)> {
    let mut refuse = |what: String, remedy: &str| {
        problems.add(origin.clone(), format!("`{contract}.abi`: {what}"), remedy);
        None
    };
    let wanted = "name the ABI file of the contract: a JSON array, or a compiler's artifact with the array under `abi`";
    let size = std::fs::metadata(path).map_or(0, |metadata| metadata.len());
    if size > MAX_ABI_BYTES {
        return refuse(format!("{given} is {size} bytes long"), wanted);
    }
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) => {
            let remedy = "name a file that exists and that this user may read; a relative path starts at the configuration file's directory";
            return refuse(format!("the file {path:?} cannot be read: {error}"), remedy);
        }
    };
    let json: Value = match serde_json::from_str(&text) {
        Ok(json) => json,
        Err(error) => return refuse(format!("{given} is not JSON: {error}"), wanted),
    };
    let array = match json {
        Value::Array(_) => json,
        Value::Object(mut object) => match object.remove("abi") {
            Some(array @ Value::Array(_)) => array,
            _ => return refuse(format!("{given} is a JSON object without an array under `abi`"), wanted),
        },
        _ => return refuse(format!("{given} is JSON, but neither an array nor an object"), wanted),
    };
    let abi: JsonAbi = match serde_json::from_value(array) {
        Ok(abi) => abi,
        Err(error) => {
            return refuse(
                format!("{given} is JSON, but not an ABI: {}", shorten(&error.to_string())),
                wanted,
            );
        }
    };
    if abi.events().next().is_none() {
        return refuse(
            format!("{given} is an ABI without any event: nothing of this contract could be read"),
            wanted,
        );
    }
    let contradictions: Vec<(String, String)> = abi
        .events()
        .filter_map(|event| contradicted(event, &abi).map(|expected| (full_signature(event), expected)))
        .collect();
    if !contradictions.is_empty() {
        for (declared, expected) in contradictions {
            problems.add(
                origin.clone(),
                format!("`{contract}.abi`: {given} declares `{declared}`, but the views expect `{expected}`"),
                "give the ABI that the deployed contract was built with; if the contract itself differs, its events cannot feed the views",
            );
        }
        return None;
    }
    let canonical = serde_json::to_vec(&abi).expect("an ABI that was read can be written");
    Some((Arc::new(abi), keccak256(canonical)))
}

/// The declaration that a view expects under this event's name, if the ABI has none that agrees with it.
fn contradicted(event: &Event, abi: &JsonAbi) -> Option<String> {
    let expected: Vec<String> = DECLARATIONS
        .iter()
        .filter_map(|declaration| Event::parse(declaration.event).ok())
        .filter(|declared| declared.name == event.name)
        .map(|declared| full_signature(&declared))
        .collect();
    let agrees = |event: &Event| expected.contains(&full_signature(event));
    let any = abi.event(&event.name).is_some_and(|all| all.iter().any(agrees));
    (!expected.is_empty() && !any).then(|| expected.join("` or `"))
}

/// `Transfer(address indexed,address indexed,uint256)`: what topic0 covers, and which parameters are topics.
fn full_signature(event: &Event) -> String {
    let inputs: Vec<String> = event
        .inputs
        .iter()
        .map(|input| format!("{}{}", input.selector_type(), if input.indexed { " indexed" } else { "" }))
        .collect();
    format!("{}({})", event.name, inputs.join(","))
}

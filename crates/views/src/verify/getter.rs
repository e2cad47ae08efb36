//! Which getter proves a mirrored row, what to ask it, and whether its answer is the row.

use std::collections::HashMap;

use alloy_dyn_abi::{DynSolType, FunctionExt, JsonAbiExt};
use alloy_json_abi::Function;
use alloy_primitives::{Address, Bytes};
use plimsoll_chain::abi::{Contracts, write_json_value};
use plimsoll_types::address_text;
use serde_json::Value;

use super::report::Difference;
use crate::declaration::{Declaration, Table};
use crate::repo::read::MirroredRow;

/// The getters of each (contract, view).
#[derive(Clone, Debug)]
pub(super) struct Getters {
    by_contract: HashMap<String, HashMap<&'static str, Proof>>,
}

#[derive(Clone, Debug)]
struct Proof {
    address: Address,
    declaration: &'static Declaration,
    functions: Vec<Function>,
    /// The names of the value's fields. A row that lacks one of them is compared all the same, and differs.
    fields: Vec<String>,
    /// A getter that the contract's ABI does not have.
    missing: Option<String>,
}

/// One question about a row.
#[derive(Clone, Debug)]
pub(super) struct Question<'a> {
    function: &'a Function,
    fields: &'a [String],
    pub(super) to: Address,
    pub(super) data: Bytes,
}

impl Getters {
    pub(super) fn new(contracts: &Contracts, declarations: &'static [Declaration]) -> Self {
        let table = Table::new(declarations);
        let mut by_contract = HashMap::new();
        for contract in contracts.iter() {
            let by_view: &mut HashMap<_, _> = by_contract.entry(address_text(&contract.address)).or_default();
            for declaration in contract.abi.events().filter_map(|event| Some(table.find(event)?.declaration))
            {
                let functions = declaration.functions();
                if functions.is_empty() {
                    continue;
                }
                let has = |getter: &Function| {
                    contract.abi.functions().any(|own| own.selector() == getter.selector())
                };
                let missing = functions.iter().find(|getter| !has(getter)).map(Function::signature);
                let fields = declaration.value_fields();
                let proof = Proof { address: contract.address, declaration, functions, fields, missing };
                by_view.insert(declaration.view, proof);
            }
        }
        Self { by_contract }
    }

    /// The questions about a row, or why there are none.
    pub(super) fn questions(&self, row: &MirroredRow) -> Result<Vec<Question<'_>>, String> {
        let proof = self
            .by_contract
            .get(&row.contract)
            .and_then(|by_view| by_view.get(row.view.as_str()))
            .ok_or("the contract is not followed any more, or keeps nothing to compare with")?;
        if let Some(missing) = &proof.missing {
            return Err(format!("the contract's ABI has no getter {missing}"));
        }
        let names = proof.declaration.key;
        let parts: Vec<_> = if names.is_empty() { Vec::new() } else { row.key.split('/').collect() };
        if parts.len() != names.len() {
            return Err(format!("the key `{}` does not have the parts {}", row.key, names.join("/")));
        }
        let question = |function| {
            let data = encode(function, names, &parts)?;
            Ok(Question { function, fields: &proof.fields, to: proof.address, data: data.into() })
        };
        proof.functions.iter().map(question).collect()
    }
}

fn encode(function: &Function, names: &[&str], parts: &[&str]) -> Result<Vec<u8>, String> {
    let arguments = function
        .inputs
        .iter()
        .map(|input| {
            let at = names
                .iter()
                .position(|name| *name == input.name)
                .ok_or("a getter's argument that is no key parameter")?;
            let kind = DynSolType::parse(&input.ty).map_err(|error| error.to_string())?;
            kind.coerce_str(parts[at]).map_err(|error| error.to_string())
        })
        .collect::<Result<Vec<_>, String>>()?;
    function.abi_encode_input(&arguments).map_err(|error| error.to_string())
}

impl Question<'_> {
    /// Where the answer differs from the row, or why it cannot be told.
    pub(super) fn compare(&self, row: &MirroredRow, answer: &[u8]) -> Result<Vec<Difference>, String> {
        let outputs = self.function.abi_decode_output(answer).map_err(|error| {
            format!("the answer of {} does not decode: {error}", self.function.signature())
        })?;
        let mut differences = Vec::new();
        for (output, value) in self.function.outputs.iter().zip(outputs) {
            if !self.fields.contains(&output.name) {
                continue;
            }
            let mirror = row.value.get(&output.name).unwrap_or(&Value::Null);
            let mut chain = Vec::new();
            write_json_value(&value, &mut chain);
            let chain: Value = serde_json::from_slice(&chain).map_err(|error| error.to_string())?;
            if *mirror != chain {
                differences.push(Difference { field: output.name.clone(), mirror: mirror.clone(), chain });
            }
        }
        Ok(differences)
    }
}

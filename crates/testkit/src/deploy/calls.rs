//! What is said to a contract and what it answers, as bytes.

use alloy_dyn_abi::{DynSolValue, FunctionExt, JsonAbiExt};
use alloy_primitives::{Address, Bytes, U256, keccak256};

use super::artifacts::{Artifact, artifact};
use crate::node::NodeError;

/// An address as a value of a call.
pub(crate) fn address(address: Address) -> DynSolValue {
    DynSolValue::Address(address)
}

/// A value of a call.
pub(crate) fn uint(value: impl TryInto<U256, Error: std::fmt::Debug>, bits: usize) -> DynSolValue {
    DynSolValue::Uint(value.try_into().expect("a number that is not negative"), bits)
}

/// `keccak256` of a registry key's text.
pub(crate) fn key_hash(key: &str) -> DynSolValue {
    DynSolValue::FixedBytes(keccak256(key), 32)
}

/// Calldata of a contract's function.
///
/// # Panics
///
/// When the contract has no such function, or it takes other values: both are constants of this crate.
#[must_use]
pub fn calldata(contract: &str, function: &str, arguments: &[DynSolValue]) -> Bytes {
    let functions = artifact(contract).abi.function(function);
    let function = functions.and_then(|overloads| overloads.first());
    let function = function.unwrap_or_else(|| panic!("{contract} has no such function"));
    function
        .abi_encode_input(&fitted(&function.inputs, arguments))
        .unwrap_or_else(|error| panic!("{contract}.{}: {error}", function.name))
        .into()
}

/// What a contract's function returned.
pub fn decode_output(contract: &str, function: &str, output: &Bytes) -> Result<Vec<DynSolValue>, NodeError> {
    let malformed = |reason: String| NodeError::Malformed {
        method: format!("{contract}.{function}"),
        reason,
        answer: output.to_string(),
    };
    let functions = artifact(contract).abi.function(function);
    let function = functions
        .and_then(|overloads| overloads.first())
        .ok_or_else(|| malformed("no such function".into()))?;
    function.abi_decode_output(output).map_err(|error| malformed(error.to_string()))
}

/// The arguments with integers as wide as the parameters are: here a number has a value, its width is the contract's business.
fn fitted(parameters: &[alloy_json_abi::Param], arguments: &[DynSolValue]) -> Vec<DynSolValue> {
    let width = |kind: &str| kind.strip_prefix("uint").and_then(|bits| bits.parse().ok());
    let fit = |(i, argument): (usize, &DynSolValue)| match argument {
        DynSolValue::Uint(value, bits) => DynSolValue::Uint(
            *value,
            parameters.get(i).and_then(|parameter| width(&parameter.ty)).unwrap_or(*bits),
        ),
        other => other.clone(),
    };
    arguments.iter().enumerate().map(fit).collect()
}

/// Creation code with its arguments.
pub(super) fn creation(artifact: &Artifact, arguments: &[DynSolValue]) -> Bytes {
    let mut code = artifact.bytecode.to_vec();
    if let Some(constructor) = &artifact.abi.constructor {
        code.extend(
            constructor
                .abi_encode_input(&fitted(&constructor.inputs, arguments))
                .expect("the constructor takes these"),
        );
    }
    code.into()
}

/// One whole token.
pub(crate) fn unit(decimals: u8) -> U256 {
    U256::from(10).pow(U256::from(decimals))
}

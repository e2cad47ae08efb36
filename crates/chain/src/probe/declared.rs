//! A probe as it is written down, in a configuration or on a command line, and what is wrong with it.

mod text;

use alloy_dyn_abi::{DynSolType, DynSolValue, JsonAbiExt, Specifier};
use alloy_json_abi::{Function, Param, StateMutability};
use alloy_primitives::Address;
use plimsoll_types::{address_text, parse_address};
use serde::{Deserialize, Serialize};

use super::reading::{Probe, Question, View};
use crate::abi::{Contract, Contracts};

/// What a function returns that does not say it.
const DEFAULT_OUTPUT: &str = "uint256";

/// A probe, as data.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum DeclaredProbe {
    /// The native balance of an account.
    Native {
        /// The account.
        account: String,
    },
    /// An account's balance of an ERC-20 token.
    Erc20 {
        /// The token.
        token: String,
        /// The account.
        holder: String,
    },
    /// An integer that a contract's function returns.
    Call {
        /// The contract: its address, or the name of one that is followed.
        contract: String,
        /// The function.
        function: DeclaredFunction,
        /// Its arguments, each as text: numbers in decimal or hexadecimal digits, arrays as `[a,b]`, tuples as `(a,b)`.
        #[serde(default)]
        arguments: Vec<String>,
        /// Which of several values that are returned, by name, or by place from 0.
        #[serde(default)]
        output: Option<String>,
        /// Asked with an `eth_call` of its own: for a function that looks at its caller, needs much gas, or changes state on its way.
        #[serde(default)]
        direct: bool,
    },
}

/// A function, as data.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(
    untagged,
    expecting = "expected a function: `name(types)`, `name(types)(types returned)`, the name of one in the ABI of a contract that \
                 is followed, or an item of a JSON ABI"
)]
pub enum DeclaredFunction {
    /// `name(types)(types returned)`; Solidity's `function … returns (…)`; either without what is returned, which is then what the ABI of a
    /// contract that is followed says, and of any other a `uint256`; or, without parentheses, a name in such an ABI.
    Text(String),
    /// An item of a JSON ABI.
    Item(Box<Function>),
}

/// Why a declared probe cannot be asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidProbe {
    /// A text that is no address.
    #[error("`{given}` is not an address: {reason}")]
    Address {
        /// The text.
        given: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A text that is no function.
    #[error("`{given}` is not a function: {reason}; write `name(types)`, or `name(types)(types returned)`")]
    Function {
        /// The text.
        given: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A name that does not say which function.
    #[error("unknown function `{name}` of {contract}: {reason}")]
    UnknownFunction {
        /// The name.
        name: String,
        /// The contract.
        contract: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The number of arguments is not the function's.
    #[error("{function} takes {expected}, and {given} given")]
    ArgumentCount {
        /// The function.
        function: String,
        /// How many it takes.
        expected: String,
        /// How many there are.
        given: String,
    },
    /// An argument is not of its type.
    #[error("argument {place} of {function}, `{given}`, is not {kind}: {reason}")]
    Argument {
        /// The function.
        function: String,
        /// Which, from 1.
        place: usize,
        /// The argument.
        given: String,
        /// The type it should have.
        kind: String,
        /// What is wrong with it.
        reason: String,
    },
    /// It is not clear which value is meant.
    #[error("{function} returns {returned}: {reason}")]
    Output {
        /// The function.
        function: String,
        /// What it returns.
        returned: String,
        /// What is wrong.
        reason: String,
    },
    /// The function may change state.
    #[error(
        "the ABI says that {function} may change state (it is neither `view` nor `pure`): what it does could falsify the answers that \
         are asked for together with it. Declare it `direct` to have it asked alone"
    )]
    NotView {
        /// The function.
        function: String,
    },
}

impl DeclaredProbe {
    /// The probe, if nothing is wrong with it. A function that is only named is looked for in these contracts' ABIs.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn check(&self, contracts: &Contracts) -> Result<Probe, InvalidProbe> {
        match self {
            Self::Native { account } => Ok(Probe::native(address(account)?)),
            Self::Erc20 { token, holder } => Ok(Probe::erc20(address(token)?, address(holder)?)),
            Self::Call { contract, function, arguments, output, direct } => {
                let contract = self::contract(contract, contracts)?;
                let function = function.find(contract, contracts)?;
                if function.may_change_state && !direct {
                    return Err(InvalidProbe::NotView { function: function.abi.signature() });
                }
                let data = encode(&function.abi, arguments)?.into();
                let (outputs, place) = integer(&function.abi, output.as_deref())?;
                let view = View { contract, data, direct: *direct, outputs, place };
                Ok(Probe { question: Question::View(view) })
            }
        }
    }
}

struct Found {
    abi: Function,
    /// As an ABI says; a signature that somebody wrote down says nothing.
    may_change_state: bool,
}

impl From<Function> for Found {
    fn from(abi: Function) -> Self {
        let may_change_state = !matches!(abi.state_mutability, StateMutability::View | StateMutability::Pure);
        Self { abi, may_change_state }
    }
}

impl DeclaredFunction {
    fn find(&self, contract: Address, contracts: &Contracts) -> Result<Found, InvalidProbe> {
        let text = match self {
            Self::Item(abi) => return Ok(Found::from(Function::clone(abi))),
            Self::Text(name) if !name.contains('(') => {
                return named(name, contract, contracts).map(Found::from);
            }
            Self::Text(text) => text,
        };
        let mut abi = signature(text)?;
        if abi.outputs.is_empty() {
            if let Some(known) = contracts.get(&contract) {
                let same = known.abi.functions().find(|own| own.selector() == abi.selector());
                return same.cloned().map(Found::from).ok_or_else(|| not_in_abi(text, known));
            }
            abi.outputs = vec![Param::parse(DEFAULT_OUTPUT).expect("a type of Solidity's")];
        }
        Ok(Found { abi, may_change_state: false })
    }
}

fn named(name: &str, contract: Address, contracts: &Contracts) -> Result<Function, InvalidProbe> {
    let unknown = |reason: String| InvalidProbe::UnknownFunction {
        name: name.to_owned(),
        contract: address_text(&contract),
        reason,
    };
    let Some(known) = contracts.get(&contract) else {
        return Err(unknown("its ABI is not configured, so write `name(types)(types returned)`".to_owned()));
    };
    match known.abi.function(name).map(Vec::as_slice) {
        Some([only]) => Ok(only.clone()),
        Some(several) => Err(unknown(format!(
            "there are several, so write one with its types: {}",
            signatures(several.iter())
        ))),
        None => Err(not_in_abi(name, known)),
    }
}

fn not_in_abi(name: &str, contract: &Contract) -> InvalidProbe {
    let all = signatures(contract.abi.functions());
    InvalidProbe::UnknownFunction {
        name: name.to_owned(),
        contract: address_text(&contract.address),
        reason: format!(
            "the ABI of {} has {}; if the contract has more, write `name(types)(types returned)`",
            contract.name,
            if all.is_empty() { "none" } else { &all }
        ),
    }
}

fn signatures<'a>(functions: impl Iterator<Item = &'a Function>) -> String {
    functions.map(Function::signature).collect::<Vec<_>>().join(", ")
}

/// Reads a function from Solidity's words, or from the short form, whose second parentheses hold what is returned.
fn signature(text: &str) -> Result<Function, InvalidProbe> {
    let invalid = |reason: String| InvalidProbe::Function { given: text.to_owned(), reason };
    let text = text.trim();
    let inputs_end = closing(text).ok_or_else(|| invalid("a parenthesis is missing".to_owned()))?;
    let (head, rest) = text.split_at(inputs_end + 1);
    let solidity =
        if rest.trim_start().starts_with('(') { format!("{head} returns {rest}") } else { text.to_owned() };
    Function::parse(&solidity).map_err(|error| invalid(error.to_string()))
}

/// Where the first parenthesis is closed.
fn closing(text: &str) -> Option<usize> {
    let mut depth = 0_usize;
    text.char_indices().find_map(|(at, c)| {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.checked_sub(1)?,
            _ => return None,
        }
        (depth == 0).then_some(at)
    })
}

/// A contract by its address, or by the name that it is followed under.
fn contract(text: &str, contracts: &Contracts) -> Result<Address, InvalidProbe> {
    if text.starts_with("0x") {
        return address(text);
    }
    let invalid = |reason: &str| InvalidProbe::Address { given: text.to_owned(), reason: reason.to_owned() };
    let mut named = contracts.iter().filter(|contract| &*contract.name == text);
    match (named.next(), named.next()) {
        (Some(only), None) => Ok(only.address),
        (None, _) => {
            Err(invalid("no contract of that name is followed; give `0x` and 40 hexadecimal digits"))
        }
        (Some(_), Some(_)) => Err(invalid("several contracts of that name are followed")),
    }
}

/// An address in lower or upper case, or with its EIP-55 checksum: a mistyped one would have a balance, too.
fn address(text: &str) -> Result<Address, InvalidProbe> {
    let invalid = |reason: String| InvalidProbe::Address { given: text.chars().take(100).collect(), reason };
    let address =
        parse_address(text).map_err(|_| invalid("give `0x` and 40 hexadecimal digits".to_owned()))?;
    let is_mixed = text[2..].contains(|c: char| c.is_ascii_lowercase())
        && text[2..].contains(|c: char| c.is_ascii_uppercase());
    if is_mixed && address.to_checksum(None) != text {
        return Err(invalid(format!(
            "it does not have the checksum that its letter case claims (EIP-55), so a digit may be wrong; if every digit is right, it is {}",
            address.to_checksum(None)
        )));
    }
    Ok(address)
}

fn encode(function: &Function, arguments: &[String]) -> Result<Vec<u8>, InvalidProbe> {
    if function.inputs.len() != arguments.len() {
        return Err(InvalidProbe::ArgumentCount {
            function: function.signature(),
            expected: match function.inputs.len() {
                0 => "no argument".to_owned(),
                1 => "1 argument".to_owned(),
                more => format!("{more} arguments"),
            },
            given: match arguments.len() {
                0 => "none is".to_owned(),
                1 => "1 is".to_owned(),
                more => format!("{more} are"),
            },
        });
    }
    let mut values = Vec::with_capacity(arguments.len());
    for (at, (input, given)) in function.inputs.iter().zip(arguments).enumerate() {
        let value = match input.resolve() {
            Ok(DynSolType::Address) => {
                address(given).map(DynSolValue::Address).map_err(|error| error.to_string())
            }
            Ok(kind) => kind.coerce_str(given).map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        values.push(value.map_err(|reason| InvalidProbe::Argument {
            function: function.signature(),
            place: at + 1,
            given: given.clone(),
            kind: input.selector_type().into_owned(),
            reason,
        })?);
    }
    function
        .abi_encode_input(&values)
        .map_err(|error| InvalidProbe::Function { given: function.signature(), reason: error.to_string() })
}

/// What is returned, and the place in it of the integer that is meant.
fn integer(function: &Function, output: Option<&str>) -> Result<(DynSolType, usize), InvalidProbe> {
    let described = |param: &Param| format!("{} {}", param.selector_type(), param.name).trim_end().to_owned();
    let returned = function.outputs.iter().map(described).collect::<Vec<_>>().join(", ");
    let invalid = |reason: String| InvalidProbe::Output {
        function: function.signature(),
        returned: format!("({returned})"),
        reason,
    };
    let place = match (output, function.outputs.len()) {
        (None, 1) => 0,
        (None, 0) => return Err(invalid("there is no number to read".to_owned())),
        (None, _) => return Err(invalid("say which value is meant, by name, or by place from 0".to_owned())),
        (Some(output), count) => {
            let by_name =
                function.outputs.iter().position(|param| param.name == output && !output.is_empty());
            by_name
                .or_else(|| output.parse().ok().filter(|place| *place < count))
                .ok_or_else(|| invalid(format!("there is no value `{output}`")))?
        }
    };
    let kinds = function.outputs.iter().map(Specifier::resolve).collect::<Result<Vec<_>, _>>();
    let kinds = kinds.map_err(|error| invalid(error.to_string()))?;
    match kinds[place] {
        DynSolType::Uint(_) | DynSolType::Int(_) => Ok((DynSolType::Tuple(kinds), place)),
        _ => Err(invalid(format!("`{}` is no integer", described(&function.outputs[place])))),
    }
}

#[cfg(test)]
mod tests;

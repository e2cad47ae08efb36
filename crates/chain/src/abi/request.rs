//! How a call carries its request's id: in its function's argument `requestId` where there is one, else as 32 bytes behind its arguments, which contracts do not read.

use alloy_dyn_abi::{DynSolValue, JsonAbiExt};
use alloy_json_abi::Function;
use alloy_primitives::{Address, B256, Bytes};
use plimsoll_types::RequestId;

use super::{Contract, Contracts, REQUEST_ID_PARAMETER};

const WORD_BYTES: usize = 32;

/// Where a call carries its request's id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carried {
    /// In its function's argument `requestId`.
    Argument,
    /// In 32 bytes behind its arguments.
    Suffix,
}

/// Why a call cannot carry a request's id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CannotCarry {
    /// Its arguments are not its function's.
    #[error("the arguments are not those of `{signature}`: {reason}")]
    Arguments {
        /// The function.
        signature: String,
        /// What is wrong with them.
        reason: String,
    },
    /// It carries another one.
    #[error("it carries {carried} as its request's id, and not {expected}: leave zeros in its place")]
    Other {
        /// What it carries, in hexadecimal.
        carried: String,
        /// What it would have to carry, in hexadecimal.
        expected: String,
    },
    /// The function has a `requestId` that is no `bytes32`.
    #[error("`{signature}` has a `requestId` that is not a `bytes32`")]
    Kind {
        /// The function.
        signature: String,
    },
}

impl Contract {
    /// The request id that a call of this contract carries: its function's argument `requestId`, else 32 bytes behind the arguments.
    #[must_use]
    pub fn request_id_of_call(&self, input: &[u8]) -> Option<RequestId> {
        let (function, arguments) = self.function_of(input)?;
        let values = function.abi_decode_input(arguments).ok()?;
        let word = match request_id_at(function).and_then(|at| values.get(at)) {
            Some(DynSolValue::FixedBytes(word, WORD_BYTES)) => *word,
            Some(_) => return None,
            None => {
                let encoded = DynSolValue::Tuple(values).abi_encode_params();
                B256::try_from(arguments.get(encoded.len()..)?).ok()?
            }
        };
        RequestId::from_chain(word)
    }

    /// The function that is called, and its arguments.
    fn function_of<'a>(&self, input: &'a [u8]) -> Option<(&Function, &'a [u8])> {
        let (selector, arguments) = input.split_first_chunk::<4>()?;
        Some((self.abi.functions().find(|f| f.selector() == *selector)?, arguments))
    }
}

impl Contracts {
    /// The call of `to` with this request's id in it. One that carries it already stays as it is; where the argument is zero, it is filled in.
    ///
    /// # Errors
    /// [`CannotCarry`].
    pub fn with_request_id(
        &self,
        to: &Address,
        input: &[u8],
        id: RequestId,
    ) -> Result<(Bytes, Carried), CannotCarry> {
        let Some((function, arguments)) = self.get(to).and_then(|contract| contract.function_of(input))
        else {
            return Ok((suffixed(input, id), Carried::Suffix));
        };
        let signature = function.signature();
        let refused =
            |reason: &str| CannotCarry::Arguments { signature: signature.clone(), reason: reason.to_owned() };
        let mut values = function.abi_decode_input(arguments).map_err(|error| refused(&error.to_string()))?;
        let encoded = |values: &[DynSolValue]| DynSolValue::Tuple(values.to_vec()).abi_encode_params();
        let plain = encoded(&values);
        let rest =
            arguments.strip_prefix(&*plain).ok_or_else(|| refused("they are encoded in an unusual way"))?;
        let Some(at) = request_id_at(function) else {
            return match rest {
                [] => Ok((suffixed(input, id), Carried::Suffix)),
                rest if *rest == id.to_chain()[..] => Ok((Bytes::copy_from_slice(input), Carried::Suffix)),
                _ => Err(refused("more stands behind them")),
            };
        };
        if !rest.is_empty() {
            return Err(refused("more stands behind them"));
        }
        match values.get_mut(at) {
            Some(DynSolValue::FixedBytes(word, WORD_BYTES)) if word.is_zero() || *word == id.to_chain() => {
                *word = id.to_chain();
            }
            Some(DynSolValue::FixedBytes(word, WORD_BYTES)) => {
                let expected = id.to_chain().to_string();
                return Err(CannotCarry::Other { carried: word.to_string(), expected });
            }
            _ => return Err(CannotCarry::Kind { signature }),
        }
        let data = [&input[..4], &encoded(&values)].concat();
        Ok((data.into(), Carried::Argument))
    }

    /// The request id that a call of `to` carries. Of what no ABI knows, its last 32 bytes are it.
    #[must_use]
    pub fn request_id_of_call(&self, to: &Address, input: &[u8]) -> Option<RequestId> {
        match self.get(to).filter(|contract| contract.function_of(input).is_some()) {
            Some(contract) => contract.request_id_of_call(input),
            None => RequestId::from_chain(B256::from(*input.last_chunk::<WORD_BYTES>()?)),
        }
    }
}

fn request_id_at(function: &Function) -> Option<usize> {
    function.inputs.iter().position(|input| input.name == REQUEST_ID_PARAMETER)
}

fn suffixed(input: &[u8], id: RequestId) -> Bytes {
    let id = id.to_chain();
    if input.ends_with(id.as_slice()) {
        return Bytes::copy_from_slice(input);
    }
    [input, id.as_slice()].concat().into()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use alloy_json_abi::JsonAbi;
    use alloy_primitives::U256;
    use uuid::Uuid;

    use super::*;

    const TO: Address = Address::repeat_byte(7);

    fn contracts() -> Contracts {
        let abi = JsonAbi::parse([
            "function push(string note, bytes32 requestId, uint64 seq)",
            "function poke(string note)",
            "function odd(uint256 requestId)",
        ]);
        Contracts::new([Contract::new("Router", TO, Uuid::nil(), 0, Arc::new(abi.unwrap()))])
    }

    fn call(function: &str, values: &[DynSolValue]) -> Vec<u8> {
        let contracts = contracts();
        let abi = &contracts.get(&TO).unwrap().abi;
        abi.function(function).unwrap()[0].abi_encode_input(values).unwrap()
    }

    fn push(id: B256) -> Vec<u8> {
        let values = [
            DynSolValue::String(
                "a note of more than one word, so that its place is not where it is read".into(),
            ),
            DynSolValue::FixedBytes(id, WORD_BYTES),
            DynSolValue::Uint(U256::from(3), 64),
        ];
        call("push", &values)
    }

    #[test]
    fn whatever_is_made_to_carry_an_id_is_read_back_with_it_and_made_so_once() {
        let id = RequestId::from_uuid(Uuid::from_u128(0xabc));
        let poke = call("poke", &[DynSolValue::String("hi".into())]);
        let stranger = Address::repeat_byte(8);
        for (to, input, carried) in [
            (TO, push(B256::ZERO), Carried::Argument),
            (TO, push(id.to_chain()), Carried::Argument),
            (TO, poke, Carried::Suffix),
            (TO, Vec::new(), Carried::Suffix),
            (TO, vec![1, 2, 3, 4, 5], Carried::Suffix),
            (stranger, push(B256::ZERO), Carried::Suffix),
            (stranger, Vec::new(), Carried::Suffix),
        ] {
            let made = contracts().with_request_id(&to, &input, id).unwrap();
            assert_eq!(made.1, carried, "{to} {input:?}");
            assert_eq!(contracts().request_id_of_call(&to, &made.0), Some(id), "{to} {input:?}");
            assert_eq!(contracts().with_request_id(&to, &made.0, id).unwrap(), made, "{to} {input:?}");
            match carried {
                Carried::Argument => assert_eq!(made.0.to_vec(), push(id.to_chain())),
                Carried::Suffix => {
                    assert_eq!(made.0.to_vec(), [&input[..], id.to_chain().as_slice()].concat());
                }
            }
        }
    }

    #[test]
    fn another_requests_id_and_arguments_that_are_none_are_refused() {
        let id = RequestId::from_uuid(Uuid::from_u128(0xabc));
        let refused = |input: &[u8]| contracts().with_request_id(&TO, input, id).unwrap_err().to_string();
        assert!(refused(&push(B256::repeat_byte(9))).contains("0x0909"), "another's");
        assert!(refused(&push(B256::ZERO)[..40]).contains("push(string,bytes32,uint64)"), "cut off");
        let more = [push(B256::ZERO), vec![0; 32]].concat();
        assert!(refused(&more).contains("more stands behind"));
        let poke = call("poke", &[DynSolValue::String("hi".into())]);
        assert!(refused(&[poke, vec![9; 32]].concat()).contains("more stands behind"));
        let odd = call("odd", &[DynSolValue::Uint(U256::ZERO, 256)]);
        assert!(refused(&odd).contains("not a `bytes32`"));
    }
}

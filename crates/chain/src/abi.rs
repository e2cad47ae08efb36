//! Which contracts are followed, and what their logs say.
//!
//! A log is looked up by (address, topic0). A log that no ABI knows stays raw; one that an ABI claims and that does not
//! decode under it is an [`AbiMismatch`], because reading on with a wrong ABI would fill every mirror with nonsense.

mod json;
mod request;

use std::collections::HashMap;
use std::sync::Arc;

use alloy_dyn_abi::{DynSolEvent, DynSolValue, Specifier};
use alloy_json_abi::{Event, JsonAbi};
use alloy_primitives::{Address, B256};
use plimsoll_types::{RequestId, address_text, hash_text};
use uuid::Uuid;

use self::json::write_json_text;
pub use self::json::write_json_value;
pub use self::request::{CannotCarry, Carried};

/// Parameters named so carry the request's id and its on-chain sequence (spec 1 §4.1, §5.4).
const REQUEST_ID_PARAMETER: &str = "requestId";
const SEQ_PARAMETER: &str = "seq";

/// A log that the contract's ABI claims by its topic0, but that does not decode under it.
#[derive(Clone, Debug, thiserror::Error)]
#[error(
    "the ABI of {contract} does not match the chain: its event `{signature}` does not decode the log {log_index} of \
     transaction {tx_hash} ({reason}); give the ABI file that the contract was built with"
)]
pub struct AbiMismatch {
    contract: String,
    signature: String,
    tx_hash: String,
    log_index: u32,
    reason: String,
}

/// An event of an ABI, ready to decode.
#[derive(Clone, Debug)]
pub struct EventAbi {
    /// The event's name.
    pub name: Arc<str>,
    /// Its canonical signature, as `Transfer(address,address,uint256)`.
    pub signature: String,
    /// Its parameters' names in declaration order, `argN` where one has none.
    pub parameters: Arc<[Parameter]>,
    decoder: DynSolEvent,
}

/// A parameter of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameter {
    /// Its name.
    pub name: String,
    /// Its canonical type, as `uint256`.
    pub kind: String,
    /// Whether it is a topic.
    pub indexed: bool,
}

/// What a log says.
#[derive(Clone, Debug)]
pub struct Decoded {
    /// The event's name.
    pub name: Arc<str>,
    /// The parameters that `values` belong to.
    pub parameters: Arc<[Parameter]>,
    /// The values, in declaration order. An indexed dynamic parameter is its hash.
    pub values: Vec<DynSolValue>,
}

/// A contract that is followed.
#[derive(Clone, Debug)]
pub struct Contract {
    /// Its name in the configuration, as `PositionView`.
    pub name: Arc<str>,
    /// Its address.
    pub address: Address,
    /// Whose it is.
    pub tenant_id: Uuid,
    /// The first block that can hold a log of it.
    pub start_block: u64,
    /// Its ABI.
    pub abi: Arc<JsonAbi>,
    events: Arc<HashMap<B256, EventAbi>>,
}

/// The contracts that are followed on one chain.
#[derive(Clone, Debug, Default)]
pub struct Contracts {
    by_address: HashMap<Address, Contract>,
}

impl EventAbi {
    /// Prepares an event of an ABI; `None` when its types are malformed or it is anonymous (it has no topic0 to be found by).
    #[must_use]
    pub fn new(event: &Event) -> Option<Self> {
        if event.anonymous {
            return None;
        }
        let parameters = event
            .inputs
            .iter()
            .enumerate()
            .map(|(i, input)| Parameter {
                name: if input.name.is_empty() { format!("arg{i}") } else { input.name.clone() },
                kind: input.selector_type().into_owned(),
                indexed: input.indexed,
            })
            .collect();
        Some(Self {
            name: event.name.as_str().into(),
            signature: event.signature(),
            parameters,
            decoder: event.resolve().ok()?,
        })
    }

    /// Decodes topics (topic0 first) and data.
    pub fn decode(&self, topics: &[B256], data: &[u8]) -> Result<Decoded, String> {
        let decoded =
            self.decoder.decode_log_parts(topics.iter().copied(), data).map_err(|error| error.to_string())?;
        let (mut indexed, mut body) = (decoded.indexed.into_iter(), decoded.body.into_iter());
        let values = self
            .parameters
            .iter()
            .map(|p| if p.indexed { indexed.next() } else { body.next() })
            .collect::<Option<Vec<_>>>()
            .ok_or("fewer values than parameters")?;
        Ok(Decoded { name: self.name.clone(), parameters: self.parameters.clone(), values })
    }
}

impl Decoded {
    /// The value of the parameter so named.
    #[must_use]
    pub fn get(&self, parameter: &str) -> Option<&DynSolValue> {
        let at = self.parameters.iter().position(|p| p.name == parameter)?;
        self.values.get(at)
    }

    /// The on-chain request id, where the event carries one that is not zero.
    #[must_use]
    pub fn request_id(&self) -> Option<RequestId> {
        match self.get(REQUEST_ID_PARAMETER)? {
            DynSolValue::FixedBytes(word, 32) => RequestId::from_chain(*word),
            _ => None,
        }
    }

    /// The on-chain sequence, where the event carries one.
    #[must_use]
    pub fn seq(&self) -> Option<u64> {
        match self.get(SEQ_PARAMETER)? {
            DynSolValue::Uint(value, _) => u64::try_from(*value).ok(),
            _ => None,
        }
    }

    /// Writes the parameters as a JSON object: integers as decimal strings, bytes and addresses as lower-case hex.
    pub fn write_json(&self, out: &mut Vec<u8>) {
        out.push(b'{');
        for (i, (parameter, value)) in self.parameters.iter().zip(&self.values).enumerate() {
            if i > 0 {
                out.push(b',');
            }
            write_json_text(&parameter.name, out);
            out.push(b':');
            write_json_value(value, out);
        }
        out.push(b'}');
    }
}

impl Contract {
    /// A contract with its ABI's events prepared.
    #[must_use]
    pub fn new(name: &str, address: Address, tenant_id: Uuid, start_block: u64, abi: Arc<JsonAbi>) -> Self {
        let events = abi
            .events()
            .filter_map(|event| EventAbi::new(event).map(|prepared| (event.selector(), prepared)))
            .collect();
        Self { name: name.into(), address, tenant_id, start_block, abi, events: Arc::new(events) }
    }

    /// The event with this topic0.
    #[must_use]
    pub fn event(&self, topic0: &B256) -> Option<&EventAbi> {
        self.events.get(topic0)
    }
}

impl Contracts {
    /// The contracts, by address; of two with one address the later one counts.
    #[must_use]
    pub fn new(contracts: impl IntoIterator<Item = Contract>) -> Self {
        Self { by_address: contracts.into_iter().map(|c| (c.address, c)).collect() }
    }

    /// The contract at this address.
    #[must_use]
    pub fn get(&self, address: &Address) -> Option<&Contract> {
        self.by_address.get(address)
    }

    /// All of them, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &Contract> {
        self.by_address.values()
    }

    /// Their addresses, sorted.
    #[must_use]
    pub fn addresses(&self) -> Vec<Address> {
        let mut addresses: Vec<_> = self.by_address.keys().copied().collect();
        addresses.sort_unstable();
        addresses
    }

    /// The first block that can hold a log of any of them.
    #[must_use]
    pub fn start_block(&self) -> u64 {
        self.iter().map(|c| c.start_block).min().unwrap_or(0)
    }

    /// What the log says: `None` when no ABI knows it.
    pub fn decode(
        &self,
        address: &Address,
        topics: &[B256],
        data: &[u8],
        tx_hash: &B256,
        log_index: u32,
    ) -> Result<Option<Decoded>, Box<AbiMismatch>> {
        let Some((contract, topic0)) = self.get(address).zip(topics.first()) else { return Ok(None) };
        let Some(event) = contract.event(topic0) else { return Ok(None) };
        event.decode(topics, data).map(Some).map_err(|reason| {
            Box::new(AbiMismatch {
                contract: format!("{} ({})", contract.name, address_text(address)),
                signature: event.signature.clone(),
                tx_hash: hash_text(tx_hash),
                log_index,
                reason,
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy_dyn_abi::JsonAbiExt;
    use alloy_primitives::{U256, b256, keccak256};

    fn contracts() -> (Contracts, Address) {
        let abi = JsonAbi::parse([
            "event Pushed(address indexed user, int256 delta, string note, bytes reason, bytes32 requestId, uint64 seq)",
        ])
        .unwrap();
        let address = Address::repeat_byte(7);
        (Contracts::new([Contract::new("Router", address, Uuid::nil(), 0, Arc::new(abi))]), address)
    }

    fn topic0() -> B256 {
        keccak256("Pushed(address,int256,string,bytes,bytes32,uint64)")
    }

    #[test]
    fn a_known_log_is_decoded_into_json_without_loss() {
        let (contracts, address) = contracts();
        let user = Address::repeat_byte(0xab);
        let data = DynSolValue::Tuple(vec![
            DynSolValue::Int(alloy_primitives::I256::MIN, 256),
            DynSolValue::String("a \"quoted\"\0 note".into()),
            DynSolValue::Bytes(vec![0xde, 0xad]),
            DynSolValue::FixedBytes(
                b256!("000000000000000000000000000000000123456789ab4cde8f0123456789abcd"),
                32,
            ),
            DynSolValue::Uint(U256::from(u64::MAX), 64),
        ])
        .abi_encode_params();
        let decoded = contracts
            .decode(&address, &[topic0(), user.into_word()], &data, &B256::ZERO, 3)
            .unwrap()
            .unwrap();
        let mut json = Vec::new();
        decoded.write_json(&mut json);
        let json: serde_json::Value = serde_json::from_slice(&json).unwrap();
        assert_eq!(
            json,
            serde_json::json!({
                "user": format!("0x{}", "ab".repeat(20)),
                "delta": alloy_primitives::I256::MIN.to_string(),
                "note": "a \"quoted\"\u{fffd} note",
                "reason": "0xdead",
                "requestId": "0x000000000000000000000000000000000123456789ab4cde8f0123456789abcd",
                "seq": u64::MAX.to_string(),
            })
        );
        assert_eq!(decoded.request_id().unwrap().to_string(), "01234567-89ab-4cde-8f01-23456789abcd");
        assert_eq!(decoded.seq(), Some(u64::MAX));
    }

    #[test]
    fn a_call_carries_its_request_id_as_an_argument_or_behind_the_arguments() {
        let abi =
            JsonAbi::parse(["function push(address user, bytes32 requestId)", "function poke(string note)"])
                .unwrap();
        let contract = Contract::new("Router", Address::ZERO, Uuid::nil(), 0, Arc::new(abi));
        let id = B256::repeat_byte(9);
        let push = contract.abi.function("push").unwrap()[0]
            .abi_encode_input(&[DynSolValue::Address(Address::ZERO), DynSolValue::FixedBytes(id, 32)])
            .unwrap();
        assert_eq!(contract.request_id_of_call(&push), RequestId::from_chain(id));
        let mut poke = contract.abi.function("poke").unwrap()[0]
            .abi_encode_input(&[DynSolValue::String("hi".into())])
            .unwrap();
        assert_eq!(contract.request_id_of_call(&poke), None);
        poke.extend_from_slice(id.as_slice());
        assert_eq!(contract.request_id_of_call(&poke), RequestId::from_chain(id));
        assert_eq!(contract.request_id_of_call(&[1, 2, 3, 4]), None);
    }

    #[test]
    fn a_log_that_no_abi_knows_stays_raw() {
        let (contracts, address) = contracts();
        assert!(contracts.decode(&address, &[B256::ZERO], &[], &B256::ZERO, 0).unwrap().is_none());
        assert!(contracts.decode(&Address::ZERO, &[topic0()], &[], &B256::ZERO, 0).unwrap().is_none());
        assert!(contracts.decode(&address, &[], &[], &B256::ZERO, 0).unwrap().is_none());
    }

    #[test]
    fn a_log_that_its_abi_does_not_decode_is_a_mismatch_that_names_it() {
        let (contracts, address) = contracts();
        let error = contracts.decode(&address, &[topic0()], &[], &B256::ZERO, 3).unwrap_err().to_string();
        assert!(
            error.contains("Router") && error.contains("Pushed(address") && error.contains("log 3"),
            "{error}"
        );
    }
}

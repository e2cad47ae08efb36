//! What was asked for, and what was answered: the clients' book.

use alloy_primitives::{Address, Bytes, keccak256};
use plimsoll_types::address_text;
use plimsoll_types::api::Transaction;
use serde_json::{Value, json};
use uuid::Uuid;

use super::keys::KEYS;
use super::story::{Ask, Kind};
use crate::chaos::client::{self, Call};
use crate::chaos::people::Person;

/// Enough for a call of the counter.
const GAS_LIMIT: u64 = 100_000;
const SUBMIT: &str = "/chain/tx/submit";

/// What was heard of a request.
pub(super) type Told = client::Told<Box<Transaction>>;

/// A request as it was handed in.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) ask: Ask,
    pub(super) body: Value,
    /// The transaction that it was answered with.
    pub(super) transaction_id: Option<Uuid>,
    /// Whether its end was asked for and granted.
    pub(super) is_called_off: bool,
}

/// What is called with this request's id.
pub(super) fn calldata(method: &str, request_id: Uuid) -> Bytes {
    [&keccak256(method)[..4], &[0; 16], request_id.as_bytes()].concat().into()
}

impl Asked {
    /// The request, made now: `head` is the chain's newest block.
    pub(super) fn new(ask: Ask, person: &Person, chain_id: u64, counter: Address, head: u64) -> Self {
        let method =
            if matches!(ask.kind, Kind::Revert { .. }) { "refuse(bytes32)" } else { "perform(bytes32)" };
        let mut body = json!({
            "request_id": ask.request_id, "tenant_id": person.tenant_id, "user_id": person.user_id,
            "operation_type": "count", "chain_id": chain_id, "signer": KEYS[ask.signer].address,
            "to": address_text(&counter), "data": calldata(method, ask.request_id), "priority": ask.priority,
        });
        match ask.kind {
            Kind::Count { has_limit: false } | Kind::Revert { has_limit: false } => {}
            _ => body["gas_limit"] = GAS_LIMIT.into(),
        }
        match ask.kind {
            Kind::UntilBlock { blocks } => body["valid_until_block"] = (head + blocks).into(),
            Kind::UntilTime { ms } => {
                let until = time::OffsetDateTime::now_utc() + std::time::Duration::from_millis(ms);
                let until = until.format(&time::format_description::well_known::Rfc3339);
                body["valid_until"] = until.unwrap_or_default().into();
            }
            Kind::Count { .. } | Kind::Revert { .. } => {}
        }
        Self { ask, body, transaction_id: None, is_called_off: false }
    }

    fn call(&self, person: &Person, key: String, body: Value) -> Call {
        Call { path: SUBMIT.to_owned(), key, token: person.token.clone(), body }
    }

    /// To be handed in, each time under the same key.
    pub(super) fn submission(&self, person: &Person) -> Call {
        self.call(person, client::key("submit", self.ask.request_id), self.body.clone())
    }

    /// To be handed in once more, under another key.
    pub(super) fn repetition(&self, person: &Person) -> Call {
        self.call(person, client::key("again", Uuid::new_v4()), self.body.clone())
    }

    /// To be handed in with something else in it, which must be refused.
    pub(super) fn conflict(&self, person: &Person) -> Call {
        let mut body = self.body.clone();
        body["value_wei"] = "1".into();
        self.call(person, client::key("other", Uuid::new_v4()), body)
    }

    /// To be called off, if it was answered.
    pub(super) fn calling_off(&self, person: &Person) -> Option<Call> {
        let path = format!("/chain/tx/{}/cancel", self.transaction_id?);
        let body = json!({
            "request_id": Uuid::new_v4(), "tenant_id": person.tenant_id, "user_id": person.user_id, "reason": "it was withdrawn",
        });
        let key = client::key("cancel", Uuid::new_v4());
        Some(Call { path, key, token: person.token.clone(), body })
    }

    /// Whether it may be too late.
    pub(super) fn may_expire(&self) -> bool {
        matches!(self.ask.kind, Kind::UntilBlock { .. } | Kind::UntilTime { .. })
    }

    /// Whether the contract refuses it.
    pub(super) fn reverts(&self) -> bool {
        matches!(self.ask.kind, Kind::Revert { .. })
    }
}

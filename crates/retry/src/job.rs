//! A job as the database has it.

use alloy_primitives::{Address, B256};
use plimsoll_types::Context;
use uuid::Uuid;

use crate::events::Key;
use crate::history;
use crate::state::Status;

/// A job's row.
#[derive(Clone, Debug)]
pub(crate) struct Job {
    pub(crate) id: Uuid,
    pub(crate) chain_id: u64,
    pub(crate) key: Key,
    pub(crate) status: Status,
    pub(crate) version: i32,
    pub(crate) attempts: u32,
    pub(crate) is_automatic: bool,
    pub(crate) reason_code: String,
    pub(crate) reason_text: String,
    pub(crate) request_id: Option<Uuid>,
    pub(crate) signer: Option<Address>,
    pub(crate) transaction_id: Option<Uuid>,
    pub(crate) inclusion: Option<Inclusion>,
    pub(crate) healed_seq: Option<i64>,
    pub(crate) ended_seq: Option<i64>,
}

/// Where the chain has a job's attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Inclusion {
    pub(crate) tx_hash: B256,
    pub(crate) block_number: u64,
    pub(crate) block_hash: B256,
    pub(crate) tx_index: u32,
    pub(crate) succeeded: bool,
}

impl Job {
    /// In whose name its newest step is told: the step before caused it.
    pub(crate) fn context(&self, actor: &str) -> Context {
        self.named(actor, (self.version > 1).then(|| history::event_id(self.id, self.version - 1)))
    }

    /// In whose name what its newest step causes is done.
    pub(crate) fn effect_context(&self, actor: &str) -> Context {
        self.named(actor, Some(history::event_id(self.id, self.version)))
    }

    fn named(&self, actor: &str, causation_id: Option<String>) -> Context {
        Context {
            request_id: self.request_id.unwrap_or(self.id),
            tenant_id: Some(self.key.tenant_id),
            user_id: None,
            actor: actor.to_owned(),
            correlation_id: self.id.to_string(),
            causation_id,
        }
    }
}

//! `plimsoll admin idempotency`.

use plimsoll_store::idempotency::{self as keys, Entry, EntryFilter, State};

use super::Admin;
use super::change::{As, Done};
use super::operator;
use super::sheet::{Sheet, list, show};
use crate::cli::{Final, Idempotency, IdempotencyList, KeyState};
use crate::failure::Failure;

const COLUMNS: &[&str] = &["entry", "state", "method", "route", "key", "principal", "status", "expires_at"];

impl From<&Entry> for Sheet {
    fn from(entry: &Entry) -> Self {
        Self::new()
            .with("entry", entry.entry_id)
            .with("tenant_id", entry.scope.tenant_id.map(|id| id.to_string()))
            .with("state", entry.state.as_str())
            .with("method", &*entry.scope.method)
            .with("route", &*entry.scope.route)
            .with("key", entry.key.as_str())
            .with("principal", &*entry.scope.principal)
            .with("claimed_by", &*entry.claimed_by)
            .at("claim_expires_at", entry.claim_expires_at)
            .with("recovery_point", entry.recovery_point.clone())
            .with("status", entry.status)
            .with("answer_bytes", entry.answer_bytes)
            .at("created_at", entry.created_at)
            .at("expires_at", entry.expires_at)
    }
}

impl From<KeyState> for State {
    fn from(state: KeyState) -> Self {
        match state {
            KeyState::InFlight => Self::InFlight,
            KeyState::Recoverable => Self::Recoverable,
            KeyState::Done => Self::Done,
        }
    }
}

impl Admin<'_> {
    pub(super) async fn idempotency(&self, asked: &Idempotency) -> Result<(), Failure> {
        match asked {
            Idempotency::List(asked) => self.list_entries(asked).await,
            Idempotency::Show { entry, json } => show(&Sheet::from(&self.entry(*entry).await?), *json),
            Idempotency::Invalidate { entry, change } => self.invalidate(*entry, change).await,
        }
    }

    async fn list_entries(&self, asked: &IdempotencyList) -> Result<(), Failure> {
        let tenant_id = match asked.platform {
            true => None,
            false => Some(self.tenant(&asked.whose).await?.tenant_id),
        };
        let filter = EntryFilter {
            tenant_id,
            route: asked.route.clone(),
            key: asked.key.clone(),
            principal: asked.principal.clone(),
            state: asked.state.map(State::from),
        };
        let mut tx = self.db.tenant_tx(&[tenant_id.unwrap_or(keys::PLATFORM)]).await?;
        let sheets: Vec<Sheet> =
            keys::entries(&mut tx, &filter, asked.limit).await?.iter().map(Sheet::from).collect();
        list(&sheets, COLUMNS, "there is no such key", asked.json)
    }

    /// Whoever's it is: the id alone was given.
    async fn entry(&self, entry_id: i64) -> Result<Entry, Failure> {
        let found = keys::entry(&mut *self.db.begin_worker().await?, entry_id).await?;
        found.ok_or_else(|| gone(entry_id))
    }

    async fn invalidate(&self, entry_id: i64, change: &Final) -> Result<(), Failure> {
        let order = change.order();
        // To know whose it is; what is taken out is looked at anew, and locked, in the transaction.
        let whom = match self.entry(entry_id).await?.scope.tenant_id {
            Some(tenant_id) => As::Tenant(tenant_id),
            None => As::Worker(None),
        };
        self.change(&order, whom, async |conn| {
            let entry = keys::lock_entry(conn, entry_id).await?.ok_or_else(|| gone(entry_id))?;
            let reason = order.reason().unwrap_or_default();
            let taken = keys::invalidate(conn, &entry.scope, &entry.key, &operator::actor(), reason).await?;
            taken.ok_or_else(|| gone(entry_id))?;
            Ok(Done {
                action: "idempotency.invalidate",
                target_type: "idempotency_key",
                target_id: entry_id.to_string(),
                order: format!(
                    "take out the key {} of {} on {} {}",
                    entry.key, entry.scope.principal, entry.scope.method, entry.scope.route
                ),
                confirmation: entry_id.to_string(),
                before: Some(Sheet::from(&entry)),
                after: None,
                secret: None,
                note: None,
            })
        })
        .await
    }
}

fn gone(entry_id: i64) -> Failure {
    Failure::new(format!("there is no idempotency entry {entry_id}; its time may be over"))
        .remedy("`plimsoll admin idempotency list` shows those that there are")
}

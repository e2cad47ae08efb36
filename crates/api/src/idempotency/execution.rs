//! What a handler works with: its claim, and transactions under it.

use std::ops::{Deref, DerefMut};

use plimsoll_bus::audit::{self, Entry};
use plimsoll_store::Tx;
use plimsoll_store::idempotency::{Claim, IdempotencyError, Key, RecoveryPoint, Response, Scope};
use plimsoll_types::Context;
use serde_json::Value;
use sqlx::PgConnection;
use uuid::Uuid;

use super::CommitError;
use super::reply::{Answered, Reply};

/// A request that is to be executed: by this handler, and by nobody else.
///
/// Dropped, or returned from with an error, the request was not executed: what was committed stays as a recovery point.
#[derive(Debug)]
pub struct Execution {
    claim: Claim,
    caller: Context,
    form: Form,
}

/// A transaction for the effects of a request. Dereferences to the connection; dropped, it is rolled back.
#[derive(Debug)]
pub struct Effect {
    // Before the claim: giving that up waits for this to be rolled back.
    tx: Tx,
    execution: Execution,
}

impl Execution {
    pub(super) fn new(claim: Claim, caller: Context, instance: String, request_id: String) -> Self {
        Self { claim, caller, form: Form { instance, request_id } }
    }

    /// Who asks, for whom, and in which story.
    #[must_use]
    pub fn caller(&self) -> &Context {
        &self.caller
    }

    /// The same, under the id that its body gives it: the audit knows it by that.
    #[must_use]
    pub(crate) fn named(mut self, request_id: Uuid) -> Self {
        self.caller.request_id = request_id;
        self
    }

    /// Whose key it is.
    #[must_use]
    pub fn scope(&self) -> &Scope {
        self.claim.scope()
    }

    /// The key.
    #[must_use]
    pub fn key(&self) -> &Key {
        self.claim.key()
    }

    /// Where an attempt before this one came to. Effects up to there are committed; go on from there.
    #[must_use]
    pub fn recovery_point(&self) -> Option<&RecoveryPoint> {
        self.claim.recovery_point()
    }

    /// Begins the transaction of the effects.
    ///
    /// # Errors
    /// [`IdempotencyError::Fenced`] when another has taken over; else the database's.
    pub async fn begin_effects(self) -> Result<Effect, IdempotencyError> {
        let tx = self.claim.begin_effects().await?;
        Ok(Effect { tx, execution: self })
    }

    /// Commits an answer that has no effects, as a rejection.
    ///
    /// # Errors
    /// As [`Effect::commit`].
    pub async fn answer(self, reply: impl Into<Reply>) -> Result<Answered, IdempotencyError> {
        self.begin_effects().await?.commit_answer(reply).await
    }

    /// Hands the claim to a batch writer, which commits key, effects and answer ([`plimsoll_store::idempotency::write_all`]), with what puts the answer into the form in
    /// which it is kept. The handler awaits its [`plimsoll_store::idempotency::Settled`], and holds nothing meanwhile.
    pub fn hand_over(self) -> (Claim, Form) {
        (self.claim, self.form)
    }
}

/// The form in which an answer to one request is kept.
#[derive(Clone, Debug)]
pub struct Form {
    /// What was asked for.
    instance: String,
    request_id: String,
}

impl Form {
    /// An answer in this form.
    ///
    /// # Errors
    /// When it is no outcome, or too large.
    pub fn keep(&self, reply: impl Into<Reply>) -> Result<Response, IdempotencyError> {
        reply.into().into_kept(&self.instance, &self.request_id)
    }
}

impl Effect {
    /// Commits the key, the effects, what the audit is to say of them, and the answer, together.
    ///
    /// # Errors
    /// [`IdempotencyError::NotAnOutcome`] for a 5xx, [`IdempotencyError::ResponseTooLarge`], and an entry that cannot be recorded: nothing is
    /// committed then. The database's: nobody knows, and whoever asks again is told.
    pub async fn commit(mut self, entry: Entry, reply: impl Into<Reply>) -> Result<Answered, CommitError> {
        audit::record(&mut self.tx, entry.in_context(self.execution.caller.clone())).await?;
        Ok(self.commit_answer(reply).await?)
    }

    async fn commit_answer(self, reply: impl Into<Reply>) -> Result<Answered, IdempotencyError> {
        let Self { mut tx, execution } = self;
        let response = execution.form.keep(reply)?;
        execution.claim.write(&mut tx, &response).await?;
        tx.commit().await?;
        Ok(execution.claim.committed(response).into())
    }

    /// Takes the effects back, and commits the answer alone: a rejection that shows only half way.
    ///
    /// # Errors
    /// As [`Effect::commit`].
    pub async fn refuse(self, reply: impl Into<Reply>) -> Result<Answered, IdempotencyError> {
        let Self { tx, execution } = self;
        tx.rollback().await?;
        execution.answer(reply).await
    }

    /// Commits the effects so far, and that it goes on from here. What is then done outside the database has to be the same each time
    /// it is done: under an id that is in `data`.
    ///
    /// # Errors
    /// As [`Effect::commit`].
    pub async fn advance(self, name: impl Into<String>, data: Value) -> Result<Execution, IdempotencyError> {
        let Self { mut tx, mut execution } = self;
        let point = RecoveryPoint { name: name.into(), data };
        execution.claim.advance(&mut tx, &point).await?;
        tx.commit().await?;
        execution.claim.advanced(point);
        Ok(execution)
    }
}

impl Deref for Effect {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        &self.tx
    }
}

impl DerefMut for Effect {
    fn deref_mut(&mut self) -> &mut PgConnection {
        &mut self.tx
    }
}

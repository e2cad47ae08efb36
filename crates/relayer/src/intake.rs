//! Requests of tenants, put in their caller's own transaction: nothing is accepted that was not granted.
//!
//! A caller that keeps an answer under a key of its own (the API) has key, request, audit and answer in one transaction: none of them is there without the others, so a process that dies
//! anywhere leaves all or nothing. That is what [`crate::Acceptor`] cannot promise, which commits by itself, for many callers at once. Behind both stands the natural key
//! `(tenant_id, request_id, operation_type)`, which outlives every other.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use alloy_primitives::U256;
use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::accept::{self, AcceptError, Accepted};
use crate::bell::Bell;
use crate::desk::DeskOptions;
use crate::grant::{Grant, Limit, Refusal, SignerPolicy, Spending};
use crate::repo::spending as repo;
use crate::request::{Invalid, Request, SignerId};

/// What a day's limits are counted over.
const DAY: Duration = Duration::from_hours(24);

/// Why a request of a tenant is not on record.
#[derive(Debug, thiserror::Error)]
pub enum SubmitError {
    /// Whoever is granted everything would be told the same.
    #[error(transparent)]
    Accept(#[from] AcceptError),
    /// It is not granted.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// What the day's gas may cost is not known, and it has a budget.
    #[error(
        "of {transactions} transactions of the last 24 hours it is not known yet how much gas they may use, and the tenant has a budget: more can be handed in once that is known"
    )]
    Unbounded {
        /// How many.
        transactions: u64,
    },
}

impl From<sqlx::Error> for SubmitError {
    fn from(error: sqlx::Error) -> Self {
        Self::Accept(AcceptError::Database(Arc::new(error.into())))
    }
}

impl From<Invalid> for SubmitError {
    fn from(invalid: Invalid) -> Self {
        Self::Accept(invalid.into())
    }
}

/// Takes requests of tenants for these signers. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Intake {
    node: Arc<str>,
    policies: Arc<HashMap<SignerId, SignerPolicy>>,
    woken: Bell,
}

impl Intake {
    /// For these signers, in the name of this node. `woken`: who works them here, if anybody does.
    #[must_use]
    pub fn new(node: &str, policies: impl IntoIterator<Item = SignerPolicy>, woken: Bell) -> Self {
        let id = |policy: &SignerPolicy| SignerId { chain_id: policy.chain_id, address: policy.address };
        let policies = policies.into_iter().map(|policy| (id(&policy), policy)).collect();
        Self { node: node.into(), policies: Arc::new(policies), woken }
    }

    /// The signers that a tenant has a grant from, by chain and name.
    #[must_use]
    pub fn granted_to(&self, tenant_id: Uuid) -> Vec<&SignerPolicy> {
        let mut granted: Vec<_> =
            self.policies.values().filter(|policy| policy.grant_of(tenant_id).is_ok()).collect();
        granted.sort_by_key(|policy| (policy.chain_id, policy.name.as_str()));
        granted
    }

    /// Puts a request in a transaction that is confined to its tenant, as far as it is granted. What is there already under its key is told, whatever is granted now.
    /// [Ring](Self::ring) when it is committed.
    ///
    /// # Errors
    /// [`SubmitError`]; roll back then.
    pub async fn accept_in(
        &self,
        conn: &mut PgConnection,
        request: &Request,
    ) -> Result<Accepted, SubmitError> {
        request.check()?;
        let tenant_id = request
            .tenant_id()
            .ok_or_else(|| Invalid::Field { field: "tenant_id", problem: "is missing".into() })?;
        if let Some(known) = accept::found(conn, request).await? {
            return Ok(known?);
        }
        let policy = self
            .policies
            .get(&request.signer)
            .ok_or(AcceptError::UnknownSigner { signer: request.signer })?;
        let grant = policy.grant_of(tenant_id)?;
        grant.allows(request.call.to, &request.call.data, request.call.value)?;
        if (grant.max_value_wei_per_day, grant.max_gas_wei_per_day) != (Limit::None, Limit::None) {
            repo::lock(conn, tenant_id, request.signer).await?;
            // Whoever had the lock may have put this very request, which then counts already.
            if let Some(known) = accept::found(conn, request).await? {
                return Ok(known?);
            }
            within_day(conn, policy, grant, tenant_id, request).await?;
        }
        let outcomes = accept::put(conn, &self.node, std::slice::from_ref(request)).await;
        let outcome = outcomes.map_err(|error| AcceptError::Database(Arc::new(error)))?.pop();
        Ok(outcome.unwrap_or(Err(AcceptError::Stopped))?)
    }

    /// Tells whoever works the signers here that something was committed.
    pub fn ring(&self) {
        self.woken.ring();
    }
}

/// Whether the request is within what the tenant may have this signer do in 24 hours. Nobody else counts meanwhile.
async fn within_day(
    conn: &mut PgConnection,
    policy: &SignerPolicy,
    grant: &Grant,
    tenant_id: Uuid,
    request: &Request,
) -> Result<(), SubmitError> {
    let has_gas_limit = grant.max_gas_wei_per_day != Limit::None;
    // As whoever works the signer bounds it.
    let cap = policy.max_fee_per_gas_wei.unwrap_or_else(|| DeskOptions::default().max_fee_per_gas);
    let gas_wei = match request.gas_limit {
        _ if !has_gas_limit => U256::ZERO,
        Some(gas) => {
            U256::from(gas).saturating_mul(U256::from(request.max_fee_limit.unwrap_or(cap).min(cap)))
        }
        None => {
            let problem = "is needed: what gas may cost this tenant in a day is limited, so what it may cost here has to be known";
            return Err(Invalid::Field { field: "gas_limit", problem: problem.into() }.into());
        }
    };
    let since = OffsetDateTime::now_utc() - DAY;
    let day = repo::spent(conn, tenant_id, request.signer, since, cap).await?;
    if has_gas_limit && day.unbounded > 0 {
        return Err(SubmitError::Unbounded { transactions: day.unbounded });
    }
    Ok(grant.allows_in_day(day.spending, Spending { value_wei: request.call.value, gas_wei })?)
}

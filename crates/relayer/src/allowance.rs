//! What is left of what a tenant may have a signer do: its grant, and the day's part of it.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use alloy_primitives::U256;
use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::accept::AcceptError;
use crate::grant::{Grant, Limit, SignerPolicy, Spending};
use crate::intake::SubmitError;
use crate::repo::spending::{self as repo, Spent};
use crate::request::{Invalid, Request, SignerId};

/// What a day's limits are counted over.
pub(crate) const DAY: Duration = Duration::from_hours(24);

/// What a tenant is granted by a signer, and has asked for within it.
pub(crate) struct Granted<'a> {
    pub(crate) tenant_id: Uuid,
    policy: &'a SignerPolicy,
    grant: &'a Grant,
}

impl<'a> Granted<'a> {
    /// What the request's tenant is granted by its signer, if that holds this request; a day's limits apart.
    pub(crate) fn of(
        policies: &'a HashMap<SignerId, SignerPolicy>,
        request: &Request,
    ) -> Result<Self, SubmitError> {
        let tenant_id = request
            .tenant_id()
            .ok_or_else(|| Invalid::Field { field: "tenant_id", problem: "is missing".into() })?;
        let policy =
            policies.get(&request.signer).ok_or(AcceptError::UnknownSigner { signer: request.signer })?;
        let grant = policy.grant_of(tenant_id)?;
        grant.allows(request.call.to, &request.call.data, request.call.value)?;
        Ok(Self { tenant_id, policy, grant })
    }

    pub(crate) fn signer(&self) -> SignerId {
        SignerId { chain_id: self.policy.chain_id, address: self.policy.address }
    }

    /// Whether what the request spends counts in a day's limits: what carries nothing is not held up by what others carried.
    pub(crate) fn counts(&self, request: &Request) -> bool {
        let carries = request.call.value > U256::ZERO && self.grant.max_value_wei_per_day != Limit::None;
        carries || self.grant.max_gas_wei_per_day != Limit::None
    }

    /// What of the last 24 hours is spent; nobody else counts it until the transaction ends.
    pub(crate) async fn day(&self, conn: &mut PgConnection) -> Result<Day, sqlx::Error> {
        repo::lock(conn, self.tenant_id, self.signer()).await?;
        let since = OffsetDateTime::now_utc() - DAY;
        let spent = repo::spent(conn, self.tenant_id, self.signer(), since, self.policy.fee_cap()).await?;
        Ok(Day { spent, given: HashSet::new() })
    }

    /// Gives the request what it may spend of the day, if that has as much left. Another under its key spends nothing more.
    pub(crate) fn give(&self, day: &mut Day, request: &Request) -> Result<(), SubmitError> {
        let key = (request.context.request_id, request.operation_type.clone());
        if day.given.contains(&key) {
            return Ok(());
        }
        let has_gas_limit = self.grant.max_gas_wei_per_day != Limit::None;
        let cap = self.policy.fee_cap();
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
        let Spent { spending, unbounded } = day.spent;
        if has_gas_limit && unbounded > 0 {
            return Err(SubmitError::Unbounded { transactions: unbounded });
        }
        let value_wei = request.call.value;
        self.grant.allows_in_day(spending, Spending { value_wei, gas_wei })?;
        day.spent.spending = Spending {
            value_wei: spending.value_wei.saturating_add(value_wei),
            gas_wei: spending.gas_wei.saturating_add(gas_wei),
        };
        day.given.insert(key);
        Ok(())
    }
}

/// A tenant's day at a signer: counted once for all requests of a transaction, and on from there by what they are given.
pub(crate) struct Day {
    spent: Spent,
    /// Who was given something, by natural key.
    given: HashSet<(Uuid, String)>,
}

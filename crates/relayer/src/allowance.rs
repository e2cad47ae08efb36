//! What is left of what a tenant may have a signer do: its grant, and the day's part of it.

use std::collections::HashMap;
use std::time::Duration;

use alloy_primitives::U256;
use plimsoll_bus::PublishError;
use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::accept::{self, AcceptError, Accepted};
use crate::grant::{Grant, Limit, SignerPolicy, Spending};
use crate::intake::SubmitError;
use crate::repo::spending as repo;
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

    /// Whether what is asked for in a day counts.
    pub(crate) fn has_day_limits(&self) -> bool {
        (self.grant.max_value_wei_per_day, self.grant.max_gas_wei_per_day) != (Limit::None, Limit::None)
    }

    /// Whether the request is within what the tenant may have this signer do in 24 hours. The caller holds what keeps others from counting meanwhile.
    async fn within_day(
        &self,
        conn: &mut PgConnection,
        request: &Request,
    ) -> Result<Result<(), SubmitError>, sqlx::Error> {
        let has_gas_limit = self.grant.max_gas_wei_per_day != Limit::None;
        let cap = self.policy.fee_cap();
        let gas_wei = match request.gas_limit {
            _ if !has_gas_limit => U256::ZERO,
            Some(gas) => {
                U256::from(gas).saturating_mul(U256::from(request.max_fee_limit.unwrap_or(cap).min(cap)))
            }
            None => {
                let problem = "is needed: what gas may cost this tenant in a day is limited, so what it may cost here has to be known";
                return Ok(Err(Invalid::Field { field: "gas_limit", problem: problem.into() }.into()));
            }
        };
        let since = OffsetDateTime::now_utc() - DAY;
        let day = repo::spent(conn, self.tenant_id, self.signer(), since, cap).await?;
        if has_gas_limit && day.unbounded > 0 {
            return Ok(Err(SubmitError::Unbounded { transactions: day.unbounded }));
        }
        let more = Spending { value_wei: request.call.value, gas_wei };
        Ok(self.grant.allows_in_day(day.spending, more).map_err(SubmitError::from))
    }

    /// Puts a request whose spending counts. The caller holds what keeps others from counting meanwhile.
    pub(crate) async fn put_in_day(
        &self,
        conn: &mut PgConnection,
        node: &str,
        request: &Request,
    ) -> Result<Result<Accepted, SubmitError>, PublishError> {
        // Whoever held that before may have put this very request, which then counts already.
        if let Some(known) = accept::found(conn, &[request]).await?.pop().flatten() {
            return Ok(known.map_err(SubmitError::from));
        }
        if let Err(error) = self.within_day(conn, request).await? {
            return Ok(Err(error));
        }
        let put = accept::put(conn, node, &[request]).await?.pop();
        Ok(put.unwrap_or(Err(AcceptError::Stopped)).map_err(SubmitError::from))
    }
}

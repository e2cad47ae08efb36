//! What fails: views out of service, caches that expire, feeds without a price; each is mended again and retried.

use alloy_dyn_abi::DynSolValue;
use alloy_primitives::Address;

use crate::deploy::uint;
use crate::node::Call;
use crate::traffic::{CACHE_TTL_SECONDS, Traffic};

/// A view of the contracts that a scenario takes out of service.
#[derive(Clone, Copy)]
pub(super) enum Broken {
    PositionPaused,
    PositionMissing,
    RouterExpired,
    HealthPaused,
    HealthMissing,
}

impl Traffic {
    pub(super) fn retry(&self, user: usize, asset: usize) -> Call {
        self.keeper("PositionView", "retryUserPositionUpdate", &[self.who(user), self.token(asset)])
    }

    pub(super) fn retry_health(&self, user: usize) -> Call {
        self.keeper("HealthView", "retryUserHealthUpdate", &[self.who(user)])
    }

    /// A view out of service while business goes on: pushes fail, so does the keeper's first retry; then service and a retry.
    pub(super) fn outage(&mut self, broken: Broken) -> Vec<Call> {
        let mut calls = self.break_or_mend(broken, true);
        let (user, asset, other) = (self.user(), self.asset(), self.user());
        calls.push(self.deposit_of(user, asset));
        calls.push(self.deposit_of(other, asset));
        let health = matches!(broken, Broken::HealthPaused | Broken::HealthMissing);
        calls.push(if health { self.retry_health(user) } else { self.retry(user, asset) });
        calls.extend(self.break_or_mend(broken, false));
        for user in [user, other] {
            calls.push(if health { self.retry_health(user) } else { self.retry(user, asset) });
        }
        calls
    }

    pub(super) fn break_or_mend(&self, broken: Broken, breaks: bool) -> Vec<Call> {
        let module = |contract: &str| if breaks { Address::ZERO } else { self.deployment.address(contract) };
        match broken {
            Broken::PositionPaused => {
                vec![self.admin("PositionView", "setPaused", &[DynSolValue::Bool(breaks)])]
            }
            Broken::HealthPaused => vec![self.admin("HealthView", "setPaused", &[DynSolValue::Bool(breaks)])],
            Broken::PositionMissing => vec![
                self.set_module("POSITION_VIEW", module("PositionView")),
                self.admin("VaultRouter", "refreshModuleCache", &[]),
            ],
            Broken::HealthMissing => vec![self.set_module("HEALTH_VIEW", module("HealthView"))],
            Broken::RouterExpired => {
                let ttl = if breaks { 0 } else { CACHE_TTL_SECONDS };
                let mut calls = vec![self.admin("VaultRouter", "setModuleCacheTtl", &[uint(ttl, 64)])];
                if !breaks {
                    calls.push(self.admin("VaultRouter", "refreshModuleCache", &[]));
                }
                calls
            }
        }
    }

    /// A deposit whose push is lost, then a withdrawal of more than the view knows of: the view refuses the delta.
    pub(super) fn lost_delta(&mut self) -> Vec<Call> {
        let (user, asset) = (self.user(), self.asset());
        let mut calls = self.break_or_mend(Broken::PositionPaused, true);
        calls.push(self.deposit_of(user, asset));
        calls.extend(self.break_or_mend(Broken::PositionPaused, false));
        let units = self.units();
        let (limit, debt) = self.book.limit_and_debt(user, &units);
        let held = self.book.position(user, asset).collateral;
        let lost = self.book.position(user, asset).last_deposit.map_or(0, |(amount, _, _)| amount);
        let known = held - lost;
        let amount = known + lost / 2 + 1;
        let value = amount * u128::from(self.book.prices[asset]) / units[asset];
        if amount <= held && debt <= limit.saturating_sub(value) {
            let what = (amount, self.some_request_id(), 0);
            self.book.position(user, asset).collateral -= amount;
            calls.push(self.business(user, "CollateralManager", "withdraw", asset, what));
        }
        calls.push(self.retry(user, asset));
        calls
    }

    /// A feed without a price: stats say zero, health pushes fail.
    pub(super) fn feed_down(&mut self) -> Vec<Call> {
        let (user, asset) = (self.user(), self.asset());
        vec![
            self.set_price(asset, 0),
            self.deposit_of(user, asset),
            self.retry_health(user),
            self.set_price(asset, self.book.prices[asset]),
            self.retry_health(user),
        ]
    }
}

//! What users do: deposits, loans, requests that come twice or too late, liquidations.

use alloy_dyn_abi::DynSolValue;
use rand::RngExt as _;

use super::{STABLE, VOLATILE};
use crate::deploy::uint;
use crate::node::Call;
use crate::traffic::book::Position;
use crate::traffic::{Traffic, amount_value};

impl Traffic {
    pub(super) fn deposit(&mut self) -> Call {
        let (user, asset) = (self.user(), self.asset());
        self.deposit_of(user, asset)
    }

    pub(super) fn deposit_of(&mut self, user: usize, asset: usize) -> Call {
        let what = (self.amount(asset, 20), self.some_request_id(), self.seq(user, asset));
        let position = self.book.position(user, asset);
        position.collateral += what.0;
        position.last_deposit = Some(what);
        self.business(user, "CollateralManager", "deposit", asset, what)
    }

    /// A position with collateral, preferring the one that chance names; none while nobody has any.
    pub(super) fn holder(&mut self, wanted: impl Fn(&Position) -> bool) -> Option<(usize, usize)> {
        let (users, assets) = (self.deployment.users.len(), self.deployment.assets.len());
        let first = self.rng.random_range(0..users * assets);
        (0..users * assets)
            .map(|i| (first + i) % (users * assets))
            .map(|i| (i / assets, i % assets))
            .find(|(user, asset)| wanted(self.book.position(*user, *asset)))
    }

    pub(super) fn withdraw(&mut self) -> Vec<Call> {
        let Some((user, asset)) = self.holder(|position| position.collateral > 0) else {
            return vec![self.deposit()];
        };
        let units = self.units();
        let (limit, debt) = self.book.limit_and_debt(user, &units);
        // As much as keeps the debt carried, with a tenth to spare.
        let free = limit.saturating_sub(debt + debt / 10) * units[asset] * 100
            / (u128::from(self.book.prices[asset]) * 80);
        let most = free.min(self.book.position(user, asset).collateral);
        if most == 0 {
            return vec![self.deposit_of(user, asset)];
        }
        let amount = self.rng.random_range(1..=most);
        let what = (amount, self.request_id(), self.seq(user, asset));
        self.book.position(user, asset).collateral -= amount;
        vec![self.business(user, "CollateralManager", "withdraw", asset, what)]
    }

    pub(super) fn borrow(&mut self) -> Vec<Call> {
        let Some((user, _)) = self.holder(|position| position.collateral > 0) else {
            return vec![self.deposit()];
        };
        let asset = self.asset();
        let units = self.units();
        let (limit, debt) = self.book.limit_and_debt(user, &units);
        let most = limit.saturating_sub(debt) / 2 * units[asset] / u128::from(self.book.prices[asset]);
        if most == 0 {
            return vec![self.deposit_of(user, asset)];
        }
        let amount = self.rng.random_range(1..=most);
        let what = (amount, self.request_id(), self.seq(user, asset));
        self.book.position(user, asset).debt += amount;
        vec![self.business(user, "LendingEngineCore", "borrow", asset, what)]
    }

    pub(super) fn repay(&mut self) -> Vec<Call> {
        let Some((user, asset)) = self.holder(|position| position.debt > 0) else { return self.borrow() };
        let debt = self.book.position(user, asset).debt;
        let amount = if self.rng.random_bool(0.3) { debt } else { self.rng.random_range(1..=debt) };
        let what = (amount, self.request_id(), self.seq(user, asset));
        self.book.position(user, asset).debt -= amount;
        vec![self.business(user, "LendingEngineCore", "repay", asset, what)]
    }

    /// A withdrawal of more than there is: the transaction reverts and leaves no event.
    pub(super) fn overdraw(&mut self) -> Vec<Call> {
        let (user, asset) = (self.user(), self.asset());
        let what = (self.book.position(user, asset).collateral + 1, self.some_request_id(), 0);
        vec![self.business(user, "CollateralManager", "withdraw", asset, what)]
    }

    /// A deposit, and the same request again: the second moves nothing and the view ignores its push.
    pub(super) fn replay(&mut self) -> Vec<Call> {
        let deposit = self.deposit();
        vec![deposit.clone(), deposit]
    }

    /// An old request again after a newer one: the view refuses its old seq.
    pub(super) fn late_replay(&mut self) -> Vec<Call> {
        let Some((user, asset)) =
            self.holder(|position| position.last_deposit.is_some_and(|(_, _, seq)| seq > 0))
        else {
            return vec![self.deposit()];
        };
        let old = self.book.position(user, asset).last_deposit.expect("it was looked for");
        let newer = self.deposit_of(user, asset);
        vec![newer, self.business(user, "CollateralManager", "deposit", asset, old)]
    }

    /// An operator's push that names a version: 0 takes what comes next, another is refused as stale.
    pub(super) fn push_version(&mut self, version: u64) -> Vec<Call> {
        let (user, asset) = (self.user(), self.asset());
        let request = DynSolValue::FixedBytes(self.some_request_id(), 32);
        let arguments = [self.who(user), self.token(asset), request, uint(0_u64, 64), uint(version, 64)];
        vec![self.admin("LendingEngineCore", "pushUserPosition", &arguments)]
    }

    /// A push with a seq that was used.
    pub(super) fn out_of_order(&mut self) -> Vec<Call> {
        let (user, asset) = (self.user(), self.asset());
        let mut calls = vec![self.deposit_of(user, asset)];
        let position = self.book.position(user, asset);
        if position.seq == 0 {
            position.seq += 1;
            let what = (self.unit(asset), self.some_request_id(), 1);
            self.book.position(user, asset).collateral += what.0;
            calls.push(self.business(user, "CollateralManager", "deposit", asset, what));
        }
        let seq = self.book.position(user, asset).seq;
        let request = DynSolValue::FixedBytes(self.some_request_id(), 32);
        let arguments = [self.who(user), self.token(asset), request, uint(seq, 64), uint(0_u64, 64)];
        calls.push(self.admin("LendingEngineCore", "pushUserPosition", &arguments));
        calls
    }

    /// A user at the limit, a price that falls, a liquidator; then the price comes back.
    pub(super) fn liquidation(&mut self, paused: bool) -> Vec<Call> {
        let user = self.user();
        let liquidator = (user + 1) % self.deployment.users.len();
        let units = self.units();
        let mut calls = vec![self.deposit_of(user, VOLATILE), self.deposit_of(user, VOLATILE)];
        let (limit, debt) = self.book.limit_and_debt(user, &units);
        let room =
            limit.saturating_sub(debt) * 98 / 100 * units[STABLE] / u128::from(self.book.prices[STABLE]);
        if room > 0 {
            let what = (room, self.some_request_id(), self.seq(user, STABLE));
            self.book.position(user, STABLE).debt += room;
            calls.push(self.business(user, "LendingEngineCore", "borrow", STABLE, what));
        }
        let price = self.book.prices[VOLATILE];
        self.book.prices[VOLATILE] = price / 10 * 6;
        calls.push(self.set_price(VOLATILE, self.book.prices[VOLATILE]));
        if paused {
            calls.push(self.admin("PositionView", "setPaused", &[DynSolValue::Bool(true)]));
        }
        // Without debt in the stable asset, or still carried by other collateral, the call reverts: a liquidator's risk.
        let repay = (self.book.position(user, STABLE).debt / 4).max(1);
        let request = self.some_request_id();
        calls.push(self.deployment.call(
            self.deployment.users[liquidator],
            "LiquidationDebtManager",
            "liquidate",
            &[
                self.who(user),
                self.token(STABLE),
                self.token(VOLATILE),
                amount_value(repay),
                DynSolValue::FixedBytes(request, 32),
                uint(0_u64, 64),
            ],
        ));
        let (limit, debt) = self.book.limit_and_debt(user, &units);
        if debt > limit && self.book.position(user, STABLE).debt >= repay {
            let value = repay * u128::from(self.book.prices[STABLE]) / units[STABLE];
            let seized = value * 10_500 / 10_000 * units[VOLATILE] / u128::from(self.book.prices[VOLATILE]);
            self.book.position(user, STABLE).debt -= repay;
            let position = self.book.position(user, VOLATILE);
            position.collateral -= seized.min(position.collateral);
        }
        if paused {
            calls.push(self.admin("PositionView", "setPaused", &[DynSolValue::Bool(false)]));
            calls.push(self.retry(user, STABLE));
            calls.push(self.retry(user, VOLATILE));
        }
        self.book.prices[VOLATILE] = price;
        calls.push(self.set_price(VOLATILE, price));
        calls
    }
}

//! The scenarios: what happens on a protocol, good and bad.

use alloy_dyn_abi::DynSolValue;
use alloy_primitives::{Address, B256, keccak256};
use rand::RngExt as _;
use rand::rngs::Xoshiro256PlusPlus;

use super::{CACHE_TTL_SECONDS, Traffic, amount_value};
use crate::deploy::{address, uint};
use crate::node::Call;

/// Index of the asset that is borrowed in a liquidation.
const STABLE: usize = 0;
/// Index of the asset that secures it.
const VOLATILE: usize = 1;

/// Something that happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs, reason = "the table below says what each is")]
pub enum Scenario {
    Deposit,
    Withdraw,
    Borrow,
    Repay,
    Overdraw,
    Replay,
    LateReplay,
    StaleVersion,
    RightVersion,
    OutOfOrderSeq,
    Liquidation,
    LiquidationWhilePaused,
    PositionViewPaused,
    PositionViewMissing,
    RouterCacheExpired,
    LostDelta,
    HealthViewPaused,
    HealthViewMissing,
    FeedDown,
    PriceMove,
    ModuleCheck,
    Snapshot,
    Permission,
    PermissionLevel,
    Degradation,
    FeeTrail,
    History,
}

use Scenario::*;

impl Scenario {
    /// Each scenario once, after a few deposits for the others to work with.
    pub(super) const TOUR: [Self; 30] = [
        Deposit,
        Deposit,
        Deposit,
        Deposit,
        Borrow,
        Replay,
        Repay,
        Withdraw,
        StaleVersion,
        RightVersion,
        OutOfOrderSeq,
        PositionViewPaused,
        Permission,
        Liquidation,
        LiquidationWhilePaused,
        HealthViewPaused,
        FeedDown,
        Snapshot,
        PermissionLevel,
        Degradation,
        FeeTrail,
        History,
        ModuleCheck,
        RouterCacheExpired,
        LostDelta,
        PositionViewMissing,
        HealthViewMissing,
        PriceMove,
        Overdraw,
        LateReplay,
    ];

    /// How often each is drawn.
    const WEIGHTS: &[(Self, u32)] = &[
        (Deposit, 30),
        (Borrow, 20),
        (Repay, 14),
        (Withdraw, 14),
        (Overdraw, 2),
        (Replay, 6),
        (LateReplay, 2),
        (StaleVersion, 2),
        (RightVersion, 2),
        (OutOfOrderSeq, 2),
        (Liquidation, 4),
        (LiquidationWhilePaused, 1),
        (PositionViewPaused, 2),
        (PositionViewMissing, 1),
        (RouterCacheExpired, 1),
        (LostDelta, 1),
        (HealthViewPaused, 2),
        (HealthViewMissing, 1),
        (FeedDown, 1),
        (PriceMove, 6),
        (ModuleCheck, 3),
        (Snapshot, 3),
        (Permission, 3),
        (PermissionLevel, 2),
        (Degradation, 2),
        (FeeTrail, 2),
        (History, 4),
    ];

    pub(super) fn draw(rng: &mut Xoshiro256PlusPlus) -> Self {
        let total: u32 = Self::WEIGHTS.iter().map(|(_, weight)| weight).sum();
        let mut at = rng.random_range(0..total);
        for (scenario, weight) in Self::WEIGHTS {
            match at.checked_sub(*weight) {
                Some(rest) => at = rest,
                None => return *scenario,
            }
        }
        unreachable!("the draw is below the weights' sum")
    }
}

/// A view of the contracts that a scenario takes out of service.
#[derive(Clone, Copy)]
enum Broken {
    PositionPaused,
    PositionMissing,
    RouterExpired,
    HealthPaused,
    HealthMissing,
}

impl Traffic {
    pub(super) fn play(&mut self, scenario: Scenario) -> Vec<Call> {
        match scenario {
            Deposit => vec![self.deposit()],
            Withdraw => self.withdraw(),
            Borrow => self.borrow(),
            Repay => self.repay(),
            Overdraw => self.overdraw(),
            Replay => self.replay(),
            LateReplay => self.late_replay(),
            StaleVersion => self.push_version(9_999_999),
            RightVersion => self.push_version(0),
            OutOfOrderSeq => self.out_of_order(),
            Liquidation => self.liquidation(false),
            LiquidationWhilePaused => self.liquidation(true),
            PositionViewPaused => self.outage(Broken::PositionPaused),
            PositionViewMissing => self.outage(Broken::PositionMissing),
            RouterCacheExpired => self.outage(Broken::RouterExpired),
            HealthViewPaused => self.outage(Broken::HealthPaused),
            HealthViewMissing => self.outage(Broken::HealthMissing),
            LostDelta => self.lost_delta(),
            FeedDown => self.feed_down(),
            PriceMove => self.price_move(),
            ModuleCheck => self.module_check(),
            Snapshot => {
                let asset = self.asset();
                vec![self.keeper("ViewCache", "updateCache", &[self.token(asset)])]
            }
            Permission => self.permission(),
            PermissionLevel => {
                let user = self.user();
                let level = self.rng.random_range(0..4_u64);
                vec![self.admin(
                    "AccessControlView",
                    "pushPermissionLevel",
                    &[self.who(user), uint(level, 8)],
                )]
            }
            Degradation => self.degradation(),
            FeeTrail => self.fee_trail(),
            History => self.history(),
        }
    }

    fn token(&self, asset: usize) -> DynSolValue {
        address(self.deployment.assets[asset].token)
    }

    fn who(&self, user: usize) -> DynSolValue {
        address(self.deployment.users[user])
    }

    fn units(&self) -> Vec<u128> {
        (0..self.deployment.assets.len()).map(|asset| self.unit(asset)).collect()
    }

    /// A business call of a user: asset, amount, request, seq.
    fn business(
        &self,
        user: usize,
        contract: &str,
        function: &str,
        asset: usize,
        what: (u128, B256, u64),
    ) -> Call {
        let (amount, request, seq) = what;
        let arguments =
            [self.token(asset), amount_value(amount), DynSolValue::FixedBytes(request, 32), uint(seq, 64)];
        self.deployment.call(self.deployment.users[user], contract, function, &arguments)
    }

    /// The next seq of a position; sometimes none is given.
    fn seq(&mut self, user: usize, asset: usize) -> u64 {
        if self.rng.random_range(0..8) == 0 {
            return 0;
        }
        let position = self.book.position(user, asset);
        position.seq += 1;
        position.seq
    }

    fn deposit(&mut self) -> Call {
        let (user, asset) = (self.user(), self.asset());
        self.deposit_of(user, asset)
    }

    fn deposit_of(&mut self, user: usize, asset: usize) -> Call {
        let what = (self.amount(asset, 20), self.some_request_id(), self.seq(user, asset));
        let position = self.book.position(user, asset);
        position.collateral += what.0;
        position.last_deposit = Some(what);
        self.business(user, "CollateralManager", "deposit", asset, what)
    }

    /// A position with collateral, preferring the one that chance names; none while nobody has any.
    fn holder(&mut self, wanted: impl Fn(&super::book::Position) -> bool) -> Option<(usize, usize)> {
        let (users, assets) = (self.deployment.users.len(), self.deployment.assets.len());
        let first = self.rng.random_range(0..users * assets);
        (0..users * assets)
            .map(|i| (first + i) % (users * assets))
            .map(|i| (i / assets, i % assets))
            .find(|(user, asset)| wanted(self.book.position(*user, *asset)))
    }

    fn withdraw(&mut self) -> Vec<Call> {
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

    fn borrow(&mut self) -> Vec<Call> {
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

    fn repay(&mut self) -> Vec<Call> {
        let Some((user, asset)) = self.holder(|position| position.debt > 0) else { return self.borrow() };
        let debt = self.book.position(user, asset).debt;
        let amount = if self.rng.random_bool(0.3) { debt } else { self.rng.random_range(1..=debt) };
        let what = (amount, self.request_id(), self.seq(user, asset));
        self.book.position(user, asset).debt -= amount;
        vec![self.business(user, "LendingEngineCore", "repay", asset, what)]
    }

    /// A withdrawal of more than there is: the transaction reverts and leaves no event.
    fn overdraw(&mut self) -> Vec<Call> {
        let (user, asset) = (self.user(), self.asset());
        let what = (self.book.position(user, asset).collateral + 1, self.some_request_id(), 0);
        vec![self.business(user, "CollateralManager", "withdraw", asset, what)]
    }

    /// A deposit, and the same request again: the second moves nothing and the view ignores its push.
    fn replay(&mut self) -> Vec<Call> {
        let deposit = self.deposit();
        vec![deposit.clone(), deposit]
    }

    /// An old request again after a newer one: the view refuses its old seq.
    fn late_replay(&mut self) -> Vec<Call> {
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
    fn push_version(&mut self, version: u64) -> Vec<Call> {
        let (user, asset) = (self.user(), self.asset());
        let request = DynSolValue::FixedBytes(self.some_request_id(), 32);
        let arguments = [self.who(user), self.token(asset), request, uint(0_u64, 64), uint(version, 64)];
        vec![self.admin("LendingEngineCore", "pushUserPosition", &arguments)]
    }

    /// A push with a seq that was used.
    fn out_of_order(&mut self) -> Vec<Call> {
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
    fn liquidation(&mut self, paused: bool) -> Vec<Call> {
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

    fn retry(&self, user: usize, asset: usize) -> Call {
        self.keeper("PositionView", "retryUserPositionUpdate", &[self.who(user), self.token(asset)])
    }

    fn retry_health(&self, user: usize) -> Call {
        self.keeper("HealthView", "retryUserHealthUpdate", &[self.who(user)])
    }

    /// A view out of service while business goes on: pushes fail, so does the keeper's first retry; then service and a retry.
    fn outage(&mut self, broken: Broken) -> Vec<Call> {
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

    fn break_or_mend(&self, broken: Broken, breaks: bool) -> Vec<Call> {
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
    fn lost_delta(&mut self) -> Vec<Call> {
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
    fn feed_down(&mut self) -> Vec<Call> {
        let (user, asset) = (self.user(), self.asset());
        vec![
            self.set_price(asset, 0),
            self.deposit_of(user, asset),
            self.retry_health(user),
            self.set_price(asset, self.book.prices[asset]),
            self.retry_health(user),
        ]
    }

    /// A price moves by up to 2 % and never far from where it was listed.
    fn price_move(&mut self) -> Vec<Call> {
        let asset = self.asset();
        let listed = self.deployment.assets[asset].listed_price;
        let permille = self.rng.random_range(980..=1_020);
        let moved = self.book.prices[asset] / 1_000 * permille;
        let price = moved.clamp(listed / 10 * 9, listed / 10 * 11);
        self.book.prices[asset] = price;
        vec![self.set_price(asset, price)]
    }

    /// A module's check, one that fails among them: an address without code.
    fn module_check(&mut self) -> Vec<Call> {
        let names = ["PositionView", "HealthView", "VaultRouter", "StatisticsView"];
        let module = self.deployment.address(names[self.rng.random_range(0..names.len())]);
        let nobody = self.deployment.users[0];
        [module, nobody]
            .map(|module| self.keeper("ModuleHealthView", "checkModule", &[address(module)]))
            .to_vec()
    }

    fn permission(&mut self) -> Vec<Call> {
        let user = self.user();
        let actions = ["DEPOSIT", "BORROW", "LIQUIDATE"];
        let action = keccak256(actions[self.rng.random_range(0..actions.len())]);
        let granted = DynSolValue::Bool(self.rng.random_bool(0.7));
        let arguments = [self.who(user), DynSolValue::FixedBytes(action, 32), granted];
        vec![self.admin("AccessControlView", "pushPermission", &arguments)]
    }

    fn degradation(&mut self) -> Vec<Call> {
        let module = self.deployment.address("VaultRouter");
        let reason = DynSolValue::FixedBytes(keccak256("price feed stale"), 32);
        let fallback = self.amount(STABLE, 1_000);
        let arguments = [address(module), reason, amount_value(fallback), uint(0_u64, 64)];
        vec![self.admin("StatisticsView", "pushDegradation", &arguments)]
    }

    fn fee_trail(&mut self) -> Vec<Call> {
        let user = self.user();
        let text = |text: &str| DynSolValue::String(text.into());
        vec![
            self.keeper("FeeRouterView", "syncData", &[]),
            self.admin("FeeRouterView", "pushUserData", &[self.who(user), text("USER_FEE_费用")]),
            self.admin("FeeRouterView", "pushSystemData", &[text("SYSTEM_FEE")]),
        ]
    }

    fn history(&mut self) -> Vec<Call> {
        let (user, asset) = (self.user(), self.asset());
        let amount = self.amount(asset, 100);
        let mut extra = vec![0; self.rng.random_range(0..64)];
        self.rng.fill(&mut extra[..]);
        let arguments = [
            DynSolValue::FixedBytes(keccak256("REWARD"), 32),
            self.who(user),
            self.token(asset),
            amount_value(amount),
            DynSolValue::Bytes(extra),
        ];
        vec![self.admin("EventHistoryManager", "recordEvent", &arguments)]
    }
}

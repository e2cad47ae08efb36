//! The scenarios: what happens on a protocol, good and bad.

mod business;
mod operators;
mod outage;

use alloy_dyn_abi::DynSolValue;
use alloy_primitives::B256;
use rand::RngExt as _;
use rand::rngs::Xoshiro256PlusPlus;

use super::{Traffic, amount_value};
use crate::deploy::{address, uint};
use crate::node::Call;
use outage::Broken;

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
}

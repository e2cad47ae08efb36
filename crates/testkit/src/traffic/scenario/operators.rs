//! What operators and other contracts do beside the business: prices, checks, permissions, trails, history.

use alloy_dyn_abi::DynSolValue;
use alloy_primitives::keccak256;
use rand::RngExt as _;

use super::STABLE;
use crate::deploy::{address, uint};
use crate::node::Call;
use crate::traffic::{Traffic, amount_value};

impl Traffic {
    /// A price moves by up to 2 % and never far from where it was listed.
    pub(super) fn price_move(&mut self) -> Vec<Call> {
        let asset = self.asset();
        let listed = self.deployment.assets[asset].listed_price;
        let permille = self.rng.random_range(980..=1_020);
        let moved = self.book.prices[asset] / 1_000 * permille;
        let price = moved.clamp(listed / 10 * 9, listed / 10 * 11);
        self.book.prices[asset] = price;
        vec![self.set_price(asset, price)]
    }

    /// A module's check, one that fails among them: an address without code.
    pub(super) fn module_check(&mut self) -> Vec<Call> {
        let names = ["PositionView", "HealthView", "VaultRouter", "StatisticsView"];
        let module = self.deployment.address(names[self.rng.random_range(0..names.len())]);
        let nobody = self.deployment.users[0];
        [module, nobody]
            .map(|module| self.keeper("ModuleHealthView", "checkModule", &[address(module)]))
            .to_vec()
    }

    pub(super) fn permission(&mut self) -> Vec<Call> {
        let user = self.user();
        let actions = ["DEPOSIT", "BORROW", "LIQUIDATE"];
        let action = keccak256(actions[self.rng.random_range(0..actions.len())]);
        let granted = DynSolValue::Bool(self.rng.random_bool(0.7));
        let arguments = [self.who(user), DynSolValue::FixedBytes(action, 32), granted];
        vec![self.admin("AccessControlView", "pushPermission", &arguments)]
    }

    pub(super) fn degradation(&mut self) -> Vec<Call> {
        let module = self.deployment.address("VaultRouter");
        let reason = DynSolValue::FixedBytes(keccak256("price feed stale"), 32);
        let fallback = self.amount(STABLE, 1_000);
        let arguments = [address(module), reason, amount_value(fallback), uint(0_u64, 64)];
        vec![self.admin("StatisticsView", "pushDegradation", &arguments)]
    }

    pub(super) fn fee_trail(&mut self) -> Vec<Call> {
        let user = self.user();
        let text = |text: &str| DynSolValue::String(text.into());
        vec![
            self.keeper("FeeRouterView", "syncData", &[]),
            self.admin("FeeRouterView", "pushUserData", &[self.who(user), text("USER_FEE_费用")]),
            self.admin("FeeRouterView", "pushSystemData", &[text("SYSTEM_FEE")]),
        ]
    }

    pub(super) fn history(&mut self) -> Vec<Call> {
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

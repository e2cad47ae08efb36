//! What the traffic believes about positions and prices.

use alloy_primitives::B256;

/// The liquidation threshold of the contracts, in hundredths.
const THRESHOLD_PERCENT: u128 = 80;

/// One user's position in one asset, in the token's smallest unit.
#[derive(Clone, Debug, Default)]
pub(super) struct Position {
    pub(super) collateral: u128,
    pub(super) debt: u128,
    /// The last seq that was used for a push.
    pub(super) seq: u64,
    /// The last deposit: amount, request, seq.
    pub(super) last_deposit: Option<(u128, B256, u64)>,
}

/// Every position, and each asset's price with 8 decimals.
#[derive(Clone, Debug)]
pub(super) struct Book {
    positions: Vec<Position>,
    pub(super) prices: Vec<u64>,
}

impl Book {
    pub(super) fn new(users: usize, prices: Vec<u64>) -> Self {
        Self { positions: vec![Position::default(); users * prices.len()], prices }
    }

    pub(super) fn position(&mut self, user: usize, asset: usize) -> &mut Position {
        &mut self.positions[user * self.prices.len() + asset]
    }

    /// What the user's collateral carries, and what the user owes, in the prices' unit; `units` are the assets' whole tokens.
    pub(super) fn limit_and_debt(&self, user: usize, units: &[u128]) -> (u128, u128) {
        let assets = self.prices.len();
        let (mut collateral, mut debt) = (0, 0);
        for (asset, position) in self.positions[user * assets..(user + 1) * assets].iter().enumerate() {
            let price = u128::from(self.prices[asset]);
            collateral += position.collateral * price / units[asset];
            debt += position.debt * price / units[asset];
        }
        (collateral * THRESHOLD_PERCENT / 100, debt)
    }
}

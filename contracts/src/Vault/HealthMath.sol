// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @notice The one formula of the health factor, so that what is enforced and what is cached agree.
library HealthMath {
    uint256 internal constant ONE = 1e18;
    uint256 internal constant LIQUIDATION_THRESHOLD_BPS = 8_000;
    uint256 internal constant BPS = 10_000;

    /// @return 1e18 at the threshold; the greatest uint256 without debt.
    function healthFactor(uint256 totalCollateral, uint256 totalDebt) internal pure returns (uint256) {
        if (totalDebt == 0) return type(uint256).max;
        return totalCollateral * LIQUIDATION_THRESHOLD_BPS / BPS * ONE / totalDebt;
    }
}

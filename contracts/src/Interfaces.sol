// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

interface IERC20 {
    event Transfer(address indexed from, address indexed to, uint256 value);
    event Approval(address indexed owner, address indexed spender, uint256 value);

    function decimals() external view returns (uint8);
    function totalSupply() external view returns (uint256);
    function balanceOf(address account) external view returns (uint256);
    function allowance(address owner, address spender) external view returns (uint256);
    function transfer(address to, uint256 value) external returns (bool);
    function approve(address spender, uint256 value) external returns (bool);
    function transferFrom(address from, address to, uint256 value) external returns (bool);
}

interface IPriceFeed {
    /// @return price of one whole token, 8 decimals; never zero: a feed without a price reverts.
    function latestPrice() external view returns (uint256 price, uint256 updatedAt);
}

interface IRegistry {
    function isAdmin(address account) external view returns (bool);

    /// @return the module's address, zero when the key is not set.
    function getModule(bytes32 key) external view returns (address);
}

interface ICollateralManager {
    function getCollateral(address user, address asset) external view returns (uint256);
    function getTotalCollateral(address asset) external view returns (uint256);
    function seize(address user, address asset, uint256 amount, address to) external;
}

interface ILendingEngine {
    function getDebt(address user, address asset) external view returns (uint256);
    function getTotalDebt(address asset) external view returns (uint256);
    function getUserTotals(address user) external view returns (uint256 totalCollateral, uint256 totalDebt);
    function getAssetPrice(address asset) external view returns (uint256);
    function valueOf(address asset, uint256 amount) external view returns (uint256);
    function amountOf(address asset, uint256 value) external view returns (uint256);
    function requireHealthy(address user) external view;
    function claimRequest(address actor, bytes32 requestId) external returns (bool fresh);
    function writeDown(address user, address asset, uint256 amount, address payer) external;
    function pushUserPosition(address user, address asset, bytes32 requestId, uint64 seq, uint64 nextVersion) external;
    function pushCollateralDelta(address user, address asset, int256 delta, bytes32 requestId, uint64 seq) external;
    function pushUserHealth(address user) external;
}

interface IVaultRouter {
    function pushUserPosition(
        address user,
        address asset,
        uint256 collateral,
        uint256 debt,
        bytes32 requestId,
        uint64 seq,
        uint64 nextVersion
    ) external returns (bool ok, bytes memory reason, address view_);

    function pushUserPositionDelta(
        address user,
        address asset,
        int256 collateralDelta,
        int256 debtDelta,
        bytes32 requestId,
        uint64 seq,
        uint64 nextVersion
    ) external returns (bool ok, bytes memory reason, address view_);

    function pushAssetStats(
        address asset,
        uint256 totalCollateral,
        uint256 totalDebt,
        uint256 price,
        bytes32 requestId,
        uint64 seq
    ) external;
}

interface IPositionView {
    function pushUserPosition(
        address user,
        address asset,
        uint256 collateral,
        uint256 debt,
        bytes32 requestId,
        uint64 seq,
        uint64 nextVersion
    ) external;

    function pushUserPositionDelta(
        address user,
        address asset,
        int256 collateralDelta,
        int256 debtDelta,
        bytes32 requestId,
        uint64 seq,
        uint64 nextVersion
    ) external;
}

interface IHealthView {
    function pushUserHealth(address user, uint256 totalCollateral, uint256 totalDebt) external;
    function cacheModuleHealth(address module, bool isHealthy, bytes32 detailsHash, uint32 failures) external;
}

// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ModuleCache} from "../ModuleCache.sol";
import {ModuleKeys} from "../ModuleKeys.sol";
import {RegistryClient} from "../RegistryClient.sol";
import {IPositionView, IRegistry, IVaultRouter} from "../Interfaces.sol";
import {ModuleHasNoCode, ModuleMissing, NotModule} from "../Errors.sol";

/// @title The one door from the business modules to the position view.
/// @notice Its events are traces: they say that a push was asked for, not that it was written (spec 1 §5.1). Whether the
/// view took it is returned, and the business module reports the failure.
contract VaultRouter is ModuleCache, IVaultRouter {
    /// @dev What a view gets at most, so that one that burns its gas cannot take the trace with it.
    uint256 private constant VIEW_GAS = 160_000;

    struct AssetStats {
        uint256 totalCollateral;
        uint256 totalDebt;
        uint256 price;
        uint256 timestamp;
    }

    mapping(address asset => AssetStats) private _assetStats;

    event UserPositionPushed(
        address indexed user,
        address indexed asset,
        uint256 collateral,
        uint256 debt,
        uint256 timestamp,
        bytes32 requestId,
        uint64 seq
    );
    event UserPositionDeltaPushed(
        address indexed user,
        address indexed asset,
        int256 collateralDelta,
        int256 debtDelta,
        uint256 timestamp,
        bytes32 requestId,
        uint64 seq
    );
    event AssetStatsPushed(
        address indexed asset,
        uint256 totalCollateral,
        uint256 totalDebt,
        uint256 price,
        uint256 timestamp,
        bytes32 requestId,
        uint64 seq
    );
    /// @dev Legacy: the absolute push without its request.
    event UserPositionUpdated(
        address indexed user, address indexed asset, uint256 collateral, uint256 debt, uint256 timestamp
    );

    modifier onlyBusiness() {
        if (
            msg.sender != _cachedModule(ModuleKeys.LENDING_ENGINE)
                && msg.sender != _cachedModule(ModuleKeys.LIQUIDATION_DEBT_MANAGER)
        ) revert NotModule(msg.sender);
        _;
    }

    constructor(IRegistry registry_) RegistryClient(registry_) {}

    function pushUserPosition(
        address user,
        address asset,
        uint256 collateral,
        uint256 debt,
        bytes32 requestId,
        uint64 seq,
        uint64 nextVersion
    ) external onlyBusiness returns (bool ok, bytes memory reason, address view_) {
        emit UserPositionPushed(user, asset, collateral, debt, block.timestamp, requestId, seq);
        emit UserPositionUpdated(user, asset, collateral, debt, block.timestamp);
        return _callView(
            abi.encodeCall(
                IPositionView.pushUserPosition, (user, asset, collateral, debt, requestId, seq, nextVersion)
            )
        );
    }

    function pushUserPositionDelta(
        address user,
        address asset,
        int256 collateralDelta,
        int256 debtDelta,
        bytes32 requestId,
        uint64 seq,
        uint64 nextVersion
    ) external onlyBusiness returns (bool ok, bytes memory reason, address view_) {
        emit UserPositionDeltaPushed(user, asset, collateralDelta, debtDelta, block.timestamp, requestId, seq);
        return _callView(
            abi.encodeCall(
                IPositionView.pushUserPositionDelta,
                (user, asset, collateralDelta, debtDelta, requestId, seq, nextVersion)
            )
        );
    }

    /// @param price zero where the asset's feed had none.
    function pushAssetStats(
        address asset,
        uint256 totalCollateral,
        uint256 totalDebt,
        uint256 price,
        bytes32 requestId,
        uint64 seq
    ) external onlyBusiness {
        _assetStats[asset] = AssetStats(totalCollateral, totalDebt, price, block.timestamp);
        emit AssetStatsPushed(asset, totalCollateral, totalDebt, price, block.timestamp, requestId, seq);
    }

    /// @notice What the last `AssetStatsPushed` of this router said.
    function getAssetStats(address asset)
        external
        view
        returns (uint256 totalCollateral, uint256 totalDebt, uint256 price, uint256 timestamp)
    {
        AssetStats storage stats = _assetStats[asset];
        return (stats.totalCollateral, stats.totalDebt, stats.price, stats.timestamp);
    }

    function _moduleKeys() internal pure override returns (bytes32[] memory keys) {
        keys = new bytes32[](3);
        keys[0] = ModuleKeys.LENDING_ENGINE;
        keys[1] = ModuleKeys.LIQUIDATION_DEBT_MANAGER;
        keys[2] = ModuleKeys.POSITION_VIEW;
    }

    /// @dev A low-level call, because `try` would itself revert on an address without code.
    function _callView(bytes memory payload) private returns (bool ok, bytes memory reason, address view_) {
        view_ = _cachedModule(ModuleKeys.POSITION_VIEW);
        if (view_ == address(0)) {
            return (false, abi.encodeWithSelector(ModuleMissing.selector, ModuleKeys.POSITION_VIEW), view_);
        }
        if (view_.code.length == 0) {
            return (false, abi.encodeWithSelector(ModuleHasNoCode.selector, view_), view_);
        }
        (ok, reason) = view_.call{gas: VIEW_GAS}(payload);
        if (ok) reason = "";
    }
}

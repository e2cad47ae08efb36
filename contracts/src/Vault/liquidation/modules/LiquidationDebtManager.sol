// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {GasReserve} from "../../../GasReserve.sol";
import {ModuleKeys} from "../../../ModuleKeys.sol";
import {RegistryClient} from "../../../RegistryClient.sol";
import {HealthMath} from "../../HealthMath.sol";
import {ViewPusher} from "../../modules/ViewPusher.sol";
import {ICollateralManager, ILendingEngine, IRegistry} from "../../../Interfaces.sol";
import {Healthy, ZeroAmount} from "../../../Errors.sol";

/// @title Liquidation: a third party pays a user's debt and takes collateral at a discount.
contract LiquidationDebtManager is ViewPusher {
    uint256 public constant BONUS_BPS = 500;
    /// @dev For the engine's own demand when it is called for the health push.
    uint256 private constant ENGINE_CALL_GAS = 40_000;

    /// @notice `repaid` of the user's debt was paid by the liquidator, who got `seized` of the user's collateral for it.
    event Liquidated(
        address indexed user,
        address indexed debtAsset,
        address indexed collateralAsset,
        address liquidator,
        uint256 repaid,
        uint256 seized,
        bytes32 requestId
    );

    constructor(IRegistry registry_) RegistryClient(registry_) {}

    /// @notice Pays `repayAmount` of the user's debt (approved to the lending engine) and takes its value plus the bonus,
    /// at most what the user holds, in `collateralAsset`. The user's health factor must be under one.
    /// @return executed false when the caller's request was carried out before: then the positions are only pushed again.
    function liquidate(
        address user,
        address debtAsset,
        address collateralAsset,
        uint256 repayAmount,
        bytes32 requestId,
        uint64 seq
    ) external returns (bool executed) {
        if (repayAmount == 0) revert ZeroAmount();
        ILendingEngine engine = ILendingEngine(_requireModule(ModuleKeys.LENDING_ENGINE));
        executed = engine.claimRequest(msg.sender, requestId);
        if (executed) {
            uint256 seized = _liquidate(engine, user, debtAsset, collateralAsset, repayAmount);
            emit Liquidated(user, debtAsset, collateralAsset, msg.sender, repayAmount, seized, requestId);
        }
        GasReserve.demand(2 * POSITION_GAS + HEALTH_GAS + ENGINE_CALL_GAS);
        _push(user, debtAsset, requestId, seq);
        if (collateralAsset != debtAsset) _push(user, collateralAsset, requestId, seq);
        engine.pushUserHealth(user);
    }

    function _liquidate(
        ILendingEngine engine,
        address user,
        address debtAsset,
        address collateralAsset,
        uint256 repayAmount
    ) private returns (uint256 seized) {
        _requireUnhealthy(engine, user);
        uint256 value = engine.valueOf(debtAsset, repayAmount);
        seized = engine.amountOf(collateralAsset, value * (HealthMath.BPS + BONUS_BPS) / HealthMath.BPS);
        ICollateralManager collateral = ICollateralManager(_requireModule(ModuleKeys.COLLATERAL_MANAGER));
        uint256 held = collateral.getCollateral(user, collateralAsset);
        if (seized > held) seized = held;
        engine.writeDown(user, debtAsset, repayAmount, msg.sender);
        collateral.seize(user, collateralAsset, seized, msg.sender);
    }

    function _requireUnhealthy(ILendingEngine engine, address user) private view {
        (uint256 totalCollateral, uint256 totalDebt) = engine.getUserTotals(user);
        uint256 factor = HealthMath.healthFactor(totalCollateral, totalDebt);
        if (factor >= HealthMath.ONE) revert Healthy(factor);
    }

    function _push(address user, address asset, bytes32 requestId, uint64 seq) private {
        _pushPosition(
            PositionPush({
                user: user,
                asset: asset,
                relative: false,
                collateralDelta: 0,
                requestId: requestId,
                seq: seq,
                nextVersion: 0
            })
        );
    }
}

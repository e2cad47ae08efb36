// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ModuleKeys} from "../../ModuleKeys.sol";
import {RegistryClient} from "../../RegistryClient.sol";
import {ICollateralManager, ILendingEngine, IVaultRouter} from "../../Interfaces.sol";
import {NotModule} from "../../Errors.sol";

/// @title Pushing to the views so that a failure is reported and never reverts the business.
/// @notice Reading the ledger and pushing each run in a call of this contract to itself: what reverts in there, a module
/// missing, without code, refusing, or answering what does not decode, comes back as the raw reason.
abstract contract ViewPusher is RegistryClient {
    uint256 private constant READ_GAS = 100_000;
    uint256 private constant PRICE_GAS = 40_000;
    /// @dev One position with its asset's stats, in the worst case (every slot new, a view that burns its share).
    uint256 private constant PUSH_GAS = 340_000;
    uint256 private constant REPORT_GAS = 20_000;
    /// @dev What `_pushPosition` uses at most: its caller demands it first (`GasReserve`).
    uint256 internal constant POSITION_GAS = READ_GAS + PUSH_GAS + REPORT_GAS;

    uint256 internal constant TOTALS_GAS = 180_000;
    uint256 internal constant HEALTH_VIEW_GAS = 80_000;
    /// @dev What the engine's push of a user's health uses at most, demanded likewise.
    uint256 internal constant HEALTH_GAS = TOTALS_GAS + HEALTH_VIEW_GAS + REPORT_GAS;

    struct PositionPush {
        address user;
        address asset;
        /// @dev Whether the view gets `collateralDelta` instead of what the ledger says.
        bool relative;
        int256 collateralDelta;
        bytes32 requestId;
        uint64 seq;
        uint64 nextVersion;
    }

    struct Ledger {
        uint256 collateral;
        uint256 debt;
        uint256 totalCollateral;
        uint256 totalDebt;
        /// @dev Zero where the asset's feed has none: that does not keep the totals from going out.
        uint256 price;
    }

    event CacheUpdateFailed(
        address indexed user, address indexed asset, address viewAddr, uint256 collateral, uint256 debt, bytes reason
    );

    /// @dev Only for this contract itself.
    function pushThroughRouter(PositionPush calldata push, Ledger calldata ledger)
        external
        returns (bool ok, bytes memory reason, address view_)
    {
        if (msg.sender != address(this)) revert NotModule(msg.sender);
        IVaultRouter router = IVaultRouter(_requireModule(ModuleKeys.VAULT_ROUTER));
        if (push.relative) {
            (ok, reason, view_) = router.pushUserPositionDelta(
                push.user, push.asset, push.collateralDelta, 0, push.requestId, push.seq, push.nextVersion
            );
        } else {
            (ok, reason, view_) = router.pushUserPosition(
                push.user, push.asset, ledger.collateral, ledger.debt, push.requestId, push.seq, push.nextVersion
            );
        }
        router.pushAssetStats(
            push.asset, ledger.totalCollateral, ledger.totalDebt, ledger.price, push.requestId, push.seq
        );
    }

    /// @notice What the ledger modules say of a position and its asset.
    function readLedger(address user, address asset) external view returns (Ledger memory ledger) {
        ICollateralManager collateral = ICollateralManager(_requireModule(ModuleKeys.COLLATERAL_MANAGER));
        ILendingEngine engine = ILendingEngine(_requireModule(ModuleKeys.LENDING_ENGINE));
        ledger.collateral = collateral.getCollateral(user, asset);
        ledger.debt = engine.getDebt(user, asset);
        ledger.totalCollateral = collateral.getTotalCollateral(asset);
        ledger.totalDebt = engine.getTotalDebt(asset);
        try engine.getAssetPrice{gas: PRICE_GAS}(asset) returns (uint256 price) {
            ledger.price = price;
        } catch {
            ledger.price = 0;
        }
    }

    function _pushPosition(PositionPush memory push) internal {
        try this.readLedger{gas: READ_GAS}(push.user, push.asset) returns (Ledger memory ledger) {
            _send(push, ledger);
        } catch (bytes memory reason) {
            _reportUnsent(push, 0, 0, reason);
        }
    }

    function _send(PositionPush memory push, Ledger memory ledger) private {
        try this.pushThroughRouter{gas: PUSH_GAS}(push, ledger) returns (bool ok, bytes memory reason, address view_) {
            if (!ok) emit CacheUpdateFailed(push.user, push.asset, view_, ledger.collateral, ledger.debt, reason);
        } catch (bytes memory reason) {
            _reportUnsent(push, ledger.collateral, ledger.debt, reason);
        }
    }

    /// @dev The push did not get as far as the view: names the one that is missing it.
    function _reportUnsent(PositionPush memory push, uint256 collateral, uint256 debt, bytes memory reason) private {
        address view_ = registry.getModule(ModuleKeys.POSITION_VIEW);
        emit CacheUpdateFailed(push.user, push.asset, view_, collateral, debt, reason);
    }
}

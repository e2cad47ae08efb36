// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ModuleKeys} from "../../ModuleKeys.sol";
import {RegistryClient} from "../../RegistryClient.sol";
import {IVaultRouter} from "../../Interfaces.sol";
import {InsufficientGasForPush, NotModule} from "../../Errors.sol";

/// @title Pushing to the views so that a failure is reported and never reverts the business.
/// @notice The push runs in a call of this contract to itself: what reverts in there, a module missing, without code,
/// refusing, or answering what does not decode, comes back as the raw reason. The gas for it is demanded up front:
/// otherwise a caller (or a node's gas estimate) could starve the push and leave the business done and the view stale.
abstract contract ViewPusher is RegistryClient {
    /// @dev One position with its asset's stats, in the worst case (every slot new), with room to spare.
    uint256 internal constant POSITION_PUSH_GAS = 400_000;
    /// @dev For what comes after the push: the failure event with its reason.
    uint256 internal constant REPORT_GAS = 40_000;

    struct PositionPush {
        address user;
        address asset;
        /// @dev What the ledger says after the business.
        uint256 collateral;
        uint256 debt;
        /// @dev Whether the view gets `collateralDelta` instead of the amounts.
        bool relative;
        int256 collateralDelta;
        bytes32 requestId;
        uint64 seq;
        uint64 nextVersion;
    }

    struct StatsPush {
        uint256 totalCollateral;
        uint256 totalDebt;
        uint256 price;
    }

    event CacheUpdateFailed(
        address indexed user, address indexed asset, address viewAddr, uint256 collateral, uint256 debt, bytes reason
    );

    /// @dev Only for this contract itself.
    function pushThroughRouter(PositionPush calldata push, StatsPush calldata stats)
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
                push.user, push.asset, push.collateral, push.debt, push.requestId, push.seq, push.nextVersion
            );
        }
        router.pushAssetStats(
            push.asset, stats.totalCollateral, stats.totalDebt, stats.price, push.requestId, push.seq
        );
    }

    function _pushPosition(PositionPush memory push, StatsPush memory stats) internal {
        _demandGas(POSITION_PUSH_GAS);
        try this.pushThroughRouter{gas: POSITION_PUSH_GAS}(push, stats) returns (
            bool ok, bytes memory reason, address view_
        ) {
            if (!ok) emit CacheUpdateFailed(push.user, push.asset, view_, push.collateral, push.debt, reason);
        } catch (bytes memory reason) {
            // The router did not get as far as the view: name the one that is missing this position.
            address view_ = registry.getModule(ModuleKeys.POSITION_VIEW);
            emit CacheUpdateFailed(push.user, push.asset, view_, push.collateral, push.debt, reason);
        }
    }

    /// @dev A call gets at most 63/64 of what is left (EIP-150).
    function _demandGas(uint256 forCall) internal view {
        uint256 needed = forCall + forCall / 63 + REPORT_GAS;
        if (gasleft() < needed) revert InsufficientGasForPush(gasleft(), needed);
    }
}

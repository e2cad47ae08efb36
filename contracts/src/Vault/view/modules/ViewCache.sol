// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ModuleKeys} from "../../../ModuleKeys.sol";
import {RegistryClient} from "../../../RegistryClient.sol";
import {ICollateralManager, ILendingEngine, IRegistry} from "../../../Interfaces.sol";

/// @title A snapshot of each asset's totals, taken from the ledger on demand.
contract ViewCache is RegistryClient {
    struct Snapshot {
        uint256 totalCollateral;
        uint256 totalDebt;
        address updater;
        uint64 timestamp;
    }

    mapping(address asset => Snapshot) private _snapshots;

    event CacheUpdated(address indexed asset, address indexed updater, uint256 timestamp);

    constructor(IRegistry registry_) RegistryClient(registry_) {}

    function updateCache(address asset) external onlyAdmin {
        _snapshots[asset] = Snapshot({
            totalCollateral: ICollateralManager(_requireModule(ModuleKeys.COLLATERAL_MANAGER)).getTotalCollateral(asset),
            totalDebt: ILendingEngine(_requireModule(ModuleKeys.LENDING_ENGINE)).getTotalDebt(asset),
            updater: msg.sender,
            timestamp: uint64(block.timestamp)
        });
        emit CacheUpdated(asset, msg.sender, block.timestamp);
    }

    /// @notice What the last `CacheUpdated` of the asset said.
    function getCacheInfo(address asset) external view returns (address updater, uint256 timestamp) {
        Snapshot storage snapshot = _snapshots[asset];
        return (snapshot.updater, snapshot.timestamp);
    }

    function getSnapshot(address asset) external view returns (uint256 totalCollateral, uint256 totalDebt) {
        Snapshot storage snapshot = _snapshots[asset];
        return (snapshot.totalCollateral, snapshot.totalDebt);
    }
}
